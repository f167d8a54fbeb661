//! A program that is run, with an end.

use std::io::{Read, Write};
use std::process::{Child, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::Result;

/// Short against a program's start.
const INTERVAL: Duration = Duration::from_millis(10);
/// Of what a program said, how much is in an error.
const TOLD: usize = 4_000;

/// A program and its arguments.
pub(super) struct Command {
    program: String,
    arguments: Vec<String>,
    input: String,
}

impl Command {
    pub(super) fn new(program: &str, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|one| (*one).to_owned()).collect();
        Self { program: program.to_owned(), arguments, input: String::new() }
    }

    /// What it reads.
    pub(super) fn input(mut self, text: &str) -> Self {
        text.clone_into(&mut self.input);
        self
    }

    /// Runs it, and returns what it printed. After this time it is killed.
    pub(super) fn within(self, limit: Duration) -> Result<String> {
        let name = self.name();
        let mut child = std::process::Command::new(&self.program)
            .args(&self.arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run {}", self.program))?;
        let stdin = child.stdin.take();
        // It may end without reading all: that is no error here.
        let writer = std::thread::spawn(move || {
            stdin.map(|mut stdin| stdin.write_all(self.input.as_bytes()))
        });
        let (stdout, stderr) = (reader(child.stdout.take()), reader(child.stderr.take()));
        let ended = wait(&mut child, limit).with_context(|| name.clone())?;
        drop(writer);
        let Some(status) = ended else { bail!("{name} does not end within {limit:?}") };
        let text = |thread: JoinHandle<Vec<u8>>| {
            String::from_utf8_lossy(&thread.join().unwrap_or_default()).into_owned()
        };
        let (printed, complained) = (text(stdout), text(stderr));
        if !status.success() {
            bail!("{name}: {status}\n{}{}", last(&printed), last(&complained));
        }
        Ok(printed)
    }

    fn name(&self) -> String {
        let words: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        format!("{} {}", self.program, words.join(" "))
    }
}

/// `None` when it had to be killed. Then nobody waits for what it printed: a child of its may hold that open.
fn wait(child: &mut Child, limit: Duration) -> Result<Option<ExitStatus>> {
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if began.elapsed() >= limit {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(INTERVAL);
    }
}

fn reader(pipe: Option<impl Read + Send + 'static>) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // What came before an error counts.
        let _ = pipe.map(|mut pipe| pipe.read_to_end(&mut bytes));
        bytes
    })
}

fn last(text: &str) -> &str {
    let from = text.len().saturating_sub(TOLD);
    let from = (from..text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    &text[from..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_its_input_and_tells_its_output_or_why_not() {
        let said = Command::new("cat", &[]).input("words").within(Duration::from_secs(20));
        assert_eq!(said.expect("cat works"), "words");
        let arguments = ["-c", "echo printed; echo complained >&2; exit 3"];
        let error = Command::new("sh", &arguments).within(Duration::from_secs(20));
        let error = error.expect_err("it fails").to_string();
        for word in ["exit status: 3", "printed", "complained"] {
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn it_is_killed_when_it_takes_too_long() {
        let began = Instant::now();
        let error = Command::new("sleep", &["60"]).within(Duration::from_millis(100));
        let error = error.expect_err("it does not end").to_string();
        assert!(error.contains("does not end within 100ms"), "{error}");
        assert!(began.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn what_is_told_of_much_is_its_end() {
        let text = format!("{}ü", "x".repeat(TOLD));
        assert!(last(&text).ends_with('ü') && last(&text).len() <= TOLD);
        assert_eq!(last("short"), "short");
    }
}

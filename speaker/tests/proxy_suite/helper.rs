//! Clients and servers in processes of their own, because files and CPU time are counted by process.
//!
//! A helper is an ignored test of this binary. It is told what to do by lines on its standard input, answers by
//! lines that begin with `>`, and ends with its input.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

/// A running helper; killed when dropped.
pub(crate) struct Helper {
    name: &'static str,
    child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
}

impl Helper {
    /// Starts the ignored test of this name.
    pub(crate) fn start(name: &'static str, environment: &[(&str, String)]) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "--nocapture", "--test-threads=1", name])
            .envs(environment.iter().map(|(key, value)| (key, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (sender, lines) = sync_channel(1000);
        thread::spawn(move || {
            let lines = BufReader::new(output).lines().map_while(Result::ok);
            for line in lines {
                if let Some(said) = line.strip_prefix('>')
                    && sender.send(said.to_owned()).is_err()
                {
                    return;
                }
            }
        });
        Self { name, child, input, lines }
    }

    /// Says something to it.
    pub(crate) fn tell(&mut self, line: &str) {
        writeln!(self.input, "{line}").unwrap();
    }

    /// What it says next.
    #[track_caller]
    pub(crate) fn hear(&mut self, within: Duration) -> String {
        match self.lines.recv_timeout(within) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => panic!("{} says nothing for {within:?}", self.name),
            Err(RecvTimeoutError::Disconnected) => panic!("{} has ended", self.name),
        }
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// In a helper: an argument.
pub(crate) fn argument<T: std::str::FromStr<Err: std::fmt::Debug>>(name: &str) -> T {
    std::env::var(name).expect("started as a helper").parse().unwrap()
}

/// In a helper: answers.
pub(crate) fn say(line: &str) {
    // What the test runner prints before has no end of line.
    println!("\n>{line}");
}

/// In a helper: what it is told next; ends the process when nobody is there any more.
pub(crate) fn told() -> String {
    let mut line = String::new();
    if std::io::stdin().read_line(&mut line).unwrap_or(0) == 0 {
        std::process::exit(0);
    }
    line.trim_end().to_owned()
}

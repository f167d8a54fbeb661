//! What a process prints, kept in memory while it runs.

use std::io::Read;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// Per stream; what comes after is counted and dropped, the process is never held up.
const KEEP: usize = 64 << 20;
/// Lines of each stream in messages.
const TAIL: usize = 40;

/// Everything a process printed.
#[derive(Clone, Debug, Default)]
pub struct Output {
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
    /// Octets that were not kept because a stream exceeded 64 MiB.
    pub dropped: u64,
}

/// A place in the output of a process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mark {
    stdout: usize,
    stderr: usize,
}

#[derive(Clone, Copy)]
enum Stream {
    Stdout,
    Stderr,
}

#[derive(Debug, Default)]
pub(super) struct Log {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    output: Output,
    open: usize,
}

impl Default for State {
    fn default() -> Self {
        Self { output: Output::default(), open: 2 }
    }
}

impl Output {
    /// Standard output as text.
    #[must_use]
    pub fn stdout_text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Standard error as text.
    #[must_use]
    pub fn stderr_text(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// The last lines of both streams.
    #[must_use]
    pub fn tail(&self) -> String {
        let mut text = String::new();
        for (name, bytes) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            // tcpdump's frames, for example, would only spoil the terminal.
            if bytes.contains(&0) {
                text.push_str(&format!("  {name}| ({} octets, not text)\n", bytes.len()));
                continue;
            }
            let printed = String::from_utf8_lossy(bytes);
            let lines: Vec<_> = printed.lines().collect();
            let from = lines.len().saturating_sub(TAIL);
            for line in &lines[from..] {
                text.push_str(&format!("  {name}| {line}\n"));
            }
        }
        if text.is_empty() { "  (it printed nothing)\n".to_owned() } else { text }
    }
}

impl Log {
    /// Starts to read both pipes, each on a thread that ends with its pipe.
    pub(super) fn of_pipes(
        stdout: impl Read + Send + 'static,
        stderr: impl Read + Send + 'static,
    ) -> Arc<Self> {
        let log = Arc::new(Self::default());
        let (first, second) = (Arc::clone(&log), Arc::clone(&log));
        std::thread::spawn(move || first.read(stdout, Stream::Stdout));
        std::thread::spawn(move || second.read(stderr, Stream::Stderr));
        log
    }

    pub(super) fn snapshot(&self) -> Output {
        self.state().output.clone()
    }

    pub(super) fn mark(&self) -> Mark {
        let state = self.state();
        Mark { stdout: state.output.stdout.len(), stderr: state.output.stderr.len() }
    }

    /// The first line completed after `mark` that contains `pattern`; a last line without its
    /// line feed counts once the stream is closed.
    pub(super) fn find(&self, mark: &Mark, pattern: &str) -> Option<String> {
        let state = self.state();
        let closed = state.open == 0;
        let Output { stdout, stderr, .. } = &state.output;
        find_line(stdout, mark.stdout, closed, pattern)
            .or_else(|| find_line(stderr, mark.stderr, closed, pattern))
    }

    /// Waits until something is printed or closed, or for `timeout`.
    pub(super) fn wait_change(&self, timeout: Duration) {
        // A change since the caller's look is caught by its next look, one interval later.
        drop(self.changed.wait_timeout(self.state(), timeout));
    }

    /// Waits until both streams are closed; false when they are not after `timeout`.
    pub(super) fn wait_closed(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        let mut state = self.state();
        while state.open > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = self.changed.wait_timeout(state, left).expect(NO_PANIC).0;
        }
        true
    }

    fn read(&self, mut pipe: impl Read, stream: Stream) {
        let mut buffer = [0; 16 << 10];
        loop {
            match pipe.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => self.keep(&buffer[..count], stream),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        self.state().open -= 1;
        self.changed.notify_all();
    }

    fn keep(&self, bytes: &[u8], stream: Stream) {
        let mut state = self.state();
        let Output { stdout, stderr, dropped } = &mut state.output;
        let kept = match stream {
            Stream::Stdout => stdout,
            Stream::Stderr => stderr,
        };
        let (fits, rest) = bytes.split_at(bytes.len().min(KEEP - kept.len()));
        kept.extend_from_slice(fits);
        *dropped += rest.len() as u64;
        drop(state);
        self.changed.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect(NO_PANIC)
    }
}

const NO_PANIC: &str = "no holder of the lock panics";

fn find_line(bytes: &[u8], from: usize, closed: bool, pattern: &str) -> Option<String> {
    let mut lines: Vec<&[u8]> = bytes[from..].split(|byte| *byte == b'\n').collect();
    if !closed {
        lines.pop();
    }
    let mut texts = lines.into_iter().map(String::from_utf8_lossy);
    texts.find(|line| line.contains(pattern)).map(std::borrow::Cow::into_owned)
}

#[cfg(test)]
mod tests;

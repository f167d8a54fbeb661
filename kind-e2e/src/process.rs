//! Programs running on nodes, owned: started, watched through what they print, and always ended.
//!
//! A [`Process`] is the leader of a process group. What holds: the group is killed before its
//! leader is reaped (so the number cannot have become somebody else's), on drop at the latest;
//! the leader is also killed by the kernel when this process dies. When a test panics, the end of
//! what each process printed is shown.

mod log;
mod program;
mod spawner;

use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags};
use rustix::process::{Pid, PidfdFlags, Signal};

use crate::namespace::Namespace;
use crate::patience;
use log::Log;
pub use log::{Mark, Output};
pub use program::Program;

/// How often a waiter for output looks whether the process still lives.
const LIVENESS_INTERVAL: Duration = Duration::from_millis(50);
/// After the kill: for the pipes to run dry. Only an escaped daemon holds them longer.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// A running (or ended, not yet dropped) program.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    pid: Pid,
    pidfd: OwnedFd,
    log: Arc<Log>,
    ended: Option<ExitStatus>,
    // Last: dropped after the process is gone.
    _namespace: Arc<Namespace>,
}

impl Process {
    pub(crate) fn spawn(namespace: Arc<Namespace>, program: Program) -> Result<Self> {
        let name = program.name();
        let command = program.into_command()?;
        let mut child =
            spawner::spawn(&namespace, command).with_context(|| format!("cannot start {name}"))?;
        let pid = Pid::from_child(&child);
        let log = Log::of_pipes(
            child.stdout.take().expect("stdout was asked to be a pipe"),
            child.stderr.take().expect("stderr was asked to be a pipe"),
        );
        // Cannot fail for a child that was not reaped, short of file descriptors.
        let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty());
        let pidfd = pidfd.with_context(|| format!("cannot watch {name}"))?;
        Ok(Self { name, child, pid, pidfd, log, ended: None, _namespace: namespace })
    }

    /// The program's name, without its directory.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process id, which is its process group as well.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has printed so far.
    #[must_use]
    pub fn output(&self) -> Output {
        self.log.snapshot()
    }

    /// The last lines of what it printed, for messages.
    #[must_use]
    pub fn tail(&self) -> String {
        self.log.snapshot().tail()
    }

    /// The present end of the output; see [`wait_for_line_after`](Self::wait_for_line_after).
    #[must_use]
    pub fn mark(&self) -> Mark {
        self.log.mark()
    }

    /// Waits for a line that contains `pattern`, printed now or before, on either stream.
    ///
    /// # Errors
    /// When the process ends, or `timeout` (times the patience) passes, without one.
    pub fn wait_for_line(&self, pattern: &str, timeout: Duration) -> Result<String> {
        self.wait_for_line_after(&Mark::default(), pattern, timeout)
    }

    /// Like [`wait_for_line`](Self::wait_for_line), for lines completed after `mark` was taken.
    ///
    /// # Errors
    /// When the process ends, or `timeout` (times the patience) passes, without one.
    pub fn wait_for_line_after(
        &self,
        mark: &Mark,
        pattern: &str,
        timeout: Duration,
    ) -> Result<String> {
        let timeout = patience(timeout);
        let deadline = Instant::now() + timeout;
        loop {
            // Asked before the look at the output, so that last words are not missed.
            let ended = self.has_ended() && self.log.wait_closed(DRAIN_TIMEOUT);
            if let Some(line) = self.log.find(mark, pattern) {
                return Ok(line);
            }
            if ended {
                bail!("{} ended without printing {pattern:?}\n{}", self.name, self.tail());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let Self { name, .. } = self;
                bail!("{name} did not print {pattern:?} within {timeout:?}\n{}", self.tail());
            }
            self.log.wait_change(left.min(LIVENESS_INTERVAL));
        }
    }

    /// Whether the program itself has ended (others of its group may live).
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended.is_some() || self.ends_within(Duration::ZERO)
    }

    /// Sends a signal to the program itself.
    ///
    /// # Errors
    /// When it has ended.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        rustix::process::pidfd_send_signal(&self.pidfd, signal)
            .with_context(|| format!("cannot signal {}", self.name))
    }

    /// Waits for the program to end; then kills what is left of its group.
    ///
    /// # Errors
    /// When it runs on for `timeout` (times the patience).
    pub fn wait(&mut self, timeout: Duration) -> Result<ExitStatus> {
        let timeout = patience(timeout);
        if self.ended.is_none() && !self.ends_within(timeout) {
            bail!("{} still runs after {timeout:?}\n{}", self.name, self.tail());
        }
        Ok(self.reap())
    }

    /// Asks the program to end (SIGTERM), and returns how it did.
    ///
    /// # Errors
    /// When it runs on for `timeout` (times the patience). It is not killed then.
    pub fn terminate(&mut self, timeout: Duration) -> Result<ExitStatus> {
        if !self.has_ended() {
            self.signal(Signal::TERM)?;
        }
        self.wait(timeout).context("after SIGTERM")
    }

    /// Kills the process group at once, as a crash would.
    pub fn kill(&mut self) {
        self.reap();
    }

    fn ends_within(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let left = left.try_into().expect("timeouts are far below the age of the universe");
            let mut fds = [PollFd::new(&self.pidfd, PollFlags::IN)];
            match rustix::event::poll(&mut fds, Some(&left)) {
                Ok(0) => return false,
                Ok(_) => return true,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => unreachable!("poll of an open pidfd: {error}"),
            }
        }
    }

    /// Kills the group, then reaps the leader: until then its number is taken.
    fn reap(&mut self) -> ExitStatus {
        if let Some(ended) = self.ended {
            return ended;
        }
        // It fails only where nobody is left to kill.
        let _ = rustix::process::kill_process_group(self.pid, Signal::KILL);
        let ended = self.child.wait().unwrap_or_else(|_| ExitStatus::from_raw(0xff00));
        self.ended = Some(ended);
        self.log.wait_closed(DRAIN_TIMEOUT);
        ended
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let before = if self.has_ended() { "ended" } else { "running" };
        let ended = self.reap();
        if std::thread::panicking() {
            let (name, pid, tail) = (&self.name, self.pid(), self.tail());
            eprintln!("--- {name} (pid {pid}, was {before}; {ended})\n{tail}");
        }
    }
}

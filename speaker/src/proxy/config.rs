//! What can be set about the forwarding engine.

use std::num::NonZeroUsize;
use std::thread;
use std::time::Duration;

/// Settings of the forwarding engine; fixed while it runs.
#[derive(Clone, Debug)]
pub struct Config {
    /// Threads that forward; each has its own epoll and its own buffer.
    pub workers: NonZeroUsize,
    /// Accept queue of a listener; the kernel caps it at `net.core.somaxconn`.
    pub backlog: i32,
    /// Open files left to the rest of the process. What remains of `RLIMIT_NOFILE` bounds the
    /// connections, two files each; above that, clients wait in the accept queue.
    pub reserved_files: usize,
    /// After one side was reset: how long what it had sent before may take to reach the other
    /// side, until that one is reset, too.
    pub reset_patience: Duration,
    /// Clients per worker that may take their time at once to say what they want (fewer where files are
    /// few); when there are more, those that are at it for longest are reset.
    pub undecided: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            workers: thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            backlog: 4096,
            reserved_files: 128,
            reset_patience: Duration::from_secs(2),
            undecided: 4096,
        }
    }
}

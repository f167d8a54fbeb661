//! A line for each connection that ended, where a listener's settings ask for it (docs/access-log.md).
//!
//! ```text
//!   workers ── try_send, never waiting ──> a bounded queue ──> a thread that writes ──> stdout or a file
//!                    └─ full: dropped and counted
//! ```
//!
//! What a client says (server name, Host) gets into a line as a value of a serializer, never as text of
//! its own, so nobody writes a line or a field that is not his.

mod line;
mod writer;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use vipgate_planner::ListenerId;

pub(super) use self::line::{Line, Tally};

/// Lines that wait to be written; some 300 bytes each.
const QUEUE: usize = 4096;
/// How long the last lines may take when the engine ends.
const PATIENCE: Duration = Duration::from_secs(1);

/// Where lines go, and in which form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessLog {
    /// Where.
    pub to: Destination,
    /// How they look.
    pub format: Format,
}

/// Where lines go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Destination {
    /// Standard output.
    #[default]
    Stdout,
    /// Added to a file, which is opened anew when it was moved away (logrotate).
    File(PathBuf),
}

/// How lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// An object of JSON.
    #[default]
    Json,
    /// `key=value`, quoted where it has to be (logfmt).
    Text,
}

/// Where a connection is logged: a listener, or a port of which no listener was chosen; and which of its
/// connections are.
#[derive(Debug)]
pub(super) struct Place {
    id: Option<ListenerId>,
    bind: SocketAddr,
    one_of: u32,
    /// Connections that ended.
    ended: AtomicU64,
}

impl Place {
    /// Where one of so many is logged.
    pub(super) fn new(id: Option<ListenerId>, bind: SocketAddr, one_of: u32) -> Self {
        Self { id, bind, one_of: one_of.max(1), ended: AtomicU64::new(0) }
    }

    /// Whether the connection that ends now is one to be logged: the first, and then every so many.
    pub(super) fn samples(&self) -> bool {
        self.one_of == 1 || self.ended.fetch_add(1, Relaxed).is_multiple_of(self.one_of.into())
    }
}

impl PartialEq for Place {
    fn eq(&self, other: &Self) -> bool {
        (&self.id, self.bind, self.one_of) == (&other.id, other.bind, other.one_of)
    }
}

impl Eq for Place {}

/// What became of lines.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) written: AtomicU64,
    pub(super) dropped: AtomicU64,
}

/// A worker's way to the writer.
#[derive(Clone, Debug)]
pub(super) struct Logger {
    queue: SyncSender<Box<Line>>,
    counts: Arc<Counts>,
}

impl Logger {
    /// Hands over a line, if there is room.
    pub(super) fn log(&self, line: Line) {
        if self.queue.try_send(Box::new(line)).is_err() {
            self.counts.dropped.fetch_add(1, Relaxed);
        }
    }
}

/// The writer's end: it ends when the last [`Logger`] is gone.
#[derive(Debug)]
pub(super) struct Ending(Receiver<()>);

impl Ending {
    /// Waits until everything is written, but not for somebody who does not read.
    pub(super) fn wait(&self) {
        if self.0.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("the last lines of the access log are not written: nobody takes them");
        }
    }
}

/// Starts the writer.
///
/// # Errors
/// When the file cannot be opened, or there is no thread to be had.
pub(super) fn start(settings: &AccessLog, counts: Arc<Counts>) -> io::Result<(Logger, Ending)> {
    let (queue, lines) = sync_channel(QUEUE);
    let (done, ended) = sync_channel(1);
    writer::start(settings, lines, Arc::clone(&counts), done)?;
    Ok((Logger { queue, counts }, Ending(ended)))
}

#[cfg(test)]
mod tests;

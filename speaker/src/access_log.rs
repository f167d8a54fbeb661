//! A line for each connection and each session of datagrams that ended, where a listener's settings ask for it (docs/access-log.md).
//!
//! ```text
//!   workers of both engines ── try_send, never waiting ──> a bounded queue ──> a thread that writes ──> stdout or a file
//!                                    └─ full: dropped and counted
//! ```
//!
//! What a client says (server name, Host) gets into a line as a value of a serializer, never as text of
//! its own, so nobody writes a line or a field that is not his.

mod line;
mod writer;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use vipgate_api::vipgate::Transport;
use vipgate_planner::{Listener, ListenerId};

pub(crate) use self::line::{Line, Tally};

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

/// Where a connection or session is logged: a listener, or a port of which no listener was chosen; and which of its
/// connections are.
#[derive(Debug)]
pub(crate) struct Place {
    id: Option<ListenerId>,
    bind: SocketAddr,
    protocol: Transport,
    one_of: u32,
    /// Those that ended.
    ended: AtomicU64,
}

impl Place {
    /// Where one of so many is logged.
    pub(crate) fn new(
        id: Option<ListenerId>,
        bind: SocketAddr,
        protocol: Transport,
        one_of: u32,
    ) -> Self {
        Self { id, bind, protocol, one_of: one_of.max(1), ended: AtomicU64::new(0) }
    }

    /// Of a listener, where its settings ask for it; goes on counting where it is the same as before.
    pub(crate) fn of(listener: &Listener, before: Option<&Arc<Self>>) -> Option<Arc<Self>> {
        let one_of = listener.settings.access_log?.one_of;
        let place =
            Self::new(Some(listener.id.clone()), listener.bind, listener.transport(), one_of);
        let known = before.filter(|known| ***known == place);
        Some(known.map_or_else(|| Arc::new(place), Arc::clone))
    }

    /// Whether the connection that ends now is one to be logged: the first, and then every so many.
    pub(crate) fn samples(&self) -> bool {
        self.one_of == 1 || self.ended.fetch_add(1, Relaxed).is_multiple_of(self.one_of.into())
    }
}

impl PartialEq for Place {
    fn eq(&self, other: &Self) -> bool {
        let all = |place: &Self| (place.bind, place.protocol, place.one_of);
        self.id == other.id && all(self) == all(other)
    }
}

impl Eq for Place {}

/// What became of lines.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) written: AtomicU64,
    pub(crate) dropped: AtomicU64,
}

/// A worker's way to the writer.
#[derive(Clone, Debug)]
pub(crate) struct Logger {
    queue: SyncSender<Box<Line>>,
    counts: Arc<Counts>,
}

impl Logger {
    /// Hands over a line, if there is room.
    pub(crate) fn log(&self, line: Line) {
        if self.queue.try_send(Box::new(line)).is_err() {
            self.counts.dropped.fetch_add(1, Relaxed);
        }
    }
}

/// An engine's part in the log. It is written until no engine has one any more.
#[derive(Clone, Debug)]
pub struct Log {
    logger: Logger,
    users: Arc<()>,
    /// The writer's end of it closes when all is written.
    written: Arc<Mutex<Receiver<()>>>,
}

impl Log {
    /// Starts the thread that writes.
    ///
    /// # Errors
    /// When the file cannot be opened, or there is no thread to be had.
    pub fn start(settings: &AccessLog) -> io::Result<Self> {
        let (queue, lines) = sync_channel(QUEUE);
        let (done, written) = sync_channel(1);
        let counts = Arc::<Counts>::default();
        writer::start(settings, lines, Arc::clone(&counts), done)?;
        let written = Arc::new(Mutex::new(written));
        Ok(Self { logger: Logger { queue, counts }, users: Arc::default(), written })
    }

    pub(crate) fn logger(&self) -> Logger {
        self.logger.clone()
    }

    pub(crate) fn counts(&self) -> Arc<Counts> {
        Arc::clone(&self.logger.counts)
    }

    /// Gives it up. Whoever is the last, and has no worker left, waits until everything is written, but not for
    /// somebody who does not read.
    pub(crate) fn leave(self) {
        let Self { logger, users, written } = self;
        drop(logger);
        if Arc::into_inner(users).is_none() {
            return;
        }
        let written = written.lock().unwrap_or_else(PoisonError::into_inner);
        if written.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("the last lines of the access log are not written: nobody takes them");
        }
    }
}

#[cfg(test)]
mod tests;

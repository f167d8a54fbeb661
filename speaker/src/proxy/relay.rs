//! The two directions of a connection, as they come or through TLS.

use std::os::fd::BorrowedFd;

use rustix::event::epoll::EventFlags;

use super::pump::{Progress, Pump};
use super::tls_pump::TlsPump;
use super::token::Side;

/// See the module.
#[derive(Debug)]
pub(super) enum Relay {
    Plain {
        /// Client to server.
        up: Pump,
        /// Server to client.
        down: Pump,
    },
    Tls(Box<TlsPump>),
}

/// The sockets, and the worker's buffer.
pub(super) struct Ends<'a> {
    pub(super) client: BorrowedFd<'a>,
    pub(super) server: BorrowedFd<'a>,
    pub(super) buffer: &'a mut [u8],
}

/// Plain bytes that were moved.
#[derive(Debug, Default)]
pub(super) struct Moved {
    pub(super) up: u64,
    pub(super) down: u64,
}

/// How a turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Nothing to do until the next event of either socket.
    Waiting,
    /// The turn's budget is used up; there may be more.
    More,
    /// Both directions ended in order, and their ends were passed on.
    Finished,
    /// A side failed.
    Failed(Side),
}

/// How a turn ended that delivers what a failed side had sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rescue {
    /// The turn's budget is used up; there may be more.
    More,
    /// The survivor takes no more for now.
    Blocked,
    /// All of it is written.
    Done,
    /// The survivor failed, too.
    Lost,
}

impl Relay {
    /// Forwards bytes as they come.
    pub(super) fn plain() -> Self {
        Self::Plain { up: Pump::default(), down: Pump::default() }
    }

    /// Notes an event of a socket.
    pub(super) fn event(&mut self, side: Side, flags: EventFlags) {
        match self {
            Self::Plain { up, down } => {
                let (reads, writes) = match side {
                    Side::Client => (up, down),
                    Side::Server => (down, up),
                };
                reads.source_event(flags);
                writes.sink_event(flags);
            }
            Self::Tls(tls) => tls.event(side, flags),
        }
    }

    /// Forgets what was noted of the server's socket: it is another one now.
    pub(super) fn forget_server(&mut self) {
        match self {
            Self::Plain { down, .. } => *down = Pump::default(),
            Self::Tls(tls) => tls.forget_server(),
        }
    }

    /// Notes that a side failed.
    pub(super) fn failed(&mut self, side: Side) {
        match (self, side) {
            (Self::Plain { up, .. }, Side::Client) => up.source_failed(),
            (Self::Plain { down, .. }, Side::Server) => down.source_failed(),
            (Self::Tls(tls), side) => tls.failed(side),
        }
    }

    /// What a client is to be told that broke the protocol.
    pub(super) fn take_alert(&mut self) -> Option<Vec<u8>> {
        match self {
            Self::Plain { .. } => None,
            Self::Tls(tls) => tls.take_alert(),
        }
    }

    /// Whether the client has sent something that the server has not got.
    pub(super) fn has_for_server(&mut self) -> bool {
        match self {
            Self::Plain { up, .. } => up.may_read(),
            Self::Tls(tls) => tls.has_plain(),
        }
    }

    /// Moves what can be moved in both directions.
    pub(super) fn run(&mut self, ends: &mut Ends<'_>, moved: &mut Moved) -> Turn {
        let (up, down) = match self {
            Self::Plain { up, down } => (up, down),
            Self::Tls(tls) => return tls.run(ends, moved),
        };
        let up = up.run(ends.client, ends.server, ends.buffer, &mut moved.up);
        let down = match up {
            Progress::SourceFailed | Progress::SinkFailed => Progress::Waiting,
            _ => down.run(ends.server, ends.client, ends.buffer, &mut moved.down),
        };
        match (up, down) {
            (Progress::SourceFailed, _) | (_, Progress::SinkFailed) => Turn::Failed(Side::Client),
            (Progress::SinkFailed, _) | (_, Progress::SourceFailed) => Turn::Failed(Side::Server),
            (Progress::Finished, Progress::Finished) => Turn::Finished,
            (Progress::More, _) | (_, Progress::More) => Turn::More,
            _ => Turn::Waiting,
        }
    }

    /// Delivers what a side had sent before it failed.
    pub(super) fn rescue(
        &mut self,
        failed: Side,
        ends: &mut Ends<'_>,
        moved: &mut Moved,
    ) -> Rescue {
        let (client, server) = (ends.client, ends.server);
        let (pump, progress) = match (self, failed) {
            (Self::Plain { up, .. }, Side::Client) => {
                let progress = up.run(client, server, ends.buffer, &mut moved.up);
                (up, progress)
            }
            (Self::Plain { down, .. }, Side::Server) => {
                let progress = down.run(server, client, ends.buffer, &mut moved.down);
                (down, progress)
            }
            (Self::Tls(tls), failed) => return tls.rescue(failed, ends, moved),
        };
        match progress {
            Progress::SinkFailed => Rescue::Lost,
            Progress::More => Rescue::More,
            Progress::Waiting if pump.has_leftover() => Rescue::Blocked,
            _ => Rescue::Done,
        }
    }
}

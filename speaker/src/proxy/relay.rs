//! The two directions of a connection, as they come or through TLS.

use std::os::fd::BorrowedFd;

use rustix::event::epoll::EventFlags;
use rustls::{ClientConnection, ServerConnection};

use super::end::Failed;
use super::pipe::Pipes;
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

/// The sockets, and what the worker lends.
pub(super) struct Ends<'a> {
    pub(super) client: BorrowedFd<'a>,
    pub(super) server: BorrowedFd<'a>,
    pub(super) buffer: &'a mut [u8],
    /// Where bytes go that came through TLS: more than the buffer has, by a record at least.
    pub(super) opened: &'a mut [u8],
    pub(super) pipes: &'a mut Pipes,
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

    /// Ends TLS of a client whose ClientHello was read.
    pub(super) fn with_client(tls: ServerConnection) -> Self {
        Self::Tls(Box::new(TlsPump::with_client(tls.into())))
    }

    /// Begins TLS with the server that was connected.
    pub(super) fn secure_server(&mut self, tls: ClientConnection) {
        match self {
            Self::Plain { .. } => *self = Self::Tls(Box::new(TlsPump::with_server(tls.into()))),
            Self::Tls(pump) => pump.secure_server(tls.into()),
        }
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
            Self::Tls(tls) => {
                if !tls.forget_server() {
                    // Whatever the client's socket has said: it is to be tried.
                    let mut up = Pump::default();
                    up.source_event(EventFlags::IN | EventFlags::RDHUP);
                    *self = Self::Plain { up, down: Pump::default() };
                }
            }
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

    /// Goes on with the handshake of a side. Whether it is finished; without TLS it is.
    ///
    /// # Errors
    /// The side failed; there is an alert when it broke the protocol.
    pub(super) fn shake(&mut self, side: Side, socket: BorrowedFd<'_>) -> Result<bool, Failed> {
        match self {
            Self::Plain { .. } => Ok(true),
            Self::Tls(tls) => tls.shake(side, socket),
        }
    }

    /// What a side is to be told that broke the protocol.
    pub(super) fn take_alert(&mut self, side: Side) -> Option<Vec<u8>> {
        match self {
            Self::Plain { .. } => None,
            Self::Tls(tls) => tls.take_alert(side),
        }
    }

    /// How the server broke the protocol, if it did.
    pub(super) fn server_broke(&self) -> Option<&rustls::Error> {
        match self {
            Self::Plain { .. } => None,
            Self::Tls(tls) => tls.server_broke(),
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
        let up = up.run(ends.client, ends.server, ends.buffer, ends.pipes, &mut moved.up);
        let down = match up {
            Progress::SourceFailed | Progress::SinkFailed => Progress::Waiting,
            _ => down.run(ends.server, ends.client, ends.buffer, ends.pipes, &mut moved.down),
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
        let Ends { client, server, .. } = *ends;
        let (pump, progress) = match (self, failed) {
            (Self::Plain { up, .. }, Side::Client) => {
                let progress = up.run(client, server, ends.buffer, ends.pipes, &mut moved.up);
                (up, progress)
            }
            (Self::Plain { down, .. }, Side::Server) => {
                let progress = down.run(server, client, ends.buffer, ends.pipes, &mut moved.down);
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

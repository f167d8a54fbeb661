//! Both directions of a connection of which one side at least speaks TLS with us.
//!
//! Little waits in it: of each direction what one read brought, a buffer, and the sink does not take. While something waits, nothing more is read, so a receiver that stalls stops its sender.
//!
//! An orderly end of one side becomes one of the other: `close_notify` and the end of the stream where
//! that speaks TLS, else the end of the stream. An end of TLS without `close_notify` is a truncation (RFC
//! 8446 6.1), and counts as a failure of the side that it came from.

use std::os::fd::BorrowedFd;

use rustix::event::epoll::EventFlags;
use rustls::{Connection, ProtocolVersion};

use super::end::{End, Failed, Next};
use super::relay::{Ends, Moved, Rescue, Turn};
use super::token::Side;

/// Steps per turn and direction, each a buffer; then the other connections of the worker come first.
const STEPS: usize = 8;

/// See the module.
#[derive(Debug)]
pub(super) struct TlsPump {
    client: End,
    server: End,
}

impl TlsPump {
    /// Begins a handshake with a client whose ClientHello was read.
    pub(super) fn with_client(tls: Connection) -> Self {
        Self { client: End::secure(tls), server: End::plain() }
    }

    /// Begins a handshake with the server of a client that speaks for itself.
    pub(super) fn with_server(tls: Connection) -> Self {
        Self { client: End::plain(), server: End::secure(tls) }
    }

    /// Begins a handshake with the server.
    pub(super) fn secure_server(&mut self, tls: Connection) {
        self.server = End::secure(tls);
    }

    /// Forgets what was noted of the server's socket: it is another one now. Whether TLS has a part in
    /// this still.
    pub(super) fn forget_server(&mut self) -> bool {
        self.server = End::plain();
        self.client.is_secure()
    }

    fn end(&mut self, side: Side) -> &mut End {
        match side {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        }
    }

    /// Notes an event of a socket.
    pub(super) fn event(&mut self, side: Side, flags: EventFlags) {
        self.end(side).event(flags);
    }

    /// Notes that a side failed (in a way that its next read may no longer tell).
    pub(super) fn failed(&mut self, side: Side) {
        self.end(side).failed();
    }

    /// The alert for a side that broke the protocol, after what was queued before it.
    pub(super) fn take_alert(&mut self, side: Side) -> Option<Vec<u8>> {
        self.end(side).take_alert()
    }

    /// How the server broke the protocol, if it did.
    pub(super) fn server_broke(&self) -> Option<&rustls::Error> {
        self.server.broken()
    }

    /// Goes on with the handshake of a side. Whether it is finished.
    ///
    /// # Errors
    /// The side failed; there is an alert when it broke the protocol.
    pub(super) fn shake(&mut self, side: Side, socket: BorrowedFd<'_>) -> Result<bool, Failed> {
        self.end(side).shake(socket)
    }

    /// What was agreed on of what the client offered, if anything.
    pub(super) fn alpn(&self) -> Option<&[u8]> {
        self.client.alpn()
    }

    /// The version that was agreed on, as people write it.
    pub(super) fn version(&self) -> Option<&'static str> {
        match self.client.version()? {
            ProtocolVersion::TLSv1_3 => Some("TLSv1.3"),
            ProtocolVersion::TLSv1_2 => Some("TLSv1.2"),
            _ => None,
        }
    }

    /// Whether plain bytes of the client wait.
    pub(super) fn has_plain(&mut self) -> bool {
        self.client.has_bytes()
    }

    /// Moves what can be moved now.
    pub(super) fn run(&mut self, ends: &mut Ends<'_>, moved: &mut Moved) -> Turn {
        let mut more = false;
        for source in [Side::Client, Side::Server] {
            match self.direct(source, ends, moved) {
                Ok(has_more) => more |= has_more,
                Err(side) => return Turn::Failed(side),
            }
        }
        // What reading from the server gave TLS to say to it: no event may come to bring that out.
        if self.server.flush(ends.server).is_err() {
            return Turn::Failed(Side::Server);
        }
        match (self.client.is_ended() && self.server.is_ended(), more) {
            (true, _) => Turn::Finished,
            (false, true) => Turn::More,
            (false, false) => Turn::Waiting,
        }
    }

    /// Delivers what a side had sent before it failed.
    pub(super) fn rescue(
        &mut self,
        failed: Side,
        ends: &mut Ends<'_>,
        moved: &mut Moved,
    ) -> Rescue {
        let outcome = self.direct(failed, ends, moved);
        let (source, sink) = match failed {
            Side::Client => (&mut self.client, &self.server),
            Side::Server => (&mut self.server, &self.client),
        };
        let waits = source.holds() || sink.owes();
        match outcome {
            Err(side) if side != failed => Rescue::Lost,
            _ if waits && sink.is_full() => Rescue::Blocked,
            Ok(true) => Rescue::More,
            _ if waits => Rescue::More,
            _ => Rescue::Done,
        }
    }

    /// Moves what can be moved from a side to the other. Whether there may be more to do at once, or
    /// which side failed.
    fn direct(&mut self, side: Side, ends: &mut Ends<'_>, moved: &mut Moved) -> Result<bool, Side> {
        let (source, from, moved, sink, to, other) = match side {
            Side::Client => {
                let Self { client, server } = self;
                (client, ends.client, &mut moved.up, server, ends.server, Side::Server)
            }
            Side::Server => {
                let Self { client, server } = self;
                (server, ends.server, &mut moved.down, client, ends.client, Side::Client)
            }
        };
        for _ in 0..STEPS {
            sink.flush(to).map_err(|_| other)?;
            if sink.is_ending() || !sink.has_room() {
                return Ok(false);
            }
            match source.next(from, ends.buffer, ends.opened).map_err(|_| side)? {
                Next::Nothing => return Ok(false),
                Next::Again => {}
                Next::End => sink.end(),
                Next::Bytes(bytes) => {
                    *moved += bytes.len() as u64;
                    sink.give(to, bytes).map_err(|_| other)?;
                }
            }
        }
        Ok(true)
    }
}

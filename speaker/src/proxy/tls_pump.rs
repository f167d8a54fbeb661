//! Both directions of a connection whose client speaks TLS: its side is encrypted, the backend's plain.
//!
//! rustls does the protocol, without any I/O of its own; this moves bytes between it and the two
//! sockets. Little waits in it: one record from the client that the backend does not take, one
//! buffer's worth from the backend that the client does not take. While something waits, nothing more
//! is read, so a receiver that stalls stops its sender.
//!
//! An orderly end (`close_notify`) becomes the end of the stream to the backend and the other way
//! round. An end without it is a truncation (RFC 8446 6.1), and counts as a failure of the client.

use std::io::{self, BufRead, ErrorKind, Write};
use std::os::fd::BorrowedFd;

use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{RecvFlags, Shutdown, recv, shutdown};
use rustls::{ProtocolVersion, ServerConnection};

use super::pump::write_some;
use super::relay::{Ends, Moved, Rescue, Turn};
use super::tls::Socket;
use super::token::Side;

/// Steps per turn and direction; then the other connections of the worker come first. A step of the
/// client's direction moves a few KiB, one of the backend's a buffer.
const STEPS_UP: usize = 64;
const STEPS_DOWN: usize = 8;

/// See the module.
#[derive(Debug)]
pub(super) struct TlsPump {
    tls: ServerConnection,
    client: Readiness,
    server: Readiness,
    /// The client's orderly end was passed on.
    up_done: bool,
    /// The backend's end was noted (`close_notify`), and has been passed on.
    down_done: bool,
    down_passed: bool,
    /// The client's stream ended, in order or not.
    client_ended: bool,
    /// What looks like an orderly end of the backend is none.
    server_failed: bool,
    /// What the client is to be told that broke the protocol.
    alert: Option<Vec<u8>>,
}

/// What the edges said about a socket, until a system call shows that it is no longer so.
#[derive(Debug)]
struct Readiness {
    readable: bool,
    full: bool,
}

impl Readiness {
    /// Of a socket that was just begun with: to be tried.
    const UNKNOWN: Self = Self { readable: true, full: false };

    fn event(&mut self, flags: EventFlags) {
        self.readable |= !flags.difference(EventFlags::OUT).is_empty();
        self.full &= !flags.intersects(EventFlags::OUT | EventFlags::ERR | EventFlags::HUP);
    }
}

impl TlsPump {
    /// Begins a handshake whose ClientHello was read.
    pub(super) fn new(mut tls: ServerConnection) -> Self {
        // What waits in it is bounded by what is read at once.
        tls.set_buffer_limit(None);
        Self {
            tls,
            client: Readiness::UNKNOWN,
            server: Readiness::UNKNOWN,
            up_done: false,
            down_done: false,
            down_passed: false,
            client_ended: false,
            server_failed: false,
            alert: None,
        }
    }

    /// Notes an event of a socket.
    pub(super) fn event(&mut self, side: Side, flags: EventFlags) {
        match side {
            Side::Client => self.client.event(flags),
            Side::Server => self.server.event(flags),
        }
    }

    /// Forgets what was noted of the backend's socket: it is another one now.
    pub(super) fn forget_server(&mut self) {
        self.server = Readiness::UNKNOWN;
    }

    /// Notes that a side failed (in a way that its next read may no longer tell).
    pub(super) fn failed(&mut self, side: Side) {
        match side {
            Side::Client => self.client.readable = true,
            Side::Server => (self.server.readable, self.server_failed) = (true, true),
        }
    }

    /// The alert for a client that broke the protocol, after what was queued before it.
    pub(super) fn take_alert(&mut self) -> Option<Vec<u8>> {
        self.alert.take()
    }

    /// Goes on with the handshake. Whether it is finished.
    ///
    /// # Errors
    /// The client failed; there is an alert when it broke the protocol.
    pub(super) fn shake(&mut self, client: BorrowedFd<'_>) -> Result<bool, Side> {
        loop {
            self.flush(client)?;
            if !self.tls.is_handshaking() {
                return Ok(true);
            }
            if self.client_ended {
                return Err(Side::Client);
            }
            if !self.read(client)? {
                return Ok(false);
            }
        }
    }

    /// What was agreed on of what the client offered, if anything.
    pub(super) fn alpn(&self) -> Option<&[u8]> {
        self.tls.alpn_protocol()
    }

    /// The version that was agreed on, as people write it.
    pub(super) fn version(&self) -> Option<&'static str> {
        match self.tls.protocol_version()? {
            ProtocolVersion::TLSv1_3 => Some("TLSv1.3"),
            ProtocolVersion::TLSv1_2 => Some("TLSv1.2"),
            _ => None,
        }
    }

    /// Whether plain bytes of the client wait.
    pub(super) fn has_plain(&mut self) -> bool {
        self.tls.reader().fill_buf().is_ok_and(|plain| !plain.is_empty())
    }

    /// Moves what can be moved now.
    pub(super) fn run(&mut self, ends: &mut Ends<'_>, moved: &mut Moved) -> Turn {
        let up = match self.up(ends, moved) {
            Ok(more) => more,
            Err(side) => return Turn::Failed(side),
        };
        let down = match self.down(ends, moved) {
            Ok(more) => more,
            Err(side) => return Turn::Failed(side),
        };
        match (self.up_done && self.down_passed, up || down) {
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
        let outcome = match failed {
            Side::Client => self.up(ends, moved),
            Side::Server => self.down(ends, moved),
        };
        let waits = match failed {
            Side::Client => self.tls.reader().fill_buf().is_ok_and(|plain| !plain.is_empty()),
            Side::Server => self.tls.wants_write() && !self.down_passed,
        };
        let full = match failed {
            Side::Client => self.server.full,
            Side::Server => self.client.full,
        };
        match outcome {
            Err(side) if side != failed => Rescue::Lost,
            _ if waits && full => Rescue::Blocked,
            Ok(true) => Rescue::More,
            _ if waits => Rescue::More,
            _ => Rescue::Done,
        }
    }

    /// Client to backend. Whether there may be more to do at once.
    fn up(&mut self, ends: &Ends<'_>, moved: &mut Moved) -> Result<bool, Side> {
        for _ in 0..STEPS_UP {
            if self.up_done || self.server.full {
                return Ok(false);
            }
            let mut plain = self.tls.reader();
            let taken = match plain.fill_buf() {
                Ok([]) => {
                    self.up_done = true;
                    shutdown(ends.server, Shutdown::Write).map_err(|_| Side::Server)?;
                    return Ok(false);
                }
                Ok(bytes) => {
                    let taken = write_some(ends.server, bytes).map_err(|_| Side::Server)?;
                    self.server.full = taken < bytes.len();
                    taken
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    match self.read(ends.client)? {
                        true => continue,
                        false => return Ok(false),
                    }
                }
                // The end, and no close_notify before it.
                Err(_) => return Err(Side::Client),
            };
            plain.consume(taken);
            moved.up += taken as u64;
        }
        Ok(true)
    }

    /// Backend to client. Whether there may be more to do at once.
    fn down(&mut self, ends: &mut Ends<'_>, moved: &mut Moved) -> Result<bool, Side> {
        for _ in 0..STEPS_DOWN {
            self.flush(ends.client)?;
            if self.tls.wants_write() || self.down_done || !self.server.readable {
                return Ok(false);
            }
            match recv(ends.server, &mut *ends.buffer, RecvFlags::empty()) {
                Ok((_, 0)) if self.server_failed => return Err(Side::Server),
                Ok((_, 0)) => {
                    self.down_done = true;
                    self.tls.send_close_notify();
                }
                Ok((_, read)) => {
                    moved.down += read as u64;
                    let written = self.tls.writer().write_all(&ends.buffer[..read]);
                    written.map_err(|_| Side::Client)?;
                }
                Err(Errno::AGAIN) => self.server.readable = false,
                Err(Errno::INTR) => {}
                Err(_) => return Err(Side::Server),
            }
        }
        Ok(true)
    }

    /// Reads from the client. Whether there was anything: bytes, or the end.
    fn read(&mut self, client: BorrowedFd<'_>) -> Result<bool, Side> {
        if !self.client.readable || self.alert.is_some() || !self.tls.wants_read() {
            return Ok(false);
        }
        match self.tls.read_tls(&mut Socket(client)) {
            Ok(read) => self.client_ended = read == 0,
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(true),
            Err(error) => {
                self.client.readable = false;
                return if error.kind() == ErrorKind::WouldBlock {
                    Ok(false)
                } else {
                    Err(Side::Client)
                };
            }
        }
        if self.tls.process_new_packets().is_err() {
            let mut last_words = Vec::new();
            while matches!(self.tls.write_tls(&mut last_words), Ok(1..)) {}
            self.alert = Some(last_words);
            return Err(Side::Client);
        }
        Ok(true)
    }

    /// Writes what TLS has for the client, and the end behind the last of it.
    fn flush(&mut self, client: BorrowedFd<'_>) -> Result<(), Side> {
        if self.down_passed {
            // An answer to new keys of the client; nobody may hear it behind our close_notify.
            let _ = self.tls.write_tls(&mut io::sink());
            return Ok(());
        }
        while self.tls.wants_write() && !self.client.full {
            match self.tls.write_tls(&mut Socket(client)) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.client.full = true,
                Err(_) => return Err(Side::Client),
            }
        }
        if self.down_done && !self.tls.wants_write() {
            self.down_passed = true;
            shutdown(client, Shutdown::Write).map_err(|_| Side::Client)?;
        }
        Ok(())
    }
}

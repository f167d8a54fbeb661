//! One side of a connection that TLS has a part in: its socket, with TLS on it or without.
//!
//! rustls does the protocol, without any I/O of its own; this moves bytes between it and the socket.
//! Always holds: nothing is read from a socket while what was read before is still to be taken, so what
//! waits in here is bounded by what is read at once; once its end was passed on nothing more is written.

use std::io::{self, BufRead, ErrorKind, Write};
use std::os::fd::BorrowedFd;

use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{RecvFlags, Shutdown, recv, shutdown};
use rustls::{Connection, ProtocolVersion};

use super::pump::write_some;
use super::tls::Socket;

/// See the module.
#[derive(Debug)]
pub(super) struct End {
    tls: Option<Box<Connection>>,
    /// What the edges said, until a system call shows that it is no longer so.
    readable: bool,
    full: bool,
    /// The socket's stream ended, in order or not. (Noted of TLS only.)
    stopped: bool,
    /// It is known to have failed: what looks like an orderly end is none.
    failed: bool,
    /// That it gets no more was noted (`close_notify`), and has been passed on.
    ending: bool,
    ended: bool,
    /// How it broke the protocol.
    broken: Option<Box<Broken>>,
}

/// What TLS says of a peer that broke the protocol.
#[derive(Debug)]
struct Broken {
    error: rustls::Error,
    /// What the peer is to be told, until somebody takes it. Empty where it was the peer that gave up.
    alert: Option<Vec<u8>>,
}

/// What there is to be taken from an end.
#[derive(Debug)]
pub(super) enum Next<'a> {
    /// These bytes; [`End::took`] has to follow.
    Bytes(&'a [u8]),
    /// Nothing that can be taken yet, but something was read.
    Again,
    /// Nothing until the next event.
    Nothing,
    /// The orderly end.
    End,
}

/// The end failed: its host, its protocol, or the stream stopped where it may not.
#[derive(Debug)]
pub(super) struct Failed;

impl End {
    fn new(tls: Option<Box<Connection>>) -> Self {
        Self {
            tls,
            // Of a socket that was just begun with: to be tried.
            readable: true,
            full: false,
            stopped: false,
            failed: false,
            ending: false,
            ended: false,
            broken: None,
        }
    }

    /// A socket as it is.
    pub(super) fn plain() -> Self {
        Self::new(None)
    }

    /// A socket with TLS on it, the handshake under way.
    pub(super) fn secure(mut tls: Connection) -> Self {
        // What waits in it is bounded by what is read at once.
        tls.set_buffer_limit(None);
        Self::new(Some(Box::new(tls)))
    }

    /// Whether there is TLS on it.
    pub(super) fn is_secure(&self) -> bool {
        self.tls.is_some()
    }

    /// What was agreed on of what the peer offered (ALPN), if anything.
    pub(super) fn alpn(&self) -> Option<&[u8]> {
        self.tls.as_ref()?.alpn_protocol()
    }

    /// The version of TLS that was agreed on.
    pub(super) fn version(&self) -> Option<ProtocolVersion> {
        self.tls.as_ref()?.protocol_version()
    }

    /// Whether bytes wait that can be taken at once.
    pub(super) fn has_bytes(&mut self) -> bool {
        match &mut self.tls {
            Some(tls) => tls.reader().fill_buf().is_ok_and(|plain| !plain.is_empty()),
            None => self.readable,
        }
    }

    /// Notes an event of the socket.
    pub(super) fn event(&mut self, flags: EventFlags) {
        self.readable |= !flags.difference(EventFlags::OUT).is_empty();
        self.full &= !flags.intersects(EventFlags::OUT | EventFlags::ERR | EventFlags::HUP);
    }

    /// Notes that it failed, in a way that the next read may no longer tell. (With TLS an end that is
    /// none shows by itself.)
    pub(super) fn failed(&mut self) {
        (self.readable, self.failed) = (true, true);
    }

    /// The alert for a peer that broke the protocol, after what was queued before it.
    pub(super) fn take_alert(&mut self) -> Option<Vec<u8>> {
        self.broken.as_mut()?.alert.take()
    }

    /// How it broke the protocol, if it did.
    pub(super) fn broken(&self) -> Option<&rustls::Error> {
        self.broken.as_ref().map(|broken| &broken.error)
    }

    /// Whether it takes bytes now.
    pub(super) fn has_room(&self) -> bool {
        match &self.tls {
            Some(tls) => !tls.wants_write(),
            None => !self.full,
        }
    }

    /// Whether its socket takes nothing until the next event.
    pub(super) fn is_full(&self) -> bool {
        self.full
    }

    /// Whether nothing more can be given to it, and whether its peer knows.
    pub(super) fn is_ending(&self) -> bool {
        self.ending
    }

    pub(super) fn is_ended(&self) -> bool {
        self.ended
    }

    /// Whether bytes that were read are still to be taken.
    pub(super) fn holds(&mut self) -> bool {
        let plain = self.tls.as_mut().map(|tls| tls.reader());
        plain.is_some_and(|mut plain| plain.fill_buf().is_ok_and(|bytes| !bytes.is_empty()))
    }

    /// Whether bytes that were given are still to be written.
    pub(super) fn owes(&self) -> bool {
        !self.ended && self.tls.as_ref().is_some_and(|tls| tls.wants_write())
    }

    /// Goes on with the handshake. Whether it is finished.
    pub(super) fn shake(&mut self, socket: BorrowedFd<'_>) -> Result<bool, Failed> {
        loop {
            self.flush(socket)?;
            if !self.tls.as_ref().is_some_and(|tls| tls.is_handshaking()) {
                return Ok(true);
            }
            if self.stopped {
                return Err(Failed);
            }
            if !self.read(socket)? {
                return Ok(false);
            }
        }
    }

    /// What there is to be taken. What comes without TLS is read into the buffer.
    pub(super) fn next<'a>(
        &'a mut self,
        socket: BorrowedFd<'_>,
        buffer: &'a mut [u8],
    ) -> Result<Next<'a>, Failed> {
        let Some(tls) = &mut self.tls else { return self.next_plain(socket, buffer) };
        let held = tls.reader().fill_buf().map(|bytes| !bytes.is_empty());
        match held {
            Ok(true) => self.first_chunk(),
            Ok(false) => Ok(Next::End),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                Ok(if self.read(socket)? { Next::Again } else { Next::Nothing })
            }
            // The socket's end, and no close_notify before it.
            Err(_) => Err(Failed),
        }
    }

    fn first_chunk(&mut self) -> Result<Next<'_>, Failed> {
        let tls = self.tls.as_mut().ok_or(Failed)?;
        tls.reader().into_first_chunk().map(Next::Bytes).map_err(|_| Failed)
    }

    fn next_plain<'a>(
        &mut self,
        socket: BorrowedFd<'_>,
        buffer: &'a mut [u8],
    ) -> Result<Next<'a>, Failed> {
        if !self.readable {
            return Ok(Next::Nothing);
        }
        match recv(socket, &mut *buffer, RecvFlags::empty()) {
            Ok((_, 0)) if self.failed => Err(Failed),
            Ok((_, 0)) => Ok(Next::End),
            Ok((_, read)) => Ok(Next::Bytes(&buffer[..read])),
            Err(Errno::INTR) => Ok(Next::Again),
            Err(Errno::AGAIN) => {
                self.readable = false;
                Ok(Next::Nothing)
            }
            Err(_) => Err(Failed),
        }
    }

    /// So many of the bytes that there were have been taken. (Without TLS they are gone in any case.)
    pub(super) fn took(&mut self, count: usize) {
        if let Some(tls) = &mut self.tls {
            tls.reader().consume(count);
        }
    }

    /// Gives it bytes. How many it took: with TLS all of them, which are then to be flushed.
    pub(super) fn give(&mut self, socket: BorrowedFd<'_>, bytes: &[u8]) -> Result<usize, Failed> {
        let Some(tls) = &mut self.tls else {
            let taken = write_some(socket, bytes).map_err(|_| Failed)?;
            self.full = taken < bytes.len();
            return Ok(taken);
        };
        tls.writer().write_all(bytes).map_err(|_| Failed)?;
        Ok(bytes.len())
    }

    /// Notes that there is no more for it. The next flush passes that on, behind the last byte.
    pub(super) fn end(&mut self) {
        self.ending = true;
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
        }
    }

    /// Writes what TLS has for the peer, and the end behind the last of it.
    pub(super) fn flush(&mut self, socket: BorrowedFd<'_>) -> Result<(), Failed> {
        if self.ended {
            if let Some(tls) = &mut self.tls {
                // An answer to new keys of the peer; nobody may hear it behind our close_notify.
                let _ = tls.write_tls(&mut io::sink());
            }
            return Ok(());
        }
        if let Some(tls) = &mut self.tls {
            while tls.wants_write() && !self.full {
                match tls.write_tls(&mut Socket(socket)) {
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::WouldBlock => self.full = true,
                    Err(_) => return Err(Failed),
                }
            }
            if tls.wants_write() {
                return Ok(());
            }
        }
        if self.ending {
            self.ended = true;
            shutdown(socket, Shutdown::Write).map_err(|_| Failed)?;
        }
        Ok(())
    }

    /// Reads what TLS is to understand. Whether there was anything: bytes, or the end.
    fn read(&mut self, socket: BorrowedFd<'_>) -> Result<bool, Failed> {
        let Some(tls) = &mut self.tls else { return Ok(false) };
        if !self.readable || self.broken.is_some() || !tls.wants_read() {
            return Ok(false);
        }
        match tls.read_tls(&mut Socket(socket)) {
            Ok(read) => self.stopped = read == 0,
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(true),
            Err(error) => {
                self.readable = false;
                let empty = error.kind() == ErrorKind::WouldBlock;
                return if empty { Ok(false) } else { Err(Failed) };
            }
        }
        if let Err(error) = tls.process_new_packets() {
            let mut alert = Vec::new();
            while matches!(tls.write_tls(&mut alert), Ok(1..)) {}
            self.broken = Some(Box::new(Broken { error, alert: Some(alert) }));
            return Err(Failed);
        }
        Ok(true)
    }
}

//! One side of a connection that TLS has a part in: its socket, with TLS on it or without.
//!
//! rustls does the protocol, without any I/O of its own; this moves bytes between it and the socket. A record
//! at a time would be a system call for each on either side, and a packet for each on the way, so once the handshake is over a
//! buffer is read at once, and what all its records open into is given on as one piece.
//!
//! Always holds: nothing is read from a socket while what was read before is still to be taken, so what
//! waits in here is bounded by what is read at once; once its end was passed on nothing more is written.

use std::io::{self, BufRead, ErrorKind, Read, Write};
use std::mem;
use std::os::fd::BorrowedFd;

use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{RecvFlags, Shutdown, recv, shutdown};
use rustls::{Connection, ProtocolVersion};

use super::pump::{MORE_BEHIND, write_some};
use super::tls::Socket;

/// See the module.
#[derive(Debug)]
pub(super) struct End {
    tls: Option<Box<Connection>>,
    /// Without TLS: what a short write left over.
    leftover: Option<Box<Leftover>>,
    /// What the edges said, until a system call shows that it is no longer so.
    readable: bool,
    /// Something is behind the bytes: a read that did not fill the buffer is not the last one.
    more_behind: bool,
    full: bool,
    /// The socket's stream ended, in order or not. (Noted of TLS only.)
    stopped: bool,
    /// It is known to have failed: what looks like an orderly end is none.
    failed: bool,
    /// Its TLS failed behind the bytes that were taken last.
    lost: bool,
    /// That it gets no more was noted (`close_notify`), and has been passed on.
    ending: bool,
    ended: bool,
    /// How it broke the protocol.
    broken: Option<Box<Broken>>,
}

/// Bytes, of which so many have been written.
#[derive(Debug)]
struct Leftover {
    bytes: Box<[u8]>,
    written: usize,
}

/// How far TLS could be emptied.
#[derive(Debug, PartialEq, Eq)]
enum Emptied {
    /// There is no more for now.
    ForNow,
    /// There is no more, by `close_notify`.
    ForGood,
    /// The buffer is full.
    Not,
}

/// A socket on which nothing has come.
struct Nothing;

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
    /// These bytes, which are kept nowhere else.
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
            leftover: None,
            // Of a socket that was just begun with: to be tried.
            readable: true,
            more_behind: true,
            full: false,
            stopped: false,
            failed: false,
            lost: false,
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
        self.more_behind |= flags.intersects(MORE_BEHIND);
        self.full &= !flags.intersects(EventFlags::OUT | EventFlags::ERR | EventFlags::HUP);
    }

    /// Notes that it failed, in a way that the next read may no longer tell. (With TLS an end that is
    /// none shows by itself.)
    pub(super) fn failed(&mut self) {
        (self.readable, self.more_behind, self.failed) = (true, true, true);
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
            None => self.leftover.is_none() && !self.full,
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
        let waits = self.tls.as_ref().is_some_and(|tls| tls.wants_write());
        !self.ended && (waits || self.leftover.is_some())
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

    /// What there is to be taken, in one of the two buffers, of which the second has room for more than the first by a
    /// record at least.
    pub(super) fn next<'a>(
        &mut self,
        socket: BorrowedFd<'_>,
        buffer: &'a mut [u8],
        opened: &'a mut [u8],
    ) -> Result<Next<'a>, Failed> {
        if self.tls.is_none() {
            return self.next_plain(socket, buffer);
        }
        // Once: whoever asks again wants what is left.
        if mem::take(&mut self.lost) {
            return Err(Failed);
        }
        let mut filled = 0;
        // What came with the end of the handshake.
        let next = match self.empty(opened, &mut filled) {
            Ok(Emptied::ForNow) if filled == 0 => self.open(socket, buffer, opened, &mut filled),
            Ok(Emptied::ForGood) => Ok(Next::End),
            Ok(_) => Ok(Next::Again),
            // The socket's end, and no close_notify before it.
            Err(Failed) => Err(Failed),
        };
        if filled == 0 {
            return next;
        }
        self.lost = next.is_err();
        Ok(Next::Bytes(&opened[..filled]))
    }

    /// Reads a buffer, and opens what is in it.
    fn open(
        &mut self,
        socket: BorrowedFd<'_>,
        buffer: &mut [u8],
        opened: &mut [u8],
        filled: &mut usize,
    ) -> Result<Next<'static>, Failed> {
        let Some(tls) = &mut self.tls else { return Ok(Next::Nothing) };
        if !self.readable || self.broken.is_some() || !tls.wants_read() {
            return Ok(Next::Nothing);
        }
        let mut sealed = match recv(socket, &mut *buffer, RecvFlags::empty()) {
            Ok((_, 0)) => {
                self.stopped = true;
                let mut end: &[u8] = &[];
                return self.understand(&mut end).map(|()| Next::Again);
            }
            Ok((_, read)) => &buffer[..read],
            Err(Errno::INTR) => return Ok(Next::Again),
            Err(Errno::AGAIN) => {
                self.is_dry();
                return Ok(Next::Nothing);
            }
            Err(_) => {
                self.readable = false;
                return Err(Failed);
            }
        };
        let is_all = sealed.len() < buffer.len() && !self.more_behind;
        while !sealed.is_empty() {
            let before = sealed.len();
            self.understand(&mut sealed)?;
            // What is behind the end is nobody's (RFC 8446, 6.1).
            if self.empty(opened, filled)? == Emptied::ForGood || sealed.len() == before {
                break;
            }
        }
        if is_all {
            self.is_dry();
        }
        Ok(Next::Again)
    }

    /// Takes what TLS has to be taken.
    fn empty(&mut self, opened: &mut [u8], filled: &mut usize) -> Result<Emptied, Failed> {
        let Some(tls) = &mut self.tls else { return Ok(Emptied::ForNow) };
        while *filled < opened.len() {
            match tls.reader().read(&mut opened[*filled..]) {
                Ok(0) => return Ok(Emptied::ForGood),
                Ok(read) => *filled += read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Emptied::ForNow),
                Err(_) => return Err(Failed),
            }
        }
        Ok(Emptied::Not)
    }

    /// Nothing is left in the socket: TLS need not keep room for much more than it has.
    fn is_dry(&mut self) {
        (self.readable, self.more_behind) = (false, false);
        if let Some(tls) = &mut self.tls {
            let _ = tls.read_tls(&mut Nothing);
        }
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
            Ok((_, read)) => {
                self.readable = read == buffer.len() || self.more_behind;
                Ok(Next::Bytes(&buffer[..read]))
            }
            Err(Errno::INTR) => Ok(Next::Again),
            Err(Errno::AGAIN) => {
                (self.readable, self.more_behind) = (false, false);
                Ok(Next::Nothing)
            }
            Err(_) => Err(Failed),
        }
    }

    /// Gives it bytes. What is not written at once it keeps until the next flush.
    pub(super) fn give(&mut self, socket: BorrowedFd<'_>, bytes: &[u8]) -> Result<(), Failed> {
        if let Some(tls) = &mut self.tls {
            return tls.writer().write_all(bytes).map_err(|_| Failed);
        }
        let taken = write_some(socket, bytes).map_err(|_| Failed)?;
        if taken < bytes.len() {
            self.full = true;
            self.leftover = Some(Box::new(Leftover { bytes: bytes[taken..].into(), written: 0 }));
        }
        Ok(())
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
        if !self.write_leftover(socket)? {
            return Ok(());
        }
        if self.ending {
            self.ended = true;
            shutdown(socket, Shutdown::Write).map_err(|_| Failed)?;
        }
        Ok(())
    }

    /// Writes what a short write left over. Whether that is all written.
    fn write_leftover(&mut self, socket: BorrowedFd<'_>) -> Result<bool, Failed> {
        let Some(Leftover { bytes, written }) = self.leftover.as_deref_mut() else {
            return Ok(true);
        };
        if self.full {
            return Ok(false);
        }
        *written += write_some(socket, &bytes[*written..]).map_err(|_| Failed)?;
        self.full = *written < bytes.len();
        if !self.full {
            self.leftover = None;
        }
        Ok(!self.full)
    }

    /// Reads what TLS is to understand of a handshake, no more than it asks for. Whether there was anything: bytes,
    /// or the end.
    fn read(&mut self, socket: BorrowedFd<'_>) -> Result<bool, Failed> {
        let Some(tls) = &mut self.tls else { return Ok(false) };
        if !self.readable || self.broken.is_some() || !tls.wants_read() {
            return Ok(false);
        }
        match tls.read_tls(&mut Socket(socket)) {
            Ok(read) => self.stopped = read == 0,
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(true),
            Err(error) => {
                (self.readable, self.more_behind) = (false, false);
                let empty = error.kind() == ErrorKind::WouldBlock;
                return if empty { Ok(false) } else { Err(Failed) };
            }
        }
        self.process().map(|()| true)
    }

    /// Lets TLS take some of what was read; of nothing, that it is the end.
    fn understand(&mut self, sealed: &mut &[u8]) -> Result<(), Failed> {
        let Some(tls) = &mut self.tls else { return Ok(()) };
        tls.read_tls(sealed).map_err(|_| Failed)?;
        self.process()
    }

    fn process(&mut self) -> Result<(), Failed> {
        let Some(tls) = &mut self.tls else { return Ok(()) };
        let Err(error) = tls.process_new_packets() else { return Ok(()) };
        let mut alert = Vec::new();
        while matches!(tls.write_tls(&mut alert), Ok(1..)) {}
        self.broken = Some(Box::new(Broken { error, alert: Some(alert) }));
        Err(Failed)
    }
}

impl Read for Nothing {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(ErrorKind::WouldBlock.into())
    }
}

//! The bytes of a connection: what came and is not yet a message, what is to go and is not yet
//! taken.

use std::io;
use std::net::IpAddr;

use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::bgp::wire::LONGEST;

/// Read at once; what is not yet a whole message after that is shorter than the longest one.
const READ: usize = 4 * LONGEST;

/// A connection.
pub(super) struct Link {
    stream: TcpStream,
    inbox: Vec<u8>,
    /// Whether anything has come.
    heard: bool,
    outbox: Vec<u8>,
    /// Of the outbox, what is taken already.
    taken: usize,
}

/// What reading gave.
pub(super) enum Read {
    /// There are new bytes in the inbox.
    Some,
    /// Nothing has come.
    Nothing,
    /// The peer has closed, or the connection is broken.
    Closed(String),
}

impl Link {
    pub(super) fn new(stream: TcpStream) -> Link {
        Link { stream, inbox: Vec::new(), heard: false, outbox: Vec::new(), taken: 0 }
    }

    /// Whether all was taken.
    pub(super) fn idle(&self) -> bool {
        self.outbox.is_empty()
    }

    pub(super) fn send(&mut self, message: &[u8]) {
        self.outbox.extend(message);
    }

    /// Hands over what the kernel takes now; whether it took something.
    pub(super) fn flush(&mut self) -> io::Result<bool> {
        let before = self.taken;
        while self.taken < self.outbox.len() {
            match self.stream.try_write(&self.outbox[self.taken..]) {
                Ok(count) => self.taken += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(self.taken > before);
                }
                Err(error) => return Err(error),
            }
        }
        let progress = self.taken > before;
        self.outbox.clear();
        self.taken = 0;
        // A dump of many routes is not to be paid for until the end of the session.
        self.outbox.shrink_to(READ);
        Ok(progress)
    }

    /// Waits until there is something to read, or room to write if something waits for it.
    pub(super) async fn ready(&self) -> io::Result<()> {
        let interest =
            if self.idle() { Interest::READABLE } else { Interest::READABLE | Interest::WRITABLE };
        self.stream.ready(interest).await.map(drop)
    }

    /// Takes in what has come, up to a bound.
    pub(super) fn read(&mut self) -> Read {
        let mut chunk = [0; READ];
        match self.stream.try_read(&mut chunk) {
            Ok(0) => Read::Closed("the peer closed it".to_owned()),
            Ok(count) => {
                self.inbox.extend(&chunk[..count]);
                self.heard = true;
                Read::Some
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Read::Nothing,
            Err(error) => Read::Closed(error.to_string()),
        }
    }

    /// Our own address, if the peer has said nothing to it so far: routers close without a word when they do not
    /// know who calls.
    pub(super) fn unheard(&self) -> Option<IpAddr> {
        let address = self.stream.local_addr().ok().filter(|_| !self.heard)?;
        Some(address.ip().to_canonical())
    }

    pub(super) fn inbox(&self) -> &[u8] {
        &self.inbox
    }

    /// Forgets the first bytes of the inbox.
    pub(super) fn consume(&mut self, count: usize) {
        self.inbox.drain(..count);
    }

    /// Closes it so that what was sent last arrives: unread bytes would make the kernel reset the
    /// connection, and the other side forget what it has not yet read.
    pub(super) fn close(mut self) {
        let _unsent = self.flush();
        let _gone = socket2::SockRef::from(&self.stream).shutdown(std::net::Shutdown::Write);
        let mut chunk = [0; READ];
        while matches!(self.stream.try_read(&mut chunk), Ok(1..)) {}
    }
}

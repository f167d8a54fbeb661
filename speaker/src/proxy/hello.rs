//! The first bytes of a client, where they decide which listener and target it means.
//!
//! They stay in the socket: whoever serves the client reads them again.

use std::io::ErrorKind;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use rustls::server::{Accepted, Acceptor};

use super::pace::{Pace, Turn};
use super::refusal::Refusal;
use super::tls::Socket;
use super::{client_hello, host};

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hello {
    /// The header of a request.
    Http,
    /// A ClientHello.
    Tls,
}

/// A greeting under way.
#[derive(Debug)]
pub(super) struct Greeting {
    pub(super) hello: Hello,
    /// Whether a client that is not served is reset and not told why.
    pub(super) curt: bool,
    /// By then the client has to be understood: request header or whole handshake.
    pub(super) deadline: Instant,
    /// When it began.
    began: Instant,
    /// The timer is set to another deadline.
    pub(super) shortened: bool,
    /// The client will send no more.
    ended: bool,
    pace: Pace,
}

/// What came of looking at what there is.
#[derive(Debug)]
pub(super) enum Heard {
    /// Not enough yet.
    NeedMore,
    /// The client means this name, or none.
    Name(Option<String>),
    /// The client ended, or failed.
    Gone,
    /// It does not speak the protocol.
    Refused(Refusal),
}

impl Greeting {
    /// Begins now and waits until then.
    pub(super) fn new(hello: Hello, curt: bool, began: Instant, deadline: Instant) -> Self {
        Self { hello, curt, deadline, began, shortened: false, ended: false, pace: Pace::default() }
    }

    /// It began earlier, with what came before the client's own words.
    pub(super) fn goes_on_from(&mut self, began: Instant, deadline: Instant, ended: bool) {
        (self.began, self.deadline, self.ended) = (began, deadline, ended);
    }

    /// It may take no longer than this in all.
    pub(super) fn at_most(&mut self, timeout: Duration) {
        if self.began + timeout < self.deadline {
            self.deadline = self.began + timeout;
            self.shortened = true;
        }
    }

    /// Notes an event of the client's socket.
    pub(super) fn event(&mut self, flags: EventFlags) {
        self.ended |= flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR);
    }

    /// Whether it is time to look at what there is.
    pub(super) fn turn(&mut self, now: Instant) -> Turn {
        // The end comes once.
        if self.ended { Turn::Now } else { self.pace.turn(now) }
    }

    /// When it wants to be woken.
    pub(super) fn wake_at(&self) -> Instant {
        self.pace.next().map_or(self.deadline, |next| next.min(self.deadline))
    }

    /// Looks at what there is. The sockets are watched edge-triggered; new bytes raise a new edge
    /// although the old ones were left in place.
    pub(super) fn listen(&self, client: BorrowedFd<'_>, buffer: &mut [u8]) -> Heard {
        let heard = match self.hello {
            Hello::Http => peek(client, buffer, host::MOST).map(request),
            Hello::Tls => peek(client, buffer, client_hello::MOST).map(handshake),
        };
        match heard.unwrap_or_else(|heard| heard) {
            Heard::NeedMore if self.ended => Heard::Gone,
            heard => heard,
        }
    }
}

/// What there is, up to so many bytes.
fn peek<'a>(client: BorrowedFd<'_>, buffer: &'a mut [u8], most: usize) -> Result<&'a [u8], Heard> {
    let most = buffer.len().min(most);
    loop {
        match recv(client, &mut buffer[..most], RecvFlags::PEEK) {
            Ok((_, 0)) => return Err(Heard::Gone),
            Ok((_, read)) => return Ok(&buffer[..read]),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Err(Heard::NeedMore),
            Err(_) => return Err(Heard::Gone),
        }
    }
}

fn request(bytes: &[u8]) -> Heard {
    match host::read(bytes) {
        host::Verdict::NeedMore => Heard::NeedMore,
        host::Verdict::Host(name) => Heard::Name(Some(name)),
        host::Verdict::NoHost => Heard::Name(None),
        host::Verdict::Malformed => Heard::Refused(Refusal::BadRequest),
        host::Verdict::TooLarge => Heard::Refused(Refusal::HeaderTooLarge),
    }
}

fn handshake(bytes: &[u8]) -> Heard {
    match client_hello::read(bytes) {
        client_hello::Verdict::NeedMore => Heard::NeedMore,
        client_hello::Verdict::Name(name) => Heard::Name(name),
        client_hello::Verdict::Malformed => Heard::Refused(Refusal::DecodeError),
        client_hello::Verdict::TooLarge => Heard::Refused(Refusal::HandshakeFailure),
    }
}

/// Reads a ClientHello that is there as a whole, to answer it.
pub(super) fn accept(client: BorrowedFd<'_>) -> Result<Accepted, Refusal> {
    let mut acceptor = Acceptor::default();
    loop {
        match acceptor.read_tls(&mut Socket(client)) {
            Ok(1..) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            // Where the engine waits for more, it reads something else than we do.
            Ok(0) | Err(_) => return Err(Refusal::HandshakeFailure),
        }
        match acceptor.accept() {
            Ok(None) => {}
            Ok(Some(accepted)) => return Ok(accepted),
            Err((_, alert)) => return Err(Refusal::of(alert)),
        }
    }
}

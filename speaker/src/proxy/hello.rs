//! The first bytes of a client, where they decide which listener and target it means.

use std::io::ErrorKind;
use std::os::fd::BorrowedFd;
use std::time::Instant;

use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use rustls::server::{Accepted, Acceptor};

use super::host;
use super::refusal::Refusal;
use super::tls::Socket;

/// A ClientHello has two or three hundred bytes, two thousand with keys for post-quantum groups.
const LONGEST_CLIENT_HELLO: usize = 16 * 1024;

/// What is waited for.
pub(super) enum Hello {
    /// The header of a request; it stays in the socket.
    Http,
    /// A ClientHello, and how much of it came.
    Tls(Box<Acceptor>, usize),
    /// A ClientHello that came, and waits for its certificate.
    Heard(Box<Accepted>),
}

impl std::fmt::Debug for Hello {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Http => "Http",
            Self::Tls(..) => "Tls",
            Self::Heard(_) => "Heard",
        })
    }
}

/// A greeting under way.
#[derive(Debug)]
pub(super) struct Greeting {
    pub(super) hello: Hello,
    /// By then the client has to be understood: request header or whole handshake.
    pub(super) deadline: Instant,
    /// The client will send no more.
    ended: bool,
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
    /// Waits until then.
    pub(super) fn new(hello: Hello, deadline: Instant) -> Self {
        Self { hello, deadline, ended: false }
    }

    /// Notes an event of the client's socket.
    pub(super) fn event(&mut self, flags: EventFlags) {
        self.ended |= flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR);
    }

    /// Looks at what there is. The sockets are watched edge-triggered; new bytes raise a new edge
    /// although the old ones were left in place.
    pub(super) fn listen(&mut self, client: BorrowedFd<'_>, buffer: &mut [u8]) -> Heard {
        let heard = match &mut self.hello {
            Hello::Http => peek_request(client, buffer),
            Hello::Tls(acceptor, length) => match read_hello(acceptor, length, client) {
                Ok(Some(accepted)) => {
                    let name = accepted.client_hello().server_name().map(str::to_ascii_lowercase);
                    self.hello = Hello::Heard(Box::new(accepted));
                    Heard::Name(name)
                }
                Ok(None) => Heard::NeedMore,
                Err(other) => other,
            },
            Hello::Heard(_) => Heard::NeedMore,
        };
        match heard {
            Heard::NeedMore if self.ended => Heard::Gone,
            heard => heard,
        }
    }
}

fn peek_request(client: BorrowedFd<'_>, buffer: &mut [u8]) -> Heard {
    let most = buffer.len().min(host::MOST);
    let read = loop {
        match recv(client, &mut buffer[..most], RecvFlags::PEEK) {
            Ok((_, 0)) => return Heard::Gone,
            Ok((_, read)) => break read,
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Heard::NeedMore,
            Err(_) => return Heard::Gone,
        }
    };
    match host::read(&buffer[..read]) {
        host::Verdict::NeedMore => Heard::NeedMore,
        host::Verdict::Host(name) => Heard::Name(Some(name)),
        host::Verdict::NoHost => Heard::Name(None),
        host::Verdict::Malformed => Heard::Refused(Refusal::BadRequest),
        host::Verdict::TooLarge => Heard::Refused(Refusal::HeaderTooLarge),
    }
}

/// Reads on until the ClientHello is whole; `None`: more has to come.
fn read_hello(
    acceptor: &mut Acceptor,
    length: &mut usize,
    client: BorrowedFd<'_>,
) -> Result<Option<Accepted>, Heard> {
    loop {
        match acceptor.read_tls(&mut Socket(client)) {
            Ok(0) => return Err(Heard::Gone),
            Ok(read) => *length += read,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            // The engine's own limit, or the socket's error.
            Err(error) if error.kind() == ErrorKind::InvalidData => {
                return Err(Heard::Refused(Refusal::HandshakeFailure));
            }
            Err(_) => return Err(Heard::Gone),
        }
        match acceptor.accept() {
            Ok(None) if *length > LONGEST_CLIENT_HELLO => {
                return Err(Heard::Refused(Refusal::HandshakeFailure));
            }
            Ok(None) => {}
            Ok(Some(accepted)) => return Ok(Some(accepted)),
            Err((_, alert)) => return Err(Heard::Refused(Refusal::of(alert))),
        }
    }
}

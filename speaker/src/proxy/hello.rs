//! The first bytes of a client, where they decide which listener and target it means.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use rustls::server::{Accepted, Acceptor};

use super::host;
use super::tls::Socket;

/// How long a client may take to say what it wants.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// What is waited for.
pub(super) enum Hello {
    /// The header of a request; it stays in the socket.
    Http,
    /// A ClientHello.
    Tls(Box<Acceptor>),
    /// A ClientHello that came, and waits for its certificate.
    Heard(Box<Accepted>),
}

impl std::fmt::Debug for Hello {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Http => "Http",
            Self::Tls(_) => "Tls",
            Self::Heard(_) => "Heard",
        })
    }
}

/// A greeting under way.
#[derive(Debug)]
pub(super) struct Greeting {
    pub(super) hello: Hello,
    pub(super) deadline: Instant,
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

/// What a client is told that cannot be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// No listener or target takes the Host.
    NotFound,
    /// Not an HTTP/1 request.
    BadRequest,
    /// No listener takes the server name.
    UnrecognizedName,
    /// Not a ClientHello that we can answer.
    HandshakeFailure,
}

impl Refusal {
    /// As it goes over the wire: an answer of HTTP, or an alert of TLS (RFC 8446 6.2).
    pub(super) fn bytes(self) -> &'static [u8] {
        match self {
            Self::NotFound => {
                b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            }
            Self::BadRequest => {
                b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            }
            Self::UnrecognizedName => &[21, 3, 3, 0, 2, 2, 112],
            Self::HandshakeFailure => &[21, 3, 3, 0, 2, 2, 40],
        }
    }
}

impl Greeting {
    /// Waits from now on.
    pub(super) fn new(hello: Hello, now: Instant) -> Self {
        Self { hello, deadline: now + PATIENCE }
    }

    /// Looks at what there is. The sockets are watched edge-triggered; new bytes raise a new edge
    /// although the old ones were left in place.
    pub(super) fn listen(&mut self, client: &impl AsFd, buffer: &mut [u8]) -> Heard {
        match &mut self.hello {
            Hello::Http => {
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
                }
            }
            Hello::Tls(acceptor) => loop {
                match acceptor.read_tls(&mut Socket(client.as_fd())) {
                    Ok(0) => return Heard::Gone,
                    Ok(_) => {}
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                        return Heard::NeedMore;
                    }
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                    Err(_) => return Heard::Gone,
                }
                match acceptor.accept() {
                    Ok(None) => {}
                    Ok(Some(accepted)) => {
                        let name =
                            accepted.client_hello().server_name().map(str::to_ascii_lowercase);
                        self.hello = Hello::Heard(Box::new(accepted));
                        return Heard::Name(name);
                    }
                    Err(_) => return Heard::Refused(Refusal::HandshakeFailure),
                }
            },
            Hello::Heard(_) => Heard::NeedMore,
        }
    }
}

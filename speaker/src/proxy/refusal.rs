//! What a client is told that is not served, in the protocol that it speaks.

use std::borrow::Cow;

use rustls::server::AcceptedAlert;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// No listener or target takes the Host.
    NotFound,
    /// Not an HTTP/1 request, or one whose host is in doubt (RFC 9112 3.2).
    BadRequest,
    /// The header of the request is longer than what is looked at.
    HeaderTooLarge,
    /// No listener or target takes the server name (RFC 6066 3).
    UnrecognizedName,
    /// No server name, where one is needed (RFC 8446 9.2).
    MissingExtension,
    /// No ClientHello at all, or one that does not add up (RFC 8446 6.2).
    DecodeError,
    /// Not a ClientHello that we can answer.
    HandshakeFailure,
    /// Records that the TLS engine wants to have sent, the last one an alert; or none.
    Tls(Vec<u8>),
}

impl Refusal {
    /// The engine's alert about a ClientHello; it has none about what is no TLS at all.
    pub(super) fn of(mut alert: AcceptedAlert) -> Self {
        let mut bytes = Vec::new();
        match alert.write_all(&mut bytes) {
            Ok(()) if !bytes.is_empty() => Self::Tls(bytes),
            _ => Self::HandshakeFailure,
        }
    }

    /// As it goes over the wire.
    pub(super) fn bytes(self) -> Cow<'static, [u8]> {
        Cow::Borrowed(match self {
            Self::NotFound => {
                b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            }
            Self::BadRequest => {
                b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            }
            Self::HeaderTooLarge => {
                b"HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Length: 0\r\n\
                  Connection: close\r\n\r\n"
            }
            // A record of type alert (21) of two bytes: fatal, and which (RFC 8446 6).
            Self::UnrecognizedName => &[21, 3, 3, 0, 2, 2, 112],
            Self::MissingExtension => &[21, 3, 3, 0, 2, 2, 109],
            Self::DecodeError => &[21, 3, 3, 0, 2, 2, 50],
            Self::HandshakeFailure => &[21, 3, 3, 0, 2, 2, 40],
            Self::Tls(bytes) => return Cow::Owned(bytes),
        })
    }
}

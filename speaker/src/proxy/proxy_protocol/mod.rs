//! The PROXY protocol, versions 1 and 2 (haproxy.org, proxy-protocol.txt, 2.1 and 2.2): a header before
//! the first byte of a connection that says whose connection it is.
//!
//! Reading and writing live apart: what we take is wider than what we say.

use std::net::SocketAddr;

pub(super) mod read;
pub(super) mod write;

/// How every header of version 2 begins.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// Both ends of a client's connection, as the client sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Addresses {
    /// Who connected.
    pub(super) source: SocketAddr,
    /// What it connected to: a VIP and its port.
    pub(super) destination: SocketAddr,
}

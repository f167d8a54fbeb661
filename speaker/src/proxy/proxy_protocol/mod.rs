//! The PROXY protocol, versions 1 and 2 (haproxy.org, proxy-protocol.txt, 2.1 and 2.2): a header before
//! the first byte of a connection that says whose connection it is.
//!
//! Reading and writing live apart: what we take is wider than what we say.

pub(super) mod read;
pub(super) mod write;

//! The PROXY protocol (haproxy.org, `proxy-protocol.txt`, versions 1 and 2): who the client is.
pub(super) mod write;

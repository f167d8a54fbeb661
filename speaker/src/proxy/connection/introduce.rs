//! Telling the backend who the client is (the PROXY protocol), before the client's first byte.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{SendFlags, getpeername, getsockname, send};

use super::{Connection, Stage};
use crate::proxy::proxy_protocol::write::{self, Addresses, Known};
use crate::proxy::relay::Relay;

/// Why a backend was not told.
#[derive(Debug)]
pub(super) enum Unsaid {
    /// The client is gone.
    NoClient,
    /// The backend accepted the connection and reset it.
    Reset,
    /// It could not be said as a whole.
    Failed(Errno),
}

impl Connection {
    /// The ends of the client's connection as it sees them: its own address, and the VIP and port that it
    /// connected to. None of a client that is gone.
    pub(in crate::proxy) fn client_addresses(&self) -> Option<Addresses> {
        let client = peer(&self.client)?;
        let to = match &self.stage {
            Stage::Dialling(dial) => dial.introduction.as_ref().map(|known| known.to),
            _ => None,
        };
        let own = || SocketAddr::try_from(getsockname(&self.client).ok()?).ok();
        Some(Addresses { client, to: to.or_else(own)? })
    }

    /// Writes the header, where the backend is to get one. A fresh socket has room for it.
    pub(super) fn introduce(&mut self) -> Result<(), Unsaid> {
        let (Stage::Dialling(dial), Some(server)) = (&self.stage, &self.server) else {
            return Ok(());
        };
        let Some(introduction) = &dial.introduction else { return Ok(()) };
        let addresses = self.client_addresses().ok_or(Unsaid::NoClient)?;
        let (alpn, tls) = match &self.relay {
            Relay::Plain { .. } => (None, None),
            Relay::Tls(pump) => (pump.alpn(), pump.version()),
        };
        let known = Known { authority: introduction.name.as_deref(), alpn, tls };
        let header = write::header(introduction.version, &addresses, &known);
        // In one segment with the client's first bytes, where there are some already.
        let more = if self.relay.has_for_server() { SendFlags::MORE } else { SendFlags::empty() };
        loop {
            return match send(server, &header, SendFlags::NOSIGNAL | more) {
                Ok(written) if written == header.len() => Ok(()),
                Ok(_) => Err(Unsaid::Failed(Errno::NOBUFS)),
                Err(Errno::INTR) => continue,
                Err(Errno::CONNRESET | Errno::PIPE) => Err(Unsaid::Reset),
                Err(error) => Err(Unsaid::Failed(error)),
            };
        }
    }
}

/// Who is at the other end; none when nobody is any more.
pub(in crate::proxy) fn peer(socket: &OwnedFd) -> Option<SocketAddr> {
    SocketAddr::try_from(getpeername(socket).ok()??).ok()
}

//! Telling the backend who the client is (the PROXY protocol), before the client's first byte.

use std::net::SocketAddr;
use std::os::fd::AsFd;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, getsockname, recv, send};

use super::arrive::peer;
use super::{Connection, Stage};
use crate::proxy::proxy_protocol::Addresses;
use crate::proxy::proxy_protocol::write::{self, Known};
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
    /// connected to; by the PROXY header where there is one. None of a client that is gone.
    pub(in crate::proxy) fn client_addresses(&self) -> Option<Addresses> {
        if let Some(header) = self.record.as_ref().and_then(|record| record.header) {
            return Some(header);
        }
        let source = peer(self.client.as_fd())?;
        let destination = match &self.stage {
            Stage::Dialling(dial) => dial.introduction.as_ref().map(|known| known.to),
            _ => None,
        };
        let own = || SocketAddr::try_from(getsockname(&self.client).ok()?).ok();
        Some(Addresses { source, destination: destination.or_else(own)? })
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
        // In one segment with the client's first bytes, where there are some already. (What the edges said may
        // have been about what is not passed on, such as a header.)
        let has_more = self.relay.has_for_server()
            && match &self.relay {
                Relay::Plain { .. } => {
                    matches!(recv(&self.client, &mut [0; 1], RecvFlags::PEEK), Ok((_, 1)))
                }
                Relay::Tls(_) => true,
            };
        let more = if has_more { SendFlags::MORE } else { SendFlags::empty() };
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

//! What of a VIP reaches this host.

use std::collections::BTreeMap;
use std::net::IpAddr;

/// The VIPs that a host is to have, each with what of it reaches the host.
pub type Exposures = BTreeMap<IpAddr, Exposure>;

/// The ports of a VIP that are served here. The guard refuses all others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exposure {
    tcp: BTreeMap<u16, u16>,
}

impl Exposure {
    /// Lets TCP connections to `port` reach the socket that listens on port `served_at` of the VIP:
    /// the same port, or another one where a socket of somebody else has that on all addresses.
    pub fn tcp(&mut self, port: u16, served_at: u16) {
        self.tcp.insert(port, served_at);
    }

    /// Each TCP port that clients use, and the one that is listened on.
    pub fn tcp_ports(&self) -> impl Iterator<Item = (u16, u16)> {
        self.tcp.iter().map(|(port, served_at)| (*port, *served_at))
    }

    /// Whether some port is served at another one.
    #[must_use]
    pub fn redirects(&self) -> bool {
        self.tcp.iter().any(|(port, served_at)| port != served_at)
    }
}

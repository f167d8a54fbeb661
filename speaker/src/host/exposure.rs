//! What of a VIP reaches this host.

use std::collections::BTreeMap;
use std::net::IpAddr;

use vipgate_api::vipgate::Transport;

/// The VIPs that a host is to have, each with what of it reaches the host.
pub type Exposures = BTreeMap<IpAddr, Exposure>;

/// The ports of a VIP that are served here. The guard refuses all others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exposure {
    tcp: BTreeMap<u16, u16>,
    udp: BTreeMap<u16, u16>,
    preserving: bool,
}

impl Exposure {
    /// Lets TCP connections to `port` reach the socket that listens on port `served_at` of the VIP:
    /// the same port, or another one where a socket of somebody else has that on all addresses.
    pub fn tcp(&mut self, port: u16, served_at: u16) {
        self.tcp.insert(port, served_at);
    }

    /// Lets datagrams to `port` reach the sockets that have port `served_at` of the VIP, likewise.
    pub fn udp(&mut self, port: u16, served_at: u16) {
        self.udp.insert(port, served_at);
    }

    /// Each port that clients use, and the one that is listened on.
    pub fn ports(&self) -> impl Iterator<Item = (Transport, u16, u16)> {
        let tcp = self.tcp.iter().map(|(port, served_at)| (Transport::Tcp, *port, *served_at));
        let udp = self.udp.iter().map(|(port, served_at)| (Transport::Udp, *port, *served_at));
        tcp.chain(udp)
    }

    /// Has what answers clients of this VIP led back to the sockets that speak for them: connections to
    /// endpoints come from the clients' own addresses.
    pub fn preserve(&mut self) {
        self.preserving = true;
    }

    /// Ends that.
    pub fn end_preserving(&mut self) {
        self.preserving = false;
    }

    /// Whether that is wanted.
    #[must_use]
    pub fn preserves(&self) -> bool {
        self.preserving
    }

    /// Whether some port is served at another one.
    #[must_use]
    pub fn redirects(&self) -> bool {
        self.ports().any(|(_, port, served_at)| port != served_at)
    }
}

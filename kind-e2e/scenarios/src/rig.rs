//! What a place where scenarios run has to be able to do, and what it tells about itself.

use std::net::IpAddr;

use crate::Result;

/// A family of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// That of an address.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }
}

/// How a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// As it should be: powered, connected, its processes running.
    Well,
    /// Gone at once, as by a loss of power: no frame comes from it any more.
    Lost,
    /// Its processes stand still and its kernel goes on.
    Frozen,
}

/// What there is. vipgate is installed, and there are two IPAddressPools: `default`, on the network of the nodes, and
/// `routed`, which only the router leads to (`autoAssign: false`).
#[derive(Clone, Debug)]
pub struct Facts {
    /// Those that the cluster and the pools have.
    pub families: Vec<Family>,
    /// Where vipgate is installed.
    pub namespace: String,
    /// The node that servers run on. It is never lost, and has no VIP.
    pub servers: String,
    /// At least two nodes that announce VIPs, labelled `vipgate.dev/e2e: edge`.
    pub edges: Vec<String>,
    /// The interface by which the client is on the nodes' network.
    pub interface: String,
    /// The image of `echo-basic`, of Gateway API.
    pub echo: String,
    /// The router's addresses, one of each family. It takes sessions of AS 65001 and is AS 65002 itself.
    pub routers: Vec<IpAddr>,
}

/// A cluster with a client and a router beside it. Scenarios use it from several threads at once.
pub trait Rig: Sync {
    /// What there is.
    fn facts(&self) -> &Facts;

    /// Runs kubectl as one who may do everything, with `input` as its standard input; returns what it printed.
    ///
    /// # Errors
    /// When it fails, with what it said.
    fn kubectl(&self, arguments: &[&str], input: &str) -> Result<String>;

    /// Runs a script of bash (4.4 or newer) on the client, where `ip`, `ping`, `arping` and `openssl` are, too; returns
    /// what it printed. Several run at once. A script ends by itself.
    ///
    /// # Errors
    /// When it ends with another status than 0, with what it said.
    fn client(&self, script: &str) -> Result<String>;

    /// What FRR's `vtysh` says to this, on the router.
    ///
    /// # Errors
    /// When it cannot be asked.
    fn router(&self, question: &str) -> Result<String>;

    /// Does this to one of the `edges`. `Well` is for one that is well already, too; when it returns, the node's speaker
    /// is started, if not yet ready.
    ///
    /// # Errors
    /// When it cannot be done.
    fn node(&self, name: &str, fate: Fate) -> Result<()>;

    /// Has the API server stand still, or go on.
    ///
    /// # Errors
    /// When it cannot be done.
    fn api_server(&self, stands_still: bool) -> Result<()>;

    /// Begins an upgrade of the installation that replaces every speaker, one after the other, and does not wait for it.
    ///
    /// # Errors
    /// When the new release is not accepted.
    fn upgrade(&self) -> Result<()>;

    /// Waits until the upgrade is over: every speaker is a new one, and ready.
    ///
    /// # Errors
    /// When it takes too long.
    fn upgraded(&self) -> Result<()>;

    /// Runs the official conformance suite, and returns its last line.
    ///
    /// # Errors
    /// When a test fails, or it cannot be run here.
    fn conformance(&self) -> Result<String>;
}

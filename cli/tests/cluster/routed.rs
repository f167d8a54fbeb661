//! A router beside the nodes of a cluster, and addresses on nobody's network that only it leads to them.

use vipgate_lab::routers::{Make, PeerSetup, Router, Setup};
use vipgate_lab::{Link, Node};

use crate::site::{CLASS, Site, pool};

/// The router, as the nodes see it.
pub(crate) const ROUTER: &str = "10.77.0.9";
/// The first address of the pool.
pub(crate) const ROUTED: &str = "192.0.2.10";

/// FRR on a machine of its own.
pub(crate) struct Beside {
    pub(crate) router: Router,
    pub(crate) machine: Node,
    _cable: Link,
}

impl Beside {
    /// With these neighbours. The client of the site is led to it, and there are a GatewayClass and a pool.
    pub(crate) fn new(site: &Site, peers: Vec<PeerSetup>) -> Self {
        let machine = site.lab.node("router").unwrap();
        let cable = machine.join(&site.lan, &format!("{ROUTER}/24")).unwrap();
        let setup = Setup { asn: 65002, peers, bfd: false };
        let router = Router::start(Make::Frr, &machine, &setup).unwrap();
        site.client.run("ip", ["route", "add", "192.0.2.0/24", "via", ROUTER]).unwrap();
        site.apply(CLASS);
        site.apply(&pool("192.0.2.10-192.0.2.17"));
        Self { router, machine, _cable: cable }
    }
}

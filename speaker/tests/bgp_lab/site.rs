//! A router and a node on one switch: 10.9.0.1 and 10.9.0.2, fd09::1 and fd09::2.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use tokio::runtime::Runtime;
use tokio_util::task::TaskTracker;
use vipgate_lab::routers::Router;
use vipgate_lab::{Bridge, Lab, Link, Node, eventually};
use vipgate_speaker::bgp::fsm::{self, PeerAs, State};
use vipgate_speaker::bgp::io::{Address, Calls, Peer, PeerConfig, Status, Target};
use vipgate_speaker::bgp::rib::Routes;
use vipgate_speaker::bgp::unnumbered::Discovery;
use vipgate_speaker::bgp::wire::{Family, Path};

/// The VIPs of the tests.
pub(crate) const VIP4: &str = "192.0.2.10/32";
pub(crate) const VIP6: &str = "2001:db8:ffff::10/128";
/// Long enough for a loaded machine.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// The machines.
pub(crate) struct Site {
    pub(crate) lab: Lab,
    pub(crate) lan: Bridge,
    pub(crate) router: Node,
    pub(crate) node: Node,
    pub(crate) cable: Link,
}

impl Site {
    pub(crate) fn new() -> Site {
        let lab = Lab::new("bgp").unwrap();
        let lan = lab.bridge("lan").unwrap();
        let router = lab.node("router").unwrap();
        let node = lab.node("node").unwrap();
        router.join(&lan, "10.9.0.1/24").unwrap().add_address("fd09::1/64").unwrap();
        let cable = node.join(&lan, "10.9.0.2/24").unwrap();
        cable.add_address("fd09::2/64").unwrap();
        Site { lab, lan, router, node, cable }
    }
}

/// A speaker on a node: the peers run there.
pub(crate) struct Speaker {
    pub(crate) runtime: Runtime,
    tracker: TaskTracker,
}

impl Speaker {
    pub(crate) fn on(node: &Node) -> Speaker {
        // Its one worker is started inside the node, and all sockets are opened on it.
        let runtime = node.enter(|| {
            let mut builder = tokio::runtime::Builder::new_multi_thread();
            builder.worker_threads(1).enable_all().build().unwrap()
        });
        Speaker { runtime, tracker: TaskTracker::new() }
    }

    pub(crate) fn discover(&self, interface: &str) -> Discovery {
        let interface = interface.to_owned();
        let tracker = self.tracker.clone();
        // The socket is to be opened inside the node, where its worker is.
        let started = self.runtime.spawn(async move { Discovery::start(&interface, &tracker) });
        self.runtime.block_on(started).unwrap().unwrap()
    }

    /// Where routers may call.
    pub(crate) fn calls(&self) -> Calls {
        let _guard = self.runtime.enter();
        Calls::start(&self.tracker)
    }

    pub(crate) fn peer(&self, config: PeerConfig) -> Peering<'_> {
        let guard = self.runtime.enter();
        let peer = Peer::start(config, &self.tracker);
        drop(guard);
        Peering { speaker: self, peer }
    }
}

/// A session, with what tests ask of it.
pub(crate) struct Peering<'a> {
    speaker: &'a Speaker,
    pub(crate) peer: Peer,
}

impl Peering<'_> {
    pub(crate) fn status(&self) -> Status {
        self.peer.status().borrow().clone()
    }

    pub(crate) fn announce(&self, prefixes: &[&str]) {
        self.announce_with(prefixes, &Path::default());
    }

    pub(crate) fn announce_with(&self, prefixes: &[&str], path: &Path) {
        let mut routes = Routes::default();
        prefixes.iter().for_each(|prefix| routes.add(net(prefix), path));
        self.peer.set_routes(routes);
    }

    pub(crate) fn established(&self) {
        self.reaches("established", |status| status.state == State::Established);
    }

    /// Waits for a last error that contains this.
    pub(crate) fn fails_with(&self, words: &str) -> String {
        let has =
            |status: &Status| status.last_error.as_ref().is_some_and(|error| error.contains(words));
        self.reaches(words, has).last_error.unwrap()
    }

    pub(crate) fn reaches(&self, what: &str, is: impl Fn(&Status) -> bool) -> Status {
        eventually(SOON, || {
            let status = self.status();
            anyhow::ensure!(is(&status), "not {what}: {status:?}");
            Ok(status)
        })
        .unwrap()
    }

    /// Leaves the session to its fate: what the end of the handle would do is not done.
    pub(crate) fn forget(self) {
        std::mem::forget(self.peer);
    }

    pub(crate) fn stop(&self, text: &str, gracefully: bool) -> Duration {
        let start = Instant::now();
        self.speaker.runtime.block_on(self.peer.stop(text, gracefully));
        start.elapsed()
    }
}

pub(crate) fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// The session of AS 65001 with the router, AS 65002, at this address.
pub(crate) fn towards(address: &str) -> PeerConfig {
    PeerConfig {
        name: "router".to_owned(),
        target: Target {
            address: Address::At(SocketAddr::new(ip(address), 179)),
            source: None,
            device: None,
            vrf: None,
            password: None,
            ttl_security: false,
        },
        session: fsm::Config {
            asn: 65001,
            router_id: [10, 9, 0, 2].into(),
            peer_as: PeerAs::Exactly(65002),
            multihop: false,
            hold_time: Duration::from_secs(9),
            keepalive_time: None,
            connect_time: Duration::from_secs(2),
            passive: false,
            families: Family::ALL.into(),
            extended_next_hop: true,
            graceful_restart: None,
            drain_mark: Duration::from_millis(300),
            drain_settle: Duration::from_millis(300),
        },
        seed: 1,
        bfd: None,
        calls: None,
    }
}

/// Waits until the router forwards to exactly these next hops.
pub(crate) fn forwards(router: &Router, prefix: &str, next_hops: &[&str]) {
    router.forwards(prefix, next_hops, SOON).unwrap();
}

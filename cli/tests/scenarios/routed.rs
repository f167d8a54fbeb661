//! Hosts with a router beside them, and a client behind it: what is not on their network goes by way of
//! the router.
//!
//! ```text
//!   client 10.76.0.9 ── outside ── 10.76.0.254 router 10.77.0.254 ── lan ── hosts 10.77.0.1 …
//! ```

use std::collections::BTreeMap;
use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;
use vipgate_lab::routers::{Make, PeerSetup, Router, Setup};
use vipgate_lab::{Bridge, Link, Node, eventually};

use crate::hosts::Hosts;
use crate::site::{SOON, pool};

/// The first address of the pool, on nobody's network.
pub(crate) const ROUTED: &str = "192.0.2.10";
/// The same of IPv6.
pub(crate) const ROUTED6: &str = "2001:db8:ffff::10";
/// The router, as the hosts see it.
pub(crate) const ROUTER: &str = "10.77.0.254";

/// Hosts, a router, a client behind it.
pub(crate) struct Routed {
    pub(crate) hosts: Hosts,
    pub(crate) machine: Node,
    /// Where the client of `hosts` was before: beside them.
    pub(crate) neighbour: Arc<Node>,
    _cables: Vec<Link>,
    _outside: Bridge,
}

impl Routed {
    /// `count` hosts with one Gateway, whose pool is announced to the router.
    pub(crate) fn new(name: &str, count: usize) -> Self {
        let mut hosts = Hosts::new(name, count, 1).with_ipv6();
        let outside = hosts.lab.bridge("outside").unwrap();
        let (machine, client) = (hosts.lab.node("router").unwrap(), hosts.lab.node("far").unwrap());
        let on_lan = machine.join(&hosts.lan, &format!("{ROUTER}/16")).unwrap();
        on_lan.add_address("fd77::254/64").unwrap();
        let on_outside = machine.join(&outside, "10.76.0.254/24").unwrap();
        on_outside.add_address("fd76::254/64").unwrap();
        let of_client = client.join(&outside, "10.76.0.9/24").unwrap();
        of_client.add_address("fd76::9/64").unwrap();
        for (node, gateways) in hosts
            .hosts
            .iter()
            .map(|host| (&host.node, [ROUTER, "fd77::254"]))
            .chain([(&client, ["10.76.0.254", "fd76::254"])])
        {
            gateways.iter().for_each(|gateway| node.default_route(gateway).unwrap());
        }
        // The hash looks at ports, as a router's does.
        machine.sysctl("net.ipv4.fib_multipath_hash_policy", "1").unwrap();
        machine.sysctl("net.ipv6.fib_multipath_hash_policy", "1").unwrap();
        let neighbour = std::mem::replace(&mut hosts.client, Arc::new(client));
        hosts.write("pool.yaml", &pool(&format!("{ROUTED}/32")));
        hosts.write("peer.yaml", &peer("tor", &[]));
        hosts.write("advertisement.yaml", &advertisement(&[]));
        let _cables = vec![on_lan, on_outside, of_client];
        Self { hosts, machine, neighbour, _cables, _outside: outside }
    }

    /// Two hosts that a router and they watch by BFD, each so many milliseconds, and miss after three.
    pub(crate) fn with_bfd(name: &str, make: Make, milliseconds: u32) -> (Self, Router) {
        let mut site = Self::new(name, 2);
        let mut setup = site.setup();
        setup.bfd = true;
        setup.peers.iter_mut().for_each(|peer| peer.bfd = Some(milliseconds));
        let router = Router::start(make, &site.machine, &setup).unwrap();
        site.hosts.write("peer.yaml", &peer("tor", &["bfdProfile: fast"]));
        site.hosts.write(
            "bfd.yaml",
            &format!(
                "apiVersion: vipgate.dev/v1alpha1\nkind: BFDProfile\n\
                 metadata: {{name: fast, namespace: vipgate-system}}\n\
                 spec: {{transmitInterval: {milliseconds}, receiveInterval: {milliseconds}}}\n"
            ),
        );
        site.start_all();
        site.forwards(&router, ROUTED, &[0, 1]);
        (0..2).for_each(|number| site.watches(number));
        (site, router)
    }

    /// Waits until BFD is up on a host.
    pub(crate) fn watches(&self, number: usize) {
        let up = || {
            let said = self.session(number, "tor")?;
            anyhow::ensure!(said["bfd"] == "Up", "{said}");
            Ok(())
        };
        eventually(SOON * 3, up).unwrap();
    }

    /// The neighbours of the router: every host.
    pub(crate) fn setup(&self) -> Setup {
        let of_host = |number: usize| PeerSetup::new(ROUTER, &address(number));
        let mut setup = Setup::new(ROUTER, &address(0));
        setup.peers = (0..self.hosts.hosts.len()).map(of_host).collect();
        setup
    }

    /// Starts the router.
    pub(crate) fn router(&self, make: Make) -> Router {
        Router::start(make, &self.machine, &self.setup()).unwrap()
    }

    /// Starts vipgate on all hosts.
    pub(crate) fn start_all(&mut self) {
        for number in 0..self.hosts.hosts.len() {
            self.hosts.start(number);
        }
    }

    /// The addresses of these hosts.
    pub(crate) fn addresses(&self, hosts: &[usize]) -> Vec<String> {
        hosts.iter().map(|number| address(*number)).collect()
    }

    /// Waits until the router forwards a VIP to exactly these hosts.
    pub(crate) fn forwards(&self, router: &Router, vip: &str, hosts: &[usize]) {
        let addresses = self.addresses(hosts);
        let next_hops: Vec<&str> = addresses.iter().map(String::as_str).collect();
        let forwards = router.forwards(vip, &next_hops, SOON * 3);
        if let Err(error) = forwards {
            let said = |host: &crate::hosts::Host| format!("{}\n", host.output());
            let said: String = self.hosts.hosts.iter().map(said).collect();
            panic!("{error:#}\n{said}");
        }
    }

    /// What a host says of its session.
    pub(crate) fn session(&self, number: usize, peer: &str) -> anyhow::Result<Value> {
        let said = self.hosts.hosts[number].ask(&["bgp", "-o", "json"])?;
        let said: Value = serde_json::from_str(&said)?;
        Ok(said[0]["peers"][format!("vipgate-system/{peer}")].clone())
    }

    /// Waits until a host says that its session is established.
    pub(crate) fn established(&self, number: usize, peer: &str) -> Value {
        eventually(SOON * 3, || {
            let said = self.session(number, peer)?;
            anyhow::ensure!(said["state"] == "Established", "{said}");
            Ok(said)
        })
        .unwrap()
    }

    /// How many connections each host has accepted.
    pub(crate) fn accepted(&self) -> BTreeMap<String, u64> {
        let running = self.hosts.hosts.iter().filter(|host| host.runs());
        let accepted = running.map(|host| {
            let report = host.report().unwrap();
            let accepted = report["vips"][0]["listeners"][0]["accepted"].as_u64();
            (host.node.name().to_owned(), accepted.unwrap_or_default())
        });
        accepted.collect()
    }

    /// Connects so many times, one after the other; how many did not get an answer.
    pub(crate) fn failures(&self, vip: &str, count: usize) -> usize {
        let to = SocketAddr::new(vip.parse().unwrap(), 80);
        let client = &self.hosts.client;
        client.enter(|| (0..count).filter(|_| !greets(to)).count())
    }

    /// Begins to connect to a VIP all the time.
    pub(crate) fn connect_on_and_on(&self, vip: &str) -> Client {
        let to = SocketAddr::new(vip.parse().unwrap(), 80);
        let (client, stopping) = (Arc::clone(&self.hosts.client), Arc::<AtomicBool>::default());
        let stop = Arc::clone(&stopping);
        let connect = move || {
            let mut tries = Tries::default();
            while !stop.load(Ordering::Relaxed) {
                let began = Instant::now();
                match greets(to) {
                    true => tries.good += 1,
                    false => tries.failed += 1,
                }
                tries.slowest = tries.slowest.max(began.elapsed());
                std::thread::sleep(Duration::from_millis(5).saturating_sub(began.elapsed()));
            }
            tries
        };
        let thread = std::thread::spawn(move || client.enter(connect));
        Client { stopping, thread }
    }
}

/// A client that connects all the time, and waits as long as people do.
pub(crate) struct Client {
    stopping: Arc<AtomicBool>,
    thread: JoinHandle<Tries>,
}

/// What became of its connections.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tries {
    pub(crate) good: usize,
    /// Refused, reset, or without an answer for seconds.
    pub(crate) failed: usize,
    /// The longest that one took.
    pub(crate) slowest: Duration,
}

impl Client {
    /// Ends it.
    pub(crate) fn stop(self) -> Tries {
        self.stopping.store(true, Ordering::Relaxed);
        self.thread.join().expect("it does not panic")
    }
}

/// Whether somebody who connects there gets the greeting.
fn greets(to: SocketAddr) -> bool {
    let ask = || {
        let mut answer = [0; 6];
        let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(5))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.read_exact(&mut answer)?;
        std::io::Result::Ok(answer == *b"hello\n")
    };
    ask().unwrap_or(false)
}

fn address(number: usize) -> String {
    format!("10.77.0.{}", number + 1)
}

/// A BGPPeer for [`ROUTER`], AS 65002, with more lines in its spec.
pub(crate) fn peer(name: &str, lines: &[&str]) -> String {
    let lines: String = lines.iter().map(|line| format!("  {line}\n")).collect();
    format!(
        "apiVersion: vipgate.dev/v1alpha1\n\
         kind: BGPPeer\n\
         metadata: {{name: {name}, namespace: vipgate-system}}\n\
         spec:\n  myASN: 65001\n  peerASN: 65002\n  peerAddress: {ROUTER}\n  connectTime: 2s\n{lines}"
    )
}

/// A BGPAdvertisement for the pool, with more lines in its spec.
pub(crate) fn advertisement(lines: &[&str]) -> String {
    let lines: String = lines.iter().map(|line| format!("  {line}\n")).collect();
    format!(
        "apiVersion: vipgate.dev/v1alpha1\n\
         kind: BGPAdvertisement\n\
         metadata: {{name: lan, namespace: vipgate-system}}\n\
         spec:\n  ipAddressPools: [lan]\n{lines}"
    )
}

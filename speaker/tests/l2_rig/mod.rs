//! A node and a peer: two network namespaces, joined by a veth pair, for the `l2_*` tests.
//!
//! Both have an interface `eth0`; the node is 10.80.0.2, the peer 10.80.0.1. With IPv6 ([`Lan::with_ipv6`]) they are 2001:db8:80::2 and
//! ::1 besides. Needs root and `ip`.
//! The namespaces are removed when the [`Lan`] is dropped, also by a panic.

// Each test binary uses its part of this.
#![allow(dead_code)]

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Child;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use vipgate_planner::{Link, MacAddr};
use vipgate_speaker::l2::socket::PacketSocket;
use vipgate_speaker::l2::{L2Speaker, Protocol, Sighting};

pub(crate) const VIP: Ipv4Addr = Ipv4Addr::new(10, 80, 0, 80);
pub(crate) const VIP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x80, 0, 0, 0, 0, 0x80);
pub(crate) const PEER_IP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x80, 0, 0, 0, 0, 1);
pub(crate) const NODE_IP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x80, 0, 0, 0, 0, 2);
pub(crate) const NODE_IP: Ipv4Addr = Ipv4Addr::new(10, 80, 0, 2);
pub(crate) const PEER_IP: Ipv4Addr = Ipv4Addr::new(10, 80, 0, 1);
/// A station that exists only in forged frames.
pub(crate) const FOREIGN: MacAddr = MacAddr([0x02, 0xde, 0xad, 0, 0, 1]);
/// An announcement interval long enough not to matter in a test.
pub(crate) const SELDOM: Duration = Duration::from_secs(30);

/// One of the two ends.
#[derive(Clone, Copy)]
pub(crate) enum End {
    Node,
    Peer,
}

/// The two namespaces.
pub(crate) struct Lan {
    node: String,
    peer: String,
}

impl Lan {
    pub(crate) fn new() -> Lan {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let id = format!("{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let lan = Lan { node: format!("vgarp-{id}-node"), peer: format!("vgarp-{id}-peer") };
        for name in [&lan.node, &lan.peer] {
            run(&format!("ip netns add {name}"));
            run(&format!("ip -n {name} link set lo up"));
        }
        lan.connect();
        lan
    }

    /// One with IPv6 addresses too.
    pub(crate) fn with_ipv6() -> Lan {
        let lan = Lan::new();
        for (end, ip, link_local) in
            [(End::Node, NODE_IP6, "fe80::2"), (End::Peer, PEER_IP6, "fe80::1")]
        {
            lan.ip(end, &format!("addr add {ip}/64 dev eth0 nodad"));
            // What a kernel asks for its neighbours from.
            lan.ip(end, &format!("addr add {link_local}/64 dev eth0 nodad"));
        }
        lan
    }

    /// Joins the two by a new veth pair.
    pub(crate) fn connect(&self) {
        let Lan { node, peer } = self;
        run(&format!("ip -n {node} link add eth0 type veth peer name eth0 netns {peer}"));
        for (name, ip) in [(node, NODE_IP), (peer, PEER_IP)] {
            run(&format!("ip -n {name} addr add {ip}/24 dev eth0"));
            // Without IPv6 nothing moves on the link by itself.
            run(&format!("ip -n {name} link set eth0 addrgenmode none"));
            run(&format!("ip -n {name} link set eth0 up"));
        }
        self.wait_for_carrier(End::Node);
        self.wait_for_carrier(End::Peer);
    }

    pub(crate) fn name(&self, end: End) -> &str {
        match end {
            End::Node => &self.node,
            End::Peer => &self.peer,
        }
    }

    /// `ip` with these arguments at that end.
    pub(crate) fn ip(&self, end: End, arguments: &str) -> String {
        run(&format!("ip -n {} {arguments}", self.name(end)))
    }

    /// A shell command at that end; its standard output.
    pub(crate) fn exec(&self, end: End, command: &str) -> String {
        let output = Command::new("ip")
            .args(["netns", "exec", self.name(end), "sh", "-c", command])
            .output()
            .expect("ip is installed");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command}: {error}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// A program that goes on while the test does, and ends with it.
    pub(crate) fn spawn(&self, end: End, program: &str, arguments: &[&str]) -> Child {
        tokio::process::Command::new("ip")
            .args(["netns", "exec", self.name(end), program])
            .args(arguments)
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("ip is installed")
    }

    pub(crate) fn wait_for_carrier(&self, end: End) {
        let deadline = Instant::now() + Duration::from_secs(5);
        while !self.link(end).up {
            assert!(Instant::now() < deadline, "eth0 gets no carrier");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// `eth0` as the host watcher would report it.
    pub(crate) fn link(&self, end: End) -> Link {
        self.link_named(end, "eth0")
    }

    pub(crate) fn link_named(&self, end: End, name: &str) -> Link {
        let text = run(&format!("ip -o -n {} link show dev {name}", self.name(end)));
        let index = text.split(':').next().and_then(|n| n.trim().parse().ok()).expect("an index");
        let mac = text.split("link/ether ").nth(1).and_then(|rest| parse_mac(&rest[..17]));
        let up = text.contains(",UP") && text.contains("LOWER_UP");
        Link { index, name: name.into(), up, loopback: false, mac, addresses: Vec::new() }
    }

    pub(crate) fn mac(&self, end: End) -> MacAddr {
        self.link(end).mac.expect("a veth has one")
    }

    /// Runs the test in the namespace of that end, on a thread and a runtime of its own.
    pub(crate) fn on<R: Send>(&self, end: End, test: impl AsyncFnOnce(&Lan) -> R + Send) -> R {
        self.enter(end, || {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime")
                .block_on(test(self))
        })
    }

    /// Runs plain code in the namespace of that end, on a thread of its own.
    pub(crate) fn enter<R: Send>(&self, end: End, code: impl FnOnce() -> R + Send) -> R {
        let path = format!("/run/netns/{}", self.name(end));
        let enter_and_run = || {
            let namespace = File::open(&path).expect("the namespace was made");
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
                .expect("entering a network namespace needs root");
            code()
        };
        std::thread::scope(|scope| {
            let thread = scope.spawn(enter_and_run);
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Puts frames on the wire from the peer, as they are.
    pub(crate) fn inject(&self, frames: &[Vec<u8>]) {
        self.inject_on("eth0", frames);
    }

    /// The same on another interface of the peer.
    pub(crate) fn inject_on(&self, interface: &str, frames: &[Vec<u8>]) {
        let index = self.link_named(End::Peer, interface).index;
        self.enter(End::Peer, || {
            // A bridge goes by what the socket says that it sends.
            let socket = |protocol| PacketSocket::open(index, protocol).expect("a packet socket");
            let (arp, ndp) = (socket(Protocol::Arp), socket(Protocol::Ndp));
            for frame in frames {
                let socket = if frame.get(12..14) == Some(&[0x86, 0xdd]) { &ndp } else { &arp };
                while let Err(error) = socket.send(frame) {
                    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock, "{error}");
                    std::thread::yield_now();
                }
            }
        });
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        for name in [&self.node, &self.peer] {
            let _may_be_gone = Command::new("ip").args(["netns", "del", name]).output();
        }
    }
}

/// A speaker under test.
pub(crate) struct Speaker {
    pub(crate) l2: L2Speaker,
    pub(crate) conflicts: tokio::sync::mpsc::Receiver<Sighting>,
    pub(crate) tracker: TaskTracker,
    token: CancellationToken,
}

impl Speaker {
    pub(crate) fn new(announce_every: Duration) -> Speaker {
        let (tracker, token) = (TaskTracker::new(), CancellationToken::new());
        let (l2, conflicts) = L2Speaker::new(tracker.clone(), token.clone(), announce_every);
        Speaker { l2, conflicts, tracker, token }
    }

    /// One that knows `eth0` of the node and owns the VIP on it.
    pub(crate) fn owning(lan: &Lan, announce_every: Duration) -> Speaker {
        let speaker = Speaker::new(announce_every);
        speaker.set_link(lan, End::Node);
        speaker.own(&[VIP]);
        speaker
    }

    pub(crate) fn set_link(&self, lan: &Lan, end: End) {
        let failed = self.l2.set_links(&[lan.link(end)]);
        assert!(failed.is_empty(), "{failed:?}");
    }

    pub(crate) fn own<A: Copy + Into<IpAddr>>(&self, vips: &[A]) {
        let owned = vips.iter().map(|vip| ((*vip).into(), vec!["eth0".to_owned()])).collect();
        let failed = self.l2.set_owned(&owned);
        assert!(failed.is_empty(), "{failed:?}");
    }

    /// Ends it, and proves that its tasks end.
    pub(crate) async fn stop(self) {
        self.token.cancel();
        self.tracker.close();
        let ended = tokio::time::timeout(Duration::from_secs(2), self.tracker.wait()).await;
        assert!(ended.is_ok(), "tasks do not end on cancellation");
    }
}

/// What `arping` (Thomas Habets') at the peer says after `count` requests, 100 ms apart.
pub(crate) async fn arping(lan: &Lan, vip: Ipv4Addr, count: u32) -> String {
    let (count, vip) = (count.to_string(), vip.to_string());
    let child = lan.spawn(End::Peer, "arping", &["-i", "eth0", "-c", &count, "-W", "0.1", &vip]);
    let output = child.wait_with_output().await.expect("arping is installed");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The stations that answered, one per reply.
pub(crate) fn answers(arping: &str) -> Vec<MacAddr> {
    let from = |line: &str| parse_mac(line.split("bytes from ").nth(1)?.get(..17)?);
    arping.lines().filter_map(from).collect()
}

/// A running tcpdump, at the peer unless said, that is already listening.
pub(crate) struct Capture {
    child: Child,
}

impl Capture {
    pub(crate) async fn start(lan: &Lan, expression: &str) -> Capture {
        Capture::at(lan, End::Peer, expression).await
    }

    pub(crate) async fn at(lan: &Lan, end: End, expression: &str) -> Capture {
        let arguments = ["--immediate-mode", "-l", "-n", "-e", "-tt", "-i", "eth0", expression];
        let mut child = lan.spawn(end, "tcpdump", &arguments);
        let mut messages = BufReader::new(child.stderr.take().expect("piped")).lines();
        while let Some(line) = messages.next_line().await.expect("readable") {
            if line.starts_with("listening on") {
                return Capture { child };
            }
        }
        panic!("tcpdump did not start");
    }

    /// Lines seen within this time, with their time in seconds.
    pub(crate) async fn lines(mut self, within: Duration) -> Vec<(f64, String)> {
        let mut lines = BufReader::new(self.child.stdout.take().expect("piped")).lines();
        let mut seen = Vec::new();
        let until = tokio::time::Instant::now() + within;
        while let Ok(Ok(Some(line))) = tokio::time::timeout_at(until, lines.next_line()).await {
            let (time, text) = line.split_once(' ').expect("-tt prints the time first");
            seen.push((time.parse().expect("seconds"), text.to_owned()));
        }
        seen
    }
}

/// Waits until the condition holds.
pub(crate) async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while !condition() {
        assert!(Instant::now() < deadline, "not within 5 s: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(crate) fn parse_mac(text: &str) -> Option<MacAddr> {
    let mut bytes = text.split(':').map(|byte| u8::from_str_radix(byte, 16));
    let mut mac = [0; 6];
    for byte in &mut mac {
        *byte = bytes.next()?.ok()?;
    }
    Some(MacAddr(mac))
}

fn run(command: &str) -> String {
    let mut words = command.split_whitespace();
    let output = Command::new(words.next().expect("a command")).args(words).output();
    let output = output.unwrap_or_else(|error| panic!("{command}: {error}"));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command} (needs root): {error}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

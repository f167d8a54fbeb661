//! The echo function of BFD between two speakers of ours, neither of which forwards anything: each returns the
//! other's echoes by itself. A third station tries to be one of them.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use vipgate_lab::{Node, eventually};
use vipgate_planner::MacAddr;
use vipgate_speaker::bfd::fsm::{Config, Echoing};
use vipgate_speaker::bfd::io::{Bfd, Session, Status, Target};
use vipgate_speaker::bfd::wire::echo::{Echo, Key, LENGTH};
use vipgate_speaker::bfd::wire::frame::{self, ECHO_PORT, Frame, Path};
use vipgate_speaker::bfd::wire::{Diagnostic, State};
use vipgate_speaker::l2::frame::Protocol;
use vipgate_speaker::l2::socket::PacketSocket;

use crate::site::{SOON, Site, Speaker, ip};

const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
const NODE: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);

fn config(echo: Option<u64>) -> Config {
    Config { echo: echo.map(Duration::from_millis), ..Config::default() }
}

/// The index of a node's first link.
fn index(node: &Node) -> u32 {
    node.enter(|| {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        rustix::net::netdevice::name_to_index(&socket, "eth0").unwrap()
    })
}

fn mac(node: &Node) -> MacAddr {
    let said = node.run("ip", ["-j", "link", "show", "eth0"]).unwrap();
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    said[0]["address"].as_str().unwrap().parse().unwrap()
}

/// BFD on a node towards an address, with echo by its first link.
fn watch(node: &Node, speaker: &Speaker, peer: Ipv4Addr, config: Config) -> Session {
    let bfd = node.enter(|| Bfd::start().unwrap());
    let peer = SocketAddr::new(peer.into(), 0);
    let target = Target { peer, local: None, device: None, vrf: None, multihop: None };
    let session = speaker.runtime.block_on(bfd.session(target, config)).unwrap();
    std::mem::forget(bfd);
    session.echo_by(Some(index(node)));
    session
}

fn reaches(session: &Session, what: &str, is: impl Fn(&Status) -> bool) -> Status {
    eventually(SOON, || {
        let status = *session.status().borrow();
        anyhow::ensure!(is(&status), "not {what}: {status:?}");
        Ok(status)
    })
    .unwrap()
}

/// Both ends with echo, which is active.
fn pair(site: &Site, echo: u64) -> [Session; 2] {
    for node in [&site.router, &site.node] {
        assert_eq!(node.run("sysctl", ["-n", "net.ipv4.ip_forward"]).unwrap().trim(), "0");
    }
    let speaker = Speaker::on(&site.node);
    let ends = [(&site.router, NODE), (&site.node, ROUTER)];
    let ends = ends.map(|(node, peer)| watch(node, &speaker, peer, config(Some(echo))));
    for end in &ends {
        reaches(end, "echoing", |status| status.echo == Echoing::Active);
    }
    ends
}

/// Drops the echo packets of the node, before a packet socket sees them; or no more.
fn cut(node: &Node, cut: bool) {
    let rules = "table netdev cut {\nchain in {\ntype filter hook ingress device eth0 priority 0\n\
                 ip daddr 10.9.0.2 udp dport 3785 drop\n}\n}";
    node.run("nft", [if cut { rules } else { "delete table netdev cut" }]).unwrap();
}

#[test]
fn two_speakers_return_each_others_echoes_by_themselves() {
    let site = Site::new();
    let [router, node] = pair(&site, 100);
    std::thread::sleep(Duration::from_secs(5));
    for end in [&router, &node] {
        let status = *end.status().borrow();
        assert!(status.ups == 1 && status.echo == Echoing::Active, "{status:?}");
    }
    // Other settings, none, and again: nothing of this is a failure.
    let sockets = || site.node.run("cat", ["/proc/net/packet"]).unwrap();
    for echo in [Some(50), None, Some(100), None, Some(200)] {
        node.configure(config(echo));
        std::thread::sleep(Duration::from_secs(1));
        let expected = if echo.is_some() { Echoing::Active } else { Echoing::Off };
        let status = reaches(&node, "so", |status| status.echo == expected);
        assert_eq!((status.state, status.downs), (State::Up, 0));
        assert!(sockets().contains("0800"), "what is under way is returned for a while");
    }
    for link in [None, Some(index(&site.node))] {
        node.echo_by(link);
        std::thread::sleep(Duration::from_secs(5));
        let expected = if link.is_some() { Echoing::Active } else { Echoing::NoPath };
        let status = reaches(&node, "so", |status| status.echo == expected);
        assert_eq!((status.state, status.downs), (State::Up, 0));
        assert_eq!(sockets().contains("0800"), link.is_some());
    }
    assert_eq!(router.status().borrow().downs, 0);
    // What the router's kernel does not even see does not come back to the node.
    cut(&site.router, true);
    let start = Instant::now();
    let down = reaches(&node, "down", |status| status.last_down.is_some());
    let after = down.since.saturating_duration_since(start);
    println!("echoes 3 × 200 ms: down after {after:?}");
    assert_eq!((down.last_down, down.echo), (Some(Diagnostic::EchoFailed), Echoing::Failed));
    assert!(after < Duration::from_millis(800), "{after:?}");
    assert_eq!(router.status().borrow().last_down, Some(Diagnostic::NeighborSignaledDown));
    cut(&site.router, false);
    for end in [&router, &node] {
        reaches(end, "echoing again", |status| status.echo == Echoing::Active);
    }
}

/// Nobody gets an echo packet of somebody else, or one that crosses us for ever, and no one gets us to send more
/// than the peer was told.
#[test]
fn nothing_but_a_peers_echoes_is_returned_and_not_more_of_them_than_agreed() {
    let site = Site::new();
    let _ends = pair(&site, 500);
    let stranger = site.lab.node("stranger").unwrap();
    stranger.join(&site.lan, "10.9.0.77/24").unwrap();
    let theirs = mac(&site.node);
    let payload = [7; LENGTH];
    let frame_of = |sender: &Node, address: &str| {
        let Ok(address) = address.parse::<Ipv4Addr>() else { panic!("{address}") };
        frame::echo(&Path { ours: mac(sender), theirs, address }, &payload)
    };
    let frame_for = |address: &str| frame_of(&site.router, address);
    let returned_to = |sender: &Node, frames: Vec<Vec<u8>>| {
        let capture = sender.capture("eth0", "udp port 3785").unwrap();
        let index = index(sender);
        sender.enter(|| {
            let socket = PacketSocket::open(index, Protocol::Arp).unwrap();
            frames.iter().for_each(|frame| socket.send(frame).unwrap());
        });
        std::thread::sleep(Duration::from_millis(300));
        let frames = capture.stop().unwrap();
        let back = frames.iter().filter_map(|frame| Frame::read(&frame.bytes));
        let back = back.filter(|frame| frame.from == theirs && frame.payload == payload);
        back.map(|one| one.ttl).collect::<Vec<u8>>()
    };
    let returned = |frames| returned_to(&site.router, frames);
    // Of the peer's address, which is no secret, and nobody else hears of it.
    assert_eq!(returned(vec![frame_for("10.9.0.1")]), [254]);
    // Not for another station, however often it asks.
    let other = vec![frame_of(&stranger, "10.9.0.1"); 50];
    assert_eq!(returned_to(&stranger, other), [0; 0]);
    let mut last = frame_for("10.9.0.1");
    (0..2).for_each(|_| frame::turn_round(&mut last));
    assert_eq!(Frame::read(&last).map(|frame| (frame.ttl, frame.to)), Some((253, theirs)));
    let mut broken = frame_for("10.9.0.1");
    broken[24] ^= 1;
    let stranges = ["10.9.0.77", "10.9.0.2", "192.0.2.1"].map(frame_for);
    assert_eq!(returned(stranges.into_iter().chain([last, broken]).collect()), [0; 0]);
    let many = returned(vec![frame_for("10.9.0.1"); 500]);
    println!("of 500 frames at once {} came back", many.len());
    assert!((1..=10).contains(&many.len()), "{many:?}");
}

/// The way to the router is cut, and a third station, which sees all that there is to see, answers in its place
/// with what it can make up.
#[test]
fn forged_echoes_keep_nothing_up() {
    let site = Site::new();
    let [_router, node] = pair(&site, 100);
    let stranger = site.lab.node("stranger").unwrap();
    stranger.join(&site.lan, "10.9.0.77/24").unwrap();
    // The first number of a process is a secret of no use: it stands in each control packet.
    let capture = site.node.capture("eth0", "udp port 3785").unwrap();
    let ours = mac(&site.node);
    let wanted = |frame: &Frame<'_>| frame.from == ours && frame.destination == NODE;
    let seen =
        capture.wait_for(SOON, |one| Frame::read(&one.bytes).is_some_and(|one| wanted(&one)));
    let seen = seen.unwrap().bytes;
    let discriminator = Echo::claimed(Frame::read(&seen).unwrap().payload).unwrap();
    let path = Path { ours: mac(&stranger), theirs: ours, address: NODE };
    let began = Instant::now();
    let forge = |number: u64| {
        let sent = Duration::from_millis(number);
        let echo = Echo { discriminator, sent };
        frame::echo(&path, &echo.encode(&Key::new(&[0; 32])))
    };
    let index = index(&stranger);
    cut(&site.router, true);
    stranger.enter(|| {
        let socket = PacketSocket::open(index, Protocol::Arp).unwrap();
        while node.status().borrow().last_down.is_none() {
            assert!(began.elapsed() < SOON, "{:?}", node.status().borrow());
            // An old one of its own, and all that it might have sent lately.
            socket.send(&seen).unwrap();
            (0..50).for_each(|number| socket.send(&forge(number * 100)).unwrap());
            std::thread::sleep(Duration::from_millis(5));
        }
    });
    let status = *node.status().borrow();
    assert_eq!(status.last_down, Some(Diagnostic::EchoFailed), "{status:?}");
    println!("with forged echoes it was down after {:?}", status.since - began);
    assert!(status.since - began < Duration::from_secs(1));
}

/// IPv6 and multihop are watched as without.
#[test]
fn there_is_no_echo_for_ipv6() {
    let site = Site::new();
    let speaker = Speaker::on(&site.node);
    let ends = [(&site.router, "fd09::2"), (&site.node, "fd09::1")];
    let ends = ends.map(|(node, peer)| {
        let bfd = node.enter(|| Bfd::start().unwrap());
        let peer = SocketAddr::new(ip(peer), 0);
        let target = Target { peer, local: None, device: None, vrf: None, multihop: None };
        let begun = speaker.runtime.block_on(bfd.session(target, config(Some(100)))).unwrap();
        std::mem::forget(bfd);
        begun.echo_by(Some(index(node)));
        begun
    });
    for end in &ends {
        let up = reaches(end, "up", |status| status.state == State::Up);
        assert_eq!(up.echo, Echoing::NoPath);
    }
    let sockets = site.node.run("cat", ["/proc/net/packet"]).unwrap();
    assert!(!sockets.contains("0800"), "{sockets}");
    let capture = site.node.capture("eth0", &format!("udp port {ECHO_PORT}")).unwrap();
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(capture.stop().unwrap().len(), 0);
}

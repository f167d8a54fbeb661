//! Neighbour discovery on a real link: a kernel as neighbour, `ndisc6`, `tcpdump`, a bridge that snoops.

mod l2_rig;

use std::net::Ipv6Addr;
use std::time::Duration;

use l2_rig::{Capture, End, FOREIGN, Lan, PEER_IP6, SELDOM, Speaker, VIP6, eventually, parse_mac};
use vipgate_planner::MacAddr;
use vipgate_speaker::l2::ProbeOutcome;
use vipgate_speaker::l2::ndp::{Message, Ndp, group_mac, solicited_node};

fn eth0() -> Vec<String> {
    vec!["eth0".to_owned()]
}

/// One that knows `eth0` of the node and owns the IPv6 VIP on it.
fn owning(lan: &Lan) -> Speaker {
    let speaker = Speaker::new(SELDOM);
    speaker.set_link(lan, End::Node);
    speaker.own(&[VIP6]);
    speaker
}

/// Who answers when the peer asks for an address, one entry per answer within half a second.
async fn discovered(lan: &Lan, address: Ipv6Addr) -> Vec<MacAddr> {
    let address = address.to_string();
    let arguments = ["-m", "-n", "-r", "1", "-w", "500", &address, "eth0"];
    let child = lan.spawn(End::Peer, "ndisc6", &arguments);
    let output = child.wait_with_output().await.expect("ndisc6 is installed");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mac = |line: &str| parse_mac(line.split("address: ").nth(1)?.trim().get(..17)?);
    text.lines().filter_map(mac).collect()
}

/// A solicitation as a neighbour's kernel sends it, from a station of our own making.
fn asks(target: Ipv6Addr) -> Ndp {
    let group = solicited_node(target);
    Ndp {
        destination: group_mac(group),
        source: FOREIGN,
        sender_ip: PEER_IP6,
        receiver_ip: group,
        message: Message::Solicitation,
        target,
        link_address: Some(FOREIGN),
    }
}

/// What the kernel does about a VIP on `lo` (nothing), and that the speaker is the one who answers.
#[test]
fn the_speaker_alone_answers() {
    Lan::with_ipv6().on(End::Node, async |lan| {
        lan.ip(End::Node, &format!("addr add {VIP6}/128 dev lo nodad"));
        assert_eq!(discovered(lan, VIP6).await, [], "the kernel is silent about what is on lo");
        let speaker = owning(lan);
        eventually("the burst is out", || speaker.l2.counts().gratuitous == 4).await;
        assert_eq!(discovered(lan, VIP6).await, [lan.mac(End::Node)]);
        let counts = speaker.l2.counts();
        assert_eq!((counts.requests, counts.replies), (1, 1), "{counts:?}");
        // A neighbour's kernel takes it, and gets through.
        let vip = VIP6.to_string();
        let ping = lan.spawn(End::Peer, "ping", &["-6", "-c", "2", "-i", "0.2", "-W", "2", &vip]);
        assert!(ping.wait_with_output().await.expect("ping is installed").status.success());
        let entry = lan.ip(End::Peer, &format!("neigh show {VIP6}"));
        assert!(entry.contains(&lan.mac(End::Node).to_string()), "{entry}");

        speaker.own::<Ipv6Addr>(&[]);
        assert_eq!(discovered(lan, VIP6).await, []);
        speaker.stop().await;
    });
}

#[test]
fn the_burst_overrides_what_neighbours_have() {
    Lan::with_ipv6().on(End::Node, async |lan| {
        lan.ip(End::Peer, &format!("neigh add {VIP6} lladdr {FOREIGN} dev eth0 nud stale"));
        let capture = Capture::start(lan, "icmp6 and ip6[40] == 136").await;
        let speaker = Speaker::new(Duration::from_millis(500));
        speaker.set_link(lan, End::Node);
        speaker.own(&[VIP6]);
        let lines = capture.lines(Duration::from_millis(1_800)).await;
        let mac = lan.mac(End::Node);
        let expected = [0.0, 0.1, 0.3, 1.0, 1.5];
        assert_eq!(lines.len(), expected.len(), "{lines:#?}");
        for ((time, line), at) in lines.iter().zip(expected) {
            let off = time - lines[0].0 - at;
            assert!((-0.01..0.09).contains(&off), "{off} s late: {lines:#?}");
            assert!(line.starts_with(&format!("{mac} > 33:33:00:00:00:01,")), "{line}");
            assert!(line.contains(&format!("{VIP6} > ff02::1:")), "{line}");
        }
        let entry = lan.ip(End::Peer, &format!("neigh show {VIP6}"));
        assert!(entry.contains(&mac.to_string()), "{entry}");
        speaker.stop().await;
    });
}

/// The kernel of another host that is given the VIP finds the duplicate, and does not use it.
#[test]
fn duplicate_address_detection_of_another_host_finds_the_vip() {
    Lan::with_ipv6().on(End::Node, async |lan| {
        let other = Ipv6Addr::from(VIP6.to_bits() + 1);
        let speaker = owning(lan);
        for address in [VIP6, other] {
            lan.ip(End::Peer, &format!("addr add {address}/64 dev eth0"));
        }
        let show = |address| lan.ip(End::Peer, &format!("-6 addr show dev eth0 to {address}"));
        eventually("found", || show(VIP6).contains("dadfailed")).await;
        eventually("the control", || !show(other).contains("tentative")).await;
        assert!(!show(other).contains("dadfailed"));
        speaker.stop().await;
    });
}

#[test]
fn answers_what_is_well_formed_and_nothing_that_came_through_a_router() {
    Lan::with_ipv6().on(End::Node, async |lan| {
        let speaker = owning(lan);
        let own = lan.mac(End::Node);
        eventually("the burst is out", || speaker.l2.counts().gratuitous == 4).await;
        let expression = format!("icmp6 and ip6[40] == 136 and ether src {own}");
        let capture = Capture::start(lan, &expression).await;
        let mut routed = asks(VIP6).to_bytes();
        routed[21] = 254;
        let mut damaged = asks(VIP6).to_bytes();
        damaged[85] ^= 1;
        let bare = Ndp { link_address: None, ..asks(VIP6) };
        lan.inject(&[routed, damaged, bare.to_bytes(), Ndp::probe(FOREIGN, VIP6).to_bytes()]);
        let lines = capture.lines(Duration::from_millis(500)).await;
        let to: Vec<&str> = lines.iter().map(|(_, line)| &line[20..37]).collect();
        assert_eq!(to, [FOREIGN.to_string().as_str(), "33:33:00:00:00:01"], "{lines:#?}");
        let counts = speaker.l2.counts();
        assert_eq!(
            (counts.received, counts.requests),
            (3, 2),
            "the filter keeps one out: {counts:?}"
        );
        speaker.stop().await;
    });
}

#[test]
fn a_foreign_claim_is_reported_and_defended_once() {
    Lan::with_ipv6().on(End::Node, async |lan| {
        let mut speaker = owning(lan);
        eventually("the burst is out", || speaker.l2.counts().gratuitous == 4).await;
        for _ in 0..10 {
            lan.inject(&[Ndp::announcement(FOREIGN, VIP6).to_bytes()]);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let conflict = speaker.conflicts.recv().await.expect("reported");
        assert_eq!((conflict.vip, conflict.mac), (VIP6.into(), FOREIGN));
        assert!(speaker.conflicts.try_recv().is_err(), "once");
        let counts = speaker.l2.counts();
        assert_eq!((counts.received, counts.defences), (10, 1), "{counts:?}");
        speaker.stop().await;
    });
}

#[test]
fn a_probe_finds_who_has_the_address() {
    Lan::with_ipv6().on(End::Node, async |lan| {
        let speaker = Speaker::new(SELDOM);
        speaker.set_link(lan, End::Node);
        let free = speaker.l2.probe(VIP6.into(), &eth0()).await.unwrap();
        assert_eq!(free, ProbeOutcome::Free);
        let taken = speaker.l2.probe(PEER_IP6.into(), &eth0()).await.unwrap();
        let mac = lan.mac(End::Peer);
        assert_eq!(taken, ProbeOutcome::Conflict { mac, link: "eth0".into() });
        let counts = speaker.l2.counts();
        assert!(counts.probes >= 4, "{counts:?}");
        speaker.stop().await;
    });
}

/// A switch that snoops forwards a solicitation only to ports with a member of its group.
#[test]
fn a_switch_that_snoops_forwards_what_asks_for_the_vip() {
    Lan::with_ipv6().on(End::Node, async |lan| {
        // A querier forwards by membership when it has waited for the first answers, here 0.5 s.
        lan.ip(End::Peer, "link add br0 type bridge mcast_query_response_interval 50");
        lan.ip(End::Peer, "link set br0 addrgenmode none");
        lan.ip(End::Peer, "addr add fe80::b/64 dev br0 nodad");
        lan.ip(End::Peer, "link set br0 type bridge mcast_querier 1");
        lan.ip(End::Peer, "link set eth0 master br0");
        lan.ip(End::Peer, "link set br0 up");
        let speaker = owning(lan);
        let other = Ipv6Addr::from(VIP6.to_bits() + 1);
        let groups = || lan.ip(End::Node, "maddr show dev eth0");
        let group = solicited_node(VIP6).to_string();
        eventually("the group is joined", || groups().contains(&group)).await;
        let mdb = || lan.exec(End::Peer, "bridge mdb show dev br0");
        eventually("the bridge knows", || mdb().contains(&group)).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        let capture = Capture::at(lan, End::Node, "icmp6 and ip6[40] == 135").await;
        lan.inject_on("br0", &[asks(other).to_bytes(), asks(VIP6).to_bytes()]);
        let lines = capture.lines(Duration::from_millis(500)).await;
        let seen = |address: Ipv6Addr| {
            let asked = format!("who has {address},");
            lines.iter().filter(|(_, line)| line.contains(&asked)).count()
        };
        assert_eq!((seen(VIP6), seen(other)), (1, 0), "the other is the control: {lines:#?}");
        assert!(speaker.l2.counts().requests >= 1);

        speaker.own::<Ipv6Addr>(&[]);
        eventually("the group is left", || !groups().contains(&group)).await;
        speaker.stop().await;
    });
}

/// More groups than one socket has room for, on a kernel that grants as little as those before 6.7.
#[test]
fn many_vips_are_found_on_a_kernel_with_little_option_memory() {
    Lan::with_ipv6().on(End::Node, async |lan| {
        lan.exec(End::Node, "echo 20480 > /proc/sys/net/core/optmem_max");
        let speaker = Speaker::new(SELDOM);
        speaker.set_link(lan, End::Node);
        let vips: Vec<Ipv6Addr> =
            (0..900).map(|n| Ipv6Addr::from(VIP6.to_bits() + 0x1000 + 3 * n)).collect();
        speaker.own(&vips);
        eventually("the bursts are out", || speaker.l2.counts().gratuitous == 3_600).await;
        for vip in [vips[0], vips[450], vips[899]] {
            assert_eq!(discovered(lan, vip).await, [lan.mac(End::Node)], "{vip}");
        }
        let groups = lan.ip(End::Node, "maddr show dev eth0");
        let joined = vips.iter().filter(|vip| groups.contains(&solicited_node(**vip).to_string()));
        assert_eq!(joined.count(), vips.len());
        speaker.stop().await;
    });
}

//! Sessions and what they carry, with each router.

use std::collections::BTreeSet;
use std::time::Duration;

use vipgate_lab::eventually;
use vipgate_lab::routers::{Make, Router, Setup};
use vipgate_speaker::bgp::fsm::{PeerAs, Restart};
use vipgate_speaker::bgp::io::Address;
use vipgate_speaker::bgp::wire::{Community, Family, LargeCommunity, Path};

use crate::site::{SOON, Site, Speaker, VIP4, VIP6, forwards, towards};

/// Each scenario runs with each router.
macro_rules! with_each_router {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {
        mod frr { $($(#[$doc])* #[test] fn $name() { super::$name(vipgate_lab::routers::Make::Frr); })+ }
        mod bird { $($(#[$doc])* #[test] fn $name() { super::$name(vipgate_lab::routers::Make::Bird); })+ }
    };
}
pub(crate) use with_each_router;

with_each_router!(
    both_families_on_one_ipv4_session,
    both_families_on_one_ipv6_session,
    ipv4_with_ipv6_next_hops,
    a_link_local_session,
    communities_and_local_preference,
    four_byte_as,
    dynamic_as,
    tcp_md5,
    ttl_security,
    multihop,
    graceful_restart,
    a_planned_stop_is_told_in_words,
);

/// "dual via ipv4"; the route is in the FIB, changes, and is gone on stop.
fn both_families_on_one_ipv4_session(make: Make) {
    let site = Site::new();
    let router = Router::start(make, &site.router, &Setup::new("10.9.0.1", "10.9.0.2")).unwrap();
    let speaker = Speaker::on(&site.node);
    let peering = speaker.peer(towards("10.9.0.1"));
    peering.announce(&[VIP4, VIP6]);
    peering.established();
    forwards(&router, VIP4, &["10.9.0.2"]);
    forwards(&router, VIP6, &["fd09::2"]);
    let route = router.route(VIP4);
    assert!(route.contains("65001") && !route.contains("{65001}"), "a sequence, no set: {route}");
    assert_eq!(peering.status().routes.sent, 2);

    peering.announce(&[VIP4, "192.0.2.0/24"]);
    forwards(&router, VIP6, &[]);
    forwards(&router, "192.0.2.0/24", &["10.9.0.2"]);
    forwards(&router, VIP4, &["10.9.0.2"]);

    peering.stop("", false);
    forwards(&router, VIP4, &[]);
    forwards(&router, "192.0.2.0/24", &[]);
}

/// "dual via ipv6".
fn both_families_on_one_ipv6_session(make: Make) {
    let site = Site::new();
    let router = Router::start(make, &site.router, &Setup::new("fd09::1", "fd09::2")).unwrap();
    let speaker = Speaker::on(&site.node);
    let peering = speaker.peer(towards("fd09::1"));
    peering.announce(&[VIP4, VIP6]);
    // The node has an IPv4 address on the link: no need for RFC 8950.
    forwards(&router, VIP4, &["10.9.0.2"]);
    forwards(&router, VIP6, &["fd09::2"]);
}

/// RFC 8950: no IPv4 address anywhere near.
fn ipv4_with_ipv6_next_hops(make: Make) {
    let site = Site::new();
    site.node.run("ip", ["address", "del", "10.9.0.2/24", "dev", "eth0"]).unwrap();
    let router = Router::start(make, &site.router, &Setup::new("fd09::1", "fd09::2")).unwrap();
    let speaker = Speaker::on(&site.node);
    let peering = speaker.peer(towards("fd09::1"));
    peering.announce(&[VIP4]);
    peering.established();
    // FRR forwards to the link-local address of the same machine.
    eventually(SOON, || {
        let found = router.next_hops(VIP4).unwrap();
        anyhow::ensure!(found.len() == 1 && found[0].contains(':'), "{found:?} {}", router.tell());
        Ok(())
    })
    .unwrap();
}

fn a_link_local_session(make: Make) {
    let site = Site::new();
    let (theirs, ours) = ("fe80::9:1", "fe80::9:2");
    for (machine, address) in [(&site.router, theirs), (&site.node, ours)] {
        let address = format!("{address}/64");
        machine.run("ip", ["address", "add", &address, "dev", "eth0", "nodad"]).unwrap();
    }
    let router =
        Router::start(make, &site.router, &Setup::new(theirs, &format!("{ours}%eth0"))).unwrap();
    let speaker = Speaker::on(&site.node);
    let mut config = towards(theirs);
    let shown = site.node.run("ip", ["-j", "link", "show", "dev", "eth0"]).unwrap();
    let parsed: serde_json::Value = serde_json::from_str(&shown).unwrap();
    let index = parsed[0]["ifindex"].as_u64().unwrap().try_into().unwrap();
    if let Address::At(std::net::SocketAddr::V6(address)) = &mut config.target.address {
        address.set_scope_id(index);
    }
    config.target.device = Some("eth0".to_owned());
    let peering = speaker.peer(config);
    peering.announce(&[VIP6]);
    peering.established();
    forwards(&router, VIP6, &[ours]);
}

/// "community", "large community", "localpref" and their unions.
fn communities_and_local_preference(make: Make) {
    let site = Site::new();
    let setup = Setup { asn: 65001, ..Setup::new("10.9.0.1", "10.9.0.2") };
    let router = Router::start(make, &site.router, &setup).unwrap();
    let speaker = Speaker::on(&site.node);
    let mut config = towards("10.9.0.1");
    config.session.peer_as = PeerAs::Internal;
    let peering = speaker.peer(config);
    let path = Path {
        local_pref: Some(250),
        communities: BTreeSet::from([Community(0xfde9_0064), Community(0xffff_ff01)]),
        large_communities: BTreeSet::from([LargeCommunity([65001, 7, 8])]),
    };
    peering.announce_with(&[VIP4, VIP6], &path);
    forwards(&router, VIP4, &["10.9.0.2"]);
    forwards(&router, VIP6, &["fd09::2"]);
    for prefix in [VIP4, VIP6] {
        let route = router.route(prefix);
        let expected: [&str; 4] = match make {
            Make::Frr => ["localpref 250", "65001:100", "no-export", "65001:7:8"],
            Make::Bird => ["local_pref: 250", "(65001,100)", "(65535,65281)", "(65001, 7, 8)"],
        };
        for one in expected {
            assert!(route.contains(one), "{one} in {route}");
        }
    }
}

fn four_byte_as(make: Make) {
    let site = Site::new();
    let setup = Setup { asn: 4_200_000_002, ..Setup::new("10.9.0.1", "10.9.0.2") };
    let setup = setup.with(|peer| peer.asn = 4_200_000_001);
    let router = Router::start(make, &site.router, &setup).unwrap();
    let speaker = Speaker::on(&site.node);
    let mut config = towards("10.9.0.1");
    config.session.asn = 4_200_000_001;
    config.session.peer_as = PeerAs::Exactly(4_200_000_002);
    let peering = speaker.peer(config);
    peering.announce(&[VIP4]);
    forwards(&router, VIP4, &["10.9.0.2"]);
    assert!(router.route(VIP4).contains("4200000001"), "{}", router.route(VIP4));
}

/// "dynamic ASN works; wrong dynamic ASN does not establish".
fn dynamic_as(make: Make) {
    let site = Site::new();
    let router = Router::start(make, &site.router, &Setup::new("10.9.0.1", "10.9.0.2")).unwrap();
    let speaker = Speaker::on(&site.node);
    let mut config = towards("10.9.0.1");
    config.session.peer_as = PeerAs::Internal;
    let wrong = speaker.peer(config.clone());
    wrong.fails_with("Bad Peer AS (it is of AS 65002, the BGPPeer asks for ours, 65001)");
    assert_eq!(wrong.status().established, 0);
    wrong.stop("", false);
    config.session.peer_as = PeerAs::External;
    let right = speaker.peer(config);
    right.announce(&[VIP4]);
    forwards(&router, VIP4, &["10.9.0.2"]);
    assert_eq!(right.status().session.unwrap().peer_as, 65002);
}

/// "peers with password".
fn tcp_md5(make: Make) {
    let site = Site::new();
    let setup = Setup::new("10.9.0.1", "10.9.0.2");
    let setup = setup.with(|peer| peer.password = Some("s3cret".to_owned()));
    let router = Router::start(make, &site.router, &setup).unwrap();
    let speaker = Speaker::on(&site.node);
    let mut config = towards("10.9.0.1");
    config.target.password = Some(b"wrong".to_vec());
    let wrong = speaker.peer(config.clone());
    wrong.announce(&[VIP4]);
    // A SYN with a wrong signature is dropped without a word.
    let error = wrong.fails_with("no answer within 10 s");
    assert!(error.contains("password"), "{error}");
    wrong.stop("", false);
    config.target.password = Some(b"s3cret".to_vec());
    let right = speaker.peer(config);
    right.announce(&[VIP4]);
    forwards(&router, VIP4, &["10.9.0.2"]);
}

/// RFC 5082, both ways: the router asks for 255 and gets it; we ask for 255 of a router that sends
/// 1, as both do unless told otherwise.
fn ttl_security(make: Make) {
    let site = Site::new();
    let setup = Setup::new("10.9.0.1", "10.9.0.2");
    let mut config = towards("10.9.0.1");
    config.target.ttl_security = true;
    {
        let _router = Router::start(make, &site.router, &setup).unwrap();
        let speaker = Speaker::on(&site.node);
        let peering = speaker.peer(config.clone());
        // The connection is made, and all that the router says on it is dropped.
        eventually(SOON, || {
            let dropped = site.node.run("nstat", ["-asz", "TcpExtTCPMinTTLDrop"])?;
            let count = dropped.lines().find(|line| line.starts_with("TcpExt"));
            let count = count.and_then(|line| line.split_whitespace().nth(1)).unwrap_or("0");
            anyhow::ensure!(count != "0", "{dropped}");
            Ok(())
        })
        .unwrap();
        assert_eq!(peering.status().established, 0, "{:?}", peering.status());
    }
    let setup = setup.with(|peer| peer.ttl_security = true);
    let router = Router::start(make, &site.router, &setup).unwrap();
    let speaker = Speaker::on(&site.node);
    let peering = speaker.peer(config);
    peering.announce(&[VIP4]);
    forwards(&router, VIP4, &["10.9.0.2"]);
}

/// The router is one further router away, and speaks from its loopback address.
fn multihop(make: Make) {
    let site = Site::new();
    let far = site.lab.bridge("far").unwrap();
    let middle = site.lab.node("middle").unwrap();
    let beyond = site.lab.node("beyond").unwrap();
    middle.join(&site.lan, "10.9.0.5/24").unwrap();
    middle.join(&far, "10.8.0.5/24").unwrap();
    middle.sysctl("net.ipv4.ip_forward", "1").unwrap();
    beyond.join(&far, "10.8.0.1/24").unwrap();
    beyond.run("ip", ["route", "add", "10.9.0.0/24", "via", "10.8.0.5"]).unwrap();
    beyond.run("ip", ["address", "add", "10.255.0.1/32", "dev", "lo"]).unwrap();
    middle.run("ip", ["route", "add", "10.255.0.1", "via", "10.8.0.1"]).unwrap();
    site.node.default_route("10.9.0.5").unwrap();
    let setup = Setup::new("10.255.0.1", "10.9.0.2").with(|peer| peer.multihop = true);
    let router = Router::start(make, &beyond, &setup).unwrap();
    let speaker = Speaker::on(&site.node);
    let mut config = towards("10.255.0.1");
    let direct = speaker.peer(config.clone());
    direct.fails_with("set ebgpMultiHop");
    direct.stop("", false);
    config.session.multihop = true;
    let peering = speaker.peer(config);
    peering.announce(&[VIP4]);
    peering.established();
    forwards(&router, VIP4, &["10.8.0.5"]);
}

/// "GracefulRestart on speaker restart: dataplane keeps working with GR; downtime without GR".
fn graceful_restart(make: Make) {
    for restart in [false, true] {
        let site = Site::new();
        let setup = Setup::new("10.9.0.1", "10.9.0.2");
        let setup = setup.with(|peer| peer.graceful_restart = true);
        let router = Router::start(make, &site.router, &setup).unwrap();
        let mut config = towards("10.9.0.1");
        let time = Duration::from_secs(60);
        let gr =
            |restarted| restart.then(|| Restart { time, restarted, families: Family::ALL.into() });
        config.session.graceful_restart = gr(false);
        let speaker = Speaker::on(&site.node);
        let peering = speaker.peer(config.clone());
        peering.announce(&[VIP4]);
        forwards(&router, VIP4, &["10.9.0.2"]);
        peering.forget();
        die(speaker);
        if !restart {
            forwards(&router, VIP4, &[]);
            continue;
        }
        std::thread::sleep(Duration::from_secs(2));
        assert_eq!(router.next_hops(VIP4).unwrap(), ["10.9.0.2"], "{}", router.route(VIP4));
        // Its successor has fewer VIPs: what is not announced again goes with End-of-RIB.
        config.session.graceful_restart = gr(true);
        let speaker = Speaker::on(&site.node);
        let peering = speaker.peer(config);
        peering.announce(&["192.0.2.11/32"]);
        forwards(&router, "192.0.2.11/32", &["10.9.0.2"]);
        forwards(&router, VIP4, &[]);
        // A planned stop takes its routes along.
        peering.stop("bye", false);
        forwards(&router, "192.0.2.11/32", &[]);
    }
}

/// The process dies: the kernel closes the connection, and nobody says a word.
fn die(speaker: Speaker) {
    speaker.runtime.shutdown_background();
}

/// RFC 8326 and RFC 9003.
fn a_planned_stop_is_told_in_words(make: Make) {
    let site = Site::new();
    let router = Router::start(make, &site.router, &Setup::new("10.9.0.1", "10.9.0.2")).unwrap();
    let speaker = Speaker::on(&site.node);
    let mut config = towards("10.9.0.1");
    config.session.drain_mark = Duration::from_secs(4);
    config.session.drain_settle = Duration::from_secs(1);
    let peering = speaker.peer(config);
    peering.announce(&[VIP4, VIP6]);
    forwards(&router, VIP4, &["10.9.0.2"]);
    forwards(&router, VIP6, &["fd09::2"]);
    std::thread::scope(|scope| {
        let stopping = scope.spawn(|| peering.stop("node drained", true));
        let marked = match make {
            Make::Frr => "graceful-shutdown",
            Make::Bird => "(65535,0)",
        };
        eventually(SOON, || {
            let route = router.route(VIP4);
            anyhow::ensure!(route.contains(marked), "{route}");
            Ok(())
        })
        .unwrap();
        assert_eq!(router.next_hops(VIP4).unwrap(), ["10.9.0.2"], "marked, and still there");
        forwards(&router, VIP4, &[]);
        forwards(&router, VIP6, &[]);
        let taken = stopping.join().unwrap();
        assert!((5..9).contains(&taken.as_secs()), "{taken:?}");
    });
    eventually(SOON, || {
        let shown = match make {
            Make::Frr => router.printed(),
            Make::Bird => router.ask("show protocols all peer0"),
        };
        anyhow::ensure!(shown.contains("node drained"), "{shown}");
        Ok(())
    })
    .unwrap();
}

/// RFC 6793: a router without capabilities is sent AS_TRANS, two bytes of it, and beside it
/// AS4_PATH, which FRR leaves alone since our OPEN says that we could do without. It has IPv4 only.
#[test]
fn a_router_without_capabilities() {
    let site = Site::new();
    let setup = Setup::new("10.9.0.1", "10.9.0.2").with(|peer| {
        peer.asn = 4_200_000_001;
        peer.without_capabilities = true;
    });
    let router = Router::start(Make::Frr, &site.router, &setup).unwrap();
    let speaker = Speaker::on(&site.node);
    let mut config = towards("10.9.0.1");
    config.session.asn = 4_200_000_001;
    let peering = speaker.peer(config);
    peering.announce(&[VIP4, VIP6]);
    forwards(&router, VIP4, &["10.9.0.2"]);
    let route = router.route(VIP4);
    assert!(route.contains("  23456\n"), "{route}");
    let status = peering.status();
    assert_eq!((status.routes.sent, status.routes.unsendable), (1, 1));
    assert!(!status.session.unwrap().as4);
}

/// "unnumbered": neither side is told an address, and the node has no IPv4 one there. FRR alone has
/// it. BIRD's nearest is a range of link-local neighbours, which we cannot find without its RAs.
#[test]
fn unnumbered_with_frr() {
    let site = Site::new();
    site.node.run("ip", ["address", "flush", "dev", "eth0", "scope", "global"]).unwrap();
    for (machine, address) in [(&site.router, "fe80::9:1/64"), (&site.node, "fe80::9:2/64")] {
        machine.run("ip", ["address", "add", address, "dev", "eth0", "nodad"]).unwrap();
    }
    let router = Router::start(Make::Frr, &site.router, &Setup::new("", "eth0")).unwrap();
    let speaker = Speaker::on(&site.node);
    let discovery = speaker.discover("eth0");
    let mut config = towards("10.9.0.1");
    config.target.address = Address::Found { neighbour: discovery.found(), port: 179 };
    config.session.peer_as = PeerAs::External;
    let peering = speaker.peer(config);
    peering.announce(&[VIP4, VIP6]);
    peering.established();
    forwards(&router, VIP4, &["fe80::9:2"]);
    forwards(&router, VIP6, &["fe80::9:2"]);
    let found = discovery.found().borrow().map(|place| place.ip().to_string());
    assert_eq!(found.as_deref(), Some("fe80::9:1"));
}

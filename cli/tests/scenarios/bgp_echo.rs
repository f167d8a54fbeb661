//! The echo function of BFD, with FRR as the router: it forwards our echoes in its kernel, and takes its own for
//! returned only when they come back with one less of TTL.

use std::time::{Duration, Instant};

use serde_json::Value;
use vipgate_lab::routers::{Make, Router};
use vipgate_lab::{eventually, patience};

use crate::routed::{ROUTED, Routed, peer};
use crate::site::SOON;

/// Echoes each so many milliseconds, in both directions; control packets at the default.
const INTERVAL: u32 = 100;

fn profile(echo: bool) -> String {
    format!(
        "apiVersion: vipgate.dev/v1alpha1\nkind: BFDProfile\n\
         metadata: {{name: echo, namespace: vipgate-system}}\n\
         spec: {{echoMode: {echo}, echoInterval: {INTERVAL}}}\n"
    )
}

/// Two hosts, and a router with `echo-mode`.
fn site(name: &str, router: &str, addresses: [&str; 2]) -> (Routed, Router) {
    let mut site = Routed::new(name, 2);
    let mut setup = site.setup();
    setup.bfd = true;
    for (peer, address) in setup.peers.iter_mut().zip(addresses) {
        address.clone_into(&mut peer.address);
        router.clone_into(&mut peer.local);
        (peer.bfd, peer.echo) = (Some(300), Some(INTERVAL));
    }
    let frr = Router::start(Make::Frr, &site.machine, &setup).unwrap();
    site.hosts
        .write("peer.yaml", &peer("tor", &["bfdProfile: echo"]).replace("10.77.0.254", router));
    site.hosts.write("bfd.yaml", &profile(false));
    site.start_all();
    site.forwards(&frr, ROUTED, &[0, 1]);
    (site, frr)
}

/// Waits until a host says this of BFD and its echo function.
fn says(site: &Routed, number: usize, bfd: &str, echo: &str) {
    eventually(SOON * 2, || {
        let said = site.session(number, "tor")?;
        let words = said["bfdEcho"].as_str().unwrap_or_default();
        anyhow::ensure!(said["bfd"] == bfd && words.contains(echo), "{said}");
        Ok(())
    })
    .unwrap();
}

/// What FRR has counted with a host.
fn counter(router: &Router, address: &str, name: &str) -> u64 {
    let said: Value = serde_json::from_str(&router.ask("show bfd peers counters json")).unwrap();
    let peers = said.as_array().unwrap();
    let of = peers.iter().find(|peer| peer["peer"] == address).unwrap_or_else(|| panic!("{said}"));
    of[name].as_u64().unwrap_or_else(|| panic!("{of} has no {name}"))
}

/// Whether a host has a packet socket that takes IPv4.
fn listens_for_frames(site: &Routed, number: usize) -> bool {
    let sockets = site.hosts.hosts[number].node.run("cat", ["/proc/net/packet"]).unwrap();
    sockets.lines().any(|line| line.split_whitespace().nth(3) == Some("0800"))
}

/// MetalLB: "BFD echo mode (v4)". Echoes of both come back, of a host that forwards and of one that does not.
/// Then the router forwards no echo any more, while all else works.
#[test]
fn echoes_flow_both_ways_and_a_router_that_forwards_none_is_left() {
    let (site, router) = site("bgp-echo", "10.77.0.254", ["10.77.0.1", "10.77.0.2"]);
    site.hosts.hosts[1].node.sysctl("net.ipv4.ip_forward", "1").unwrap();
    site.machine.sysctl("net.ipv4.conf.all.rp_filter", "1").unwrap();
    (0..2).for_each(|number| site.watches(number));
    assert!(!listens_for_frames(&site, 0), "without echoMode");
    site.hosts.write("bfd.yaml", &profile(true));
    (0..2).for_each(|number| says(&site, number, "Up", "active"));
    assert!(listens_for_frames(&site, 0));

    let hosts = ["10.77.0.1", "10.77.0.2"];
    let counters = || {
        hosts.map(|host| {
            let count = |what: &str| counter(&router, host, &format!("echo-packet-{what}"));
            (count("output"), count("input"), counter(&router, host, "session-down"))
        })
    };
    eventually(SOON, || {
        anyhow::ensure!(counters().iter().all(|(_, back, _)| *back > 0), "{:?}", counters());
        Ok(())
    })
    .unwrap();
    let before = counters();
    let since = [0, 1].map(|number| site.session(number, "tor").unwrap()["since"].clone());
    std::thread::sleep(Duration::from_secs(5));
    let after = counters();
    println!(
        "FRR counted echoes sent, returned, and downs: {before:?}, five seconds later {after:?}"
    );
    for (before, after) in before.iter().zip(&after) {
        let (sent, back) = (after.0 - before.0, after.1 - before.1);
        assert!((30..=80).contains(&sent) && back + 5 >= sent, "{before:?}, {after:?}");
        assert_eq!(after.2, before.2, "it went down");
    }
    let still = [0, 1].map(|number| site.session(number, "tor").unwrap()["since"].clone());
    assert_eq!(since, still, "the BGP sessions are the same");

    // Control packets and BGP are not forwarded, ours to ourselves are.
    let rules = "table inet cut {\nchain forward {\ntype filter hook forward priority 0\n\
                 udp dport 3785 drop\n}\n}";
    site.machine.run("nft", [rules]).unwrap();
    let cut = Instant::now();
    while !router.next_hops(ROUTED).unwrap().is_empty() {
        assert!(cut.elapsed() < SOON, "{}", router.tell());
    }
    let taken = cut.elapsed();
    println!("echoes 3 × {INTERVAL} ms: the routes were gone after {taken:?}");
    assert!(taken < patience(Duration::from_millis(700)), "{taken:?}");
    for (number, host) in hosts.iter().enumerate() {
        let said = eventually(SOON, || {
            let said = site.session(number, "tor")?;
            anyhow::ensure!(said["lastError"].to_string().contains("BFD Down"), "{said}");
            Ok(said)
        });
        let echo = said.unwrap()["bfdEcho"].to_string();
        assert!(echo.contains("Echo Function Failed"), "{echo}");
        let of_router = router.ask(&format!("show bfd peer {host}"));
        assert!(of_router.contains("echo function failed"), "{of_router}");
    }
    // BFD comes up again by its control packets; BGP would have the router draw traffic.
    let until = Instant::now() + Duration::from_secs(6);
    while Instant::now() < until {
        let said = site.session(0, "tor").unwrap();
        assert_ne!(said["state"], "Established", "{said}");
        std::thread::sleep(Duration::from_millis(50));
    }
    site.machine.run("nft", ["delete table inet cut"]).unwrap();
    site.forwards(&router, ROUTED, &[0, 1]);
    (0..2).for_each(|number| says(&site, number, "Up", "active"));
}

/// RFC 5881 section 4 and MetalLB alike: of IPv6 there is none, and that is said.
#[test]
fn a_router_with_an_ipv6_address_is_watched_without_echo_in_words() {
    let (site, _router) = site("bgp-echo6", "fd77::254", ["fd77::1", "fd77::2"]);
    (0..2).for_each(|number| site.watches(number));
    site.hosts.write("bfd.yaml", &profile(true));
    says(&site, 0, "Up", "not used: it is IPv4 single-hop only (RFC 5881)");
    assert!(!listens_for_frames(&site, 0));
    let status = site.hosts.hosts[0].ask(&["status"]).unwrap_err().to_string();
    let words = "echoMode is IPv4 single-hop only (RFC 5881 section 4, RFC 5883 section 3)";
    assert!(status.contains(words), "{status}");
    assert_eq!(site.session(0, "tor").unwrap()["state"], "Established");
}

/// BIRD has no echo function: it announces that it returns none.
#[test]
fn a_router_that_returns_none_is_sent_none() {
    let (site, _router) = Routed::with_bfd("bgp-quiet", Make::Bird, 300);
    let before = site.session(0, "tor").unwrap()["since"].clone();
    let echoes = site.hosts.hosts[0].node.capture("eth0", "udp port 3785").unwrap();
    site.hosts.write("bfd.yaml", &profile(true).replace("name: echo", "name: fast"));
    says(&site, 0, "Up", "the router returns none (its Required Min Echo RX Interval is 0)");
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(echoes.stop().unwrap().len(), 0);
    assert_eq!(site.session(0, "tor").unwrap()["since"], before);
}

//! VIPs that routers know: from every host at once, with FRR and BIRD as routers and a client behind
//! them. Names in quotes are those of MetalLB's tests.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use vipgate_lab::routers::{Make, Router};
use vipgate_lab::{eventually, patience};

use crate::routed::{ROUTED, ROUTED6, Routed, advertisement, peer};
use crate::site::{SOON, VIP, pool};

/// Each scenario runs with each router.
macro_rules! with_each_router {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {
        mod frr {
            $($(#[$doc])* #[test] fn $name() { super::$name(vipgate_lab::routers::Make::Frr); })+
        }
        mod bird {
            $($(#[$doc])* #[test] fn $name() { super::$name(vipgate_lab::routers::Make::Bird); })+
        }
    };
}

with_each_router!(
    three_hosts_share_a_vip_and_one_is_killed,
    a_host_is_drained_and_no_connection_fails,
    both_families_on_one_session,
    a_password_that_is_wrong_is_said_in_words,
    a_router_that_calls_is_waited_for,
    bfd_notices_a_cut,
);

const CONNECTIONS: usize = 3_000;

/// "shares within ±15 %", and a host that dies takes its routes along.
fn three_hosts_share_a_vip_and_one_is_killed(make: Make) {
    let mut site = Routed::new("bgp-share", 3);
    let router = site.router(make);
    site.start_all();
    site.forwards(&router, ROUTED, &[0, 1, 2]);
    assert_eq!(site.failures(ROUTED, CONNECTIONS), 0);
    let accepted = site.accepted();
    println!("{make:?}: {accepted:?}");
    let fair = CONNECTIONS as u64 / 3;
    assert!(accepted.values().all(|one| one.abs_diff(fair) <= fair * 15 / 100), "{accepted:?}");

    let status = site.hosts.hosts[0].ask(&["status"]).unwrap();
    assert!(status.contains(&format!("✓ {ROUTED}  announced to a router")), "{status}");
    assert!(status.contains("✓ vipgate-system/tor  10.77.0.254:179  Established"), "{status}");
    let why = site.hosts.hosts[0].ask(&["why", ROUTED]).unwrap();
    assert!(why.contains("routers know it from host1 (1)"), "{why}");

    let killed = Instant::now();
    site.hosts.kill(1);
    site.forwards(&router, ROUTED, &[0, 2]);
    println!(
        "{make:?}: the routes of a host that was killed were gone after {:?}",
        killed.elapsed()
    );
    assert_eq!(site.failures(ROUTED, CONNECTIONS / 10), 0);
}

/// The routes are taken back before anything else goes.
fn a_host_is_drained_and_no_connection_fails(make: Make) {
    let mut site = Routed::new("bgp-drain", 3);
    let router = site.router(make);
    site.start_all();
    site.forwards(&router, ROUTED, &[0, 1, 2]);
    let client = site.connect_on_and_on(ROUTED);
    std::thread::sleep(Duration::from_secs(1));
    site.hosts.terminate(0);
    site.forwards(&router, ROUTED, &[1, 2]);
    std::thread::sleep(Duration::from_secs(1));
    let tries = client.stop();
    println!("{make:?}: {tries:?} while a host was drained");
    assert!(tries.good > 100, "{tries:?}");
    assert_eq!(tries.failed, 0, "{tries:?}");
    let said = match make {
        Make::Frr => router.printed(),
        Make::Bird => router.ask("show protocols all peer0"),
    };
    assert!(said.contains("vipgate on host1 is stopped"), "{said}");
}

/// "dual via ipv4".
fn both_families_on_one_session(make: Make) {
    let mut site = Routed::new("bgp-dual", 2);
    let router = site.router(make);
    site.hosts.write("pool.yaml", &pool(&format!("{ROUTED}/32, '{ROUTED6}/128'")));
    site.start_all();
    site.forwards(&router, ROUTED, &[0, 1]);
    router.forwards(ROUTED6, &["fd77::1", "fd77::2"], SOON).unwrap();
    for vip in [ROUTED, ROUTED6] {
        assert_eq!(site.failures(vip, 50), 0, "{vip}");
    }
    let said = site.established(0, "tor");
    let capabilities = said["capabilities"].to_string();
    assert!(
        capabilities.contains("ipv4-unicast") && capabilities.contains("ipv6-unicast"),
        "{said}"
    );
    assert_eq!(said["prefixes"], 2, "{said}");
}

/// "TCP MD5 right/wrong key"; another password begins the session anew.
fn a_password_that_is_wrong_is_said_in_words(make: Make) {
    let mut site = Routed::new("bgp-pass", 1);
    let setup = site.setup().with(|peer| peer.password = Some("s3cret".to_owned()));
    let router = Router::start(make, &site.machine, &setup).unwrap();
    site.hosts.write("peer.yaml", &peer("tor", &["passwordSecret: {name: tor}"]));
    site.hosts.write("password.yaml", &password("other"));
    site.start_all();
    let wrong = eventually(SOON * 3, || {
        let said = site.session(0, "tor")?;
        anyhow::ensure!(said["lastError"] != serde_json::Value::Null, "{said}");
        Ok(said)
    })
    .unwrap();
    assert!(wrong["lastError"].to_string().contains("password"), "{wrong}");
    assert_ne!(wrong["state"], "Established");
    let text = site.hosts.hosts[0].ask(&["bgp"]).unwrap();
    assert!(text.contains("vipgate-system/tor  10.77.0.254:179  Connect since"), "{text}");
    let why = site.hosts.hosts[0].why(ROUTED).unwrap();
    assert!(why.contains("^ the first broken link: NoRouter"), "{why}");
    assert!(why.contains("run:    vipgate bgp"), "{why}");
    assert!(why.contains("no router knows it"), "{why}");
    assert!(why.contains("NoRouter") && why.contains("password"), "{why}");
    assert!(!text.contains("s3cret") && !text.contains("other"), "{text}");

    site.hosts.write("password.yaml", &password("s3cret"));
    site.established(0, "tor");
    site.forwards(&router, ROUTED, &[0]);
}

/// `passive: true`. When it is taken back, the port is nobody's again.
fn a_router_that_calls_is_waited_for(make: Make) {
    let mut site = Routed::new("bgp-calls", 1);
    site.hosts.write("peer.yaml", &peer("tor", &["passive: true"]));
    site.start_all();
    let waits = eventually(SOON, || {
        let said = site.session(0, "tor")?;
        anyhow::ensure!(
            said["lastError"].to_string().contains("it has not called for 2 s"),
            "{said}"
        );
        Ok(said)
    })
    .unwrap();
    assert_eq!(waits["state"], "Connect");
    let setup = site.setup().with(|peer| peer.dials = true);
    let router = Router::start(make, &site.machine, &setup).unwrap();
    site.forwards(&router, ROUTED, &[0]);
    site.established(0, "tor");
    assert_eq!(site.failures(ROUTED, 50), 0);

    let listening = || site.hosts.hosts[0].node.run("ss", ["-Htln", "sport = 179"]).unwrap();
    assert!(!listening().is_empty());
    site.hosts.write("peer.yaml", &peer("tor", &[]));
    eventually(SOON, || {
        anyhow::ensure!(listening().is_empty(), "{}", listening());
        Ok(())
    })
    .unwrap();
    site.forwards(&router, ROUTED, &[0]);
    site.established(0, "tor");
}

fn password(password: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: tor, namespace: vipgate-system}}\n\
         type: kubernetes.io/basic-auth\nstringData: {{password: {password}}}\n"
    )
}

/// "BFD": a cable that carries nothing any more is noticed within half a second.
fn bfd_notices_a_cut(make: Make) {
    let (site, router) = Routed::with_bfd("bgp-bfd", make, 100);
    let cut = Instant::now();
    site.hosts.hosts[0].link.cut_silently().unwrap();
    site.forwards(&router, ROUTED, &[1]);
    let taken = cut.elapsed();
    println!("{make:?}: a cut was noticed after {taken:?}");
    assert!(taken < patience(Duration::from_millis(500)), "{taken:?}");
    let lost = eventually(SOON, || {
        let said = site.session(0, "tor")?;
        anyhow::ensure!(said["state"] != "Established", "{said}");
        Ok(said)
    })
    .unwrap();
    assert!(lost["lastError"].to_string().contains("BFD Down"), "{lost}");
}

/// A pool that is announced both ways: one owner on the LAN, and every host to the router.
#[test]
fn a_pool_is_announced_both_ways() {
    let mut site = Routed::new("bgp-both", 3);
    let router = site.router(Make::Bird);
    site.hosts.write("pool.yaml", &pool(&format!("{VIP}/32")));
    site.hosts.write(
        "layer2.yaml",
        "apiVersion: vipgate.dev/v1alpha1\nkind: L2Advertisement\n\
         metadata: {name: lan, namespace: vipgate-system}\nspec: {ipAddressPools: [lan]}\n",
    );
    site.start_all();
    site.forwards(&router, VIP, &[0, 1, 2]);
    assert_eq!(site.failures(VIP, 300), 0, "by way of the router");
    let served = site.accepted();
    assert!(served.values().all(|one| *one > 0), "from all of them: {served:?}");

    let capture = site.neighbour.capture("eth0", "arp").unwrap();
    let program =
        vipgate_lab::Program::new("arping").args(["-I", "eth0", "-c", "3", "-w", "3", VIP]);
    let _ = site.neighbour.run_within(SOON, program);
    let claims = site.hosts.claims(&capture.stop().unwrap(), VIP.parse().unwrap());
    let mut owners: Vec<_> = claims.iter().map(|(_, mac)| *mac).collect();
    owners.sort();
    owners.dedup();
    assert_eq!(owners.len(), 1, "on the LAN one answers: {claims:?}");

    // Another takes it over on the LAN, and the router goes on to know the rest.
    let owner = site.hosts.hosts.iter().position(|host| host.link.mac() == owners[0]).unwrap();
    site.hosts.kill(owner);
    let rest: Vec<usize> = (0..3).filter(|number| *number != owner).collect();
    site.forwards(&router, VIP, &rest);
    assert_eq!(site.failures(VIP, 100), 0);
}

/// What is advertised no more is withdrawn, and leaves the host after a moment; the session stays.
#[test]
fn a_reload_takes_a_route_back_and_gives_it_again() {
    let mut site = Routed::new("bgp-reload", 1);
    let router = site.router(Make::Bird);
    site.start_all();
    site.forwards(&router, ROUTED, &[0]);
    let before = site.established(0, "tor");
    assert!(site.hosts.hosts[0].has(ROUTED));

    site.hosts.write("advertisement.yaml", &advertisement(&["communities: ['65001:7']"]));
    eventually(SOON, || {
        let route = router.route(&format!("{ROUTED}/32"));
        anyhow::ensure!(route.contains("(65001,7)"), "{route}");
        Ok(())
    })
    .unwrap();
    site.hosts
        .write("advertisement.yaml", &advertisement(&["nodeSelectors: [{matchLabels: {a: b}}]"]));
    site.forwards(&router, ROUTED, &[]);
    eventually(SOON, || {
        anyhow::ensure!(!site.hosts.hosts[0].has(ROUTED), "the address is still there");
        Ok(())
    })
    .unwrap();
    site.hosts.write("advertisement.yaml", &advertisement(&[]));
    site.forwards(&router, ROUTED, &[0]);
    assert_eq!(site.established(0, "tor")["since"], before["since"], "the same session all along");
}

/// "the session is not interrupted" by what is not its own; its own settings begin it anew.
#[test]
fn other_timers_of_bfd_keep_a_session_and_another_hold_time_does_not() {
    let mut site = Routed::new("bgp-set", 1);
    let mut setup = site.setup();
    setup.bfd = true;
    setup.peers[0].bfd = Some(300);
    let router = Router::start(Make::Frr, &site.machine, &setup).unwrap();
    site.start_all();
    site.forwards(&router, ROUTED, &[0]);
    let before = site.established(0, "tor");
    let profile = |interval: u32| {
        format!(
            "apiVersion: vipgate.dev/v1alpha1\nkind: BFDProfile\n\
             metadata: {{name: some, namespace: vipgate-system}}\n\
             spec: {{transmitInterval: {interval}, receiveInterval: {interval}}}\n"
        )
    };
    site.hosts.write("bfd.yaml", &profile(300));
    site.hosts.write("peer.yaml", &peer("tor", &["bfdProfile: some"]));
    let up = || {
        eventually(SOON, || {
            let said = site.session(0, "tor")?;
            anyhow::ensure!(said["bfd"] == "Up", "{said}");
            Ok(said)
        })
        .unwrap()
    };
    assert_eq!(up()["since"], before["since"]);
    site.hosts.write("bfd.yaml", &profile(400));
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(up()["since"], before["since"]);

    site.hosts.write("peer.yaml", &peer("tor", &["bfdProfile: some", "holdTime: 30s"]));
    eventually(SOON * 3, || {
        let said = site.session(0, "tor")?;
        anyhow::ensure!(said["state"] == "Established", "{said}");
        anyhow::ensure!(said["since"] != before["since"], "{said}");
        Ok(())
    })
    .unwrap();
    let said = router.printed();
    assert!(said.contains("6/6 (Cease/Other Configuration Change)"), "{said}");
    site.forwards(&router, ROUTED, &[0]);
}

/// Whoever is the router on the link: "unnumbered".
#[test]
fn a_router_is_found_on_a_link() {
    let mut site = Routed::new("bgp-link", 1);
    let mut setup = site.setup();
    setup.peers[0].address = "eth0".to_owned();
    let router = Router::start(Make::Frr, &site.machine, &setup).unwrap();
    let by_link = peer("tor", &["interface: eth0"]).replace("  peerAddress: 10.77.0.254\n", "");
    site.hosts.write("peer.yaml", &by_link.replace("eth0", "eth7"));
    site.start_all();
    eventually(SOON * 3, || {
        let said = site.session(0, "tor")?;
        let why = said["lastError"].to_string();
        anyhow::ensure!(why.contains("no interface eth7: it has eth0"), "{said}");
        Ok(())
    })
    .unwrap();
    site.hosts.write("peer.yaml", &by_link);
    let said = site.established(0, "tor");
    let address = said["address"].as_str().unwrap();
    assert!(address.starts_with("[fe80::") && address.ends_with("%eth0]:179"), "{said}");
    eventually(SOON, || {
        anyhow::ensure!(router.next_hops(ROUTED)?.len() == 1, "{}", router.tell());
        Ok(())
    })
    .unwrap();
    assert_eq!(site.failures(ROUTED, 50), 0);
}

/// Counters are read on loopback, and a port that is in use hinders nothing.
#[test]
fn sessions_are_counted() {
    let mut site = Routed::new("bgp-count", 1);
    let router = site.router(Make::Bird);
    site.start_all();
    site.forwards(&router, ROUTED, &[0]);
    let ask = || {
        let mut said = String::new();
        let mut stream =
            site.hosts.hosts[0].node.enter(|| TcpStream::connect("127.0.0.1:7473")).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        stream.read_to_string(&mut said).unwrap();
        said
    };
    let up = "vipgate_bgp_session_up{peer=\"vipgate-system/tor\"} 1\n";
    let said = ask();
    assert!(said.contains(up), "{said}");
    assert!(said.contains("vipgate_bgp_prefixes{peer=\"vipgate-system/tor\"} 1\n"), "{said}");
    assert!(
        said.contains("vipgate_bgp_established_total{peer=\"vipgate-system/tor\"} 1\n"),
        "{said}"
    );
    assert!(!said.contains("vipgate_bfd_ups_total{"), "no BFD is asked for: {said}");
    router.kill();
    eventually(SOON, || {
        let said = ask();
        anyhow::ensure!(said.contains(&up.replace(" 1\n", " 0\n")), "{said}");
        Ok(())
    })
    .unwrap();
}

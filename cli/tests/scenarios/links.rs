//! Links that change under a VIP: followed through netlink, not by polling.

use std::time::{Duration, Instant};

use vipgate_lab::{Frame, eventually};

use crate::hosts::Hosts;
use crate::site::{SOON, Site, VIP};

/// From the change to the first frame that shows it.
const AT_ONCE: Duration = Duration::from_millis(500);

#[test]
fn a_link_that_changes_its_address_announces_the_new_one() {
    let site = Site::new("new-mac");
    let _server = site.echo("10.77.0.21:80");
    site.write_web(&["10.77.0.21:80"]);
    let vipgate = site.start();
    site.healthy(&vipgate);
    site.greeting(&format!("{VIP}:80")).unwrap();
    let capture = site.client.capture("eth0", "arp").unwrap();
    let (new, changed) = ("02:00:00:00:77:01", Instant::now());
    site.node.run("ip", ["link", "set", "eth0", "address", new]).unwrap();
    eventually(SOON, || {
        let entry = site.client.run("ip", ["neigh", "show", VIP])?;
        anyhow::ensure!(entry.contains(new), "{entry}");
        Ok(())
    })
    .unwrap();
    eprintln!("the client's cache has the new address after {:?}", changed.elapsed());
    assert!(changed.elapsed() <= vipgate_lab::patience(AT_ONCE), "{:?}", changed.elapsed());
    assert_eq!(site.greeting(&format!("{VIP}:80")).unwrap(), "10.77.0.21:80");
    assert_eq!(site.who_has(VIP), [new]);
    let frames = capture.stop().unwrap();
    let announced = frames.iter().filter_map(Frame::arp).filter(|arp| {
        arp.is_announcement()
            && arp.sender_ip.to_string() == VIP
            && arp.sender_mac.to_string() == new
    });
    assert!(announced.count() >= 2, "in both forms");
}

/// The group talks over the same link, so for the others it is as a loss of power; the host itself lets
/// go at once, and takes nothing back when the cable is in again.
#[test]
fn a_link_that_loses_its_carrier_lets_go() {
    let mut hosts = Hosts::new("no-carrier", 3, 1);
    hosts.start_all();
    let owner = hosts.owner(VIP);
    let prober = hosts.probe(VIP);
    std::thread::sleep(Duration::from_millis(300));
    let cut = Instant::now();
    hosts.hosts[owner].link.cut().unwrap();
    eventually(SOON, || {
        let report = hosts.hosts[owner].report()?;
        let state = report["vips"][0]["state"].as_str().unwrap_or_default().to_owned();
        anyhow::ensure!(!state.starts_with("announced on"), "{state}");
        Ok(())
    })
    .unwrap();
    eprintln!("no longer said to be announced after {:?}", cut.elapsed());
    // Until what the others took is solid.
    std::thread::sleep(Duration::from_millis(4_000));
    let (gap, _) = prober.stop();
    eprintln!("carrier lost: first good connection after {gap:?}");
    assert!(gap <= Duration::from_millis(1_200), "{gap:?} without a connection");
    let wire = hosts.listen();
    hosts.hosts[owner].link.restore().unwrap();
    std::thread::sleep(Duration::from_secs(2));
    assert_ne!(hosts.owner(VIP), owner);
    hosts.assert_owners(&wire.stop().unwrap(), 1);
}

/// A link that is taken away and comes again under the same name is another one.
#[test]
fn a_link_that_vanishes_and_comes_back_announces_again() {
    let site = Site::new("new-link");
    // The other end of the cable is here too.
    let plug = || {
        let ip = |arguments: &str| {
            site.node.run("ip", arguments.split(' ')).unwrap();
        };
        ip("link add eth7 type veth peer name far7");
        ip("addr add 10.78.0.1/24 dev eth7");
        ip("link set far7 up");
        ip("link set eth7 up");
    };
    plug();
    let _server = site.echo("10.77.0.21:80");
    site.write_web(&["10.77.0.21:80"]);
    site.write("pool.yaml", &crate::site::pool("10.78.0.200/32"));
    let vipgate = site.start();
    site.healthy(&vipgate);
    site.node.run("ip", ["link", "del", "eth7"]).unwrap();
    eventually(SOON, || {
        let problems = vipgate.report(&site.node)?["problems"].to_string();
        anyhow::ensure!(problems.contains("is on its subnet"), "{problems}");
        Ok(())
    })
    .unwrap();
    plug();
    let capture = site.node.capture("far7", "arp").unwrap();
    site.healthy(&vipgate);
    std::thread::sleep(Duration::from_millis(1_300));
    let announced = capture.stop().unwrap();
    let announced = announced.iter().filter_map(Frame::arp).filter(|arp| arp.is_announcement());
    assert!(announced.count() >= 2, "it is announced there");
}

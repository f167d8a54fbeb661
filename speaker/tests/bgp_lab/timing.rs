//! Numbers: how long routes take, how few messages, and who waits for whom.

use std::time::{Duration, Instant};

use crate::sessions::with_each_router;
use crate::site::{Site, Speaker, VIP4, forwards, towards};
use vipgate_lab::routers::{Make, PeerSetup, Router, Setup};

with_each_router!(a_thousand_prefixes, a_new_vip, two_speakers_share);

/// "1,000 prefixes to a fresh peer in at most a second".
fn a_thousand_prefixes(make: Make) {
    let site = Site::new();
    let router = Router::start(make, &site.router, &Setup::new("10.9.0.1", "10.9.0.2")).unwrap();
    let speaker = Speaker::on(&site.node);
    let peering = speaker.peer(towards("10.9.0.1"));
    let prefixes: Vec<String> =
        (0..1_000).map(|number| format!("10.44.{}.{}/32", number / 250, number % 250)).collect();
    peering.established();
    let start = Instant::now();
    peering.announce(&prefixes.iter().map(String::as_str).collect::<Vec<_>>());
    peering.reaches("sent", |status| status.routes.sent == 1_000);
    let sent = start.elapsed();
    forwards(&router, &prefixes[999], &["10.9.0.2"]);
    forwards(&router, &prefixes[0], &["10.9.0.2"]);
    println!("{make:?}: 1,000 prefixes sent in {sent:?}, in the FIB after {:?}", start.elapsed());
    let captured = sent < Duration::from_secs(1);
    assert!(captured, "{sent:?}");
}

fn a_new_vip(make: Make) {
    let site = Site::new();
    let router = Router::start(make, &site.router, &Setup::new("10.9.0.1", "10.9.0.2")).unwrap();
    let speaker = Speaker::on(&site.node);
    let peering = speaker.peer(towards("10.9.0.1"));
    peering.established();
    let mut times = Vec::new();
    for round in 0..10 {
        let prefix = format!("192.0.2.{round}/32");
        let start = Instant::now();
        peering.announce(&[&prefix]);
        while router.next_hops(&prefix).unwrap().is_empty() {
            assert!(start.elapsed() < Duration::from_secs(10));
        }
        times.push(start.elapsed());
        std::thread::sleep(Duration::from_millis(100));
    }
    times.sort();
    println!("{make:?}: VIP to FIB: median {:?}, worst {:?}", times[5], times[9]);
}

/// ECMP: the router has both nodes as next hops, and one when the other is gone.
fn two_speakers_share(make: Make) {
    let site = Site::new();
    let other = site.lab.node("other").unwrap();
    other.join(&site.lan, "10.9.0.3/24").unwrap();
    let mut setup = Setup::new("10.9.0.1", "10.9.0.2");
    setup.peers.push(PeerSetup { asn: 65003, ..PeerSetup::new("10.9.0.1", "10.9.0.3") });
    let router = Router::start(make, &site.router, &setup).unwrap();
    let speakers = [Speaker::on(&site.node), Speaker::on(&other)];
    let mut second = towards("10.9.0.1");
    (second.session.asn, second.session.router_id) = (65003, [10, 9, 0, 3].into());
    let peerings = [speakers[0].peer(towards("10.9.0.1")), speakers[1].peer(second)];
    peerings.iter().for_each(|peering| peering.announce(&[VIP4]));
    forwards(&router, VIP4, &["10.9.0.2", "10.9.0.3"]);
    peerings[0].stop("", false);
    forwards(&router, VIP4, &["10.9.0.3"]);
    assert_eq!(peerings[1].status().established, 1);
}

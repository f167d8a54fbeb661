//! What goes wrong, with each router: it is said in words, and mends itself.

use std::time::{Duration, Instant};

use vipgate_lab::routers::{Make, Router, Setup};
use vipgate_speaker::bgp::fsm::{PeerAs, State};
use vipgate_speaker::bgp::io::Address;

use crate::sessions::with_each_router;
use crate::site::{Site, Speaker, VIP4, forwards, towards};

with_each_router!(
    the_peer_restarts,
    a_silent_peer_is_given_up_and_taken_back,
    routes_of_the_peer_are_refused,
    wrong_as,
    a_router_that_does_not_know_us,
);

#[test]
fn nobody_listens() {
    let site = Site::new();
    let speaker = Speaker::on(&site.node);
    let peering = speaker.peer(towards("10.9.0.1"));
    peering.fails_with("10.9.0.1:179 refuses the connection: check that BGP runs there");
    let mut config = towards("10.9.0.1");
    config.target.source = Some([10, 99, 0, 1].into());
    speaker.peer(config.clone()).fails_with("sourceAddress 10.99.0.1 cannot be used");
    config.target.device = Some("eth7".to_owned());
    speaker.peer(config).fails_with("cannot use interface eth7");
}

#[test]
fn no_router_on_the_link() {
    let site = Site::new();
    let speaker = Speaker::on(&site.node);
    let discovery = speaker.discover("eth0");
    let mut config = towards("10.9.0.1");
    config.target.address = Address::Found { neighbour: discovery.found(), port: 179 };
    speaker.peer(config).fails_with("no router advertisement has come");
}

fn the_peer_restarts(make: Make) {
    let site = Site::new();
    let setup = Setup::new("10.9.0.1", "10.9.0.2");
    let router = Router::start(make, &site.router, &setup).unwrap();
    let speaker = Speaker::on(&site.node);
    let peering = speaker.peer(towards("10.9.0.1"));
    peering.announce(&[VIP4]);
    forwards(&router, VIP4, &["10.9.0.2"]);
    router.kill();
    peering.fails_with("");
    // What it announced meanwhile is there too.
    peering.announce(&[VIP4, "192.0.2.11/32"]);
    let router = Router::start(make, &site.router, &setup).unwrap();
    forwards(&router, VIP4, &["10.9.0.2"]);
    forwards(&router, "192.0.2.11/32", &["10.9.0.2"]);
    assert_eq!(peering.status().established, 2);
    assert_eq!(peering.status().last_error, None);
}

fn a_silent_peer_is_given_up_and_taken_back(make: Make) {
    let site = Site::new();
    let router = Router::start(make, &site.router, &Setup::new("10.9.0.1", "10.9.0.2")).unwrap();
    let speaker = Speaker::on(&site.node);
    let mut config = towards("10.9.0.1");
    config.session.hold_time = Duration::from_secs(3);
    let peering = speaker.peer(config);
    peering.announce(&[VIP4]);
    forwards(&router, VIP4, &["10.9.0.2"]);
    let cut = Instant::now();
    site.cable.cut_silently().unwrap();
    peering.fails_with("Hold Timer Expired");
    let taken = cut.elapsed();
    println!("{make:?}: lost {taken:?} after the cut, with a hold time of 3 s");
    assert!(taken < Duration::from_millis(4_500), "{taken:?}");
    forwards(&router, VIP4, &[]);
    site.cable.restore().unwrap();
    forwards(&router, VIP4, &["10.9.0.2"]);
}

/// "rejects any routes advertised by any neighbour".
fn routes_of_the_peer_are_refused(make: Make) {
    let site = Site::new();
    let setup = Setup::new("10.9.0.1", "10.9.0.2").with(|peer| peer.announces = true);
    let router = Router::start(make, &site.router, &setup).unwrap();
    let speaker = Speaker::on(&site.node);
    let peering = speaker.peer(towards("10.9.0.1"));
    peering.announce(&[VIP4]);
    forwards(&router, VIP4, &["10.9.0.2"]);
    let status = peering.reaches("counting", |status| status.received.prefixes >= 2);
    assert_eq!(status.received.defects, 0, "{status:?}");
    assert_eq!(status.state, State::Established);
    let table = site.node.run("ip", ["route", "show", "198.51.100.0/24"]).unwrap();
    assert_eq!(table, "");
}

/// Told by the peer, or by us: in words.
fn wrong_as(make: Make) {
    let site = Site::new();
    let setup = Setup::new("10.9.0.1", "10.9.0.2").with(|peer| peer.asn = 65009);
    let _router = Router::start(make, &site.router, &setup).unwrap();
    let speaker = Speaker::on(&site.node);
    let mut config = towards("10.9.0.1");
    let peering = speaker.peer(config.clone());
    peering.fails_with("peer says: OPEN Message Error / Bad Peer AS");
    peering.stop("", false);
    config.session.asn = 65009;
    config.session.peer_as = PeerAs::Exactly(65003);
    let peering = speaker.peer(config);
    peering.fails_with("ended by us: OPEN Message Error / Bad Peer AS (it is of AS 65002");
}

/// As a router does to a node that calls from another of its addresses than the one that is configured there.
fn a_router_that_does_not_know_us(make: Make) {
    let site = Site::new();
    let _router = Router::start(make, &site.router, &Setup::new("10.9.0.1", "10.9.0.77")).unwrap();
    let speaker = Speaker::on(&site.node);
    let peering = speaker.peer(towards("10.9.0.1"));
    peering.fails_with("before it said anything; is 10.9.0.2 its neighbour?");
}

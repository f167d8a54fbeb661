//! A client behind the router, and a VIP on three nodes at once (ECMP).

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use vipgate_lab::{Link, Node};

use crate::sessions::with_each_router;
use crate::site::{SOON, Site, Speaker, VIP4, forwards, towards};
use vipgate_lab::routers::{Make, PeerSetup, Router, Setup};

with_each_router!(three_nodes_share_and_one_is_lost);

const CONNECTIONS: usize = 3_000;
const NAMES: [&str; 3] = ["10.9.0.2", "10.9.0.3", "10.9.0.4"];

/// Answers on the VIP with the name of its node, for as long as the test runs.
fn serve(node: &Node, name: &'static str) {
    node.run("ip", ["address", "add", VIP4, "dev", "lo"]).unwrap();
    let listener = node.enter(|| TcpListener::bind("192.0.2.10:80").unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            // The client that went away does not matter.
            let _gone = stream.and_then(|mut stream| stream.write_all(name.as_bytes()));
        }
    });
}

/// Who answered how often.
fn ask(client: &Node, count: usize) -> BTreeMap<String, usize> {
    client.enter(|| {
        let address: SocketAddr = "192.0.2.10:80".parse().unwrap();
        let mut answers = BTreeMap::new();
        for _ in 0..count {
            let mut answer = String::new();
            let asked = TcpStream::connect_timeout(&address, Duration::from_secs(5))
                .and_then(|mut stream| stream.read_to_string(&mut answer));
            let who = asked.map_or_else(|error| format!("failed: {error}"), |_| answer);
            *answers.entry(who).or_default() += 1;
        }
        answers
    })
}

/// "shares within ±15 %"; after the loss of one, the others have it all and nobody fails.
fn three_nodes_share_and_one_is_lost(make: Make) {
    let site = Site::new();
    let outside = site.lab.bridge("outside").unwrap();
    let client = site.lab.node("client").unwrap();
    site.router.join(&outside, "10.7.0.1/24").unwrap();
    client.join(&outside, "10.7.0.9/24").unwrap();
    client.default_route("10.7.0.1").unwrap();
    // The hash looks at ports, as a router's does.
    site.router.sysctl("net.ipv4.fib_multipath_hash_policy", "1").unwrap();
    let others = [site.lab.node("node2").unwrap(), site.lab.node("node3").unwrap()];
    let mut cables: Vec<Link> = Vec::new();
    for (other, name) in others.iter().zip(&NAMES[1..]) {
        cables.push(other.join(&site.lan, &format!("{name}/24")).unwrap());
    }
    let nodes = [&site.node, &others[0], &others[1]];
    let mut setup = Setup::new("10.9.0.1", NAMES[0]);
    setup.peers = NAMES.map(|name| PeerSetup::new("10.9.0.1", name)).to_vec();
    let router = Router::start(make, &site.router, &setup).unwrap();
    let speakers = nodes.map(Speaker::on);
    let mut peerings = Vec::new();
    for ((node, name), speaker) in nodes.iter().zip(NAMES).zip(&speakers) {
        node.default_route("10.9.0.1").unwrap();
        serve(node, name);
        let mut config = towards("10.9.0.1");
        config.session.router_id = name.parse().unwrap();
        config.session.hold_time = Duration::from_secs(3);
        let peering = speaker.peer(config);
        peering.announce(&[VIP4]);
        peerings.push(peering);
    }
    forwards(&router, VIP4, &NAMES);

    let answers = ask(&client, CONNECTIONS);
    println!("{make:?}: {answers:?}");
    let fair = CONNECTIONS / 3;
    for name in NAMES {
        let share = answers.get(name).copied().unwrap_or_default();
        assert!(share.abs_diff(fair) <= fair * 15 / 100, "{answers:?}");
    }

    // A planned stop: the route goes before anything else does.
    peerings[0].stop("drained", true);
    forwards(&router, VIP4, &NAMES[1..]);
    let answers = ask(&client, CONNECTIONS / 10);
    assert_eq!(answers.values().sum::<usize>(), CONNECTIONS / 10);
    assert!(answers.keys().all(|who| NAMES[1..].contains(&who.as_str())), "{answers:?}");

    // A dead switch port: found by the hold time of both sides.
    let cut = Instant::now();
    cables[0].cut_silently().unwrap();
    forwards(&router, VIP4, &NAMES[2..]);
    println!("{make:?}: a node was lost for {:?} at hold times of 3 s", cut.elapsed());
    assert!(cut.elapsed() < SOON);
    let answers = ask(&client, CONNECTIONS / 10);
    assert_eq!(answers, BTreeMap::from([(NAMES[2].to_owned(), CONNECTIONS / 10)]));
}

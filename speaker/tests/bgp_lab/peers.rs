//! The sessions of a node as a plan wants them, with routers as they are.

use std::time::{Duration, Instant};

use vipgate_api::ObjectKey;
use vipgate_lab::eventually;
use vipgate_lab::routers::{Make, Router, Setup};
use vipgate_planner::bgp::{self, PeerAs, Place};
use vipgate_speaker::bgp::peers::{Sessions, Table, Wanted};
use vipgate_speaker::bgp::rib::Routes;
use vipgate_speaker::bgp::wire::{Family, Path};

use crate::sessions::with_each_router;
use crate::site::{SOON, Site, VIP4, forwards, ip, net};

with_each_router!(a_promise_is_taken_back_and_routes_stay);

fn key(name: &str) -> ObjectKey {
    ObjectKey::new("vipgate-system", name)
}

fn peer(address: &str) -> bgp::Peer {
    bgp::Peer {
        asn: 65001,
        peer_as: PeerAs::External,
        place: Place::At(ip(address), None),
        vrf: None,
        port: 179,
        source: None,
        router_id: None,
        hold_time: Duration::from_secs(9),
        keepalive_time: None,
        connect_time: Duration::from_secs(2),
        passive: false,
        multihop: false,
        ttl_security: false,
        graceful_restart: false,
        password: None,
        bfd: None,
    }
}

fn table(prefixes: &[&str], surviving: &[Family]) -> Table {
    let mut routes = Routes::default();
    prefixes.iter().for_each(|prefix| routes.add(net(prefix), &Path::default()));
    Table { routes, surviving: surviving.iter().copied().collect() }
}

/// Waits until one was established so many times, and is.
fn established(sessions: &Sessions, peer: &str, times: u64) {
    eventually(SOON, || {
        let board = sessions.board();
        let board = board.borrow();
        let known = board.get(&key(peer)).ok_or_else(|| anyhow::anyhow!("no {peer}"))?;
        let counters = known.counters();
        anyhow::ensure!(counters.up && counters.established == times, "{counters:?} {known:?}");
        Ok(())
    })
    .unwrap()
}

#[test]
fn a_change_of_one_peer_touches_no_other() {
    let site = Site::new();
    let other = site.lab.node("router2").unwrap();
    other.join(&site.lan, "10.9.0.5/24").unwrap();
    let routers = [
        Router::start(Make::Frr, &site.router, &Setup::new("10.9.0.1", "10.9.0.2")).unwrap(),
        Router::start(Make::Bird, &other, &Setup::new("10.9.0.5", "10.9.0.2")).unwrap(),
    ];
    let sessions = Sessions::new("node");
    let mut wanted = Wanted {
        peers: [(key("one"), peer("10.9.0.1")), (key("two"), peer("10.9.0.5"))].into(),
        tables: ["one", "two"].map(|name| (key(name), table(&[VIP4], &[]))).into(),
        ..Wanted::default()
    };
    // The thread starts in the namespace of whoever wants the first.
    site.node.enter(|| sessions.set(wanted.clone()));
    routers.iter().for_each(|router| forwards(router, VIP4, &["10.9.0.2"]));
    let since = |peer: &str| sessions.board().borrow()[&key(peer)].report.since.clone();
    established(&sessions, "one", 1);
    let before = since("one");

    // The second gets other settings, then other routes, then goes.
    std::thread::sleep(Duration::from_millis(1_100));
    wanted
        .peers
        .insert(key("two"), bgp::Peer { hold_time: Duration::from_secs(6), ..peer("10.9.0.5") });
    sessions.set(wanted.clone());
    eventually(SOON, || {
        let hold = sessions.board().borrow()[&key("two")].report.hold_time;
        anyhow::ensure!(hold == Some(6), "{hold:?}");
        Ok(())
    })
    .unwrap();
    forwards(&routers[1], VIP4, &["10.9.0.2"]);
    wanted.tables.insert(key("two"), table(&["192.0.2.11/32"], &[]));
    sessions.set(wanted.clone());
    forwards(&routers[1], VIP4, &[]);
    wanted.peers.remove(&key("two"));
    sessions.set(wanted.clone());
    eventually(SOON, || {
        anyhow::ensure!(!sessions.board().borrow().contains_key(&key("two")), "still there");
        Ok(())
    })
    .unwrap();
    let said = routers[1].ask("show protocols all peer0");
    assert!(said.contains("Peer de-configured"), "{said}");
    established(&sessions, "one", 1);
    assert_eq!(since("one"), before);
    forwards(&routers[0], VIP4, &["10.9.0.2"]);

    // And comes back.
    wanted.peers.insert(key("two"), peer("10.9.0.5"));
    sessions.set(wanted);
    forwards(&routers[1], "192.0.2.11/32", &["10.9.0.2"]);
}

/// RFC 4724: a Gateway's VIP comes into a family that was to survive us.
fn a_promise_is_taken_back_and_routes_stay(make: Make) {
    let site = Site::new();
    let setup = Setup::new("10.9.0.1", "10.9.0.2").with(|peer| peer.graceful_restart = true);
    let router = Router::start(make, &site.router, &setup).unwrap();
    let sessions = Sessions::new("node");
    let peer = bgp::Peer { graceful_restart: true, ..peer("10.9.0.1") };
    let wanted = |table| Wanted {
        peers: [(key("tor"), peer.clone())].into(),
        tables: [(key("tor"), table)].into(),
        ..Wanted::default()
    };
    site.node.enter(|| sessions.set(wanted(table(&[VIP4], &[Family::Ipv4]))));
    forwards(&router, VIP4, &["10.9.0.2"]);
    let report = sessions.board().borrow()[&key("tor")].report.clone();
    assert!(report.capabilities.contains(&"graceful-restart".to_owned()), "{report:?}");

    sessions.set(wanted(table(&[VIP4, "192.0.2.11/32"], &[])));
    let has = |prefix: &str| !router.next_hops(prefix).unwrap().is_empty();
    let (mut gap, mut last) = (Duration::ZERO, Instant::now());
    // Until the router has the new route, and the other one still, or again.
    loop {
        let new = has("192.0.2.11/32");
        if has(VIP4) {
            gap = gap.max(last.elapsed());
            last = Instant::now();
            if new {
                break;
            }
        }
        assert!(last.elapsed() < SOON, "{}", router.tell());
    }
    established(&sessions, "tor", 2);
    println!("{make:?}: the other route was gone for at most {gap:?} while the session began anew");
    assert!(gap < Duration::from_secs(1), "{gap:?}");
}

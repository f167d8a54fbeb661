//! Which endpoint a session gets, where a policy says so.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use vipgate_planner::{BackendSettings, Balancing, Listener};

use crate::rig::{
    Server, apply, ask, at, client_from, counters, eventually, listener, share, udp, udp_with,
    under,
};

/// Three servers that say their names, and the listener that leads to some of them.
struct Three([Server; 3]);

impl Three {
    fn new(addresses: [&str; 3]) -> Self {
        let names = ["a", "b", "c"];
        let mut both = addresses.into_iter().zip(names);
        Self([(); 3].map(|()| {
            let (address, name) = both.next().unwrap();
            Server::says(at(address), name)
        }))
    }

    fn listener(
        &self,
        vip: SocketAddr,
        which: &[usize],
        policy: impl FnOnce(&mut BackendSettings),
    ) -> [Listener; 1] {
        let endpoints: Vec<_> = which.iter().map(|n| self.0[*n].address).collect();
        [listener("l", vip, vec![under(share(1, &endpoints), policy)])]
    }
}

/// Who answers this address, asked from a new port.
fn who(vip: SocketAddr, address: u8) -> Vec<u8> {
    ask(&client_from([127, 0, 6, address].into(), vip), b"who?")
}

#[test]
fn by_hash_an_address_has_its_endpoint_from_every_port_and_on_every_node() {
    let three = Three::new(["127.46.71.2:7000", "127.46.71.3:7000", "127.46.71.4:7000"]);
    for balancing in [Balancing::SourceHash, Balancing::Maglev] {
        let (udp, vip) = (udp(), at("127.46.71.1:7000"));
        apply(&udp, &three.listener(vip, &[0, 1, 2], |s| s.balancing = balancing));
        let first: Vec<_> = (0..60).map(|address| who(vip, address)).collect();
        assert_eq!(first.iter().collect::<BTreeSet<_>>().len(), 3, "all of them are used");
        for _ in 0..3 {
            for (address, first) in (0..60).zip(&first) {
                assert_eq!(who(vip, address), *first, "{balancing:?}: {address}");
            }
        }
        // Whoever has not lost an endpoint keeps it (by Maglev, nearly all of them).
        apply(&udp, &three.listener(vip, &[0, 1], |s| s.balancing = balancing));
        let moved = (0..60).zip(&first).filter(|(address, first)| {
            let now = who(vip, *address);
            assert_ne!(now, b"c");
            *first != b"c" && now != **first
        });
        let moved = moved.count();
        assert!(moved <= if balancing == Balancing::SourceHash { 0 } else { 12 }, "{moved} moved");
        drop(udp);
        // Another node, or this one after a restart.
        let udp = crate::rig::udp();
        apply(&udp, &three.listener(vip, &[0, 1, 2], |s| s.balancing = balancing));
        for (address, first) in (0..60).zip(&first) {
            assert_eq!(who(vip, address), *first, "{balancing:?}: {address}");
        }
    }
}

#[test]
fn an_address_stays_with_the_endpoint_that_it_had() {
    let three = Three::new(["127.46.72.2:7000", "127.46.72.3:7000", "127.46.72.4:7000"]);
    let (udp, vip) = (udp(), at("127.46.72.1:7000"));
    let hour = Duration::from_secs(3600);
    apply(&udp, &three.listener(vip, &[0, 1, 2], |s| s.affinity = Some(hour)));
    let first: Vec<_> = (0..30).map(|address| who(vip, address)).collect();
    let mut counts: BTreeMap<&[u8], usize> = BTreeMap::new();
    first.iter().for_each(|name| *counts.entry(name).or_default() += 1);
    assert_eq!(counts.into_values().collect::<Vec<_>>(), [10, 10, 10], "they took turns");
    for (address, first) in (0..30).zip(&first) {
        assert_eq!(who(vip, address), *first);
    }
    // Where its endpoint left it gets another, and stays with that when the first comes back.
    apply(&udp, &three.listener(vip, &[0, 1], |s| s.affinity = Some(hour)));
    let second: Vec<_> = (0..30).map(|address| who(vip, address)).collect();
    apply(&udp, &three.listener(vip, &[0, 1, 2], |s| s.affinity = Some(hour)));
    for (address, (first, second)) in (0..30).zip(first.iter().zip(&second)) {
        assert!(first == second || first == b"c");
        assert_eq!(who(vip, address), *second);
    }
}

#[test]
fn the_endpoint_with_fewer_open_sessions_gets_the_next() {
    let three = Three::new(["127.46.73.2:7000", "127.46.73.3:7000", "127.46.73.4:7000"]);
    let udp = udp_with(|config| config.idle_fresh = Duration::from_millis(600));
    let vip = at("127.46.73.1:7000");
    let least = |settings: &mut BackendSettings| settings.balancing = Balancing::LeastConnections;
    apply(&udp, &three.listener(vip, &[0], least));
    let talks: Vec<_> = (0..10).map(|n| client_from([127, 0, 6, n].into(), vip)).collect();
    for client in talks.iter().chain(&talks) {
        assert_eq!(ask(client, b"who?"), b"a");
    }
    apply(&udp, &three.listener(vip, &[0, 1], least));
    for address in 0..10 {
        assert_eq!(who(vip, address), b"b", "it has fewer");
    }
    // Questions are over after a while, and count no more.
    eventually("they are over", || counters(&udp).open == 10);
    assert_eq!(who(vip, 1), b"b");
}

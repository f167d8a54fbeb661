//! Which endpoint a client gets, as policies say.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use vipgate_planner::{BackendSettings, Balancing};

use crate::rig::{
    Backend, SOON, apply, assert_end, assert_reset, at, connect, counters, echo, eventually, fetch,
    listener, proxy, proxy_with, read_all, reset, share_with,
};

/// A client with this address.
pub(crate) fn connect_from(source: IpAddr, to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::new(source, 0).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream.set_write_timeout(Some(SOON)).unwrap();
    stream
}

/// What a client with this address is told.
fn told(source: IpAddr, by: SocketAddr) -> String {
    String::from_utf8(read_all(&mut connect_from(source, by)).unwrap()).unwrap()
}

fn clients(count: u8) -> impl Iterator<Item = IpAddr> {
    (1..=count).map(|host| IpAddr::from([127, 77, 1, host]))
}

/// Backends that say which they are.
fn three(network: &str) -> [Backend; 3] {
    [(2, "a"), (3, "b"), (4, "c")]
        .map(|(host, name)| Backend::says(at(&format!("{network}.{host}:9700")), name))
}

fn hashed_by(balancing: Balancing, network: &str) {
    let backends = three(network);
    let addresses = backends.each_ref().map(|backend| backend.address);
    let binds = [at(&format!("{network}.1:9700")), at(&format!("{network}.1:9701"))];
    let hashed = |endpoints: &[SocketAddr]| {
        vec![share_with(1, endpoints, |settings| settings.balancing = balancing)]
    };
    // Two nodes, as it were.
    let (one, other) = (proxy(), proxy());
    apply(&one, &[listener("l", binds[0], hashed(&addresses))]);
    apply(&other, &[listener("l", binds[1], hashed(&addresses))]);
    let before: Vec<String> = clients(40).map(|client| told(client, binds[0])).collect();
    assert_eq!(before.iter().collect::<BTreeSet<_>>().len(), 3, "all are used");
    for _ in 0..2 {
        let again: Vec<String> = clients(40).map(|client| told(client, binds[1])).collect();
        assert_eq!(before, again);
    }
    // One that does not answer: its clients go to others and the others' stay.
    let [a, b, c] = backends;
    drop(b);
    eventually("it is closed", || TcpStream::connect(addresses[1]).is_err());
    let without: Vec<String> = clients(40).map(|client| told(client, binds[0])).collect();
    for (before, after) in before.iter().zip(&without) {
        assert!(after != "b" && (before == "b" || before == after), "{before} {after}");
    }
    // Now it is known, and nothing changes.
    let again: Vec<String> = clients(40).map(|client| told(client, binds[0])).collect();
    assert_eq!(without, again);
    drop((a, c));
}

#[test]
fn by_source_hash_a_client_has_one_endpoint_on_all_nodes() {
    hashed_by(Balancing::SourceHash, "127.39.10");
}

#[test]
fn by_maglev_a_client_has_one_endpoint_on_all_nodes() {
    hashed_by(Balancing::Maglev, "127.39.11");
}

/// However connections end, what is counted comes back to nothing: then both are drawn level again.
#[test]
fn fewest_connections_get_the_next_however_others_ended() {
    let (one, streams_of_one) = Backend::hands_over(at("127.39.12.2:9700"));
    let (two, streams_of_two) = Backend::hands_over(at("127.39.12.3:9700"));
    let bind = at("127.39.12.1:9700");
    let proxy = proxy();
    let least = |settings: &mut BackendSettings| {
        settings.balancing = Balancing::LeastConnections;
    };
    let endpoints = [one.address, two.address];
    apply(&proxy, &[listener("l", bind, vec![share_with(1, &endpoints, least)])]);
    let accept = |clients: usize| {
        let mut pairs = [Vec::new(), Vec::new()];
        for _ in 0..clients {
            let client = connect(bind);
            // Who has it is seen before the next one comes.
            let end = std::time::Instant::now() + SOON;
            loop {
                if let Ok(server) = streams_of_one.try_recv() {
                    break pairs[0].push((client, server));
                }
                if let Ok(server) = streams_of_two.try_recv() {
                    break pairs[1].push((client, server));
                }
                assert!(std::time::Instant::now() < end, "nobody has the connection");
                thread::sleep(Duration::from_millis(1));
            }
        }
        pairs
    };
    let [of_one, of_two] = accept(20);
    assert_eq!((of_one.len(), of_two.len()), (10, 10));
    // Those of the first end, each in another way.
    for (round, (mut client, mut server)) in of_one.into_iter().enumerate() {
        match round % 4 {
            0 => {
                drop(client);
                assert_end(&mut server);
            }
            1 => {
                drop(server);
                assert_end(&mut client);
            }
            2 => {
                reset(client);
                assert_reset(&mut server);
            }
            _ => {
                reset(server);
                assert_reset(&mut client);
            }
        }
    }
    eventually("they are over", || counters(&proxy).open == 10);
    let [of_one, none] = accept(10);
    assert_eq!((of_one.len(), none.len()), (10, 0));
    // A configuration that ends all of them.
    proxy.apply::<vipgate_planner::Listener>(&[]);
    eventually("they are over", || proxy.snapshot().open == 0);
    drop((of_one, of_two));
    apply(&proxy, &[listener("l", bind, vec![share_with(1, &endpoints, least)])]);
    let [of_one, of_two] = accept(8);
    assert_eq!((of_one.len(), of_two.len()), (4, 4));
}

/// Two backendRefs that both hash: a client has one of them, and each has its weight's part of the clients.
#[test]
fn a_client_stays_with_its_backend_ref() {
    let backends = three("127.39.13");
    let [a, b, c] = backends.each_ref().map(|backend| backend.address);
    let bind = at("127.39.13.1:9700");
    let hash = |settings: &mut BackendSettings| settings.balancing = Balancing::SourceHash;
    let affine = |settings: &mut BackendSettings| settings.affinity = Some(SOON);
    let proxy = proxy();
    apply(
        &proxy,
        &[listener("l", bind, vec![share_with(1, &[a], hash), share_with(3, &[b, c], affine)])],
    );
    let first: Vec<String> = clients(200).map(|client| told(client, bind)).collect();
    let second: Vec<String> = clients(200).map(|client| told(client, bind)).collect();
    assert_eq!(first, second);
    let of_a = first.iter().filter(|name| *name == "a").count();
    // 50 give or take four deviations; the clients are always the same, but not where they go to.
    assert!((25..=75).contains(&of_a), "{of_a}");
}

#[test]
fn with_affinity_a_client_stays_where_it_was() {
    let backends = three("127.39.14");
    let [a, b, c] = backends.each_ref().map(|backend| backend.address);
    let bind = at("127.39.14.1:9700");
    let shares = |endpoints: &[SocketAddr], time| {
        vec![share_with(1, endpoints, |settings| settings.affinity = Some(time))]
    };
    let proxy = proxy();
    let long = Duration::from_secs(600);
    apply(&proxy, &[listener("l", bind, shares(&[a, b], long))]);
    let first: Vec<String> = clients(20).map(|client| told(client, bind)).collect();
    // New clients are spread.
    assert_eq!(first.iter().collect::<BTreeSet<_>>().len(), 2);
    // More endpoints, another setting: whoever was there stays.
    apply(&proxy, &[listener("l", bind, shares(&[a, b, c], 2 * long))]);
    for (client, first) in clients(20).zip(&first) {
        assert_eq!(told(client, bind), *first);
    }
    // One leaves: its clients move, and stay where they come to.
    apply(&proxy, &[listener("l", bind, shares(&[b, c], long))]);
    let moved: Vec<String> = clients(20).map(|client| told(client, bind)).collect();
    for (first, moved) in first.iter().zip(&moved) {
        assert!(moved != "a" && (first == "a" || first == moved), "{first} {moved}");
    }
    apply(&proxy, &[listener("l", bind, shares(&[a, b, c], long))]);
    for (client, moved) in clients(20).zip(&moved) {
        assert_eq!(told(client, bind), *moved);
    }
}

/// After the time-out the balancing decides again.
#[test]
fn affinity_ends_when_a_client_was_away() {
    let backends = three("127.39.15");
    let bind = at("127.39.15.1:9700");
    let proxy = proxy_with(|config| config.workers = 1.try_into().unwrap());
    let time = Duration::from_millis(500);
    let addresses = backends.each_ref().map(|backend| backend.address);
    let share = share_with(1, &addresses, |settings| settings.affinity = Some(time));
    apply(&proxy, &[listener("l", bind, vec![share])]);
    let client = IpAddr::from([127, 77, 1, 1]);
    let first = told(client, bind);
    assert_eq!(told(client, bind), first);
    thread::sleep(Duration::from_millis(600));
    // Round robin goes on where it was.
    assert_ne!(told(client, bind), first);
}

/// An endpoint that could not be connected to: the client's is from now on the one that could.
#[test]
fn a_client_stays_where_it_got_through() {
    let good = Backend::echo(at("127.39.16.2:9700"));
    let dead = at("127.39.16.3:9700");
    let bind = at("127.39.16.1:9700");
    let proxy = proxy();
    let share = share_with(1, &[dead, good.address], |settings| {
        settings.affinity = Some(Duration::from_secs(600));
        settings.eject_after = None;
    });
    apply(&proxy, &[listener("l", bind, vec![share])]);
    for client in clients(10) {
        for _ in 0..3 {
            echo(&mut connect_from(client, bind), b"hello");
        }
    }
    let failed = proxy.snapshot().endpoints[&vipgate_planner::Endpoint(dead)].failed;
    assert!((1..=10).contains(&failed), "{failed}: each client finds out once at most");
}

/// A target that asks for nothing of the kind is as it was.
#[test]
fn round_robin_is_what_it_was() {
    let backends = three("127.39.17");
    let bind = at("127.39.17.1:9700");
    let proxy = proxy_with(|config| config.workers = 1.try_into().unwrap());
    let addresses = backends.each_ref().map(|backend| backend.address);
    apply(&proxy, &[listener("l", bind, vec![crate::rig::share(1, &addresses)])]);
    let said: Vec<_> = (0..6).map(|_| fetch(bind).unwrap()).collect();
    assert_eq!(said[..3], said[3..]);
    assert_eq!(said.iter().collect::<BTreeSet<_>>().len(), 3);
}

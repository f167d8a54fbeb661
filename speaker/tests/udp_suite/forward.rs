//! What is forwarded, where to, and by whom it is answered.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, UdpSocket};
use std::thread;

use crate::rig::{
    SOON, Server, answer, apply, ask, at, client, counters, eventually, listener, share, udp,
};

#[test]
fn datagrams_are_answered_from_the_vip() {
    let server = Server::echo(at("127.46.1.2:7000"));
    let (udp, vip) = (udp(), at("127.46.1.1:7000"));
    apply(&udp, &[listener("l", vip, vec![share(1, &[server.address])])]);
    // One that hears everybody, to see who answers.
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.set_read_timeout(Some(SOON)).unwrap();
    client.send_to(b"hello", vip).unwrap();
    let mut buffer = [0; 64];
    assert_eq!(client.recv_from(&mut buffer).unwrap(), (5, vip));
    assert_eq!(&buffer[..5], b"hello");
    let counted = counters(&udp);
    assert_eq!((counted.sessions, counted.open), (1, 1));
    assert_eq!((counted.datagrams_in, counted.bytes_in), (1, 5));
    eventually("the answer is counted", || {
        let counted = counters(&udp);
        (counted.datagrams_out, counted.bytes_out) == (1, 5)
    });
    let health = &udp.snapshot().endpoints[&vipgate_planner::Endpoint(server.address)];
    assert_eq!((health.connected, health.failed), (1, 0));
}

#[test]
fn by_ipv6_as_well_and_from_one_family_to_the_other() {
    let six: SocketAddr = at("[::1]:7010");
    let four = Server::echo(at("127.46.2.2:7000"));
    let mut behind = six;
    behind.set_port(six.port() + 1);
    let server = Server::echo(behind);
    let (udp, vip) = (udp(), at("127.46.2.1:7000"));
    apply(
        &udp,
        &[
            listener("six", six, vec![share(1, &[four.address])]),
            listener("four", vip, vec![share(1, &[server.address])]),
        ],
    );
    for to in [six, vip] {
        assert_eq!(ask(&client(to), b"over there"), b"over there");
    }
    assert_eq!((four.heard().len(), server.heard().len()), (1, 1));
}

#[test]
fn weights_are_exact_over_all_workers() {
    let servers = [
        Server::says(at("127.46.3.2:7000"), "seventy"),
        Server::says(at("127.46.3.3:7000"), "thirty"),
        Server::says(at("127.46.3.4:7000"), "never"),
    ];
    let (udp, vip) = (udp(), at("127.46.3.1:7000"));
    let shares = [70, 30, 0].iter().zip(&servers).map(|(w, s)| share(*w, &[s.address])).collect();
    apply(&udp, &[listener("l", vip, shares)]);
    let mut counts: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
    // The kernel spreads the clients over the workers as it likes.
    let clients: Vec<_> = (0..300).map(|_| client(vip)).collect();
    for client in &clients {
        *counts.entry(ask(client, b"who?")).or_default() += 1;
    }
    let expected = [(b"seventy".to_vec(), 210), (b"thirty".to_vec(), 90)];
    assert_eq!(counts, expected.into());
}

#[test]
fn a_client_stays_with_its_endpoint_and_clients_are_spread_over_endpoints() {
    let servers = [
        Server::says(at("127.46.4.2:7000"), "a"),
        Server::says(at("127.46.4.3:7000"), "b"),
        Server::says(at("127.46.4.4:7000"), "c"),
    ];
    let (udp, vip) = (udp(), at("127.46.4.1:7000"));
    let endpoints = servers.each_ref().map(|server| server.address);
    apply(&udp, &[listener("l", vip, vec![share(1, &endpoints)])]);
    let clients: Vec<_> = (0..30).map(|_| client(vip)).collect();
    let first: Vec<_> = clients.iter().map(|client| ask(client, b"1")).collect();
    for _ in 0..20 {
        for (client, first) in clients.iter().zip(&first) {
            assert_eq!(ask(client, b"again"), *first);
        }
    }
    for server in &servers {
        let peers: BTreeSet<_> = server.heard().into_iter().map(|(peer, _)| peer).collect();
        assert_eq!(peers.len(), 10, "one socket for each session");
    }
    assert_eq!(counters(&udp).sessions, 30);
}

#[test]
fn many_clients_get_each_their_own_answers() {
    let server = Server::echo(at("127.46.5.2:7000"));
    let (udp, vip) = (udp(), at("127.46.5.1:7000"));
    apply(&udp, &[listener("l", vip, vec![share(1, &[server.address])])]);
    thread::scope(|scope| {
        for worker in 0..8_u32 {
            scope.spawn(move || {
                let clients: Vec<_> = (0..50).map(|_| client(vip)).collect();
                for round in 0..20_u32 {
                    let question = |n: usize| format!("{worker} {n} {round}").into_bytes();
                    for (n, client) in clients.iter().enumerate() {
                        client.send(&question(n)).unwrap();
                    }
                    for (n, client) in clients.iter().enumerate() {
                        assert_eq!(answer(client), question(n));
                    }
                }
            });
        }
    });
    let counted = counters(&udp);
    assert_eq!((counted.sessions, counted.datagrams_in), (400, 8000));
    assert!(counted.dropped.is_empty(), "{counted:?}");
    assert_eq!(udp.snapshot().panics, 0);
}

#[test]
fn datagrams_of_every_length_arrive_whole() {
    let server = Server::echo(at("127.46.6.2:7000"));
    let (udp, vip) = (udp(), at("127.46.6.1:7000"));
    apply(&udp, &[listener("l", vip, vec![share(1, &[server.address])])]);
    let client = client(vip);
    for length in [0, 1, 511, 512, 1472, 1473, 8192, 65_506, 65_507] {
        let datagram: Vec<u8> = (0..length).map(|n: u32| (n.wrapping_mul(37) >> 3) as u8).collect();
        assert!(ask(&client, &datagram) == datagram, "{length} bytes");
    }
}

/// A server may say several things to one question, and go on by itself.
#[test]
fn an_endpoint_may_speak_when_it_likes() {
    let server = Server::new(at("127.46.7.2:7000"), |_| {
        (0..5_u8).map(|n| vec![n; 100 + usize::from(n)]).collect()
    });
    let (udp, vip) = (udp(), at("127.46.7.1:7000"));
    apply(&udp, &[listener("l", vip, vec![share(1, &[server.address])])]);
    let client = client(vip);
    client.send(b"subscribe").unwrap();
    for n in 0..5_u8 {
        assert_eq!(answer(&client), vec![n; 100 + usize::from(n)]);
    }
    let (session, _) = server.heard()[0];
    server.send(session, b"news");
    assert_eq!(answer(&client), b"news");
}

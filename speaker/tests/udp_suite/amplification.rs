//! Nothing goes to a client but what its endpoint said.

use std::net::UdpSocket;

use vipgate_speaker::udp::DropReason;

use crate::rig::{
    Server, answer, apply, ask, assert_silent, at, bare, client, client_from, counters, dropped,
    eventually, listener, share, udp,
};

#[test]
fn without_a_route_nothing_is_answered() {
    let (udp, vip) = (udp(), at("127.46.11.1:7000"));
    apply(&udp, &[bare("l", vip)]);
    let client = client(vip);
    for _ in 0..3 {
        client.send(b"anybody?").unwrap();
    }
    assert_silent(&client);
    assert_eq!(dropped(&udp, DropReason::NoRoute), 3);
    assert_eq!(counters(&udp).sessions, 0);
}

#[test]
fn a_share_without_endpoints_keeps_its_part_and_answers_nothing() {
    let server = Server::echo(at("127.46.12.2:7000"));
    let (udp, vip) = (udp(), at("127.46.12.1:7000"));
    apply(&udp, &[listener("l", vip, vec![share(1, &[server.address]), share(1, &[])])]);
    let clients: Vec<_> = (0..20).map(|_| client(vip)).collect();
    for client in &clients {
        client.send(b"me?").unwrap();
    }
    eventually("all are decided", || {
        counters(&udp).sessions + dropped(&udp, DropReason::NoEndpoint) == 20
    });
    assert_eq!(dropped(&udp, DropReason::NoEndpoint), 10);
    eventually("half of them arrive", || server.heard().len() == 10);
}

#[test]
fn all_weights_zero_drops_everything() {
    let server = Server::echo(at("127.46.13.2:7000"));
    let (udp, vip) = (udp(), at("127.46.13.1:7000"));
    apply(&udp, &[listener("l", vip, vec![share(0, &[server.address])])]);
    let client = client(vip);
    client.send(b"x").unwrap();
    assert_silent(&client);
    assert_eq!(dropped(&udp, DropReason::NoEndpoint), 1);
}

/// Nobody but the endpoint reaches a client by the socket of its session.
#[test]
fn a_stranger_cannot_answer() {
    let server = Server::mute(at("127.46.14.2:7000"));
    let (udp, vip) = (udp(), at("127.46.14.1:7000"));
    apply(&udp, &[listener("l", vip, vec![share(1, &[server.address])])]);
    let client = client(vip);
    client.send(b"question").unwrap();
    eventually("the endpoint is asked", || server.heard().len() == 1);
    let (session, _) = server.heard()[0];
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    stranger.send_to(b"forged", session).unwrap();
    let neighbour = UdpSocket::bind((server.address.ip(), 0)).unwrap();
    neighbour.send_to(b"forged from another port", session).unwrap();
    assert_silent(&client);
    server.send(session, b"true");
    assert_eq!(answer(&client), b"true");
}

/// As many datagrams to clients as endpoints sent, not one more; whatever is silent gets none.
#[test]
fn a_client_gets_one_datagram_for_each_of_its_endpoint() {
    let server = Server::new(at("127.46.15.2:7000"), |question| match question {
        b"answer" => vec![b"!".to_vec()],
        _ => Vec::new(),
    });
    let (udp, vip) = (udp(), at("127.46.15.1:7000"));
    apply(&udp, &[listener("l", vip, vec![share(1, &[server.address])])]);
    let clients: Vec<_> = (0..50).map(|_| client(vip)).collect();
    for (n, client) in clients.iter().enumerate() {
        client.send(if n % 2 == 0 { b"answer" } else { b"silent" }).unwrap();
    }
    for (n, client) in clients.iter().enumerate().filter(|(n, _)| n % 2 == 0) {
        assert_eq!(answer(client), b"!", "{n}");
    }
    eventually("all are asked", || server.heard().len() == 50);
    clients[1..4].iter().for_each(assert_silent);
    let counted = counters(&udp);
    assert_eq!((counted.datagrams_in, counted.datagrams_out), (50, 25));
}

/// Two services that answer everything, even answers, would never stop once somebody claims to one of
/// them to be the other.
#[test]
fn a_listener_is_no_client() {
    let server = Server::echo(at("127.46.16.2:7000"));
    let (udp, vip, other) = (udp(), at("127.46.16.1:7000"), at("127.46.16.3:7000"));
    apply(&udp, &[listener("l", vip, vec![share(1, &[server.address])])]);
    let claims = UdpSocket::bind(other).unwrap();
    claims.send_to(b"hello", vip).unwrap();
    eventually("a session", || counters(&udp).sessions == 1);
    drop(claims);
    apply(
        &udp,
        &[
            listener("l", vip, vec![share(1, &[server.address])]),
            listener("m", other, vec![share(1, &[server.address])]),
        ],
    );
    let mine = client_from([127, 0, 0, 1].into(), vip);
    assert_eq!(ask(&mine, b"others go on"), b"others go on");
    // What the endpoint says to the old session now comes to the other listener.
    let (session, _) = server.heard()[0];
    let before = udp.snapshot();
    server.send(session, b"round and round");
    eventually("it is noticed", || {
        let listeners = udp.snapshot().listeners;
        listeners.values().any(|counted| counted.dropped.contains_key(&DropReason::Loop))
    });
    let count = |snapshot: &vipgate_speaker::udp::Snapshot| {
        snapshot.listeners.values().map(|counted| counted.sessions).sum::<u64>()
    };
    assert_eq!(count(&udp.snapshot()), count(&before));
}

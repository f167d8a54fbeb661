//! Endpoints that do not listen.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use vipgate_planner::Endpoint;
use vipgate_speaker::udp::EndReason;

use crate::rig::{
    Server, answer, apply, ask, assert_silent, at, client, counters, ended, eventually, listener,
    share, udp,
};

#[test]
fn after_a_refusal_the_next_datagram_goes_elsewhere() {
    let (dead, alive) = (at("127.46.21.2:7000"), Server::echo(at("127.46.21.3:7000")));
    let (udp, vip) = (udp(), at("127.46.21.1:7000"));
    apply(&udp, &[listener("l", vip, vec![share(1, &[dead, alive.address])])]);
    let client = client(vip);
    client.send(b"lost").unwrap();
    eventually("the refusal is heard", || ended(&udp, EndReason::Refused) == 1);
    assert_silent(&client);
    assert_eq!(ask(&client, b"again"), b"again");
    let snapshot = udp.snapshot();
    let health = &snapshot.endpoints[&Endpoint(dead)];
    assert_eq!((health.failed, health.consecutive_failures), (1, 1));
    assert!(health.last_error.as_ref().unwrap().contains("refused"), "{health:?}");
    assert_eq!(counters(&udp).open, 1);
}

/// Other shares get no more than theirs: a client of a dead one is picked for anew, by weight.
#[test]
fn picks_after_refusals_are_by_weight_as_well() {
    let alive = Server::says(at("127.46.22.3:7000"), "alive");
    let (udp, vip) = (udp(), at("127.46.22.1:7000"));
    let shares = vec![share(1, &[at("127.46.22.2:7000")]), share(1, &[alive.address])];
    apply(&udp, &[listener("l", vip, shares)]);
    let clients: Vec<_> = (0..10).map(|_| client(vip)).collect();
    for client in &clients {
        client.send(b"x").unwrap();
        client.send(b"y").unwrap();
        thread::sleep(Duration::from_millis(5));
    }
    let counted = counters(&udp);
    let heard: BTreeSet<_> = alive.heard().into_iter().map(|(peer, _)| peer).collect();
    assert_eq!(heard.len() as u64, counted.sessions / 2, "{counted:?}");
}

#[test]
fn what_an_endpoint_said_before_it_went_still_arrives() {
    let server = Server::echo(at("127.46.23.2:7000"));
    let address = server.address;
    let (udp, vip) = (udp(), at("127.46.23.1:7000"));
    apply(&udp, &[listener("l", vip, vec![share(1, &[address])])]);
    let client = client(vip);
    assert_eq!(ask(&client, b"here"), b"here");
    drop(server);
    client.send(b"into the void").unwrap();
    eventually("it is refused", || ended(&udp, EndReason::Refused) == 1);
    // It is back: a new session, the same client.
    let _server = Server::echo(address);
    assert_eq!(ask(&client, b"back"), b"back");
    assert_eq!(counters(&udp).sessions, 2);
    client.send(b"and on").unwrap();
    assert_eq!(answer(&client), b"and on");
}

/// No way to an endpoint at all: the others of its share are tried at once.
#[test]
fn an_endpoint_without_a_way_is_passed_over() {
    let alive = Server::echo(at("127.46.24.3:7000"));
    let (udp, vip) = (udp(), at("127.46.24.1:7000"));
    // Nothing has a way to this prefix (RFC 6666, for discarding), or all have: then it is silent.
    let nowhere = "[100::1]:7000".parse().unwrap();
    if std::net::UdpSocket::bind("[::]:0")
        .is_ok_and(|socket| socket.connect("[100::1]:7000").is_ok())
    {
        return;
    }
    apply(&udp, &[listener("l", vip, vec![share(1, &[nowhere, alive.address])])]);
    for _ in 0..4 {
        assert_eq!(ask(&client(vip), b"x"), b"x");
    }
    assert!(udp.snapshot().endpoints[&Endpoint(nowhere)].failed >= 1);
}

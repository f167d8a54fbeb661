//! The planned end.

use std::net::UdpSocket;
use std::thread;
use std::time::{Duration, Instant};

use vipgate_speaker::proxy::BindError;
use vipgate_speaker::udp::{DropReason, EndReason};

use crate::rig::{
    Server, apply, ask, assert_silent, at, bare, client, counters, dropped, ended, eventually,
    listener, share, udp, udp_with,
};

#[test]
fn while_draining_sessions_go_on_and_none_begins() {
    let server = Server::echo(at("127.46.61.2:7000"));
    let udp = udp_with(|config| config.idle = Duration::from_millis(600));
    let vip = at("127.46.61.1:7000");
    let listeners = [listener("l", vip, vec![share(1, &[server.address])])];
    apply(&udp, &listeners);
    let talk = client(vip);
    for _ in 0..2 {
        assert_eq!(ask(&talk, b"before"), b"before");
    }
    thread::scope(|scope| {
        let drain = scope.spawn(|| udp.drain(Duration::from_secs(10)));
        eventually("it drains", || {
            let outcome = udp.apply(&listeners).into_values().next();
            matches!(outcome, Some(Err(BindError::Draining { .. })))
        });
        let late = client(vip);
        // Whatever a worker had not seen when the drain began is over by now.
        thread::sleep(Duration::from_millis(50));
        late.send(b"late").unwrap();
        assert_silent(&late);
        for _ in 0..5 {
            assert_eq!(ask(&talk, b"going on"), b"going on");
            thread::sleep(Duration::from_millis(50));
        }
        let spoke = Instant::now();
        assert_eq!(drain.join().unwrap(), 0, "none was ended");
        assert!(spoke.elapsed() < Duration::from_secs(5), "not to the deadline");
    });
    // A worker that has no session ends at once, and reads it no more.
    assert!(dropped(&udp, DropReason::Draining) <= 1);
    assert_eq!(ended(&udp, EndReason::Idle), 1);
    assert!(UdpSocket::bind(vip).is_ok(), "the sockets are closed");
    assert_eq!(udp.drain(Duration::ZERO), 0, "again");
}

#[test]
fn the_deadline_ends_what_is_left() {
    let server = Server::echo(at("127.46.62.2:7000"));
    let (udp, vip) = (udp(), at("127.46.62.1:7000"));
    apply(&udp, &[listener("l", vip, vec![share(1, &[server.address])])]);
    let clients: Vec<_> = (0..5).map(|_| client(vip)).collect();
    for client in &clients {
        assert_eq!(ask(client, b"x"), b"x");
    }
    let begin = Instant::now();
    assert_eq!(udp.drain(Duration::from_millis(300)), 5);
    assert!((300..3000).contains(&begin.elapsed().as_millis()), "{:?}", begin.elapsed());
    assert_eq!((counters(&udp).open, ended(&udp, EndReason::DrainDeadline)), (0, 5));
}

#[test]
fn without_sessions_the_end_is_at_once() {
    let (udp, vip) = (udp(), at("127.46.63.1:7000"));
    apply(&udp, &[bare("l", vip)]);
    let begin = Instant::now();
    udp.drain(Duration::from_secs(30));
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
    drop(udp);
    assert!(UdpSocket::bind(vip).is_ok());
}

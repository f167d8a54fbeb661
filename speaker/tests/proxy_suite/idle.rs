//! Connections on which nothing moves.

use std::io::{ErrorKind, Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use vipgate_planner::{Listener, ListenerSettings};
use vipgate_speaker::proxy::ResetReason;

use crate::rig::{
    Backend, SOON, apply, assert_reset, at, connect, counters, echo, eventually, listener, proxy,
    set, share,
};
use crate::tls::{Issued, https, shake};

fn idle(timeout: Option<u64>) -> impl FnOnce(&mut ListenerSettings) {
    move |settings| settings.idle_timeout = timeout.map(Duration::from_millis)
}

#[test]
fn a_silent_connection_is_reset_on_both_sides() {
    let (backend, streams) = Backend::hands_over(at("127.37.50.2:7000"));
    let (proxy, bind) = (proxy(), at("127.37.50.1:7000"));
    let listener = listener("l", bind, vec![share(1, &[backend.address])]);
    apply(&proxy, &[set(listener, idle(Some(600)))]);
    let begin = Instant::now();
    let mut client = connect(bind);
    let mut server = streams.recv_timeout(SOON).unwrap();
    assert_reset(&mut client);
    let took = begin.elapsed();
    assert!(took >= Duration::from_millis(600) && took < Duration::from_secs(3), "{took:?}");
    assert_eq!(server.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(counters(&proxy).resets, [(ResetReason::Idle, 1)].into());
    assert_eq!(proxy.snapshot().open, 0);
}

/// One direction is enough, whichever it is, also when the other has ended.
#[test]
fn one_that_talks_in_one_direction_only_stays() {
    let (backend, streams) = Backend::hands_over(at("127.37.51.2:7000"));
    let (proxy, bind) = (proxy(), at("127.37.51.1:7000"));
    let listener = listener("l", bind, vec![share(1, &[backend.address])]);
    apply(&proxy, &[set(listener, idle(Some(700)))]);
    let mut pairs: Vec<_> =
        (0..4).map(|_| (connect(bind), streams.recv_timeout(SOON).unwrap())).collect();
    pairs[2].0.shutdown(std::net::Shutdown::Write).unwrap();
    let (begin, mut rounds) = (Instant::now(), 0);
    while begin.elapsed() < Duration::from_millis(2500) {
        pairs[0].0.write_all(b"u").unwrap();
        pairs[1].1.write_all(b"d").unwrap();
        pairs[2].1.write_all(b"d").unwrap();
        rounds += 1;
        thread::sleep(Duration::from_millis(100));
    }
    let mut bytes = vec![0; rounds];
    pairs[0].1.read_exact(&mut bytes).unwrap();
    pairs[1].0.read_exact(&mut bytes).unwrap();
    pairs[2].0.read_exact(&mut bytes).unwrap();
    assert_reset(&mut pairs[3].0);
    // And when they fall silent, too, it is their turn.
    for (client, _) in &mut pairs[..3] {
        assert_reset(client);
    }
    assert_eq!(counters(&proxy).resets, [(ResetReason::Idle, 4)].into());
}

#[test]
fn a_silent_tls_connection_is_reset_and_a_talking_one_stays() {
    let backend = Backend::echo(at("127.37.52.2:7000"));
    let (proxy, bind) = (proxy(), at("127.37.52.1:7000"));
    let issued = Issued::new(&["a.example.com"]);
    let listener = https("l", bind, "a.example.com", backend.address, &issued);
    apply(&proxy, &[set(listener, idle(Some(700)))]);
    let mut silent = shake(bind, "a.example.com", &issued.client());
    let mut talking = shake(bind, "a.example.com", &issued.client());
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_millis(2000) {
        talking.write_all(b"x").unwrap();
        talking.read_exact(&mut [0]).unwrap();
        thread::sleep(Duration::from_millis(100));
    }
    let error = silent.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert_eq!(counters(&proxy).resets, [(ResetReason::Idle, 1)].into());
    assert_eq!(counters(&proxy).open, 1);
}

/// The time-out of now counts for those that are open: shorter, longer, none.
#[test]
fn a_change_counts_for_those_that_are_open() {
    let backend = Backend::echo(at("127.37.53.2:7000"));
    let (proxy, bind) = (proxy(), at("127.37.53.1:7000"));
    let with = |timeout| -> Listener {
        set(listener("l", bind, vec![share(1, &[backend.address])]), idle(timeout))
    };
    apply(&proxy, &[with(None)]);
    let mut never = connect(bind);
    echo(&mut never, b"here");
    thread::sleep(Duration::from_millis(300));
    apply(&proxy, &[with(Some(800))]);
    thread::sleep(Duration::from_millis(300));
    // Before it is over it is over for nobody.
    apply(&proxy, &[with(None)]);
    thread::sleep(Duration::from_millis(1500));
    echo(&mut never, b"still");
    apply(&proxy, &[with(Some(3_600_000))]);
    echo(&mut never, b"still");
    apply(&proxy, &[with(Some(300))]);
    assert_reset(&mut never);
    eventually("it is counted", || counters(&proxy).resets == [(ResetReason::Idle, 1)].into());
}

/// Short connections leave no deadlines of an hour behind (unless there are very few of them).
#[test]
fn short_connections_leave_no_deadlines() {
    crate::child::run("idle::child_short_connections");
}

#[test]
#[ignore = "run by short_connections_leave_no_deadlines in a process of its own"]
fn child_short_connections() {
    let backend = Backend::new(at("127.37.54.2:7000"), drop);
    let (proxy, bind) = (proxy(), at("127.37.54.1:7000"));
    apply(&proxy, &[listener("l", bind, vec![share(1, &[backend.address])])]);
    let open = |count: usize| {
        for _ in 0..count {
            let _ = connect(bind).read(&mut [0]);
        }
        eventually("all are gone", || proxy.snapshot().open == 0);
    };
    open(3000);
    let before = crate::child::resident_anonymous();
    open(10_000);
    let grown = crate::child::resident_anonymous().saturating_sub(before);
    // Twelve bytes for each would be 120,000, and twice that while they grow.
    println!("memory after 10,000 short connections: {grown} bytes more");
    assert!(grown <= 128 * 1024, "{grown} bytes");
    // Their deadlines wake nobody.
    let mut workers = crate::child::Workers::find();
    thread::sleep(Duration::from_millis(1200));
    let before = workers.sleeps();
    thread::sleep(Duration::from_millis(1500));
    assert_eq!(workers.sleeps(), before);
}

//! Clients that do not say what they want, and TLS that stalls: bounded in number and in memory.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use vipgate_planner::ListenerSettings;
use vipgate_speaker::proxy::{PortCounters, ResetReason};

use crate::child::{self, resident_anonymous};
use crate::rig::{
    Backend, apply, at, connect, counters, eventually, proxy, proxy_with, read_all, set,
};
use crate::tls::{Issued, get, hello, http, https, session, shake};

const NAME: &str = "a.example.com";

/// What is undecided counts on the port and shows there, until it is known which listener it means.
#[test]
fn clients_that_have_not_spoken_count_at_the_port() {
    let echo = Backend::echo(at("127.39.0.1:9501"));
    let bind = at("127.39.1.1:9500");
    let proxy = proxy();
    // The more patient listener of a port counts, as long as nobody knows which one is meant.
    let timeout = |ms| {
        move |settings: &mut ListenerSettings| {
            settings.handshake_timeout = Duration::from_millis(ms)
        }
    };
    apply(
        &proxy,
        &[
            set(http("a", bind, NAME, echo.address), timeout(1)),
            set(http("b", bind, "b.example.com", echo.address), timeout(500)),
        ],
    );
    let port = || proxy.snapshot().ports.remove(&bind).unwrap();
    let mut silent: Vec<_> = (0..3).map(|_| connect(bind)).collect();
    eventually("three are undecided", || port().undecided == 3);
    assert_eq!(counters(&proxy).open, 0);
    silent[0].write_all(&get(NAME)).unwrap();
    eventually("one is decided", || port().undecided == 2);
    assert_eq!((counters(&proxy).accepted, counters(&proxy).open), (1, 1));
    silent[1].write_all(&get("other.org")).unwrap();
    assert!(read_all(&mut silent[1]).unwrap().starts_with(b"HTTP/1.1 404"));
    assert_eq!(silent[2].read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    drop(silent.remove(1));
    let ended = [(ResetReason::NoName, 1), (ResetReason::Silent, 1)].into();
    let expected = PortCounters { accepted: 3, undecided: 0, ended };
    eventually("all is counted", || port() == expected);
    assert_eq!((counters(&proxy).accepted, counters(&proxy).open), (1, 1));
}

#[test]
fn half_open_handshakes_are_bounded() {
    child::run("half_open::child_half_open");
}

/// A flood of half hellos: the oldest go, an honest client is served in the middle of it, and the
/// rest costs little.
#[test]
#[ignore = "run by half_open_handshakes_are_bounded in a process of its own"]
fn child_half_open() {
    const LIMIT: usize = 100;
    let echo = Backend::echo(at("127.39.0.2:9502"));
    let bind = at("127.39.1.2:9500");
    let proxy = proxy_with(|config| {
        config.workers = 1.try_into().unwrap();
        config.undecided = LIMIT;
    });
    let issued = Issued::new(&[NAME]);
    apply(&proxy, &[https("web", bind, NAME, echo.address, &issued)]);
    let hello = hello(&mut session(NAME, &issued.client()));
    let mut honest = shake(bind, NAME, &issued.client());
    let before = resident_anonymous();
    let mut flood: Vec<TcpStream> = Vec::new();
    for _ in 0..5 * LIMIT {
        let mut stream = connect(bind);
        stream.write_all(&hello[..hello.len() - 1]).unwrap();
        flood.push(stream);
    }
    let port = || proxy.snapshot().ports.remove(&bind).unwrap();
    eventually("all are accepted", || port().accepted == 5 * LIMIT as u64 + 1);
    let counted = port();
    assert!(counted.undecided <= 2 * LIMIT as u64, "{counted:?}");
    let crowded = counted.ended[&ResetReason::Crowded];
    assert_eq!(crowded + counted.undecided, 5 * LIMIT as u64);
    assert_eq!(flood[0].read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    let each = resident_anonymous().saturating_sub(before) / counted.undecided;
    println!("user space memory per half-open handshake: {each} bytes");
    assert!(each <= 64 * 1024, "{each} bytes");
    for stream in [&mut honest, &mut shake(bind, NAME, &issued.client())] {
        stream.write_all(b"served").unwrap();
        stream.read_exact(&mut [0; 6]).unwrap();
    }
}

#[test]
fn a_stalled_secure_connection_costs_bounded_memory() {
    child::run("half_open::child_stalled_memory");
}

/// Both receivers stall. What is measured has the test's own TLS clients in it, with what they could
/// not send (64 KiB and less).
#[test]
#[ignore = "run by a_stalled_secure_connection_costs_bounded_memory in a process of its own"]
fn child_stalled_memory() {
    const CONNECTIONS: u64 = 60;
    let (backend, streams) = Backend::hands_over(at("127.39.0.3:9503"));
    let bind = at("127.39.1.3:9500");
    let (proxy, issued) = (proxy(), Issued::new(&[NAME]));
    apply(&proxy, &[https("web", bind, NAME, backend.address, &issued)]);
    let config = issued.client();
    let mut open: Vec<_> =
        (0..CONNECTIONS).map(|_| (shake(bind, NAME, &config), streams.recv().unwrap())).collect();
    let before = resident_anonymous();
    let block = vec![0; 64 * 1024];
    for (client, server) in &mut open {
        client.sock.set_nonblocking(true).unwrap();
        server.set_nonblocking(true).unwrap();
    }
    let (begin, mut last) = (Instant::now(), Instant::now());
    let mut sent = 0;
    while last.elapsed() < Duration::from_millis(500) {
        assert!(begin.elapsed() < Duration::from_secs(60), "{sent} bytes, and no end");
        for (client, server) in &mut open {
            for sink in [client as &mut dyn Write, server] {
                if let Ok(written @ 1..) = sink.write(&block) {
                    (sent, last) = (sent + written as u64, Instant::now());
                }
            }
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let each = resident_anonymous().saturating_sub(before) / CONNECTIONS;
    println!("user space memory per stalled TLS connection, client included: {each} bytes");
    assert!(each <= 256 * 1024, "{each} bytes");
    assert_eq!(counters(&proxy).open, CONNECTIONS);
}

#[test]
fn an_idle_secure_connection_costs_little_memory() {
    child::run("half_open::child_idle_memory");
}

/// The clients forget their side after the handshake and a round trip, so what grows is the engine.
#[test]
#[ignore = "run by an_idle_secure_connection_costs_little_memory in a process of its own"]
fn child_idle_memory() {
    const CONNECTIONS: u64 = 600;
    const WARM: u64 = 100;
    let (backend, streams) = Backend::hands_over(at("127.39.0.4:9504"));
    let bind = at("127.39.1.4:9500");
    let (proxy, issued) = (proxy(), Issued::new(&[NAME]));
    apply(&proxy, &[https("web", bind, NAME, backend.address, &issued)]);
    let config = issued.client();
    let mut kept = Vec::new();
    let mut open = |count: u64| {
        for _ in 0..count {
            let mut client = shake(bind, NAME, &config);
            let mut server = streams.recv().unwrap();
            client.write_all(&[1; 64]).unwrap();
            server.read_exact(&mut [0; 64]).unwrap();
            server.write_all(&[2; 64]).unwrap();
            client.read_exact(&mut [0; 64]).unwrap();
            kept.push((client.sock, server));
        }
    };
    open(WARM);
    let before = resident_anonymous();
    open(CONNECTIONS - WARM);
    let each = resident_anonymous().saturating_sub(before) / (CONNECTIONS - WARM);
    println!("user space memory per idle TLS connection: {each} bytes");
    assert!(each <= 16 * 1024, "{each} bytes");
    assert_eq!(counters(&proxy).open, CONNECTIONS);
}

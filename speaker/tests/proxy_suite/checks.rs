//! Endpoints that are asked whether they work.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use vipgate_planner::{BackendShare, Check, Endpoint, ProxyVersion};
use vipgate_speaker::proxy::Proxy;

use crate::rig::{
    Backend, SOON, apply, at, black_hole, eventually, fetch, listener, proxy, proxy_with, share,
    share_with,
};
use crate::tls::{Issued, tls_backend};

fn check() -> Check {
    Check {
        interval: Duration::from_millis(50),
        timeout: Duration::from_secs(1),
        unhealthy_after: 2,
        healthy_after: 2,
        port: None,
        proxy_protocol: None,
        tls: false,
        send: Vec::new(),
        expect: Vec::new(),
    }
}

fn checked(endpoints: &[SocketAddr], check: &Check) -> Vec<BackendShare> {
    vec![share_with(1, endpoints, |settings| settings.check = Some(check.clone()))]
}

fn is_unhealthy(proxy: &Proxy, endpoint: SocketAddr) -> bool {
    proxy.snapshot().endpoints[&Endpoint(endpoint)].unhealthy
}

/// It takes connections all the time; only what is asked elsewhere says that it should not get any.
#[test]
fn an_unhealthy_endpoint_gets_no_connections_until_it_is_healthy() {
    let one = Backend::says(at("127.39.30.2:9720"), "one");
    let two = Backend::says(at("127.39.30.3:9720"), "two");
    let port = at("127.39.30.2:9721").port();
    let asked = |backend: &Backend| SocketAddr::new(backend.address.ip(), port);
    let _well = Backend::says(asked(&two), "well");
    let bind = at("127.39.30.1:9720");
    let proxy = proxy_with(|config| config.workers = 1.try_into().unwrap());
    let check = Check { port: Some(port), ..check() };
    apply(&proxy, &[listener("l", bind, checked(&[one.address, two.address], &check))]);
    eventually("it is found out", || is_unhealthy(&proxy, one.address));
    let before = one.accepted();
    for _ in 0..20 {
        assert_eq!(fetch(bind).unwrap(), b"two");
    }
    assert_eq!(one.accepted(), before, "and nobody connects to it to ask");
    let well = Backend::says(asked(&one), "well");
    eventually("it is healthy again", || !is_unhealthy(&proxy, one.address));
    let said: Vec<_> = (0..20).map(|_| fetch(bind).unwrap()).collect();
    assert_eq!(said.iter().filter(|said| *said == b"one").count(), 10);
    // A route that does not ask keeps to what clients find.
    drop(well);
    eventually("it is found out", || is_unhealthy(&proxy, one.address));
    let plain = vec![share(1, &[one.address, two.address])];
    apply(&proxy, &[listener("l", bind, plain)]);
    let said: Vec<_> = (0..20).map(|_| fetch(bind).unwrap()).collect();
    assert_eq!(said.iter().filter(|said| *said == b"one").count(), 10);
}

#[test]
fn where_all_are_unhealthy_all_are_used() {
    let one = Backend::says(at("127.39.31.2:9720"), "one");
    let two = Backend::says(at("127.39.31.3:9720"), "two");
    let bind = at("127.39.31.1:9720");
    let proxy = proxy();
    let check = Check { port: Some(at("127.39.31.2:9721").port()), ..check() };
    apply(&proxy, &[listener("l", bind, checked(&[one.address, two.address], &check))]);
    eventually("both are found out", || {
        is_unhealthy(&proxy, one.address) && is_unhealthy(&proxy, two.address)
    });
    let (before, after) = ([one.accepted(), two.accepted()], |b: &Backend| b.accepted());
    for _ in 0..10 {
        fetch(bind).unwrap();
    }
    assert!(after(&one) > before[0] && after(&two) > before[1]);
}

/// What is asked, and what has to come back.
#[test]
fn an_answer_has_to_begin_as_expected() {
    let answers = |address, answer: &'static str| {
        Backend::new(address, move |mut stream| {
            let mut question = [0; 4];
            if stream.read_exact(&mut question).is_ok() && &question == b"PING" {
                // In pieces, as it may come.
                let (head, rest) = answer.split_at(answer.len() / 2);
                let _ = stream.write_all(head.as_bytes());
                thread::sleep(Duration::from_millis(20));
                let _ = stream.write_all(rest.as_bytes());
            }
        })
    };
    let good = answers(at("127.39.32.2:9720"), "PONG, and how are you?");
    let wrong = answers(at("127.39.32.3:9720"), "PUNG");
    let short = answers(at("127.39.32.4:9720"), "PO");
    let silent = Backend::new(at("127.39.32.5:9720"), |mut stream| {
        let _ = stream.read(&mut [0; 16]);
        thread::sleep(Duration::from_secs(5));
    });
    let hole = at("127.39.32.6:9720");
    let _hole = black_hole(hole);
    let backends = [&good, &wrong, &short, &silent].map(|backend| backend.address);
    let endpoints = [&backends[..], &[hole]].concat();
    let check = Check {
        send: b"PING".to_vec(),
        expect: b"PONG".to_vec(),
        timeout: Duration::from_millis(300),
        ..check()
    };
    let proxy = proxy();
    apply(&proxy, &[listener("l", at("127.39.32.1:9720"), checked(&endpoints, &check))]);
    for bad in &endpoints[1..] {
        eventually("it is found out", || is_unhealthy(&proxy, *bad));
    }
    let asked = good.accepted();
    eventually("it is asked on", || good.accepted() >= asked + 5);
    assert!(!is_unhealthy(&proxy, good.address));
}

/// Any certificate will do; no TLS will not.
#[test]
fn a_handshake_can_be_part_of_it() {
    let issued = Issued::new(&["whoever.example"]);
    let tls = tls_backend(at("127.39.33.2:9720"), &issued);
    let plain = Backend::says(at("127.39.33.3:9720"), "no TLS");
    let bind = at("127.39.33.1:9720");
    let proxy = proxy();
    let handshake = Check { tls: true, ..check() };
    let endpoints = [tls.address, plain.address];
    apply(&proxy, &[listener("l", bind, checked(&endpoints, &handshake))]);
    eventually("it is found out", || is_unhealthy(&proxy, plain.address));
    let asked = tls.accepted();
    eventually("it is asked on", || tls.accepted() >= asked + 5);
    assert!(!is_unhealthy(&proxy, tls.address));
    // The same with a question inside; this one says first which name it was asked for.
    let inside = Check { send: b"hello".to_vec(), expect: b"nothing;hello".to_vec(), ..handshake };
    apply(&proxy, &[listener("l", bind, checked(&endpoints, &inside))]);
    let asked = tls.accepted();
    eventually("it is asked on", || tls.accepted() >= asked + 5);
    assert!(!is_unhealthy(&proxy, tls.address));
    let other = Check { expect: b"something".to_vec(), ..inside };
    apply(&proxy, &[listener("l", bind, checked(&endpoints, &other))]);
    eventually("it is found out", || is_unhealthy(&proxy, tls.address));
}

/// A server that expects the PROXY protocol takes nothing else, and a check is of no client.
#[test]
fn a_check_begins_with_the_header_that_clients_connections_begin_with() {
    let v1 = (ProxyVersion::V1, &b"PROXY UNKNOWN\r\n"[..]);
    let v2 = (ProxyVersion::V2, &b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"[..]);
    for (number, (version, header)) in [v1, v2].into_iter().enumerate() {
        let net = 35 + number;
        let strict = Backend::new(at(&format!("127.39.{net}.2:9720")), move |mut stream| {
            let mut begin = vec![0; header.len()];
            if stream.read_exact(&mut begin).is_ok() && begin == header {
                let mut question = [0; 4];
                let _ = stream.read_exact(&mut question);
                let _ = stream.write_all(if question == *b"PING" { b"PONG" } else { b"what" });
            }
        });
        let asks = |proxy_protocol| Check {
            proxy_protocol,
            send: b"PING".to_vec(),
            expect: b"PONG".to_vec(),
            ..check()
        };
        let proxy = proxy();
        let bind = at(&format!("127.39.{net}.1:9720"));
        apply(&proxy, &[listener("l", bind, checked(&[strict.address], &asks(None)))]);
        eventually("it says so without", || is_unhealthy(&proxy, strict.address));
        apply(&proxy, &[listener("l", bind, checked(&[strict.address], &asks(Some(version))))]);
        let asked = strict.accepted();
        eventually("it is asked on", || strict.accepted() >= asked + 5);
        assert!(!is_unhealthy(&proxy, strict.address), "{version:?}");
    }
}

/// The header is outside of TLS, and is all there is where only a connection is asked for.
#[test]
fn the_header_of_a_check_comes_before_tls() {
    let (heard, told) = std::sync::mpsc::sync_channel(64);
    let listens = Backend::new(at("127.39.37.2:9720"), move |mut stream| {
        let mut begin = Vec::new();
        let _ = Read::by_ref(&mut stream).take(18).read_to_end(&mut begin);
        let _ = heard.try_send(begin);
    });
    let bind = at("127.39.37.1:9720");
    let proxy = proxy();
    for (tls, behind) in [(false, &b""[..]), (true, &[0x16, 3][..])] {
        let check = Check { proxy_protocol: Some(ProxyVersion::V2), tls, ..check() };
        apply(&proxy, &[listener("l", bind, checked(&[listens.address], &check))]);
        let expected = [&b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"[..], behind].concat();
        eventually("it comes", || told.recv_timeout(SOON).unwrap() == expected);
    }
}

/// One that is not to be checked any more is not asked any more.
#[test]
fn a_check_ends_with_whoever_asked_for_it() {
    let backend = Backend::says(at("127.39.34.2:9720"), "here");
    let bind = at("127.39.34.1:9720");
    let proxy = proxy();
    apply(&proxy, &[listener("l", bind, checked(&[backend.address], &check()))]);
    eventually("it is asked", || backend.accepted() >= 3);
    apply(&proxy, &[listener("l", bind, vec![share(1, &[backend.address])])]);
    // One may be under way; and the workers have to see the new table.
    thread::sleep(Duration::from_millis(300));
    let asked = backend.accepted();
    thread::sleep(Duration::from_millis(500));
    assert_eq!(backend.accepted(), asked);
}

/// Hundreds are asked, each about as often as it should be, and not all at once.
#[test]
fn many_are_asked_in_turn() {
    let backends: Vec<_> = (1..=200)
        .map(|host| Backend::says(at(&format!("127.39.35.{host}:9720")), "here"))
        .collect();
    let endpoints: Vec<_> = backends.iter().map(|backend| backend.address).collect();
    let proxy = proxy();
    let check = Check { interval: Duration::from_millis(500), ..check() };
    let begin = Instant::now();
    apply(&proxy, &[listener("l", at("127.39.35.250:9720"), checked(&endpoints, &check))]);
    thread::sleep(Duration::from_millis(250));
    let early = backends.iter().filter(|backend| backend.accepted() > 0).count();
    if begin.elapsed() < Duration::from_millis(400) {
        assert!((20..=180).contains(&early), "{early} of 200 within half the interval");
    }
    eventually("all are asked", || backends.iter().all(|backend| backend.accepted() >= 2));
    assert!(endpoints.iter().all(|endpoint| !is_unhealthy(&proxy, *endpoint)));
}

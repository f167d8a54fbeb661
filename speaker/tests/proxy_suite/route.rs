//! Where connections go: weights, and other endpoints on failure.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use vipgate_planner::Endpoint;
use vipgate_speaker::proxy::ResetReason;

use crate::rig::{
    Backend, apply, assert_rejected, at, black_hole, counters, fetch, listener, proxy, proxy_with,
    share, share_with,
};

/// 1,000 connections through one worker: every share within 2 of its part, the empty one included.
#[test]
fn weights_are_exact_end_to_end() {
    let a = Backend::says(at("127.33.0.2:7000"), "a");
    let b = Backend::says(at("127.33.0.3:7000"), "b");
    let zero = Backend::says(at("127.33.0.4:7000"), "z");
    let proxy = proxy_with(|config| config.workers = 1.try_into().unwrap());
    let bind = at("127.33.0.1:7000");
    let shares = vec![
        share(70, &[a.address]),
        share(25, &[b.address]),
        share(5, &[]),
        share(0, &[zero.address]),
    ];
    apply(&proxy, &[listener("l", bind, shares)]);
    let (mut to_a, mut to_b, mut rejected) = (0_i32, 0_i32, 0_i32);
    for _ in 0..1000 {
        match fetch(bind).as_deref() {
            Ok(b"a") => to_a += 1,
            Ok(b"b") => to_b += 1,
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => rejected += 1,
            other => panic!("{other:?}"),
        }
    }
    for (count, exact) in [(to_a, 700), (to_b, 250), (rejected, 50)] {
        assert!((count - exact).abs() < 2, "{count} instead of {exact}");
    }
    assert_eq!(zero.accepted(), 0);
}

/// New endpoints in a share do not start the weights anew: with a change before every connection,
/// the lighter share still gets its part.
#[test]
fn endpoint_churn_keeps_the_weights_exact() {
    let heavy = Backend::says(at("127.33.1.2:7000"), "h");
    let light = Backend::says(at("127.33.1.3:7000"), "l");
    let other = Backend::says(at("127.33.1.4:7000"), "l");
    let proxy = proxy_with(|config| config.workers = 1.try_into().unwrap());
    let bind = at("127.33.1.1:7000");
    let mut to_light = 0;
    for round in 0..200 {
        let second = if round % 2 == 0 { &light } else { &other };
        let shares = vec![share(9, &[heavy.address]), share(1, &[second.address])];
        apply(&proxy, &[listener("l", bind, shares)]);
        to_light += i32::from(fetch(bind).unwrap() == b"l");
    }
    assert!((to_light - 20).abs() < 2, "{to_light} of 200");
}

#[test]
fn endpoints_of_a_share_take_turns() {
    let a = Backend::says(at("127.33.2.2:7000"), "a");
    let b = Backend::says(at("127.33.2.3:7000"), "b");
    let c = Backend::says(at("127.33.2.4:7000"), "c");
    let proxy = proxy();
    let bind = at("127.33.2.1:7000");
    let endpoints = [a.address, b.address, c.address];
    apply(&proxy, &[listener("l", bind, vec![share(1, &endpoints)])]);
    for _ in 0..90 {
        fetch(bind).unwrap();
    }
    for backend in [a, b, c] {
        // Each of two workers is at most one off.
        assert!(backend.accepted().abs_diff(30) <= 2, "{}", backend.accepted());
    }
}

/// Connections are spread over the workers, not heaped on the one that watches longest. Each of two
/// workers alternates between the two shares, so one worker alone would give `abab`, two `aabb`.
#[test]
fn workers_take_turns() {
    let a = Backend::says(at("127.33.8.2:7000"), "a");
    let b = Backend::says(at("127.33.8.3:7000"), "b");
    let proxy = proxy();
    let bind = at("127.33.8.1:7000");
    apply(&proxy, &[listener("l", bind, vec![share(1, &[a.address]), share(1, &[b.address])])]);
    let served: Vec<_> = (0..60)
        .map(|_| {
            // Both are idle again when the next one comes.
            std::thread::sleep(Duration::from_millis(3));
            fetch(bind).unwrap()
        })
        .collect();
    let repeated = served.windows(2).filter(|two| two[0] == two[1]).count();
    assert!(repeated >= 20, "{repeated} of 59");
}

#[test]
fn a_refused_endpoint_is_passed_over() {
    let refuses = at("127.33.3.2:7000");
    let backend = Backend::says(at("127.33.3.3:7000"), "here");
    // Long enough that waiting for it once, even on a busy machine, shows.
    let patience = Duration::from_secs(20);
    let proxy = proxy();
    let bind = at("127.33.3.1:7000");
    let patient = share_with(1, &[refuses, backend.address], |s| s.connect_timeout = patience);
    apply(&proxy, &[listener("l", bind, vec![patient])]);
    let begin = Instant::now();
    for _ in 0..20 {
        assert_eq!(fetch(bind).unwrap(), b"here");
    }
    assert!(begin.elapsed() < patience);
    let health = &proxy.snapshot().endpoints[&Endpoint(refuses)];
    assert_eq!((health.connected, health.consecutive_failures), (0, health.failed as u32));
    // Asked twice, and by another worker at the same time perhaps once more.
    assert!((2..=3).contains(&health.failed), "{health:?}");
    assert_eq!((health.ejected, health.ejections), (true, 1));
    assert!(health.last_error.as_deref().unwrap().contains("refused"), "{health:?}");
    let health = &proxy.snapshot().endpoints[&Endpoint(backend.address)];
    assert_eq!((health.connected, health.failed, health.consecutive_failures), (20, 0, 0));
}

#[test]
fn a_silent_endpoint_is_passed_over_after_the_timeout() {
    let silent = at("127.33.4.2:7000");
    let _hole = black_hole(silent);
    let backend = Backend::says(at("127.33.4.3:7000"), "here");
    let proxy = proxy_with(|config| config.workers = 1.try_into().unwrap());
    let bind = at("127.33.4.1:7000");
    apply(&proxy, &[listener("l", bind, vec![share(1, &[silent, backend.address])])]);
    let begin = Instant::now();
    assert_eq!(fetch(bind).unwrap(), b"here");
    let took = begin.elapsed();
    assert!(took >= Duration::from_millis(990) && took < Duration::from_millis(2100), "{took:?}");
    let health = &proxy.snapshot().endpoints[&Endpoint(silent)];
    assert_eq!(health.failed, 1);
    assert!(health.last_error.as_deref().unwrap().contains("timed out"), "{health:?}");
}

#[test]
fn three_tries_and_then_a_reset() {
    let dead: Vec<SocketAddr> = (2..=6).map(|host| at(&format!("127.33.5.{host}:7000"))).collect();
    let proxy = proxy_with(|config| config.workers = 1.try_into().unwrap());
    let bind = at("127.33.5.1:7000");
    apply(&proxy, &[listener("l", bind, vec![share(1, &dead)])]);
    assert_rejected(bind);
    assert_eq!(counters(&proxy).resets[&ResetReason::ConnectFailed], 1);
    let failed: u64 = proxy.snapshot().endpoints.values().map(|health| health.failed).sum();
    assert_eq!(failed, 3);
}

/// A lone endpoint that refuses is asked once; one that is silent may have lost a packet, and is
/// asked until the tries are used up.
#[test]
fn a_lone_endpoint_is_asked_again_only_when_it_was_silent() {
    let (refuses, silent) = (at("127.33.6.2:7000"), at("127.33.6.3:7000"));
    let _hole = black_hole(silent);
    let proxy = proxy();
    let (bind, quiet) = (at("127.33.6.1:7000"), at("127.33.6.1:7001"));
    apply(
        &proxy,
        &[
            listener("refuses", bind, vec![share(1, &[refuses])]),
            listener(
                "silent",
                quiet,
                vec![share_with(1, &[silent], |settings| {
                    settings.connect_timeout = Duration::from_millis(100);
                })],
            ),
        ],
    );
    assert_rejected(bind);
    let begin = Instant::now();
    assert_rejected(quiet);
    assert!(begin.elapsed() >= Duration::from_millis(300));
    let endpoints = proxy.snapshot().endpoints;
    assert_eq!(endpoints[&Endpoint(refuses)].failed, 1);
    assert_eq!(endpoints[&Endpoint(silent)].failed, 3);
}

/// A connection that was picked for one backendRef never ends up with another.
#[test]
fn retries_stay_inside_the_picked_share() {
    let good = Backend::says(at("127.33.7.2:7000"), "good");
    let dead = at("127.33.7.3:7000");
    let proxy = proxy_with(|config| config.workers = 1.try_into().unwrap());
    let bind = at("127.33.7.1:7000");
    apply(&proxy, &[listener("l", bind, vec![share(1, &[good.address]), share(1, &[dead])])]);
    let served = (0..40).filter(|_| fetch(bind).is_ok()).count();
    assert_eq!((served, good.accepted()), (20, 20));
    assert_eq!(counters(&proxy).resets[&ResetReason::ConnectFailed], 20);
}

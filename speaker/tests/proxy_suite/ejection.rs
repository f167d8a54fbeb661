//! Endpoints that cannot be connected to: hidden from clients, passed over, and back when they answer.

use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use vipgate_planner::Endpoint;
use vipgate_speaker::proxy::{EndpointHealth, Proxy};

use crate::rig::{
    Backend, apply, assert_rejected, at, black_hole, eventually, fetch, listener, proxy,
    proxy_with, share, share_with,
};

pub(crate) fn health(proxy: &Proxy, endpoint: SocketAddr) -> EndpointHealth {
    proxy.snapshot().endpoints.remove(&Endpoint(endpoint)).unwrap_or_default()
}

/// With the time-outs that everybody has. What clients see of it is at most a second more, once or
/// twice; after three it is over.
#[test]
fn a_black_hole_is_hidden_and_soon_passed_over() {
    let silent = at("127.32.1.2:7100");
    let _hole = black_hole(silent);
    let one = Backend::says(at("127.32.1.3:7100"), "one");
    let two = Backend::says(at("127.32.1.4:7100"), "two");
    let proxy = proxy();
    let bind = at("127.32.1.1:7100");
    let endpoints = [one.address, silent, two.address];
    apply(&proxy, &[listener("l", bind, vec![share(1, &endpoints)])]);
    let start = Instant::now();
    while !health(&proxy, silent).ejected {
        let begin = Instant::now();
        fetch(bind).unwrap();
        let took = begin.elapsed();
        assert!(took < Duration::from_millis(2100), "a client waited for {took:?}");
        assert!(start.elapsed() < Duration::from_secs(3), "{:?}", health(&proxy, silent));
    }
    let ejected = start.elapsed();
    assert!(ejected > Duration::from_millis(900), "{ejected:?}: on what grounds?");
    // The others share what it does not get, evenly.
    let before = [one.accepted(), two.accepted()];
    let begin = Instant::now();
    for _ in 0..60 {
        fetch(bind).unwrap();
    }
    assert!(begin.elapsed() < Duration::from_millis(900), "nobody waits for it any more");
    let served = [one.accepted() - before[0], two.accepted() - before[1]];
    assert!(served.iter().all(|count| (28..=32).contains(count)), "{served:?}");
}

#[test]
fn one_that_answers_again_is_used_again() {
    let address = at("127.32.2.2:7100");
    let other = Backend::says(at("127.32.2.3:7100"), "other");
    let proxy = proxy_with(|config| config.workers = 1.try_into().unwrap());
    let bind = at("127.32.2.1:7100");
    let listeners = [listener("l", bind, vec![share(1, &[address, other.address])])];
    apply(&proxy, &listeners);
    let fetch_some = |count: usize| (0..count).for_each(|_| drop(fetch(bind).unwrap()));
    fetch_some(6);
    let ejected = health(&proxy, address);
    assert_eq!((ejected.ejected, ejected.failed), (true, 2), "{ejected:?}");
    // No client is used to find out, though two seconds pass.
    thread::sleep(Duration::from_millis(2200));
    fetch_some(4);
    assert_eq!(health(&proxy, address).failed, 2);

    let back = Backend::says(address, "back");
    eventually("it is asked and answers", || !health(&proxy, address).ejected);
    eventually("the backend sees the question", || back.accepted() >= 1);
    let asked = back.accepted();
    fetch_some(6);
    assert_eq!(back.accepted() - asked, 3);
    let well = health(&proxy, address);
    assert_eq!((well.consecutive_failures, well.ejections), (0, 1));

    // One that no route has any more is asked no more.
    drop(back);
    eventually("it is closed", || TcpStream::connect(address).is_err());
    fetch_some(6);
    assert!(health(&proxy, address).ejected);
    apply(&proxy, &[listener("l", bind, vec![share(1, &[other.address])])]);
    let late = Backend::says(address, "late");
    thread::sleep(Duration::from_millis(2200));
    assert_eq!(late.accepted(), 0);
}

/// Where most cannot be connected to, the few that can do not get what is meant for all.
#[test]
fn what_is_left_is_not_buried_under_the_rest() {
    let good = Backend::says(at("127.32.5.2:7100"), "good");
    let dead: Vec<_> = (3..10).map(|host| at(&format!("127.32.5.{host}:7100"))).collect();
    let proxy = proxy_with(|config| config.workers = 1.try_into().unwrap());
    let bind = at("127.32.5.1:7100");
    let endpoints = [&[good.address][..], &dead].concat();
    apply(&proxy, &[listener("l", bind, vec![share(1, &endpoints)])]);
    for _ in 0..40 {
        // Three tries may all lead to others, until those are known.
        drop(fetch(bind));
    }
    assert!(dead.iter().all(|address| health(&proxy, *address).ejected));
    let asked =
        |proxy: &Proxy| dead.iter().map(|address| health(proxy, *address).failed).sum::<u64>();
    let before = asked(&proxy);
    for _ in 0..40 {
        fetch(bind).unwrap();
    }
    // Each of these was asked first where its turn was, and went on to the one that is left.
    let more = asked(&proxy) - before;
    assert!((25..=40).contains(&more), "{more}");
}

/// More than are asked at once: the others wait, and nobody spins.
#[test]
fn many_black_holes_cost_no_time() {
    let holes: Vec<_> = (1..=60).map(|host| at(&format!("127.32.6.{host}:7100"))).collect();
    let _held: Vec<_> = holes.iter().map(|address| black_hole(*address)).collect();
    let proxy = proxy();
    let bind = at("127.32.6.100:7100");
    let impatient = share_with(1, &holes, |settings| {
        settings.connect_timeout = Duration::from_millis(200);
        settings.connect_tries = 8;
    });
    apply(&proxy, &[listener("l", bind, vec![impatient])]);
    for _ in 0..3 {
        let clients: Vec<_> =
            (0..40).map(|_| thread::spawn(move || fetch(bind).is_err())).collect();
        assert!(clients.into_iter().all(|client| client.join().unwrap()));
    }
    let ejected = proxy.snapshot().endpoints.values().filter(|health| health.ejected).count();
    assert!(ejected >= 40, "{ejected}");
    let before = prober_time();
    thread::sleep(Duration::from_secs(3));
    let took = prober_time() - before;
    assert!(took < Duration::from_millis(150), "{took:?} of three seconds");
}

/// Processor time of the probers of this process.
fn prober_time() -> Duration {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let ticks = tasks.filter_map(|task| {
        let stat = std::fs::read_to_string(task.path().join("stat")).ok()?;
        let (name, rest) = stat.rsplit_once(')')?;
        let fields: Vec<_> = rest.split_whitespace().collect();
        let ticks = |place: usize| fields.get(place)?.parse::<u64>().ok();
        name.ends_with("proxy-prober").then(|| ticks(11).zip(ticks(12)).map(|(a, b)| a + b))?
    });
    Duration::from_millis(10 * ticks.sum::<u64>())
}

/// The last one is never passed over: a client that gets through is better than none.
#[test]
fn where_none_is_left_all_are_asked() {
    let (one, two) = (at("127.32.3.2:7100"), at("127.32.3.3:7100"));
    let proxy = proxy_with(|config| config.workers = 1.try_into().unwrap());
    let bind = at("127.32.3.1:7100");
    apply(&proxy, &[listener("l", bind, vec![share(1, &[one, two])])]);
    for _ in 0..3 {
        assert_rejected(bind);
    }
    assert!([one, two].iter().all(|address| health(&proxy, *address).ejected));
    let _back = Backend::says(two, "two");
    // Whichever is asked first.
    assert_eq!(fetch(bind).unwrap(), b"two");
    assert_eq!(fetch(bind).unwrap(), b"two");
    // The client's connection is as good as a question.
    assert!(!health(&proxy, two).ejected);
}

/// The share of a dead backendRef stays its own, as the specification says.
#[test]
fn an_ejected_backend_ref_keeps_its_share() {
    let good = Backend::says(at("127.32.4.2:7100"), "good");
    let dead = at("127.32.4.3:7100");
    let proxy = proxy_with(|config| config.workers = 1.try_into().unwrap());
    let bind = at("127.32.4.1:7100");
    apply(&proxy, &[listener("l", bind, vec![share(3, &[good.address]), share(1, &[dead])])]);
    let served = (0..40).filter(|_| fetch(bind).is_ok()).count();
    assert_eq!(served, 30);
    assert!(health(&proxy, dead).ejected);
}

/// Each backendRef says for itself after how many failures it keeps away from an endpoint, or never.
#[test]
fn every_backend_ref_has_its_own_number_of_failures() {
    let good = Backend::says(at("127.32.7.2:7100"), "good");
    let dead = at("127.32.7.3:7100");
    let proxy = proxy_with(|config| config.workers = 1.try_into().unwrap());
    let asked = |bind: SocketAddr, times: usize| {
        let before = health(&proxy, dead).failed;
        (0..times).for_each(|_| drop(fetch(bind).unwrap()));
        health(&proxy, dead).failed - before
    };
    let binds: Vec<_> = (1..=3).map(|port| at(&format!("127.32.7.1:71{port:02}"))).collect();
    let with = |place: usize, eject_after| {
        let endpoints = [dead, good.address];
        let share = share_with(1, &endpoints, |settings| settings.eject_after = eject_after);
        listener(&format!("l{place}"), binds[place], vec![share])
    };
    apply(&proxy, &[with(0, Some(1)), with(1, Some(4)), with(2, None)]);
    assert_eq!(asked(binds[0], 10), 1);
    assert!(health(&proxy, dead).ejected);
    // It takes three more for this one, before a question that fails, or after.
    assert_eq!(asked(binds[1], 20), 3);
    assert_eq!(asked(binds[2], 10), 5, "it never keeps away");
    assert_eq!(asked(binds[0], 10), 0);
}

/// How long and how often is tried is for each backendRef to say.
#[test]
fn one_try_and_a_short_one() {
    let silent = at("127.32.8.2:7100");
    let _hole = black_hole(silent);
    let good = Backend::says(at("127.32.8.3:7100"), "good");
    let proxy = proxy_with(|config| config.workers = 1.try_into().unwrap());
    let (once, twice) = (at("127.32.8.1:7100"), at("127.32.8.1:7101"));
    let share = |tries| {
        share_with(1, &[silent, good.address], |settings| {
            settings.connect_tries = tries;
            settings.connect_timeout = Duration::from_millis(100);
            settings.eject_after = None;
        })
    };
    apply(&proxy, &[listener("a", once, vec![share(1)]), listener("b", twice, vec![share(2)])]);
    let begin = Instant::now();
    assert_rejected(once);
    assert!(begin.elapsed() >= Duration::from_millis(95));
    assert_eq!(fetch(once).unwrap(), b"good");
    assert_eq!(fetch(twice).unwrap(), b"good");
    assert!(begin.elapsed() < Duration::from_millis(900), "{:?}", begin.elapsed());
}

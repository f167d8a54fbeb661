//! Connections that flood one listener, and what another has of it.
//!
//! Who floods costs the machine something wherever the flood goes: its own CPU time, and the kernel's. So rounds with the flood at a
//! listener take turns with rounds in which the same client floods a closed port just as fast, and each round is compared
//! with the one beside it. The order in a pair alternates, so that a drift of the machine meets both. What counts is the median
//! of the ratios.
//!
//! The client is bounded: it opens so many connections a second, and no more. One that is not takes a core of the machine
//! for itself, whatever the engine does; how fast listeners take clients is a matter of policy (ListenerPolicy).

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use vipgate_lab::Lab;
use vipgate_speaker::host::raise_open_files;

use crate::child;
use crate::helper::{Helper, argument, say, told};
use crate::rig::{Backend, SOON, apply, at, connect, counters, echo, listener, proxy, share};

/// Connections a second.
const RATE: u64 = 1000;
/// One measurement.
const WINDOW: Duration = Duration::from_millis(700);
/// Between two, for what is under way to end.
const PAUSE: Duration = Duration::from_millis(100);
/// Short requests at once.
const ASKERS: usize = 4;
const LEAST: f64 = 0.95;

#[test]
#[ignore = "two minutes, and a machine with nothing else to do: `make lab`"]
fn long_a_flood_of_one_listener_leaves_another_what_it_has() {
    child::run("flood::child_flood");
}

#[test]
#[ignore = "run by long_a_flood_of_one_listener_leaves_another_what_it_has in a process of its own"]
fn child_flood() {
    let lab = Lab::new("flood").unwrap();
    let host = lab.node("host").unwrap();
    // A connection that is over keeps its port for a minute. The clients of a flood are other hosts, with ports of
    // their own; here the kernel would search longer and longer for one that is free, on both sides of the proxy.
    host.sysctl("net.ipv4.tcp_max_tw_buckets", "500").unwrap();
    host.enter(compare);
}

fn compare() {
    let pairs = std::env::var("FLOOD_PAIRS").map_or(40, |text| text.parse().unwrap());
    let (flooded, closed) = (at("127.36.46.1:7000"), at("127.36.46.9:7000"));
    let (quiet, bulk) = (at("127.36.46.1:7001"), at("127.36.46.1:7002"));
    let servers = [at("127.36.46.2:7000"), at("127.36.46.2:7001"), at("127.36.46.2:7002")];
    let _servers: Vec<_> = [
        ("crowd::child_server", servers[0]),
        ("crowd::child_server", servers[1]),
        ("flood::child_source", servers[2]),
    ]
    .into_iter()
    .map(|(name, at)| {
        let mut server = Helper::start(name, &[("AT", at.to_string())]);
        assert_eq!(server.hear(SOON), "listening");
        server
    })
    .collect();
    let proxy = proxy();
    let to = |name: &str, bind, server| listener(name, bind, vec![share(1, &[server])]);
    apply(
        &proxy,
        &[
            to("a-flooded", flooded, servers[0]),
            to("quiet", quiet, servers[1]),
            to("bulk", bulk, servers[2]),
        ],
    );
    let mut flood = Helper::start("flood::child_flooder", &[]);
    let places = [("QUIET", quiet.to_string()), ("BULK", bulk.to_string())];
    let mut other = Helper::start("flood::child_other", &places);
    assert_eq!(other.hear(SOON), "connected");

    let mut measure = |target: SocketAddr| {
        flood.tell(&target.to_string());
        thread::sleep(PAUSE);
        other.tell("measure");
        let measured = other.hear(SOON);
        flood.tell("stop");
        let opened: u64 = flood.hear(SOON).parse().unwrap();
        let expected = RATE as f64 * (WINDOW + PAUSE).as_secs_f64();
        assert!(opened as f64 > 0.8 * expected, "only {opened} connections were tried");
        thread::sleep(PAUSE);
        let [requests, bytes] = measured.split(' ').collect::<Vec<_>>()[..] else { panic!() };
        [requests.parse::<f64>().unwrap(), bytes.parse::<f64>().unwrap()]
    };
    // Once for the caches.
    measure(flooded);
    measure(closed);
    let (mut requests, mut bytes) = (Vec::new(), Vec::new());
    for pair in 0..pairs {
        let (with, without) = if pair % 2 == 0 {
            let with = measure(flooded);
            (with, measure(closed))
        } else {
            let without = measure(closed);
            (measure(flooded), without)
        };
        requests.push(with[0] / without[0]);
        bytes.push(with[1] / without[1]);
    }
    let counted = counters(&proxy);
    let accepted = counted.accepted as f64 / (pairs + 1) as f64;
    println!("{accepted:.0} connections accepted a round: {counted:?}");
    assert!(accepted > 0.8 * RATE as f64 * WINDOW.as_secs_f64(), "the flood came");
    for (what, mut ratios) in [("requests", requests), ("bytes", bytes)] {
        ratios.sort_by(f64::total_cmp);
        let median = ratios[ratios.len() / 2];
        let (low, high) = (ratios[ratios.len() / 4], ratios[3 * ratios.len() / 4]);
        println!(
            "{what}: median {median:.3} of what it has with a closed port, half of all in {low:.3} to {high:.3}"
        );
        assert!(median >= LEAST, "{what}: {median:.3}");
    }
}

/// Sends without end to whoever connects.
#[test]
#[ignore = "a helper"]
fn child_source() {
    let _source = Backend::new(argument("AT"), |mut stream| {
        let block = vec![7; 256 * 1024];
        while stream.write_all(&block).is_ok() {}
    });
    say("listening");
    loop {
        told();
    }
}

/// Opens and closes connections to where it is told, evenly, until it is told to stop.
#[test]
#[ignore = "a helper"]
fn child_flooder() {
    raise_open_files();
    loop {
        let target: SocketAddr = told().parse().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let flooding = thread::spawn(move || flood(target, &stopped));
        assert_eq!(told(), "stop");
        stop.store(true, Relaxed);
        say(&flooding.join().unwrap().to_string());
    }
}

fn flood(target: SocketAddr, stop: &AtomicBool) -> u64 {
    let rate = std::env::var("FLOOD_RATE").map_or(RATE, |text| text.parse().unwrap());
    let (begin, mut opened) = (Instant::now(), 0);
    while !stop.load(Relaxed) {
        let due = (begin.elapsed().as_secs_f64() * rate as f64) as u64;
        while opened < due {
            // Refused, at a closed port.
            drop(TcpStream::connect(target));
            opened += 1;
        }
        thread::sleep(Duration::from_micros(500));
    }
    opened
}

/// Short requests and bulk data, as fast as they go, and how much of both there is in a window.
#[test]
#[ignore = "a helper"]
fn child_other() {
    let (quiet, bulk): (SocketAddr, SocketAddr) = (argument("QUIET"), argument("BULK"));
    let (requests, bytes) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    for _ in 0..ASKERS {
        let (mut stream, requests) = (connect(quiet), Arc::clone(&requests));
        stream.set_nodelay(true).unwrap();
        thread::spawn(move || {
            loop {
                echo(&mut stream, &[5; 64]);
                requests.fetch_add(1, Relaxed);
            }
        });
    }
    let (mut stream, received) = (connect(bulk), Arc::clone(&bytes));
    thread::spawn(move || {
        let mut buffer = vec![0; 256 * 1024];
        while let Ok(read @ 1..) = stream.read(&mut buffer) {
            received.fetch_add(read as u64, Relaxed);
        }
        panic!("the bulk connection has ended");
    });
    say("connected");
    loop {
        assert_eq!(told(), "measure");
        let before = (requests.load(Relaxed), bytes.load(Relaxed));
        thread::sleep(WINDOW);
        let after = (requests.load(Relaxed), bytes.load(Relaxed));
        say(&format!("{} {}", after.0 - before.0, after.1 - before.1));
    }
}

//! Connections that flood one listener, and what another has of it.
//!
//! Who floods costs the machine something wherever the flood goes: its own CPU time, and the kernel's. So rounds with the flood at a
//! listener take turns with rounds in which the same client floods a closed port just as fast, and each round is compared
//! with the one beside it. Who is first takes turns, so that a drift of the machine meets all. What counts is the median
//! of the ratios.
//!
//! Two listeners are flooded. One has a limit of new connections (ListenerPolicy), which is what there is against floods: what it refuses
//! costs next to nothing. The other takes all: each connection is then one to the endpoint as well, and a machine whose CPUs are busy
//! has so much less for others (some 150 µs for each, of which the endpoint has a third, where both share a machine), so that more of them
//! leave others less, whoever forwards. The client opens so many connections a second, and no more.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use vipgate_lab::Lab;
use vipgate_planner::Rate;
use vipgate_speaker::host::raise_open_files;
use vipgate_speaker::proxy::{ListenerCounters, ResetReason};

use crate::child;
use crate::helper::{Helper, argument, say, told};
use crate::rig::{Backend, SOON, apply, at, connect, echo, listener, proxy, set, share};
use crate::tls::counters_of;

/// One measurement.
const WINDOW: Duration = Duration::from_millis(700);
/// Between two, for what is under way to end.
const PAUSE: Duration = Duration::from_millis(100);
/// Short requests at once.
const ASKERS: usize = 4;
/// Which listener is flooded, with how many connections a second, and what part of what they have others keep
/// at least.
const FLOODS: [(&str, u64, f64); 3] =
    [("limited", 1000, 0.95), ("open", 500, 0.95), ("open", 1000, 0.85)];
/// Of the limited listener, a second.
const TAKEN: u32 = 20;

#[test]
#[ignore = "five minutes, a release build, and a machine with nothing else to do: `make figures`"]
fn figures_a_flood_of_one_listener_leaves_another_what_it_has() {
    child::run("flood::child_flood");
}

#[test]
#[ignore = "run by figures_a_flood_of_one_listener_leaves_another_what_it_has in a process of its own"]
fn child_flood() {
    let lab = Lab::new("flood").unwrap();
    let host = lab.node("host").unwrap();
    // A connection that is over keeps its port for a minute. The clients of a flood are other hosts, with ports of
    // their own; here the kernel would search longer and longer for one that is free, on both sides of the proxy.
    host.sysctl("net.ipv4.tcp_max_tw_buckets", "500").unwrap();
    host.enter(compare);
}

fn compare() {
    let rounds = std::env::var("FLOOD_ROUNDS").map_or(30, |text| text.parse().unwrap());
    let (limited, open) = (at("127.36.46.1:7000"), at("127.36.46.1:7003"));
    let closed = at("127.36.46.9:7000");
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
            to("open", open, servers[0]),
            set(to("limited", limited, servers[0]), |settings| {
                settings.rate = Some(Rate { per_second: TAKEN, burst: TAKEN });
            }),
            to("quiet", quiet, servers[1]),
            to("bulk", bulk, servers[2]),
        ],
    );
    let mut flood = Helper::start("flood::child_flooder", &[]);
    let places = [("QUIET", quiet.to_string()), ("BULK", bulk.to_string())];
    let mut other = Helper::start("flood::child_other", &places);
    assert_eq!(other.hear(SOON), "connected");

    let mut measure = |target: SocketAddr, rate: u64, what: &str| {
        flood.tell(&format!("{target} {rate}"));
        other.tell(what);
        let measured = other.hear(SOON);
        flood.tell("stop");
        let opened: u64 = flood.hear(SOON).parse().unwrap();
        let expected = rate as f64 * (WINDOW + PAUSE).as_secs_f64();
        assert!(opened as f64 > 0.8 * expected, "only {opened} connections were tried");
        thread::sleep(PAUSE);
        measured.parse::<f64>().unwrap()
    };
    let mut lost = Vec::new();
    for (flooded, rate, least) in FLOODS {
        let target = if flooded == "open" { open } else { limited };
        for what in USES {
            // Once for the caches.
            measure(target, rate, what);
            let before = counters_of(&proxy, flooded);
            let mut ratios: Vec<f64> = (0..rounds)
                .map(|round| match round % 2 {
                    0 => measure(target, rate, what) / measure(closed, rate, what),
                    _ => {
                        let without = measure(closed, rate, what);
                        measure(target, rate, what) / without
                    }
                })
                .collect();
            let after = counters_of(&proxy, flooded);
            let accepted = (after.accepted - before.accepted) as f64 / rounds as f64;
            assert!(
                accepted > 0.8 * rate as f64 * WINDOW.as_secs_f64(),
                "the flood came: {after:?}"
            );
            let reset = |counted: &ListenerCounters| {
                counted.resets.get(&ResetReason::TooFast).copied().unwrap_or_default()
            };
            let refused = (reset(&after) - reset(&before)) as f64 / rounds as f64 / accepted;
            assert!(if flooded == "limited" { refused > 0.9 } else { refused == 0.0 }, "{after:?}");
            ratios.sort_by(f64::total_cmp);
            let [low, median, high] = [1, 2, 3].map(|quarter| ratios[quarter * ratios.len() / 4]);
            let line = format!(
                "{rate} connections a second at a listener that is {flooded}: {what} of another are {median:.3} of what they are \
                 with a closed port, half of all rounds in {low:.3} to {high:.3}"
            );
            println!("{line}");
            if median < least {
                lost.push(line);
            }
        }
    }
    assert!(lost.is_empty(), "{lost:?}");
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
        let order = told();
        let (target, rate) = order.split_once(' ').unwrap();
        let (target, rate) = (target.parse().unwrap(), rate.parse().unwrap());
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let flooding = thread::spawn(move || flood(target, rate, &stopped));
        assert_eq!(told(), "stop");
        stop.store(true, Relaxed);
        say(&flooding.join().unwrap().to_string());
    }
}

fn flood(target: SocketAddr, rate: f64, stop: &AtomicBool) -> u64 {
    let (begin, mut opened) = (Instant::now(), 0);
    while !stop.load(Relaxed) {
        let due = (begin.elapsed().as_secs_f64() * rate) as u64;
        while opened < due {
            // Refused, at a closed port.
            drop(TcpStream::connect(target));
            opened += 1;
        }
        thread::sleep(Duration::from_micros(500));
    }
    opened
}

/// What another listener is used for meanwhile; one after the other, as they would take the CPUs from each other.
const USES: [&str; 2] = ["requests", "bytes"];

/// Short requests, or bulk data, as fast as they go, and how much there is in a window.
#[test]
#[ignore = "a helper"]
fn child_other() {
    let (quiet, bulk): (SocketAddr, SocketAddr) = (argument("QUIET"), argument("BULK"));
    let uses = [(); 2].map(|()| Arc::new(Use::default()));
    for _ in 0..ASKERS {
        let (mut stream, requests) = (connect(quiet), Arc::clone(&uses[0]));
        stream.set_nodelay(true).unwrap();
        thread::spawn(move || {
            loop {
                requests.wait();
                echo(&mut stream, &[5; 64]);
                requests.done.fetch_add(1, Relaxed);
            }
        });
    }
    let (mut stream, received) = (connect(bulk), Arc::clone(&uses[1]));
    thread::spawn(move || {
        let mut buffer = vec![0; 256 * 1024];
        loop {
            received.wait();
            let read = stream.read(&mut buffer).unwrap();
            assert!(read > 0, "the bulk connection has ended");
            received.done.fetch_add(read as u64, Relaxed);
        }
    });
    say("connected");
    loop {
        let name = told();
        let one = USES.iter().zip(&uses).find(|(each, _)| **each == name).unwrap().1;
        one.set(true);
        thread::sleep(PAUSE);
        let before = one.done.load(Relaxed);
        thread::sleep(WINDOW);
        say(&(one.done.load(Relaxed) - before).to_string());
        one.set(false);
    }
}

/// Something that goes on while it is wanted.
#[derive(Default)]
struct Use {
    wanted: Mutex<bool>,
    changed: Condvar,
    done: AtomicU64,
}

impl Use {
    fn set(&self, wanted: bool) {
        *self.wanted.lock().unwrap() = wanted;
        self.changed.notify_all();
    }

    fn wait(&self) {
        let wanted = self.wanted.lock().unwrap();
        drop(self.changed.wait_while(wanted, |wanted| !*wanted).unwrap());
    }
}

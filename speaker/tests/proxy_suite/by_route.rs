//! What is counted by route: there while it is somebody's, and in the listener's sum for ever.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use vipgate_planner::{Listener, Service, Target};
use vipgate_speaker::proxy::{ListenerCounters, Proxy, ResetReason};

use crate::rig::{
    Backend, apply, assert_rejected, at, connect, counters, echo, eventually, listener, proxy,
    route, share,
};
use crate::tls::{counters_of, get, http};

/// The names of the routes that have counters, each with these.
fn routes(proxy: &Proxy) -> Vec<(String, ListenerCounters)> {
    let routes = proxy.snapshot().routes;
    routes.into_iter().map(|((_, route), counted)| (route.key.name.clone(), counted)).collect()
}

fn of(proxy: &Proxy, name: &str) -> ListenerCounters {
    routes(proxy).into_iter().find(|(route, _)| route == name).expect("it has counters").1
}

/// The same listener with another route that goes before its own, which stays attached.
fn superseded(listener: &Listener, name: &str, backends: &[std::net::SocketAddr]) -> Listener {
    let target = Target { route: route(name), shares: vec![share(1, backends)] };
    let mut other = listener.clone();
    other.service = Service::Tcp(Some(Arc::new(target)));
    other.attached.insert(route(name));
    other
}

#[test]
fn a_route_that_goes_leaves_what_it_counted_to_the_listener() {
    let backend = Backend::echo(at("127.34.20.2:7000"));
    let proxy = proxy();
    let bind = at("127.34.20.1:7000");
    let first = listener("l", bind, vec![share(1, &[backend.address])]);
    apply(&proxy, std::slice::from_ref(&first));
    let mut client = connect(bind);
    echo(&mut client, b"12345");
    eventually("both directions are counted", || of(&proxy, "r").bytes_out == 5);
    let r = of(&proxy, "r");
    assert_eq!((r.accepted, r.open, r.bytes_in, r.resets.len()), (1, 1, 5, 0));
    assert_eq!(r.connects.counts.iter().sum::<u64>(), 1);
    assert_eq!(counters(&proxy), r, "it has no other");

    apply(&proxy, &[superseded(&first, "s", &[])]);
    assert_rejected(bind);
    eventually("the reset is counted", || of(&proxy, "s").resets.len() == 1);
    let s = of(&proxy, "s");
    assert_eq!((s.accepted, s.resets), (1, [(ResetReason::NoEndpoint, 1)].into()));
    echo(&mut client, b"67890");
    eventually("it goes on counting", || of(&proxy, "r").bytes_out == 10);
    assert_eq!(of(&proxy, "r").open, 1);
    let sum = counters(&proxy);
    assert_eq!((sum.accepted, sum.open, sum.bytes_in, sum.bytes_out), (2, 1, 10, 10));

    drop(client);
    eventually("nobody has the route", || routes(&proxy).len() == 1);
    assert_eq!(routes(&proxy)[0].0, "s");
    assert_eq!(counters(&proxy), ListenerCounters { open: 0, ..sum });
}

/// Whoever reads them while routes come and go never sees less than before.
#[test]
fn the_sum_of_a_listener_only_grows() {
    const ROUNDS: u64 = 200;
    let backend = Backend::echo(at("127.34.21.2:7000"));
    let proxy = Arc::new(proxy());
    let bind = at("127.34.21.1:7000");
    let base = listener("l", bind, vec![share(1, &[backend.address])]);
    apply(&proxy, std::slice::from_ref(&base));
    let stop = Arc::new(AtomicBool::new(false));
    let reader = {
        let (proxy, stop) = (Arc::clone(&proxy), Arc::clone(&stop));
        thread::spawn(move || {
            let mut before = counters(&proxy);
            while !stop.load(Ordering::SeqCst) {
                let now = counters(&proxy);
                let grew = now.accepted >= before.accepted
                    && now.bytes_in >= before.bytes_in
                    && now.bytes_out >= before.bytes_out
                    && now.connects.sum >= before.connects.sum;
                assert!(grew, "{before:?}, then {now:?}");
                before = now;
            }
        })
    };
    for round in 0..ROUNDS {
        apply(&proxy, &[superseded(&base, &format!("r{}", round % 7), &[backend.address])]);
        echo(&mut connect(bind), b"hello");
    }
    eventually("all are gone", || counters(&proxy).open == 0);
    eventually("one route is left", || routes(&proxy).len() == 1);
    stop.store(true, Ordering::SeqCst);
    reader.join().unwrap();
    let sum = counters(&proxy);
    assert_eq!((sum.accepted, sum.bytes_in, sum.bytes_out), (ROUNDS, 5 * ROUNDS, 5 * ROUNDS));
}

/// Where the client has to say what it means, the route comes later than the listener.
#[test]
fn a_connection_counts_on_the_route_that_its_name_leads_to() {
    let backend = Backend::echo(at("127.34.22.2:7000"));
    let proxy = proxy();
    let bind = at("127.34.22.1:7000");
    apply(
        &proxy,
        &[
            http("a", bind, "a.example.com", backend.address),
            http("b", bind, "b.example.com", backend.address),
        ],
    );
    let mut stream = connect(bind);
    stream.write_all(&get("a.example.com")).unwrap();
    stream.read_exact(&mut [0; 8]).unwrap();
    let snapshot = proxy.snapshot();
    let of = |name: &str| {
        let mut routes = snapshot.routes.iter().filter(|((id, _), _)| id.name == name);
        routes.next().expect("its route").1.clone()
    };
    assert_eq!((of("a").accepted, of("a").open, of("a").resets.len()), (1, 1, 0));
    assert_eq!(of("b"), ListenerCounters::default());
    let listener = counters_of(&proxy, "a");
    assert_eq!((listener.accepted, listener.open), (1, 1));
    assert_eq!(listener.bytes_in, of("a").bytes_in);
}

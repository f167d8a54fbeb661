//! What a change of configuration does to listeners and connections, and what it does not.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::{ProptestConfig, Strategy};
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use vipgate_planner::{Listener, Service, Target};
use vipgate_speaker::proxy::{BindError, ResetReason};

use crate::rig::{
    Backend, absent, apply, assert_end, assert_rejected, assert_reset, at, connect, counters, echo,
    eventually, listener, proxy, read_all, route, share,
};

/// Connections of two routes; only those of the route that goes away are closed, whatever else
/// changes before.
#[test]
fn a_thousand_changes_close_nothing_and_a_detached_route_only_its_own() {
    let one = Backend::echo(at("127.34.0.2:7000"));
    let two = Backend::echo(at("127.34.0.3:7000"));
    let proxy = proxy();
    let bind = at("127.34.0.1:7000");
    let with_target = |name: &str, shares| {
        let mut listener = listener("l", bind, vec![]);
        listener.service = Service::Tcp(Some(Arc::new(Target { route: route(name), shares })));
        listener.attached = [route("one"), route("two")].into();
        listener
    };
    apply(&proxy, &[with_target("one", vec![share(1, &[one.address])])]);
    let mut of_one: Vec<_> = (0..250).map(|_| connect(bind)).collect();
    for client in &mut of_one {
        echo(client, b"one");
    }
    apply(&proxy, &[with_target("two", vec![share(1, &[two.address])])]);
    let mut of_two: Vec<_> = (0..250).map(|_| connect(bind)).collect();
    for client in &mut of_two {
        echo(client, b"two");
    }
    assert_eq!((one.accepted(), two.accepted()), (250, 250));

    let mut runner = TestRunner::new_with_rng(
        ProptestConfig::default(),
        proptest::test_runner::TestRng::deterministic_rng(
            proptest::test_runner::RngAlgorithm::ChaCha,
        ),
    );
    let changes = proptest::collection::vec((0_u32..5, 0_usize..3), 0..4);
    for round in 0..1000_usize {
        let shares = changes.new_tree(&mut runner).unwrap().current();
        let pool = [one.address, two.address, at("127.34.0.9:7000")];
        let shares = shares.into_iter().map(|(weight, n)| share(weight, &pool[..n])).collect();
        let mut next = with_target(if round % 3 == 0 { "two" } else { "one" }, shares);
        if round % 7 == 0 {
            next.service = Service::Tcp(None);
        }
        let mut others = vec![next];
        if round % 5 == 0 {
            others.push(listener("other", at("127.34.0.1:7001"), vec![]));
        }
        apply(&proxy, &others);
        let turn = round % 250;
        echo(&mut of_one[turn], &round.to_be_bytes());
        echo(&mut of_two[turn], &round.to_be_bytes());
    }
    assert_eq!(counters(&proxy).open, 500);

    let mut only_two = with_target("two", vec![share(1, &[two.address])]);
    only_two.attached.remove(&route("one"));
    apply(&proxy, &[only_two]);
    for client in &mut of_one {
        assert_reset(client);
    }
    for client in &mut of_two {
        echo(client, b"still here");
    }
    let counters = counters(&proxy);
    assert_eq!(counters.open, 250);
    assert_eq!(counters.resets[&ResetReason::RouteDetached], 250);

    apply(&proxy, &[]);
    for client in &mut of_two {
        assert_reset(client);
    }
    assert!(TcpStream::connect(bind).is_err());
    eventually("nothing is open", || proxy.snapshot().open == 0);
}

/// The table is in force when `apply` returns, for every worker.
#[test]
fn new_connections_go_by_the_new_table_at_once() {
    let a = Backend::says(at("127.34.1.2:7000"), "a");
    let b = Backend::says(at("127.34.1.3:7000"), "b");
    let proxy = proxy();
    let bind = at("127.34.1.1:7000");
    for round in 0..300 {
        let (backend, text) = if round % 2 == 0 { (&a, b"a") } else { (&b, b"b") };
        apply(&proxy, &[listener("l", bind, vec![share(1, &[backend.address])])]);
        assert_eq!(read_all(&mut connect(bind)).unwrap(), text);
    }
}

#[test]
fn applying_the_same_changes_nothing() {
    let backend = Backend::echo(at("127.34.2.2:7000"));
    let proxy = proxy();
    let bind = at("127.34.2.1:7000");
    let listeners = [listener("l", bind, vec![share(1, &[backend.address])])];
    apply(&proxy, &listeners);
    let mut client = connect(bind);
    echo(&mut client, b"before");
    let inode = listening_inode(bind);
    let before = proxy.snapshot();
    for _ in 0..100 {
        apply(&proxy, &listeners);
    }
    assert_eq!(listening_inode(bind), inode);
    assert_eq!(proxy.snapshot(), before);
    echo(&mut client, b"after");
}

/// A listener under a new name has the very socket of the old one: clients in its accept queue
/// lose nothing. The old listener's connections end with it.
#[test]
fn a_renamed_listener_keeps_the_socket() {
    let backend = Backend::echo(at("127.34.3.2:7000"));
    let proxy = proxy();
    let bind = at("127.34.3.1:7000");
    apply(&proxy, &[listener("old", bind, vec![share(1, &[backend.address])])]);
    let mut client = connect(bind);
    echo(&mut client, b"old");
    let inode = listening_inode(bind);
    apply(&proxy, &[listener("new", bind, vec![share(1, &[backend.address])])]);
    assert_eq!(listening_inode(bind), inode);
    assert_reset(&mut client);
    echo(&mut connect(bind), b"new");
}

/// The port of a listener changes: it is the same listener, so its connections go on.
#[test]
fn a_listener_that_moves_keeps_its_connections() {
    let backend = Backend::echo(at("127.34.4.2:7000"));
    let proxy = proxy();
    let (old, new) = (at("127.34.4.1:7000"), at("127.34.4.1:7001"));
    apply(&proxy, &[listener("l", old, vec![share(1, &[backend.address])])]);
    let mut client = connect(old);
    echo(&mut client, b"before");
    apply(&proxy, &[listener("l", new, vec![share(1, &[backend.address])])]);
    echo(&mut client, b"after");
    echo(&mut connect(new), b"new");
    assert!(TcpStream::connect(old).is_err());
}

#[test]
fn a_closed_port_can_be_opened_again_at_once() {
    let backend = Backend::echo(at("127.34.5.2:7000"));
    let proxy = proxy();
    let bind = at("127.34.5.1:7000");
    for _ in 0..50 {
        apply(&proxy, &[listener("l", bind, vec![share(1, &[backend.address])])]);
        echo(&mut connect(bind), b"open");
        apply(&proxy, &[]);
        assert!(TcpStream::connect(bind).is_err());
    }
}

#[test]
fn the_same_port_on_two_addresses() {
    let a = Backend::says(at("127.34.6.3:7000"), "a");
    let b = Backend::says(at("127.34.6.4:7000"), "b");
    let proxy = proxy();
    let (one, two) = (at("127.34.6.1:7000"), at("127.34.6.2:7000"));
    apply(
        &proxy,
        &[
            listener("l", one, vec![share(1, &[a.address])]),
            listener("l", two, vec![share(1, &[b.address])]),
        ],
    );
    assert_eq!(read_all(&mut connect(one)).unwrap(), b"a");
    assert_eq!(read_all(&mut connect(two)).unwrap(), b"b");
}

#[test]
fn an_address_that_is_not_there_yet_can_be_bound() {
    let proxy = proxy();
    let [four, six] = absent();
    for absent in [four, six] {
        assert!(TcpListener::bind(absent).is_err(), "the address is on this host");
    }
    apply(&proxy, &[listener("four", four, vec![]), listener("six", six, vec![])]);
    assert!(listening_inode(four).is_some());
}

#[test]
fn a_port_in_use_is_an_error_that_names_the_holder_and_heals() {
    let backend = Backend::echo(at("127.34.7.2:7000"));
    let (bind, fine) = (at("127.34.7.1:7000"), at("127.34.7.1:7001"));
    let squatter = TcpListener::bind(bind).unwrap();
    let proxy = proxy();
    let listeners = [
        listener("busy", bind, vec![share(1, &[backend.address])]),
        listener("fine", fine, vec![share(1, &[backend.address])]),
    ];
    let outcomes = proxy.apply(&listeners);
    let error = outcomes[&listeners[0].id].clone().unwrap_err();
    assert!(matches!(error, BindError::InUse { holder: Some(_), .. }), "{error:?}");
    let text = error.to_string();
    let us = format!("(pid {}), which listens on {bind}", std::process::id());
    assert!(text.starts_with(&format!("{bind} is in use by ")) && text.contains(&us), "{text}");
    assert_eq!(outcomes[&listeners[1].id], Ok(fine));
    echo(&mut connect(fine), b"not harmed");

    drop(squatter);
    apply(&proxy, &listeners);
    echo(&mut connect(bind), b"healed");
}

#[test]
fn a_wildcard_holder_is_named() {
    let squatter = TcpListener::bind("0.0.0.0:0").unwrap();
    let wildcard = squatter.local_addr().unwrap();
    let proxy = proxy();
    let bind = SocketAddr::new(at("127.34.8.1:7000").ip(), wildcard.port());
    let wanted = listener("l", bind, vec![]);
    let error = proxy.apply(std::slice::from_ref(&wanted))[&wanted.id].clone().unwrap_err();
    assert!(error.to_string().contains(&format!("listens on {wildcard}")), "{error}");
    drop(squatter);
}

#[test]
fn a_port_that_somebody_has_on_all_addresses_is_served_at_another_one() {
    for (wildcard, absent) in
        [("0.0.0.0:0", absent()[0]), ("[::]:0", absent()[0]), ("[::]:0", absent()[1])]
    {
        let holder = TcpListener::bind(wildcard).unwrap();
        let held = holder.local_addr().unwrap();
        let bind = SocketAddr::new(absent.ip(), held.port());
        let wanted = listener("l", bind, vec![]);
        let proxy = proxy();
        proxy.allow_redirects(true);
        let apply = || proxy.apply(std::slice::from_ref(&wanted))[&wanted.id].clone();
        let served = apply().unwrap();
        assert!(served.ip() == bind.ip() && served.port() != bind.port(), "{served}");
        assert_eq!(apply(), Ok(served), "it stays");

        // It turns out that connections cannot be led there.
        proxy.allow_redirects(false);
        let error = apply().unwrap_err().to_string();
        assert!(error.contains(&format!("{bind} is in use by")), "{error}");
        assert!(error.contains(&format!("listens on {held}")), "{error}");
        drop(holder);
        assert_eq!(apply(), Ok(bind));
    }
}

/// Only one on all addresses leaves room for another port to mean something.
#[test]
fn a_port_that_somebody_has_on_that_address_is_not_served() {
    let wanted = listener("l", absent()[0], vec![]);
    let (holder, proxy) = (proxy(), proxy());
    apply(&holder, std::slice::from_ref(&wanted));
    proxy.allow_redirects(true);
    let outcome = proxy.apply(std::slice::from_ref(&wanted))[&wanted.id].clone();
    assert!(matches!(outcome, Err(BindError::InUse { holder: Some(_), .. })), "{outcome:?}");
}

#[test]
fn two_listeners_of_one_plan_on_one_socket() {
    let proxy = proxy();
    let bind = at("127.34.9.1:7000");
    let (first, second) = (listener("a", bind, vec![]), listener("b", bind, vec![]));
    let outcomes = proxy.apply(&[first.clone(), second.clone()]);
    assert_eq!(outcomes[&first.id], Ok(bind));
    assert_eq!(
        outcomes[&second.id],
        Err(BindError::SamePlan { bind, by: Box::new(first.id.clone()) })
    );
    // When the first goes, the second takes its place.
    apply(&proxy, std::slice::from_ref(&second));
}

/// A bind that fails does not close the connections the listener has.
#[test]
fn a_listener_that_cannot_move_keeps_its_connections() {
    let backend = Backend::echo(at("127.34.10.2:7000"));
    let (old, taken) = (at("127.34.10.1:7000"), at("127.34.10.1:7001"));
    let _squatter = TcpListener::bind(taken).unwrap();
    let proxy = proxy();
    apply(&proxy, &[listener("l", old, vec![share(1, &[backend.address])])]);
    let mut client = connect(old);
    echo(&mut client, b"before");
    let moved = listener("l", taken, vec![share(1, &[backend.address])]);
    assert!(proxy.apply(std::slice::from_ref(&moved))[&moved.id].is_err());
    std::thread::sleep(Duration::from_millis(50));
    echo(&mut client, b"after");
}

/// A gone endpoint does not take its connections with it.
#[test]
fn an_endpoint_that_goes_keeps_its_connections() {
    let backend = Backend::echo(at("127.34.11.2:7000"));
    let proxy = proxy();
    let bind = at("127.34.11.1:7000");
    apply(&proxy, &[listener("l", bind, vec![share(1, &[backend.address])])]);
    let mut client = connect(bind);
    echo(&mut client, b"before");
    apply(&proxy, &[listener("l", bind, vec![share(1, &[])])]);
    assert_rejected(bind);
    echo(&mut client, b"after");
    client.shutdown(std::net::Shutdown::Write).unwrap();
    assert_end(&mut client);
    // Once the last worker has gone over to the table without it.
    eventually("nobody forwards to it", || proxy.snapshot().endpoints.is_empty());
}

/// Connections are spread over the workers, not heaped on the first.
#[test]
fn many_listeners_come_and_go() {
    let backend = Backend::echo(at("127.34.12.2:7000"));
    let proxy = proxy();
    let listeners: Vec<Listener> = (0..200)
        .map(|port| {
            let bind = {
                let first = at("127.34.12.1:7000");
                SocketAddr::new(first.ip(), first.port() + port)
            };
            listener(&format!("l{port}"), bind, vec![share(1, &[backend.address])])
        })
        .collect();
    for window in [0..200, 50..150, 0..100, 100..200, 0..200] {
        apply(&proxy, &listeners[window.clone()]);
        for listener in &listeners[window] {
            echo(&mut connect(listener.bind), b"hello");
        }
    }
    assert_eq!(proxy.snapshot().listeners.len(), 200);
}

/// The inode of the socket that listens there.
fn listening_inode(bind: SocketAddr) -> Option<String> {
    let std::net::IpAddr::V4(ip) = bind.ip() else { unreachable!("IPv4 only") };
    let local = format!("{:08X}:{:04X}", u32::from_ne_bytes(ip.octets()), bind.port());
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    table
        .lines()
        .map(|line| line.split_ascii_whitespace().collect::<Vec<_>>())
        .find(|fields| fields[1] == local && fields[3] == "0A")
        .map(|fields| fields[9].to_owned())
}

//! The end of the engine.

use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use vipgate_speaker::proxy::{BindError, ResetReason};

use crate::rig::{
    Backend, apply, assert_end, assert_reset, at, connect, counters, echo, eventually, listener,
    proxy, share,
};

#[test]
fn connections_finish_and_nothing_new_is_accepted() {
    let backend = Backend::echo(at("127.35.0.2:7000"));
    let proxy = proxy();
    let bind = at("127.35.0.1:7000");
    let listeners = [listener("l", bind, vec![share(1, &[backend.address])])];
    apply(&proxy, &listeners);
    let mut clients: Vec<_> = (0..20).map(|_| connect(bind)).collect();
    let begin = Instant::now();
    thread::scope(|scope| {
        let drained = scope.spawn(|| proxy.drain(Duration::from_secs(10)));
        eventually("the listener is closed", || TcpStream::connect(bind).is_err());
        for client in &mut clients {
            echo(client, b"going on");
            client.shutdown(Shutdown::Write).unwrap();
            assert_end(client);
        }
        assert_eq!(drained.join().unwrap(), 0);
    });
    assert!(begin.elapsed() < Duration::from_secs(5), "waits no longer than needed");
    let refused = proxy.apply(&listeners);
    assert_eq!(refused[&listeners[0].id], Err(BindError::Draining { bind }));
}

#[test]
fn at_the_deadline_the_rest_is_reset() {
    let backend = Backend::echo(at("127.35.1.2:7000"));
    let proxy = proxy();
    let bind = at("127.35.1.1:7000");
    apply(&proxy, &[listener("l", bind, vec![share(1, &[backend.address])])]);
    let mut clients: Vec<_> = (0..20).map(|_| connect(bind)).collect();
    for client in &mut clients {
        echo(client, b"here");
    }
    let begin = Instant::now();
    assert_eq!(proxy.drain(Duration::from_millis(300)), 20);
    let took = begin.elapsed();
    assert!(took >= Duration::from_millis(300) && took < Duration::from_secs(2), "{took:?}");
    for client in &mut clients {
        assert_reset(client);
    }
    assert_eq!(counters(&proxy).resets[&ResetReason::DrainDeadline], 20);
}

/// Clients whose connection the kernel had completed before the drain are served, not reset.
#[test]
fn the_accept_queue_is_not_lost() {
    let backend = Backend::echo(at("127.35.2.2:7000"));
    for _ in 0..10 {
        let proxy = proxy();
        let bind = at("127.35.2.1:7000");
        apply(&proxy, &[listener("l", bind, vec![share(1, &[backend.address])])]);
        let mut clients: Vec<_> = (0..50).map(|_| connect(bind)).collect();
        thread::scope(|scope| {
            scope.spawn(|| proxy.drain(Duration::from_secs(10)));
            for client in &mut clients {
                echo(client, b"served");
                client.shutdown(Shutdown::Write).unwrap();
                assert_end(client);
            }
        });
    }
}

#[test]
fn shutdown_and_drop_end_at_once() {
    let backend = Backend::echo(at("127.35.3.2:7000"));
    let bind = at("127.35.3.1:7000");
    for by_drop in [true, false] {
        let proxy = proxy();
        apply(&proxy, &[listener("l", bind, vec![share(1, &[backend.address])])]);
        let mut client = connect(bind);
        echo(&mut client, b"here");
        if by_drop {
            drop(proxy);
        } else {
            proxy.shutdown();
        }
        assert_reset(&mut client);
        assert!(TcpStream::connect(bind).is_err());
    }
}

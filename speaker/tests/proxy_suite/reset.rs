//! Resets stay resets and ends stay ends, in both directions.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::thread;
use std::time::{Duration, Instant};

use vipgate_planner::Service;

use vipgate_speaker::proxy::ResetReason;

use crate::rig::{
    Backend, SOON, apply, assert_end, assert_rejected, assert_reset, at, connect, counters, echo,
    eventually, listener, proxy, read_all, reset, share,
};

#[test]
fn a_reset_by_the_server_reaches_the_client_as_one() {
    let (backend, streams) = Backend::hands_over(at("127.32.0.2:7000"));
    let proxy = proxy();
    let bind = at("127.32.0.1:7000");
    apply(&proxy, &[listener("l", bind, vec![share(1, &[backend.address])])]);

    let mut ended = connect(bind);
    drop(streams.recv().unwrap());
    assert_end(&mut ended);

    let mut client = connect(bind);
    reset(streams.recv().unwrap());
    assert_reset(&mut client);
    eventually("counted", || {
        counters(&proxy).resets.get(&ResetReason::ByBackend).copied() == Some(1)
    });
}

#[test]
fn a_reset_by_the_client_reaches_the_server_as_one() {
    let (backend, streams) = Backend::hands_over(at("127.32.1.2:7000"));
    let proxy = proxy();
    let bind = at("127.32.1.1:7000");
    apply(&proxy, &[listener("l", bind, vec![share(1, &[backend.address])])]);

    let client = connect(bind);
    let mut server = streams.recv().unwrap();
    drop(client);
    assert_end(&mut server);

    let client = connect(bind);
    let mut server = streams.recv().unwrap();
    reset(client);
    assert_reset(&mut server);
    eventually("counted", || {
        counters(&proxy).resets.get(&ResetReason::ByClient).copied() == Some(1)
    });
}

/// What the server sent before it reset is delivered, though the client reads only later, and the
/// client still sees the reset.
#[test]
fn what_was_sent_before_a_reset_arrives() {
    const LENGTH: usize = 300_000;
    let (backend, streams) = Backend::hands_over(at("127.32.2.2:7000"));
    let proxy = proxy();
    let bind = at("127.32.2.1:7000");
    apply(&proxy, &[listener("l", bind, vec![share(1, &[backend.address])])]);
    for _ in 0..10 {
        let mut client = connect(bind);
        let mut server = streams.recv().unwrap();
        let server = thread::spawn(move || {
            server.write_all(&[7; LENGTH]).unwrap();
            // What is on its way to the proxy would be lost by the server's own reset.
            eventually("all sent", || rig_unsent(&server) == 0);
            reset(server);
        });
        thread::sleep(Duration::from_millis(20));
        let mut received = 0;
        let mut buffer = vec![0; 16 * 1024];
        let error = loop {
            match client.read(&mut buffer) {
                Ok(0) => panic!("an end instead of a reset after {received} bytes"),
                Ok(read) => received += read,
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        assert_eq!(received, LENGTH);
        server.join().unwrap();
    }
}

/// Bytes that the peer has not acknowledged, from `ss`' source of truth.
fn rig_unsent(stream: &std::net::TcpStream) -> u64 {
    let local = stream.local_addr().unwrap();
    let peer = stream.peer_addr().unwrap();
    let hex = |address: std::net::SocketAddr| match address.ip() {
        std::net::IpAddr::V4(ip) => {
            format!("{:08X}:{:04X}", u32::from_ne_bytes(ip.octets()), address.port())
        }
        std::net::IpAddr::V6(_) => unreachable!("IPv4 only"),
    };
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let line = table
        .lines()
        .find(|line| line.contains(&format!("{} {}", hex(local), hex(peer))))
        .expect("the connection is in the table");
    let queues = line.split_ascii_whitespace().nth(4).unwrap();
    u64::from_str_radix(queues.split(':').next().unwrap(), 16).unwrap()
}

/// The server goes away while the client, which never reads, has the proxy's window full. The
/// connection must not stay for ever.
#[test]
fn a_reset_gets_through_to_a_client_that_does_not_read() {
    let (backend, streams) = Backend::hands_over(at("127.32.3.2:7000"));
    let proxy = crate::rig::proxy_with(|config| {
        config.reset_patience = Duration::from_millis(300);
    });
    let bind = at("127.32.3.1:7000");
    apply(&proxy, &[listener("l", bind, vec![share(1, &[backend.address])])]);
    let client = connect(bind);
    let mut server = streams.recv().unwrap();
    server.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
    while server.write_all(&[0; 65536]).is_ok() {}
    reset(server);
    let begin = Instant::now();
    eventually("closed", || counters(&proxy).open == 0);
    assert!(begin.elapsed() < Duration::from_secs(3));
    assert_eq!(counters(&proxy).resets[&ResetReason::ByBackend], 1);
    drop(client);
}

/// An answer that a server gives before it refuses the rest of the request (and resets, because it
/// did not read all) still reaches the client.
#[test]
fn an_early_answer_survives_the_reset_that_follows() {
    let backend = Backend::new(at("127.32.4.2:7000"), |mut stream| {
        let mut head = [0; 10];
        stream.read_exact(&mut head).unwrap();
        stream.write_all(b"413 too large").unwrap();
        thread::sleep(Duration::from_millis(30));
        // Closing with unread bytes resets.
    });
    let proxy = proxy();
    let bind = at("127.32.4.1:7000");
    apply(&proxy, &[listener("l", bind, vec![share(1, &[backend.address])])]);
    for _ in 0..10 {
        let mut client = connect(bind);
        let mut writer = client.try_clone().unwrap();
        let sender = thread::spawn(move || while writer.write_all(&[1; 32 * 1024]).is_ok() {});
        let mut answer = [0; 13];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"413 too large");
        sender.join().unwrap();
    }
    eventually("all are closed", || counters(&proxy).open == 0);
}

#[test]
fn without_a_route_a_connection_is_accepted_and_reset() {
    let proxy = proxy();
    let bind = at("127.32.5.1:7000");
    let mut listener = listener("l", bind, vec![]);
    listener.service = Service::Tcp(None);
    listener.attached.clear();
    apply(&proxy, &[listener]);
    for _ in 0..20 {
        assert_rejected(bind);
    }
    assert_eq!(counters(&proxy).resets[&ResetReason::NoRoute], 20);
}

#[test]
fn without_an_endpoint_a_connection_is_accepted_and_reset_at_once() {
    let proxy = proxy();
    let (empty, zero) = (at("127.32.6.1:7000"), at("127.32.6.1:7001"));
    let unused = at("127.32.6.2:7000");
    apply(
        &proxy,
        &[
            listener("empty", empty, vec![share(1, &[])]),
            listener("zero", zero, vec![share(0, &[unused])]),
        ],
    );
    for bind in [empty, zero] {
        let begin = Instant::now();
        assert_rejected(bind);
        assert!(begin.elapsed() < Duration::from_secs(1));
    }
    for counters in proxy.snapshot().listeners.values() {
        assert_eq!(counters.resets[&ResetReason::NoEndpoint], 1);
    }
}

/// The client is gone before the backend answers: nothing is left behind.
#[test]
fn a_client_that_resets_while_connecting() {
    let hole = at("127.32.7.2:7000");
    let _hole = crate::rig::black_hole(hole);
    let proxy = proxy();
    let bind = at("127.32.7.1:7000");
    apply(&proxy, &[listener("l", bind, vec![share(1, &[hole])])]);
    let client = connect(bind);
    eventually("accepted", || counters(&proxy).open == 1);
    let begin = Instant::now();
    reset(client);
    eventually("closed", || counters(&proxy).open == 0);
    assert!(begin.elapsed() < Duration::from_millis(900), "not because of the time-out");
    assert_eq!(counters(&proxy).resets[&ResetReason::ByClient], 1);
}

/// A client that sends and ends while the backend is still being connected is not gone.
#[test]
fn a_client_that_ends_while_connecting_is_served() {
    let hole = at("127.32.8.2:7000");
    let _hole = crate::rig::black_hole(hole);
    let backend = Backend::echo(at("127.32.8.3:7000"));
    let proxy = proxy();
    let bind = at("127.32.8.1:7000");
    apply(&proxy, &[listener("l", bind, vec![share(1, &[hole, backend.address])])]);
    for _ in 0..4 {
        let mut client = connect(bind);
        client.write_all(b"early").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_all(&mut client).unwrap(), b"early");
    }
}

/// One reset connection does nothing to the others of the worker.
#[test]
fn a_reset_storm_leaves_the_others_alone() {
    let backend = Backend::echo(at("127.32.9.2:7000"));
    let (resetting, streams) = Backend::hands_over(at("127.32.9.3:7000"));
    let proxy = proxy();
    let (bind, storm) = (at("127.32.9.1:7000"), at("127.32.9.1:7001"));
    apply(
        &proxy,
        &[
            listener("calm", bind, vec![share(1, &[backend.address])]),
            listener("storm", storm, vec![share(1, &[resetting.address])]),
        ],
    );
    let mut calm: Vec<_> = (0..8).map(|_| connect(bind)).collect();
    for round in 0..300_u32 {
        let mut client = connect(storm);
        let server = streams.recv_timeout(SOON).unwrap();
        if round % 2 == 0 {
            reset(server);
            assert_reset(&mut client);
        } else {
            reset(client);
        }
        echo(&mut calm[round as usize % 8], &round.to_be_bytes());
    }
    assert_eq!(proxy.snapshot().panics, 0);
}

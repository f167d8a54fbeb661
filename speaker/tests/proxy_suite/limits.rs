//! Bounds: memory, files, time at rest.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::net::Shutdown;
use std::thread;
use std::time::{Duration, Instant};

use crate::child;
use crate::rig::{
    Backend, SOON, apply, at, connect, counters, echo, eventually, listener, proxy, proxy_with,
    read_all, reset, share, try_connect,
};

/// A receiver that reads nothing stops its sender after what the kernel's buffers hold.
#[test]
fn a_stalled_receiver_stops_its_sender() {
    let (backend, streams) = Backend::hands_over(at("127.36.0.2:7000"));
    let proxy = proxy();
    let bind = at("127.36.0.1:7000");
    apply(&proxy, &[listener("l", bind, vec![share(1, &[backend.address])])]);
    let mut client = connect(bind);
    let server = streams.recv_timeout(SOON).unwrap();
    client.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let block = vec![0; 64 * 1024];
    let mut sent = 0_u64;
    let end = Instant::now() + Duration::from_secs(2);
    while Instant::now() < end {
        match client.write(&block) {
            Ok(written) => sent += written as u64,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("{error}"),
        }
    }
    // What the sender got rid of is in its own send buffer, too; the engine read less.
    assert!(sent < most_in_buffers(), "{sent} bytes accepted");
    assert!(counters(&proxy).bytes_in <= sent);
    // And it goes on when the receiver does.
    drop(client);
    let mut server = server;
    assert_eq!(read_all(&mut server).unwrap().len() as u64, sent);
}

/// What four sockets may grow to (tcp(7)), and a pipe between them.
fn most_in_buffers() -> u64 {
    let most = |name: &str| {
        let text = std::fs::read_to_string(format!("/proc/sys/net/ipv4/{name}")).unwrap();
        text.split_whitespace().next_back().unwrap().parse::<u64>().unwrap()
    };
    2 * (most("tcp_rmem") + most("tcp_wmem")) + (2 << 20)
}

/// One stalled connection does not keep the others of its worker waiting.
#[test]
fn a_stalled_receiver_stops_nobody_else() {
    let (stalled, streams) = Backend::hands_over(at("127.36.1.2:7000"));
    let backend = Backend::echo(at("127.36.1.3:7000"));
    let proxy = proxy_with(|config| config.workers = 1.try_into().unwrap());
    let (bad, good) = (at("127.36.1.1:7000"), at("127.36.1.1:7001"));
    apply(
        &proxy,
        &[
            listener("bad", bad, vec![share(1, &[stalled.address])]),
            listener("good", good, vec![share(1, &[backend.address])]),
        ],
    );
    let mut client = connect(bad);
    let _server = streams.recv_timeout(SOON).unwrap();
    client.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
    while client.write_all(&[0; 65536]).is_ok() {}
    let mut client = connect(good);
    let begin = Instant::now();
    for round in 0..500_u32 {
        echo(&mut client, &round.to_be_bytes());
    }
    assert!(begin.elapsed() < Duration::from_secs(5));
}

/// A connection at full speed leaves the others of its worker their turn.
#[test]
fn a_bulk_transfer_starves_nobody() {
    let sink = Backend::new(at("127.36.2.2:7000"), |mut stream| {
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    let backend = Backend::echo(at("127.36.2.3:7000"));
    let proxy = proxy_with(|config| config.workers = 1.try_into().unwrap());
    let (bulk, small) = (at("127.36.2.1:7000"), at("127.36.2.1:7001"));
    apply(
        &proxy,
        &[
            listener("bulk", bulk, vec![share(1, &[sink.address])]),
            listener("small", small, vec![share(1, &[backend.address])]),
        ],
    );
    let mut sender = connect(bulk);
    let stop = std::sync::atomic::AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                sender.write_all(&[0; 256 * 1024]).unwrap();
            }
        });
        let mut client = connect(small);
        let begin = Instant::now();
        for round in 0..100_u32 {
            echo(&mut client, &round.to_be_bytes());
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    });
}

/// Above the limit, clients wait in the accept queue and are served when there is room.
#[test]
fn above_the_limit_clients_wait() {
    child::run("limits::child_connection_limit");
}

#[test]
#[ignore = "run by above_the_limit_clients_wait in a process of its own"]
fn child_connection_limit() {
    let backend = Backend::echo(at("127.36.3.2:7000"));
    child::limit_files(300);
    let proxy = proxy_with(|config| config.reserved_files = 240);
    let bind = at("127.36.3.1:7000");
    apply(&proxy, &[listener("l", bind, vec![share(1, &[backend.address])])]);
    let limit = proxy.snapshot().limit;
    assert!((10..=30).contains(&limit), "{limit}");
    let mut clients: Vec<_> = (0..limit + 5).map(|_| connect(bind)).collect();
    let mut waiting = clients.split_off(limit);
    for client in &mut clients {
        echo(client, b"served");
    }
    for client in &mut waiting {
        client.write_all(b"waiting").unwrap();
    }
    eventually("accepting pauses", || proxy.snapshot().accept_pauses > 0);
    // Two workers may both take a last one.
    let open = proxy.snapshot().open;
    assert!((limit..=limit + 1).contains(&open), "{open} open, the limit is {limit}");
    drop(clients);
    for client in &mut waiting {
        let mut answer = [0; 7];
        std::io::Read::read_exact(client, &mut answer).unwrap();
        assert_eq!(&answer, b"waiting");
    }
}

/// No file is left in the process: nothing spins, what is open goes on, and it recovers.
#[test]
fn exhausted_files_never_spin() {
    child::run("limits::child_file_exhaustion");
}

#[test]
#[ignore = "run by exhausted_files_never_spin in a process of its own"]
fn child_file_exhaustion() {
    let backend = Backend::echo(at("127.36.4.2:7000"));
    child::limit_files(200);
    let proxy = proxy_with(|config| config.reserved_files = 0);
    let bind = at("127.36.4.1:7000");
    apply(&proxy, &[listener("l", bind, vec![share(1, &[backend.address])])]);
    let mut open = connect(bind);
    echo(&mut open, b"before");

    let mut workers = child::Workers::find();
    // A client's socket, then everything else.
    let outside = connect_in_advance();
    let mut hoard = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        hoard.push(file);
    }
    socket2::SockRef::from(&outside).connect(&bind.into()).unwrap();
    eventually("accepting pauses", || proxy.snapshot().accept_pauses > 0);
    let before = workers.cpu();
    thread::sleep(Duration::from_secs(1));
    let used = workers.cpu() - before;
    assert!(used < Duration::from_millis(50), "{used:?} of CPU in a second");
    assert!(proxy.snapshot().accept_pauses < 30, "{:?}", proxy.snapshot());
    echo(&mut open, b"going on");

    drop(hoard);
    let begin = Instant::now();
    let mut outside: std::net::TcpStream = outside.into();
    outside.set_read_timeout(Some(SOON)).unwrap();
    echo(&mut outside, b"recovered");
    assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
}

/// A socket that needs no further file to connect.
fn connect_in_advance() -> socket2::Socket {
    socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap()
}

#[test]
fn no_file_leaks() {
    child::run("limits::child_no_file_leaks");
}

/// 10,000 connections that end in every order of half-closes and resets.
#[test]
#[ignore = "run by no_file_leaks in a process of its own"]
fn child_no_file_leaks() {
    let (backend, streams) = Backend::hands_over(at("127.36.5.2:7000"));
    let proxy = proxy();
    let bind = at("127.36.5.1:7000");
    let dead = at("127.36.5.3:7000");
    let shares = vec![share(20, &[dead, backend.address]), share(1, &[]), share(1, &[dead])];
    apply(&proxy, &[listener("l", bind, shares)]);
    let before = child::open_files();
    let mut state = 1_u64;
    let mut random = move |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) % below
    };
    for _ in 0..10_000 {
        // One share rejects, which may be faster than this thread.
        let Ok(mut client) = try_connect(bind) else { continue };
        if random(8) == 0 {
            // Gone before anything is known about the server.
            if random(2) == 0 {
                reset(client)
            } else {
                drop(client)
            }
            while streams.try_recv().is_ok() {}
            continue;
        }
        let Ok(mut server) = streams.recv_timeout(Duration::from_millis(20)) else { continue };
        for _ in 0..random(3) {
            let _ = client.write_all(b"abc");
            let _ = server.write_all(b"defg");
        }
        let (first, second) = if random(2) == 0 { (client, server) } else { (server, client) };
        match random(4) {
            0 => reset(first),
            1 => drop(first),
            2 => {
                let _ = first.shutdown(Shutdown::Write);
                if random(2) == 0 {
                    reset(second)
                } else {
                    drop(second)
                }
                continue;
            }
            _ => {
                let _ = first.shutdown(Shutdown::Write);
                let _ = second.shutdown(Shutdown::Write);
                continue;
            }
        }
        if random(2) == 0 { reset(second) } else { drop(second) }
    }
    while streams.try_recv().is_ok() {}
    eventually("all are closed", || {
        while streams.try_recv().is_ok() {}
        proxy.snapshot().open == 0
    });
    eventually("no file is left", || child::open_files() <= before);
    let snapshot = proxy.snapshot();
    println!("{:?}", snapshot.listeners.into_values().next().unwrap());
    assert_eq!(snapshot.panics, 0);
}

#[test]
fn an_idle_pair_costs_little_memory() {
    child::run("limits::child_memory_per_idle_pair");
}

/// The test's own sockets cost kernel memory only, so what grows is the engine.
#[test]
#[ignore = "run by an_idle_pair_costs_little_memory in a process of its own"]
fn child_memory_per_idle_pair() {
    const PAIRS: usize = 3000;
    const WARM: usize = 200;
    // Backend: echoes once per connection on one thread, then keeps the stream.
    let listen = std::net::TcpListener::bind(at("127.36.6.2:7000")).unwrap();
    let proxy = proxy();
    let bind = at("127.36.6.1:7000");
    apply(&proxy, &[listener("l", bind, vec![share(1, &[at("127.36.6.2:7000")])])]);
    let mut kept = Vec::with_capacity(2 * PAIRS);
    let mut open = |count: usize| {
        for _ in 0..count {
            let mut client = connect(bind);
            let (mut server, _) = listen.accept().unwrap();
            client.write_all(&[1; 64]).unwrap();
            std::io::Read::read_exact(&mut server, &mut [0; 64]).unwrap();
            server.write_all(&[2; 64]).unwrap();
            std::io::Read::read_exact(&mut client, &mut [0; 64]).unwrap();
            kept.push((client, server));
        }
    };
    open(WARM);
    let before = child::resident_anonymous();
    open(PAIRS - WARM);
    assert_eq!(counters(&proxy).open, PAIRS as u64);
    let per_pair = child::resident_anonymous().saturating_sub(before) / (PAIRS - WARM) as u64;
    println!("user space memory per idle pair: {per_pair} bytes");
    assert!(per_pair <= 1024, "{per_pair} bytes per pair");
}

#[test]
fn at_rest_nothing_wakes_up() {
    child::run("limits::child_idle");
}

#[test]
#[ignore = "run by at_rest_nothing_wakes_up in a process of its own"]
fn child_idle() {
    let backend = Backend::echo(at("127.36.7.2:7000"));
    let proxy = proxy();
    let bind = at("127.36.7.1:7000");
    apply(&proxy, &[listener("l", bind, vec![share(1, &[backend.address])])]);
    let mut clients: Vec<_> = (0..50).map(|_| connect(bind)).collect();
    for client in &mut clients {
        echo(client, b"here");
    }
    thread::sleep(Duration::from_millis(50));
    let mut workers = child::Workers::find();
    let before = workers.sleeps();
    assert!(before > 0, "they have worked and slept");
    // Longer than every time-out that was armed.
    thread::sleep(Duration::from_millis(2500));
    assert_eq!(workers.sleeps(), before);
    echo(&mut clients[7], b"awake");
    eventually("back to sleep", || workers.sleeps() > before);
}

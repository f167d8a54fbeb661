//! Who may connect, how many, how fast; and keepalive.

use std::io::{ErrorKind, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use vipgate_planner::{Keepalive, Listener, ListenerSettings, Rate};
use vipgate_speaker::proxy::{Proxy, ResetReason};

use crate::rig::{
    Backend, apply, assert_rejected, assert_reset, at, connect, connect_from, counters, echo,
    eventually, listener, proxy, reset, set, share, try_connect,
};
use crate::tls::{Issued, counters_of, https};

fn resets(proxy: &Proxy, reason: ResetReason) -> u64 {
    counters(proxy).resets.get(&reason).copied().unwrap_or(0)
}

fn to(bind: SocketAddr, backend: &Backend, change: impl FnOnce(&mut ListenerSettings)) -> Listener {
    set(listener("l", bind, vec![share(1, &[backend.address])]), change)
}

/// Whether a client is served, or reset.
fn is_served(stream: std::io::Result<TcpStream>) -> bool {
    let served = stream.and_then(|mut stream| {
        stream.write_all(b"?")?;
        std::io::Read::read_exact(&mut stream, &mut [0])
    });
    match served {
        Ok(()) => true,
        Err(error)
            if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) =>
        {
            false
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn who_may_connect_is_a_matter_of_the_address() {
    let backend = Backend::echo(at("127.37.30.2:7000"));
    let (proxy, bind) = (proxy(), at("127.37.30.1:7000"));
    let client = |last: u8| {
        let IpAddr::V4(ip) = at("127.37.31.0:1").ip() else { panic!() };
        let [a, b, c, _] = ip.octets();
        IpAddr::from([a, b, c, last])
    };
    let ranges = |settings: &mut ListenerSettings| {
        settings.allowed = vec![format!("{}/25", client(0)).parse().unwrap()];
        settings.denied = vec![format!("{}/32", client(9)).parse().unwrap()];
    };
    apply(&proxy, &[to(bind, &backend, ranges)]);
    let mut standing = connect_from(client(1), bind).unwrap();
    echo(&mut standing, b"served");
    assert!(is_served(connect_from(client(127), bind)));
    for last in [9, 128, 200] {
        assert!(!is_served(connect_from(client(last), bind)), "{last}");
    }
    assert_eq!(resets(&proxy, ResetReason::NotAllowed), 3);
    assert_eq!(counters(&proxy).accepted, 5);
    // Nobody may any more: who is there, stays.
    apply(&proxy, &[to(bind, &backend, |s| s.denied = vec!["0.0.0.0/0".parse().unwrap()])]);
    assert!(!is_served(connect_from(client(1), bind)));
    echo(&mut standing, b"still");
    apply(&proxy, &[to(bind, &backend, |_| {})]);
    assert!(is_served(connect_from(client(200), bind)));
    echo(&mut standing, b"still");
}

/// One that is not let in by any listener of the port need not say anything first.
#[test]
fn a_denied_client_of_a_tls_port_is_reset_at_once() {
    let backend = Backend::echo(at("127.37.32.2:7000"));
    let (proxy, bind) = (proxy(), at("127.37.32.1:7000"));
    let issued = Issued::new(&["a.example.com"]);
    let denied = |settings: &mut ListenerSettings| {
        settings.denied = vec!["127.0.0.0/8".parse().unwrap()];
    };
    apply(&proxy, &[set(https("l", bind, "a.example.com", backend.address, &issued), denied)]);
    let begin = Instant::now();
    assert_rejected(bind);
    assert!(begin.elapsed() < Duration::from_secs(2));
    assert_eq!(resets(&proxy, ResetReason::NotAllowed), 1);
}

/// Clients of many threads at once, some of whom go: never more than so many, and not fewer.
#[test]
fn limits_are_exact_and_given_back_whatever_way_a_connection_ends() {
    const MOST: usize = 20;
    let backend = Backend::echo(at("127.37.33.2:7000"));
    let (proxy, bind) = (proxy(), at("127.37.33.1:7000"));
    apply(&proxy, &[to(bind, &backend, |settings| settings.connections = Some(MOST as u32))]);
    for round in 0..5_u32 {
        let served: Vec<TcpStream> = thread::scope(|scope| {
            let ask = || {
                (0..10)
                    .filter_map(|_| {
                        let mut stream = try_connect(bind).ok()?;
                        stream.write_all(b"?").ok()?;
                        std::io::Read::read_exact(&mut stream, &mut [0]).ok()?;
                        Some(stream)
                    })
                    .collect::<Vec<_>>()
            };
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(served.len(), MOST, "round {round}");
        for (number, stream) in served.into_iter().enumerate() {
            if number % 2 == 0 { reset(stream) } else { drop(stream) }
        }
        eventually("all are gone", || counters(&proxy).open == 0);
    }
    assert_eq!(resets(&proxy, ResetReason::TooMany), 5 * (80 - MOST as u64));
}

#[test]
fn one_source_does_not_take_the_place_of_others() {
    let backend = Backend::echo(at("127.37.34.2:7000"));
    let (proxy, bind) = (proxy(), at("127.37.34.1:7000"));
    apply(&proxy, &[to(bind, &backend, |settings| settings.connections_per_source = Some(2))]);
    let (greedy, other) = (at("127.37.34.8:1").ip(), at("127.37.34.9:1").ip());
    let mut open: Vec<_> = (0..2).map(|_| connect_from(greedy, bind).unwrap()).collect();
    open.iter_mut().for_each(|stream| echo(stream, b"in"));
    assert!(!is_served(connect_from(greedy, bind)));
    assert!(is_served(connect_from(other, bind)));
    assert_eq!(resets(&proxy, ResetReason::TooManyFromSource), 1);
    open.pop();
    eventually("one has gone", || counters(&proxy).open <= 1);
    assert!(is_served(connect_from(greedy, bind)));
}

/// Sources are those of the PROXY header, not the proxy that all come through.
#[test]
fn sources_are_those_of_the_header() {
    let backend = Backend::echo(at("127.37.35.2:7000"));
    let (proxy, bind) = (proxy(), at("127.37.35.1:7000"));
    let listener = to(bind, &backend, |settings| {
        settings.proxy_from = vec!["127.0.0.0/8".parse().unwrap()];
        settings.connections_per_source = Some(1);
        settings.denied = vec!["192.0.2.9/32".parse().unwrap()];
    });
    apply(&proxy, &[listener]);
    let of = |client: &str, family: &str, other: &str| {
        let mut stream = connect(bind);
        stream.write_all(format!("PROXY {family} {client} {other} 1 2\r\n").as_bytes()).unwrap();
        stream
    };
    let mut first = of("192.0.2.1", "TCP4", "192.0.2.200");
    echo(&mut first, b"in");
    assert_reset(&mut of("192.0.2.1", "TCP4", "192.0.2.200"));
    assert_reset(&mut of("192.0.2.9", "TCP4", "192.0.2.200"));
    echo(&mut of("192.0.2.2", "TCP4", "192.0.2.200"), b"in");
    let mut six = of("2001:db8::1", "TCP6", "2001:db8::9");
    echo(&mut six, b"in");
    assert_reset(&mut of("2001:db8::2", "TCP6", "2001:db8::9"));
    let counted = counters(&proxy).resets;
    let expected = [(ResetReason::NotAllowed, 1), (ResetReason::TooManyFromSource, 2)];
    assert_eq!(counted, expected.into());
}

#[test]
fn new_connections_come_no_faster_than_the_rate() {
    let backend = Backend::echo(at("127.37.36.2:7000"));
    let (proxy, bind) = (proxy(), at("127.37.36.1:7000"));
    let rate = |per_second, burst| {
        move |settings: &mut ListenerSettings| settings.rate = Some(Rate { per_second, burst })
    };
    apply(&proxy, &[to(bind, &backend, rate(1, 10))]);
    let begin = Instant::now();
    let mut open: Vec<_> = Vec::new();
    for _ in 0..30 {
        if let Ok(mut stream) = try_connect(bind)
            && stream.write_all(b"?").is_ok()
            && std::io::Read::read_exact(&mut stream, &mut [0]).is_ok()
        {
            open.push(stream);
        }
    }
    let more = begin.elapsed().as_secs() as usize;
    assert!((10..=10 + more + 1).contains(&open.len()), "{} in {more} s", open.len());
    assert_eq!(resets(&proxy, ResetReason::TooFast) as usize, 30 - open.len());
    // The rate is none of those that are open, and a new one begins anew.
    apply(&proxy, &[to(bind, &backend, rate(1000, 1000))]);
    for stream in &mut open {
        echo(stream, b"still");
    }
    assert!((0..100).all(|_| is_served(try_connect(bind))));
}

/// No change of settings closes anything, and each counts for the next client.
#[test]
fn settings_change_and_connections_stay() {
    let backend = Backend::echo(at("127.37.38.2:7000"));
    let (proxy, bind) = (proxy(), at("127.37.38.1:7000"));
    let changes: [fn(&mut ListenerSettings); 7] = [
        |_| {},
        |s| s.connections = Some(1),
        |s| s.connections_per_source = Some(1),
        |s| s.proxy_from = vec!["192.0.2.0/24".parse().unwrap()],
        |s| s.idle_timeout = None,
        |s| s.keepalive = Some(keepalive(60)),
        |s| s.denied = vec!["0.0.0.0/0".parse().unwrap()],
    ];
    apply(&proxy, &[to(bind, &backend, |_| {})]);
    let mut open: Vec<_> = (0..50).map(|_| connect(bind)).collect();
    for _ in 0..3 {
        for change in changes {
            apply(&proxy, &[to(bind, &backend, change)]);
            open.iter_mut().for_each(|stream| echo(stream, b"still here"));
        }
    }
    assert_eq!((counters(&proxy).open, counters(&proxy).resets.len()), (50, 0));
}

fn keepalive(idle: u64) -> Keepalive {
    let seconds = Duration::from_secs;
    Keepalive { idle: seconds(idle), interval: seconds(5), probes: 2 }
}

/// The kernel's timer of the socket that is the server's end of a client's connection, in seconds
/// (/proc/net/tcp: kind 2 is keepalive).
fn keepalive_timer(local: SocketAddr, remote: SocketAddr) -> Option<u64> {
    let hex = |address: SocketAddr| match address {
        SocketAddr::V4(v4) => {
            format!("{:08X}:{:04X}", u32::from_le_bytes(v4.ip().octets()), v4.port())
        }
        SocketAddr::V6(_) => panic!("not in that table"),
    };
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let ends = format!("{} {}", hex(local), hex(remote));
    let line = table.lines().find(|line| line.contains(&ends))?;
    let timer = line.split_ascii_whitespace().nth(5)?.strip_prefix("02:")?;
    Some(u64::from_str_radix(timer, 16).unwrap() / 100)
}

/// When the host asks, in seconds.
fn of_host() -> u64 {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_keepalive_time").unwrap();
    text.trim().parse().unwrap()
}

#[test]
fn keepalive_reaches_the_listening_socket_that_stays_and_the_backend() {
    let (backend, streams) = Backend::hands_over(at("127.37.39.2:7000"));
    let (proxy, bind) = (proxy(), at("127.37.39.1:7000"));
    let timer = |settings: fn(&mut ListenerSettings)| {
        apply(&proxy, &[to(bind, &backend, settings)]);
        let client = connect(bind);
        let server = streams.recv().unwrap();
        let to_client = keepalive_timer(bind, client.local_addr().unwrap());
        let to_server = keepalive_timer(server.peer_addr().unwrap(), backend.address);
        (to_client, to_server)
    };
    let near = |timer: Option<u64>, seconds: u64| {
        timer.is_some_and(|timer| (seconds - 5..=seconds + 5).contains(&timer))
    };
    let host = of_host();
    let (to_client, to_server) = timer(|_| {});
    assert!(near(to_client, host) && to_server.is_none(), "{to_client:?} {to_server:?}");
    let (to_client, to_server) = timer(|settings| settings.keepalive = Some(keepalive(60)));
    assert!(near(to_client, 60) && near(to_server, 60), "{to_client:?} {to_server:?}");
    let (to_client, _) = timer(|settings| settings.keepalive = Some(keepalive(900)));
    assert!(near(to_client, 900), "{to_client:?}");
    let (to_client, to_server) = timer(|_| {});
    assert!(near(to_client, host) && to_server.is_none(), "{to_client:?} {to_server:?}");
}

/// Where several listeners share a port, each gives its own to its clients.
#[test]
fn keepalive_is_the_chosen_listeners() {
    let (backend, streams) = Backend::hands_over(at("127.37.40.2:7000"));
    let (proxy, bind) = (proxy(), at("127.37.40.1:7000"));
    let seconds = [("a", Some(60)), ("b", Some(900)), ("c", None)];
    let listeners = seconds.map(|(name, idle)| {
        let host = format!("{name}.example.com");
        let listener = crate::tls::http(name, bind, &host, backend.address);
        set(listener, |settings| settings.keepalive = idle.map(keepalive))
    });
    apply(&proxy, &listeners);
    for (name, idle) in seconds {
        let mut client = connect(bind);
        client.write_all(&crate::tls::get(&format!("{name}.example.com"))).unwrap();
        let _server = streams.recv().unwrap();
        let local = client.local_addr().unwrap();
        // Right after data the kernel waits for its acknowledgement first.
        eventually("the timer is set", || keepalive_timer(bind, local).is_some());
        let timer = keepalive_timer(bind, local).unwrap();
        let expected = idle.unwrap_or_else(of_host);
        assert!(timer.abs_diff(expected) <= 5, "{name}: {timer}");
        assert_eq!(counters_of(&proxy, name).accepted, 1);
    }
}

//! Looks at greetings that come byte by byte, counted over a real socket.

use std::cell::Cell;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;

use super::*;
use crate::proxy::hello::{Greeting, Heard, Hello};

/// What a greeting of these bytes costs that come one by one, so far apart: how often it is looked at,
/// how many bytes are copied, and how long after the last byte the last look is.
fn drip(hello: Hello, bytes: &[u8], apart: Duration) -> (usize, usize, Duration) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    client.set_nodelay(true).unwrap();
    let (server, _) = listener.accept().unwrap();
    server.set_nonblocking(true).unwrap();
    let start = Instant::now();
    let greeting = Greeting::new(hello, true, start, start + Duration::from_secs(3600));
    let (mut now, looks, copied) = (start, Cell::new(0), Cell::new(0));
    let mut buffer = vec![0; 65536];
    let mut look = |so_far: usize| {
        looks.set(looks.get() + 1);
        copied.set(copied.get() + so_far);
        // On the loopback it is there when the write returns.
        greeting.listen(server.as_fd(), &mut buffer)
    };
    let mut pace = Pace::default();
    for (place, byte) in bytes.iter().enumerate() {
        client.write_all(&[*byte]).unwrap();
        let due = pace.next().is_some_and(|at| at <= now);
        if (due || pace.next().is_none())
            && pace.turn(now) == Turn::Now
            && !matches!(look(place + 1), Heard::NeedMore)
        {
            return (looks.get(), copied.get(), Duration::ZERO);
        }
        now += apart;
    }
    let mut waited = Duration::ZERO;
    while let Some(at) = pace.next() {
        waited = at.saturating_duration_since(now);
        now = now.max(at);
        assert_eq!(pace.turn(now), Turn::Now);
        look(bytes.len());
    }
    (looks.get(), copied.get(), waited)
}

/// 16 KiB in five seconds and at once, of a ClientHello in the smallest records and of a request's
/// header: a hundred looks, not sixteen thousand.
#[test]
fn bytes_that_drip_are_looked_at_a_hundred_times_and_not_each() {
    let record = |byte: u8| [22, 3, 1, 0, 1, byte];
    let mut hello: Vec<u8> = [1, 0, 0x2a, 0].into_iter().flat_map(record).collect();
    while hello.len() < 16 * 1024 - 6 {
        hello.extend(record(0));
    }
    let header = [&b"GET / HTTP/1.1\r\nX: "[..], &[b'x'; 16_000]].concat();
    for (kind, bytes) in [(Hello::Tls, &hello), (Hello::Http, &header)] {
        let whole = bytes.len();
        for apart in [Duration::from_micros(300), Duration::from_micros(1)] {
            let (looks, copied, waited) = drip(kind, bytes, apart);
            assert!((8..=130).contains(&looks), "{looks} looks at {whole} bytes of {kind:?}");
            assert!(copied <= 130 * whole, "{copied} bytes copied");
            assert!(waited <= LONGEST_PAUSE, "{waited:?}");
        }
    }
}

#[test]
fn a_pause_is_said_once_and_ends() {
    let (mut pace, start) = (Pace::default(), Instant::now());
    for _ in 0..FREE {
        assert_eq!(pace.turn(start), Turn::Now);
    }
    let at = start + PAUSE;
    assert_eq!(pace.turn(start), Turn::At(at));
    assert_eq!(pace.turn(start + PAUSE / 2), Turn::Later);
    assert_eq!(pace.next(), Some(at));
    assert_eq!(pace.turn(at), Turn::Now);
    assert_eq!(pace.next(), None);
    // Who comes late enough is looked at at once.
    assert_eq!(pace.turn(at + LONGEST_PAUSE), Turn::Now);
}

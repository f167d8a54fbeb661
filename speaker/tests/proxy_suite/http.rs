//! Listeners that are told apart by the Host of the first request.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

use vipgate_planner::Service;
use vipgate_speaker::proxy::ResetReason;

use crate::rig::{Backend, apply, at, connect, eventually, proxy, read_all};
use crate::tls::{Issued, by_name, counters_of, get, http, https, said, with};

/// What a request gets back: the first bytes, as many as are there at once.
fn answer(to: SocketAddr, request: &[u8]) -> String {
    let mut stream = connect(to);
    stream.write_all(request).unwrap();
    let mut buffer = [0; 256];
    let read = stream.read(&mut buffer).unwrap();
    String::from_utf8_lossy(&buffer[..read]).into_owned()
}

fn status(to: SocketAddr, request: &[u8]) -> String {
    answer(to, request).split(' ').nth(1).unwrap_or_default().to_owned()
}

#[test]
fn the_host_of_the_first_request_decides() {
    let (one, two, any) = (
        Backend::says(at("127.37.0.1:9501"), "one"),
        Backend::says(at("127.37.0.2:9501"), "two"),
        Backend::says(at("127.37.0.3:9501"), "any"),
    );
    let bind = at("127.37.1.1:9500");
    let proxy = proxy();
    let targets = [(Some("b.example.com"), two.address), (Some("*.deep.example.com"), any.address)];
    let wide = with("wide", bind, Service::Http(by_name(Some("*.example.com"), &targets)));
    apply(&proxy, &[http("exact", bind, "a.example.com", one.address), wide]);
    assert_eq!(answer(bind, &get("a.example.com")), "one");
    assert_eq!(answer(bind, &get("A.Example.com:80")), "one");
    assert_eq!(answer(bind, &get("b.example.com")), "two");
    assert_eq!(answer(bind, &get("x.deep.example.com")), "any");
    assert_eq!(answer(bind, b"GET http://a.example.com/ HTTP/1.1\r\nHost: x\r\n\r\n"), "one");
    assert_eq!(
        answer(bind, b"\r\nGET /?to=http://b.example.com/ HTTP/1.1\r\nHost: a.example.com\r\n\r\n"),
        "one"
    );
    for unknown in ["c.example.com", "other.org", "example.com"] {
        assert_eq!(status(bind, &get(unknown)), "404", "{unknown}");
    }
    for bad in [
        "nonsense\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.example.com\r\nHost: b.example.com\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.example.com\r\n folded: x\r\n\r\n",
        "GET http://a.example.com@b.example.com/ HTTP/1.1\r\nHost: b.example.com\r\n\r\n",
    ] {
        assert_eq!(status(bind, bad.as_bytes()), "400", "{bad}");
    }
}

#[test]
fn a_request_that_comes_in_pieces_reaches_the_server_whole() {
    let echo = Backend::echo(at("127.37.0.4:9502"));
    let bind = at("127.37.1.2:9500");
    let proxy = proxy();
    apply(&proxy, &[http("web", bind, "a.example.com", echo.address)]);
    let request =
        b"POST /x HTTP/1.1\r\nAccept: */*\r\nHost: a.example.com\r\nContent-Length: 4\r\n\r\nbody";
    let mut stream = connect(bind);
    stream.set_nodelay(true).unwrap();
    for byte in request {
        stream.write_all(&[*byte]).unwrap();
        thread::sleep(Duration::from_millis(1));
    }
    let mut back = vec![0; request.len()];
    stream.read_exact(&mut back).unwrap();
    assert_eq!(back, request);
}

#[test]
fn a_client_that_says_nothing_is_reset_after_five_seconds() {
    let echo = Backend::echo(at("127.37.0.5:9503"));
    let bind = at("127.37.1.3:9500");
    let proxy = proxy();
    apply(&proxy, &[http("web", bind, "a.example.com", echo.address)]);
    let mut stream = connect(bind);
    stream.write_all(b"GET / HTTP/1.1\r\n").unwrap();
    let start = Instant::now();
    let error = stream.read(&mut [0; 8]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert!(start.elapsed() > Duration::from_secs(4), "{:?}", start.elapsed());
}

/// A host that only an HTTPS listener takes is no host of the HTTP listener that has the port, and a
/// server name that only the HTTP listener takes is none of the HTTPS listener's.
#[test]
fn a_name_of_one_protocol_is_unknown_to_the_other() {
    let (open, secret) = (
        Backend::says(at("127.37.0.6:9504"), "open"),
        Backend::says(at("127.37.0.7:9504"), "secret"),
    );
    let issued = Issued::new(&["secret.example.com", "open.example.com"]);
    let bind = at("127.37.1.4:9500");
    let plain = http("plain", bind, "open.example.com", open.address);
    let tls = https("tls", bind, "secret.example.com", secret.address, &issued);
    let proxy = proxy();

    assert!(proxy.apply(&[plain.clone(), tls.clone()])[&tls.id].is_err());
    assert_eq!(answer(bind, &get("open.example.com")), "open");
    assert_eq!(status(bind, &get("secret.example.com")), "404");

    apply(&proxy, &[]);
    assert!(proxy.apply(&[tls, plain.clone()])[&plain.id].is_err());
    assert_eq!(said(bind, "secret.example.com", &issued.client()).unwrap(), "secret");
    let error = said(bind, "open.example.com", &issued.client()).unwrap_err().to_string();
    assert!(error.contains("UnrecognisedName"), "{error}");
}

/// What has not said yet which listener it means waits at the port, not at the listener that came
/// first.
#[test]
fn a_request_under_way_outlives_the_listener_that_was_first() {
    let echo = Backend::echo(at("127.37.0.8:9505"));
    let bind = at("127.37.1.5:9500");
    let proxy = proxy();
    let first = http("first", bind, "a.example.com", echo.address);
    let second = http("second", bind, "b.example.com", echo.address);
    apply(&proxy, &[first.clone(), second.clone()]);
    let (head, rest) = (b"GET / HTTP/1.1\r\nHo", b"st: b.example.com\r\n\r\n");
    let mut stream = connect(bind);
    stream.write_all(head).unwrap();
    thread::sleep(Duration::from_millis(50));
    for listeners in [vec![second.clone(), first], vec![second.clone()]] {
        apply(&proxy, &listeners);
        thread::sleep(Duration::from_millis(50));
    }
    stream.write_all(rest).unwrap();
    let mut back = vec![0; head.len() + rest.len()];
    stream.read_exact(&mut back).unwrap();
    assert!(back.ends_with(rest));

    // And goes with the last.
    let mut stream = connect(bind);
    stream.write_all(head).unwrap();
    thread::sleep(Duration::from_millis(50));
    apply(&proxy, &[]);
    assert_eq!(stream.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::ConnectionReset);
}

/// The refusal arrives although the client goes on sending what nobody reads.
#[test]
fn a_refusal_reaches_a_client_that_is_still_sending() {
    let echo = Backend::echo(at("127.37.0.9:9506"));
    let bind = at("127.37.1.6:9500");
    let proxy = proxy();
    apply(&proxy, &[http("web", bind, "a.example.com", echo.address)]);
    for _ in 0..10 {
        let mut stream = connect(bind);
        let head = b"POST / HTTP/1.1\r\nHost: other.org\r\nContent-Length: 2000000\r\n\r\n";
        stream.write_all(head).unwrap();
        stream.write_all(&vec![b'x'; 2_000_000]).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let text = String::from_utf8(read_all(&mut stream).unwrap()).unwrap();
        assert!(text.starts_with("HTTP/1.1 404 Not Found\r\n"), "{text}");
    }
}

/// A client that ends before its request is whole has nothing to wait for.
#[test]
fn half_a_request_that_ends_is_not_waited_for() {
    let echo = Backend::echo(at("127.37.0.10:9507"));
    let bind = at("127.37.1.7:9500");
    let proxy = proxy();
    apply(&proxy, &[http("web", bind, "a.example.com", echo.address)]);
    let mut stream = connect(bind);
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a.example").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let start = Instant::now();
    let _ = read_all(&mut stream);
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    eventually("closed", || proxy.snapshot().open == 0);
}

/// Each connection counts where it belongs: at the listener that it meant.
#[test]
fn connections_count_at_the_listener_that_they_mean() {
    let echo = Backend::echo(at("127.37.0.11:9508"));
    let bind = at("127.37.1.8:9500");
    let proxy = proxy();
    let mut idle = http("idle", bind, "c.example.com", echo.address);
    idle.service = Service::Http(by_name(Some("c.example.com"), &[]));
    apply(
        &proxy,
        &[
            http("first", bind, "a.example.com", echo.address),
            http("second", bind, "b.example.com", echo.address),
            idle,
        ],
    );
    let mut streams: Vec<_> = (0..3).map(|_| connect(bind)).collect();
    for stream in &mut streams {
        stream.write_all(&get("b.example.com")).unwrap();
        stream.read_exact(&mut [0; 8]).unwrap();
    }
    let second = counters_of(&proxy, "second");
    assert_eq!((second.accepted, second.open), (3, 3));
    let mut routeless = connect(bind);
    routeless.write_all(&get("c.example.com")).unwrap();
    assert_eq!(routeless.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    let idle = counters_of(&proxy, "idle");
    assert_eq!((idle.accepted, idle.open), (1, 0));
    assert_eq!(idle.resets, [(ResetReason::NoRoute, 1)].into());
    let first = counters_of(&proxy, "first");
    assert_eq!((first.accepted, first.open, first.resets.len()), (0, 0, 0));
}

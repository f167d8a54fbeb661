//! TLS that ends here: names, certificates, refusals. What flows through is in `stream`.

use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustls::{ClientConfig, StreamOwned};
use vipgate_planner::{Listener, Service};
use vipgate_speaker::proxy::ResetReason;

use crate::rig::{Backend, apply, at, connect, echo, eventually, proxy, read_all};
use crate::tls::{
    Issued, by_name, client_config, counters_of, hello, https, said, secure, session, shake,
    terminate, with,
};

#[test]
fn the_server_name_decides_certificate_and_target() {
    let one = Backend::says(at("127.38.0.1:9501"), "one");
    let two = Backend::says(at("127.38.0.2:9501"), "two");
    let (exact, wide) = (Issued::new(&["a.example.com"]), Issued::new(&["*.example.com"]));
    let bind = at("127.38.1.1:9500");
    let proxy = proxy();
    apply(
        &proxy,
        &[
            https("exact", bind, "a.example.com", one.address, &exact),
            https("wide", bind, "*.example.com", two.address, &wide),
        ],
    );
    assert_eq!(said(bind, "a.example.com", &exact.client()).unwrap(), "one");
    assert_eq!(said(bind, "b.example.com", &wide.client()).unwrap(), "two");
    assert!(said(bind, "a.example.com", &wide.client()).is_err());
    let (exact, wide) = (counters_of(&proxy, "exact"), counters_of(&proxy, "wide"));
    assert_eq!((exact.accepted, wide.accepted), (2, 1));
}

/// What a client is told whose handshake ends with an error.
fn refusal(bind: std::net::SocketAddr, name: &str, config: ClientConfig) -> String {
    let mut stream = secure(bind, name, &Arc::new(config));
    let error = stream.write_all(b"x").and_then(|()| stream.read(&mut [0; 1])).unwrap_err();
    // The alert, and then an end instead of a reset.
    assert_eq!(read_all(&mut stream.sock).unwrap(), b"");
    error.to_string()
}

#[test]
fn a_refused_handshake_ends_with_the_alert_that_says_why() {
    let one = Backend::says(at("127.38.0.3:9502"), "one");
    let issued = Issued::new(&["a.example.com"]);
    let bind = at("127.38.1.2:9500");
    let proxy = proxy();
    let mut bare = https("bare", bind, "bare.example.com", one.address, &issued);
    bare.service = Service::Https(
        by_name(Some("bare.example.com"), &[(None, one.address)]),
        terminate(vec![]),
    );
    apply(&proxy, &[https("web", bind, "a.example.com", one.address, &issued), bare]);
    let config = || client_config(&[&issued]);

    let text = refusal(bind, "other.org", config());
    assert!(text.contains("UnrecognisedName"), "{text}");
    let text = refusal(bind, "bare.example.com", config());
    assert!(text.contains("HandshakeFailure"), "{text}");
    let mut nameless = config();
    nameless.enable_sni = false;
    let text = refusal(bind, "a.example.com", nameless);
    assert!(text.contains("MissingExtension"), "{text}");
    let mut only_h2 = config();
    only_h2.alpn_protocols = vec![b"h2".to_vec()];
    let text = refusal(bind, "a.example.com", only_h2);
    assert!(text.contains("NoApplicationProtocol"), "{text}");

    // TLS 1.1 at the most: the version of the hello in byte 9, and no supported_versions (43).
    let mut old = hello(&mut session("a.example.com", &Arc::new(config())));
    old[10] = 2;
    let versions = old.windows(3).position(|three| three == [0, 43, 0]).unwrap();
    old[versions + 1] = 0xfa;
    assert_eq!(alert_for(bind, &old)[5..], [2, 70], "protocol_version");
    assert_eq!(alert_for(bind, b"GET / HTTP/1.1\r\n\r\n")[..2], [21, 3], "an alert");
    // More than any hello needs.
    let endless = [&[22, 3, 1, 0x40, 0, 1, 0, 0xff, 0][..], &[0; 16379]].concat();
    assert_eq!(alert_for(bind, &endless.repeat(3))[..2], [21, 3], "an alert");
    assert_eq!(said(bind, "a.example.com", &issued.client()).unwrap(), "one");
}

/// Sends bytes; what comes back until the orderly end is one alert record.
fn alert_for(bind: std::net::SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = connect(bind);
    stream.write_all(bytes).unwrap();
    let alert = read_all(&mut stream).unwrap();
    assert_eq!(alert.len(), 7, "{alert:?}");
    alert
}

/// The issue asks for it: such a listener accepts and resets.
#[test]
fn a_listener_without_a_route_resets() {
    let issued = Issued::new(&["a.example.com"]);
    let bind = at("127.38.1.3:9500");
    let proxy = proxy();
    let service =
        Service::Https(by_name(None, &[]), terminate(vec![Arc::clone(&issued.certificate)]));
    apply(&proxy, &[with("web", bind, service)]);
    let mut stream = connect(bind);
    stream.write_all(&hello(&mut session("a.example.com", &issued.client()))).unwrap();
    assert_eq!(stream.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(counters_of(&proxy, "web").resets, [(ResetReason::NoRoute, 1)].into());
}

/// A bad record in the middle of a stream: what came before it reaches the backend, which sees a
/// reset, and the client is told.
#[test]
fn a_broken_record_is_answered_with_an_alert() {
    let (backend, streams) = Backend::hands_over(at("127.38.0.4:9503"));
    let issued = Issued::new(&["a.example.com"]);
    let bind = at("127.38.1.4:9500");
    let proxy = proxy();
    apply(&proxy, &[https("web", bind, "a.example.com", backend.address, &issued)]);
    let mut stream = shake(bind, "a.example.com", &issued.client());
    stream.write_all(b"whole").unwrap();
    let mut server = streams.recv().unwrap();
    // Application data that no key fits.
    stream.sock.write_all(&[&[23, 3, 3, 0, 32][..], &[7; 32]].concat()).unwrap();
    let error = stream.read(&mut [0; 8]).unwrap_err().to_string();
    assert!(error.contains("BadRecordMac"), "{error}");
    let mut whole = [0; 5];
    server.read_exact(&mut whole).unwrap();
    assert_eq!(&whole, b"whole");
    assert_eq!(server.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    eventually("closed", || proxy.snapshot().open == 0);
}

#[test]
fn a_hello_that_comes_in_pieces_is_read() {
    let echo = Backend::echo(at("127.38.0.5:9504"));
    let issued = Issued::new(&["a.example.com"]);
    let bind = at("127.38.1.5:9500");
    let proxy = proxy();
    apply(&proxy, &[https("web", bind, "a.example.com", echo.address, &issued)]);
    let mut session = session("a.example.com", &issued.client());
    let mut stream = connect(bind);
    stream.set_nodelay(true).unwrap();
    for piece in hello(&mut session).chunks(7) {
        stream.write_all(piece).unwrap();
        thread::sleep(Duration::from_millis(1));
    }
    let mut stream = StreamOwned::new(session, stream);
    stream.write_all(b"hello").unwrap();
    let mut back = [0; 5];
    stream.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"hello");
}

#[test]
fn a_hello_under_way_outlives_the_listener_that_was_first() {
    let one = Backend::says(at("127.38.0.6:9505"), "one");
    let issued = Issued::new(&["a.example.com", "b.example.com"]);
    let bind = at("127.38.1.6:9500");
    let proxy = proxy();
    let first = https("first", bind, "a.example.com", one.address, &issued);
    let second = https("second", bind, "b.example.com", one.address, &issued);
    apply(&proxy, &[first, second.clone()]);
    let mut session = session("b.example.com", &issued.client());
    let hello = hello(&mut session);
    let mut stream = connect(bind);
    stream.write_all(&hello[..100]).unwrap();
    thread::sleep(Duration::from_millis(50));
    apply(&proxy, &[second]);
    thread::sleep(Duration::from_millis(50));
    stream.write_all(&hello[100..]).unwrap();
    let mut stream = StreamOwned::new(session, stream);
    let mut text = [0; 3];
    stream.read_exact(&mut text).unwrap();
    assert_eq!(&text, b"one");
}

/// Five seconds from accept to the end of the handshake, however the client spends them; the
/// backend hears of none of it.
#[test]
fn a_handshake_that_does_not_end_is_ended() {
    let (backend, _streams) = Backend::hands_over(at("127.38.0.7:9506"));
    let issued = Issued::new(&["a.example.com"]);
    let bind = at("127.38.1.7:9500");
    let proxy = proxy();
    apply(&proxy, &[https("web", bind, "a.example.com", backend.address, &issued)]);
    let hello = hello(&mut session("a.example.com", &issued.client()));
    let start = Instant::now();
    let mut silent = connect(bind);
    silent.write_all(&hello).unwrap();
    let mut slow = connect(bind);
    for byte in &hello[..20] {
        slow.write_all(&[*byte]).unwrap();
        thread::sleep(Duration::from_millis(100));
    }
    assert!(matches!(read_all(&mut silent), Err(e) if e.kind() == ErrorKind::ConnectionReset));
    let took = start.elapsed();
    assert!(took > Duration::from_secs(4) && took < Duration::from_secs(8), "{took:?}");
    assert!(matches!(read_all(&mut slow), Err(e) if e.kind() == ErrorKind::ConnectionReset));
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
    assert_eq!(backend.accepted(), 0);
    assert_eq!(counters_of(&proxy, "web").resets, [(ResetReason::Silent, 1)].into());
}

/// One that fails takes no turn among the backends from one that succeeds.
#[test]
fn a_failed_handshake_does_not_count_for_the_weights() {
    let one = Backend::says(at("127.38.0.8:9507"), "one");
    let two = Backend::says(at("127.38.0.9:9507"), "two");
    let issued = Issued::new(&["a.example.com"]);
    let bind = at("127.38.1.8:9500");
    let proxy = crate::rig::proxy_with(|config| config.workers = 1.try_into().unwrap());
    let mut name = by_name(None, &[(None, one.address)]);
    let shares = [&one, &two].map(|to| crate::rig::share(1, &[to.address])).to_vec();
    name.targets[0].1 = Arc::new(vipgate_planner::Target { route: crate::rig::route("r"), shares });
    let service = Service::Https(name, terminate(vec![Arc::clone(&issued.certificate)]));
    apply(&proxy, &[with("web", bind, service)]);
    let other = Issued::new(&["a.example.com"]);
    for _ in 0..10 {
        assert!(said(bind, "a.example.com", &other.client()).is_err(), "it is not trusted");
        said(bind, "a.example.com", &issued.client()).unwrap();
    }
    assert_eq!((one.accepted(), two.accepted()), (5, 5));
}

/// A renewed certificate, and one that may no longer be used: at once for new connections, without
/// harm to open ones.
#[test]
fn certificates_change_under_open_connections() {
    let backend = Backend::echo(at("127.38.0.10:9508"));
    let (old, renewed) = (Issued::new(&["a.example.com"]), Issued::new(&["a.example.com"]));
    let bind = at("127.38.1.9:9500");
    let proxy = proxy();
    let listeners = |certificates: &[&Issued]| -> [Listener; 1] {
        let certificates = certificates.iter().map(|c| Arc::clone(&c.certificate)).collect();
        let name = by_name(None, &[(None, backend.address)]);
        [with("web", bind, Service::Https(name, terminate(certificates)))]
    };
    apply(&proxy, &listeners(&[&old]));
    let resuming = old.client();
    let mut open = shake(bind, "a.example.com", &resuming);
    let round = |stream: &mut crate::tls::TlsStream| {
        stream.write_all(b"still here").unwrap();
        let mut back = [0; 10];
        stream.read_exact(&mut back).unwrap();
        assert_eq!(&back, b"still here");
    };
    round(&mut open);

    apply(&proxy, &listeners(&[&renewed]));
    assert_eq!(said(bind, "a.example.com", &renewed.client()).unwrap(), "hello");
    // A session of the old one is not resumed, either.
    assert!(said(bind, "a.example.com", &resuming).is_err());
    round(&mut open);

    apply(&proxy, &listeners(&[]));
    assert!(said(bind, "a.example.com", &renewed.client()).is_err());
    round(&mut open);

    apply(&proxy, &listeners(&[&renewed]));
    let start = Instant::now();
    assert_eq!(said(bind, "a.example.com", &renewed.client()).unwrap(), "hello");
    assert!(start.elapsed() < Duration::from_secs(1));
    round(&mut open);
}

/// Nothing that leaves route and listener closes a connection.
#[test]
fn a_hundred_changes_close_no_secure_connection() {
    let backend = Backend::echo(at("127.38.0.11:9509"));
    let issued: Vec<_> = (0..3).map(|_| Issued::new(&["a.example.com", "b.example.com"])).collect();
    let bind = at("127.38.1.10:9500");
    let proxy = proxy();
    let listener = |name: &str, round: usize| {
        let host = format!("{name}.example.com");
        let mut listener = https(name, bind, &host, backend.address, &issued[round % 3]);
        if round % 5 == 4 {
            listener.service = Service::Https(by_name(Some(&host), &[]), terminate(vec![]));
        }
        listener
    };
    apply(&proxy, &[listener("a", 0), listener("b", 0)]);
    let mut open: Vec<_> = (0..20)
        .map(|n| shake(bind, ["a.example.com", "b.example.com"][n % 2], &issued[0].client()))
        .collect();
    for round in 0..100_usize {
        let mut listeners = vec![listener("a", round), listener("b", round + 1)];
        if round % 2 == 0 {
            listeners.reverse();
        }
        if round % 3 == 0 {
            listeners.insert(0, listener("c", round));
        }
        apply(&proxy, &listeners);
        let stream = &mut open[round % 20];
        stream.write_all(b"on").unwrap();
        stream.read_exact(&mut [0; 2]).unwrap();
    }
    assert_eq!(counters_of(&proxy, "a").open + counters_of(&proxy, "b").open, 20);
    let mut plain = connect(backend.address);
    echo(&mut plain, b"the backend is well");
}

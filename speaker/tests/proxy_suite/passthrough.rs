//! TLS that is forwarded by its server name: what ends here, what ends at the backend, what is reset.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

use std::sync::Arc;

use rustls::ClientConfig;
use vipgate_planner::{Service, Termination, Tls};
use vipgate_speaker::proxy::{Proxy, ResetReason};

use crate::rig::{
    Backend, SOON, apply, assert_reset, at, connect, eventually, pattern, proxy, read_all, set,
};
use crate::tls::{
    Issued, TlsStream, by_name, counters_of, hello, passthrough, secure, session, shake,
    tls_backend, with,
};

/// What a backend says on a connection with this name.
fn greeted(to: SocketAddr, name: &str, config: &Arc<ClientConfig>) -> std::io::Result<String> {
    let mut stream = secure(to, name, config);
    stream.write_all(b"hello")?;
    let whole = format!("{name};hello");
    let mut said = vec![0; whole.len()];
    stream.read_exact(&mut said)?;
    Ok(String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn the_server_name_decides_and_the_backend_ends_tls() {
    let (a, b) = (Issued::new(&["a.example.com"]), Issued::new(&["b.example.com"]));
    let one = tls_backend(at("127.38.4.1:9501"), &a);
    let two = tls_backend(at("127.38.4.2:9501"), &b);
    let bind = at("127.38.5.1:9500");
    let proxy = proxy();
    let targets = [(Some("a.example.com"), one.address), (None, two.address)];
    apply(&proxy, &[passthrough("tls", bind, Some("*.example.com"), &targets)]);
    // Each client trusts its own backend's certificate and no other.
    assert_eq!(greeted(bind, "a.example.com", &a.client()).unwrap(), "a.example.com;hello");
    assert_eq!(greeted(bind, "b.example.com", &b.client()).unwrap(), "b.example.com;hello");
    assert!(greeted(bind, "a.example.com", &b.client()).is_err(), "it is not vipgate's");
    assert_eq!(counters_of(&proxy, "tls").accepted, 3);
}

/// Sends this to a port; the connection is accepted first.
#[track_caller]
fn reset_after(to: SocketAddr, bytes: &[u8]) {
    let mut stream = connect(to);
    stream.write_all(bytes).unwrap();
    assert_reset(&mut stream);
}

#[test]
fn what_nobody_has_is_accepted_and_reset() {
    let issued = Issued::new(&["a.example.com"]);
    let backend = tls_backend(at("127.38.4.3:9502"), &issued);
    let bind = at("127.38.5.2:9500");
    let proxy = proxy();
    let impatient = |listener| {
        set(listener, |settings| settings.handshake_timeout = Duration::from_millis(300))
    };
    let gone =
        with("gone", bind, Service::Tls(by_name(Some("gone.example.com"), &[]), Tls::Passthrough));
    let targets = [(Some("a.example.com"), backend.address)];
    let tls = passthrough("tls", bind, Some("*.example.com"), &targets);
    apply(&proxy, &[impatient(tls), impatient(gone)]);
    let mut config = issued.client();
    let hello_for = |name: &str, config: &Arc<_>| hello(&mut session(name, config));
    // No listener, no route, a listener without any route, no name at all, no TLS.
    reset_after(bind, &hello_for("a.example.org", &config));
    reset_after(bind, &hello_for("b.example.com", &config));
    reset_after(bind, &hello_for("gone.example.com", &config));
    Arc::make_mut(&mut config).enable_sni = false;
    reset_after(bind, &hello_for("a.example.com", &config));
    reset_after(bind, b"GET / HTTP/1.1\r\nHost: a.example.com\r\n\r\n");
    reset_after(bind, &[&[22, 3, 1, 0x40, 0, 1, 0, 0xff, 0][..], &[0; 16379]].concat());
    // Nothing for as long as one may take.
    let start = Instant::now();
    let mut silent = connect(bind);
    silent.write_all(&hello_for("a.example.com", &issued.client())[..100]).unwrap();
    assert_reset(&mut silent);
    assert!(start.elapsed() > Duration::from_millis(250), "{:?}", start.elapsed());

    assert_eq!(backend.accepted(), 0);
    let none = [(ResetReason::NoName, 1)].into();
    assert_eq!(counters_of(&proxy, "tls").resets, none, "b.example.com");
    assert_eq!(counters_of(&proxy, "gone").resets, [(ResetReason::NoRoute, 1)].into());
    let port = &proxy.snapshot().ports[&bind];
    let resets =
        [(ResetReason::NoName, 2), (ResetReason::NotUnderstood, 2), (ResetReason::Silent, 1)];
    assert_eq!(port.ended, resets.into());
}

/// A client that ended its hello early is gone, and counts as that.
#[test]
fn half_a_hello_and_an_end_is_a_client_that_went() {
    let issued = Issued::new(&["a.example.com"]);
    let backend = tls_backend(at("127.38.4.4:9503"), &issued);
    let bind = at("127.38.5.3:9500");
    let proxy = proxy();
    apply(&proxy, &[passthrough("tls", bind, None, &[(None, backend.address)])]);
    let hello = hello(&mut session("a.example.com", &issued.client()));
    for half in [&hello[..0], &hello[..1], &hello[..hello.len() - 1]] {
        let mut stream = connect(bind);
        stream.write_all(half).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        // Closed with what it sent unread, that is a reset; with nothing unread, an end.
        match read_all(&mut stream) {
            Ok(rest) => assert_eq!(rest, b""),
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
    }
    eventually("three that went", || {
        let resets = &proxy.snapshot().ports[&bind].ended;
        resets.get(&ResetReason::ByClient) == Some(&3)
    });
    assert_eq!(backend.accepted(), 0);
}

/// One port, of which some names end here and some at their backends.
#[test]
fn modes_are_mixed_on_one_port() {
    let (here, there) = (Issued::new(&["here.example.com"]), Issued::new(&["there.example.com"]));
    let plain = Backend::echo(at("127.38.4.5:9504"));
    let tls = tls_backend(at("127.38.4.6:9504"), &there);
    let bind = at("127.38.5.4:9500");
    let proxy = proxy();
    let certificates = vec![Arc::clone(&here.certificate)];
    let end = Tls::Terminate(Termination { certificates, ..Termination::default() });
    let name = by_name(Some("here.example.com"), &[(None, plain.address)]);
    let there_too = [(None, tls.address)];
    apply(
        &proxy,
        &[
            with("here", bind, Service::Tls(name, end)),
            passthrough("there", bind, Some("there.example.com"), &there_too),
        ],
    );
    for _ in 0..3 {
        let mut ended = secure(bind, "here.example.com", &here.client());
        ended.write_all(b"hello").unwrap();
        let mut said = [0; 5];
        ended.read_exact(&mut said).unwrap();
        assert_eq!(&said, b"hello");
        let said = greeted(bind, "there.example.com", &there.client()).unwrap();
        assert_eq!(said, "there.example.com;hello");
    }
    // What is inside may be anything, so whatever a client offers (ALPN) is left open.
    let mut offers = here.client();
    Arc::make_mut(&mut offers).alpn_protocols = vec![b"h2".to_vec()];
    let stream = shake(bind, "here.example.com", &offers);
    assert_eq!(stream.conn.alpn_protocol(), None);
    let both = [counters_of(&proxy, "here").accepted, counters_of(&proxy, "there").accepted];
    assert_eq!(both, [4, 3]);
}

/// What a client says in secret to us is for no backend that expects it in TLS.
#[test]
fn a_handshake_that_was_begun_here_does_not_outlive_the_mode() {
    let issued = Issued::new(&["a.example.com"]);
    let backend = Backend::echo(at("127.38.4.9:9507"));
    let bind = at("127.38.5.7:9500");
    let proxy = proxy();
    let a = (Some("a.example.com"), backend.address);
    let certificates = vec![Arc::clone(&issued.certificate)];
    let end = Tls::Terminate(Termination { certificates, ..Termination::default() });
    apply(&proxy, &[with("tls", bind, Service::Tls(by_name(None, &[a]), end))]);
    let mut client = session("a.example.com", &issued.client());
    let mut stream = connect(bind);
    stream.write_all(&hello(&mut client)).unwrap();
    eventually("it is answered", || counters_of(&proxy, "tls").open == 1);
    apply(&proxy, &[passthrough("tls", bind, None, &[a])]);
    let error = read_all(&mut stream).map(|_| ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert_eq!(counters_of(&proxy, "tls").resets, [(ResetReason::ListenerGone, 1)].into());
    assert_eq!(backend.accepted(), 0);
}

/// Byte by byte, in many records, and whole with what follows: the same connection.
#[test]
fn a_hello_may_come_in_any_pieces() {
    let issued = Issued::new(&["a.example.com"]);
    let (backend, streams) = Backend::hands_over(at("127.38.4.7:9505"));
    let bind = at("127.38.5.5:9500");
    let proxy = proxy();
    apply(&proxy, &[passthrough("tls", bind, None, &[(Some("a.example.com"), backend.address)])]);
    let hello = hello(&mut session("a.example.com", &issued.client()));
    let message = &hello[5..];
    let in_records = |size: usize| -> Vec<u8> {
        let head = |part: &[u8]| [&[22, 3, 1][..], &(part.len() as u16).to_be_bytes()].concat();
        message.chunks(size).flat_map(|part| [head(part), part.to_vec()].concat()).collect()
    };
    for (bytes, piece) in [
        (hello.clone(), 1),
        (hello.clone(), 7),
        (in_records(1), 100),
        (in_records(50), 3),
        ([&hello[..], b"what follows"].concat(), 9999),
    ] {
        let mut client = connect(bind);
        client.set_nodelay(true).unwrap();
        for part in bytes.chunks(piece) {
            client.write_all(part).unwrap();
            // So that each is seen by itself.
            thread::sleep(Duration::from_micros(200));
        }
        client.shutdown(Shutdown::Write).unwrap();
        let mut stream = streams.recv_timeout(SOON).unwrap();
        assert_eq!(read_all(&mut stream).unwrap(), bytes);
        stream.write_all(b"and back").unwrap();
        drop(stream);
        assert_eq!(read_all(&mut client).unwrap(), b"and back");
    }
}

fn talk(stream: &mut TlsStream, round: u64) {
    let mut sent = vec![0; 3000];
    pattern(round, 0, &mut sent);
    stream.write_all(&sent).unwrap();
    let mut back = vec![0; sent.len()];
    stream.read_exact(&mut back).unwrap();
    assert_eq!(back, sent);
}

/// Routes and names that come and go around it leave a connection alone; its own, gone, ends it.
#[test]
fn a_change_that_leaves_the_route_closes_nothing() {
    let issued = Issued::new(&["a.example.com"]);
    let backend = tls_backend(at("127.38.4.8:9506"), &issued);
    let bind = at("127.38.5.6:9500");
    let proxy = proxy();
    let a = (Some("a.example.com"), backend.address);
    let set = |proxy: &Proxy, hostname: Option<&str>, targets: &[_]| {
        apply(proxy, &[passthrough("tls", bind, hostname, targets)]);
    };
    set(&proxy, None, &[a]);
    let mut stream = shake(bind, "a.example.com", &issued.client());
    let mut greeting = [0; 14];
    stream.read_exact(&mut greeting).unwrap();
    let b = (Some("b.example.com"), backend.address);
    let changes: [(Option<&str>, Vec<_>); 4] =
        [(None, vec![a, b]), (Some("*.example.com"), vec![a, b]), (None, vec![b]), (None, vec![a])];
    for (round, (hostname, targets)) in changes.into_iter().enumerate() {
        set(&proxy, hostname, &targets);
        talk(&mut stream, round as u64);
    }
    let certificates = vec![Arc::clone(&issued.certificate)];
    let end = Tls::Terminate(Termination { certificates, ..Termination::default() });
    // Even the mode: what is open is forwarded as it was begun.
    apply(&proxy, &[with("tls", bind, Service::Tls(by_name(None, &[a]), end))]);
    talk(&mut stream, 9);
    let mut without = passthrough("tls", bind, None, &[]);
    without.attached.clear();
    apply(&proxy, &[without]);
    let error = stream.read(&mut [0; 1]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

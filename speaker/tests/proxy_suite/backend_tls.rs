//! TLS to backends: who is believed, what is tried instead, and what the client and the operator see.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::{Duration, Instant};

use rcgen::string::Ia5String;
use rcgen::{ExtendedKeyUsagePurpose, SanType, date_time_ymd};
use rustls::{HandshakeKind, ServerConfig, ServerConnection, StreamOwned};
use vipgate_planner::{
    BackendSettings, BackendTls, ByName, Endpoint, Listener, Service, SubjectName, Target,
};
use vipgate_speaker::proxy::{EndpointHealth, Proxy, ResetReason};

use crate::ca::Ca;
use crate::child;
use crate::rig::{
    Backend, apply, assert_rejected, assert_reset, at, connect, counters, eventually, listener,
    proxy, route, share,
};
use crate::tls::{Issued, shake, terminate, tls_backend, with};

const NAME: &str = "b.example.com";

/// A listener of TCP whose backends are spoken to like this.
pub(crate) fn plain(bind: SocketAddr, tls: BackendTls, to: &[SocketAddr]) -> Listener {
    within(BackendSettings::default().connect_timeout, bind, tls, to)
}

/// The same, where connecting may take so long.
fn within(timeout: Duration, bind: SocketAddr, tls: BackendTls, to: &[SocketAddr]) -> Listener {
    let tls = Some(Arc::new(tls));
    let mut share = share(1, to);
    share.settings =
        Arc::new(BackendSettings { tls, connect_timeout: timeout, ..BackendSettings::default() });
    listener("l", bind, vec![share])
}

/// The same behind a listener that ends TLS itself.
pub(crate) fn secure(bind: SocketAddr, tls: BackendTls, to: SocketAddr, own: &Issued) -> Listener {
    let shares = match plain(bind, tls, &[to]).service {
        Service::Tcp(Some(target)) => target.shares.clone(),
        _ => Vec::new(),
    };
    let target = Arc::new(Target { route: route("r"), shares });
    let by_name = ByName { hostname: None, targets: vec![(None, target)] };
    with("l", bind, Service::Https(by_name, terminate(vec![Arc::clone(&own.certificate)])))
}

/// The server's end of the next connection, to be used when the engine shakes hands.
pub(crate) fn accept(
    streams: &Receiver<TcpStream>,
    config: &Arc<ServerConfig>,
) -> StreamOwned<ServerConnection, TcpStream> {
    let tls = ServerConnection::new(Arc::clone(config)).unwrap();
    let mut stream = StreamOwned::new(tls, streams.recv_timeout(crate::rig::SOON).unwrap());
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock).unwrap();
    }
    stream
}

fn health(proxy: &Proxy, endpoint: SocketAddr) -> EndpointHealth {
    proxy.snapshot().endpoints[&Endpoint(endpoint)].clone()
}

/// Reads so many bytes as a text.
fn heard(stream: &mut impl Read, count: usize) -> String {
    let mut bytes = vec![0; count];
    stream.read_exact(&mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn a_plain_client_reaches_a_backend_by_tls() {
    let ca = Ca::new("ca");
    let backend = tls_backend(at("127.37.4.1:9501"), &ca.issue(&[NAME]));
    let bind = at("127.37.5.1:9500");
    let proxy = proxy();
    apply(&proxy, &[plain(bind, ca.to(NAME), &[backend.address])]);
    let mut stream = connect(bind);
    // The server speaks first, and was asked for the name.
    assert_eq!(heard(&mut stream, 14), format!("{NAME};"));
    stream.write_all(b"hello").unwrap();
    assert_eq!(heard(&mut stream, 5), "hello");
    drop(stream);
    eventually("closed", || proxy.snapshot().open == 0);
    assert_eq!(counters(&proxy).resets, [].into());
    assert_eq!((counters(&proxy).bytes_in, counters(&proxy).bytes_out), (5, 19));
    let health = health(&proxy, backend.address);
    assert_eq!((health.connected, health.failed, health.last_error), (1, 0, None));
}

#[test]
fn tls_ends_here_and_begins_anew() {
    let ca = Ca::new("ca");
    let own = Issued::new(&["a.example.com"]);
    let backend = tls_backend(at("127.37.4.2:9502"), &ca.issue(&["*.example.com"]));
    let bind = at("127.37.5.2:9500");
    let proxy = proxy();
    apply(&proxy, &[secure(bind, ca.to(NAME), backend.address, &own)]);
    let mut stream = shake(bind, "a.example.com", &own.client());
    // What the client asks for here is not what is asked for there.
    assert_eq!(heard(&mut stream, 14), format!("{NAME};"));
    stream.write_all(b"hello").unwrap();
    assert_eq!(heard(&mut stream, 5), "hello");
}

/// Nobody gets through to a backend that is not who it has to be, and it is said why.
#[test]
fn who_cannot_prove_its_name_gets_nothing() {
    let (ca, other) = (Ca::new("ca"), Ca::new("other"));
    let expired = ca.issue_with(&[NAME], |params| params.not_after = date_time_ymd(2020, 1, 1));
    let early = ca.issue_with(&[NAME], |params| params.not_before = date_time_ymd(4000, 1, 1));
    let purpose = ca.issue_with(&[NAME], |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    });
    let cases = [
        (ca.issue(&["c.example.com"]), "is for c.example.com, not for b.example.com"),
        (ca.issue(&["b.example.com.evil.org"]), "not for b.example.com"),
        (ca.issue(&[]), "has no name"),
        (other.issue(&[NAME]), "goes back to no CA that is trusted"),
        (Issued::new(&[NAME]), "goes back to no CA that is trusted"),
        (expired, "has expired"),
        (early, "not valid yet"),
        (purpose, "extendedKeyUsage"),
    ];
    let proxy = proxy();
    let bind = at("127.37.5.3:9500");
    for (number, (issued, why)) in cases.iter().enumerate() {
        let mut address = at("127.37.4.3:9503");
        address.set_port(address.port() + number as u16);
        let backend = tls_backend(address, issued);
        apply(&proxy, &[plain(bind, ca.to(NAME), &[backend.address])]);
        assert_rejected(bind);
        let health = health(&proxy, address);
        assert!(health.last_error.as_ref().unwrap().contains(why), "{why}: {health:?}");
        assert_eq!((health.connected, health.failed), (0, 1), "{why}");
    }
    assert_eq!(counters(&proxy).resets, [(ResetReason::BackendTls, cases.len() as u64)].into());
    assert_eq!(counters(&proxy).bytes_out, 0);
}

/// What is no TLS, what ends or resets, and what says nothing for as long as connecting may take.
#[test]
fn a_backend_that_speaks_no_tls_is_a_failed_attempt() {
    let ca = Ca::new("ca");
    let says = Backend::says(at("127.37.4.4:9501"), "220 plain and simple\r\n");
    let ends = Backend::new(at("127.37.4.5:9501"), drop);
    let (silent, _streams) = Backend::hands_over(at("127.37.4.6:9501"));
    let bind = at("127.37.5.4:9500");
    let (proxy, soon) = (proxy(), Duration::from_millis(300));
    for (backend, why) in [
        (&says, "what it answers is no TLS"),
        (&ends, "ended the connection in the TLS handshake"),
        (&silent, "took too long"),
    ] {
        apply(&proxy, &[within(soon, bind, ca.to(NAME), &[backend.address])]);
        let start = Instant::now();
        let mut client = connect(bind);
        if why == "took too long" {
            client.write_all(b"for nobody but the backend").unwrap();
        }
        assert_reset(&mut client);
        assert!(start.elapsed() < Duration::from_secs(3), "{why}: {:?}", start.elapsed());
        let health = health(&proxy, backend.address);
        let error = health.last_error.as_ref().unwrap();
        // A reset may come before what was said is read.
        let reset = error.contains("eset by peer") || error.contains("in the TLS handshake");
        assert!(error.contains(why) || reset && why != "took too long", "{why}: {health:?}");
        assert_eq!(health.connected, 0);
    }
    assert_eq!(counters(&proxy).resets.values().sum::<u64>(), 3);
    assert_eq!(counters(&proxy).bytes_in, 0, "nothing of the clients was read");
}

#[test]
fn another_endpoint_is_tried_where_one_fails_in_the_handshake() {
    let (ca, other) = (Ca::new("ca"), Ca::new("other"));
    let bad = tls_backend(at("127.37.4.7:9501"), &other.issue(&[NAME]));
    let good = tls_backend(at("127.37.4.8:9501"), &ca.issue(&[NAME]));
    let bind = at("127.37.5.5:9500");
    let proxy = proxy();
    apply(&proxy, &[plain(bind, ca.to(NAME), &[bad.address, good.address])]);
    for _ in 0..20 {
        let mut stream = connect(bind);
        stream.write_all(b"hello").unwrap();
        assert_eq!(heard(&mut stream, 19), format!("{NAME};hello"));
    }
    assert_eq!(good.accepted(), 20);
    let health = health(&proxy, bad.address);
    // The prober may have found meanwhile that it can be connected to.
    assert!(health.failed >= 2 && health.ejections >= 1, "{health:?}");
    assert_eq!(counters(&proxy).resets, [].into());
}

/// GEP-1897: names that are given are looked for instead of the server name.
#[test]
fn subject_names_replace_the_server_name() {
    let ca = Ca::new("ca");
    let id = "spiffe://example.org/ns/default/sa/b";
    let issued = ca.issue_with(&["x.example.com"], |params| {
        params.subject_alt_names.push(SanType::URI(Ia5String::try_from(id).unwrap()));
    });
    let backend = tls_backend(at("127.37.4.9:9501"), &issued);
    let bind = at("127.37.5.6:9500");
    let proxy = proxy();
    let uri = |uri: &str| SubjectName::Uri(uri.to_owned());
    let host = |name: &str| SubjectName::Hostname(name.to_owned());
    for (names, right) in [
        (vec![uri(id)], true),
        (vec![host("q.example.com"), host("X.example.com")], true),
        (vec![host("*.example.com")], true),
        (vec![host("q.example.com"), uri(id)], true),
        (vec![], false),
        (vec![uri("spiffe://example.org/ns/default/sa/B")], false),
        (vec![uri("spiffe://example.org/ns/default/sa/bb")], false),
        (vec![host("*.com"), host(NAME), host(id)], false),
        (vec![uri("x.example.com")], false),
    ] {
        apply(
            &proxy,
            &[plain(
                bind,
                BackendTls { subject_names: names.clone(), ..ca.to(NAME) },
                &[backend.address],
            )],
        );
        if right {
            // The server name is asked for all the same.
            assert_eq!(heard(&mut connect(bind), 14), format!("{NAME};"), "{names:?}");
        } else {
            assert_rejected(bind);
        }
    }
    // The server's own name does not help where others are asked for.
    let named = tls_backend(at("127.37.4.10:9501"), &ca.issue(&[NAME]));
    let tls = BackendTls { subject_names: vec![host("y.example.com")], ..ca.to(NAME) };
    apply(&proxy, &[plain(bind, tls, &[named.address])]);
    assert_rejected(bind);
    let error = health(&proxy, named.address).last_error.unwrap();
    assert!(error.contains("is for b.example.com, not for y.example.com"), "{error}");
}

/// The Gateway shows who it is where a backend asks.
#[test]
fn a_backend_may_want_a_certificate() {
    let (ca, other) = (Ca::new("ca"), Ca::new("other"));
    let config = ca.server(&ca.issue(&[NAME]));
    let backend = Backend::new(at("127.37.4.11:9501"), move |stream| {
        let tls = ServerConnection::new(Arc::clone(&config)).unwrap();
        let mut stream = StreamOwned::new(tls, stream);
        if stream.write_all(b"welcome").is_ok() {
            stream.conn.send_close_notify();
        }
        let _ = stream.flush();
        while let Ok(1..) = stream.sock.read(&mut [0; 64]) {}
    });
    let bind = at("127.37.5.7:9500");
    let proxy = proxy();
    let showing = |certificate: Option<&Issued>| {
        let certificate = certificate.map(|issued| Arc::clone(&issued.certificate));
        [plain(bind, BackendTls { certificate, ..ca.to(NAME) }, &[backend.address])]
    };
    apply(&proxy, &showing(Some(&ca.issue(&["gateway"]))));
    assert_eq!(crate::rig::fetch(bind).unwrap(), b"welcome");
    assert_eq!(counters(&proxy).resets, [].into());
    for (shown, why) in
        [(None, "asks for a client certificate"), (Some(other.issue(&["gateway"])), "refuses the")]
    {
        apply(&proxy, &showing(shown.as_ref()));
        let mut client = connect(bind);
        assert_reset(&mut client);
        // By TLS 1.3 it says so when the handshake is over for us.
        let error = health(&proxy, backend.address).last_error.unwrap();
        assert!(error.contains(why), "{error}");
    }
    assert_eq!(counters(&proxy).resets, [(ResetReason::BackendTls, 2)].into());
}

/// `wellKnownCACertificates: System`.
#[test]
fn the_host_says_whom_to_trust() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("trusted.pem");
    // Each stands for one of the host's own places.
    let none = folder.path().join("none");
    std::fs::create_dir(&none).unwrap();
    let variables =
        [("SSL_CERT_FILE", file.to_str().unwrap()), ("SSL_CERT_DIR", none.to_str().unwrap())];
    child::run_with("backend_tls::child_host_roots", &variables);
}

#[test]
#[ignore = "run by the_host_says_whom_to_trust in a process of its own"]
fn child_host_roots() {
    let (ca, other) = (Ca::new("ca"), Ca::new("other"));
    let good = tls_backend(at("127.37.4.12:9501"), &ca.issue(&[NAME]));
    let bad = tls_backend(at("127.37.4.13:9501"), &other.issue(&[NAME]));
    let bind = at("127.37.5.8:9500");
    let proxy = proxy();
    let host = || BackendTls { roots: None, ..ca.to(NAME) };
    let file = std::env::var("SSL_CERT_FILE").unwrap();
    std::fs::write(&file, "").unwrap();
    apply(&proxy, &[plain(bind, host(), &[good.address])]);
    assert_rejected(bind);
    let error = health(&proxy, good.address).last_error.unwrap();
    assert!(error.contains("ca-certificates"), "{error}");

    std::fs::write(&file, ca.pem()).unwrap();
    apply(&proxy, &[]);
    apply(&proxy, &[plain(bind, host(), &[good.address])]);
    assert_eq!(heard(&mut connect(bind), 14), format!("{NAME};"));
    apply(&proxy, &[plain(bind, host(), &[bad.address])]);
    assert_rejected(bind);
}

#[test]
fn sessions_are_resumed_while_the_policy_stays() {
    let ca = Ca::new("ca");
    let config = ca.issue(&[NAME]).server();
    let (backend, streams) = Backend::hands_over(at("127.37.4.14:9501"));
    let bind = at("127.37.5.9:9500");
    let proxy = proxy();
    let listener = |tls| [plain(bind, tls, &[backend.address])];
    let kind = || {
        let mut client = connect(bind);
        let mut server = accept(&streams, &config);
        server.write_all(b"x").unwrap();
        assert_eq!(heard(&mut client, 1), "x");
        server.conn.handshake_kind()
    };
    // A server that likes another group better costs one round trip more; it is not a resumption.
    let full =
        |kind| matches!(kind, Some(HandshakeKind::Full | HandshakeKind::FullWithHelloRetryRequest));
    apply(&proxy, &listener(ca.to(NAME)));
    assert!(full(kind()));
    assert_eq!(kind(), Some(HandshakeKind::Resumed));
    // The same again is no change, and another share of the same policy shares it.
    apply(&proxy, &listener(ca.to(NAME)));
    assert_eq!(kind(), Some(HandshakeKind::Resumed));
    let mut roots = ca.to(NAME);
    roots.roots.as_mut().unwrap().push(Ca::new("other").root());
    apply(&proxy, &listener(roots));
    assert!(full(kind()), "other roots, another verification");
}

/// Other roots count for new connections; what is open goes on.
#[test]
fn other_roots_close_nothing() {
    let (old, new) = (Ca::new("old"), Ca::new("new"));
    let own = Issued::new(&["a.example.com"]);
    let backend = tls_backend(at("127.37.4.15:9501"), &old.issue(&[NAME]));
    let (one, two) = (at("127.37.5.10:9500"), at("127.37.5.10:9501"));
    let proxy = proxy();
    let listeners = |ca: &Ca| {
        let mut second = secure(two, ca.to(NAME), backend.address, &own);
        second.id.name = "second".to_owned();
        [plain(one, ca.to(NAME), &[backend.address]), second]
    };
    apply(&proxy, &listeners(&old));
    let mut plain = connect(one);
    let mut secured = shake(two, "a.example.com", &own.client());
    let round = |stream: &mut dyn ReadWrite| {
        stream.write_all(b"here").unwrap();
        let mut back = [0; 4];
        stream.read_exact(&mut back).unwrap();
        assert_eq!(&back, b"here");
    };
    heard(&mut plain, 14);
    heard(&mut secured, 14);
    for turn in 0..20 {
        apply(&proxy, &listeners([&new, &old][turn % 2]));
        if turn % 2 == 0 {
            assert_rejected(one);
        }
        round(&mut plain);
        round(&mut secured);
    }
}

trait ReadWrite: Read + Write {}
impl<T: Read + Write> ReadWrite for T {}

/// A client that goes while the handshake with the backend is under way; and one that only ends.
#[test]
fn a_client_may_go_before_the_backend_is_ready() {
    let ca = Ca::new("ca");
    let config = ca.issue(&[NAME]).server();
    let (backend, streams) = Backend::hands_over(at("127.37.4.16:9501"));
    let bind = at("127.37.5.11:9500");
    let (proxy, late) = (proxy(), Duration::from_secs(5));
    apply(&proxy, &[within(late, bind, ca.to(NAME), &[backend.address])]);
    let client = connect(bind);
    let server = streams.recv().unwrap();
    crate::rig::reset(client);
    eventually("gone", || proxy.snapshot().open == 0);
    assert_eq!(counters(&proxy).resets, [(ResetReason::ByClient, 1)].into());
    drop(server);

    let mut client = connect(bind);
    client.write_all(b"all of it").unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    thread::sleep(Duration::from_millis(50));
    let mut server = accept(&streams, &config);
    let mut text = String::new();
    server.read_to_string(&mut text).unwrap();
    assert_eq!(text, "all of it");
    server.write_all(b"and back").unwrap();
    server.conn.send_close_notify();
    server.flush().unwrap();
    assert_eq!(crate::rig::read_all(&mut client).unwrap(), b"and back");
    eventually("closed", || proxy.snapshot().open == 0);
}

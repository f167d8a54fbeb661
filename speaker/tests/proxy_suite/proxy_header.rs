//! PROXY headers: from whom they are taken, in which pieces, and what comes behind them.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustls::StreamOwned;
use vipgate_planner::{Listener, ListenerSettings, Service, Target};
use vipgate_speaker::proxy::{Proxy, ResetReason};

use crate::rig::{
    Backend, apply, assert_reset, at, connect, connect_from, counters, echo, eventually, listener,
    proxy, read_all, route, set, share,
};
use crate::tls::{Issued, by_name, counters_of, get, http, https, session, with};

const V1: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 443\r\n";

/// A header of version 2 for 192.0.2.7, with a TLV.
fn v2() -> Vec<u8> {
    let rest = [
        &[192, 0, 2, 7, 198, 51, 100, 1][..],
        &40000_u16.to_be_bytes(),
        &443_u16.to_be_bytes(),
        &[4, 0, 3, 0, 0, 0],
    ]
    .concat();
    [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0"[..], &[rest.len() as u8], &rest].concat()
}

/// All headers that mean something else.
fn headers() -> Vec<Vec<u8>> {
    vec![
        V1.to_vec(),
        v2(),
        b"PROXY UNKNOWN\r\n".to_vec(),
        b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0".to_vec(),
    ]
}

/// Takes headers from the test's own address.
fn trusting(settings: &mut ListenerSettings) {
    settings.proxy_from = vec!["127.0.0.0/8".parse().unwrap()];
}

fn from(address: &str) -> impl FnOnce(&mut ListenerSettings) {
    let net = format!("{}/32", at(address).ip());
    move |settings| settings.proxy_from = vec![net.parse().unwrap()]
}

fn ended(proxy: &Proxy, bind: SocketAddr, reason: ResetReason) -> u64 {
    let snapshot = proxy.snapshot();
    snapshot.ports.get(&bind).and_then(|port| port.ended.get(&reason).copied()).unwrap_or(0)
}

/// Sends byte by byte, so that the engine sees every prefix.
fn trickle(stream: &mut TcpStream, bytes: &[u8]) {
    stream.set_nodelay(true).unwrap();
    for byte in bytes {
        stream.write_all(&[*byte]).unwrap();
        thread::sleep(Duration::from_micros(300));
    }
}

#[test]
fn a_header_is_taken_away_in_whatever_pieces_it_comes() {
    let backend = Backend::echo(at("127.37.20.2:7000"));
    let (proxy, bind) = (proxy(), at("127.37.20.1:7000"));
    apply(&proxy, &[set(listener("l", bind, vec![share(1, &[backend.address])]), trusting)]);
    for header in headers() {
        let mut whole = connect(bind);
        whole.write_all(&header).unwrap();
        echo(&mut whole, b"after it");
        let mut glued = connect(bind);
        glued.write_all(&[&header, &b"with it"[..]].concat()).unwrap();
        let mut back = [0; 7];
        glued.read_exact(&mut back).unwrap();
        assert_eq!(&back, b"with it");
        let mut pieces = connect(bind);
        trickle(&mut pieces, &header);
        // Another header is data.
        echo(&mut pieces, V1);
        pieces.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_all(&mut pieces).unwrap(), b"");
    }
    let counted = counters(&proxy);
    assert_eq!((counted.accepted, counted.resets.len()), (12, 0));
    assert_eq!(proxy.snapshot().ports[&bind].accepted, 12);
}

/// A client that is not trusted says what it likes: it is its own data.
#[test]
fn a_header_of_somebody_else_is_data() {
    let backend = Backend::echo(at("127.37.21.2:7000"));
    let (proxy, bind) = (proxy(), at("127.37.21.1:7000"));
    let listener = listener("l", bind, vec![share(1, &[backend.address])]);
    let (trusted, other) = (at("127.37.21.3:1").ip(), at("127.37.21.4:1").ip());
    apply(&proxy, &[set(listener, from("127.37.21.3:1"))]);
    for header in headers() {
        let mut spoofing = connect_from(other, bind).unwrap();
        echo(&mut spoofing, &header);
        let mut honest = connect_from(trusted, bind).unwrap();
        honest.write_all(&header).unwrap();
        echo(&mut honest, b"x");
    }
    // And it has all the time that it likes.
    let mut silent = connect_from(other, bind).unwrap();
    assert!(backend.accepted() >= 8);
    echo(&mut silent, b"late");
}

#[test]
fn a_wrong_or_missing_header_is_reset_and_has_its_reason() {
    let backend = Backend::echo(at("127.37.22.2:7000"));
    let (proxy, bind) = (proxy(), at("127.37.22.1:7000"));
    let listener = set(listener("l", bind, vec![share(1, &[backend.address])]), |settings| {
        trusting(settings);
        settings.handshake_timeout = Duration::from_millis(300);
    });
    apply(&proxy, &[listener]);
    let bad: [&[u8]; 4] =
        [b"GET / HTTP/1.1\r\n", b"PROXY TCP4 nobody\r\n", &[22, 3, 1], &[b'\r'; 9]];
    for bytes in bad {
        let mut stream = connect(bind);
        stream.write_all(bytes).unwrap();
        assert_reset(&mut stream);
    }
    assert_eq!(ended(&proxy, bind, ResetReason::ProxyHeader), 4);
    // Not a whole one in time.
    for part in [&b""[..], &V1[..V1.len() - 1], &v2()[..20]] {
        let mut stream = connect(bind);
        let begin = Instant::now();
        stream.write_all(part).unwrap();
        assert_reset(&mut stream);
        let took = begin.elapsed();
        assert!(took > Duration::from_millis(250) && took < Duration::from_secs(3), "{took:?}");
    }
    assert_eq!(ended(&proxy, bind, ResetReason::Silent), 3);
    // The end of the stream before the end of the header.
    let mut stream = connect(bind);
    stream.write_all(&V1[..10]).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_reset(&mut stream);
    assert_eq!(ended(&proxy, bind, ResetReason::ByClient), 1);
    assert_eq!((backend.accepted(), counters(&proxy).accepted), (0, 0));
    eventually("nothing is left", || proxy.snapshot().open == 0);
}

/// The header comes before TLS, and is none of the handshake.
#[test]
fn tls_begins_behind_the_header() {
    let backend = Backend::echo(at("127.37.23.2:7000"));
    let (proxy, bind) = (proxy(), at("127.37.23.1:7000"));
    let issued = Issued::new(&["a.example.com"]);
    apply(&proxy, &[set(https("l", bind, "a.example.com", backend.address, &issued), trusting)]);
    for header in headers() {
        for piecemeal in [false, true] {
            let mut session = session("a.example.com", &issued.client());
            let mut first = header.clone();
            session.write_tls(&mut first).unwrap();
            let mut stream = connect(bind);
            match piecemeal {
                true => trickle(&mut stream, &first),
                false => stream.write_all(&first).unwrap(),
            }
            let mut stream = StreamOwned::new(session, stream);
            stream.write_all(b"secret").unwrap();
            let mut back = [0; 6];
            stream.read_exact(&mut back).unwrap();
            assert_eq!(&back, b"secret");
        }
    }
    assert_eq!(counters(&proxy).accepted, 8);
}

/// Listeners of one port that are told apart by name: whom one of them trusts begins with a header at all.
#[test]
fn a_shared_port_trusts_whom_any_listener_trusts() {
    let (a, b) = (Backend::echo(at("127.37.24.2:7000")), Backend::echo(at("127.37.24.3:7000")));
    let (proxy, bind) = (proxy(), at("127.37.24.1:7000"));
    let trusted = at("127.37.24.4:1").ip();
    // The header's client may use the one and not the other.
    let denying = |settings: &mut ListenerSettings| {
        settings.denied = vec!["192.0.2.0/24".parse().unwrap()];
    };
    apply(
        &proxy,
        &[
            set(http("a", bind, "a.example.com", a.address), from("127.37.24.4:1")),
            set(http("b", bind, "b.example.com", b.address), denying),
        ],
    );
    let ask = |host: &str| {
        let mut stream = connect_from(trusted, bind).unwrap();
        stream.write_all(V1).unwrap();
        stream.write_all(&get(host)).unwrap();
        stream
    };
    let mut back = vec![0; get("a.example.com").len()];
    ask("a.example.com").read_exact(&mut back).unwrap();
    assert_eq!(back, get("a.example.com"), "the header is not part of it");
    assert_reset(&mut ask("b.example.com"));
    assert_eq!(counters_of(&proxy, "b").resets, [(ResetReason::NotAllowed, 1)].into());
    // Who comes without a header is nobody of 192.0.2.0/24.
    let mut plain = connect(bind);
    plain.write_all(&get("b.example.com")).unwrap();
    plain.read_exact(&mut back).unwrap();
}

/// A connection whose header is awaited belongs to its port: listeners may change meanwhile.
#[test]
fn listeners_may_change_while_a_header_is_awaited() {
    let backend = Backend::echo(at("127.37.25.2:7000"));
    let (proxy, bind) = (proxy(), at("127.37.25.1:7000"));
    let target = |name: &str| {
        Service::Tcp(Some(Arc::new(Target {
            route: route(name),
            shares: vec![share(1, &[backend.address])],
        })))
    };
    let of = |name: &str| Listener {
        attached: [route(name)].into(),
        ..set(with("l", bind, target(name)), trusting)
    };
    apply(&proxy, &[of("one")]);
    let mut stream = connect(bind);
    stream.write_all(&V1[..20]).unwrap();
    eventually("it is there", || proxy.snapshot().open == 1);
    apply(&proxy, &[of("two")]);
    stream.write_all(&V1[20..]).unwrap();
    echo(&mut stream, b"served");
    // Nor does it matter that headers are no longer asked for.
    let mut other = connect(bind);
    other.write_all(&V1[..20]).unwrap();
    eventually("it is there", || proxy.snapshot().open == 2);
    let bare = Service::Http(by_name(Some("a.example.com"), &[(None, backend.address)]));
    apply(&proxy, &[of("two"), Listener { bind: at("127.37.25.1:7001"), ..with("m", bind, bare) }]);
    other.write_all(&V1[20..]).unwrap();
    echo(&mut other, b"served, too");
}

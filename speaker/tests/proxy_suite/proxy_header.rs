//! What backends are told of clients: the PROXY protocol.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use vipgate_planner::{
    BackendSettings, BackendShare, ByName, Listener, ProxyVersion, Service, Target, Termination,
    Tls,
};

use crate::balancing::connect_from;
use crate::rig::{
    Backend, SOON, apply, at, connect, echo, listener, proxy, proxy_with, read_all, route,
    share_with,
};
use crate::tls::{Issued, secure, with};

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

fn v1(settings: &mut BackendSettings) {
    settings.proxy_protocol = Some(ProxyVersion::V1);
}

fn v2(settings: &mut BackendSettings) {
    settings.proxy_protocol = Some(ProxyVersion::V2);
}

/// A header of version 2: from, to, and what else it says.
fn read_v2(stream: &mut impl Read) -> (SocketAddr, SocketAddr, Vec<(u8, Vec<u8>)>) {
    let mut head = [0; 16];
    stream.read_exact(&mut head).unwrap();
    assert_eq!((&head[..12], head[12]), (SIGNATURE, 0x21));
    let mut body = vec![0; u16::from_be_bytes([head[14], head[15]]).into()];
    stream.read_exact(&mut body).unwrap();
    let size = match head[13] {
        0x11 => 4,
        0x21 => 16,
        other => panic!("a family of {other:#x}"),
    };
    let address = |bytes: &[u8]| -> IpAddr {
        match <[u8; 4]>::try_from(bytes) {
            Ok(bytes) => bytes.into(),
            Err(_) => <[u8; 16]>::try_from(bytes).unwrap().into(),
        }
    };
    let port = |at: usize| u16::from_be_bytes([body[at], body[at + 1]]);
    let from = (address(&body[..size]), port(2 * size)).into();
    let to = (address(&body[size..2 * size]), port(2 * size + 2)).into();
    let mut said = Vec::new();
    let mut rest = &body[2 * size + 4..];
    while let [kind, high, low, more @ ..] = rest {
        let (value, after) = more.split_at(u16::from_be_bytes([*high, *low]).into());
        said.push((*kind, value.to_vec()));
        rest = after;
    }
    (from, to, said)
}

/// Many clients at once, of which each is told of as itself; and nothing is lost or added behind.
#[test]
fn version_one_names_client_and_vip() {
    let backend = Backend::echo(at("127.39.20.2:9710"));
    let bind = at("127.39.20.1:9710");
    let proxy = proxy();
    apply(&proxy, &[listener("l", bind, vec![share_with(1, &[backend.address], v1)])]);
    for host in 1..30 {
        let mut client = connect_from([127, 77, 2, host].into(), bind);
        if host % 2 == 0 {
            client.write_all(b"early").unwrap();
        }
        let from = client.local_addr().unwrap();
        let line =
            format!("PROXY TCP4 {} {} {} {}\r\n", from.ip(), bind.ip(), from.port(), bind.port());
        let mut back = vec![0; line.len()];
        client.read_exact(&mut back).unwrap();
        assert_eq!(String::from_utf8_lossy(&back), line);
        if host % 2 == 0 {
            let mut early = [0; 5];
            client.read_exact(&mut early).unwrap();
            assert_eq!(&early, b"early");
        }
        echo(&mut client, b"and on");
    }
}

/// The backend speaks first: it is not to wait for the header until the client does.
#[test]
fn a_silent_client_is_told_of_at_once() {
    let (backend, streams) = Backend::hands_over(at("127.39.21.2:9710"));
    let bind = at("127.39.21.1:9710");
    let proxy = proxy();
    apply(&proxy, &[listener("l", bind, vec![share_with(1, &[backend.address], v2)])]);
    let mut fastest = SOON;
    for _ in 0..10 {
        let begin = Instant::now();
        let mut client = connect(bind);
        let mut server = streams.recv_timeout(SOON).unwrap();
        let (from, to, said) = read_v2(&mut server);
        assert_eq!((from, to), (client.local_addr().unwrap(), bind));
        fastest = fastest.min(begin.elapsed());
        assert!(said.is_empty(), "{said:?}");
        server.write_all(b"220 ready").unwrap();
        drop(server);
        assert_eq!(read_all(&mut client).unwrap(), b"220 ready");
    }
    // A segment that is to wait for more waits for 200 ms each time.
    assert!(fastest < Duration::from_millis(150), "{fastest:?}");
}

#[test]
fn clients_of_ipv6_are_told_of_as_such() {
    let (backend, streams) = Backend::hands_over(at("127.39.22.2:9710"));
    let port = at("127.39.22.1:9710").port();
    let bind = SocketAddr::from((Ipv6Addr::LOCALHOST, port));
    let proxy = proxy();
    for version in [v1 as fn(&mut BackendSettings), v2] {
        apply(&proxy, &[listener("l", bind, vec![share_with(1, &[backend.address], version)])]);
        let client = connect(bind);
        let from = client.local_addr().unwrap();
        let mut server = streams.recv_timeout(SOON).unwrap();
        if std::ptr::fn_addr_eq(version, v2 as fn(&mut BackendSettings)) {
            assert_eq!(read_v2(&mut server), (from, bind, Vec::new()));
        } else {
            drop(client);
            let said = String::from_utf8(read_all(&mut server).unwrap()).unwrap();
            assert_eq!(said, format!("PROXY TCP6 ::1 ::1 {} {port}\r\n", from.port()));
        }
    }
}

/// Each attempt is a connection of its own; the one that succeeds gets one header.
#[test]
fn after_a_failed_attempt_the_next_is_told() {
    let (backend, streams) = Backend::hands_over(at("127.39.23.2:9710"));
    let dead = at("127.39.23.3:9710");
    let bind = at("127.39.23.1:9710");
    let proxy = proxy_with(|config| config.workers = 1.try_into().unwrap());
    apply(&proxy, &[listener("l", bind, vec![share_with(1, &[dead, backend.address], v2)])]);
    for _ in 0..4 {
        let mut client = connect(bind);
        client.write_all(b"hello").unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        let mut server = streams.recv_timeout(SOON).unwrap();
        assert_eq!(read_v2(&mut server).0, client.local_addr().unwrap());
        assert_eq!(read_all(&mut server).unwrap(), b"hello");
    }
}

/// All to one endpoint that is to be told by version 2.
fn told(to: SocketAddr) -> ByName {
    let shares: Vec<BackendShare> = vec![share_with(1, &[to], v2)];
    ByName { hostname: None, targets: vec![(None, Arc::new(Target { route: route("r"), shares }))] }
}

/// Where TLS ends here, the backend learns what was said in it.
#[test]
fn what_tls_said_is_passed_on() {
    let (backend, streams) = Backend::hands_over(at("127.39.24.2:9710"));
    let bind = at("127.39.24.1:9710");
    let issued = Issued::new(&["a.example.com"]);
    let end = Termination {
        certificates: vec![Arc::clone(&issued.certificate)],
        alpn: vec!["h2".to_owned(), "imap".to_owned()],
        clients: None,
    };
    let proxy = proxy();
    apply(&proxy, &[with("tls", bind, Service::Tls(told(backend.address), Tls::Terminate(end)))]);
    let ask = |alpn: &[&str]| {
        let mut config = issued.client();
        Arc::make_mut(&mut config).alpn_protocols =
            alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let mut client = secure(bind, "a.example.com", &config);
        client.write_all(b"hello").unwrap();
        client.flush().unwrap();
        let mut server = streams.recv_timeout(SOON).unwrap();
        let (from, to, said) = read_v2(&mut server);
        assert_eq!((from, to), (client.sock.local_addr().unwrap(), bind));
        let mut hello = [0; 5];
        server.read_exact(&mut hello).unwrap();
        assert_eq!(&hello, b"hello");
        said
    };
    let authority = (0x02, b"a.example.com".to_vec());
    let mut ssl = vec![1, 0, 0, 0, 1, 0x21, 0, 7];
    ssl.extend(b"TLSv1.3");
    let ssl = (0x20, ssl);
    let alpn = (0x01, b"imap".to_vec());
    assert_eq!(ask(&["imap"]), [alpn, authority.clone(), ssl.clone()]);
    assert_eq!(ask(&[]), [authority, ssl]);
}

/// Where it does not, the server name is what was read; the handshake is the backend's, as it came.
#[test]
fn the_server_name_of_what_is_passed_through_is_passed_on() {
    let issued = Issued::new(&["a.example.com"]);
    let config = issued.server();
    let (sender, receiver) = std::sync::mpsc::sync_channel(16);
    let backend = Backend::new(at("127.39.25.2:9710"), move |mut stream: TcpStream| {
        stream.set_read_timeout(Some(SOON)).unwrap();
        sender.send(read_v2(&mut stream)).unwrap();
        let tls = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
        let mut stream = rustls::StreamOwned::new(tls, stream);
        stream.write_all(b"inside").unwrap();
        stream.conn.send_close_notify();
        stream.flush().unwrap();
    });
    let bind = at("127.39.25.1:9710");
    let proxy = proxy();
    let listener: Listener =
        with("tls", bind, Service::Tls(told(backend.address), Tls::Passthrough));
    apply(&proxy, &[listener]);
    let mut client = secure(bind, "a.example.com", &issued.client());
    let mut inside = Vec::new();
    client.read_to_end(&mut inside).unwrap();
    assert_eq!(inside, b"inside");
    let (from, to, said) = receiver.recv_timeout(SOON).unwrap();
    assert_eq!((from, to), (client.sock.local_addr().unwrap(), bind));
    assert_eq!(said, [(0x02, b"a.example.com".to_vec())]);
}

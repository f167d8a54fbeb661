//! Listeners that are told apart by a name: the Host of a request, the server name of a handshake.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use vipgate_api::ObjectKey;
use vipgate_planner::{ByName, Certificate, Listener, Service, Target};
use vipgate_speaker::proxy::ResetReason;

use crate::rig::{Backend, apply, at, connect, listener, proxy, route, share};

/// The target of the route `r` with this one endpoint.
fn target(to: SocketAddr) -> Arc<Target> {
    Arc::new(Target { route: route("r"), shares: vec![share(1, &[to])] })
}

fn by_name(hostname: Option<&str>, targets: &[(Option<&str>, SocketAddr)]) -> ByName {
    let targets = targets.iter().map(|(name, to)| (name.map(str::to_owned), target(*to))).collect();
    ByName { hostname: hostname.map(str::to_owned), targets }
}

fn with(name: &str, bind: SocketAddr, service: Service) -> Listener {
    Listener { service, ..listener(name, bind, Vec::new()) }
}

/// Says which server was reached, then echoes.
fn server(address: &str, says: &'static str) -> Backend {
    Backend::new(at(address), move |mut stream| {
        let mut buffer = [0; 4096];
        let mut greeted = says.is_empty();
        while let Ok(read @ 1..) = stream.read(&mut buffer) {
            if !greeted {
                greeted = true;
                if stream.write_all(says.as_bytes()).is_err() {
                    return;
                }
                if says == "one" && read == 1 {
                    // Also what came.
                    let _ = stream.write_all(&buffer[..read]);
                }
                continue;
            }
            if stream.write_all(&buffer[..read]).is_err() {
                return;
            }
        }
    })
}

/// What a request gets back: the first bytes, as many as are there at once.
fn answer(to: SocketAddr, request: &[u8]) -> String {
    let mut stream = connect(to);
    stream.write_all(request).unwrap();
    let mut buffer = [0; 256];
    let read = stream.read(&mut buffer).unwrap();
    String::from_utf8_lossy(&buffer[..read]).into_owned()
}

fn get(host: &str) -> Vec<u8> {
    format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").into_bytes()
}

#[test]
fn the_host_of_the_first_request_decides() {
    let (one, two, any) = (
        server("127.37.0.1:9501", "one"),
        server("127.37.0.2:9501", "two"),
        server("127.37.0.3:9501", "any"),
    );
    let bind = at("127.37.1.1:9500");
    let proxy = proxy();
    apply(
        &proxy,
        &[
            with(
                "exact",
                bind,
                Service::Http(by_name(Some("a.example.com"), &[(None, one.address)])),
            ),
            with(
                "wide",
                bind,
                Service::Http(by_name(
                    Some("*.example.com"),
                    &[
                        (Some("b.example.com"), two.address),
                        (Some("*.deep.example.com"), any.address),
                    ],
                )),
            ),
        ],
    );
    assert_eq!(answer(bind, &get("a.example.com")), "one");
    assert_eq!(answer(bind, &get("A.Example.com:80")), "one");
    assert_eq!(answer(bind, &get("b.example.com")), "two");
    assert_eq!(answer(bind, &get("x.deep.example.com")), "any");
    assert!(answer(bind, &get("c.example.com")).starts_with("HTTP/1.1 404 Not Found\r\n"));
    assert!(answer(bind, &get("other.org")).starts_with("HTTP/1.1 404 Not Found\r\n"));
    assert!(answer(bind, b"nonsense\r\n\r\n").starts_with("HTTP/1.1 400 Bad Request\r\n"));
    let snapshot = proxy.snapshot();
    let accepted: u64 = snapshot.listeners.values().map(|listener| listener.accepted).sum();
    assert_eq!(accepted, 7);
}

#[test]
fn a_request_that_comes_in_pieces_reaches_the_server_whole() {
    let one = server("127.37.0.4:9502", "");
    let bind = at("127.37.1.2:9500");
    let proxy = proxy();
    let name = by_name(None, &[(Some("a.example.com"), one.address)]);
    apply(&proxy, &[with("web", bind, Service::Http(name))]);
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
    let one = server("127.37.0.5:9503", "");
    let bind = at("127.37.1.3:9500");
    let proxy = proxy();
    let name = by_name(Some("a.example.com"), &[(None, one.address)]);
    apply(&proxy, &[with("web", bind, Service::Http(name))]);
    let mut stream = connect(bind);
    stream.write_all(b"GET / HTTP/1.1\r\n").unwrap();
    let start = Instant::now();
    let error = stream.read(&mut [0; 8]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert!(start.elapsed() > Duration::from_secs(4), "{:?}", start.elapsed());
    let resets = &proxy.snapshot().listeners.into_values().next().unwrap().resets;
    assert_eq!(resets.get(&ResetReason::Silent), Some(&1));
}

/// A certificate for these names, signed by itself.
fn certificate(names: &[&str]) -> (Arc<Certificate>, rustls::pki_types::CertificateDer<'static>) {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let made = rcgen::generate_simple_self_signed(names.clone()).unwrap();
    let der = made.cert.der().clone();
    let certificate = Certificate {
        secret: ObjectKey::new("default", &names[0]),
        names,
        chain: vec![der.to_vec()],
        key: made.signing_key.serialize_der(),
    };
    (Arc::new(certificate), der)
}

fn client(roots: &[&rustls::pki_types::CertificateDer<'static>]) -> Arc<ClientConfig> {
    let mut store = RootCertStore::empty();
    for root in roots {
        store.add((*root).clone()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    Arc::new(config.unwrap().with_root_certificates(store).with_no_client_auth())
}

fn secure(
    to: SocketAddr,
    name: &str,
    config: &Arc<ClientConfig>,
) -> StreamOwned<ClientConnection, TcpStream> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    StreamOwned::new(ClientConnection::new(Arc::clone(config), name).unwrap(), connect(to))
}

fn said(to: SocketAddr, name: &str, config: &Arc<ClientConfig>) -> std::io::Result<String> {
    let mut stream = secure(to, name, config);
    stream.write_all(b"hello")?;
    let mut buffer = [0; 16];
    let read = stream.read(&mut buffer)?;
    Ok(String::from_utf8_lossy(&buffer[..read]).into_owned())
}

#[test]
fn the_server_name_decides_certificate_and_target() {
    let (one, two) = (server("127.37.0.6:9504", "one"), server("127.37.0.7:9504", "two"));
    let (exact, exact_der) = certificate(&["a.example.com"]);
    let (wide, wide_der) = certificate(&["*.example.com"]);
    let bind = at("127.37.1.4:9500");
    let proxy = proxy();
    let listeners = |exact: Arc<Certificate>| {
        [
            with(
                "exact",
                bind,
                Service::Https(by_name(Some("a.example.com"), &[(None, one.address)]), vec![exact]),
            ),
            with(
                "wide",
                bind,
                Service::Https(
                    by_name(Some("*.example.com"), &[(None, two.address)]),
                    vec![Arc::clone(&wide)],
                ),
            ),
        ]
    };
    apply(&proxy, &listeners(exact));
    let config = client(&[&exact_der, &wide_der]);
    assert_eq!(said(bind, "a.example.com", &config).unwrap(), "one");
    assert_eq!(said(bind, "b.example.com", &config).unwrap(), "two");
    let error = said(bind, "other.org", &config).unwrap_err().to_string();
    assert!(error.contains("UnrecognizedName") || error.contains("UnrecognisedName"), "{error}");

    // A new certificate: open connections go on, new ones see it.
    let mut open = secure(bind, "a.example.com", &config);
    open.write_all(b"x").unwrap();
    let mut greeting = [0; 3];
    open.read_exact(&mut greeting).unwrap();
    let (renewed, renewed_der) = certificate(&["a.example.com"]);
    apply(&proxy, &listeners(renewed));
    assert_eq!(said(bind, "a.example.com", &client(&[&renewed_der])).unwrap(), "one");
    assert!(said(bind, "a.example.com", &client(&[&exact_der])).is_err());
    let mut echoed = [0; 1];
    open.read_exact(&mut echoed).unwrap();
    open.write_all(b"still here").unwrap();
    let mut back = [0; 10];
    open.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"still here");
}

#[test]
fn many_bytes_go_both_ways_through_tls_and_an_orderly_end_is_passed_on() {
    let one = server("127.37.0.8:9505", "");
    let (cert, der) = certificate(&["a.example.com"]);
    let bind = at("127.37.1.5:9500");
    let proxy = proxy();
    let service = Service::Https(by_name(None, &[(None, one.address)]), vec![cert]);
    apply(&proxy, &[with("web", bind, service)]);
    let mut stream = secure(bind, "a.example.com", &client(&[&der]));
    let block: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    for round in 0..50 {
        stream.write_all(&block).unwrap();
        let mut back = vec![0; block.len()];
        stream.read_exact(&mut back).unwrap();
        assert!(back == block, "round {round}");
    }
    // The server echoes until the end, then ends too.
    stream.conn.send_close_notify();
    stream.flush().unwrap();
    assert_eq!(stream.read(&mut [0; 8]).unwrap(), 0, "an orderly end");
}

#[test]
fn a_hello_that_comes_in_pieces_is_read_and_what_is_no_hello_is_refused() {
    let one = server("127.37.0.9:9506", "one");
    let (cert, der) = certificate(&["a.example.com"]);
    let bind = at("127.37.1.6:9500");
    let proxy = proxy();
    let service = Service::Https(by_name(None, &[(None, one.address)]), vec![cert]);
    apply(&proxy, &[with("web", bind, service)]);
    let name = ServerName::try_from("a.example.com").unwrap();
    let mut tls = ClientConnection::new(client(&[&der]), name).unwrap();
    let mut hello = Vec::new();
    tls.write_tls(&mut hello).unwrap();
    let mut stream = connect(bind);
    stream.set_nodelay(true).unwrap();
    for piece in hello.chunks(7) {
        stream.write_all(piece).unwrap();
        thread::sleep(Duration::from_millis(1));
    }
    let mut stream = StreamOwned::new(tls, stream);
    stream.write_all(b"x").unwrap();
    let mut greeting = [0; 3];
    stream.read_exact(&mut greeting).unwrap();
    assert_eq!(&greeting, b"one");

    let mut garbage = connect(bind);
    garbage.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let mut alert = [0; 7];
    garbage.read_exact(&mut alert).unwrap();
    assert_eq!(alert[0], 21, "an alert: {alert:?}");
}

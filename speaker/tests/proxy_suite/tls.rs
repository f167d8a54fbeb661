//! What the tests of HTTP and HTTPS listeners are built from: names, certificates, TLS clients.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use vipgate_api::ObjectKey;
use vipgate_planner::{ByName, Certificate, Listener, Service, Target, Termination, Tls};
use vipgate_speaker::proxy::{ListenerCounters, Proxy};

use crate::rig::{Backend, connect, listener, route, share};

/// A server that ends TLS with this certificate: says the server name it was asked for, then echoes.
pub(crate) fn tls_backend(address: SocketAddr, issued: &Issued) -> Backend {
    let config = issued.server();
    Backend::new(address, move |stream| {
        let tls = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
        let mut stream = StreamOwned::new(tls, stream);
        while stream.conn.is_handshaking() {
            if stream.conn.complete_io(&mut stream.sock).is_err() {
                return;
            }
        }
        let name = stream.conn.server_name().unwrap_or("nothing").to_owned();
        let mut buffer = [0; 16 * 1024];
        let mut said = stream.write_all(format!("{name};").as_bytes());
        while said.is_ok()
            && let Ok(read @ 1..) = stream.read(&mut buffer)
        {
            said = stream.write_all(&buffer[..read]);
        }
        stream.conn.send_close_notify();
        let _ = stream.flush();
    })
}

/// A listener for TLS that ends at the backend.
pub(crate) fn passthrough(
    name: &str,
    bind: SocketAddr,
    hostname: Option<&str>,
    targets: &[(Option<&str>, SocketAddr)],
) -> Listener {
    with(name, bind, Service::Tls(by_name(hostname, targets), Tls::Passthrough))
}

/// A client's end of a TLS connection.
pub(crate) type TlsStream = StreamOwned<ClientConnection, TcpStream>;

/// The target of the route `r` with this one endpoint.
pub(crate) fn target(to: SocketAddr) -> Arc<Target> {
    Arc::new(Target { route: route("r"), shares: vec![share(1, &[to])] })
}

/// A choice by name.
pub(crate) fn by_name(hostname: Option<&str>, targets: &[(Option<&str>, SocketAddr)]) -> ByName {
    let targets = targets.iter().map(|(name, to)| (name.map(str::to_owned), target(*to))).collect();
    ByName { hostname: hostname.map(str::to_owned), targets }
}

/// How HTTPS ends TLS.
pub(crate) fn terminate(certificates: Vec<Arc<Certificate>>) -> Termination {
    Termination { certificates, alpn: vec!["http/1.1".to_owned()], clients: None }
}

/// A listener with this service.
pub(crate) fn with(name: &str, bind: SocketAddr, service: Service) -> Listener {
    Listener { service, ..listener(name, bind, Vec::new()) }
}

/// A listener for requests for this host, all to one endpoint.
pub(crate) fn http(name: &str, bind: SocketAddr, host: &str, to: SocketAddr) -> Listener {
    with(name, bind, Service::Http(by_name(Some(host), &[(None, to)])))
}

/// A listener for handshakes with this name, all to one endpoint.
pub(crate) fn https(
    name: &str,
    bind: SocketAddr,
    host: &str,
    to: SocketAddr,
    certificate: &Issued,
) -> Listener {
    let service = Service::Https(
        by_name(Some(host), &[(None, to)]),
        terminate(vec![Arc::clone(&certificate.certificate)]),
    );
    with(name, bind, service)
}

/// The counters of the listener with this name.
pub(crate) fn counters_of(proxy: &Proxy, name: &str) -> ListenerCounters {
    let listeners = proxy.snapshot().listeners;
    listeners.into_iter().find(|(id, _)| id.name == name).unwrap().1
}

/// A request for a host.
pub(crate) fn get(host: &str) -> Vec<u8> {
    format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").into_bytes()
}

/// A certificate that was made for a test.
pub(crate) struct Issued {
    pub(crate) certificate: Arc<Certificate>,
    pub(crate) der: CertificateDer<'static>,
}

impl Issued {
    /// For these names, signed by itself.
    pub(crate) fn new(names: &[&str]) -> Self {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names.clone()).unwrap();
        let der = made.cert.der().clone();
        let certificate = Certificate {
            secret: ObjectKey::new("default", &names[0]),
            names,
            chain: vec![der.to_vec()],
            key: made.signing_key.serialize_der(),
        };
        Self { certificate: Arc::new(certificate), der }
    }

    /// A server that shows it.
    pub(crate) fn server(&self) -> Arc<rustls::ServerConfig> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let key = PrivateKeyDer::try_from(self.certificate.key.clone()).unwrap();
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![self.der.clone()], key);
        Arc::new(config.unwrap())
    }

    /// A client that trusts this one only.
    pub(crate) fn client(&self) -> Arc<ClientConfig> {
        Arc::new(client_config(&[self]))
    }
}

/// What a client needs that trusts these; it remembers sessions.
pub(crate) fn client_config(trusted: &[&Issued]) -> ClientConfig {
    let mut store = RootCertStore::empty();
    for issued in trusted {
        store.add(issued.der.clone()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(store)
        .with_no_client_auth()
}

/// The client's side of a handshake, not yet begun.
pub(crate) fn session(name: &str, config: &Arc<ClientConfig>) -> ClientConnection {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    ClientConnection::new(Arc::clone(config), name).unwrap()
}

/// Connects; the handshake comes with the first bytes.
pub(crate) fn secure(to: SocketAddr, name: &str, config: &Arc<ClientConfig>) -> TlsStream {
    StreamOwned::new(session(name, config), connect(to))
}

/// The same with the handshake done.
pub(crate) fn shake(to: SocketAddr, name: &str, config: &Arc<ClientConfig>) -> TlsStream {
    let mut stream = secure(to, name, config);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock).unwrap();
    }
    stream
}

/// What comes back for a word.
pub(crate) fn said(
    to: SocketAddr,
    name: &str,
    config: &Arc<ClientConfig>,
) -> std::io::Result<String> {
    let mut stream = secure(to, name, config);
    stream.write_all(b"hello")?;
    let mut buffer = [0; 16];
    let read = stream.read(&mut buffer)?;
    Ok(String::from_utf8_lossy(&buffer[..read]).into_owned())
}

/// A ClientHello in its record.
pub(crate) fn hello(session: &mut ClientConnection) -> Vec<u8> {
    let mut hello = Vec::new();
    session.write_tls(&mut hello).unwrap();
    hello
}

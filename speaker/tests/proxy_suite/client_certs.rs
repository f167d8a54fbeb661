//! Certificates of clients, and which versions and ciphers of TLS a listener agrees on.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::client::ResolvesClientCert;
use rustls::crypto::aws_lc_rs;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::sign::CertifiedKey;
use rustls::{
    CipherSuite, ClientConfig, HandshakeKind, ProtocolVersion, SignatureScheme,
    SupportedProtocolVersion,
};
use vipgate_planner::{
    ClientValidation, Listener, ListenerSettings, Service, TlsRange, TlsVersion,
};
use vipgate_speaker::proxy::ResetReason;

use crate::ca::{Ca, key};
use crate::rig::{Backend, apply, at, counters, eventually, proxy};
use crate::tls::{Issued, by_name, client_config, secure, shake, terminate, with};

const NAME: &str = "a.example.com";

/// A listener that looks at its clients like this.
fn listener(
    bind: SocketAddr,
    to: SocketAddr,
    own: &Issued,
    clients: Option<ClientValidation>,
) -> Listener {
    let mut end = terminate(vec![Arc::clone(&own.certificate)]);
    end.alpn = Vec::new();
    end.clients = clients.map(Arc::new);
    with("web", bind, Service::Https(by_name(None, &[(None, to)]), end))
}

fn validation(cas: &[&Ca], optional: bool) -> Option<ClientValidation> {
    Some(ClientValidation { roots: cas.iter().map(|ca| ca.root()).collect(), optional })
}

/// What comes back for a word; what was refused says so when it is read, at the latest.
fn said(bind: SocketAddr, config: &ClientConfig) -> std::io::Result<HandshakeKind> {
    let mut stream = secure(bind, NAME, &Arc::new(config.clone()));
    stream.write_all(b"hello")?;
    let mut back = [0; 5];
    stream.read_exact(&mut back)?;
    assert_eq!(&back, b"hello");
    Ok(stream.conn.handshake_kind().unwrap())
}

#[track_caller]
fn refused(bind: SocketAddr, config: &ClientConfig, alert: &str) {
    let error = said(bind, config).unwrap_err().to_string();
    assert!(error.contains(alert), "{alert}: {error}");
}

/// The same client by one version only.
fn by(
    version: &'static SupportedProtocolVersion,
    own: &Issued,
    shown: Option<&Issued>,
) -> ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(own.der.clone()).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots);
    match shown {
        Some(shown) => builder.with_client_auth_cert(vec![shown.der.clone()], key(shown)).unwrap(),
        None => builder.with_no_client_auth(),
    }
}

#[test]
fn only_clients_with_a_right_certificate_come_in() {
    let (ca, other, own) = (Ca::new("ca"), Ca::new("other"), Issued::new(&[NAME]));
    let backend = Backend::echo(at("127.37.8.1:9501"));
    let bind = at("127.37.9.1:9500");
    let proxy = proxy();
    apply(&proxy, &[listener(bind, backend.address, &own, validation(&[&ca], false))]);
    let (right, wrong) = (ca.issue(&["client"]), other.issue(&["client"]));
    let expired = ca.issue_with(&["client"], |params| {
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    });
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        said(bind, &by(version, &own, Some(&right))).unwrap();
        refused(bind, &by(version, &own, None), "CertificateRequired");
        refused(bind, &by(version, &own, Some(&wrong)), "UnknownCA");
        refused(bind, &by(version, &own, Some(&expired)), "CertificateExpired");
    }
    assert_eq!(backend.accepted(), 2);
    eventually("closed", || proxy.snapshot().open == 0);
    // Those that came in went without close_notify.
    let resets = [(ResetReason::Tls, 6), (ResetReason::ByClient, 2)];
    assert_eq!(counters(&proxy).resets, resets.into());
}

/// `AllowInsecureFallback`.
#[test]
fn where_it_is_optional_everybody_comes_in() {
    let (ca, other, own) = (Ca::new("ca"), Ca::new("other"), Issued::new(&[NAME]));
    let backend = Backend::echo(at("127.37.8.2:9501"));
    let bind = at("127.37.9.2:9500");
    let proxy = proxy();
    apply(&proxy, &[listener(bind, backend.address, &own, validation(&[&ca], true))]);
    let (right, wrong) = (ca.issue(&["client"]), other.issue(&["client"]));
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        for shown in [None, Some(&right), Some(&wrong)] {
            said(bind, &by(version, &own, shown)).unwrap();
        }
    }
    // But not with somebody else's.
    let key = any_supported_type(&key(&wrong)).unwrap();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let mut thief = by(version, &own, None);
        let stolen = CertifiedKey::new(vec![right.der.clone()], Arc::clone(&key));
        thief.client_auth_cert_resolver = Arc::new(Shows(Arc::new(stolen)));
        refused(bind, &thief, "Decrypt");
    }
}

#[derive(Debug)]
struct Shows(Arc<CertifiedKey>);

impl ResolvesClientCert for Shows {
    fn resolve(&self, hints: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        assert_eq!(hints.len(), 1, "the name of the CA that is asked for");
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// A listener that was to look at its clients, and cannot, is never open.
#[test]
fn without_a_ca_nobody_comes_in() {
    let (ca, own) = (Ca::new("ca"), Issued::new(&[NAME]));
    let backend = Backend::echo(at("127.37.8.3:9501"));
    let bind = at("127.37.9.3:9500");
    let proxy = proxy();
    let client = ca.issue(&["client"]);
    let broken = |optional| Some(ClientValidation { roots: vec![vec![1, 2, 3]], optional });
    for clients in [validation(&[], false), validation(&[], true), broken(false), broken(true)] {
        apply(&proxy, &[listener(bind, backend.address, &own, clients)]);
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            refused(bind, &by(version, &own, None), "CertificateRequired");
            refused(bind, &by(version, &own, Some(&client)), "UnknownCA");
        }
    }
    assert_eq!(backend.accepted(), 0);
}

/// Other roots: new clients and old sessions are looked at again, what is open goes on.
#[test]
fn a_session_does_not_outlive_the_roots() {
    let (old, new, own) = (Ca::new("old"), Ca::new("new"), Issued::new(&[NAME]));
    let backend = Backend::echo(at("127.37.8.4:9501"));
    let bind = at("127.37.9.4:9500");
    let proxy = proxy();
    let listeners = |clients| [listener(bind, backend.address, &own, clients)];
    let shown = old.issue(&["client"]);
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        apply(&proxy, &listeners(validation(&[&old], false)));
        let client = by(version, &own, Some(&shown));
        let mut open = shake(bind, NAME, &Arc::new(client.clone()));
        said(bind, &client).unwrap();
        assert_eq!(said(bind, &client).unwrap(), HandshakeKind::Resumed);
        // The same again is no change.
        apply(&proxy, &listeners(validation(&[&old], false)));
        assert_eq!(said(bind, &client).unwrap(), HandshakeKind::Resumed);
        for clients in
            [validation(&[&new], false), validation(&[], false), validation(&[&new], false)]
        {
            apply(&proxy, &listeners(clients));
            refused(bind, &client, "UnknownCA");
        }
        // A session of whoever was let in without is none of those who have to show something.
        apply(&proxy, &listeners(validation(&[&new], true)));
        let nobody = by(version, &own, None);
        said(bind, &nobody).unwrap();
        assert_eq!(said(bind, &nobody).unwrap(), HandshakeKind::Resumed);
        apply(&proxy, &listeners(validation(&[&new], false)));
        refused(bind, &nobody, "CertificateRequired");
        apply(&proxy, &listeners(validation(&[&new, &old], false)));
        said(bind, &client).unwrap();
        open.write_all(b"here").unwrap();
        let mut back = [0; 4];
        open.read_exact(&mut back).unwrap();
        assert_eq!(&back, b"here");
    }
}

#[test]
fn versions_and_ciphers_are_those_of_the_listener() {
    const AES: &str = "TLS_AES_128_GCM_SHA256";
    const CHACHA: &str = "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256";
    let own = Issued::new(&[NAME]);
    let backend = Backend::echo(at("127.37.8.5:9501"));
    let bind = at("127.37.9.5:9500");
    let proxy = proxy();
    let ranged = |min, ciphers: &[&str]| {
        let ciphers = ciphers.iter().map(|name| (*name).to_owned()).collect();
        let tls = TlsRange { min, ciphers };
        let mut listener = listener(bind, backend.address, &own, None);
        listener.settings = Arc::new(ListenerSettings { tls, ..ListenerSettings::default() });
        apply(&proxy, &[listener]);
    };
    let (old, new) =
        (by(&rustls::version::TLS12, &own, None), by(&rustls::version::TLS13, &own, None));
    let agreed = || {
        let mut stream = shake(bind, NAME, &Arc::new(client_config(&[&own])));
        stream.write_all(b"x").unwrap();
        stream.read_exact(&mut [0; 1]).unwrap();
        let suite = stream.conn.negotiated_cipher_suite().unwrap().suite();
        (stream.conn.protocol_version().unwrap(), suite)
    };
    ranged(TlsVersion::V1_2, &[]);
    said(bind, &old).unwrap();
    said(bind, &new).unwrap();
    let mut open = shake(bind, NAME, &Arc::new(old.clone()));
    ranged(TlsVersion::V1_3, &[]);
    // Not even with a session from before.
    refused(bind, &old, "ProtocolVersion");
    said(bind, &new).unwrap();
    ranged(TlsVersion::V1_2, &[AES]);
    refused(bind, &old, "ProtocolVersion");
    assert_eq!(agreed(), (ProtocolVersion::TLSv1_3, CipherSuite::TLS13_AES_128_GCM_SHA256));
    ranged(TlsVersion::V1_2, &[CHACHA]);
    refused(bind, &new, "ProtocolVersion");
    let chacha = CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256;
    assert_eq!(agreed(), (ProtocolVersion::TLSv1_2, chacha));
    // Nothing is left.
    ranged(TlsVersion::V1_3, &[CHACHA]);
    refused(bind, &new, "HandshakeFailure");
    eventually("counted", || counters(&proxy).resets.get(&ResetReason::NoCertificate) == Some(&1));
    ranged(TlsVersion::V1_2, &[CHACHA, AES]);
    said(bind, &old).unwrap();
    said(bind, &new).unwrap();
    // Through all of it.
    open.write_all(b"here").unwrap();
    open.read_exact(&mut [0; 4]).unwrap();
}

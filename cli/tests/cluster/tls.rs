//! TLS from end to end: from a Secret in a namespace of its owner to handshakes on a VIP.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::ensure;
use rustls::client::Resumption;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::json;
use vipgate_lab::cluster::Patch;
use vipgate_lab::{eventually, patience};

use crate::certificates::{GRANT, Issued, LISTENER, issue, secret};
use crate::site::{SOON, Site, backend, said};

const HTTPS: &str = "10.77.0.200:443";
/// How soon handshakes follow a certificate, from the change of the Secret or grant on.
const PROMPT: Duration = Duration::from_secs(1);

pub(crate) const ROUTE: &str = "apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web}
spec:
  parentRefs: [{name: web}]
  rules: [{backendRefs: [{group: vipgate.dev, kind: Backend, name: web}]}]
";
const SECRET: &str = "/api/v1/namespaces/certs/secrets/web";
const REFERENCE_GRANT: &str =
    "/apis/gateway.networking.k8s.io/v1beta1/namespaces/certs/referencegrants/web";

pub(crate) type Stream = StreamOwned<ClientConnection, TcpStream>;

/// A client that trusts these. It resumes nothing: each handshake shows the certificate.
pub(crate) fn client(trusted: &[&Issued]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for issued in trusted {
        roots.add(issued.der.clone()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.resumption = Resumption::disabled();
    Arc::new(config)
}

/// Has a word sent back, through TLS.
pub(crate) fn echoes(stream: &mut Stream, word: &str) -> anyhow::Result<()> {
    stream.write_all(word.as_bytes())?;
    let mut back = vec![0; word.len()];
    stream.read_exact(&mut back)?;
    ensure!(back == word.as_bytes(), "{:?} came back", String::from_utf8_lossy(&back));
    Ok(())
}

/// Shakes hands and talks with the server behind the VIP.
pub(crate) fn talk(site: &Site, config: &Arc<ClientConfig>) -> anyhow::Result<Stream> {
    let session = ClientConnection::new(Arc::clone(config), ServerName::try_from("web.example")?)?;
    let mut stream = StreamOwned::new(session, site.connect(HTTPS)?);
    let mut greeting = [0; 6];
    stream.read_exact(&mut greeting)?;
    ensure!(greeting == *b"hello\n", "{:?}", String::from_utf8_lossy(&greeting));
    echoes(&mut stream, "over TLS")?;
    Ok(stream)
}

fn served(stream: &Stream) -> CertificateDer<'static> {
    let chain = stream.conn.peer_certificates().expect("the handshake is over");
    chain[0].clone().into_owned()
}

/// Waits until `done`, asking again and again; it has to be soon after `begun`.
fn promptly(what: &str, begun: Instant, mut done: impl FnMut() -> bool) {
    while !done() {
        assert!(begun.elapsed() < SOON, "{what}: still not");
    }
    let took = begun.elapsed();
    println!("{what} within {took:?}");
    assert!(took <= patience(PROMPT), "{what} took {took:?}");
}

#[test]
fn handshakes_follow_a_secret_and_its_grant_within_a_second() {
    let site = Site::new("tls");
    site.apply_pool();
    site.apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: certs}\n");
    let first = secret(&site, "certs", "web");
    let second = issue();
    let _controller = site.controller("one");
    let _speaker = site.speaker();
    let echo = site.echo(7000, "hello");
    site.apply(&[LISTENER, GRANT, ROUTE, &backend("web", 7000)].join("---\n"));
    site.condition("gateway", "web", "Programmed", "True/Programmed");
    let config = client(&[&first, &second]);
    let mut open = eventually(SOON, || talk(&site, &config)).unwrap();
    assert_eq!(served(&open), first.der);

    // It is renewed: the new one is served, no handshake fails meanwhile, and who was there stays.
    let renewed = json!({"stringData": {"tls.crt": second.certificate, "tls.key": second.key}});
    let begun = Instant::now();
    site.cluster.api().patch(SECRET, Patch::Merge, &renewed).unwrap();
    promptly("a new certificate is served", begun, || {
        served(&talk(&site, &config).unwrap()) == second.der
    });
    echoes(&mut open, "still here").unwrap();
    assert_eq!(served(&talk(&site, &config).unwrap()), second.der);

    // The owner of the certificate allows it no more: nobody gets it, and nobody gets through.
    let begun = Instant::now();
    site.cluster.api().delete(REFERENCE_GRANT, &json!({})).unwrap();
    promptly("a revoked certificate is not served", begun, || talk(&site, &config).is_err());
    let let_through = echo.accepted();
    eventually(SOON, || {
        let web = site.get("gateway", "web")?;
        let conditions = &web["status"]["listeners"][0]["conditions"];
        let resolved = said(conditions, "ResolvedRefs");
        ensure!(resolved.as_deref() == Some("False/RefNotPermitted"), "{conditions}");
        Ok(())
    })
    .unwrap();
    assert!(talk(&site, &config).is_err(), "it is served again");
    assert_ne!(site.greeting(HTTPS).unwrap_or_default(), "hello", "without TLS");
    assert_eq!(echo.accepted(), let_through);

    site.apply(GRANT);
    let again = eventually(SOON, || talk(&site, &config)).unwrap();
    assert_eq!(served(&again), second.der);
}

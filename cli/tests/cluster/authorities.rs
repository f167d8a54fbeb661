//! Authorities of clients and of backends: ConfigMaps that somebody refers to are read, copied for the
//! speakers and followed, and no others; what they say is obeyed, and said.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, StreamOwned};
use serde_json::Value;
use vipgate_lab::{eventually, patience};

use crate::certificates::{Issued, issue, secret};
use crate::site::{SOON, Site, backend, route, said};
use crate::tls::ROUTE;

const GRANT: &str = "apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: {name: ca, namespace: staff}
spec:
  from: [{group: gateway.networking.k8s.io, kind: Gateway, namespace: default}]
  to: [{group: '', kind: ConfigMap, name: ca}]
";
const LISTENER: &str = "apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: web}
spec:
  gatewayClassName: vipgate
  tls:
    frontend:
      default:
        validation: {caCertificateRefs: [{group: '', kind: ConfigMap, name: ca, namespace: staff}]}
  listeners:
  - {name: tls, protocol: HTTPS, port: 443, tls: {certificateRefs: [{name: web}]}}
  - {name: tcp, protocol: TCP, port: 80}
";

/// A ConfigMap with a certificate, and an entry that is nobody's business.
fn config_map(site: &Site, namespace: &str, name: &str, authority: &str) {
    let indented: String = authority.lines().map(|line| format!("    {line}\n")).collect();
    site.apply(&format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: {namespace}}}\n\
         data:\n  other: not copied\n  ca.crt: |\n{indented}"
    ));
}

/// ConfigMaps in the install namespace, without what Kubernetes puts into every one.
fn copies(site: &Site) -> anyhow::Result<Vec<Value>> {
    let list = site.cluster.get(["configmaps", "--namespace=vipgate-system"])?;
    let all = list["items"].as_array().cloned().unwrap_or_default();
    Ok(all.into_iter().filter(|map| map["metadata"]["name"] != "kube-root-ca.crt").collect())
}

fn listener_says(site: &Site, condition: &str, is: &str) {
    eventually(SOON, || {
        let web = site.get("gateway", "web")?;
        let conditions = &web["status"]["listeners"][0]["conditions"];
        let found = said(conditions, condition);
        ensure!(found.as_deref() == Some(is), "{condition} is not {is}: {conditions}");
        Ok(())
    })
    .unwrap();
}

#[test]
fn granted_authorities_are_copied_followed_and_withdrawn_within_a_second() {
    let site = Site::new("authority");
    site.apply_pool();
    site.apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: staff}\n");
    secret(&site, "default", "web");
    let (first, second) = (issue().certificate, issue().certificate);
    config_map(&site, "staff", "ca", &first);
    config_map(&site, "staff", "more", &first);
    let _controller = site.controller("one");
    site.apply(LISTENER);
    listener_says(&site, "Accepted", "False/NoValidCACertificate");
    listener_says(&site, "ResolvedRefs", "False/RefNotPermitted");
    assert_eq!(copies(&site).unwrap(), Vec::<Value>::new());

    site.apply(GRANT);
    listener_says(&site, "Accepted", "True/Accepted");
    listener_says(&site, "ResolvedRefs", "True/ResolvedRefs");
    let is_copied = |authority: &str| {
        let copies = copies(&site)?;
        ensure!(copies.len() == 1, "{} copies", copies.len());
        let data = copies[0]["data"].as_object().context("no data")?;
        ensure!(data.keys().eq(["ca.crt"]), "{data:?}");
        ensure!(data["ca.crt"].as_str().map(str::trim) == Some(authority.trim()), "an old copy");
        ensure!(copies[0]["metadata"]["labels"]["vipgate.dev/copy"] == "ca-bundle", "no label");
        Ok(copies[0].clone())
    };
    let copy = eventually(SOON, || is_copied(&first)).unwrap();
    assert_eq!(copy["metadata"]["annotations"]["vipgate.dev/source-name"], "ca");
    assert_eq!(copy["metadata"]["annotations"]["vipgate.dev/source-namespace"], "staff");

    // Another authority is copied, a lost copy made again, and one that was meddled with set right.
    let begun = Instant::now();
    config_map(&site, "staff", "ca", &second);
    eventually(SOON, || is_copied(&second)).unwrap();
    let took = begun.elapsed();
    assert!(took <= patience(Duration::from_secs(2)), "{took:?}");
    let name = copy["metadata"]["name"].as_str().unwrap();
    site.cluster.kubectl(["delete", "configmap", name, "--namespace=vipgate-system"]).unwrap();
    eventually(SOON, || is_copied(&second)).unwrap();
    let label = ["label", "configmap", name, "vipgate.dev/copy-", "--namespace=vipgate-system"];
    site.cluster.kubectl(label).unwrap();
    eventually(SOON, || is_copied(&second)).unwrap();

    let withdrawn = || {
        let begun = Instant::now();
        eventually(SOON, || {
            ensure!(copies(&site)?.is_empty(), "it is still there");
            Ok(())
        })
        .unwrap();
        let took = begun.elapsed();
        assert!(took <= patience(Duration::from_secs(1)), "{took:?}");
    };
    // What is no certificate is none to be known by.
    config_map(&site, "staff", "ca", "not a certificate");
    withdrawn();
    listener_says(&site, "Accepted", "False/NoValidCACertificate");
    listener_says(&site, "ResolvedRefs", "False/InvalidCACertificateRef");
    config_map(&site, "staff", "ca", &second);
    eventually(SOON, || is_copied(&second)).unwrap();
    site.cluster.kubectl(["delete", "configmap", "ca", "--namespace=staff"]).unwrap();
    withdrawn();
    listener_says(&site, "ResolvedRefs", "False/InvalidCACertificateRef");
    config_map(&site, "staff", "ca", &second);
    listener_says(&site, "ResolvedRefs", "True/ResolvedRefs");
    site.cluster.kubectl(["delete", "referencegrant", "ca", "--namespace=staff"]).unwrap();
    withdrawn();
    listener_says(&site, "ResolvedRefs", "False/RefNotPermitted");
}

const POLICY: &str = "apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: {name: db}
spec:
  targetRefs: [{group: vipgate.dev, kind: Backend, name: db}]
  validation:
    hostname: web.example
    caCertificateRefs: [{group: '', kind: ConfigMap, name: db}]
";

fn policy_says(site: &Site, name: &str, condition: &str, is: &str) {
    eventually(SOON, || {
        let policy = site.get("backendtlspolicy", name)?;
        let ancestors = &policy["status"]["ancestors"];
        ensure!(ancestors.as_array().is_some_and(|all| all.len() == 1), "{ancestors}");
        let ancestor = &ancestors[0];
        ensure!(ancestor["ancestorRef"]["name"] == "web", "{ancestor}");
        let conditions = &ancestor["conditions"];
        let found = said(conditions, condition);
        ensure!(found.as_deref() == Some(is), "{condition} is not {is}: {conditions}");
        let generation = &policy["metadata"]["generation"];
        for condition in conditions.as_array().into_iter().flatten() {
            ensure!(condition["observedGeneration"] == *generation, "{condition}");
        }
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_policy_says_what_it_comes_to_for_each_gateway() {
    let site = Site::new("btls");
    site.apply_pool();
    let _controller = site.controller("one");
    site.apply(&[POLICY, LISTENER, &backend("db", 7000)].join("---\n"));
    site.apply(&POLICY.replace("name: db}\nspec", "name: younger}\nspec"));
    // Nobody sends there yet: it may be somebody else's.
    site.condition("gatewayclass", "vipgate", "Accepted", "True/Accepted");
    let status = site.get("backendtlspolicy", "db").unwrap()["status"].clone();
    assert!(status["ancestors"].as_array().is_none_or(Vec::is_empty), "{status}");

    site.apply(&route("v1", "db", "web", "db"));
    policy_says(&site, "db", "Accepted", "False/NoValidCACertificate");
    policy_says(&site, "db", "ResolvedRefs", "False/InvalidCACertificateRef");
    policy_says(&site, "younger", "Accepted", "False/Conflicted");
    eventually(SOON, || {
        let route = site.get("tcproute", "db")?;
        let conditions = &route["status"]["parents"][0]["conditions"];
        let resolved = said(conditions, "ResolvedRefs");
        ensure!(resolved.as_deref() == Some("False/InvalidBackendTls"), "{conditions}");
        Ok(())
    })
    .unwrap();

    config_map(&site, "default", "db", &issue().certificate);
    policy_says(&site, "db", "Accepted", "True/Accepted");
    policy_says(&site, "db", "ResolvedRefs", "True/ResolvedRefs");
    policy_says(&site, "younger", "Accepted", "False/Conflicted");
    site.cluster.kubectl(["delete", "backendtlspolicy", "db"]).unwrap();
    policy_says(&site, "younger", "Accepted", "True/Accepted");
    // Who sends there no more says nothing of it any more.
    site.cluster.kubectl(["delete", "tcproute", "db"]).unwrap();
    eventually(SOON, || {
        let status = site.get("backendtlspolicy", "younger")?["status"].clone();
        ensure!(status["ancestors"].as_array().is_none_or(Vec::is_empty), "{status}");
        Ok(())
    })
    .unwrap();
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn roots(trusted: &Issued) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.der.clone()).unwrap();
    roots
}

fn key(issued: &Issued) -> PrivateKeyDer<'static> {
    PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap()
}

/// Talks with the server behind the VIP as one who shows this certificate, or none.
fn talk(site: &Site, server: &Issued, shown: Option<&Issued>) -> anyhow::Result<()> {
    let builder = ClientConfig::builder_with_provider(provider());
    let builder = builder.with_safe_default_protocol_versions()?;
    let builder = builder.with_root_certificates(roots(server));
    let config = match shown {
        Some(shown) => builder.with_client_auth_cert(vec![shown.der.clone()], key(shown))?,
        None => builder.with_no_client_auth(),
    };
    let session = ClientConnection::new(Arc::new(config), ServerName::try_from("web.example")?)?;
    let mut stream = StreamOwned::new(session, site.connect("10.77.0.200:443")?);
    let mut greeting = [0; 6];
    stream.read_exact(&mut greeting)?;
    ensure!(greeting == *b"hello\n", "{:?}", String::from_utf8_lossy(&greeting));
    Ok(())
}

#[test]
fn clients_come_in_by_the_authority_that_the_gateway_names() {
    let site = Site::new("mtls");
    site.apply_pool();
    site.apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: staff}\n");
    let server = secret(&site, "default", "web");
    let (alice, mallory) = (issue(), issue());
    config_map(&site, "staff", "ca", &alice.certificate);
    let _controller = site.controller("one");
    let _speaker = site.speaker();
    let echo = site.echo(7000, "hello");
    site.apply(&[LISTENER, GRANT, ROUTE, &backend("web", 7000)].join("---\n"));
    site.condition("gateway", "web", "Programmed", "True/Programmed");
    eventually(SOON, || talk(&site, &server, Some(&alice))).unwrap();
    let let_in = echo.accepted();
    assert!(talk(&site, &server, Some(&mallory)).is_err());
    assert!(talk(&site, &server, None).is_err());
    assert_eq!(echo.accepted(), let_in);

    // The other one is let in from now on, and she is not.
    config_map(&site, "staff", "ca", &mallory.certificate);
    eventually(SOON, || talk(&site, &server, Some(&mallory))).unwrap();
    assert!(talk(&site, &server, Some(&alice)).is_err());

    // Whom nobody can know nobody lets in.
    site.cluster.kubectl(["delete", "configmap", "ca", "--namespace=staff"]).unwrap();
    listener_says(&site, "Accepted", "False/NoValidCACertificate");
    eventually(SOON, || {
        ensure!(talk(&site, &server, Some(&mallory)).is_err(), "is let in");
        Ok(())
    })
    .unwrap();
    let let_in = echo.accepted();
    assert!(talk(&site, &server, None).is_err());
    assert_eq!(echo.accepted(), let_in);
}

/// A server that asks for a certificate, says hello by TLS, and goes on for as long as the test.
fn asking_server(site: &Site, port: u16, own: &Issued, known: &Issued) {
    let address = format!("10.77.0.4:{port}");
    let listener = site.servers.enter(|| TcpListener::bind(&address)).unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(known)), provider());
    let config = ServerConfig::builder_with_provider(provider());
    let config = config.with_safe_default_protocol_versions().unwrap();
    let config = config.with_client_cert_verifier(verifier.build().unwrap());
    let config = Arc::new(config.with_single_cert(vec![own.der.clone()], key(own)).unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let Ok(session) = rustls::ServerConnection::new(Arc::clone(&config)) else { continue };
            let mut stream = StreamOwned::new(session, stream);
            // Whoever does not shake hands gets nothing.
            let _ = stream.write_all(b"hello\n").and_then(|()| stream.flush());
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
    });
}

#[test]
fn a_backend_is_spoken_to_by_tls_or_not_at_all() {
    let site = Site::new("totls");
    site.apply_pool();
    let (server, gateway) = (issue(), secret(&site, "default", "web"));
    asking_server(&site, 7000, &server, &gateway);
    config_map(&site, "default", "db", &server.certificate);
    let _controller = site.controller("one");
    let _speaker = site.speaker();
    let listener = "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: web}\n\
        spec:\n  gatewayClassName: vipgate\n  tls: {backend: {clientCertificateRef: {name: web}}}\n  \
        listeners: [{name: tcp, protocol: TCP, port: 80}]\n";
    let objects = [POLICY, listener, &backend("db", 7000), &route("v1", "db", "web", "db")];
    site.apply(&objects.join("---\n"));
    policy_says(&site, "db", "Accepted", "True/Accepted");
    let hello = || {
        let greeting = site.greeting("10.77.0.200:80")?;
        ensure!(greeting == "hello", "{greeting:?}");
        Ok(())
    };
    eventually(SOON, hello).unwrap();

    // Another authority: it is not the backend that was meant.
    config_map(&site, "default", "db", &issue().certificate);
    let nothing = || {
        let greeting = site.greeting("10.77.0.200:80");
        ensure!(greeting.as_deref().unwrap_or_default().is_empty(), "{greeting:?}");
        Ok(())
    };
    eventually(SOON, nothing).unwrap();
    site.cluster.kubectl(["delete", "configmap", "db"]).unwrap();
    policy_says(&site, "db", "Accepted", "False/NoValidCACertificate");
    nothing().unwrap();
    config_map(&site, "default", "db", &server.certificate);
    eventually(SOON, hello).unwrap();
}

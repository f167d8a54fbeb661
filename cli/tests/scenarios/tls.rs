//! TLSRoutes on the LAN: by server name to real servers, and on the same port what ends here.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use anyhow::ensure;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use vipgate_lab::{Process, Program, eventually};

use crate::site::{SOON, Site, VIP, backend, pool};

/// A certificate with its key, in PEM.
struct Issued {
    name: &'static str,
    certificate: String,
    key: String,
    der: CertificateDer<'static>,
}

impl Issued {
    fn new(name: &'static str) -> Self {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        Self { name, certificate, key, der: made.cert.der().clone() }
    }

    /// As a Secret of its name.
    fn secret(&self) -> String {
        let indented = |pem: &str| pem.replace('\n', "\n    ");
        format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: {}, namespace: default}}\n\
             type: kubernetes.io/tls\nstringData:\n  tls.crt: |\n    {}\n  tls.key: |\n    {}\n",
            self.name,
            indented(self.certificate.trim_end()),
            indented(self.key.trim_end())
        )
    }

    /// A web server that shows it.
    fn serve(&self, site: &Site, files: &std::path::Path, address: &str) -> Process {
        let (certificate, key) = (files.join(format!("{address}.crt")), files.join("key"));
        let key = key.with_extension(address);
        std::fs::write(&certificate, &self.certificate).unwrap();
        std::fs::write(&key, &self.key).unwrap();
        site.server_address(address.parse().unwrap());
        let program = Program::new("openssl")
            .args(["s_server", "-accept", &format!("{address}:8443"), "-www", "-cert"])
            .arg(certificate)
            .arg("-key")
            .arg(key);
        site.servers.spawn(program).unwrap()
    }
}

/// Shakes hands for a name through the VIP and asks for a page; trusts one certificate and no other.
fn page(site: &Site, trusted: &Issued, name: &str) -> anyhow::Result<String> {
    let mut stream = secure(trusted, name, site.connect(&format!("{VIP}:443"))?)?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut said = Vec::new();
    match stream.read_to_end(&mut said) {
        // `openssl s_server` ends without saying so in TLS.
        Err(error) if error.kind() != ErrorKind::UnexpectedEof => return Err(error.into()),
        _ => {}
    }
    Ok(String::from_utf8_lossy(&said).into_owned())
}

fn secure(
    trusted: &Issued,
    name: &str,
    connection: TcpStream,
) -> anyhow::Result<StreamOwned<ClientConnection, TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.der.clone())?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(name.to_owned())?;
    Ok(StreamOwned::new(ClientConnection::new(Arc::new(config), name)?, connection))
}

fn manifests(site: &Site, here: &Issued) {
    site.write("pool.yaml", &pool("10.77.0.200-10.77.0.202"));
    let route = |name: &str, section: &str, host: &str| {
        format!(
            "---\napiVersion: gateway.networking.k8s.io/v1\nkind: TLSRoute\n\
             metadata: {{name: {name}, namespace: default}}\nspec:\n  \
             parentRefs: [{{name: web, sectionName: {section}}}]\n  hostnames: [{host}]\n  \
             rules: [{{backendRefs: [{{group: vipgate.dev, kind: Backend, name: {name}}}]}}]\n"
        )
    };
    let listeners = "\
        apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\n\
        metadata: {name: web, namespace: default}\nspec:\n  gatewayClassName: vipgate\n  listeners:\n  \
        - {name: through, protocol: TLS, port: 443, hostname: '*.example.com', tls: {mode: Passthrough}}\n  \
        - name: here\n    protocol: TLS\n    port: 443\n    hostname: here.example.com\n    \
        tls: {certificateRefs: [{name: here.example.com}]}\n";
    let routes = [
        route("one", "through", "one.example.com"),
        route("others", "through", "'*.example.com'"),
        route("plain", "here", "here.example.com"),
    ];
    site.write("gateway.yaml", &[listeners, &routes.concat()].concat());
    site.write("secret.yaml", &here.secret());
    let backends = [
        backend("one", &["10.77.0.21:8443"]),
        backend("others", &["10.77.0.22:8443"]),
        backend("plain", &["10.77.0.23:80"]),
    ];
    site.write("backends.yaml", &backends.join("---\n"));
}

#[test]
fn server_names_lead_to_servers_and_to_what_ends_here() {
    let site = Site::new("tls");
    let files = tempfile::tempdir().unwrap();
    let (one, two) = (Issued::new("one.example.com"), Issued::new("two.example.com"));
    let here = Issued::new("here.example.com");
    let _servers = [
        one.serve(&site, files.path(), "10.77.0.21"),
        two.serve(&site, files.path(), "10.77.0.22"),
    ];
    let _plain = site.echo("10.77.0.23:80");
    manifests(&site, &here);
    let vipgate = site.start();
    site.healthy(&vipgate);

    let said = eventually(SOON, || {
        let said = page(&site, &one, "one.example.com")?;
        ensure!(said.starts_with("HTTP/1.0 200"), "{said}");
        Ok(said)
    })
    .unwrap();
    assert!(said.contains("s_server"), "{said}");
    let said = page(&site, &two, "two.example.com").unwrap();
    assert!(said.starts_with("HTTP/1.0 200"), "{said}");
    assert!(page(&site, &one, "two.example.com").is_err(), "another server's certificate");
    let connection = site.connect(&format!("{VIP}:443")).unwrap();
    let mut stream = secure(&here, "here.example.com", connection).unwrap();
    let mut greeting = vec![0; "10.77.0.23:80\n".len()];
    stream.read_exact(&mut greeting).unwrap();
    assert_eq!(greeting, b"10.77.0.23:80\n", "in the clear behind vipgate");

    // Accepted, and then reset.
    let connection = site.connect(&format!("{VIP}:443")).unwrap();
    let mut nobody = secure(&one, "one.example.org", connection).unwrap();
    nobody.sock.set_nodelay(true).unwrap();
    let error = nobody.write_all(b"x").and_then(|()| nobody.read(&mut [0; 1]).map(drop));
    assert_eq!(error.unwrap_err().kind(), ErrorKind::ConnectionReset);

    let counted = metrics(&site);
    let of = |metric: &str, listener: &str, more: &str, value: u32| {
        let line = format!(
            "{metric}{{gateway=\"default/web\",parent=\"default/web\",listener=\"{listener}\",\
             vip=\"{VIP}\"{more}}} {value}\n"
        );
        assert!(counted.contains(&line), "{line}{counted}");
    };
    of("vipgate_tcp_connections", "here", "", 1);
    of("vipgate_tcp_connections_total", "here", "", 1);
    of("vipgate_tcp_connect_seconds_count", "here", "", 1);
    of("vipgate_tcp_bytes_total", "here", ",direction=\"out\"", 14);
    of("vipgate_tcp_resets_total", "through", ",reason=\"no_endpoint\"", 0);
    let at_the_port = |reason: &str, value: u32| {
        let name = "vipgate_tcp_port_resets_total";
        let line = format!("{name}{{port=\"{VIP}:443\",reason=\"{reason}\"}} {value}\n");
        assert!(counted.contains(&line), "{line}{counted}");
    };
    at_the_port("no_name", 1);
    assert!(counted.contains("vipgate_endpoint_up{endpoint=\"10.77.0.21:8443\"} 1\n"), "{counted}");
}

/// What the node counts.
fn metrics(site: &Site) -> String {
    let mut stream = site.node.enter(|| TcpStream::connect("127.0.0.1:7473")).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    said
}

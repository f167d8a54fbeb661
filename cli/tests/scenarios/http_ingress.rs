//! HTTP today: a real ingress behind a VIP, which learns by PROXY protocol who its clients are.

use std::io::{Read, Write};
use std::path::Path;

use vipgate_lab::{Process, Program, eventually};

use crate::site::{SOON, Site, VIP};

/// nginx that takes PROXY headers and nothing else, and says whom it serves.
fn nginx(site: &Site, directory: &Path) -> Process {
    site.server_address("10.77.0.71".parse().unwrap());
    let at = directory.display();
    let config = format!(
        "user root;\ndaemon off;\npid {at}/pid;\nerror_log stderr warn;\n\
         events {{}}\nhttp {{\n  access_log off;\n  client_body_temp_path {at}/b;\n  proxy_temp_path {at}/p;\n  \
         fastcgi_temp_path {at}/f;\n  uwsgi_temp_path {at}/u;\n  scgi_temp_path {at}/s;\n  \
         server {{\n    listen 10.77.0.71:8080 proxy_protocol;\n    set_real_ip_from 10.77.0.0/24;\n    \
         real_ip_header proxy_protocol;\n    \
         location / {{ return 200 \"$host is asked by $remote_addr at $proxy_protocol_server_addr:$proxy_protocol_server_port\"; }}\n  }}\n}}\n"
    );
    let file = directory.join("nginx.conf");
    std::fs::write(&file, config).unwrap();
    site.servers.spawn(Program::new("nginx").arg("-c").arg(&file)).unwrap()
}

#[test]
fn an_http_ingress_knows_its_clients() {
    let site = Site::new("ingress");
    let directory = tempfile::tempdir().unwrap();
    let _nginx = nginx(&site, directory.path());
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/examples/http-ingress");
    let vipgate = site.start_with(&example, &[]);
    site.healthy(&vipgate);
    let ask = |host: &str| -> vipgate_lab::Result<String> {
        let mut stream = site.connect(&format!("{VIP}:80"))?;
        write!(stream, "GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let client = site.on_client.ip();
    let expected = format!("a.example.com is asked by {client} at {VIP}:80");
    let answer = eventually(SOON, || {
        let answer = ask("a.example.com")?;
        anyhow::ensure!(answer.contains("200 OK"), "{answer}");
        Ok(answer)
    });
    let answer = answer.unwrap();
    assert!(answer.ends_with(&expected), "{answer}");
    // Control: without a header nginx takes nobody, so that what it said cannot have come from elsewhere.
    let mut direct = site.client.enter(|| std::net::TcpStream::connect("10.77.0.71:8080")).unwrap();
    write!(direct, "GET / HTTP/1.1\r\nHost: b.example.com\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let _ = direct.read_to_end(&mut answer);
    assert!(answer.is_empty(), "{}", String::from_utf8_lossy(&answer));
}

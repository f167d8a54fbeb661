//! A Backend by DNS name: connections follow the name, and what DNS does later closes none.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use vipgate_lab::servers::{self, Dnsmasq};
use vipgate_lab::{eventually, patience};

use crate::site::{SOON, Site, VIP, gateway, pool, route};

const DNS: &str = "10.77.0.2:53";
const TTL: u64 = 2;
/// A question that nobody answers takes seconds, and the next one comes after a pause.
const AFTER_FAILURES: Duration = SOON.saturating_mul(3);

/// A name server that has one address for the name.
fn dns(site: &Site, address: &str) -> Dnsmasq {
    let record = format!("--host-record=web.lab,{address},{TTL}");
    servers::dnsmasq(&site.servers, DNS.parse().unwrap(), &[&record, "--local=/lab/"]).unwrap()
}

fn echo(stream: &mut TcpStream, text: &[u8]) {
    stream.write_all(text).unwrap();
    let mut back = vec![0; text.len()];
    stream.read_exact(&mut back).unwrap();
    assert_eq!(back, text);
}

#[test]
fn connections_follow_a_name_and_standing_ones_stay() {
    let site = Site::new("names");
    let _servers = [site.echo("10.77.0.21:80"), site.echo("10.77.0.22:80")];
    let server = dns(&site, "10.77.0.21");
    site.write("pool.yaml", &pool("10.77.0.200-10.77.0.202"));
    site.write("gateway.yaml", &gateway("web", &[("tcp", 80)]));
    site.write("route.yaml", &route("web", "web", "tcp", "web"));
    site.write(
        "backend.yaml",
        "apiVersion: vipgate.dev/v1alpha1\n\
         kind: Backend\n\
         metadata: {name: web, namespace: default}\n\
         spec: {endpoints: [{hostname: web.lab, port: 80}]}\n",
    );
    let vipgate = site.start_with(&site.manifests, &["--resolver", DNS]);
    site.healthy(&vipgate);
    let web = format!("{VIP}:80");
    let mut standing = site.connect(&web).unwrap();
    let mut greeting = [0; "10.77.0.21:80\n".len()];
    standing.read_exact(&mut greeting).unwrap();
    assert_eq!(&greeting, b"10.77.0.21:80\n");

    // The name moves.
    drop(server);
    let server = dns(&site, "10.77.0.22");
    let moved = Instant::now();
    while site.greeting(&web).unwrap() != "10.77.0.22:80" {
        assert!(moved.elapsed() < SOON, "connections do not follow the name");
    }
    let took = moved.elapsed();
    println!("connections followed after {took:?}");
    assert!(took <= patience(Duration::from_secs(TTL + 1)), "{took:?}");
    echo(&mut standing, b"the name moved");

    // Nobody answers: what was known last goes on, and is a problem.
    drop(server);
    let problem = |word: &str| {
        eventually(AFTER_FAILURES, || {
            let report = vipgate.report(&site.node)?;
            let problems = report["problems"].to_string();
            anyhow::ensure!(problems.contains(word), "{problems}");
            Ok(problems)
        })
        .unwrap()
    };
    let said = problem("web.lab does not resolve, its last addresses go on being used");
    assert!(said.contains("TCPRoute default/web"), "{said}");
    assert_eq!(site.greeting(&web).unwrap(), "10.77.0.22:80");
    echo(&mut standing, b"no name server");

    // An address that nothing is forwarded to is refused after resolving as before.
    let server = dns(&site, "127.0.0.1");
    problem("127.0.0.1 is a loopback address");
    eventually(AFTER_FAILURES, || match site.greeting(&web) {
        Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(()),
        other => anyhow::bail!("{other:?}"),
    })
    .unwrap();
    echo(&mut standing, b"another address is refused");

    drop(server);
    let _server = dns(&site, "10.77.0.21");
    eventually(AFTER_FAILURES, || {
        anyhow::ensure!(site.greeting(&web)? == "10.77.0.21:80", "not there yet");
        Ok(())
    })
    .unwrap();
    site.healthy(&vipgate);
    echo(&mut standing, b"all is well");
}

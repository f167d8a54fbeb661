//! UDPRoutes: real name servers, real load, and the host around them.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use vipgate_lab::servers::{self, Dnsmasq};
use vipgate_lab::{Node, Process, Program, eventually, patience};

use crate::hosts::Hosts;
use crate::site::{SOON, Site, VIP, backend, gateway, pool, route};

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(3);
/// How long a VIP may be without service when its host dies.
const FAIL_OVER: Duration = Duration::from_millis(1_200);
/// Type A.
const A: u16 = 1;
/// Type TXT.
const TXT: u16 = 16;

/// A question for a name (RFC 1035, section 4.1), with room for a long answer (RFC 6891).
fn question(id: u16, name: &str, kind: u16) -> Vec<u8> {
    let mut bytes = id.to_be_bytes().to_vec();
    // Recursion desired; one question, one additional record.
    bytes.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 1]);
    for label in name.split('.') {
        bytes.push(label.len() as u8);
        bytes.extend(label.bytes());
    }
    bytes.push(0);
    bytes.extend(kind.to_be_bytes());
    bytes.extend([0, 1]);
    // OPT: of the root, with 8192 bytes.
    bytes.extend([0, 0, 41, 0x20, 0, 0, 0, 0, 0, 0, 0]);
    bytes
}

/// The data of the first answer, after the question that it answers.
fn answer_to(question: &[u8], answer: &[u8]) -> Vec<u8> {
    assert_eq!(answer[..2], question[..2], "the id of the question");
    assert_eq!((answer[2] & 0x80, answer[3] & 0x0f), (0x80, 0), "an answer without an error");
    assert_eq!(answer[2] & 0x02, 0, "not cut short");
    assert_ne!(answer[6..8], [0, 0], "no answer in it");
    let name = 12 + question[12..].iter().position(|byte| *byte == 0).unwrap() + 1;
    // A name (a pointer to the question's), type, class, lifetime.
    let data = name + 4 + 2 + 8;
    let length = usize::from(u16::from_be_bytes([answer[data], answer[data + 1]]));
    answer[data + 2..][..length].to_vec()
}

fn socket(client: &Node, to: &str) -> UdpSocket {
    let socket = client.enter(|| UdpSocket::bind("0.0.0.0:0")).unwrap();
    client.enter(|| socket.connect(to)).unwrap();
    socket.set_read_timeout(Some(patience(ANSWER))).unwrap();
    socket
}

fn ask(socket: &UdpSocket, question: &[u8]) -> std::io::Result<Vec<u8>> {
    socket.send(question)?;
    let mut buffer = vec![0; 1 << 16];
    let length = socket.recv(&mut buffer)?;
    buffer.truncate(length);
    Ok(buffer)
}

/// The address that a name server says a name has, asked from a port of its own.
fn resolve(client: &Node, server: &str, name: &str) -> std::io::Result<Ipv4Addr> {
    resolve_from(&socket(client, server), name)
}

fn resolve_from(socket: &UdpSocket, name: &str) -> std::io::Result<Ipv4Addr> {
    let question = question(77, name, A);
    let answer = ask(socket, &question)?;
    Ok(<[u8; 4]>::try_from(answer_to(&question, &answer)).unwrap().into())
}

/// The same by TCP.
fn resolve_by_tcp(site: &Site, server: &str, name: &str) -> std::io::Result<Ipv4Addr> {
    let question = question(78, name, A);
    let mut stream = site.connect(server)?;
    stream.write_all(&(question.len() as u16).to_be_bytes())?;
    stream.write_all(&question)?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut answer)?;
    Ok(<[u8; 4]>::try_from(answer_to(&question, &answer)).unwrap().into())
}

pub(crate) fn listener_of(report: &Value, name: &str) -> Value {
    let listeners = report["vips"][0]["listeners"].as_array().unwrap();
    listeners.iter().find(|listener| listener["name"] == name).unwrap().clone()
}

impl Site {
    /// A name server that says of `who.lab` that it has this address.
    fn name_server(&self, at: &str, who: &str) -> Dnsmasq {
        let at: SocketAddr = at.parse().unwrap();
        self.server_address(at.ip());
        // Three thousand bytes, in strings as long as they may be (dnsmasq has them in one record).
        let long = format!("--txt-record=long.lab{}", format!(",{}", "x".repeat(250)).repeat(12));
        servers::dnsmasq(&self.servers, at, &[&format!("--address=/who.lab/{who}"), &long]).unwrap()
    }

    /// A Gateway with a port of UDP and one of TCP with the same number, both to one Backend.
    pub(crate) fn write_both(&self, port: u16, endpoints: &[&str]) {
        self.write("pool.yaml", &pool("10.77.0.200-10.77.0.202"));
        let route = |kind: &str, name: &str| {
            format!(
                "---\napiVersion: gateway.networking.k8s.io/v1\nkind: {kind}\n\
                 metadata: {{name: {name}, namespace: default}}\n\
                 spec:\n  parentRefs: [{{name: both, sectionName: {name}}}]\n  rules:\n  \
                 - backendRefs: [{{group: vipgate.dev, kind: Backend, name: server}}]\n"
            )
        };
        let gateway = format!(
            "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\n\
             metadata: {{name: both, namespace: default}}\n\
             spec:\n  gatewayClassName: vipgate\n  listeners:\n  \
             - {{name: udp, protocol: UDP, port: {port}}}\n  \
             - {{name: tcp, protocol: TCP, port: {port}}}\n"
        );
        let routes = route("UDPRoute", "udp") + &route("TCPRoute", "tcp");
        self.write("both.yaml", &(gateway + &routes));
        self.write("backend.yaml", &backend("server", endpoints));
    }
}

#[test]
fn name_servers_answer_by_udp_and_tcp_on_one_vip() {
    let site = Site::new("dns");
    let first = site.name_server("10.77.0.61:53", "192.0.2.1");
    let _second = site.name_server("10.77.0.62:53", "192.0.2.2");
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/examples/name-server");
    let vipgate = site.start_with(&example, &["--metrics", "0.0.0.0:7473"]);
    site.healthy(&vipgate);
    let vip = format!("{VIP}:53");
    let mut counts = [0, 0];
    // All at once, so that no two of them have one port.
    let clients: Vec<_> = (0..100).map(|_| socket(&site.client, &vip)).collect();
    for client in &clients {
        let who = resolve_from(client, "who.lab").unwrap();
        counts[usize::from(who.octets()[3]) - 1] += 1;
    }
    assert_eq!(counts, [50, 50], "each question is a session, and they take turns");
    for _ in 0..10 {
        assert!(
            resolve_by_tcp(&site, &vip, "who.lab").unwrap().to_string().starts_with("192.0.2.")
        );
    }
    // An answer that takes several packets, and one that comes to the node itself.
    let long = question(9, "long.lab", TXT);
    let answer = ask(&socket(&site.client, &vip), &long).unwrap();
    assert!(answer.len() > 3000, "{} bytes", answer.len());
    assert_eq!(answer_to(&long, &answer).len(), 12 * 251);
    assert!(resolve(&site.node, &vip, "who.lab").is_ok(), "from the node");
    // One client stays with its server.
    let client = socket(&site.client, &vip);
    let own = question(10, "who.lab", A);
    let server = answer_to(&own, &ask(&client, &own).unwrap());
    for _ in 0..10 {
        assert_eq!(answer_to(&own, &ask(&client, &own).unwrap()), server);
    }
    let report = vipgate.report(&site.node).unwrap();
    let udp = listener_of(&report, "udp");
    assert_eq!((&udp["accepted"], &udp["dropped"]), (&Value::from(103), &Value::from(0)), "{udp}");
    assert_eq!(listener_of(&report, "tcp")["accepted"], 10);
    let tree = vipgate.status(&site.node, &[]).unwrap();
    assert!(tree.contains("udp :53/udp  103 sessions"), "{tree}");
    let mut metrics = String::new();
    let mut stream = site.connect("10.77.0.1:7473").unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").unwrap();
    stream.read_to_string(&mut metrics).unwrap();
    let began = format!("listener=\"udp\",vip=\"{VIP}\"}} 103\n");
    assert!(metrics.contains(&began), "{metrics}");

    // One of them goes: its refusals are heard, and whoever asks again is answered by the other. (Only a
    // few: a host says of a closed port to the same asker but once a second.)
    drop(first);
    let resolved = (0..4).filter(|_| {
        let client = socket(&site.client, &vip);
        client.set_read_timeout(Some(patience(Duration::from_millis(300)))).unwrap();
        let again = |_| ask(&client, &own).is_ok_and(|a| answer_to(&own, &a) == [192, 0, 2, 2]);
        (0..3).any(again)
    });
    assert_eq!(resolved.count(), 4);
}

/// As with dnsmasq, systemd-resolved or a node's DNS cache on every node.
#[test]
fn a_name_server_of_the_host_keeps_its_port_beside_that_of_a_vip() {
    let site = Site::new("dnsbeside");
    let _server = site.name_server("10.77.0.61:53", "192.0.2.1");
    let every: SocketAddr = "0.0.0.0:53".parse().unwrap();
    let mut daemon =
        servers::dnsmasq(&site.node, every, &["--address=/who.lab/192.0.2.99"]).unwrap();
    site.write_both(53, &["10.77.0.61:53"]);
    let vipgate = site.start();
    site.healthy(&vipgate);
    let (vip, own) = (format!("{VIP}:53"), "10.77.0.1:53");
    let (theirs, hosts) = (Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 99));
    for _ in 0..5 {
        assert_eq!(resolve(&site.client, &vip, "who.lab").unwrap(), theirs);
        assert_eq!(resolve(&site.node, &vip, "who.lab").unwrap(), theirs, "from the node");
        assert_eq!(resolve_by_tcp(&site, &vip, "who.lab").unwrap(), theirs);
        assert_eq!(resolve(&site.client, own, "who.lab").unwrap(), hosts);
    }
    let long = question(9, "long.lab", TXT);
    let answer = ask(&socket(&site.client, &vip), &long).unwrap();
    assert_eq!(answer_to(&long, &answer).len(), 12 * 251);
    // When the daemon goes, the VIP goes on.
    let client = socket(&site.client, &vip);
    let again = question(11, "who.lab", A);
    assert_eq!(answer_to(&again, &ask(&client, &again).unwrap()), theirs.octets());
    daemon.process().terminate(SOON).unwrap();
    assert_eq!(answer_to(&again, &ask(&client, &again).unwrap()), theirs.octets());
    assert_eq!(resolve(&site.client, &vip, "who.lab").unwrap(), theirs);
    let refused = resolve(&site.client, own, "who.lab").unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused, "control: nobody else has it");
}

/// Without a route a client hears nothing; a port without a listener is refused at once.
#[test]
fn what_is_not_served_is_silent_or_refused() {
    let site = Site::new("nodns");
    let _server = site.name_server("10.77.0.61:53", "192.0.2.1");
    site.write_both(53, &["10.77.0.61:53"]);
    let vipgate = site.start();
    site.healthy(&vipgate);
    let closed = resolve(&site.client, &format!("{VIP}:54"), "who.lab").unwrap_err();
    assert_eq!(closed.kind(), ErrorKind::ConnectionRefused);
    let client = socket(&site.client, &format!("{VIP}:53"));
    let own = question(12, "who.lab", A);
    ask(&client, &own).unwrap();
    // The session goes with its route, while the listener stays.
    let text = std::fs::read_to_string(site.manifests.join("both.yaml")).unwrap();
    site.write("both.yaml", &text.replace("sectionName: udp", "sectionName: gone"));
    client.set_read_timeout(Some(patience(Duration::from_millis(300)))).unwrap();
    eventually(SOON, || {
        let error = ask(&client, &own).err();
        let silent = error.as_ref().is_some_and(|e| e.kind() == ErrorKind::WouldBlock);
        anyhow::ensure!(silent, "{error:?}");
        Ok(())
    })
    .unwrap();
    let report = vipgate.report(&site.node).unwrap();
    assert!(listener_of(&report, "udp")["dropped"].as_u64() > Some(0), "{report}");
    site.write("both.yaml", &text);
    eventually(SOON, || Ok(ask(&client, &own).map(drop)?)).unwrap();
}

#[test]
fn a_planned_stop_lets_sessions_go_on_until_its_deadline() {
    let site = Site::new("dnsdrain");
    let _server = site.name_server("10.77.0.61:53", "192.0.2.1");
    site.write_both(53, &["10.77.0.61:53"]);
    let mut vipgate = site.start_with(&site.manifests, &["--drain-timeout", "3"]);
    site.healthy(&vipgate);
    let vip = format!("{VIP}:53");
    let (client, own) = (socket(&site.client, &vip), question(13, "who.lab", A));
    for _ in 0..3 {
        ask(&client, &own).unwrap();
    }
    vipgate.process.signal(Signal::TERM).unwrap();
    eventually(SOON, || {
        let late = socket(&site.client, &vip);
        late.set_read_timeout(Some(patience(Duration::from_millis(200)))).unwrap();
        anyhow::ensure!(ask(&late, &own).is_err(), "sessions still begin");
        Ok(())
    })
    .unwrap();
    assert!(!vipgate.process.has_ended(), "a session goes on");
    ask(&client, &own).unwrap();
    assert_eq!(vipgate.process.wait(SOON).unwrap().code(), Some(0));
    assert!(!site.has_address(VIP));
}

/// One client, one port: a session on one host, and the next one on another.
#[test]
fn a_vip_that_moves_is_served_by_new_sessions() {
    let mut hosts = Hosts::new("udp-moves", 3, 1);
    let _server = hosts.datagrams();
    let udp = |text: String| text.replace("TCP", "UDP");
    hosts.write("gateway0.yaml", &udp(gateway("web0", &[("udp", 80)])));
    hosts.write("route0.yaml", &udp(route("web0", "web0", "udp", "web")));
    hosts.start_all();
    let client = socket(&hosts.client, &format!("{VIP}:80"));
    client.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
    let answered = || ask(&client, b"!").is_ok_and(|answer| answer == b"hello\n!");
    for killed in [false, true] {
        eventually(SOON, || {
            anyhow::ensure!(answered(), "no answer");
            Ok(())
        })
        .unwrap();
        let owner = hosts.owner(VIP);
        let (stop, asking) = (AtomicBool::new(false), &answered);
        let gap = std::thread::scope(|scope| {
            // The longest time from one answer to the next.
            let watch = scope.spawn(|| {
                let (mut last, mut longest) = (Instant::now(), Duration::ZERO);
                while !stop.load(Ordering::Relaxed) {
                    if asking() {
                        longest = longest.max(last.elapsed());
                        last = Instant::now();
                    }
                }
                longest.max(last.elapsed())
            });
            match killed {
                true => hosts.kill(owner),
                false => hosts.terminate(owner),
            }
            std::thread::sleep(Duration::from_secs(2));
            stop.store(true, Ordering::Relaxed);
            watch.join().unwrap()
        });
        println!("{}: {gap:?} without an answer", if killed { "killed" } else { "stopped" });
        assert!(gap <= patience(FAIL_OVER), "{gap:?}, killed: {killed}");
        hosts.start(owner);
        hosts.settled();
    }
}

/// Figures are printed, for their size says something of the machine as well.
#[test]
fn iperf3_sends_datagrams_through_a_vip() {
    let site = Site::new("iperf3");
    site.server_address("10.77.0.61".parse().unwrap());
    let _server = iperf3_server(&site.servers, "10.77.0.61");
    site.write_both(5201, &["10.77.0.61:5201"]);
    let vipgate = site.start();
    site.healthy(&vipgate);
    for (direction, to, options) in [
        ("to the server, directly", "10.77.0.61", &[][..]),
        ("to the server", VIP, &[]),
        ("from the server, directly", "10.77.0.61", &["-R"]),
        ("from the server", VIP, &["-R"]),
    ] {
        let program = Program::new("iperf3")
            .args(["-c", to, "-u", "-b", "200M", "-l", "1200", "-t", "3", "-J"])
            .args(options);
        let output = site.client.run_within(Duration::from_secs(30), program).unwrap();
        let report: Value = serde_json::from_str(&output).unwrap();
        let sum = &report["end"]["sum"];
        let number = |name: &str| sum[name].as_f64().unwrap_or_else(|| panic!("{name}: {report}"));
        let (rate, lost) = (number("bits_per_second") / 1e6, number("lost_percent"));
        println!("{direction}: {rate:.0} Mbit/s, {lost:.2} % lost of {}", number("packets"));
        assert!(rate > 1.0 && lost < 50.0, "{rate} Mbit/s, {lost} % lost");
    }
    let report = vipgate.report(&site.node).unwrap();
    let udp = listener_of(&report, "udp");
    println!("vipgate dropped {}", udp["dropped"]);
    assert_eq!(udp["accepted"], 2);
}

fn iperf3_server(node: &Node, address: &str) -> Process {
    let server = node.spawn(Program::new("iperf3").args(["-s", "-B", address])).unwrap();
    let at: SocketAddr = (address.parse::<std::net::IpAddr>().unwrap(), 5201).into();
    let connect = || std::net::TcpStream::connect_timeout(&at, ANSWER);
    eventually(SOON, || Ok(node.enter(connect).map(drop)?)).unwrap();
    server
}

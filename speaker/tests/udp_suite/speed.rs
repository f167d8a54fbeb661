//! Figures, for docs/udp.md: ways against each other in one run, each from a client's machine over the
//! node to a server's; nginx is one of them where it is installed with its module `stream`. Run by hand, as
//! root:
//! `cargo test --release -p vipgate-speaker --test udp_suite speed -- --ignored --nocapture`.

use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use vipgate_lab::{Bridge, Lab, Link, Node, Process, Program};
use vipgate_speaker::udp::Udp;

use crate::cut::{cut, join};
use crate::rig::{apply, big_buffer, listener, share};

/// The ways take turns, so that a busy moment of the machine meets them all.
const ROUNDS: usize = 8;
const TURN: Duration = Duration::from_millis(500);
/// Questions under way at once.
const CLIENTS: usize = 64;
const LENGTH: usize = 1200;
const RUN: usize = 40;

const SERVER: &str = "10.79.0.3:7000";
/// Of the node: one port is the engine's, another is rewritten by the kernel.
const ENGINE: &str = "10.79.0.1:7000";
const KERNEL: &str = "10.79.0.1:7001";
const NGINX: &str = "10.79.0.1:7002";
/// Whose sessions end with the answer to one question.
const NGINX_DNS: &str = "10.79.0.1:7003";
/// Where Debian has it.
const STREAM: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";

struct Site {
    client: Node,
    node: Node,
    server: Node,
    _links: (Bridge, Vec<Link>, Lab),
}

impl Site {
    fn new() -> Self {
        let lab = Lab::new("udpspeed").unwrap();
        let lan = lab.bridge("lan").unwrap();
        let [client, node, server] =
            ["client", "node", "server"].map(|name| lab.node(name).unwrap());
        let nodes = [(&client, "10.79.0.2/24"), (&node, "10.79.0.1/24"), (&server, "10.79.0.3/24")];
        let links = nodes.map(|(node, at)| node.join(&lan, at).unwrap()).into();
        let rules = "table ip t {\n\
                     chain pre { type nat hook prerouting priority -100\n\
                     udp dport 7001 dnat to 10.79.0.3:7000\n }\n\
                     chain post { type nat hook postrouting priority 100\n\
                     ip daddr 10.79.0.3 masquerade\n }\n }\n";
        node.run("nft", [rules]).unwrap();
        node.sysctl("net.ipv4.ip_forward", "1").unwrap();
        Self { client, node, server, _links: (lan, links, lab) }
    }

    fn engine(&self) -> Udp {
        let udp = self.node.enter(crate::rig::udp);
        let shares = vec![share(1, &[SERVER.parse().unwrap()])];
        self.node.enter(|| apply(&udp, &[listener("l", ENGINE.parse().unwrap(), shares)]));
        udp
    }

    /// With two workers, which share the port as ours do.
    fn nginx(&self) -> Option<(Process, TempDir)> {
        if !Path::new(STREAM).exists() {
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join("nginx.conf");
        let text = format!(
            "load_module {STREAM}; daemon off; user root; worker_processes 2; \
             worker_rlimit_nofile 19000; pid {0}/pid; error_log stderr warn;\n\
             events {{ worker_connections 9000; }}\n\
             stream {{ proxy_timeout 2m; \
             server {{ listen {NGINX} udp reuseport; proxy_pass {SERVER}; }} \
             server {{ listen {NGINX_DNS} udp reuseport; proxy_pass {SERVER}; \
             proxy_responses 1; }} }}\n",
            directory.path().display()
        );
        std::fs::write(&config, text).unwrap();
        let process = self.node.spawn(Program::new("nginx").arg("-c").arg(&config)).unwrap();
        let bound = || self.node.run("ss", ["-Hlun"]).unwrap().contains(NGINX);
        crate::rig::eventually("nginx listens", bound);
        Some((process, directory))
    }

    fn socket(&self, to: SocketAddr) -> UdpSocket {
        self.client.enter(|| {
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            socket.connect(to).unwrap();
            socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
            socket
        })
    }
}

/// A server on a thread, until it is dropped: sends back what it gets, or only counts it.
struct Server {
    bytes: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl Server {
    fn start(site: &Site, echoes: bool) -> Self {
        let socket = site.server.enter(|| UdpSocket::bind(SERVER)).unwrap();
        big_buffer(&socket);
        join(&socket);
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let (bytes, stop) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let (count, stopped) = (bytes.clone(), stop.clone());
        thread::spawn(move || {
            let mut buffer = vec![0; 1 << 16];
            while !stopped.load(Relaxed) {
                let Ok((length, peer)) = socket.recv_from(&mut buffer) else { continue };
                count.fetch_add(length as u64, Relaxed);
                if echoes {
                    let _ = socket.send_to(&buffer[..length], peer);
                }
            }
        });
        Self { bytes, stop }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        thread::sleep(Duration::from_millis(100));
    }
}

/// A way: its name, and something to do there. Returns how much was done.
type Way<'a> = (&'static str, Box<dyn FnMut() -> u64 + 'a>);

/// Prints how much of something each way does in a second, as parts of what the first does.
fn compare(what: &str, mut ways: Vec<Way<'_>>) {
    let mut totals = vec![(0, Duration::ZERO); ways.len()];
    for _ in 0..ROUNDS {
        for ((_, once), (done, took)) in ways.iter_mut().zip(&mut totals) {
            let begin = Instant::now();
            while begin.elapsed() < TURN {
                *done += once();
            }
            *took += begin.elapsed();
        }
    }
    let rates: Vec<f64> =
        totals.iter().map(|(done, took)| *done as f64 / took.as_secs_f64()).collect();
    for ((name, _), rate) in ways.iter().zip(&rates) {
        assert!(*rate > 0.0);
        println!("{what}, {name}: {rate:.0} a second, {:.2} of {}", rate / rates[0], ways[0].0);
    }
}

fn ways(nginx: Option<&'static str>) -> impl Iterator<Item = (&'static str, SocketAddr)> {
    let ways = [("kernel's DNAT", KERNEL), ("vipgate", ENGINE), ("direct", SERVER)];
    let nginx = nginx.map(|at| ("nginx", at));
    ways.into_iter().chain(nginx).map(|(name, at)| (name, at.parse().unwrap()))
}

#[test]
#[ignore = "a measurement, not a test; see the module"]
fn questions() {
    let site = Site::new();
    let (_udp, _server, nginx) = (site.engine(), Server::start(&site, true), site.nginx());
    let ask_all = |clients: &[UdpSocket]| {
        clients.iter().for_each(|client| drop(client.send(&[7; 64])));
        clients.iter().filter(|client| client.recv(&mut [0; 128]).is_ok()).count() as u64
    };
    compare(
        "questions of clients that stay",
        ways(nginx.as_ref().map(|_| NGINX))
            .map(|(name, to)| {
                let clients: Vec<_> = (0..CLIENTS).map(|_| site.socket(to)).collect();
                let once: Box<dyn FnMut() -> u64> = Box::new(move || ask_all(&clients));
                (name, once)
            })
            .collect(),
    );
    compare(
        "questions, each from a new port",
        ways(nginx.as_ref().map(|_| NGINX_DNS))
            .map(|(name, to)| {
                let site = &site;
                let once: Box<dyn FnMut() -> u64 + '_> = Box::new(move || {
                    let clients: Vec<_> = site.client.enter(|| {
                        let socket = |_| {
                            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
                            socket.connect(to).unwrap();
                            socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
                            socket
                        };
                        (0..CLIENTS).map(socket).collect()
                    });
                    ask_all(&clients)
                });
                (name, once)
            })
            .collect(),
    );
}

#[test]
#[ignore = "a measurement, not a test; see the module"]
fn bulk() {
    let site = Site::new();
    let (udp, server, nginx) = (site.engine(), Server::start(&site, false), site.nginx());
    let run = vec![7; LENGTH * RUN];
    for (what, length) in [("in runs that the kernel cuts", Some(LENGTH)), ("one by one", None)] {
        let (server, run) = (&server, &run);
        compare(
            &format!("bytes of datagrams, {what}"),
            ways(nginx.as_ref().map(|_| NGINX))
                .map(|(name, to)| {
                    let socket = site.socket(to);
                    if let Some(length) = length {
                        assert!(cut(&socket, length));
                    }
                    // What arrived, a little behind what was sent: no more is under way than fits.
                    let once: Box<dyn FnMut() -> u64 + '_> = Box::new(move || {
                        let before = server.bytes.load(Relaxed);
                        for _ in 0..16 {
                            match length {
                                Some(_) => drop(socket.send(run)),
                                None => run.chunks(LENGTH).for_each(|one| drop(socket.send(one))),
                            }
                        }
                        let all = before + 16 * run.len() as u64;
                        let patience = Instant::now() + Duration::from_millis(20);
                        while server.bytes.load(Relaxed) < all && Instant::now() < patience {
                            thread::yield_now();
                        }
                        server.bytes.load(Relaxed) - before
                    });
                    (name, once)
                })
                .collect(),
        );
    }
    println!("{:?}", udp.snapshot());
}

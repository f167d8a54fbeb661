//! A VPN behind a VIP: WireGuard, whose clients go on for hours and come from wherever they are.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use vipgate_lab::servers::{self, Tunnel, WireGuard, WireGuardKeys};
use vipgate_lab::{Program, eventually, patience};

use crate::site::{SOON, Site, VIP, Vipgate, backend};
use crate::udp::listener_of;

/// Where the servers' end hears clients.
const PORT: u16 = 51820;
/// What goes through the tunnel there and back.
const TRANSFER: usize = 8 << 20;

/// The servers' end, behind the VIP, and the client's, which knows the VIP alone.
struct Ends {
    _server: WireGuard,
    client: WireGuard,
    echo: servers::Echo,
}

impl Ends {
    fn start(site: &Site) -> Self {
        let [ours, theirs] = [(); 2].map(|()| WireGuardKeys::generate().unwrap());
        let server = servers::wireguard(
            &site.servers,
            &Tunnel {
                keys: &theirs,
                port: PORT,
                address: "10.9.0.1/24",
                peer: &ours,
                endpoint: None,
            },
        );
        let client = servers::wireguard(
            &site.client,
            &Tunnel {
                keys: &ours,
                port: 40_001,
                address: "10.9.0.2/24",
                peer: &theirs,
                endpoint: Some(format!("{VIP}:{PORT}").parse().unwrap()),
            },
        );
        let echo = servers::echo(&site.servers, "10.9.0.1:7".parse().unwrap(), "inside").unwrap();
        Self { _server: server.unwrap(), client: client.unwrap(), echo }
    }

    /// A connection inside the tunnel.
    fn connect(&self, site: &Site) -> BufReader<TcpStream> {
        let stream = site
            .client
            .enter(|| TcpStream::connect_timeout(&self.echo.address(), patience(SOON)))
            .unwrap();
        stream.set_read_timeout(Some(patience(SOON))).unwrap();
        let mut stream = BufReader::new(stream);
        let mut name = String::new();
        stream.read_line(&mut name).unwrap();
        assert_eq!(name, "inside\n");
        stream
    }
}

fn ping(site: &Site, count: &str) -> vipgate_lab::Result<String> {
    let program = Program::new("ping").args(["-c", count, "-i", "0.2", "-W", "2", "10.9.0.1"]);
    site.client.run_within(SOON, program)
}

fn sessions(site: &Site, vipgate: &Vipgate) -> Value {
    listener_of(&vipgate.report(&site.node).unwrap(), "udp")["accepted"].clone()
}

/// Sends octets and hears them again, all of them and in their order. How long it took.
fn there_and_back(
    stream: &mut BufReader<TcpStream>,
    octets: usize,
    done: &AtomicUsize,
) -> Duration {
    let sent: Vec<u8> = (0..octets).map(|n| (n as u32).wrapping_mul(2_654_435_761) as u8).collect();
    let start = Instant::now();
    let mut out = stream.get_ref().try_clone().unwrap();
    let mut heard = vec![0; octets];
    std::thread::scope(|scope| {
        scope.spawn(|| out.write_all(&sent).unwrap());
        for part in heard.chunks_mut(64 << 10) {
            stream.read_exact(part).unwrap();
            done.fetch_add(part.len(), Ordering::Relaxed);
        }
    });
    assert!(heard == sent, "what came back is something else");
    start.elapsed()
}

#[test]
fn a_wireguard_tunnel_goes_through_a_vip_and_outlives_changes_and_roaming() {
    let site = Site::new("wireguard");
    // The node's first address: WireGuard in user space answers from that, whichever it was asked at.
    site.write_both(PORT, &["10.77.0.2:51820"]);
    let ends = Ends::start(&site);
    assert!(ping(&site, "1").is_err(), "control: there is no other way in");
    let vipgate = site.start();
    site.healthy(&vipgate);

    eventually(SOON, || ping(&site, "1")).unwrap();
    let pings = ping(&site, "5").unwrap();
    assert!(pings.contains(" 0% packet loss"), "{pings}");
    let mut stream = ends.connect(&site);
    let took = there_and_back(&mut stream, TRANSFER, &AtomicUsize::new(0));
    println!("{TRANSFER} bytes through the tunnel and back in {took:?}");
    assert_eq!(sessions(&site, &vipgate), 1, "all of it is one session");

    // The endpoint goes from its backend and others come, again and again, while bytes are on their way. (As
    // long as it answers, it keeps its session.)
    let (done, over) = (AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let transfer = scope.spawn(|| {
            there_and_back(&mut stream, TRANSFER, &done);
            over.store(true, Ordering::Relaxed);
        });
        let mut changes = 0;
        while !over.load(Ordering::Relaxed) && !transfer.is_finished() {
            let others = ["10.77.0.71:51820", "10.77.0.72:51820"];
            site.write("backend.yaml", &backend("server", &others[..=changes % 2]));
            changes += 1;
            let before = done.load(Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(150));
            println!("change {changes}: {} bytes later", done.load(Ordering::Relaxed) - before);
        }
        assert!(changes >= 2, "the transfer was over before anything changed");
    });
    assert_eq!(sessions(&site, &vipgate), 1, "it is the same session");

    // The client's port changes, as in another network: another session, the same endpoint, the same
    // connection inside, and no new keys.
    site.write("backend.yaml", &backend("server", &["10.77.0.2:51820"]));
    eventually(SOON, || {
        let report = vipgate.report(&site.node)?;
        anyhow::ensure!(report.to_string().contains("10.77.0.2:51820"), "{report}");
        Ok(())
    })
    .unwrap();
    let handshakes = ends.client.handshakes().unwrap();
    ends.client.roam(40_002).unwrap();
    there_and_back(&mut stream, 1 << 20, &AtomicUsize::new(0));
    assert_eq!(sessions(&site, &vipgate), 2);
    let pings = ping(&site, "5").unwrap();
    assert!(pings.contains(" 0% packet loss"), "{pings}");
    assert_eq!(ends.client.handshakes().unwrap(), handshakes);
    assert!(handshakes > 0);
}

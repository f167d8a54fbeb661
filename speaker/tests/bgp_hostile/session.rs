//! Running sessions: a peer that sends nonsense, one that takes nothing, and one that has to be
//! served well meanwhile. On loopback, between threads of this test.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio_util::task::TaskTracker;
use vipgate_lab::patience;
use vipgate_speaker::bgp::fsm::{Config, PeerAs, State};
use vipgate_speaker::bgp::io::{Address, Peer, PeerConfig, Target};
use vipgate_speaker::bgp::rib::Routes;
use vipgate_speaker::bgp::wire::{Capabilities, Control, Family, Kind, Open, Path, frame};

use crate::corpus::Mutator;
use crate::decoder::resident;

const TIME: Duration = Duration::from_secs(8);

fn config(address: SocketAddr) -> PeerConfig {
    PeerConfig {
        name: address.to_string(),
        target: Target {
            address: Address::At(address),
            source: None,
            device: None,
            vrf: None,
            password: None,
            ttl_security: false,
        },
        session: Config {
            asn: 65001,
            router_id: Ipv4Addr::new(10, 9, 0, 2),
            peer_as: PeerAs::Exactly(65002),
            multihop: false,
            hold_time: Duration::from_secs(3),
            keepalive_time: None,
            connect_time: Duration::from_secs(1),
            passive: false,
            families: Family::ALL.into(),
            extended_next_hop: false,
            graceful_restart: None,
            drain_mark: Duration::ZERO,
            drain_settle: Duration::ZERO,
        },
        seed: 1,
        bfd: None,
        calls: None,
    }
}

fn open() -> Vec<u8> {
    let capabilities = Capabilities {
        families: Family::ALL.into(),
        as4: true,
        route_refresh: true,
        ..Capabilities::default()
    };
    let router_id = Ipv4Addr::new(10, 9, 0, 1);
    Control::Open(Open { asn: 65002, hold_time: 3, router_id, capabilities }).encode()
}

/// A peer on a port of its own, which does this with each connection until told to end.
struct Opposite {
    address: SocketAddr,
    ends: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Opposite {
    fn new(work: impl Fn(TcpStream, &AtomicBool) + Send + 'static) -> Opposite {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let ends = Arc::new(AtomicBool::new(false));
        let ending = Arc::clone(&ends);
        let thread = std::thread::spawn(move || {
            while !ending.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((stream, _)) => {
                        stream.set_nonblocking(false).unwrap();
                        work(stream, &ending);
                    }
                    Err(_) => std::thread::sleep(Duration::from_millis(5)),
                }
            }
        });
        Opposite { address, ends, thread: Some(thread) }
    }
}

impl Drop for Opposite {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        let joined = self.thread.take().unwrap().join();
        assert!(joined.is_ok() || std::thread::panicking());
    }
}

/// The longest time the well-behaved peer heard nothing, in milliseconds.
type Silence = Arc<AtomicU64>;

/// Speaks as it should, and measures.
fn polite() -> (Opposite, Silence) {
    let longest = Silence::default();
    let measured = Arc::clone(&longest);
    let opposite = Opposite::new(move |mut stream, ends| {
        stream.write_all(&open()).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let (mut inbox, mut chunk) = (Vec::new(), [0; 4096]);
        let (mut heard, mut spoken) = (Instant::now(), Instant::now());
        while !ends.load(Ordering::Relaxed) {
            match stream.read(&mut chunk) {
                Ok(0) => return,
                Ok(count) => inbox.extend(&chunk[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
            while let Some(found) = frame(&inbox).unwrap() {
                let (kind, length) = (found.kind, found.length);
                inbox.drain(..length);
                if kind == Kind::Keepalive {
                    let silence = u64::try_from(heard.elapsed().as_millis()).unwrap();
                    measured.fetch_max(silence, Ordering::Relaxed);
                    heard = Instant::now();
                }
                if kind == Kind::Open {
                    stream.write_all(&Control::Keepalive.encode()).unwrap();
                }
            }
            if spoken.elapsed() > Duration::from_millis(900) {
                stream.write_all(&Control::Keepalive.encode()).unwrap();
                spoken = Instant::now();
            }
        }
    });
    (opposite, longest)
}

/// Establishes a session and sends damaged messages, as fast as they are taken.
fn mutating(sent: Arc<AtomicU64>) -> Opposite {
    let seed = AtomicU64::new(1);
    Opposite::new(move |mut stream, ends| {
        let mut mutator = Mutator::new(seed.fetch_add(1, Ordering::Relaxed));
        stream.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
        let mut hello = open();
        hello.extend(Control::Keepalive.encode());
        if stream.write_all(&hello).is_err() {
            return;
        }
        let mut chunk = [0; 4096];
        while !ends.load(Ordering::Relaxed) {
            let mut batch = Vec::new();
            for _ in 0..50 {
                // What is no UPDATE mostly ends the session.
                let update = mutator.below(1_000) > 0;
                batch.extend(if update { mutator.next_update() } else { mutator.next() });
            }
            if stream.write_all(&batch).is_err() {
                return;
            }
            sent.fetch_add(50, Ordering::Relaxed);
            if matches!(stream.read(&mut chunk), Ok(0)) {
                return;
            }
        }
    })
}

/// Establishes a session, says that it lives, and never reads.
fn deaf() -> Opposite {
    Opposite::new(|mut stream, ends| {
        stream.write_all(&open()).unwrap();
        stream.write_all(&Control::Keepalive.encode()).unwrap();
        while !ends.load(Ordering::Relaxed) {
            if stream.write_all(&Control::Keepalive.encode()).is_err() {
                return;
            }
            std::thread::sleep(Duration::from_millis(500));
        }
    })
}

fn routes(count: u32) -> Routes {
    let mut routes = Routes::default();
    for number in 0..count {
        let address = Ipv4Addr::from(0x0a00_0000 + number);
        routes.add(ipnet::IpNet::from(std::net::IpAddr::from(address)), &Path::default());
    }
    routes
}

#[test]
fn bad_peers_harm_no_other_and_cost_no_memory() {
    let sent = Arc::new(AtomicU64::new(0));
    let (polite, silence) = polite();
    let bad = [mutating(Arc::clone(&sent)), mutating(Arc::clone(&sent)), deaf()];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let tracker = TaskTracker::new();
        let good = Peer::start(config(polite.address), &tracker);
        good.set_routes(routes(10));
        let bad_peers: Vec<Peer> =
            bad.iter().map(|one| Peer::start(config(one.address), &tracker)).collect();
        tokio::time::sleep(Duration::from_secs(2)).await;
        let before = resident();
        let start = Instant::now();
        let mut changes = 0;
        while start.elapsed() < TIME {
            // The deaf one is told of ever new routes.
            changes += 1;
            for peer in &bad_peers {
                peer.set_routes(routes(1_000 + changes % 2 * 500));
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        let growth = resident().saturating_sub(before);
        let status = good.status().borrow().clone();
        assert_eq!((status.state, status.established), (State::Established, 1), "{status:?}");
        let sessions: u64 = bad_peers[..2].iter().map(|p| p.status().borrow().established).sum();
        let updates: u64 =
            bad_peers[..2].iter().map(|p| p.status().borrow().received.updates).sum();
        let deaf = bad_peers[2].status().borrow().clone();
        println!(
            "{} damaged messages in {sessions} sessions, {updates} UPDATEs taken, grown by \
             {growth} kB; the good peer waited {} ms at most",
            sent.load(Ordering::Relaxed),
            silence.load(Ordering::Relaxed)
        );
        assert_eq!(deaf.state, State::Established, "{deaf:?}");
        assert!(sessions >= 2 && updates > 5_000, "{sessions} sessions, {updates} UPDATEs");
        assert!(growth < 5_000, "{growth} kB");
        // Keepalives are due each second.
        let most = patience(Duration::from_millis(2_000)).as_millis();
        assert!(u128::from(silence.load(Ordering::Relaxed)) < most);
    });
}

//! Bursts: what the kernel joins and cuts, order and content.

use std::net::{SocketAddr, UdpSocket};
use std::thread;
use std::time::Duration;

use vipgate_speaker::udp::Udp;

use crate::cut::cut;
use crate::rig::{SOON, apply, at, big_buffer, client, counters, eventually, listener, share, udp};

/// Datagrams of a run, and their length.
const RUN: usize = 40;
const LENGTH: usize = 1200;

/// A datagram that says which it is, with bytes that follow from it.
fn datagram(number: u32, length: usize) -> Vec<u8> {
    let mut bytes = number.to_be_bytes().to_vec();
    bytes.extend((4..length).map(|n| (number as usize + n) as u8));
    bytes
}

fn receive(socket: &UdpSocket, expected: u32, length: usize) -> SocketAddr {
    let mut buffer = vec![0; 1 << 16];
    let (len, peer) = socket.recv_from(&mut buffer).unwrap();
    assert_eq!(len, length, "datagram {expected}");
    assert!(buffer[..len] == datagram(expected, length), "datagram {expected}, or another");
    peer
}

struct Way {
    udp: Udp,
    server: UdpSocket,
    client: UdpSocket,
}

fn way(net: u8) -> Way {
    let server = UdpSocket::bind(at(&format!("127.46.{net}.2:7000"))).unwrap();
    server.set_read_timeout(Some(SOON)).unwrap();
    big_buffer(&server);
    let (udp, vip) = (udp(), at(&format!("127.46.{net}.1:7000")));
    apply(&udp, &[listener("l", vip, vec![share(1, &[server.local_addr().unwrap()])])]);
    let client = client(vip);
    big_buffer(&client);
    Way { udp, server, client }
}

/// A sender that gives the kernel runs to cut: they go through as pieces, and arrive as datagrams, in order.
#[test]
fn runs_pass_in_one_piece_and_in_order() {
    let Way { udp, server, client } = way(51);
    // Both directions, the client first.
    for length in [LENGTH, 100, LENGTH] {
        if !cut(&client, length) || !cut(&server, length) {
            return;
        }
        let mut session = None;
        for first in (0..200).map(|run| run * RUN as u32) {
            let run: Vec<u8> = (0..RUN as u32).flat_map(|n| datagram(first + n, length)).collect();
            client.send(&run).unwrap();
            for n in 0..RUN as u32 {
                session = Some(receive(&server, first + n, length));
            }
            server.send_to(&run, session.unwrap()).unwrap();
            for n in 0..RUN as u32 {
                receive(&client, first + n, length);
            }
        }
    }
    let count = 3 * 200 * RUN as u64;
    eventually("all are counted", || counters(&udp).datagrams_out == count);
    let counted = counters(&udp);
    assert_eq!((counted.datagrams_in, counted.sessions), (count, 1));
    assert!(counted.dropped.is_empty(), "{counted:?}");
    let snapshot = udp.snapshot();
    println!("{} pieces joined, {} cut again", snapshot.joined, snapshot.cut);
    assert!(snapshot.joined >= 600, "{snapshot:?}");
    assert!(snapshot.cut >= snapshot.joined, "{snapshot:?}");
}

/// A client that says one thing and then only listens: what it gets comes in runs as well.
#[test]
fn a_stream_to_a_client_that_only_listens_passes_in_runs() {
    let Way { udp, server, client } = way(54);
    client.send(b"subscribe").unwrap();
    let (_, session) = server.recv_from(&mut [0; 16]).unwrap();
    for first in 0..3 {
        server.send_to(&datagram(first, LENGTH), session).unwrap();
        receive(&client, first, LENGTH);
    }
    if !cut(&server, LENGTH) {
        return;
    }
    for first in (3..).step_by(RUN).take(200) {
        let run: Vec<u8> = (0..RUN as u32).flat_map(|n| datagram(first + n, LENGTH)).collect();
        server.send_to(&run, session).unwrap();
        for n in 0..RUN as u32 {
            receive(&client, first + n, LENGTH);
        }
    }
    eventually("pieces are cut again", || udp.snapshot().cut >= 200);
}

/// Many short ones, one by one, through several sessions at a time: each flow keeps its order.
#[test]
fn each_flow_keeps_its_order() {
    const FLOWS: u32 = 16;
    const EACH: u32 = 400;
    let Way { udp, server, client } = way(52);
    let to = client.peer_addr().unwrap();
    let echo = thread::spawn(move || {
        let mut buffer = vec![0; 2048];
        for _ in 0..FLOWS * EACH {
            let (len, peer) = server.recv_from(&mut buffer).unwrap();
            server.send_to(&buffer[..len], peer).unwrap();
        }
    });
    let clients: Vec<_> = (0..FLOWS).map(|_| crate::rig::client(to)).collect();
    clients.iter().for_each(big_buffer);
    for round in 0..EACH / 20 {
        for n in 0..20 {
            for (flow, client) in (0..).zip(&clients) {
                let number = round * 20 + n;
                client.send(&datagram(number, 32 + flow as usize)).unwrap();
            }
        }
        for (flow, client) in (0..).zip(&clients) {
            for n in 0..20 {
                receive(client, round * 20 + n, 32 + flow as usize);
            }
        }
    }
    echo.join().unwrap();
    assert_eq!(counters(&udp).sessions, u64::from(FLOWS));
    drop(client);
}

/// An endpoint that reads nothing: its socket drops, and others are served as if nothing were.
#[test]
fn a_burst_to_one_starves_nobody() {
    let Way { udp, server: _stuck, client } = way(53);
    let other = crate::rig::Server::echo(at("127.46.53.4:7000"));
    let vip = at("127.46.53.3:7000");
    let busy =
        listener("l", client.peer_addr().unwrap(), vec![share(1, &[at("127.46.53.2:7000")])]);
    apply(&udp, &[busy, listener("m", vip, vec![share(1, &[other.address])])]);
    let stop = std::sync::atomic::AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let _ = client.send(&[7; 1400]);
            }
        });
        let small = crate::rig::client(vip);
        small.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        // One may be lost to an overrun of the worker's socket; most are not.
        let served = (0..200_u32).filter(|n| {
            small.send(&n.to_be_bytes()).unwrap();
            let mut back = [0; 8];
            small.recv(&mut back).is_ok()
        });
        let served = served.count();
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(served >= 190, "{served} of 200");
    });
}

//! What flows to backends through TLS, from clients with it and without: all of it, in order, with its
//! ends and failures.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use vipgate_speaker::proxy::{Proxy, ResetReason};

use crate::backend_tls::{accept, plain, secure};
use crate::ca::Ca;
use crate::rig::{
    self, Backend, SOON, apply, at, connect, counters, eventually, pattern, proxy, reset,
    send_pattern,
};
use crate::tls::{Issued, TlsStream, shake};

const NAME: &str = "b.example.com";

type Server = StreamOwned<ServerConnection, TcpStream>;

/// An engine with a listener of each kind, and a backend whose connections the test has.
struct Rig {
    proxy: Proxy,
    plain: SocketAddr,
    secure: SocketAddr,
    own: Issued,
    _backend: Backend,
    streams: Receiver<TcpStream>,
    config: Arc<ServerConfig>,
}

/// A client of either kind.
enum Client {
    Plain(TcpStream),
    Tls(Box<TlsStream>),
}

impl Rig {
    fn new(number: u8) -> Self {
        let ca = Ca::new("ca");
        let config = ca.issue(&[NAME]).server();
        let own = Issued::new(&["a.example.com"]);
        let (backend, streams) = Backend::hands_over(at(&format!("127.37.6.{number}:9501")));
        let bind = |port| at(&format!("127.37.7.{number}:{port}"));
        let (one, two) = (bind(9500), bind(9501));
        let proxy = proxy();
        let mut second = secure(two, ca.to(NAME), backend.address, &own);
        second.id.name = "second".to_owned();
        apply(&proxy, &[plain(one, ca.to(NAME), &[backend.address]), second]);
        Self { proxy, plain: one, secure: two, own, _backend: backend, streams, config }
    }

    fn open(&self, by_tls: bool) -> (Client, Server) {
        let client = match by_tls {
            true => Client::Tls(Box::new(shake(self.secure, "a.example.com", &self.own.client()))),
            false => Client::Plain(connect(self.plain)),
        };
        (client, accept(&self.streams, &self.config))
    }

    /// What was counted on both listeners.
    fn resets(&self) -> Vec<(ResetReason, u64)> {
        let mut all = Vec::new();
        for counted in self.proxy.snapshot().listeners.into_values() {
            all.extend(counted.resets);
        }
        all
    }

    fn closed(&self) {
        eventually("closed", || self.proxy.snapshot().open == 0);
    }
}

impl Client {
    fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => &stream.sock,
        }
    }

    fn end(&mut self) {
        match self {
            Self::Plain(stream) => stream.shutdown(Shutdown::Write).unwrap(),
            Self::Tls(stream) => {
                stream.conn.send_close_notify();
                stream.flush().unwrap();
            }
        }
    }

    fn reset(self) {
        match self {
            Self::Plain(stream) => reset(stream),
            Self::Tls(stream) => reset(stream.sock),
        }
    }
}

impl Read for Client {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Client {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

fn end(server: &mut Server) {
    server.conn.send_close_notify();
    server.flush().unwrap();
}

fn receive(stream: &mut impl Read, seed: u64) -> (u64, std::io::Result<()>) {
    rig::receive(stream, seed, Duration::ZERO)
}

/// 8 MB each way at once, each end passed on while the other direction is open.
#[test]
fn all_bytes_and_both_ends_arrive() {
    const LENGTH: u64 = 8_000_000;
    const BLOCK: u64 = 40_000;
    let rig = Rig::new(1);
    for by_tls in [false, true] {
        let (mut client, mut server) = rig.open(by_tls);
        let serving = thread::spawn(move || {
            // In turns of less than the windows: one thread has both directions.
            let (mut block, mut expected) = (vec![0; BLOCK as usize], vec![0; BLOCK as usize]);
            for turn in 0..LENGTH / BLOCK {
                pattern(1, turn * BLOCK, &mut block);
                server.write_all(&block).unwrap();
                server.read_exact(&mut block).unwrap();
                pattern(2, turn * BLOCK, &mut expected);
                assert!(block == expected, "bytes to the server differ in turn {turn}");
            }
            // Its end comes first, and it still hears.
            server.conn.send_close_notify();
            server.flush().unwrap();
            let mut rest = String::new();
            server.read_to_string(&mut rest).unwrap();
            assert_eq!(rest, "late");
        });
        let (mut block, mut expected) = (vec![0; BLOCK as usize], vec![0; BLOCK as usize]);
        for turn in 0..LENGTH / BLOCK {
            pattern(2, turn * BLOCK, &mut block);
            client.write_all(&block).unwrap();
            client.read_exact(&mut block).unwrap();
            pattern(1, turn * BLOCK, &mut expected);
            assert!(block == expected, "bytes to the client differ in turn {turn}");
        }
        assert_eq!(client.read(&mut [0; 8]).unwrap(), 0);
        client.write_all(b"late").unwrap();
        client.end();
        serving.join().unwrap();
        rig.closed();
    }
    assert_eq!(rig.resets(), []);
    assert_eq!(counters(&rig.proxy).bytes_in, LENGTH + 4);
    assert_eq!(counters(&rig.proxy).bytes_out, LENGTH);
}

#[test]
fn the_client_may_end_first() {
    let rig = Rig::new(2);
    for by_tls in [false, true] {
        let (mut client, mut server) = rig.open(by_tls);
        client.write_all(b"question").unwrap();
        client.end();
        let mut text = String::new();
        server.read_to_string(&mut text).unwrap();
        assert_eq!(text, "question");
        let sender = thread::spawn(move || {
            send_pattern(&mut server, 3, 1_000_000);
            end(&mut server);
            server
        });
        let (received, ended) = receive(&mut client, 3);
        assert_eq!((received, ended.is_ok()), (1_000_000, true));
        sender.join().unwrap();
        rig.closed();
    }
    assert_eq!(rig.resets(), []);
}

/// What the server sent before it failed is delivered, and does not look complete.
#[test]
fn a_server_that_fails_in_the_middle_resets_the_client() {
    const LENGTH: u64 = 300_000;
    let rig = Rig::new(3);
    for by_tls in [false, true] {
        for hard in [false, true] {
            let (mut client, mut server) = rig.open(by_tls);
            let sender = thread::spawn(move || {
                send_pattern(&mut server, 4, LENGTH);
                // All of it has left for the engine, or a reset would overtake it here.
                thread::sleep(Duration::from_millis(100));
                match hard {
                    true => reset(server.sock),
                    // The end of the socket without close_notify.
                    false => server.sock.shutdown(Shutdown::Both).unwrap(),
                }
            });
            sender.join().unwrap();
            thread::sleep(Duration::from_millis(20));
            let (received, ended) = receive(&mut client, 4);
            assert_eq!(received, LENGTH, "by TLS: {by_tls}, hard: {hard}");
            assert!(ended.is_err(), "it does not look complete; by TLS: {by_tls}, hard: {hard}");
        }
    }
    rig.closed();
    let resets = rig.resets();
    assert_eq!(resets, [(ResetReason::ByBackend, 2), (ResetReason::ByBackend, 2)]);
}

#[test]
fn a_client_that_fails_in_the_middle_resets_the_server() {
    const LENGTH: u64 = 100_000;
    let rig = Rig::new(4);
    for by_tls in [false, true] {
        let (mut client, mut server) = rig.open(by_tls);
        send_pattern(&mut client, 5, LENGTH);
        let forwarded = || {
            let listeners = rig.proxy.snapshot().listeners;
            listeners.values().map(|counted| counted.bytes_in).sum::<u64>()
        };
        eventually("forwarded", || forwarded() == LENGTH * (1 + u64::from(by_tls)));
        client.reset();
        let (received, ended) = receive(&mut server, 5);
        assert_eq!(received, LENGTH);
        assert_eq!(ended.unwrap_err().kind(), ErrorKind::ConnectionReset);
    }
    rig.closed();
    assert_eq!(rig.resets(), [(ResetReason::ByClient, 1), (ResetReason::ByClient, 1)]);
}

/// The record of a server that no key fits: what came before it reaches the client, which sees a reset.
#[test]
fn a_server_that_breaks_the_protocol_is_a_failure_of_its_own() {
    let rig = Rig::new(5);
    for by_tls in [false, true] {
        let (mut client, mut server) = rig.open(by_tls);
        server.write_all(b"whole").unwrap();
        server.sock.write_all(&[&[23, 3, 3, 0, 32][..], &[7; 32]].concat()).unwrap();
        let mut text = [0; 5];
        client.read_exact(&mut text).unwrap();
        assert_eq!(&text, b"whole");
        let error = client.read(&mut [0; 8]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
    rig.closed();
    assert_eq!(rig.resets(), [(ResetReason::BackendTls, 1), (ResetReason::BackendTls, 1)]);
}

/// Who does not read stops who sends, in both directions, and goes on where it stopped.
#[test]
fn a_stalled_receiver_stops_its_sender() {
    let rig = Rig::new(6);
    for by_tls in [false, true] {
        for upwards in [true, false] {
            let (mut client, mut server) = rig.open(by_tls);
            let patience = Some(Duration::from_millis(500));
            let (mut sent, block) = (0_u64, vec![0; 64 * 1024]);
            let mut fill = |sink: &mut dyn Write| loop {
                match sink.write(&block) {
                    Ok(written) => sent += written as u64,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return sent,
                    Err(error) => panic!("{error}"),
                }
                assert!(sent < 24 << 20, "{sent} bytes accepted");
            };
            if upwards {
                client.socket().set_write_timeout(patience).unwrap();
                let sent = fill(&mut client);
                assert!(sent > 100_000, "{sent}");
                client.socket().set_write_timeout(Some(SOON)).unwrap();
                let reader = thread::spawn(move || count(&mut server));
                client.flush().unwrap();
                client.end();
                assert_eq!(reader.join().unwrap(), sent);
            } else {
                server.sock.set_write_timeout(patience).unwrap();
                let sent = fill(&mut server);
                assert!(sent > 100_000, "{sent}");
                server.sock.set_write_timeout(Some(SOON)).unwrap();
                let reader = thread::spawn(move || count(&mut client));
                server.flush().unwrap();
                end(&mut server);
                assert_eq!(reader.join().unwrap(), sent);
            }
        }
    }
    rig.closed();
}

/// Bytes until the orderly end.
fn count(stream: &mut impl Read) -> u64 {
    let (mut all, mut buffer) = (0, vec![0; 100_000]);
    loop {
        match stream.read(&mut buffer).unwrap() {
            0 => return all,
            read => all += read as u64,
        }
    }
}

/// Each side asks the engine for new keys of its own, too.
#[test]
fn keys_may_change_on_both_sides() {
    let rig = Rig::new(7);
    let (mut client, mut server) = rig.open(true);
    for round in 0..10_u64 {
        let mut data = vec![0; 30_000];
        pattern(7, round, &mut data);
        server.conn.refresh_traffic_keys().unwrap();
        server.write_all(&data).unwrap();
        if let Client::Tls(client) = &mut client {
            client.conn.refresh_traffic_keys().unwrap();
        }
        client.write_all(&data).unwrap();
        let mut there = vec![0; data.len()];
        server.read_exact(&mut there).unwrap();
        assert!(there == data, "to the server in round {round}");
        client.read_exact(&mut there).unwrap();
        assert!(there == data, "to the client in round {round}");
    }
}

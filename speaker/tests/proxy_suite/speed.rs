//! Figures, for docs/performance.md: paths against each other in one run. Run by hand:
//! `cargo test --release -p vipgate-speaker --test proxy_suite speed -- --ignored --nocapture`.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use rustls::client::Resumption;

use crate::rig::{Backend, apply, at, connect, listener, proxy, share};
use crate::tls::{Issued, client_config, get, http, https, shake};

const NAME: &str = "a.example.com";
/// The paths take turns, so that a busy moment of the machine meets them all.
const ROUNDS: usize = 8;
const TURN: Duration = Duration::from_millis(500);

/// A way through the engine: its name, and something to do there. Returns how much was done.
type Path<'a> = (&'static str, &'a mut dyn FnMut() -> u64);

/// Prints how much of something each path does in a second, and its part of what the first does.
fn rates<const N: usize>(mut paths: [Path<'_>; N], unit: &str) {
    let mut totals = [(0, Duration::ZERO); N];
    for _ in 0..ROUNDS {
        for ((_, once), (done, took)) in paths.iter_mut().zip(&mut totals) {
            let begin = Instant::now();
            while begin.elapsed() < TURN {
                *done += once();
            }
            *took += begin.elapsed();
        }
    }
    let rates = totals.map(|(done, took)| done as f64 / took.as_secs_f64());
    for ((name, _), rate) in paths.iter().zip(rates) {
        assert!(rate > 0.0);
        println!("{name}: {rate:.0} {unit} a second, {:.2} of {}", rate / rates[0], paths[0].0);
    }
}

struct Paths {
    plain: SocketAddr,
    http: SocketAddr,
    https: SocketAddr,
    issued: Issued,
    _proxy: vipgate_speaker::proxy::Proxy,
}

fn paths(net: u8, backend: SocketAddr) -> Paths {
    let bind = |port: u16| at(&format!("127.36.{net}.1:{port}"));
    let (plain, web, secure) = (bind(9401), bind(9402), bind(9403));
    let (proxy, issued) = (proxy(), Issued::new(&[NAME]));
    apply(
        &proxy,
        &[
            listener("plain", plain, vec![share(1, &[backend])]),
            http("http", web, NAME, backend),
            https("https", secure, NAME, backend, &issued),
        ],
    );
    Paths { plain, http: web, https: secure, issued, _proxy: proxy }
}

#[test]
#[ignore = "a measurement, not a test; see the module"]
fn connections() {
    let backend = Backend::echo(at("127.36.30.2:9401"));
    let paths = paths(30, backend.address);
    let request = get(NAME);
    let plain = |to: SocketAddr| {
        let mut stream = connect(to);
        stream.write_all(&request).unwrap();
        stream.read_exact(&mut vec![0; request.len()]).unwrap();
        1
    };
    let secure = |config: &Arc<ClientConfig>| {
        let mut stream = shake(paths.https, NAME, config);
        stream.write_all(&request).unwrap();
        stream.read_exact(&mut vec![0; request.len()]).unwrap();
        1
    };
    let mut full = client_config(&[&paths.issued]);
    full.resumption = Resumption::disabled();
    let (full, resumed) = (Arc::new(full), paths.issued.client());
    rates(
        [
            ("TCP", &mut || plain(paths.plain)),
            ("HTTP by Host", &mut || plain(paths.http)),
            ("HTTPS, full handshakes", &mut || secure(&full)),
            ("HTTPS, resumed", &mut || secure(&resumed)),
        ],
        "connections with one round trip",
    );
}

#[test]
#[ignore = "a measurement, not a test; see the module"]
fn bulk() {
    const BLOCK: usize = 1 << 20;
    let sink = Backend::new(at("127.36.31.2:9401"), |mut stream| {
        let mut buffer = vec![0; 256 * 1024];
        let mut received = 0;
        while let Ok(read @ 1..) = stream.read(&mut buffer) {
            received += read;
            // One byte back for each block, so that what counts has arrived.
            while received >= BLOCK {
                received -= BLOCK;
                let _ = stream.write_all(&[1]);
            }
        }
    });
    let source = Backend::new(at("127.36.32.2:9401"), |mut stream| {
        let block = vec![7; BLOCK];
        while let Ok(1..) = stream.read(&mut [0; 1]) {
            let _ = stream.write_all(&block);
        }
    });
    let block = vec![7; BLOCK];
    let up = paths(31, sink.address);
    let (mut plain, mut web) = (connect(up.plain), connect(up.http));
    web.write_all(&get(NAME)).unwrap();
    let mut secure = shake(up.https, NAME, &up.issued.client());
    let send = |stream: &mut dyn ReadWrite| {
        stream.write_all(&block).unwrap();
        stream.read_exact(&mut [0; 1]).unwrap();
        1
    };
    rates(
        [
            ("TCP, to the backend", &mut || send(&mut plain)),
            ("HTTP by Host", &mut || send(&mut web)),
            ("HTTPS", &mut || send(&mut secure)),
        ],
        "MiB",
    );
    let down = paths(32, source.address);
    let (mut plain, mut secure) =
        (connect(down.plain), shake(down.https, NAME, &down.issued.client()));
    let back = std::cell::RefCell::new(vec![0; BLOCK]);
    let receive = |stream: &mut dyn ReadWrite| {
        stream.write_all(&[1]).unwrap();
        stream.read_exact(&mut back.borrow_mut()).unwrap();
        1
    };
    rates(
        [
            ("TCP, from the backend", &mut || receive(&mut plain)),
            ("HTTPS", &mut || receive(&mut secure)),
        ],
        "MiB",
    );
}

trait ReadWrite: Read + Write {}
impl<T: Read + Write> ReadWrite for T {}

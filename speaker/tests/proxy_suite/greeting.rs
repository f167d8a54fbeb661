//! First bytes in whatever pieces they come: understood all the same, soon, and not at any price.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use std::{fs, thread};

use vipgate_planner::{ListenerSettings, Service};

use crate::child;
use crate::rig::{Backend, SOON, apply, at, connect, proxy, set};
use crate::tls::{by_name, get, passthrough, with};

/// ClientHellos of real clients.
fn hellos() -> Vec<Vec<u8>> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/proxy/client_hello/corpus/real");
    let files = fs::read_dir(path).unwrap().map(|file| file.unwrap().path());
    let all: Vec<_> = files.map(|path| fs::read(path).unwrap()).collect();
    assert!(all.len() >= 6, "{} files", all.len());
    all
}

/// Whether a client that sends its first bytes in pieces gets as many back.
fn goes_through(bind: SocketAddr, pieces: &[&[u8]], pause: Duration) {
    let whole = pieces.concat();
    let mut client = connect(bind);
    client.set_nodelay(true).unwrap();
    for piece in pieces {
        client.write_all(piece).unwrap();
        if !pause.is_zero() {
            thread::sleep(pause);
        }
    }
    let begin = Instant::now();
    let mut back = vec![0; whole.len()];
    client.read_exact(&mut back).unwrap();
    assert!(back == whole);
    assert!(begin.elapsed() < SOON / 2, "{:?}", begin.elapsed());
}

fn patient(settings: &mut ListenerSettings) {
    settings.handshake_timeout = Duration::from_secs(60);
}

#[test]
fn a_hello_in_any_pieces_reaches_its_backend() {
    let echo = Backend::echo(at("127.37.8.10:9501"));
    let bind = at("127.37.9.10:9500");
    let proxy = proxy();
    apply(&proxy, &[set(passthrough("tls", bind, None, &[(None, echo.address)]), patient)]);
    for hello in hellos() {
        let (whole, bytes) = (hello.len(), hello.chunks(1).collect::<Vec<_>>());
        goes_through(bind, &[&hello], Duration::ZERO);
        goes_through(bind, &bytes, Duration::ZERO);
        // Around every border that a reader may stop at, and everywhere else in steps.
        for split in (1..16).chain((16..whole).step_by(61)).chain([whole - 1]) {
            let (one, two) = hello.split_at(split);
            goes_through(bind, &[one, two], Duration::from_millis(1));
        }
    }
    let hello = hellos().into_iter().min_by_key(Vec::len).unwrap();
    goes_through(bind, &hello.chunks(1).collect::<Vec<_>>(), Duration::from_millis(1));
    goes_through(bind, &hello.chunks(40).collect::<Vec<_>>(), Duration::from_millis(30));
}

#[test]
fn a_request_in_any_pieces_reaches_its_backend() {
    let echo = Backend::echo(at("127.37.8.11:9501"));
    let bind = at("127.37.9.11:9500");
    let proxy = proxy();
    let service = Service::Http(by_name(Some("a.example.com"), &[(None, echo.address)]));
    apply(&proxy, &[with("web", bind, service)]);
    let request = get("a.example.com");
    for split in 1..request.len() {
        let (one, two) = request.split_at(split);
        goes_through(bind, &[one, two], Duration::from_millis(1));
    }
    for pause in [0, 1, 20] {
        goes_through(bind, &request.chunks(1).collect::<Vec<_>>(), Duration::from_millis(pause));
    }
}

#[test]
fn a_client_that_drips_costs_little() {
    child::run("greeting::child_drip");
}

/// Sixteen of them, each byte in a segment of its own. Looking after each byte would copy and read two
/// gigabytes.
#[test]
#[ignore = "run by a_client_that_drips_costs_little in a process of its own"]
fn child_drip() {
    let echo = Backend::echo(at("127.37.8.12:9501"));
    let bind = at("127.37.9.12:9500");
    let proxy = proxy();
    apply(&proxy, &[set(passthrough("tls", bind, None, &[(None, echo.address)]), patient)]);
    // A ClientHello in the smallest records, which does not end within what is looked at.
    let record = |byte: u8| [22, 3, 1, 0, 1, byte];
    let mut hello: Vec<u8> = [1, 0, 0x2a, 0].into_iter().flat_map(record).collect();
    while hello.len() < 16 * 1024 - 6 {
        hello.extend(record(0));
    }
    // They have their names by the time that they serve.
    goes_through(bind, &[&hellos()[0]], Duration::ZERO);
    let mut workers = child::Workers::find();
    let before = workers.cpu();
    let mut clients: Vec<_> = (0..16).map(|_| connect(bind)).collect();
    for client in &clients {
        client.set_nodelay(true).unwrap();
    }
    for byte in &hello {
        for client in &mut clients {
            client.write_all(&[*byte]).unwrap();
        }
    }
    let per_byte = (workers.cpu() - before) / (16 * hello.len() as u32);
    println!("{per_byte:?} for each byte");
    assert!(per_byte < Duration::from_micros(60), "{per_byte:?} for each byte");
}

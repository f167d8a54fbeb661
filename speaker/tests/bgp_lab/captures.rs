//! Records what the routers say, for the tests of the decoder (`bgp_corpus/`).

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use vipgate_lab::routers::{Make, Router, Setup};
use vipgate_speaker::bgp::wire::{Capabilities, Control, Family, GracefulRestart, Open};

use crate::site::Site;

/// All that a router sends on a session in which we say OPEN and KEEPALIVE, and then nonsense.
fn record(make: Make, changes: impl Fn(Setup) -> Setup) -> Vec<u8> {
    let site = Site::new();
    let setup = Setup::new("10.9.0.1", "10.9.0.2").with(|peer| peer.announces = true);
    let _router = Router::start(make, &site.router, &changes(setup)).unwrap();
    let mut stream = site.node.enter(|| TcpStream::connect("10.9.0.1:179").unwrap());
    let open = Open {
        asn: 65001,
        hold_time: 9,
        router_id: [10, 9, 0, 2].into(),
        capabilities: Capabilities {
            families: Family::ALL.into(),
            as4: true,
            route_refresh: true,
            extended_next_hop: true,
            graceful_restart: Some(GracefulRestart::default()),
            ..Capabilities::default()
        },
    };
    stream.write_all(&Control::Open(open).encode()).unwrap();
    stream.write_all(&Control::Keepalive.encode()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(4))).unwrap();
    let mut said = Vec::new();
    let mut chunk = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut chunk) {
        said.extend(&chunk[..count]);
    }
    stream.write_all(&[0; 19]).unwrap();
    while let Ok(count @ 1..) = stream.read(&mut chunk) {
        said.extend(&chunk[..count]);
    }
    said
}

#[test]
#[ignore = "writes the corpus anew: for a new release of a router"]
fn record_the_corpus() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bgp_corpus");
    let write = |name: &str, said: Vec<u8>| {
        assert!(said.len() > 100, "{name} said only {} bytes", said.len());
        std::fs::write(folder.join(name), said).unwrap();
    };
    let plain = |setup: Setup| setup;
    let big = |setup: Setup| Setup { asn: 4_200_000_002, ..setup };
    let internal = |setup: Setup| Setup { asn: 65001, ..setup };
    let restarting = |setup: Setup| setup.with(|peer| peer.graceful_restart = true);
    for (make, name) in [(Make::Frr, "frr-8.4.4"), (Make::Bird, "bird-2.0.12")] {
        write(&format!("{name}-external.bin"), record(make, plain));
        write(&format!("{name}-four-byte-as.bin"), record(make, big));
        write(&format!("{name}-internal.bin"), record(make, internal));
        write(&format!("{name}-graceful-restart.bin"), record(make, restarting));
    }
}

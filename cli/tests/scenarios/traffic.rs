//! Real traffic: a gigabyte, pipelining, and the ends of connections.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener};
use std::time::Duration;

use vipgate_lab::{Program, servers};

use crate::site::{Site, VIP};

#[test]
fn a_gigabyte_arrives_whole_in_both_directions() {
    const LENGTH: usize = 1 << 30;
    let site = Site::new("gigabyte");
    let _echo = site.echo("10.77.0.21:80");
    site.write_web(&["10.77.0.21:80"]);
    let vipgate = site.start();
    site.healthy(&vipgate);
    let mut reading = site.connect(&format!("{VIP}:80")).unwrap();
    let mut writing = reading.try_clone().unwrap();
    let sums = RandomState::new();
    let (mut sent, mut received) = (sums.build_hasher(), sums.build_hasher());
    let sender = std::thread::spawn(move || {
        // A block whose every copy differs, so that a block lost, doubled or moved shows.
        let mut block: Vec<u8> =
            (0..1 << 20).map(|n: u32| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        for number in 0..(LENGTH / block.len()) as u64 {
            block[..8].copy_from_slice(&number.to_le_bytes());
            sent.write(&block);
            writing.write_all(&block).unwrap();
        }
        writing.shutdown(Shutdown::Write).unwrap();
        sent.finish()
    });
    let mut byte = [0];
    while byte[0] != b'\n' {
        reading.read_exact(&mut byte).unwrap();
    }
    let mut total = 0;
    let mut block = vec![0; 1 << 20];
    while total < LENGTH {
        reading.read_exact(&mut block).unwrap();
        received.write(&block);
        total += block.len();
    }
    assert_eq!(reading.read(&mut block).unwrap(), 0, "then the end, passed on");
    assert_eq!(sender.join().unwrap(), received.finish());
}

#[test]
fn redis_pipelines() {
    let site = Site::new("redis");
    let address = "10.77.0.21:6379";
    site.server_address("10.77.0.21".parse().unwrap());
    let redis = servers::redis(&site.servers, address.parse().unwrap(), "pipelined").unwrap();
    site.write_web(&[address]);
    let vipgate = site.start();
    site.healthy(&vipgate);
    let through = format!("{VIP}:80").parse().unwrap();
    assert_eq!(redis.command_from(&site.client, through, ["PING"]).unwrap(), "PONG");
    let benchmark = Program::new("redis-benchmark")
        .args(["-h", VIP, "-p", "80", "-n", "200000", "-P", "64", "-c", "16", "-r", "1000"])
        .args(["-t", "incr,lpush", "-q"]);
    let output = site.client.run_within(Duration::from_secs(60), benchmark).unwrap();
    assert!(output.contains("LPUSH"), "{output}");
    let length = redis.command_from(&site.client, through, ["LLEN", "mylist"]).unwrap();
    assert_eq!(length, "200000", "every pipelined command arrived once");
}

#[test]
fn a_reset_of_the_server_is_a_reset_for_the_client() {
    let site = Site::new("reset");
    site.server_address("10.77.0.21".parse().unwrap());
    let listener = site.servers.enter(|| TcpListener::bind("10.77.0.21:80")).unwrap();
    site.write_web(&["10.77.0.21:80"]);
    let vipgate = site.start();
    site.healthy(&vipgate);
    let mut client = site.connect(&format!("{VIP}:80")).unwrap();
    client.write_all(b"hello").unwrap();
    let (server, _) = listener.accept().unwrap();
    // Closing with unread data makes the kernel send a reset.
    std::thread::sleep(Duration::from_millis(200));
    drop(server);
    let error = client.read(&mut [0; 16]).expect_err("not a clean end");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

//! Streams that are as fast as they can be, for a time. The other end says how much arrived.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::fs::{MemfdFlags, memfd_create, sendfile};

use super::Outcome;

/// What is sent at once.
const PIECE: usize = 1 << 20;
/// How long after the last byte the other end may take to say how much it was.
const PATIENCE: Duration = Duration::from_secs(10);

/// Sends until a time; says how much.
pub(super) type Sender = fn(&mut TcpStream, Instant) -> Result<u64>;

/// Runs so many streams.
pub(super) fn run(to: SocketAddr, streams: usize, seconds: f64, send: Sender) -> Result<Outcome> {
    let begin = Instant::now();
    let until = begin + Duration::from_secs_f64(seconds);
    let threads: Vec<_> =
        (0..streams).map(|_| thread::spawn(move || one(to, until, send))).collect();
    let mut outcome = Outcome::default();
    for thread in threads {
        match thread.join().expect("no stream panics") {
            Ok((sent, arrived)) => {
                outcome.done += arrived;
                outcome.failed += u64::from(sent != arrived);
            }
            Err(error) => {
                eprintln!("a stream failed: {error:#}");
                outcome.failed += 1;
            }
        }
    }
    outcome.seconds = begin.elapsed().as_secs_f64();
    Ok(outcome)
}

fn one(to: SocketAddr, until: Instant, send: Sender) -> Result<(u64, u64)> {
    let mut stream = TcpStream::connect(to).context("cannot connect")?;
    let sent = send(&mut stream, until)?;
    stream.shutdown(Shutdown::Write)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut arrived = [0; 8];
    stream.read_exact(&mut arrived).context("the server did not say how much arrived")?;
    Ok((sent, u64::from_be_bytes(arrived)))
}

/// By sendfile(2): nothing is copied on this side.
pub(super) fn from_a_file(stream: &mut TcpStream, until: Instant) -> Result<u64> {
    let file: OwnedFd = memfd_create("bulk", MemfdFlags::CLOEXEC)?;
    let mut file = std::fs::File::from(file);
    file.write_all(&vec![0x5a; PIECE])?;
    let mut sent = 0;
    while Instant::now() < until {
        let mut offset = 0;
        while offset < PIECE as u64 {
            let count = PIECE - usize::try_from(offset)?;
            sent += sendfile(&*stream, &file, Some(&mut offset), count)? as u64;
        }
    }
    Ok(sent)
}

/// By write(2), as iperf3 does it.
pub(super) fn from_memory(stream: &mut TcpStream, until: Instant) -> Result<u64> {
    let piece = vec![0x5a; 128 * 1024];
    let mut sent = 0;
    while Instant::now() < until {
        stream.write_all(&piece)?;
        sent += piece.len() as u64;
    }
    Ok(sent)
}

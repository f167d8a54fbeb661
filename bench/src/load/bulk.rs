//! Streams to a server that are as fast as they can be, for a time. The other end says how much arrived.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustls::ClientConnection;

use super::Outcome;
use crate::args::LoadArgs;
use crate::identity;
use crate::piece::{FILL, Piece};

/// How long after the last byte the other end may take to say how much it was.
const PATIENCE: Duration = Duration::from_secs(10);

/// Sends until a time; says how much.
type Sender = fn(&mut TcpStream, Instant, &LoadArgs) -> Result<u64>;

/// Runs so many streams.
pub(super) fn run(load: &LoadArgs, send: Sender) -> Result<Outcome> {
    let until = Instant::now() + Duration::from_secs_f64(load.seconds);
    streams(load.workload.connections(), || one(load, until, send))
}

/// Runs streams at once. Each says how many bytes were sent, and how many arrived.
pub(super) fn streams(
    count: usize,
    one: impl Fn() -> Result<(u64, u64)> + Sync,
) -> Result<Outcome> {
    let begin = Instant::now();
    let mut outcome = Outcome::default();
    let ended: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..count).map(|_| scope.spawn(&one)).collect();
        threads.into_iter().map(|thread| thread.join().expect("no stream panics")).collect()
    });
    for stream in ended {
        match stream {
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

fn one(load: &LoadArgs, until: Instant, send: Sender) -> Result<(u64, u64)> {
    let mut stream = TcpStream::connect(load.target).context("cannot connect")?;
    let sent = send(&mut stream, until, load)?;
    stream.shutdown(Shutdown::Write)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut arrived = [0; 8];
    stream.read_exact(&mut arrived).context("the server did not say how much arrived")?;
    Ok((sent, u64::from_be_bytes(arrived)))
}

/// By sendfile(2): nothing is copied on this side.
pub(super) fn from_a_file(stream: &mut TcpStream, until: Instant, _: &LoadArgs) -> Result<u64> {
    Piece::of_bytes()?.send(stream, until)
}

/// The same behind the first message of a client of TLS, which proxies look at for the server's name.
pub(super) fn behind_a_hello(
    stream: &mut TcpStream,
    until: Instant,
    load: &LoadArgs,
) -> Result<u64> {
    let config = identity::client(&load.certificate)?;
    let mut hello = Vec::new();
    ClientConnection::new(config, identity::name())?.write_tls(&mut hello)?;
    let piece = Piece::of_records()?;
    stream.write_all(&hello)?;
    Ok(hello.len() as u64 + piece.send(stream, until)?)
}

/// By write(2), as iperf3 does it.
pub(super) fn from_memory(stream: &mut TcpStream, until: Instant, _: &LoadArgs) -> Result<u64> {
    let piece = vec![FILL; 128 * 1024];
    let mut sent = 0;
    while Instant::now() < until {
        stream.write_all(&piece)?;
        sent += piece.len() as u64;
    }
    Ok(sent)
}

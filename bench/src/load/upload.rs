//! Streams to a server through TLS that ends at the proxy: it decrypts what is encrypted here. The server looks at every byte, and
//! says how many there were. The end is in what is sent, for not every proxy passes on half an end of TLS.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use super::{Outcome, bulk};
use crate::args::LoadArgs;
use crate::identity;
use crate::piece::FILL;

/// How long after the last byte the other end may take to say how much it was.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs the streams.
pub(super) fn run(load: &LoadArgs) -> Result<Outcome> {
    let config = identity::client(&load.certificate)?;
    let until = Instant::now() + Duration::from_secs_f64(load.seconds);
    bulk::streams(load.workload.connections(), || one(load, &config, until))
}

/// How many bytes were sent, and how many the server got.
fn one(load: &LoadArgs, config: &Arc<ClientConfig>, until: Instant) -> Result<(u64, u64)> {
    let stream = TcpStream::connect(load.target).context("cannot connect")?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let tls = ClientConnection::new(Arc::clone(config), identity::name())?;
    let mut stream = StreamOwned::new(tls, stream);
    let piece = vec![FILL; 64 * 1024];
    let mut sent = 0;
    while Instant::now() < until {
        stream.write_all(&piece)?;
        sent += piece.len() as u64;
    }
    stream.write_all(&sent.to_be_bytes())?;
    stream.flush()?;
    let mut arrived = [0; 8];
    stream.read_exact(&mut arrived).context("the server did not say how much arrived")?;
    Ok((sent, u64::from_be_bytes(arrived)))
}

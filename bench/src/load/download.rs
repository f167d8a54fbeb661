//! Streams from a server through TLS that ends at the proxy: what the proxy encrypts is decrypted here, and looked at. The last bytes say
//! how many there were before them.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustls::ClientConfig;
use rustls::client::UnbufferedClientConnection;
use rustls::unbuffered::{ConnectionState, UnbufferedStatus};

use super::{Outcome, bulk};
use crate::args::LoadArgs;
use crate::identity;
use crate::piece::Arrived;

/// What is read at once. (The buffered interface of rustls reads 4 KiB, which would have the load cost more than the proxy.)
const READ: usize = 256 * 1024;
/// The longest silence.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs the streams.
pub(super) fn run(load: &LoadArgs) -> Result<Outcome> {
    let config = identity::client(&load.certificate)?;
    bulk::streams(load.workload.connections(), || one(load, &config))
}

/// How many bytes the server sent, and how many arrived.
fn one(load: &LoadArgs, config: &Arc<ClientConfig>) -> Result<(u64, u64)> {
    let mut stream = TcpStream::connect(load.target).context("cannot connect")?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut tls = UnbufferedClientConnection::new(Arc::clone(config), identity::name())?;
    let mut asked = Some(((load.seconds * 1e3) as u64).to_be_bytes());
    let mut arrived = Arrived::default();
    let (mut incoming, mut start, mut end) = (vec![0; READ], 0, 0);
    let (mut outgoing, mut out) = (vec![0; READ], 0);
    while arrived.total().is_none() {
        let UnbufferedStatus { mut discard, state } =
            tls.process_tls_records(&mut incoming[start..end]);
        let mut hungry = false;
        match state.context("TLS")? {
            ConnectionState::EncodeTlsData(mut data) => out += data.encode(&mut outgoing[out..])?,
            ConnectionState::TransmitTlsData(data) => {
                stream.write_all(&outgoing[..out])?;
                out = 0;
                data.done();
            }
            ConnectionState::WriteTraffic(mut traffic) => match asked.take() {
                Some(asked) => {
                    let length = traffic.encrypt(&asked, &mut outgoing)?;
                    stream.write_all(&outgoing[..length])?;
                }
                None => hungry = true,
            },
            ConnectionState::ReadTraffic(mut traffic) => {
                while let Some(record) = traffic.next_record() {
                    let record = record?;
                    discard += record.discard;
                    arrived.add(record.payload)?;
                }
            }
            ConnectionState::BlockedHandshake => hungry = true,
            other => bail!("after {} bytes: {other:?}", arrived.bytes),
        }
        start += discard;
        if hungry {
            // What is left of a record goes to the front.
            incoming.copy_within(start..end, 0);
            (start, end) = (0, end - start);
            let read = stream.read(&mut incoming[end..])?;
            ensure!(read > 0, "the stream ended after {} bytes", arrived.bytes);
            end += read;
        }
    }
    Ok((arrived.total().unwrap_or_default(), arrived.bytes))
}

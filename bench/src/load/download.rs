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
use crate::piece::FILL;

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

/// What arrived: the same byte again and again, then how often as eight bytes, of which the first is none of them.
#[derive(Debug, Default)]
struct Arrived {
    bytes: u64,
    total: Vec<u8>,
}

impl Arrived {
    fn add(&mut self, mut bytes: &[u8]) -> Result<()> {
        const FILLED: [u8; 1 << 14] = [FILL; 1 << 14];
        if self.total.is_empty() {
            let same = match bytes.len() <= FILLED.len() && bytes == &FILLED[..bytes.len()] {
                true => bytes.len(),
                false => bytes.iter().take_while(|byte| **byte == FILL).count(),
            };
            self.bytes += same as u64;
            bytes = &bytes[same..];
        }
        self.total.extend_from_slice(bytes);
        ensure!(self.total.len() <= 8, "other bytes than were sent");
        Ok(())
    }

    /// What was sent, when that is known.
    fn total(&self) -> Option<u64> {
        Some(u64::from_be_bytes(self.total.as_slice().try_into().ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_byte_is_not_taken_for_what_was_sent() {
        let mut arrived = Arrived::default();
        arrived.add(&[FILL; 300]).unwrap();
        arrived.add(&[FILL; 20_000]).unwrap();
        assert_eq!(arrived.total(), None);
        let last = [&[FILL; 5][..], &20_305_u64.to_be_bytes()].concat();
        arrived.add(&last[..9]).unwrap();
        assert_eq!(arrived.total(), None);
        arrived.add(&last[9..]).unwrap();
        assert_eq!((arrived.total(), arrived.bytes), (Some(20_305), 20_305));

        let mut spoilt = [FILL; 300];
        spoilt[100] = 0;
        assert!(Arrived::default().add(&spoilt).is_err());
    }
}

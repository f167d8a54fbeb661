//! The load: one measurement, with an outcome for every connection.

mod bulk;
mod datagrams;
mod download;
pub(crate) mod iperf;
mod requests;
mod secure;
mod upload;

use std::time::Duration;

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

use requests::{Crowd, Plain};
use secure::Secure;

use crate::args::LoadArgs;
use crate::identity;
use crate::workload::Workload;

/// What a measurement found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// Bytes, connections, requests or datagrams.
    pub(crate) done: u64,
    /// Connections that failed, or on which other bytes arrived than were sent, or another number of them; datagrams
    /// that nobody had sent.
    pub(crate) failed: u64,
    /// Datagrams that did not come back.
    pub(crate) lost: u64,
    /// From the first to the last.
    pub(crate) seconds: f64,
    /// Microseconds, of a request; of a whole connection where each has one.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

/// How long each took.
type Times = Vec<Duration>;

/// The middle one, and the one that a hundredth is slower than, in microseconds.
fn percentiles(times: &mut Times) -> (f64, f64) {
    times.sort_unstable();
    let at = |part: f64| {
        let place = (times.len() as f64 * part) as usize;
        times.get(place.min(times.len().saturating_sub(1))).map_or(0.0, |t| t.as_secs_f64() * 1e6)
    };
    (at(0.5), at(0.99))
}

/// Measures, and prints what was found.
pub(crate) fn run(load: &LoadArgs) -> Result<()> {
    let (to, seconds) = (load.target, load.seconds);
    let at_once = load.workload.connections();
    let alone = Crowd { at_once, threads: 1 };
    let plain = || Ok(Plain::default());
    let outcome = match load.workload {
        Workload::Bulk1 | Workload::Bulk8 => bulk::run(load, bulk::from_a_file)?,
        Workload::Through1 | Workload::Through8 => bulk::run(load, bulk::behind_a_hello)?,
        Workload::Copy1 | Workload::Copy8 => bulk::run(load, bulk::from_memory)?,
        Workload::Encrypt1 | Workload::Encrypt8 => download::run(load)?,
        Workload::Decrypt8 => upload::run(load)?,
        Workload::Connections => requests::run(to, alone, seconds, true, plain)?,
        Workload::Pings1 | Workload::Pings64 => requests::run(to, alone, seconds, false, plain)?,
        Workload::Handshakes => {
            // A client's part of a handshake costs as much as the proxy's, so one thread would be what limits it.
            let crowd = Crowd { at_once, threads: 2 };
            let config = identity::client(&load.certificate)?;
            requests::run(to, crowd, seconds, true, || Secure::new(&config))?
        }
        Workload::Datagrams64 => datagrams::run(to, at_once, 64, seconds)?,
        Workload::Datagrams1400 => datagrams::run(to, at_once, 1400, seconds)?,
        Workload::Idle => return requests::hold(to, at_once),
        Workload::Iperf1 | Workload::Iperf8 => bail!("iperf3 is a program of its own"),
    };
    println!("{}", serde_json::to_string(&outcome)?);
    Ok(())
}

//! The load: one measurement, with an outcome for every connection.

mod bulk;
mod requests;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::args::LoadArgs;
use crate::workload::Workload;

/// What a measurement found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// Bytes, connections or requests.
    pub(crate) done: u64,
    /// Connections that failed, or on which another number of bytes arrived than was sent.
    pub(crate) failed: u64,
    /// From the first to the last.
    pub(crate) seconds: f64,
    /// Microseconds, of a request; of a whole connection where each has one.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

/// Measures, and prints what was found.
pub(crate) fn run(load: &LoadArgs) -> Result<()> {
    let connections = load.workload.connections();
    let outcome = match load.workload {
        Workload::Bulk1 | Workload::Bulk8 => {
            bulk::run(load.target, connections, load.seconds, bulk::from_a_file)?
        }
        Workload::Copy1 | Workload::Copy8 => {
            bulk::run(load.target, connections, load.seconds, bulk::from_memory)?
        }
        Workload::Connections => requests::run(load.target, connections, load.seconds, true)?,
        Workload::Pings1 | Workload::Pings64 => {
            requests::run(load.target, connections, load.seconds, false)?
        }
        Workload::Idle => return requests::hold(load.target, connections),
    };
    println!("{}", serde_json::to_string(&outcome)?);
    Ok(())
}

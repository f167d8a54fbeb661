//! The command line.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::peers::Peer;
use crate::workload::Workload;

/// Measures vipgate beside other proxies.
#[derive(Debug, Parser)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Runs the comparison and prints it.
    Run(RunArgs),
    /// Very many routes in one process: cold start, changes, memory, CPU at rest.
    Scale(ScaleArgs),
    /// The servers behind the proxies; started by `run`.
    #[command(hide = true)]
    Serve(ServeArgs),
    /// One measurement; started by `run`. Prints one line of JSON.
    #[command(hide = true)]
    Load(LoadArgs),
}

/// What to compare.
#[derive(Debug, clap::Args)]
pub(crate) struct RunArgs {
    /// Rounds: each is every workload with every peer.
    #[arg(long, default_value_t = 15)]
    pub(crate) rounds: usize,
    /// Seconds that one measurement takes.
    #[arg(long, default_value_t = 3.0)]
    pub(crate) seconds: f64,
    /// Only these workloads.
    #[arg(long, value_enum, value_delimiter = ',')]
    pub(crate) workloads: Vec<Workload>,
    /// Only these peers; ratios are of vipgate to the others.
    #[arg(long, value_enum, value_delimiter = ',')]
    pub(crate) peers: Vec<Peer>,
    /// Worker threads of every proxy.
    #[arg(long, default_value_t = 2)]
    pub(crate) threads: usize,
    /// The binary that is measured.
    #[arg(long, default_value = "target/release/vipgate")]
    pub(crate) vipgate: PathBuf,
    /// Writes tables and plots into this directory, and adds every figure to its `history.csv`.
    #[arg(long)]
    pub(crate) write: Option<PathBuf>,
}

/// How much.
#[derive(Debug, clap::Args)]
pub(crate) struct ScaleArgs {
    /// Routes, ten on each VIP.
    #[arg(long, default_value_t = 10_000, value_parser = at_least::<10>)]
    pub(crate) routes: usize,
    /// Changes, one after the other.
    #[arg(long, default_value_t = 200, value_parser = at_least::<1>)]
    pub(crate) changes: usize,
    /// The binary that is measured.
    #[arg(long, default_value = "target/release/vipgate")]
    pub(crate) vipgate: PathBuf,
}

/// Where to serve.
#[derive(Debug, clap::Args)]
pub(crate) struct ServeArgs {
    pub(crate) address: IpAddr,
}

/// What to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct LoadArgs {
    #[arg(value_enum)]
    pub(crate) workload: Workload,
    pub(crate) target: SocketAddr,
    pub(crate) seconds: f64,
    /// File of the certificate that proxies show.
    pub(crate) certificate: PathBuf,
}

fn at_least<const LEAST: usize>(text: &str) -> Result<usize, String> {
    let number = text.parse().map_err(|_| "write a number".to_owned())?;
    if number < LEAST {
        return Err(format!("write {LEAST} or more"));
    }
    Ok(number)
}

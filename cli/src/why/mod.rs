//! `vipgate why`: the chain of causes from what was named down to the wire and the endpoints, with the first
//! link that is broken and what mends it.
//!
//! ```text
//!   running process ──> of_process ──┐
//!                                    ├─> Facts ──> links ──> Chain ──> Answer ──> text, JSON
//!   API server ──────> of_cluster ───┘             (Cause: what it means, what mends it)
//! ```
//!
//! `docs/why.md` lists the causes. Why a node has a VIP and another has not is one of the links (`explain.rs`).

mod cause;
mod chain;
pub(crate) mod cluster;
mod explain;
mod facts;
mod links;
mod of_cluster;
mod of_process;
mod subject;
#[cfg(test)]
mod tests;

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::args::{TextOutput, WhyArgs};
use crate::ask::{self, Whom};
use facts::Facts;
pub(crate) use subject::Subject;

/// Prints the chain; the exit code says whether a link is broken.
pub(crate) fn run(args: &WhyArgs) -> Result<ExitCode> {
    let facts = match ask::whom(&args.ask) {
        Whom::Process(socket) => Facts::of_process(ask::process(socket.as_deref(), "status")?),
        Whom::Cluster(kubeconfig) => cluster::facts(&kubeconfig, &args.namespace)?,
    };
    let answer = links::answer(&facts, &args.subject)?;
    let text = match args.output {
        TextOutput::Text => answer.to_string(),
        TextOutput::Json => format!("{:#}\n", serde_json::to_value(&answer)?),
    };
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error.into()),
        _ => {}
    }
    Ok(if answer.whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A runtime for a few questions.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")
}

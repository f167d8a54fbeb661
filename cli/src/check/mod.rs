//! `vipgate check`: whether a host, or a cluster, is as vipgate needs it, before and after it is installed.
//!
//! ```text
//!   node/     /proc, /sys, rtnetlink, the admin socket, and with --probe the wire ──┐
//!   cluster/  an API server, with the rights of whoever asks ───────────────────────┴─> findings ─> a report
//!   catalogue.rs: what each check is, and so docs/check.md
//! ```
//!
//! Nothing is changed. A check that fails to look says so (`NotLookedAt`) and stops no other.

pub(crate) mod catalogue;
mod cluster;
pub(crate) mod finding;
mod node;
pub(crate) mod pools;

pub(crate) use node::sysctls;

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Result;

use crate::args::{CheckArgs, TextOutput};
use crate::why::runtime;
use catalogue::Scope;
use finding::Report;

/// Prints it; the exit code says whether there are errors.
pub(crate) fn run(args: &CheckArgs) -> Result<ExitCode> {
    let report = runtime()?.block_on(report(args))?;
    let text = match args.output {
        TextOutput::Text => report.to_string(),
        TextOutput::Json => format!("{:#}\n", serde_json::to_value(&report)?),
    };
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error.into()),
        _ => {}
    }
    Ok(if report.has_errors() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// What is so.
pub(crate) async fn report(args: &CheckArgs) -> Result<Report> {
    let about = &args.about;
    let cluster = about.cluster();
    let (mut scopes, mut findings, mut of_cluster) = (Vec::new(), Vec::new(), None);
    if let Some(kubeconfig) = &cluster {
        let (found, wanted) = cluster::look(Some(kubeconfig), &about.namespace).await?;
        findings.extend(found);
        of_cluster = Some(wanted);
        scopes.push(Scope::Cluster);
    }
    if about.is_about_node() {
        let asked = node::Asked {
            socket: about.admin.socket.clone(),
            manifests: about.manifests.clone(),
            ranges: args.addresses.clone(),
            of_cluster,
            probes: args.probe.then_some(args.probe_limit),
        };
        findings.extend(node::look(asked).await);
        scopes.push(Scope::Node);
    }
    Ok(Report::new(&scopes, findings))
}

//! `vipgate why`: which node has a VIP and why, and why not of every other.

pub(crate) mod cluster;
mod explain;

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::args::{TextOutput, WhyArgs};
use crate::ask::{self, Whom};
use crate::status::report::StatusReport;
use explain::Explanation;

/// Prints it.
pub(crate) fn run(args: &WhyArgs) -> Result<ExitCode> {
    let explanation = match ask::whom(&args.ask) {
        Whom::Process(socket) => of_process(args, socket.as_deref())?,
        Whom::Cluster(kubeconfig) => cluster::explain(args.vip, &kubeconfig)?,
    };
    let text = match args.output {
        TextOutput::Text => explanation.to_string(),
        TextOutput::Json => format!("{:#}\n", serde_json::to_value(&explanation)?),
    };
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(ExitCode::SUCCESS),
    }
}

fn of_process(args: &WhyArgs, socket: Option<&std::path::Path>) -> Result<Explanation> {
    let report: StatusReport = ask::process(socket, "status")?;
    let known: Vec<String> = report.vips.iter().map(|vip| vip.address.to_string()).collect();
    let Some(vip) = report.vips.into_iter().find(|vip| vip.address == args.vip) else {
        bail!(unknown(args.vip, &known));
    };
    let users = vip.gateway.split(", ").map(str::to_owned).collect();
    Ok(Explanation::new(vip.address, vip.pool, users, Vec::new(), vip.nodes))
}

/// What is said of an address that is no VIP.
fn unknown(vip: std::net::IpAddr, known: &[String]) -> String {
    match known {
        [] => format!("{vip} is no VIP: there is none at all"),
        [.., _] if known.len() <= 10 => format!("{vip} is no VIP; these are: {}", known.join(", ")),
        _ => format!("{vip} is no VIP; there are {} others", known.len()),
    }
}

/// A runtime for a few questions.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")
}

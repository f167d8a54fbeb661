//! `vipgate status`: asks the running process and prints its answer.

pub(crate) mod report;
#[cfg(test)]
mod schema;
pub(crate) mod tree;

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::args::{Output, StatusArgs};
use crate::ask;
use report::StatusReport;

/// Prints the status; the exit code says whether all is well, to people: programs find it in what is printed.
pub(crate) fn run(args: &StatusArgs) -> Result<ExitCode> {
    let report: StatusReport = ask::process(args.admin.socket.as_deref(), "status")?;
    let text = match args.output {
        Output::Tree => tree::render(&report, io::stdout().is_terminal()),
        Output::Yaml => yaml(&report)?,
        Output::Json => format!("{}\n", serde_json::to_string(&report)?),
    };
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error.into()),
        _ => {}
    }
    Ok(if args.output == Output::Json || report.problems.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn yaml(report: &StatusReport) -> Result<String> {
    let documents: Result<Vec<String>> = report
        .objects
        .iter()
        .map(|object: &Value| serde_saphyr::to_string(object).context("status as YAML"))
        .collect();
    Ok(documents?.join("---\n"))
}

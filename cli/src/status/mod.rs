//! `vipgate status`: asks the running process and prints its answer.

pub(crate) mod report;
pub(crate) mod tree;

use std::io::{self, IsTerminal, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::args::{Output, StatusArgs};
use crate::run::paths;
use report::StatusReport;

/// How long the running process may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Prints the status; the exit code says whether all is well.
pub(crate) fn run(args: &StatusArgs) -> Result<ExitCode> {
    let report = ask(args)?;
    let text = match args.output {
        Output::Tree => tree::render(&report, io::stdout().is_terminal()),
        Output::Yaml => yaml(&report)?,
        Output::Json => {
            let list = json!({"apiVersion": "v1", "kind": "List", "items": report.objects});
            format!("{list:#}\n")
        }
        // For programs: problems are in it, so they are no failure to ask.
        Output::Report => {
            println!("{}", serde_json::to_string(&report)?);
            return Ok(ExitCode::SUCCESS);
        }
    };
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error.into()),
        _ => {}
    }
    Ok(if report.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn ask(args: &StatusArgs) -> Result<StatusReport> {
    let socket = paths::admin_socket(args.admin.socket.as_deref());
    let mut stream = UnixStream::connect(&socket).with_context(|| {
        format!(
            "nobody answers on {}; is `vipgate run` or `vipgate speaker` \
             running, as this user, with the same --admin?",
            socket.display()
        )
    })?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(b"{\"get\":\"status\"}\n")?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .with_context(|| format!("no answer within {PATIENCE:?}; the process may be overloaded"))?;
    if answer.is_empty() {
        bail!("the process closed the connection without an answer; its log says why");
    }
    serde_json::from_str(&answer).context("the answer is not a status; are the versions the same?")
}

fn yaml(report: &StatusReport) -> Result<String> {
    let documents: Result<Vec<String>> = report
        .objects
        .iter()
        .map(|object: &Value| serde_saphyr::to_string(object).context("status as YAML"))
        .collect();
    Ok(documents?.join("---\n"))
}

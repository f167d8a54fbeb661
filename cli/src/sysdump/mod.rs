//! `vipgate sysdump`: one archive with what whoever helps needs to know, of a host or of a cluster.
//!
//! ```text
//!   host.rs     /proc, rtnetlink, ip, nft, journalctl, the running vipgate ──┐
//!   cluster.rs  objects and logs, by an API server ──────────────────────────┼─> redact.rs ─> archive.rs
//!   check       the findings of `vipgate check` ─────────────────────────────┘
//! ```
//!
//! A part that cannot be read is a line in the archive, and stops nothing. The file is for its owner only, and
//! never replaces one that is there.

mod archive;
mod cluster;
mod host;
mod redact;

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde_json::json;

use crate::args::{CheckArgs, SysdumpArgs, TextOutput};
use crate::check;
use crate::why::runtime;
use archive::Archive;

/// Version of what is in the archive.
const SCHEMA: &str = "vipgate.dev/sysdump/v1";

/// Writes it, and says where it is.
pub(crate) fn run(args: &SysdumpArgs) -> Result<ExitCode> {
    let now = Timestamp::now();
    let top = format!("vipgate-sysdump-{}", now.strftime("%Y%m%dT%H%M%SZ"));
    let path = args.output.clone().unwrap_or_else(|| PathBuf::from(format!("{top}.tar.gz")));
    let limit = usize::try_from(args.limit << 20).unwrap_or(usize::MAX);
    let seconds = u64::try_from(now.as_second()).unwrap_or(0);
    if path.as_os_str() == "-" {
        let archive = Archive::new(io::stdout().lock(), &top, seconds, limit);
        runtime()?.block_on(fill(archive, args, now)).context("standard output")?;
        return Ok(ExitCode::SUCCESS);
    }
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
    let file =
        file.with_context(|| format!("{}: name another file with --output", path.display()))?;
    let archive = Archive::new(io::BufWriter::new(file), &top, seconds, limit);
    let filled = runtime()?.block_on(fill(archive, args, now));
    let (errors, left_out) = filled.with_context(|| path.display().to_string())?;
    println!(
        "{}: {errors} parts could not be read (errors.txt), {left_out} were cut or left out (left-out.txt)",
        path.display()
    );
    Ok(ExitCode::SUCCESS)
}

async fn fill<W: Write>(
    mut archive: Archive<W>,
    args: &SysdumpArgs,
    now: Timestamp,
) -> Result<(usize, usize)> {
    let kubeconfig = args.about.cluster();
    let uname = rustix::system::uname();
    let about = json!({
        "schema": SCHEMA,
        "version": env!("CARGO_PKG_VERSION"),
        "time": now.to_string(),
        "host": args.about.is_about_node(),
        "cluster": kubeconfig.is_some(),
        "limitMiB": args.limit,
        "kernel": uname.release().to_string_lossy(),
        "machine": uname.machine().to_string_lossy(),
    });
    archive.json("sysdump.json", &about)?;
    if let Some(kubeconfig) = &kubeconfig {
        cluster::collect(&mut archive, kubeconfig, &args.about.namespace).await?;
    }
    if args.about.is_about_node() {
        host::collect(&mut archive, args).await?;
    }
    let asked = CheckArgs {
        about: args.about.clone(),
        addresses: Vec::new(),
        // Nothing is sent for a dump.
        probe: false,
        probe_limit: 0,
        output: TextOutput::Json,
    };
    match check::report(&asked).await {
        Ok(report) => {
            archive.json("check.json", &serde_json::to_value(&report)?)?;
            archive.text("check.txt", &report.to_string())?;
        }
        Err(error) => archive.failed("check.json", format!("{error:#}")),
    }
    Ok(archive.finish()?)
}

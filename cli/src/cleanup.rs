//! `vipgate cleanup`: takes away what a crash left on this host.

use std::process::ExitCode;

use anyhow::Result;
use vipgate_speaker::host::{self, Cleaned};

/// Prints what there was.
pub(crate) fn run() -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let Cleaned { vips, tables, rules } = runtime.block_on(host::cleanup())?;
    if vips.is_empty() && tables.is_empty() && rules.is_empty() {
        println!("nothing of vipgate is on this host");
    }
    for vip in vips {
        println!("removed {vip} from lo");
    }
    for table in tables {
        println!("removed the nftables table {table}");
    }
    for ip in rules {
        println!("removed the rules of `{ip} rule` with protocol 118, and table 118");
    }
    Ok(ExitCode::SUCCESS)
}

//! `vipgate keygen`: a new key for a group of hosts.

use std::process::ExitCode;

use anyhow::Result;
use vipgate_speaker::group::GroupKey;

/// Prints it, in the form that a key file has.
pub(crate) fn run() -> Result<ExitCode> {
    println!("{}", GroupKey::random()?.to_text());
    Ok(ExitCode::SUCCESS)
}

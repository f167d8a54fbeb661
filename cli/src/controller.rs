//! `vipgate controller`.

use std::process::ExitCode;

use anyhow::Result;

use crate::args::ControllerArgs;

/// Decides and writes until told to end.
pub(crate) fn run(_args: &ControllerArgs) -> Result<ExitCode> {
    Ok(ExitCode::SUCCESS)
}

//! Calling Go, for what comes as Go modules.

use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail, ensure};

use crate::Result;

/// As `go.mod` has it. An older Go fetches a newer one by itself, if it may.
const NEEDED: &str = "Go 1.26 or newer is needed on PATH (https://go.dev/dl; an older one serves \
                      where it may fetch a newer, see GOTOOLCHAIN)";

/// `go` with these arguments in `directory`; killed when the thread that starts it ends. It is
/// not started on a node: it may have to fetch modules.
pub(super) fn command(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "--", "go"])
        .args(arguments)
        .current_dir(directory)
        .env("GOWORK", "off")
        // Nothing of it needs C, and the result runs everywhere.
        .env("CGO_ENABLED", "0");
    command
}

/// Runs it to its end, and returns what it printed.
pub(super) fn output(directory: &Path, arguments: &[&str]) -> Result<String> {
    let what = format!("go {}", arguments.join(" "));
    let output = command(directory, arguments).output().with_context(|| what.clone())?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(
        output.status.success(),
        "{what}: {}\n{printed}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(printed)
}

/// # Errors
/// When there is no Go that can build the module in `directory`.
pub(super) fn require(directory: &Path) -> Result<()> {
    // Without setpriv, which would hide that there is none.
    match Command::new("go").args(["env", "GOVERSION"]).current_dir(directory).output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => bail!("{NEEDED}: {}", String::from_utf8_lossy(&output.stderr).trim()),
        Err(error) if error.kind() == ErrorKind::NotFound => bail!("{NEEDED}; there is none"),
        Err(error) => Err(error).context(NEEDED),
    }
}

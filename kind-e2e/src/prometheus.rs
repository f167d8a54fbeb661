//! What Prometheus' own tool finds in what a process tells it.

use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};

use crate::Result;

/// Reads metrics as Prometheus does; an error if it cannot, or if a name or type breaks its conventions.
pub fn check_metrics(text: &str) -> Result<()> {
    let mut tool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("promtool, of Debian's package prometheus")?;
    // It reads all before it says anything.
    let mut stdin = tool.stdin.take().context("its standard input")?;
    stdin.write_all(text.as_bytes())?;
    drop(stdin);
    let output = tool.wait_with_output()?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    ensure!(output.status.success() && said.trim().is_empty(), "promtool: {said}\n{text}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_breaks_the_conventions_is_found() {
        let good = "# HELP a_seconds How long.\n# TYPE a_seconds gauge\na_seconds 1\n";
        check_metrics(good).unwrap();
        for bad in [
            good.replace("a_seconds", "a_ms"),
            good.replace("gauge", "counter"),
            good.replace("# HELP a_seconds How long.\n", ""),
            good.replace("a_seconds 1", "a_seconds one"),
        ] {
            assert!(check_metrics(&bad).is_err(), "{bad}");
        }
    }
}

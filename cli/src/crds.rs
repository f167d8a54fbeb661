//! `vipgate crds`: the CustomResourceDefinitions of our kinds, as YAML.

use std::process::ExitCode;

use anyhow::{Context, Result};

/// Prints them.
pub(crate) fn run() -> Result<ExitCode> {
    print!("{}", yaml()?);
    Ok(ExitCode::SUCCESS)
}

/// One document for each.
fn yaml() -> Result<String> {
    let mut text = String::new();
    for definition in vipgate_api::crd::all() {
        text.push_str("---\n");
        text.push_str(&serde_saphyr::to_string(&definition).context("a definition is plain data")?);
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `BLESS=1` rewrites the file.
    #[test]
    fn the_chart_has_what_the_code_says() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/vipgate/files/crds.yaml");
        let text = format!(
            "# Made from the Rust types by `vipgate crds`; a test compares.\n{}",
            yaml().unwrap()
        );
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(file, &text).unwrap();
        }
        let there = std::fs::read_to_string(file).unwrap_or_default();
        assert!(there == text, "{file} is stale: BLESS=1 cargo test -p vipgate-cli --bins crds");
    }
}

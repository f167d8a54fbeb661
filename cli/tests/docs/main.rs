//! The documentation, held to what there is: every page is in the book, every link leads somewhere, what is
//! listed is what the code has, and every `console` block is run in the lab or says why not.
//!
//! What is made from the code (`docs/reference/`) is written anew with `BLESS=1`; `make reference` does it.

mod book;
mod console;
mod events;
mod links;
mod pages;
mod reader;
mod runs;
mod values;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// A path of the project.
fn of_project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// A page that is made from the code is what the code says; with `BLESS=1` it is written.
fn hold(path: &str, text: &str) -> Result<()> {
    let file = of_project(path);
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&file, text).with_context(|| path.to_owned())?;
    }
    let there = std::fs::read_to_string(&file).unwrap_or_default();
    ensure!(there == text, "{path} is stale: make reference");
    Ok(())
}

/// Text for a cell of a table.
fn cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

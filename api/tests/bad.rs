//! What is said about bad manifests: `bad/NN-name.yaml` with the expected report beside it.
//!
//! `BLESS=1 cargo test -p vipgate-api --test bad` rewrites the reports; read what changed as the
//! person who wrote the manifest would: where is it, what is wrong, what do I write instead?

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

use vipgate_api::manifest::{File, Listing, Mode, Snapshot};

#[test]
fn every_bad_manifest_is_reported_as_expected() {
    let manifests = manifests();
    assert!(manifests.len() >= 25, "only {} bad manifests", manifests.len());
    let bless = std::env::var_os("BLESS").is_some();
    let mut wrong = Vec::new();
    for path in &manifests {
        let report = report(path);
        assert!(!report.is_empty(), "{} is not bad", path.display());
        let expected = path.with_extension("expect");
        if bless {
            fs::write(&expected, &report).unwrap();
        } else if fs::read_to_string(&expected).unwrap_or_default() != report {
            wrong.push(format!("{}:\n{report}", expected.display()));
        }
    }
    assert!(wrong.is_empty(), "reports differ (BLESS=1 rewrites them):\n\n{}", wrong.join("\n"));
}

#[test]
fn no_report_is_left_over() {
    for entry in fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        assert!(path.with_extension("yaml").exists(), "{} has no manifest", path.display());
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bad")
}

fn manifests() -> Vec<PathBuf> {
    let entries = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let mut manifests: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|ending| ending == "yaml")).collect();
    manifests.sort();
    manifests
}

fn report(path: &Path) -> String {
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    let files = vec![File { path: name, content: Ok(fs::read(path).unwrap()) }];
    let update = Snapshot::new(Mode::Standalone).update(Listing { files, ..Listing::default() });
    let problems = update.problems.iter().map(|problem| format!("{problem}\n"));
    problems.chain(update.skipped.iter().map(|skipped| format!("{skipped}\n"))).collect()
}

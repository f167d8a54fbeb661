//! Runs scenarios on a kind cluster that is there; `kind-e2e/run.sh` makes it, and calls this.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use vipgate_scenarios::kind::Kind;
use vipgate_scenarios::{Outcome, Result, SUITES, Scenario, report, run, scenarios};

const USAGE: &str = "usage: vipgate-scenarios SUITE --title TEXT --results DIRECTORY\n       vipgate-scenarios --list";

struct Arguments {
    which: Vec<Scenario>,
    title: String,
    results: PathBuf,
}

fn arguments(mut words: impl Iterator<Item = String>) -> Result<Arguments> {
    let (mut suite, mut title, mut results) = (None, None, None);
    while let Some(word) = words.next() {
        let place = match word.as_str() {
            "--title" => &mut title,
            "--results" => &mut results,
            _ if word.starts_with('-') || suite.is_some() => bail!("{word}?\n{USAGE}"),
            _ => {
                suite = Some(word);
                continue;
            }
        };
        *place = Some(words.next().with_context(|| format!("{word} what?\n{USAGE}"))?);
    }
    Ok(Arguments {
        which: scenarios(&suite.context(USAGE)?)?,
        title: title.context(USAGE)?,
        results: results.context(USAGE)?.into(),
    })
}

fn told(outcome: &Outcome) {
    let (verdict, text) = match &outcome.result {
        Ok(note) => ("pass", note.as_deref().unwrap_or_default()),
        Err(why) => ("FAIL", why.as_str()),
    };
    let Outcome { suite, name, took, .. } = outcome;
    println!("{verdict} {suite}: {name} ({:.1} s) {text}", took.as_secs_f64());
}

fn write(file: &Path, text: &str) -> Result<()> {
    std::fs::write(file, text).with_context(|| file.display().to_string())
}

fn main() -> Result<ExitCode> {
    if std::env::args().nth(1).as_deref() == Some("--list") {
        for suite in SUITES {
            println!("{}\t{}", suite.name, suite.about);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let Arguments { which, title, results } = arguments(std::env::args().skip(1))?;
    let outcomes = run(&Kind::from_environment()?, &which, told);
    write(&results.join("scenarios.xml"), &report::junit(&title, &outcomes))?;
    write(&results.join("scenarios.md"), &report::markdown(&title, &outcomes))?;
    let failed = outcomes.iter().filter(|outcome| outcome.result.is_err()).count();
    println!("{} passed, {failed} failed", outcomes.len() - failed);
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

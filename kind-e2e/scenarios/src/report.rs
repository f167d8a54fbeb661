//! What came of scenarios, as JUnit XML for a CI and as Markdown for people.

use std::fmt::Write;
use std::time::Duration;

use crate::suites::Outcome;

/// Writing into a text cannot fail.
const TEXT: &str = "a String takes everything";

/// A `testsuites` with one `testsuite` for each suite, in the order of the outcomes. `title` tells of which run.
#[must_use]
pub fn junit(title: &str, outcomes: &[Outcome]) -> String {
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"{}\" {}>\n",
        escaped(title),
        counts(outcomes)
    );
    for suite in suites(outcomes) {
        let of = of_suite(outcomes, suite);
        writeln!(text, "  <testsuite name=\"{}\" {}>", escaped(suite), counts_of(&of)).expect(TEXT);
        for outcome in of {
            write!(
                text,
                "    <testcase classname=\"{}\" name=\"{}\" time=\"{:.3}\"",
                escaped(suite),
                escaped(outcome.name),
                outcome.took.as_secs_f64()
            )
            .expect(TEXT);
            match &outcome.result {
                Ok(None) => text.push_str("/>\n"),
                Ok(Some(note)) => {
                    writeln!(
                        text,
                        ">\n      <system-out>{}</system-out>\n    </testcase>",
                        escaped(note)
                    )
                    .expect(TEXT);
                }
                Err(why) => {
                    let first = why.lines().next().unwrap_or_default();
                    let (first, why) = (escaped(first), escaped(why));
                    writeln!(
                        text,
                        ">\n      <failure message=\"{first}\">{why}</failure>\n    </testcase>"
                    )
                    .expect(TEXT);
                }
            }
        }
        text.push_str("  </testsuite>\n");
    }
    text.push_str("</testsuites>\n");
    text
}

/// A table, and below it what failed and why.
#[must_use]
pub fn markdown(title: &str, outcomes: &[Outcome]) -> String {
    let failed: Vec<&Outcome> = outcomes.iter().filter(|one| one.result.is_err()).collect();
    let mut text = format!(
        "# {title}\n\n{} passed, {} failed.\n\n| suite | scenario | result | seconds | |\n|---|---|---|---|---|\n",
        outcomes.len() - failed.len(),
        failed.len()
    );
    for outcome in outcomes {
        let (result, note) = match &outcome.result {
            Ok(note) => ("passed", note.as_deref().unwrap_or_default()),
            Err(_) => ("**failed**", "see below"),
        };
        let note = note.replace('|', "\\|").replace('\n', " ");
        let (suite, name, took) = (outcome.suite, outcome.name, outcome.took.as_secs_f64());
        writeln!(text, "| {suite} | {name} | {result} | {took:.1} | {note} |").expect(TEXT);
    }
    for outcome in failed {
        let why = outcome.result.as_ref().err().map(String::as_str).unwrap_or_default();
        let fence = "`".repeat(3.max(longest_run_of_ticks(why) + 1));
        write!(text, "\n## {}: {}\n\n{fence}text\n{why}\n{fence}\n", outcome.suite, outcome.name)
            .expect(TEXT);
    }
    text
}

fn suites(outcomes: &[Outcome]) -> Vec<&'static str> {
    let mut names: Vec<&'static str> = Vec::new();
    for outcome in outcomes {
        if !names.contains(&outcome.suite) {
            names.push(outcome.suite);
        }
    }
    names
}

fn of_suite<'a>(outcomes: &'a [Outcome], suite: &str) -> Vec<&'a Outcome> {
    outcomes.iter().filter(|outcome| outcome.suite == suite).collect()
}

fn counts(outcomes: &[Outcome]) -> String {
    counts_of(&outcomes.iter().collect::<Vec<_>>())
}

fn counts_of(outcomes: &[&Outcome]) -> String {
    let failures = outcomes.iter().filter(|outcome| outcome.result.is_err()).count();
    let time: Duration = outcomes.iter().map(|outcome| outcome.took).sum();
    let tests = outcomes.len();
    format!("tests=\"{tests}\" failures=\"{failures}\" time=\"{:.3}\"", time.as_secs_f64())
}

/// As text of XML 1.0, which has no control characters, in an attribute or an element.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(character),
            '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            other if other.is_control() => out.push('\u{fffd}'),
            other => out.push(other),
        }
    }
    out
}

fn longest_run_of_ticks(text: &str) -> usize {
    text.split(|one| one != '`').map(str::len).max().unwrap_or(0)
}

//! What `console` blocks say: commands after `$ `, and below each what it prints.
//!
//! * A line that ends with `\` goes on in the next; lines after `> ` belong to the command (a here-document).
//! * Without lines below it, a command has only to succeed; with some, it prints these and nothing else, where
//!   `…` is any text, and on a line of its own any lines. `# exit code N` behind a command is what it ends with.
//! * A command that ends with `&` goes on while the rest of the page is read.
//! * A block that is not run says so right below it: `*not run here: REASON*`.
//! * A block of another language whose first line is `# SOME/FILE.yaml` is that file, for the commands after it.

use anyhow::{Context, Result, bail, ensure};

use crate::pages::{Fence, Page};

/// What a page has readers do, in its order.
#[derive(Debug, PartialEq)]
pub(crate) enum Piece {
    /// Put this into a file, by a path below the directory that they work in.
    Write {
        file: String,
        text: String,
    },
    Type(Step),
}

/// A command, and what is shown of it.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Step {
    pub(crate) line: usize,
    pub(crate) command: String,
    pub(crate) output: Vec<String>,
    pub(crate) code: i32,
    pub(crate) stays: bool,
}

/// A block that is not run.
#[derive(Debug, PartialEq)]
pub(crate) struct Excuse {
    pub(crate) line: usize,
    pub(crate) reason: String,
}

/// What is run of a page, and what is not.
///
/// # Errors
/// When a block has another form.
pub(crate) fn read(page: &Page) -> Result<(Vec<Piece>, Vec<Excuse>)> {
    let (mut pieces, mut excuses) = (Vec::new(), Vec::new());
    for fence in page.fences() {
        let place = || format!("{}:{}", page.path, fence.line);
        match fence.info.as_str() {
            "console" => match excuse(&page.text[fence.end..]) {
                Some(reason) => {
                    ensure!(reason.len() > 10, "{}: say why it is not run", place());
                    excuses.push(Excuse { line: fence.line, reason });
                }
                None => {
                    let steps = steps(&fence).with_context(place)?;
                    pieces.extend(steps.into_iter().map(Piece::Type));
                }
            },
            "sh" | "bash" | "shell" | "shell-session" => {
                bail!("{}: what is typed into a shell is a `console` block", place())
            }
            _ if fence.text.lines().any(|line| line.starts_with("$ ")) => {
                bail!("{}: what somebody types is a `console` block", place())
            }
            _ => {
                if let Some(file) = named(&fence.text) {
                    pieces.push(Piece::Write { file: file.to_owned(), text: fence.text.clone() });
                }
            }
        }
    }
    Ok((pieces, excuses))
}

/// The reason in the paragraph right below a block.
fn excuse(below: &str) -> Option<String> {
    let below = below.strip_prefix('\n').unwrap_or(below);
    let below = below.strip_prefix('\n').unwrap_or(below);
    let paragraph = below.split("\n\n").next()?.split_whitespace().collect::<Vec<_>>().join(" ");
    Some(paragraph.strip_prefix("*not run here: ")?.strip_suffix('*')?.to_owned())
}

/// The file that a block is, by its first line.
fn named(text: &str) -> Option<&str> {
    let path = text.lines().next()?.strip_prefix("# ")?;
    let is_path = path.rsplit_once('.').is_some_and(|(stem, _)| !stem.ends_with('/'))
        && !path.contains(char::is_whitespace)
        && !path.starts_with('/')
        && !path.split('/').any(|part| part == "..");
    is_path.then_some(path)
}

fn steps(fence: &Fence) -> Result<Vec<Step>> {
    let mut steps: Vec<Step> = Vec::new();
    let mut goes_on = false;
    for (number, line) in fence.text.lines().enumerate() {
        if let Some(command) = line.strip_prefix("$ ") {
            let line = fence.line + 1 + number;
            steps.push(Step { line, command: command.to_owned(), ..Step::default() });
        } else {
            let step = steps.last_mut().context("a block begins with a command: `$ …`")?;
            match line.strip_prefix("> ").or_else(|| (line == ">").then_some("")) {
                Some(more) if step.output.is_empty() => {
                    step.command += "\n";
                    step.command += more;
                }
                _ if goes_on => {
                    step.command += "\n";
                    step.command += line;
                }
                _ => step.output.push(line.trim_end().to_owned()),
            }
        }
        goes_on =
            steps.last().is_some_and(|step| step.output.is_empty() && step.command.ends_with('\\'));
    }
    ensure!(!steps.is_empty(), "a block without a command");
    for step in &mut steps {
        let (plain, comment) = step.command.rsplit_once("  # ").unwrap_or((&step.command, ""));
        if let Some(code) = comment.strip_prefix("exit code ") {
            let code = code.split(|one: char| !one.is_ascii_digit()).next().unwrap_or_default();
            step.code = code.parse().context("a number after `exit code`")?;
        }
        let plain = plain.trim_end();
        if let Some(command) = plain.strip_suffix('&').filter(|rest| !rest.ends_with('&')) {
            ensure!(step.output.is_empty(), "what a command prints that goes on cannot be told");
            step.stays = true;
            step.command = command.trim_end().to_owned();
        }
    }
    Ok(steps)
}

/// Whether lines are those that were expected, as far as these say.
pub(crate) fn fits(expected: &[String], printed: &[&str]) -> bool {
    match (expected.split_first(), printed.split_first()) {
        (None, None) => true,
        (Some((first, rest)), _) if first.trim() == "…" => {
            (0..=printed.len()).any(|skipped| fits(rest, &printed[skipped..]))
        }
        (Some((first, rest)), Some((line, others))) => {
            line_fits(first, line.trim_end()) && fits(rest, others)
        }
        _ => false,
    }
}

fn line_fits(expected: &str, line: &str) -> bool {
    let (first, rest) = match expected.split_once('…') {
        None => return expected == line,
        Some(parts) => parts,
    };
    let Some(line) = line.strip_prefix(first) else { return false };
    let mut starts = line.char_indices().map(|(at, _)| at).chain([line.len()]);
    starts.any(|at| line_fits(rest, &line[at..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(text: &str) -> Page {
        Page { path: "x.md".to_owned(), text: text.to_owned() }
    }

    fn one(block: &str) -> Result<Vec<Step>> {
        let (pieces, _) = read(&page(&format!("```console\n{block}\n```\n")))?;
        let steps = pieces.into_iter().map(|piece| match piece {
            Piece::Type(step) => step,
            Piece::Write { file, .. } => panic!("{file}"),
        });
        Ok(steps.collect())
    }

    #[test]
    fn a_block_is_commands_with_what_they_print() {
        let steps =
            one("$ a \\\n    --b\n$ c <<'END'\n> d\n>\n> END\n$ e  # exit code 1: so\nf\n\ng")
                .unwrap();
        let commands: Vec<&str> = steps.iter().map(|step| step.command.as_str()).collect();
        assert_eq!(commands, ["a \\\n    --b", "c <<'END'\nd\n\nEND", "e  # exit code 1: so"]);
        assert_eq!(steps[2].output, ["f", "", "g"]);
        assert_eq!(steps.iter().map(|step| step.code).collect::<Vec<_>>(), [0, 0, 1]);
        assert_eq!(steps.iter().map(|step| step.line).collect::<Vec<_>>(), [2, 4, 8]);
        let stays = one("$ a && b\n$ c &  # goes on").unwrap();
        assert_eq!(stays.iter().map(|step| step.stays).collect::<Vec<_>>(), [false, true]);
        assert_eq!(stays[1].command, "c");
        for wrong in ["a", "", "$ a &\nb"] {
            assert!(one(wrong).is_err(), "{wrong}");
        }
        for other in ["```sh\na\n```\n", "```text\n$ a\n```\n", "```console ignore\n$ a\n```\n"] {
            assert!(read(&page(other)).is_err(), "{other}: no other form gets around this");
        }
    }

    #[test]
    fn a_block_is_run_unless_a_reason_is_right_below_it() {
        let block = "```console\n$ a\n```\n";
        for (below, reason) in [
            ("*not run here: it takes a router*\n", Some("it takes a router")),
            ("\n*not run here: it takes\na router*\n\nText.", Some("it takes a router")),
            ("\nText.\n\n*not run here: it takes a router*\n", None),
            ("not run here: it takes a router\n", None),
            ("", None),
        ] {
            let (pieces, excuses) = read(&page(&format!("{block}{below}"))).unwrap();
            let found = excuses.first().map(|excuse| excuse.reason.as_str());
            assert_eq!((found, pieces.is_empty()), (reason, reason.is_some()), "{below:?}");
        }
        assert!(read(&page(&format!("{block}*not run here: no*\n"))).is_err());
    }

    #[test]
    fn a_block_with_a_name_is_a_file() {
        for (first, file) in [
            ("# my-vips/all.yaml", Some("my-vips/all.yaml")),
            ("# a.yaml", Some("a.yaml")),
            ("# The file.", None),
            ("# /etc/systemd/system/vipgate.service", None),
            ("# ../a.yaml", None),
            ("kind: a.yaml", None),
        ] {
            assert_eq!(named(&format!("{first}\nkind: X\n")), file, "{first}");
        }
    }

    #[test]
    fn lines_are_compared_but_for_what_is_left_out() {
        let fits = |expected: &str, printed: &str| {
            let expected: Vec<String> = expected.lines().map(str::to_owned).collect();
            super::fits(&expected, &printed.lines().collect::<Vec<_>>())
        };
        assert!(fits("a\nb", "a\nb"));
        assert!(fits("a … c…", "a b c"));
        assert!(fits("…", ""));
        assert!(fits("a\n…\nd", "a\nb\nc\nd"));
        for (expected, printed) in [
            ("a", "a\nb"),
            ("a\nb", "a"),
            ("a", "ab"),
            ("a…c", "a b"),
            ("…\nd", "a\nb"),
            ("b…", "ab"),
        ] {
            assert!(!fits(expected, printed), "{expected:?} {printed:?}");
        }
    }
}

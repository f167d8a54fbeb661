//! `vipgate lint`: what `vipgate run` would say of a directory, without serving it.
//!
//! The same reader and the same planner. What only a node can know (links, free addresses) is not
//! looked at: the node is taken to have a link in every subnet, and every address to be free.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use serde::Serialize;
use vipgate_api::manifest::{Mode, Problem, Severity, Skipped, Snapshot, read_directory};
use vipgate_api::{ObjectRef, Reason};
use vipgate_planner::Planner;

use crate::args::{LintArgs, TextOutput};
use crate::check::finding::counted;

/// Version of the JSON; a field is added without a new one, and never changed or taken away.
const SCHEMA: &str = "vipgate.dev/lint/v1";

/// Prints every problem as `file:line: message`, or all of it as JSON; the exit code says whether there are
/// errors.
pub(crate) fn run(args: &LintArgs) -> Result<ExitCode> {
    let found = lint(&args.directory);
    match args.output {
        TextOutput::Text => {
            found.lines.iter().for_each(|line| println!("{line}"));
            let Report { objects, errors, warnings, .. } = found.report;
            let all = [(objects, "object"), (errors, "error"), (warnings, "warning")];
            println!("{}", all.map(|(number, of)| counted(number, of)).join(", "));
        }
        TextOutput::Json => println!("{:#}", serde_json::to_value(&found.report)?),
    }
    Ok(if found.report.errors == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What was found, in both forms.
struct Found {
    lines: Vec<String>,
    report: Report,
}

/// For programs.
#[derive(Debug, Serialize)]
struct Report {
    schema: &'static str,
    objects: usize,
    errors: usize,
    warnings: usize,
    problems: Vec<Said>,
    /// Kinds that are not read, each at the first place where it occurs.
    skipped: Vec<Unread>,
}

/// One problem.
#[derive(Debug, Serialize)]
struct Said {
    severity: &'static str,
    /// Where it stands, if that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    object: Option<ObjectRef>,
    /// That of the condition which a cluster would show, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Reason>,
    message: String,
}

/// A kind that is not read.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Unread {
    file: String,
    line: u32,
    api_version: String,
    kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

impl Said {
    fn of_manifest(problem: &Problem) -> Self {
        let severity = match problem.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        Self {
            severity,
            file: Some(problem.file.clone()),
            // 0 means the whole file.
            line: Some(problem.line).filter(|line| *line > 0),
            object: problem.object.clone(),
            reason: None,
            message: problem.message.clone(),
        }
    }
}

impl From<&Skipped> for Unread {
    fn from(skipped: &Skipped) -> Self {
        let Skipped { file, line, api_version, kind, hint } = skipped.clone();
        Self { file, line, api_version, kind, hint }
    }
}

fn lint(directory: &Path) -> Found {
    let mut snapshot = Snapshot::new(Mode::Standalone);
    let update = snapshot.update(read_directory(directory));
    let mut lines: Vec<String> = update.problems.iter().map(ToString::to_string).collect();
    lines.extend(update.skipped.iter().map(ToString::to_string));
    let mut problems: Vec<Said> = update.problems.iter().map(Said::of_manifest).collect();

    let objects = update.applied.len();
    let mut planner = Planner::new();
    for (object, age) in update.applied {
        planner.apply(object, age);
    }
    planner.set_release(true);
    for problem in &planner.run().statuses.problems {
        if depends_on_the_node(problem.reason) {
            continue;
        }
        let origin = snapshot.origin(&problem.object, "");
        let place = origin.as_ref().map(|origin| format!("{}:{}: ", origin.file, origin.line));
        lines.push(format!("{}{}: {}", place.unwrap_or_default(), problem.object, problem.message));
        problems.push(Said {
            severity: "error",
            file: origin.as_ref().map(|origin| origin.file.clone()),
            line: origin.as_ref().map(|origin| origin.line),
            object: Some(problem.object.clone()),
            reason: Some(problem.reason),
            message: problem.message.clone(),
        });
    }
    let errors = problems.iter().filter(|problem| problem.severity == "error").count();
    let warnings = problems.len() - errors;
    let skipped = update.skipped.iter().map(Unread::from).collect();
    Found { lines, report: Report { schema: SCHEMA, objects, errors, warnings, problems, skipped } }
}

/// Problems that are there only because no node reported anything.
fn depends_on_the_node(reason: Reason) -> bool {
    matches!(reason, Reason::Pending | Reason::NoResources)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn json_has_what_the_lines_have() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("a.yaml");
        let text = "apiVersion: vipgate.dev/v1alpha1\nkind: IPAddressPool\n\
                    metadata: {name: lan, namespace: x}\nspec: {addresses: [192.0.2.5/24]}\n\
                    ---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\n\
                    ---\napiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\n\
                    metadata: {name: web, namespace: default}\n\
                    spec: {gatewayClassName: none, listeners: [{name: a, port: 80, protocol: TCP}]}\n\
                    ---\n{broken\n";
        fs::write(&file, text).unwrap();
        let found = lint(directory.path());
        let json = serde_json::to_value(&found.report).unwrap();
        assert_eq!(json["schema"], "vipgate.dev/lint/v1");
        let problems = json["problems"].as_array().unwrap();
        assert_eq!(found.lines.len(), problems.len() + json["skipped"].as_array().unwrap().len());
        for problem in problems {
            let message = problem["message"].as_str().unwrap();
            assert!(found.lines.iter().any(|line| line.contains(message)), "{message}");
        }
        let has = |severity: &str, line: u64| {
            problems.iter().any(|one| one["severity"] == severity && one["line"] == line)
        };
        assert!(has("warning", 4), "a CIDR with host bits: {json:#}");
        assert_eq!(json["skipped"][0]["kind"], "Deployment");
        assert_eq!(json["skipped"][0]["line"], 6);
        assert!(json["errors"].as_u64().unwrap() >= 1, "{json:#}");
        assert_eq!(
            json["warnings"],
            problems.iter().filter(|one| one["severity"] == "warning").count()
        );
    }
}

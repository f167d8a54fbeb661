//! `vipgate lint`: what `vipgate run` would say of a directory, without serving it.
//!
//! The same reader and the same planner. What only a node can know (links, free addresses) is not
//! looked at: the node is taken to have a link in every subnet, and every address to be free.

use std::process::ExitCode;

use anyhow::Result;
use vipgate_api::manifest::{Mode, Snapshot, read_directory};
use vipgate_api::{ObjectRef, Reason};
use vipgate_planner::Planner;

use crate::args::LintArgs;

/// Prints every problem as `file:line: message`; the exit code says whether there are errors.
pub(crate) fn run(args: &LintArgs) -> Result<ExitCode> {
    let mut snapshot = Snapshot::new(Mode::Standalone);
    let update = snapshot.update(read_directory(&args.directory));
    let mut errors = update.problems.iter().filter(|problem| problem.is_error()).count();
    let warnings = update.problems.len() - errors;
    for problem in &update.problems {
        println!("{problem}");
    }
    for skipped in &update.skipped {
        println!("{skipped}");
    }

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
        errors += 1;
        println!("{}{}: {}", place(&snapshot, &problem.object), problem.object, problem.message);
    }
    println!("{objects} objects, {errors} errors, {warnings} warnings");
    Ok(if errors == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn place(snapshot: &Snapshot, object: &ObjectRef) -> String {
    let origin = snapshot.origin(object, "");
    origin.map(|origin| format!("{}:{}: ", origin.file, origin.line)).unwrap_or_default()
}

/// Problems that are there only because no node reported anything.
fn depends_on_the_node(reason: Reason) -> bool {
    matches!(reason, Reason::Pending | Reason::NoResources)
}

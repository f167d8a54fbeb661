//! Golden plans: objects in, plan and status out.
//!
//! Each folder below `golden/` is a case. `in.yaml` are its objects, applied after those of
//! `golden/base.yaml`; a comment at its top says what the case shows. `node.yaml`, `claims.yaml`
//! and `foreign.yaml` replace the node, the claims and the addresses in foreign use; `names.yaml` are
//! the answers to DNS names. With a
//! `report.yaml` the node reports that; without one it does everything the plan asks for.
//! `plan.yaml` and `status.yaml` come out. `BLESS=1` rewrites them: read every one that changed.

#![allow(missing_docs, reason = "a test has no public items")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use vipgate_planner::{Outcome, Planner, Statuses};

#[test]
fn plans_and_statuses_are_as_blessed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut cases: Vec<PathBuf> = fs::read_dir(&folder)
        .expect("the folder of golden cases")
        .map(|entry| entry.expect("a readable entry").path())
        .filter(|path| path.is_dir())
        .collect();
    cases.sort();
    assert!(cases.len() >= 55, "only {} cases: is the folder complete?", cases.len());
    let bless = std::env::var_os("BLESS").is_some();
    let mut wrong = Vec::new();
    for case in &cases {
        let outcome = run(&folder, case);
        for (file, is) in [
            ("plan.yaml", yaml(&serde_json::to_value(&*outcome.plan).expect("plans are JSON"))),
            ("status.yaml", yaml(&readable(&outcome.statuses))),
        ] {
            let path = case.join(file);
            if bless {
                fs::write(&path, &is).expect("the golden file can be written");
            } else if fs::read_to_string(&path).unwrap_or_default() != is {
                wrong.push(format!("{}:\n{is}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "not as blessed (BLESS=1 rewrites):\n\n{}", wrong.join("\n"));
}

fn run(folder: &Path, case: &Path) -> Outcome {
    let text = |file: &str| fs::read_to_string(case.join(file)).ok();
    let name = case.display().to_string();
    let mut planner = Planner::new();
    planner.set_release(true);
    let node = text("node.yaml").map_or_else(support::node, |yaml| support::read(&name, &yaml));
    planner.set_node(node);
    if let Some(yaml) = text("claims.yaml") {
        planner.set_claims(support::read(&name, &yaml));
    }
    if let Some(yaml) = text("foreign.yaml") {
        planner.set_foreign(support::read(&name, &yaml));
    }
    if let Some(yaml) = text("names.yaml") {
        planner.set_names(support::read(&name, &yaml));
    }
    let base = fs::read_to_string(folder.join("base.yaml")).expect("base.yaml");
    let input = text("in.yaml").unwrap_or_else(|| panic!("{name} has no in.yaml"));
    for (file, yaml) in [("base.yaml", base), ("in.yaml", input)] {
        for (object, age) in support::objects(file, &yaml) {
            planner.apply(object, age);
        }
    }
    match text("report.yaml") {
        Some(yaml) => {
            planner.set_report(support::read(&name, &yaml));
            planner.run()
        }
        None => support::settle(&mut planner),
    }
}

fn yaml(value: &Value) -> String {
    serde_saphyr::to_string(value).expect("JSON is YAML")
}

/// The statuses as the objects would carry them, with one line for each condition.
fn readable(statuses: &Statuses) -> Value {
    let mut all = Map::new();
    for object in statuses.objects() {
        let mut status = statuses.json(&object, None).expect("an object that has a status");
        shorten(&mut status);
        all.insert(object.to_string(), status);
    }
    let problems: Vec<Value> = (statuses.problems.iter())
        .map(|p| format!("{}: {}: {}", p.object, p.reason, p.message).into())
        .collect();
    all.insert("problems".to_owned(), problems.into());
    all.insert("notes".to_owned(), json!(statuses.notes));
    all.into()
}

fn shorten(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::Array(conditions)) = fields.get_mut("conditions") {
                for condition in conditions {
                    let of = |field: &str| condition[field].as_str().expect("text").to_owned();
                    let (kind, status) = (of("type"), of("status"));
                    let (reason, message) = (of("reason"), of("message"));
                    *condition = format!("{kind}={status}/{reason}: {message}").into();
                }
            }
            fields.values_mut().for_each(shorten);
        }
        Value::Array(values) => values.iter_mut().for_each(shorten),
        _ => {}
    }
}

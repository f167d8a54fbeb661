//! `docs/metallb-tests.md`: each test that it names is there, and names the title. (That the test asserts it
//! is for people to see; that it runs is for the runner.)

#![allow(missing_docs, reason = "a test has no public items")]

use std::path::Path;

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Where a file of the list is.
fn place(file: &str) -> String {
    match file.split_once('/') {
        Some(("cluster", file)) => format!("cli/tests/cluster/{file}"),
        Some(("scenarios", file)) => format!("cli/tests/scenarios/{file}"),
        Some(("planner", file)) => format!("planner/tests/{file}"),
        _ => panic!("{file}: cluster/, scenarios/ or planner/"),
    }
}

/// What is written above a test, in one line; nothing when there is no such test.
fn comment_of(tests: &str, name: &str) -> Option<String> {
    let (before, _) = tests.split_once(&format!("\nfn {name}() {{"))?;
    let mut above: Vec<_> = before.lines().rev().take_while(|line| !line.is_empty()).collect();
    above.reverse();
    if above.last() != Some(&"#[test]") {
        return None;
    }
    let comment: Vec<_> = above.iter().filter_map(|line| line.strip_prefix("/// ")).collect();
    Some(comment.join(" "))
}

#[test]
fn each_title_is_named_by_its_test() {
    let docs = read("docs/metallb-tests.md");
    let rows: Vec<Vec<&str>> = (docs.lines().filter_map(|line| line.strip_prefix("| \"")))
        .map(|line| line.split('|').map(str::trim).collect())
        .collect();
    assert!(rows.len() >= 29, "only {} rows", rows.len());
    let mut wrong = Vec::new();
    for row in &rows {
        let title = row[0].trim_end_matches('"');
        let names: Vec<&str> = row[1].split('`').filter(|part| !part.trim().is_empty()).collect();
        let [file, test] = names[..] else { panic!("a file and a test are expected: {row:?}") };
        match comment_of(&read(&place(file)), test) {
            None => wrong.push(format!("{file} has no test {test}")),
            Some(comment) if !comment.contains("MetalLB") || !comment.contains(title) => {
                wrong.push(format!("{file} {test} does not name {title:?}: {comment}"));
            }
            Some(_) => {}
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

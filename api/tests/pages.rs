//! What the pages of `docs/` say of the code is so: each limit of `limits.md` stands in the file that its row
//! names, and each test that `what-survives.md` names as a source is there.

#![allow(missing_docs, reason = "a test has no public items")]

use std::path::Path;

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What stands in backticks in a line.
fn quoted(line: &str) -> Vec<&str> {
    line.split('`').skip(1).step_by(2).collect()
}

/// Whether a source has a constant of this name and value (`NAME = VALUE`), or a field (`name: value`).
fn says(source: &str, what: &str) -> bool {
    source.lines().map(str::trim).any(|line| match what.split_once(" = ") {
        Some((name, value)) => {
            line.contains(&format!("const {name}:")) && line.ends_with(&format!(" = {value};"))
        }
        None => line.strip_suffix(',') == Some(what),
    })
}

/// The last cell of each row: (what the code says, the file), for those that name one.
fn limits(page: &str) -> Vec<(&str, &str)> {
    let rows = page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| what "));
    let last = rows.filter_map(|row| row.trim_end_matches(" |").rsplit(" | ").next());
    let sources = last.filter(|cell| cell.contains("` in `"));
    sources
        .map(|cell| match quoted(cell)[..] {
            [what, file] => (what, file),
            _ => panic!("one value and one file are expected: {cell}"),
        })
        .collect()
}

#[test]
fn each_limit_stands_in_the_code_as_the_page_has_it() {
    let page = read("docs/limits.md");
    let limits = limits(&page);
    assert!(limits.len() > 40, "only {} rows name their place", limits.len());
    for (what, file) in limits {
        assert!(says(&read(file), what), "{file} does not say `{what}`, as docs/limits.md has it");
    }
}

#[test]
fn each_test_that_is_a_source_is_there() {
    let page = read("docs/what-survives.md");
    let named = page.lines().flat_map(quoted).filter_map(|words| words.split_once(".rs::"));
    let mut count = 0;
    for (file, test) in named {
        let source = read(&format!("{file}.rs"));
        assert!(source.contains(&format!("fn {test}(")), "{file}.rs has no test {test}");
        count += 1;
    }
    assert!(count > 15, "only {count} tests are named");
}

#[test]
fn a_value_that_differs_is_noticed() {
    let source = "/// A const MOST: of 7.\npub const MOST: usize = 1 << 20;\n    backlog: 4096,\n";
    assert!(says(source, "MOST = 1 << 20"));
    assert!(!says(source, "MOST = 1 << 2") && !says(source, "OST = 1 << 20"));
    assert!(says(source, "backlog: 4096") && !says(source, "backlog: 409"));
    let page = "| what | number | then | |\n|---|---|---|---|\n| a | 7 | `no` | `A = 7` in `a.rs` |\n| b | 1 | x | |\n";
    assert_eq!(limits(page), [("A = 7", "a.rs")]);
}

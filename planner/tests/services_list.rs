//! The list of MetalLB's scenarios in `docs/services.md` is whole, and each test that it names is there
//! and names the title. (That the test asserts it is for people to see; that it runs is for the runner.)

#![allow(missing_docs, reason = "a test has no public items")]

use std::collections::BTreeSet;
use std::path::Path;

/// What a replacement has to do, by MetalLB's own titles: `e2etest/l2tests/assignment.go`.
const REQUIRED: [&str; 20] = [
    "should remove the ip from a service assign it to a free one when",
    "changing the service type to clusterIP",
    "deleting the service",
    "should preseve the same external ip after controller restart",
    "should reconsider services when sharing the ip and conditions change",
    "removes all pools",
    "reallocates svc after deleting a pool",
    "with namespace",
    "with only priority",
    "with namespace and namespace labels",
    "with service label",
    "with namespace and service label",
    "with namespace with labels",
    "Should select dual-stack pool if available",
    "Should prefer primary ip ipv4 family among single-stack pools by default",
    "Should prefer primary ipv6 ip family among single-stack pools",
    "Additional ip should be assigned when the assigned 1-stack pool becomes dual-stack",
    "Single-stack pool should assign based on svc changes between PreferDualStack and \
     RequireDualStack",
    "Svc assigned from single-stack pool should not jump to dual-stack pool when it's available",
    "When current dualstack pool becomes single-stack, svc should pick another dualstack pool if \
     possible",
];

/// Where the tests are.
const TESTS: &str = "cli/tests/cluster/assignments.rs";

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// (title, test, how it differs), row by row.
fn rows(docs: &str) -> Vec<(String, String, String)> {
    let rows = docs.lines().filter_map(|line| {
        let cells: Vec<_> = line.strip_prefix("| \"")?.split('|').map(str::trim).collect();
        let [title, test, how, ""] = cells[..] else { panic!("three cells are expected: {line}") };
        let title = title.strip_suffix('"').expect("a title stands in quotes");
        Some((title.to_owned(), test.trim_matches('`').to_owned(), how.to_owned()))
    });
    rows.collect()
}

/// What is written above the test of this name, in one line; nothing when there is no such test.
fn comment_of(tests: &str, name: &str) -> Option<String> {
    let (before, _) = tests.split_once(&format!("\nfn {name}() {{"))?;
    let mut above: Vec<_> = before.lines().rev().take_while(|line| !line.is_empty()).collect();
    above.reverse();
    let is_test = above.last() == Some(&"#[test]");
    let comment = above.iter().filter_map(|line| line.strip_prefix("/// "));
    is_test.then(|| comment.collect::<Vec<_>>().join(" "))
}

/// Titles in quotes in a comment.
fn quoted(comment: &str) -> BTreeSet<&str> {
    comment.split('"').skip(1).step_by(2).collect()
}

#[test]
fn every_title_has_a_test_that_names_it() {
    let (docs, tests) = (read("docs/services.md"), read(TESTS));
    let rows = rows(&docs);
    for (title, test, how) in &rows {
        let comment =
            comment_of(&tests, test).unwrap_or_else(|| panic!("{TESTS} has no test {test}"));
        assert!(quoted(&comment).contains(title.as_str()), "{test} does not name {title:?}");
        let says = comment.contains("on purpose");
        assert!(says || !how.starts_with("differs"), "{test} does not say how it differs");
    }
    let listed: BTreeSet<_> = rows.iter().map(|(title, ..)| title.as_str()).collect();
    assert_eq!(listed.len(), rows.len(), "a title stands in the list twice");
    for title in REQUIRED {
        assert!(listed.contains(title), "docs/services.md does not list {title:?}");
    }
}

#[test]
fn comments_are_read_as_they_are_written() {
    let tests = "use x;\n\n/// MetalLB: \"one\", \"a title over two\n/// lines\".\n#[test]\n\
                 fn a() {\n}\n\nfn b() {\n}\n";
    let comment = comment_of(tests, "a").expect("a test");
    assert_eq!(quoted(&comment), ["one", "a title over two lines"].into());
    assert_eq!(comment_of(tests, "b"), None, "not a test");
    assert_eq!(comment_of(tests, "c"), None);
}

//! Scenarios that are chosen and run, reports of them, and what is read of a router.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::bail;

use super::*;
use crate::bgp::next_hops;
use crate::manifests::Server;

/// One that only writes down what it is asked, and refuses it.
struct Nothing {
    facts: Facts,
    asked: Mutex<Vec<String>>,
}

impl Nothing {
    fn new() -> Self {
        let facts = Facts {
            families: vec![Family::V4],
            namespace: "vipgate-system".to_owned(),
            servers: "s".to_owned(),
            edges: vec!["a".to_owned(), "b".to_owned()],
            interface: "eth0".to_owned(),
            echo: "echo".to_owned(),
            routers: vec![],
        };
        Self { facts, asked: Mutex::default() }
    }

    fn refuse<T>(&self, what: String) -> Result<T> {
        self.asked.lock().expect("no panic").push(what.clone());
        bail!("there is nothing: {what}")
    }
}

impl Rig for Nothing {
    fn facts(&self) -> &Facts {
        &self.facts
    }
    fn kubectl(&self, arguments: &[&str], _input: &str) -> Result<String> {
        self.refuse(format!("kubectl {}", arguments.join(" ")))
    }
    fn client(&self, script: &str) -> Result<String> {
        self.refuse(script.to_owned())
    }
    fn router(&self, question: &str) -> Result<String> {
        self.refuse(question.to_owned())
    }
    fn node(&self, name: &str, fate: Fate) -> Result<()> {
        self.refuse(format!("{name} {fate:?}"))
    }
    fn api_server(&self, _: bool) -> Result<()> {
        self.refuse("api server".to_owned())
    }
    fn upgrade(&self) -> Result<()> {
        self.refuse("upgrade".to_owned())
    }
    fn upgraded(&self) -> Result<()> {
        self.refuse("upgraded".to_owned())
    }
    fn conformance(&self) -> Result<String> {
        Ok("conformance: 1 passed, 0 failed, 0 skipped".to_owned())
    }
}

#[test]
fn every_suite_has_scenarios_and_all_has_every_one() {
    let all = scenarios("all").expect("all of them");
    let mut count = 0;
    for suite in SUITES {
        let of = scenarios(suite.name).expect(suite.name);
        assert!(of.iter().all(|one| one.suite == suite.name));
        count += of.len();
    }
    assert_eq!(count, all.len());
    let order: Vec<&str> = all.iter().map(|one| one.suite).collect();
    assert!(order.is_sorted_by_key(|name| SUITES.iter().position(|suite| suite.name == *name)));
    let names: BTreeSet<&str> = all.iter().map(|one| one.name).collect();
    assert_eq!(names.len(), all.len(), "names are unique");
    let error = scenarios("smok").err().expect("none").to_string();
    assert!(error.contains("smoke, l2, bgp"), "{error}");
}

#[test]
fn one_that_fails_does_not_keep_the_others_from_running() {
    let rig = Nothing::new();
    let mut heard = Vec::new();
    let which = scenarios("all").expect("all of them");
    let outcomes = run(&rig, &which, |outcome| heard.push(outcome.name));
    assert_eq!(heard.len(), which.len());
    let (passed, failed): (Vec<_>, Vec<_>) = outcomes.iter().partition(|one| one.result.is_ok());
    assert_eq!(passed.len(), 1, "the one that this rig can do");
    assert_eq!(passed[0].suite, "conformance");
    for outcome in failed {
        let why = outcome.result.as_ref().expect_err("it failed");
        assert!(why.contains("before it began: there is nothing: kubectl apply"), "{why}");
    }
}

fn outcomes() -> Vec<Outcome> {
    let outcome = |suite, name, millis, result: Result<Option<&str>, &str>| Outcome {
        suite,
        name,
        took: Duration::from_millis(millis),
        result: result.map(|note| note.map(str::to_owned)).map_err(str::to_owned),
    };
    vec![
        outcome("smoke", "one", 1_500, Ok(None)),
        outcome("smoke", "two", 500, Err("a < b && \"c\"\nsecond \u{1b}[31mline ``` of it")),
        outcome("l2", "three", 250, Ok(Some("after 0.6 s | <fine>"))),
    ]
}

#[test]
fn junit_counts_and_keeps_what_was_said() {
    let text = report::junit("kind & \"co\"", &outcomes());
    let parsed = roxmltree::Document::parse(&text).expect("it is well-formed");
    let root = parsed.root_element();
    assert_eq!(root.attribute("name"), Some("kind & \"co\""));
    assert_eq!((root.attribute("tests"), root.attribute("failures")), (Some("3"), Some("1")));
    let suites: Vec<_> = root.children().filter(roxmltree::Node::is_element).collect();
    let attribute = |name| suites.iter().filter_map(|one| one.attribute(name)).collect::<Vec<_>>();
    assert_eq!(attribute("name"), ["smoke", "l2"]);
    assert_eq!(attribute("tests"), ["2", "1"]);
    assert_eq!(attribute("failures"), ["1", "0"]);
    assert_eq!(attribute("time"), ["2.000", "0.250"]);
    let failure = parsed.descendants().find(|node| node.has_tag_name("failure")).expect("one");
    assert_eq!(failure.attribute("message"), Some("a < b && \"c\""));
    assert_eq!(failure.text(), Some("a < b && \"c\"\nsecond \u{fffd}[31mline ``` of it"));
    let note = parsed.descendants().find(|node| node.has_tag_name("system-out")).expect("one");
    assert_eq!(note.text(), Some("after 0.6 s | <fine>"));
}

#[test]
fn the_table_has_a_line_for_each_and_the_failures_below() {
    let text = report::markdown("A run", &outcomes());
    assert!(text.starts_with("# A run\n\n2 passed, 1 failed.\n"), "{text}");
    assert!(text.contains("| smoke | one | passed | 1.5 |  |\n"), "{text}");
    assert!(text.contains("| smoke | two | **failed** | 0.5 | see below |\n"), "{text}");
    assert!(text.contains("after 0.6 s \\| <fine>"), "{text}");
    assert!(
        text.contains("## smoke: two\n\n````text\na < b"),
        "a fence longer than what is in it: {text}"
    );
}

#[test]
fn next_hops_are_those_of_valid_paths() {
    let said = r#"{"prefix":"192.0.2.10/32","paths":[
        {"valid":true,"nexthops":[{"ip":"10.77.0.2","afi":"ipv4","used":true}]},
        {"valid":false,"nexthops":[{"ip":"10.77.0.3"}]},
        {"valid":true,"nexthops":[{"ip":"fd77::2","scope":"global"},{"ip":"fe80::1","scope":"link-local"}]}]}"#;
    let expected = ["10.77.0.2", "fd77::2"].map(|text| text.parse().expect("an address"));
    assert_eq!(next_hops(said).expect("understood"), BTreeSet::from(expected));
    assert!(next_hops("{}\n").expect("not known is no error").is_empty());
    assert!(next_hops("% BGP instance not found").is_err());
}

/// What the API server makes of them is seen in the lab; here, that their parts are in the right place.
#[test]
fn servers_have_what_their_kind_needs() {
    let text = |kind| manifests::servers("web", kind, 2, "image", "node");
    let tls = text(Server::Tls);
    assert!(tls.contains("        - {name: TLS_SERVER_CERT, value: '/tls/tls.crt'}\n"), "{tls}");
    assert!(
        tls.contains("      volumes: [{name: tls, secret: {secretName: web}}]\n---\n"),
        "{tls}"
    );
    let udp = text(Server::Udp);
    assert!(
        udp.contains("ports: [{port: 8080, protocol: UDP}]") && !udp.contains("volume"),
        "{udp}"
    );
}

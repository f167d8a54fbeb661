//! However it ends, what was made is removed, and the reports say what failed.

use std::process::Stdio;
use std::time::{Duration, Instant};

use roxmltree::Document;

use super::run::{Done, Machine};

/// Each of what is done, failing once, and the step that it is a part of.
const FAILURES: [(&str, &str); 16] = [
    ("docker network create vipgate-e2e", "the network"),
    ("docker network rm vipgate-e2e", "the network"),
    ("docker network create --subnet*", "the network"),
    ("kind create cluster*", "the cluster"),
    ("kind load*", "the image on the nodes"),
    ("kubectl apply*", "the chart"),
    ("helm install*", "the chart"),
    ("kubectl wait*", "the chart"),
    ("docker create --name vipgate-e2e-router*", "the router"),
    ("docker cp */frr/.*", "the router"),
    ("docker start vipgate-e2e-router", "the router"),
    ("docker create --name vipgate-e2e-client*", "the client"),
    ("docker exec vipgate-e2e-client ip route*", "the client"),
    ("go test*", "the conformance suite"),
    ("kind get kubeconfig*", "the conformance suite"),
    ("docker cp */conformance/.*", "the conformance suite"),
];

fn failed_in(machine: &Machine, done: &Done, step: &str) {
    let setup = machine.result("setup.xml");
    let parsed = Document::parse(&setup).unwrap_or_else(|error| panic!("{error}: {setup}"));
    let cases: Vec<_> = parsed.descendants().filter(|node| node.has_tag_name("testcase")).collect();
    let suite = parsed.descendants().find(|node| node.has_tag_name("testsuite")).unwrap();
    assert_eq!(suite.attribute("tests"), Some(cases.len().to_string().as_str()), "{setup}");
    assert_eq!(suite.attribute("failures"), Some("1"), "{setup}");
    let last = cases.last().unwrap();
    assert_eq!(last.attribute("name"), Some(step), "{setup}");
    let failures = parsed.descendants().filter(|node| node.has_tag_name("failure"));
    assert_eq!(failures.count(), 1, "{setup}");
    assert!(machine.result("report.md").contains(&format!("## Not set up: {step}\n")), "{step}");
    assert!(done.said.contains(&format!("failed: {step}")), "{}", done.said);
}

#[test]
fn whichever_step_fails_all_is_removed_and_said() {
    for (call, step) in FAILURES {
        let machine = Machine::new().with("FAKE_FAIL", call);
        let done = machine.run(&["all"]);
        assert_eq!(done.status, Some(1), "{call}: {}", done.said);
        assert_eq!(machine.left(), Vec::<String>::new(), "{call}: {}", done.said);
        failed_in(&machine, &done, step);
        // What the tool complained of is in the report, with its < and &.
        assert!(machine.result("report.md").contains("told to fail: <&>"), "{call}");
        let after = done.calls.iter().filter(|call| call.starts_with("scenarios"));
        assert_eq!(after.count(), 0, "{call}: no scenario runs on half a cluster");
        assert!(done.calls.iter().any(|call| call.starts_with("kind export logs")), "{call}");
    }
    // Half a cluster is one.
    let machine = Machine::new().with("FAKE_FAIL_HALF", "kind create*");
    let done = machine.run(&["smoke"]);
    failed_in(&machine, &done, "the cluster");
    assert!(machine.left().is_empty());
}

#[test]
fn a_scenario_that_fails_leaves_logs_and_captures_and_nothing_else() {
    let machine = Machine::new().with("FAKE_FAIL", "scenarios *");
    let done = machine.run(&["l2"]);
    assert_eq!(done.status, Some(1), "{}", done.said);
    assert!(machine.left().is_empty());
    let setup = machine.result("setup.xml");
    assert!(setup.contains("failures=\"0\""), "the set-up did not fail: {setup}");
    for call in [
        "kind export logs DIR/results/logs/kind",
        "kubectl logs --namespace vipgate-system",
        "docker logs vipgate-e2e-router",
        "docker exec vipgate-e2e-client pkill -INT tcpdump",
        "docker cp vipgate-e2e-client:/tmp/client.pcap0 DIR/results/logs/",
    ] {
        assert!(done.calls.iter().any(|one| one.starts_with(call)), "{call}: {:#?}", done.calls);
    }
}

/// What cannot be removed is said, and the run did not pass.
#[test]
fn what_stays_is_said() {
    let machine = Machine::new().with("FAKE_FAIL", "kind delete*").with("FAKE_ALWAYS", "1");
    let done = machine.run(&["smoke"]);
    assert_eq!(done.status, Some(1), "{}", done.said);
    assert!(done.said.contains("the network vipgate-e2e could not be removed"), "{}", done.said);
}

#[test]
fn what_is_kept_is_there_until_it_is_cleaned() {
    let machine = Machine::new();
    let done = machine.run(&["smoke", "--keep"]);
    assert_eq!(done.status, Some(0), "{}", done.said);
    let all =
        ["cluster", "container-vipgate-e2e-client", "container-vipgate-e2e-router", "network"];
    assert_eq!(machine.left(), all);
    assert!(done.said.contains("remove it: VIPGATE_E2E_RUNTIME=docker kind-e2e/run.sh --clean"));
    // It is in the way of the next one, which says so and leaves it alone.
    let again = machine.run(&["smoke"]);
    assert_eq!(again.status, Some(1));
    assert_eq!(machine.left(), all);
    assert_eq!(again.said.matches("of an earlier run").count(), 4, "{}", again.said);
    let cleaned = machine.command(&["--clean"]).output().unwrap();
    assert!(cleaned.status.success());
    assert!(machine.left().is_empty());

    // Kept after a failure as well, to look at it.
    let machine = Machine::new().with("FAKE_FAIL", "docker start vipgate-e2e-client");
    let done = machine.run(&["smoke", "--keep"]);
    assert_eq!(done.status, Some(1));
    assert_eq!(machine.left(), all);
}

#[test]
fn one_that_is_interrupted_removes_what_it_made() {
    let machine = Machine::new().with("FAKE_HANG", "helm install*");
    let image = machine.at("image.tar");
    let mut command = machine.command(&["smoke", "--image", image.to_str().unwrap()]);
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let began = Instant::now();
    while !machine.at("hangs").exists() {
        assert!(began.elapsed() < Duration::from_secs(120), "it does not come so far");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(machine.left().contains(&"cluster".to_owned()));
    // To the whole group, as a terminal does.
    let group = format!("-{}", child.id());
    let sent = std::process::Command::new("kill").args(["-INT", "--", &group]).status().unwrap();
    assert!(sent.success());
    let done = Done::of(&machine, child.wait_with_output().unwrap());
    assert_ne!(done.status, Some(0), "{}", done.said);
    assert!(machine.left().is_empty(), "{:?}: {}", machine.left(), done.said);
}

/// The program of this crate itself, where all it asks is answered, and where nothing is.
#[test]
fn the_real_program_reports_what_passed_and_what_failed() {
    let program = env!("CARGO_BIN_EXE_vipgate-scenarios");
    let machine = Machine::new().with("VIPGATE_E2E_SCENARIOS", program);
    let done = machine.run(&["conformance"]);
    assert_eq!(done.status, Some(0), "{}", done.said);
    let report = machine.result("report.md");
    assert!(report.contains("conformance: 83 passed, 0 failed, 0 skipped"), "{report}");
    let asked = done.calls.iter().find(|call| call.contains("./conformance.test")).unwrap();
    assert!(asked.starts_with("docker exec vipgate-e2e-client bash -c "), "{asked}");
    assert!(asked.contains("-usable-address=172.19.128.71 "), "{asked}");

    let refuses = "kubectl apply --server-side --force-conflicts*";
    let machine = machine.with("FAKE_FAIL", refuses).with("FAKE_ALWAYS", "1");
    let done = machine.run(&["smoke"]);
    assert_eq!(done.status, Some(1), "{}", done.said);
    let text = machine.result("scenarios.xml");
    let parsed = Document::parse(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert_eq!(parsed.root_element().attribute("failures"), Some("2"), "{text}");
    let failure = parsed.descendants().find(|node| node.has_tag_name("failure")).unwrap();
    assert!(failure.text().unwrap().contains("told to fail: <&> \"apply\""), "{text}");
    assert!(machine.result("report.md").contains("0 passed, 2 failed."));
    assert!(machine.left().is_empty());
}

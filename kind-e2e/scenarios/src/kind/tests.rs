//! What is run for what is asked, with a `docker` and a `kubectl` that write down how they were called.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::symlink;

use tempfile::TempDir;

use super::*;

fn environment() -> HashMap<&'static str, &'static str> {
    HashMap::from([
        ("VIPGATE_E2E_FAMILY", "dual"),
        ("VIPGATE_E2E_CLUSTER", "e2e"),
        ("VIPGATE_E2E_ROUTERS", "172.18.0.9 fd00::9"),
        ("VIPGATE_E2E_NAMESPACE", "vipgate-system"),
        ("VIPGATE_E2E_ECHO", "example/echo"),
        ("VIPGATE_E2E_RUNTIME", "docker"),
        ("VIPGATE_E2E_CHART", "charts/vipgate"),
        ("VIPGATE_E2E_USABLE", "172.18.0.5"),
    ])
}

fn kind(environment: &HashMap<&str, &str>) -> Result<Kind> {
    Kind::of(|name| environment.get(name).map(OsString::from))
}

#[test]
fn all_is_in_the_environment_and_what_is_missing_is_named() {
    let all = environment();
    let facts = kind(&all).expect("all of it").facts;
    assert_eq!(facts.families, [Family::V4, Family::V6]);
    assert_eq!(facts.servers, "e2e-control-plane");
    assert_eq!(facts.edges, ["e2e-worker", "e2e-worker2"]);
    assert_eq!(facts.routers.len(), 2);
    for name in all.keys() {
        let mut less = all.clone();
        less.remove(name);
        let error = kind(&less).expect_err(name).to_string();
        assert!(error.contains(name), "{error}");
    }
    let mut wrong = all;
    wrong.insert("VIPGATE_E2E_FAMILY", "v5");
    assert!(kind(&wrong).expect_err("no family").to_string().contains("v4, v6 or dual"));
}

#[test]
fn the_suite_has_to_tell_that_all_tests_passed() {
    let told = "…\nconformance: 83 passed, 0 failed, 0 skipped\n";
    assert_eq!(verdict(told).expect("passed"), "conformance: 83 passed, 0 failed, 0 skipped");
    for bad in [
        "",
        "conformance: 0 passed, 0 failed, 0 skipped",
        "conformance: 82 passed, 1 failed, 0 skipped",
        "conformance: 82 passed, 0 failed, 1 skipped",
        "conformance: 80 passed, 10 failed, 0 skipped",
    ] {
        assert!(verdict(bad).is_err(), "{bad}");
    }
}

/// One whose programs only write down how they are called, and whose nodes are in this state.
fn recorded(state: &str) -> (TempDir, Kind) {
    let directory = tempfile::tempdir().expect("a directory");
    let fake = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fakes/recorder");
    let place = |name: &str| {
        let path = directory.path().join(name);
        symlink(fake, &path).expect("a link");
        path.to_str().expect("text").to_owned()
    };
    let mut kind = kind(&environment()).expect("all of it");
    kind.runtime = place("docker");
    kind.kubectl = place("kubectl");
    kind.helm = place("helm");
    fs::write(directory.path().join("state"), format!("{state}\n")).expect("it is written");
    (directory, kind)
}

/// What was called, in order.
fn calls(directory: &TempDir) -> Vec<String> {
    let text = fs::read_to_string(directory.path().join("log")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

const ASKED: &str = "docker inspect --format {{.State.Status}} e2e-worker";

#[test]
fn a_node_is_killed_or_paused_and_set_right_by_its_container() {
    let ready = [
        "kubectl wait --for=condition=Ready node/e2e-worker --timeout=180s",
        "kubectl rollout status daemonset/vipgate-speaker --namespace vipgate-system --timeout=600s",
    ];
    for (state, fate, then) in [
        ("running", Fate::Lost, vec!["docker kill e2e-worker"]),
        ("running", Fate::Frozen, vec!["docker pause e2e-worker"]),
        ("running", Fate::Well, vec![]),
        ("exited", Fate::Well, vec!["docker start e2e-worker", ready[0], ready[1]]),
        ("paused", Fate::Well, vec!["docker unpause e2e-worker", ready[0], ready[1]]),
    ] {
        let (directory, kind) = recorded(state);
        kind.node("e2e-worker", fate).expect("it is done");
        let expected: Vec<&str> = std::iter::once(ASKED).chain(then).collect();
        assert_eq!(calls(&directory), expected, "{state}, {fate:?}");
    }
    for (state, fate) in [("exited", Fate::Lost), ("paused", Fate::Frozen), ("dead", Fate::Well)] {
        let (directory, kind) = recorded(state);
        assert!(kind.node("e2e-worker", fate).is_err(), "{state}, {fate:?}");
        assert_eq!(calls(&directory), [ASKED]);
    }
}

#[test]
fn the_others_are_asked_in_their_containers() {
    let (directory, kind) = recorded("running");
    kind.client("echo a").expect("done");
    kind.router("show bgp summary").expect("done");
    kind.api_server(true).expect("done");
    kind.api_server(false).expect("done");
    kind.upgrade().expect("done");
    kind.upgrade().expect("done");
    kind.upgraded().expect("done");
    let signal = |signal| {
        format!("docker exec e2e-control-plane sh -c kill -{signal} $(pidof kube-apiserver)")
    };
    let upgrade = |number: u32| {
        format!(
            "helm upgrade vipgate charts/vipgate --namespace vipgate-system --reset-then-reuse-values \
             --set speaker.podAnnotations.upgrade=number-{number}"
        )
    };
    let rolled =
        |what| format!("kubectl rollout status {what} --namespace vipgate-system --timeout=600s");
    let expected = [
        "docker exec e2e-client bash -c echo a".to_owned(),
        "docker exec e2e-router vtysh -c show bgp summary".to_owned(),
        signal("STOP"),
        signal("CONT"),
        "kubectl get --raw=/readyz".to_owned(),
        upgrade(0),
        upgrade(1),
        rolled("daemonset/vipgate-speaker"),
        rolled("deployment/vipgate-controller"),
    ];
    assert_eq!(calls(&directory), expected);
}

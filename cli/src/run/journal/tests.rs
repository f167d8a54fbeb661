//! One line per change, and silence otherwise: manifests through the planner, with reports of a
//! node as it would send them.

use std::fs;

use vipgate_api::ObjectKey;
use vipgate_api::manifest::{Mode, Snapshot, read_directory};
use vipgate_planner::{ListenerState, NodeReport, Planner, VipState};

use super::{Journal, say};
use crate::run::board::Situation;

const VIP: &str = "127.77.0.1";

const CLASS_AND_POOL: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: vipgate}
spec: {controllerName: vipgate.dev/gateway-controller}
---
apiVersion: vipgate.dev/v1alpha1
kind: IPAddressPool
metadata: {name: lan}
spec: {addresses: [127.77.0.1]}
";

fn gateway(name: &str) -> String {
    format!(
        "---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: {name}}}
spec:
  gatewayClassName: vipgate
  listeners: [{{name: tcp, protocol: TCP, port: 80}}]
"
    )
}

fn route(name: &str, gateway: &str) -> String {
    format!(
        "---
apiVersion: gateway.networking.k8s.io/v1
kind: TCPRoute
metadata: {{name: {name}}}
spec:
  parentRefs: [{{name: {gateway}}}]
  rules: [{{backendRefs: [{{group: vipgate.dev, kind: Backend, name: web}}]}}]
---
apiVersion: vipgate.dev/v1alpha1
kind: Backend
metadata: {{name: web}}
spec: {{endpoints: [{{address: 127.0.0.1, port: 9}}]}}
"
    )
}

/// What follows from these manifests and this report.
fn situation(manifests: &str, report: NodeReport) -> Situation {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("all.yaml"), manifests).unwrap();
    let update = Snapshot::new(Mode::Standalone).update(read_directory(directory.path()));
    assert_eq!(update.problems, []);
    let mut planner = Planner::new();
    for (object, age) in update.applied {
        planner.apply(object, age);
    }
    planner.set_release(true);
    planner.set_report(report.clone());
    let outcome = planner.run();
    Situation {
        plan: outcome.plan,
        statuses: outcome.statuses,
        claims: planner.claims().clone(),
        report: report.into(),
        ..Situation::default()
    }
}

/// A report in which the Gateway `web` serves, or its socket is in this other state.
fn report(state: ListenerState) -> NodeReport {
    let vip = VIP.parse().unwrap();
    let listener = vipgate_planner::ListenerId {
        set: None,
        gateway: ObjectKey::new("default", "web"),
        name: "tcp".to_owned(),
        address: vip,
    };
    NodeReport {
        vips: [(vip, VipState::Serving(Vec::new()))].into(),
        listeners: [(listener, state)].into(),
        ..NodeReport::default()
    }
}

/// What the journal says about a situation: `+` for what is well, `!` for what is not.
fn said(journal: &mut Journal, situation: &Situation) -> Vec<String> {
    let lines = journal.changed_lines(situation);
    let mut said: Vec<String> = lines
        .iter()
        .map(|(subject, line)| {
            // Whatever is worth a line can be said.
            say(subject, line);
            format!("{} {subject:?} {}", if line.well { '+' } else { '!' }, line.text)
        })
        .collect();
    said.extend(journal.new_problems(&situation.statuses).into_iter().map(|p| format!("! {p}")));
    said
}

#[test]
fn what_serves_is_said_once_and_then_nothing() {
    let manifests = format!("{CLASS_AND_POOL}{}{}", gateway("web"), route("web", "web"));
    let serving = situation(&manifests, report(ListenerState::Bound));
    let mut journal = Journal::default();
    let first = said(&mut journal, &serving);
    assert_eq!(first.len(), 3, "a VIP, a listener, a route: {first:#?}");
    assert!(first.iter().all(|line| line.starts_with('+')), "{first:#?}");
    assert!(first[0].contains(VIP) && first[0].contains("served on loopback"), "{first:#?}");
    assert_eq!(said(&mut journal, &serving), <[String; 0]>::default());
}

#[test]
fn only_what_changed_is_said() {
    let alone = format!("{CLASS_AND_POOL}{}", gateway("web"));
    let mut journal = Journal::default();
    said(&mut journal, &situation(&alone, report(ListenerState::Bound)));

    let routed = format!("{alone}{}", route("web", "web"));
    let lines = said(&mut journal, &situation(&routed, report(ListenerState::Bound)));
    assert_eq!(lines.len(), 2, "the listener has a route more, and there is the route: {lines:#?}");

    let failed = report(ListenerState::Failed("port 80 is taken".to_owned()));
    let lines = said(&mut journal, &situation(&routed, failed));
    let of_listener: Vec<_> = lines.iter().filter(|line| line.contains("Listener")).collect();
    assert_eq!(of_listener.len(), 1, "{lines:#?}");
    assert!(of_listener[0].starts_with('!') && of_listener[0].contains("port 80 is taken"));

    let lines = said(&mut journal, &situation(CLASS_AND_POOL, NodeReport::default()));
    assert_eq!(lines.len(), 3, "{lines:#?}");
    assert!(
        lines.iter().all(|line| line.starts_with('+') && line.ends_with(" gone")),
        "{lines:#?}"
    );
}

#[test]
fn what_is_on_its_way_is_not_said() {
    let manifests = format!("{CLASS_AND_POOL}{}", gateway("web"));
    let lines = said(&mut Journal::default(), &situation(&manifests, NodeReport::default()));
    assert_eq!(lines, <[String; 0]>::default());
}

#[test]
fn a_problem_that_no_line_tells_is_said_once() {
    let manifests = format!("{CLASS_AND_POOL}{}{}", gateway("web"), route("lost", "nowhere"));
    let with_late = format!("{manifests}{}", gateway("zz-late"));
    let mut journal = Journal::default();
    let lines = said(&mut journal, &situation(&manifests, report(ListenerState::Bound)));
    let dangling = |line: &String| line.starts_with("! TCPRoute default/lost: parentRefs: ");
    assert_eq!(lines.iter().filter(|line| dangling(line)).count(), 1, "{lines:#?}");

    let lines = said(&mut journal, &situation(&with_late, report(ListenerState::Bound)));
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(lines[0].starts_with("! Gateway default/zz-late: no address is free"), "{lines:#?}");
    let again = said(&mut journal, &situation(&with_late, report(ListenerState::Bound)));
    assert_eq!(again, <[String; 0]>::default());
}

#[test]
fn a_problem_that_a_line_tells_is_not_said_twice() {
    let bad = gateway("web").replace("protocol: TCP", "protocol: QUIC");
    let good = gateway("good");
    let manifests = format!(
        "{CLASS_AND_POOL}{good}{bad}{}",
        route("web", "good").replace("kind: Backend, name: web}", "kind: Backend, name: gone}")
    );
    let lines = said(&mut Journal::default(), &situation(&manifests, NodeReport::default()));
    for cause in ["QUIC", "Backend default/gone does not exist"] {
        let telling = lines.iter().filter(|line| line.contains(cause)).count();
        assert_eq!(telling, 1, "{cause}: {lines:#?}");
    }
}

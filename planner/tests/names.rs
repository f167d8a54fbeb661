//! DNS names of Backends: which are asked for, and what an answer changes.

#![allow(missing_docs, reason = "a test has no public items")]

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;

use vipgate_api::{Kind, ObjectKey, ObjectRef, Reason};
use vipgate_planner::{Answer, Names, Outcome, Planner, Role, Runs};

const WORLD: &str = "
kind: GatewayClass
metadata: {name: vipgate}
spec: {controllerName: vipgate.dev/gateway-controller}
---
kind: IPAddressPool
metadata: {name: lan, namespace: vipgate-system}
spec: {addresses: [10.0.0.100-10.0.0.109]}
---
kind: Gateway
metadata: {name: web, namespace: default}
spec:
  gatewayClassName: vipgate
  listeners: [{name: tcp, protocol: TCP, port: 80}]
---
kind: TCPRoute
metadata: {name: web, namespace: default}
spec:
  parentRefs: [{name: web}]
  rules: [{backendRefs: [{group: vipgate.dev, kind: Backend, name: db}]}]
---
kind: Backend
metadata: {name: db, namespace: default}
spec: {endpoints: [{hostname: db.example.com, port: 5432}, {address: 10.2.0.9, port: 5432}]}
---
kind: Backend
metadata: {name: nobodys, namespace: default}
spec: {endpoints: [{hostname: nobodys.example.com, port: 80}]}
---
kind: Backend
metadata: {name: db, namespace: other}
spec: {endpoints: [{hostname: other.example.com, port: 80}]}
";

fn apply(planner: &mut Planner, yaml: &str) {
    for (object, age) in support::objects("world.yaml", yaml) {
        planner.apply(object, age);
    }
}

fn planner(role: Role) -> Planner {
    let mut planner = Planner::in_role(role);
    planner.set_release(true);
    planner.set_node(support::node());
    apply(&mut planner, WORLD);
    planner
}

fn answer(addresses: &[&str], error: Option<&str>) -> Names {
    let addresses =
        addresses.iter().map(|text| text.parse().expect("an address")).collect::<BTreeSet<_>>();
    let answer = Answer { addresses, error: error.map(str::to_owned) };
    [("db.example.com".to_owned(), answer)].into()
}

fn endpoints(outcome: &Outcome) -> Vec<String> {
    let (_, target) = outcome.plan.listeners[0].targets().next().expect("a target");
    target.shares[0].endpoints.iter().map(|endpoint| endpoint.0.to_string()).collect()
}

fn problems(outcome: &Outcome) -> Vec<(Reason, &str)> {
    let problems = outcome.statuses.problems.iter();
    problems.map(|problem| (problem.reason, problem.message.as_str())).collect()
}

fn names(planner: &Planner) -> Vec<String> {
    planner.names_in_use().into_iter().collect()
}

#[test]
fn names_are_wanted_where_a_route_may_use_them() {
    let mut planner = planner(Role::Standalone);
    planner.run();
    assert_eq!(names(&planner), ["db.example.com"], "not those of Backends that nobody uses");
    // Another namespace's, without and with a ReferenceGrant.
    let route = WORLD.split("---").nth(3).expect("the route");
    apply(&mut planner, &route.replace("name: db", "name: db, namespace: other"));
    planner.run();
    assert_eq!(names(&planner), [""; 0]);
    apply(
        &mut planner,
        "
kind: ReferenceGrant
metadata: {name: web, namespace: other}
spec:
  from: [{group: gateway.networking.k8s.io, kind: TCPRoute, namespace: default}]
  to: [{group: vipgate.dev, kind: Backend}]
",
    );
    planner.run();
    assert_eq!(names(&planner), ["other.example.com"]);
    planner.delete(&ObjectRef::new(Kind::TcpRoute, ObjectKey::new("default", "web")));
    planner.run();
    assert_eq!(names(&planner), [""; 0]);
}

/// It is asked for on: the next answer may be another.
#[test]
fn a_name_stays_wanted_when_its_addresses_are_refused_or_have_another_port() {
    let mut planner = planner(Role::Standalone);
    apply(
        &mut planner,
        "
kind: Backend
metadata: {name: db, namespace: default}
spec: {endpoints: [{hostname: db.example.com, port: 5432}]}
",
    );
    planner.set_names(answer(&["127.0.0.1"], None));
    let outcome = support::settle(&mut planner);
    assert!(endpoints(&outcome).is_empty());
    let [(Reason::AddressRefused, why)] = problems(&outcome)[..] else {
        panic!("{:?}", problems(&outcome))
    };
    assert!(why.contains("127.0.0.1 is a loopback address"), "{why}");
    assert_eq!(names(&planner), ["db.example.com"]);
    planner.set_names(answer(&["10.2.0.1"], None));
    assert_eq!(endpoints(&planner.run()), ["10.2.0.1:5432"]);
}

#[test]
fn an_answer_changes_endpoints_and_runs_nothing_before_resolution() {
    let mut planner = planner(Role::Standalone);
    let outcome = support::settle(&mut planner);
    assert_eq!(endpoints(&outcome), ["10.2.0.9:5432"]);
    assert_eq!(problems(&outcome), [], "it is being looked up, and there is another endpoint");
    let before = planner.runs();
    planner.set_names(answer(&["10.2.0.2", "10.2.0.1"], None));
    let outcome = planner.run();
    assert_eq!(endpoints(&outcome), ["10.2.0.1:5432", "10.2.0.2:5432", "10.2.0.9:5432"]);
    let after = Runs {
        resolution: before.resolution + 1,
        assembly: before.assembly + 1,
        status: before.status + 1,
        ..before
    };
    assert_eq!(planner.runs(), after);
    planner.set_names(answer(&["10.2.0.1", "10.2.0.2"], None));
    let same = planner.run();
    assert_eq!((planner.runs(), Arc::ptr_eq(&same.plan, &outcome.plan)), (after, true));
}

#[test]
fn what_is_wrong_with_a_name_is_a_problem_and_no_fault_of_the_reference() {
    let mut planner = planner(Role::Standalone);
    planner.set_names(answer(&["10.2.0.1"], Some("SERVFAIL")));
    let outcome = support::settle(&mut planner);
    assert_eq!(endpoints(&outcome), ["10.2.0.1:5432", "10.2.0.9:5432"]);
    let said = "Backend default/db: db.example.com does not resolve, its last addresses go on being used: \
                SERVFAIL";
    assert_eq!(problems(&outcome), [(Reason::NameNotResolved, said)]);
    let route = ObjectRef::new(Kind::TcpRoute, ObjectKey::new("default", "web"));
    let conditions = &outcome.statuses.routes[&route].parents[0].conditions;
    assert!(conditions.iter().all(|condition| condition.is_true()), "{conditions:?}");
}

/// Each node asks for itself; the controller knows no answers and needs none.
#[test]
fn for_the_controller_a_name_counts_as_resolved() {
    let mut planner = planner(Role::Controller);
    apply(
        &mut planner,
        "
kind: Backend
metadata: {name: db, namespace: default}
spec: {endpoints: [{hostname: db.example.com, port: 5432}]}
",
    );
    let outcome = planner.run();
    assert_eq!(names(&planner), [""; 0]);
    let route = ObjectRef::new(Kind::TcpRoute, ObjectKey::new("default", "web"));
    let conditions = &outcome.statuses.routes[&route].parents[0].conditions;
    let resolved = conditions.iter().find(|c| c.reason == Reason::ResolvedRefs).expect("it is so");
    assert_eq!(resolved.message, "every backendRef is resolved");
    assert!(!problems(&outcome).iter().any(|(reason, _)| *reason == Reason::NoEndpoints));
}

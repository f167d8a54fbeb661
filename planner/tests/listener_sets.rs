//! Which ListenerSet goes first, as an API server tells their age.

#![allow(missing_docs, reason = "a test has no public items")]

mod support;

use serde_json::json;
use vipgate_api::{Age, ConditionType, ObjectKey, Reason};
use vipgate_planner::{Planner, Role};

const WORLD: &str = "
kind: GatewayClass
metadata: {name: vipgate}
spec: {controllerName: vipgate.dev/gateway-controller}
---
kind: Gateway
metadata: {name: web, namespace: default}
spec:
  gatewayClassName: vipgate
  allowedListeners: {namespaces: {from: All}}
  listeners: [{name: own, protocol: TCP, port: 80}]
";

/// The sets that have the port, of some that all want it: namespace, name and second of creation.
fn winners(sets: &[(&str, &str, u32)]) -> Vec<String> {
    let mut planner = Planner::in_role(Role::Controller);
    for (object, age) in support::objects("world.yaml", WORLD) {
        planner.apply(object, age);
    }
    for (namespace, name, second) in sets {
        let set = json!({
            "kind": "ListenerSet",
            "metadata": {"name": name, "namespace": namespace,
                "creationTimestamp": format!("2026-01-01T00:00:{second:02}Z")},
            "spec": {
                "parentRef": {"name": "web", "namespace": "default"},
                "listeners": [{"name": "tcp", "protocol": "TCP", "port": 5432}],
            },
        });
        let object = support::object(set).expect("a ListenerSet");
        let created = object.metadata().creation_timestamp.as_ref().map(|time| time.0);
        planner.apply(object, Age { created, ..Age::default() });
    }
    let statuses = planner.run().statuses;
    let has = |key: &&ObjectKey| {
        let conditions = &statuses.sets[*key].listeners[0].conditions;
        let conflicted = conditions.iter().find(|c| c.kind == ConditionType::Conflicted);
        let conflicted = conflicted.expect("a condition");
        assert!(matches!(conflicted.reason, Reason::NoConflicts | Reason::ProtocolConflict));
        !conflicted.is_true()
    };
    statuses.sets.keys().filter(has).map(ToString::to_string).collect()
}

#[test]
fn the_oldest_has_the_port_then_the_first_by_namespace_and_name() {
    assert_eq!(winners(&[("a", "a", 2), ("z", "z", 1), ("m", "m", 3)]), ["z/z"]);
    assert_eq!(winners(&[("b", "a", 1), ("a", "z", 1), ("a", "b", 1)]), ["a/b"]);
}

#[test]
fn the_order_in_which_they_come_does_not_matter() {
    let sets = [("b", "a", 1), ("a", "z", 2), ("a", "b", 1)];
    let mut reversed = sets;
    reversed.reverse();
    assert_eq!(winners(&sets), winners(&reversed));
}

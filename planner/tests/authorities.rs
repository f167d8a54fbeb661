//! Authorities come and go: which ConfigMaps are asked for, and what their end does to what is served.

#![allow(missing_docs, reason = "a test has no public items")]
#![allow(clippy::unwrap_used, reason = "a test's helpers panic like the test itself")]

mod support;

use std::collections::BTreeSet;

use vipgate_api::{Kind, ObjectKey, ObjectRef};
use vipgate_planner::{Outcome, Planner, Termination};

const CLIENTS: &str = include_str!("golden/client-certificates/in.yaml");
const BACKENDS: &str = include_str!("golden/backend-tls/in.yaml");

fn planner(yaml: &str) -> Planner {
    let mut planner = Planner::new();
    planner.set_release(true);
    planner.set_node(support::node());
    for text in [include_str!("golden/base.yaml"), yaml] {
        for (object, age) in support::objects("in.yaml", text) {
            planner.apply(object, age);
        }
    }
    planner
}

fn keys(keys: &[&str]) -> BTreeSet<ObjectKey> {
    let key = |text: &&str| {
        let (namespace, name) = text.split_once('/').unwrap();
        ObjectKey::new(namespace, name)
    };
    keys.iter().map(key).collect()
}

fn config_map(text: &str) -> ObjectRef {
    ObjectRef::new(Kind::ConfigMap, keys(&[text]).pop_first().unwrap())
}

fn termination<'a>(outcome: &'a Outcome, gateway: &str, listener: &str) -> &'a Termination {
    let mut all = outcome.plan.listeners.iter();
    let found = all.find(|one| one.id.gateway.name == gateway && one.id.name == listener);
    found.and_then(|listener| listener.termination()).unwrap()
}

#[test]
fn only_what_may_be_referred_to_is_asked_for() {
    let mut planner = planner(CLIENTS);
    support::settle(&mut planner);
    let wanted = ["default/ca", "default/empty", "default/missing", "private/shown"];
    assert_eq!(planner.config_maps_wanted(), keys(&wanted));
    assert_eq!(planner.config_maps_in_use(), keys(&["default/ca", "private/shown"]));
}

/// The policy `unused` names `missing` too, but nobody sends to what it is about.
#[test]
fn policies_about_what_nobody_sends_to_ask_for_nothing() {
    let mut planner = planner(BACKENDS);
    support::settle(&mut planner);
    assert_eq!(planner.config_maps_wanted(), keys(&["default/ca", "default/missing"]));
    for route in ["no-ca", "conflict", "partly", "port", "ends", "http"] {
        for kind in [Kind::TcpRoute, Kind::TlsRoute, Kind::HttpRoute] {
            planner.delete(&ObjectRef::new(kind, ObjectKey::new("default", route)));
        }
    }
    planner.delete(&ObjectRef::new(Kind::TlsRoute, ObjectKey::new("default", "passes")));
    planner.run();
    assert_eq!(planner.config_maps_in_use(), keys(&["default/ca"]), "db is still sent to");
    planner.delete(&ObjectRef::new(Kind::TcpRoute, ObjectKey::new("default", "whole")));
    planner.run();
    assert_eq!(planner.config_maps_wanted(), keys(&[]));
}

#[test]
fn a_listener_whose_authorities_go_stays_and_lets_nobody_in() {
    let mut planner = planner(CLIENTS);
    let before = support::settle(&mut planner);
    let count = before.plan.listeners.len();
    assert_eq!(termination(&before, "old", "tls").clients.as_ref().unwrap().roots.len(), 1);
    assert!(!termination(&before, "old", "tls").certificates.is_empty());

    planner.delete(&config_map("default/ca"));
    let after = planner.run();
    assert_eq!(after.plan.listeners.len(), count, "no socket is closed");
    for (gateway, listener) in [("old", "tls"), ("web", "by-default"), ("web", "insecure")] {
        let end = termination(&after, gateway, listener);
        assert!(end.certificates.is_empty() && end.clients.is_none(), "{gateway} {listener}");
    }
    // Nothing was asked of these.
    assert!(!termination(&after, "web", "exempt").certificates.is_empty());
    // And this one has another authority.
    assert!(termination(&after, "web", "granted").clients.is_some());
    assert!(after.claims.is_none(), "addresses stay");
}

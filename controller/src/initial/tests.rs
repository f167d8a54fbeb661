//! What is made, corrected and taken away, of a class and pools that there are.

use vipgate_api::{Age, Object};
use vipgate_planner::{Planner, Role};

use super::*;

const INSTALL: &str = "vipgate-system";

fn spec(spec: Value) -> IpAddressPoolSpec {
    serde_json::from_value(spec).unwrap()
}

fn asked(pools: &[(&str, Value)]) -> Initial {
    let pools = pools.iter().map(|(name, all)| ((*name).to_owned(), spec(all.clone()))).collect();
    Initial { class: Some("vipgate".to_owned()), pools }
}

/// A world with these pools: namespace, name, whether it bears the label, spec.
fn world(pools: &[(&str, &str, bool, Value)]) -> Planner {
    let mut planner = Planner::in_role(Role::Controller);
    for (namespace, name, kept, spec) in pools {
        let labels = if *kept { json!({LABEL: KEEPER}) } else { json!({}) };
        let metadata = json!({"namespace": namespace, "name": name, "labels": labels});
        let pool = json!({"metadata": metadata, "spec": spec});
        planner.apply(Object::from_json(Kind::IpAddressPool, pool).unwrap(), Age::default());
    }
    planner
}

fn changes(asked: &Initial, there: &[(&str, &str, bool, Value)]) -> Vec<Change> {
    asked.of_pools(world(there).world(), INSTALL)
}

#[test]
fn a_pool_that_is_missing_is_made_with_our_label() {
    let asked = asked(&[("default", json!({"addresses": ["192.0.2.1-192.0.2.9"]}))]);
    // One of that name elsewhere is another one.
    let elsewhere = [("default", "default", false, json!({"addresses": ["192.0.2.99"]}))];
    let made = changes(&asked, &elsewhere);
    let [Change::Create(object, body)] = made.as_slice() else { panic!("{made:?}") };
    assert_eq!(object.to_string(), "IPAddressPool vipgate-system/default");
    assert_eq!(body["metadata"]["labels"], json!({LABEL: KEEPER}));
    assert_eq!(body["spec"]["addresses"], json!(["192.0.2.1-192.0.2.9"]));
    assert_eq!(body["apiVersion"], "vipgate.dev/v1alpha1");
}

#[test]
fn what_we_made_is_kept_as_it_is_asked_for_and_goes_when_it_is_not() {
    let limited = json!({"addresses": ["192.0.2.1"], "serviceAllocation":
        {"priority": 3, "namespaces": ["a"]}});
    let there = |kept| [(INSTALL, "a", kept, limited.clone())];
    assert_eq!(changes(&asked(&[("a", limited.clone())]), &there(true)), []);

    // Also what is to be absent.
    let other = json!({"addresses": ["192.0.2.2"], "serviceAllocation": {"priority": 3}});
    let changed = changes(&asked(&[("a", other)]), &there(true));
    let [Change::Merge(_, patch)] = changed.as_slice() else { panic!("{changed:?}") };
    let wanted = json!({"spec": {"addresses": ["192.0.2.2"],
        "serviceAllocation": {"namespaces": null}}});
    assert_eq!(*patch, wanted);
    let free = asked(&[("a", json!({"addresses": ["192.0.2.1"]}))]);
    let changed = changes(&free, &there(true));
    assert_eq!(*changed[0].content(), json!({"spec": {"serviceAllocation": null}}));

    let gone = changes(&asked(&[]), &there(true));
    assert_eq!(gone, [Change::Delete(reference(ObjectKey::new(INSTALL, "a")))]);
}

#[test]
fn what_people_made_stays_as_it_is_and_is_told() {
    let theirs = [(INSTALL, "a", false, json!({"addresses": ["192.0.2.1"]}))];
    assert_eq!(changes(&asked(&[]), &theirs), []);
    let other = asked(&[("a", json!({"addresses": ["192.0.2.2"]}))]);
    assert_eq!(changes(&other, &theirs), []);
    let planner = world(&theirs);
    let taken: Vec<_> = other.taken(planner.world(), INSTALL).collect();
    assert_eq!(taken, [reference(ObjectKey::new(INSTALL, "a"))]);
    // The same is nothing to tell.
    let same = asked(&[("a", json!({"addresses": ["192.0.2.1"]}))]);
    assert_eq!(same.taken(planner.world(), INSTALL).count(), 0);
}

#[test]
fn a_class_is_made_once_and_never_touched() {
    let mut planner = Planner::in_role(Role::Controller);
    let change = asked(&[]).of_class(planner.world()).unwrap();
    assert_eq!(change.content()["spec"], json!({"controllerName": CONTROLLER_NAME}));
    let class =
        json!({"metadata": {"name": "vipgate"}, "spec": {"controllerName": "example.com/x"}});
    planner.apply(Object::from_json(Kind::GatewayClass, class).unwrap(), Age::default());
    assert_eq!(asked(&[]).of_class(planner.world()), None);
    assert_eq!(Initial::default().of_class(planner.world()), None);
}

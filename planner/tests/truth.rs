//! What is said stays true when what it stands on is lost: nodes, classes, parents, pools, objects.

#![allow(missing_docs, reason = "a test has no public items")]

mod support;

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde_json::{Value, json};
use vipgate_api::vipgate::{PortUse, Transport};
use vipgate_api::vipgate::{SpeakerStatus, SpeakerVip, SpeakerVipState};
use vipgate_api::{Age, Condition, ConditionType, Kind, ObjectKey, ObjectRef, Reason};
use vipgate_planner::{
    Claim, Claims, Environment, ListenerState, LostNode, NodeReport, Origin, Outcome, Planner,
    Reports, Role, VipState, VipUser,
};

const CLASS: &str = "
kind: GatewayClass
metadata: {name: vipgate}
spec: {controllerName: vipgate.dev/gateway-controller}
";
const POOL: &str = "
kind: IPAddressPool
metadata: {name: lan, namespace: vipgate-system}
spec: {addresses: [10.0.0.100-10.0.0.109]}
";
const GATEWAY: &str = "
kind: Gateway
metadata: {name: web, namespace: default, generation: 1, uid: gateway-1}
spec:
  gatewayClassName: vipgate
  allowedListeners: {namespaces: {from: All}}
  listeners: [{name: tcp, protocol: TCP, port: 80}]
";
const SET: &str = "
kind: ListenerSet
metadata: {name: more, namespace: default, generation: 1, uid: set-1}
spec:
  parentRef: {name: web}
  listeners: [{name: tcp, protocol: TCP, port: 81}]
";

fn controller(objects: &[&str]) -> Planner {
    let mut planner = Planner::in_role(Role::Controller);
    planner.set_release(true);
    objects.iter().for_each(|yaml| apply(&mut planner, yaml));
    planner
}

fn apply(planner: &mut Planner, yaml: &str) {
    for (object, age) in support::objects("world.yaml", yaml) {
        planner.apply(object, age);
    }
}

fn gateway() -> ObjectRef {
    ObjectRef::new(Kind::Gateway, ObjectKey::new("default", "web"))
}

fn gateway_key() -> ObjectKey {
    gateway().key
}

fn set() -> ObjectRef {
    ObjectRef::new(Kind::ListenerSet, ObjectKey::new("default", "more"))
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// What the node `n1` says that serves the whole plan.
fn all_served(planner: &mut Planner) -> Reports {
    let plan = planner.run().plan;
    let serving = VipState::Serving(vec!["eth0".to_owned()]);
    let report = NodeReport {
        vips: plan.vips.keys().map(|address| (*address, serving.clone())).collect(),
        listeners: plan.listeners.iter().map(|l| (l.id.clone(), ListenerState::Bound)).collect(),
        ..NodeReport::default()
    };
    [("n1".to_owned(), report)].into()
}

fn serve(planner: &mut Planner) -> Outcome {
    let reports = all_served(planner);
    for address in reports["n1"].vips.keys() {
        planner.publish(*address);
    }
    planner.set_reports(reports);
    planner.run()
}

fn programmed(outcome: &Outcome) -> Condition {
    let conditions = &outcome.statuses.gateways[&gateway_key()].conditions;
    let found = conditions.iter().find(|condition| condition.kind == ConditionType::Programmed);
    found.expect("a condition").clone()
}

#[test]
fn a_node_that_is_lost_serves_nothing_and_is_named_with_the_reason() {
    let mut planner = controller(&[CLASS, POOL, GATEWAY]);
    assert!(programmed(&serve(&mut planner)).is_true());
    let vip = SpeakerVip::new;
    let status = SpeakerStatus {
        vips: vec![vip(address("10.0.0.100"), SpeakerVipState::Serving)],
        ..SpeakerStatus::default()
    };
    planner.set_reports(Reports::new());
    let lost = LostNode::new("there is no Node of that name".to_owned(), &status);
    planner.set_lost([("n1".to_owned(), lost)].into());
    let condition = programmed(&planner.run());
    assert_eq!((condition.is_true(), condition.reason), (false, Reason::Pending));
    let expected = "node n1 served it and is lost: there is no Node of that name";
    assert!(condition.message.contains(expected), "{}", condition.message);
}

/// `type=status/reason` of the conditions that are there for whoever wrote before.
fn former(outcome: &Outcome, object: &ObjectRef) -> (Value, Vec<String>) {
    let status = outcome.statuses.former_json(object, Some(1)).expect("a last status");
    let said = |condition: &Value| {
        let text = |field: &str| condition[field].as_str().expect("text").to_owned();
        assert_eq!(condition["observedGeneration"], 1);
        format!("{}={}/{}", text("type"), text("status"), text("reason"))
    };
    let conditions = status["conditions"].as_array().expect("conditions").iter().map(said);
    let conditions = conditions.collect();
    (status, conditions)
}

const NO_PARENT: [&str; 2] =
    ["Accepted=False/ParentNotAccepted", "Programmed=False/ParentNotAccepted"];
const GIVEN_BACK: [&str; 2] = ["Accepted=Unknown/Pending", "Programmed=Unknown/Pending"];

#[test]
fn a_gateway_whose_class_is_gone_is_not_programmed_and_keeps_its_address_for_when_it_is_back() {
    let mut planner = controller(&[CLASS, POOL, GATEWAY, SET]);
    assert!(programmed(&serve(&mut planner)).is_true());
    let claims = planner.claims().clone();
    let class = ObjectRef::new(Kind::GatewayClass, ObjectKey::new("", "vipgate"));
    planner.delete(&class);
    let outcome = planner.run();
    assert!(!outcome.statuses.gateways.contains_key(&gateway().key));
    let (status, conditions) = former(&outcome, &gateway());
    assert_eq!(conditions, ["Accepted=Unknown/Pending", "Programmed=False/Pending"]);
    let message = status["conditions"][1]["message"].as_str().expect("text");
    assert!(message.contains("there is no GatewayClass \"vipgate\""), "{message}");
    assert_eq!(status["listeners"], json!([]));
    assert_eq!(status.get("addresses"), None, "what is there is its own still");
    assert_eq!(former(&outcome, &set()).1, NO_PARENT);
    assert_eq!(*planner.claims(), claims);

    apply(&mut planner, CLASS);
    let outcome = planner.run();
    assert!(programmed(&outcome).is_true(), "nothing was lost");
    assert!(outcome.statuses.former.is_empty());
}

#[test]
fn a_gateway_that_is_somebody_elses_now_is_given_back_without_addresses() {
    const THEIRS: &str = "
kind: GatewayClass
metadata: {name: theirs}
spec: {controllerName: example.com/gateways}
";
    let mut planner = controller(&[CLASS, THEIRS, POOL, GATEWAY, SET]);
    assert!(programmed(&serve(&mut planner)).is_true());
    let changed = GATEWAY.replace("gatewayClassName: vipgate", "gatewayClassName: theirs");
    apply(&mut planner, &changed);
    let outcome = planner.run();
    let (status, conditions) = former(&outcome, &gateway());
    assert_eq!(conditions, GIVEN_BACK);
    assert_eq!(status["addresses"], json!([]));
    assert_eq!(former(&outcome, &set()).1, GIVEN_BACK);
    assert!(planner.claims().0.is_empty());
}

#[test]
fn a_listener_set_without_its_gateway_is_not_accepted() {
    let mut planner = controller(&[CLASS, POOL, GATEWAY, SET]);
    let outcome = serve(&mut planner);
    assert!(outcome.statuses.sets[&set().key].conditions.iter().all(Condition::is_true));
    planner.delete(&gateway());
    let (status, conditions) = former(&planner.run(), &set());
    assert_eq!(conditions, NO_PARENT);
    let message = status["conditions"][0]["message"].as_str().expect("text");
    assert!(message.contains("Gateway default/web does not exist"), "{message}");
}

fn claim(port: u16) -> Claims {
    let ports = vec![PortUse { protocol: Transport::Tcp, port }];
    let claim = Claim {
        pool: "lan".to_owned(),
        users: vec![VipUser { object: gateway(), ports, terms: None }],
        origin: Origin::Chosen,
        published: true,
    };
    Claims([(address("10.0.0.42"), claim)].into())
}

#[test]
fn an_object_that_cannot_be_read_keeps_its_claim_until_it_is_gone() {
    let mut planner = controller(&[CLASS, POOL]);
    planner.set_unreadable([gateway()].into());
    planner.set_claims(claim(80));
    planner.run();
    assert_eq!(*planner.claims(), claim(80));
    // Read at last.
    apply(&mut planner, GATEWAY);
    planner.set_unreadable(BTreeSet::new());
    planner.run();
    assert_eq!(planner.claims().0.keys().collect::<Vec<_>>(), [&address("10.0.0.42")]);
    planner.delete(&gateway());
    planner.run();
    assert!(planner.claims().0.is_empty());
}

#[test]
fn an_address_that_no_pool_has_any_more_is_told_of_where_it_is_used() {
    let mut planner = controller(&[CLASS, POOL, GATEWAY]);
    planner.set_claims(claim(80));
    let condition = programmed(&serve(&mut planner));
    assert!(condition.is_true());
    let expected = "10.0.0.42 is kept because it is in use, although no pool has it any more";
    assert!(condition.message.contains(expected), "{}", condition.message);
}

#[test]
fn features_are_not_written_to_crds_that_know_them_as_strings() {
    let mut planner = controller(&[CLASS]);
    let class = ObjectRef::new(Kind::GatewayClass, ObjectKey::new("", "vipgate"));
    let mut status = |bundle: &str| {
        let bundle = Some(bundle.to_owned());
        planner.set_environment(Environment { bundle, ..Environment::default() });
        planner.run().statuses.json(&class, None).expect("a status")
    };
    let old = status("v1.1.0");
    assert_eq!(old.get("supportedFeatures"), None, "{old}");
    assert_eq!(old["conditions"][1]["reason"], "UnsupportedVersion");
    assert!(status("v1.2.0")["supportedFeatures"][0]["name"].is_string());
}

/// A controller asks for no Secrets of another type, so it cannot tell one from none.
#[test]
fn a_certificate_that_is_not_there_in_a_cluster_is_one_of_another_type_perhaps() {
    let listener = "{name: tls, protocol: HTTPS, port: 443, tls: {certificateRefs: [{name: a}]}}";
    let gateway = GATEWAY.replace("{name: tcp, protocol: TCP, port: 80}", listener);
    let message = |role| {
        let mut planner = Planner::in_role(role);
        [CLASS, POOL, &gateway].iter().for_each(|yaml| apply(&mut planner, yaml));
        let statuses = planner.run().statuses;
        statuses.gateways[&gateway_key()].listeners[0].conditions[2].message.clone()
    };
    assert!(message(Role::Controller).contains("no Secret default/a of type kubernetes.io/tls"));
    assert!(message(Role::Standalone).contains("Secret default/a does not exist"));
}

/// A set of 64 listeners, on ports from `first` on.
fn big_set(number: u16) -> (vipgate_api::Object, Age) {
    let first = 1000 + 64 * number;
    let listeners: Vec<Value> = (first..first + 64)
        .map(|port| json!({"name": format!("p{port}"), "protocol": "TCP", "port": port}))
        .collect();
    let set = json!({
        "kind": "ListenerSet",
        "metadata": {"name": format!("set-{number}"), "namespace": "default"},
        "spec": {"parentRef": {"name": "web"}, "listeners": listeners},
    });
    let age = Age { created: None, place: ("sets".to_owned(), number.into()) };
    (support::object(set).expect("a ListenerSet"), age)
}

/// An address has room for 256 ports: one of the Gateway's own, and 255 of the sets.
#[test]
fn listeners_without_room_are_named_and_the_others_are_served() {
    let mut planner = controller(&[CLASS, POOL, GATEWAY]);
    for number in 0..5 {
        let (object, age) = big_set(number);
        planner.apply(object, age);
    }
    let outcome = serve(&mut planner);
    assert_eq!(outcome.plan.listeners.len(), 256);
    assert_eq!(
        planner.claims().0.values().next().map(|claim| claim.users[0].ports.len()),
        Some(256)
    );
    assert!(programmed(&outcome).is_true());
    let statuses = outcome.statuses;
    for number in 0..5_u16 {
        let set = &statuses.sets[&ObjectKey::new("default", &*format!("set-{number}"))];
        for (index, listener) in set.listeners.iter().enumerate() {
            let has_room = usize::from(64 * number) + index < 255;
            let [accepted, programmed] = [&listener.conditions[0], &listener.conditions[1]];
            assert_eq!(accepted.is_true(), has_room, "{}: {accepted:?}", listener.name);
            assert_eq!(programmed.is_true(), has_room, "{}: {programmed:?}", listener.name);
            if !has_room {
                assert_eq!(accepted.reason, Reason::TooManyListeners);
            }
        }
        let accepted = &set.conditions[0];
        assert_eq!(accepted.is_true(), number < 4, "{accepted:?}");
    }
}

//! Services of type LoadBalancer through the planner of a controller and of a speaker.

#![allow(missing_docs, reason = "a test has no public items")]

mod support;

use std::net::IpAddr;

use serde_json::{Value, json};
use vipgate_api::{Age, Kind, ObjectKey, ObjectRef};
use vipgate_planner::planner::Role;
use vipgate_planner::{Announce, Classless, Outcome, Planner};

const WORLD: &str = "
kind: IPAddressPool
metadata: {name: lan, namespace: vipgate-system}
spec: {addresses: [10.0.0.100-10.0.0.103, 'fd00::/126']}
---
kind: GatewayClass
metadata: {name: vipgate}
spec: {controllerName: vipgate.dev/gateway-controller}
---
kind: Gateway
metadata: {name: shared, namespace: default, annotations: {vipgate.dev/allow-shared-ip: k}}
spec:
  gatewayClassName: vipgate
  listeners: [{name: tcp, port: 8080, protocol: TCP}]
";

/// Like a Service from an API server; `more` is merged into it.
fn service(name: &str, more: &Value) -> Value {
    let mut service = json!({
        "kind": "Service",
        "metadata": {"name": name, "namespace": "default", "annotations": {}},
        "spec": {"type": "LoadBalancer", "ports": [{"port": 80, "protocol": "TCP"}],
            "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack"},
        "status": {"loadBalancer": {}},
    });
    for part in ["metadata", "spec", "status"] {
        for (field, value) in more[part].as_object().into_iter().flatten() {
            service[part][field] = value.clone();
        }
    }
    service
}

fn apply(planner: &mut Planner, service: Value) {
    let object = support::object(service).expect("a Service");
    // Younger than what WORLD holds.
    planner.apply(object, Age { created: None, place: ("younger".to_owned(), 0) });
}

fn controller() -> Planner {
    let mut planner = Planner::in_role(Role::Controller);
    for (object, age) in support::objects("older", WORLD) {
        planner.apply(object, age);
    }
    planner.set_release(true);
    planner
}

fn reference(name: &str) -> ObjectRef {
    ObjectRef::new(Kind::Service, ObjectKey::new("default", name))
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// `status` of a Service, and its condition as `True/AddressAssigned`.
fn status(outcome: &Outcome, name: &str) -> (Value, String) {
    let status = outcome.statuses.json(&reference(name), None).expect("a status");
    let condition = &status["conditions"][0];
    let of = |field: &str| condition[field].as_str().unwrap_or_default().to_owned();
    (status["loadBalancer"].clone(), format!("{}/{}", of("status"), of("reason")))
}

#[test]
fn an_address_is_shown_when_it_is_published_and_not_before() {
    let mut planner = controller();
    let dual = json!({"spec":
        {"ipFamilies": ["IPv6", "IPv4"], "ipFamilyPolicy": "RequireDualStack"}});
    apply(&mut planner, service("x", &dual));
    let outcome = planner.run();
    // The Gateway has the first of each family.
    let v6 = json!({"ip": "fd00::1", "ipMode": "VIP"});
    let v4 = json!({"ip": "10.0.0.101", "ipMode": "VIP"});
    assert_eq!(status(&outcome, "x"), (json!({"ingress": []}), "False/Pending".to_owned()));
    let vip = &outcome.plan.vips[&ip("10.0.0.101")];
    assert_eq!((vip.kernel, vip.probe, &vip.announce), (true, true, &Announce::ByNodes));
    assert!(!outcome.plan.vips[&ip("10.0.0.100")].kernel, "the Gateway has it");

    planner.publish(ip("fd00::1"));
    let pending = (json!({"ingress": [v6]}), "False/Pending".to_owned());
    assert_eq!(status(&planner.run(), "x"), pending);
    planner.publish(ip("10.0.0.101"));
    let outcome = planner.run();
    let done = (json!({"ingress": [v6, v4]}), "True/AddressAssigned".to_owned());
    assert_eq!(status(&outcome, "x"), done);
    let text =
        outcome.statuses.services[&ObjectKey::new("default", "x")].conditions[0].message.clone();
    assert_eq!(text, "fd00::1 of pool lan; 10.0.0.101 of pool lan");
}

/// MetalLB: "removes the ip from a service and assigns it to a free one when: changing type to
/// ClusterIP / deleting the service".
#[test]
fn an_address_is_free_again_after_a_change_of_type_and_after_a_deletion() {
    let named = json!({"spec": {"loadBalancerIP": "10.0.0.103"}});
    let mut planner = controller();
    apply(&mut planner, service("x", &named));
    planner.run();
    planner.publish(ip("10.0.0.103"));
    apply(&mut planner, service("y", &named));
    let outcome = planner.run();
    assert_eq!(status(&outcome, "y"), (json!({"ingress": []}), "False/AddressInUse".to_owned()));

    let (seen, _) = status(&outcome, "x");
    let conditions = json!([{"type": "vipgate.dev/AddressAssigned", "status": "True",
        "reason": "AddressAssigned", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}]);
    let changed = json!({"spec": {"type": "ClusterIP"},
        "status": {"loadBalancer": seen, "conditions": conditions}});
    apply(&mut planner, service("x", &changed));
    let outcome = planner.run();
    let gone = outcome.statuses.json(&reference("x"), None).unwrap();
    assert_eq!(gone, json!({"loadBalancer": {"ingress": []}, "conditions": []}));
    assert!(planner.claims().0[&ip("10.0.0.103")].names(&reference("y")));

    planner.delete(&reference("y"));
    planner.run();
    assert!(!planner.claims().0.contains_key(&ip("10.0.0.103")));
}

#[test]
fn a_claim_stays_while_the_objects_may_be_incomplete() {
    let mut planner = controller();
    apply(&mut planner, service("x", &json!({})));
    planner.run();
    planner.set_release(false);
    planner.delete(&reference("x"));
    planner.run();
    assert!(planner.claims().0[&ip("10.0.0.101")].names(&reference("x")));
}

#[test]
fn an_address_of_another_program_is_taken_over() {
    let mut planner = controller();
    let had = json!({"status": {"loadBalancer": {"ingress": [{"ip": "10.0.0.102"}]}}});
    apply(&mut planner, service("x", &had));
    let outcome = planner.run();
    let expected = json!({"ingress": [{"ip": "10.0.0.102", "ipMode": "VIP"}]});
    assert_eq!(status(&outcome, "x"), (expected, "True/AddressAssigned".to_owned()));
    assert!(!outcome.plan.vips[&ip("10.0.0.102")].probe, "clients know it");
}

#[test]
fn a_gateway_and_a_service_share_with_listeners_of_the_gateway_alone() {
    let mut planner = controller();
    let shared = json!({"metadata": {"annotations": {"metallb.io/allow-shared-ip": "k"}}});
    apply(&mut planner, service("x", &shared));
    let outcome = planner.run();
    let claim = &planner.claims().0[&ip("10.0.0.100")];
    assert_eq!(claim.users.len(), 2);
    assert!(!outcome.plan.vips[&ip("10.0.0.100")].kernel);
    let listeners: Vec<IpAddr> =
        outcome.plan.listeners.iter().map(|listener| listener.bind.ip()).collect();
    assert_eq!(listeners, [ip("10.0.0.100"), ip("fd00::")], "one of each family, of the Gateway");
    let key = ObjectKey::new("default", "x");
    planner.publish(ip("10.0.0.100"));
    let text = planner.run().statuses.services[&key].conditions[0].message.clone();
    assert_eq!(text, "10.0.0.100 of pool lan, shared with Gateway default/shared");

    // A port in common: the Gateway, which came first, keeps the address.
    let clash = json!({"metadata": {"annotations": {"metallb.io/allow-shared-ip": "k"}},
        "spec": {"ports": [{"port": 8080, "protocol": "TCP"}]}});
    apply(&mut planner, service("x", &clash));
    planner.run();
    assert_eq!(planner.claims().0[&ip("10.0.0.100")].users[0].object.kind, Kind::Gateway);
    assert!(planner.claims().0[&ip("10.0.0.101")].names(&reference("x")));
}

#[test]
fn services_without_a_class_are_left_to_another_program_but_not_taken_from_us() {
    let mut planner = controller();
    apply(&mut planner, service("old", &json!({})));
    planner.run();
    planner.set_classless(Classless::Leave("metallb-controller serves them: ...".to_owned()));
    let theirs = json!({"status": {"loadBalancer": {"ingress": [{"ip": "10.0.0.103"}]}}});
    apply(&mut planner, service("new", &theirs));
    apply(
        &mut planner,
        service("ours", &json!({"spec": {"loadBalancerClass": "vipgate.dev/service"}})),
    );
    let outcome = planner.run();
    assert!(planner.claims().0[&ip("10.0.0.101")].names(&reference("old")));
    assert!(planner.claims().0[&ip("10.0.0.102")].names(&reference("ours")));
    assert!(!planner.claims().0.contains_key(&ip("10.0.0.103")));
    // Nothing is said about the address, which is not ours.
    assert_eq!(status(&outcome, "new"), (Value::Null, "False/OtherController".to_owned()));
}

#[test]
fn pools_say_how_much_is_left_and_what_they_lost() {
    let mut planner = controller();
    apply(
        &mut planner,
        service(
            "x",
            &json!({"spec":
        {"ipFamilies": ["IPv4", "IPv6"], "ipFamilyPolicy": "PreferDualStack"}}),
        ),
    );
    let outcome = planner.run();
    let key = ObjectKey::new("vipgate-system", "lan");
    let counts = |outcome: &Outcome| {
        let pool = &outcome.statuses.pools[&key];
        [pool.assigned_ipv4, pool.assigned_ipv6, pool.available_ipv4, pool.available_ipv6]
    };
    assert_eq!(counts(&outcome), [2, 2, 2, 2]);

    planner.publish(ip("10.0.0.101"));
    planner.run();
    let smaller = "
kind: IPAddressPool
metadata: {name: lan, namespace: vipgate-system}
spec: {addresses: [10.0.0.100, 'fd00::/64'], avoidBuggyIPs: true}
";
    for (object, age) in support::objects("smaller", smaller) {
        planner.apply(object, age);
    }
    let outcome = planner.run();
    assert_eq!(counts(&outcome), [2, 2, 0, i64::MAX]);
    let condition = &outcome.statuses.pools[&key].conditions[0];
    assert!(condition.is_true());
    assert_eq!(
        condition.message,
        "in use, and kept, although the pool has it no more: 10.0.0.101 (spec.reclaim: true takes \
         such addresses back)"
    );
}

/// A speaker takes the claims as they are: it chooses nothing and releases nothing.
#[test]
fn a_speaker_serves_what_the_claims_say() {
    let mut controller = controller();
    apply(&mut controller, service("x", &json!({})));
    controller.run();
    let claims = controller.claims().clone();

    let mut speaker = Planner::in_role(Role::Speaker);
    speaker.set_node(support::node());
    speaker.set_release(true);
    for (object, age) in support::objects("older", WORLD) {
        speaker.apply(object, age);
    }
    apply(&mut speaker, service("other", &json!({})));
    assert!(speaker.run().plan.vips.is_empty());
    speaker.set_claims(claims.clone());
    let outcome = speaker.run();
    assert!(outcome.claims.is_none());
    assert_eq!(speaker.claims(), &claims);
    let vips: Vec<_> = outcome.plan.vips.values().map(|vip| (vip.address, vip.kernel)).collect();
    let gateway = [(ip("10.0.0.100"), false), (ip("fd00::"), false)];
    assert_eq!(vips, [gateway[0], (ip("10.0.0.101"), true), gateway[1]]);
    let layer2 = Announce::Layer2(vec!["eth0".to_owned()]);
    assert_eq!(outcome.plan.vips[&ip("10.0.0.101")].announce, layer2);
}

/// Without a cluster nothing forwards for a Service.
#[test]
fn a_host_without_a_cluster_serves_no_services() {
    let mut planner = Planner::new();
    planner.set_node(support::node());
    for (object, age) in support::objects("older", WORLD) {
        planner.apply(object, age);
    }
    apply(&mut planner, service("x", &json!({})));
    planner.run();
    assert_eq!(planner.claims().0.len(), 2, "those of the Gateway");
}

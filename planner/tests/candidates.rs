//! Which nodes may have a VIP: L2Advertisements by Service and by node, preferences, endpoints, and what
//! several that share a VIP have in common.

#![allow(missing_docs, reason = "a test has no public items")]

mod support;

use serde_json::{Value, json};
use support::site::{Site, WORLD, labelled, local, rack};
use vipgate_api::ObjectKey;
use vipgate_api::selector::Labels;
use vipgate_planner::{ExclusionReason, Planner, Role};

/// MetalLB: "should announce only services matching both pool and service selectors", "should not announce
/// a service when no advertisement matches both".
#[test]
fn an_advertisement_is_for_the_services_that_it_selects() {
    let mut site = Site::new();
    site.service("web", &labelled("web"));
    assert_eq!(site.says(), "n1:0 n2:0 n3:0");
    let selectors = json!([{"matchLabels": {"app": "web"}}]);
    site.advertisement("one", &json!({"ipAddressPools": ["lan"], "serviceSelectors": selectors}));
    assert_eq!(site.says(), "n1:0 n2:0 n3:0");
    site.service("web", &labelled("dns"));
    assert_eq!(site.says(), "n1:NoAdvertisement n2:NoAdvertisement n3:NoAdvertisement");
    // One of another pool changes nothing.
    site.advertisement("one", &json!({"ipAddressPools": ["dmz"], "serviceSelectors": selectors}));
    assert_eq!(site.says(), "n1:0 n2:0 n3:0");
}

/// MetalLB: "should use OR logic for multiple service selectors", "should announce from exactly one node when
/// both advertisements match": here all nodes of both are candidates, and the group has one owner.
#[test]
fn one_of_several_selectors_and_one_of_several_advertisements_is_enough() {
    let mut site = Site::new();
    let app = |app: &str| json!({"matchLabels": {"app": app}});
    site.advertisement(
        "a",
        &json!({"serviceSelectors": [app("dns"), app("web")], "nodeSelectors": [rack("a")]}),
    );
    site.service("web", &labelled("web"));
    assert_eq!(site.says(), "n1:0 n2:0 n3:NodeNotSelected");
    site.advertisement(
        "b",
        &json!({"serviceSelectors": [app("web")], "nodeSelectors": [rack("b")]}),
    );
    assert_eq!(site.says(), "n1:0 n2:0 n3:0");
    site.service("web", &labelled("dns"));
    assert_eq!(site.says(), "n1:0 n2:0 n3:NodeNotSelected");
}

#[test]
fn a_gateway_is_selected_by_its_own_labels_and_before_them_by_those_of_its_infrastructure() {
    let mut site = Site::new();
    let selectors = json!([{"matchLabels": {"app": "web"}}]);
    site.advertisement("one", &json!({ "serviceSelectors": selectors }));
    site.gateway("web", &labelled("web"));
    assert_eq!(site.says(), "n1:0 n2:0 n3:0");
    let infrastructure = |app: &str| json!({"infrastructure": {"labels": {"app": app}}});
    let mut other = labelled("web");
    other["spec"] = infrastructure("dns");
    site.gateway("web", &other);
    assert_eq!(site.says(), "n1:NoAdvertisement n2:NoAdvertisement n3:NoAdvertisement");
    site.gateway("web", &json!({"spec": infrastructure("web")}));
    assert_eq!(site.says(), "n1:0 n2:0 n3:0");
}

/// MetalLB: "work selecting one node", "work with multiple node selectors", "work when adding nodes" (node
/// selector of L2).
#[test]
fn node_selectors_are_a_hard_limit_and_follow_the_labels_of_nodes() {
    let mut site = Site::new();
    site.service("web", &json!({}));
    site.advertisement("one", &json!({"nodeSelectors": [rack("b")]}));
    assert_eq!(site.says(), "n1:NodeNotSelected n2:NodeNotSelected n3:0");
    site.advertisement("one", &json!({"nodeSelectors": [rack("b"), rack("a")]}));
    assert_eq!(site.says(), "n1:0 n2:0 n3:0");
    site.advertisement("one", &json!({"nodeSelectors": [rack("b")]}));
    site.nodes[0].1 = Labels::from([("rack".to_owned(), "b".to_owned())]);
    assert_eq!(site.says(), "n1:0 n2:NodeNotSelected n3:0");
}

fn preferring(weight: u32, label: &str) -> Value {
    json!({"weight": weight, "preference": rack(label)})
}

/// MetalLB: "should prefer the labeled node and fall back when the label is removed", "should use baseline
/// election when no node matches", "should respect nodeSelectors as hard filter with preferred ordering",
/// "should sum weights across several L2Advertisements", "should re-elect when the L2Advertisement changes".
#[test]
fn weights_of_preferences_add_up_and_do_not_go_beyond_node_selectors() {
    let mut site = Site::new();
    site.service("web", &json!({}));
    let two = json!([preferring(10, "b"), preferring(5, "b"), preferring(1, "a")]);
    site.advertisement("one", &json!({ "preferredNodeSelectors": two }));
    assert_eq!(site.says(), "n1:1 n2:1 n3:15");
    site.advertisement("two", &json!({"preferredNodeSelectors": [preferring(20, "a")]}));
    assert_eq!(site.says(), "n1:21 n2:21 n3:15");
    // One that does not take a node gives it nothing.
    let only =
        json!({"preferredNodeSelectors": [preferring(20, "a")], "nodeSelectors": [rack("b")]});
    site.advertisement("two", &only);
    assert_eq!(site.says(), "n1:1 n2:1 n3:15");
    // Disjoint: preferred are nodes that may not.
    site.advertisement("one", &only);
    assert_eq!(site.says(), "n1:NodeNotSelected n2:NodeNotSelected n3:0");
    site.advertisement("one", &json!({"preferredNodeSelectors": [preferring(20, "c")]}));
    assert_eq!(site.says(), "n1:0 n2:0 n3:0");
    site.nodes[1].1 = Labels::from([("rack".to_owned(), "c".to_owned())]);
    assert_eq!(site.says(), "n1:0 n2:20 n3:0");
}

/// MetalLB: "should scope the preference to the serviceSelectors".
#[test]
fn a_preference_is_for_the_services_of_its_advertisement() {
    let mut site = Site::new();
    site.advertisement("all", &json!({}));
    site.advertisement(
        "some",
        &json!({"serviceSelectors": [{"matchLabels": {"app": "web"}}],
            "preferredNodeSelectors": [preferring(9, "b")]}),
    );
    site.service("web", &labelled("dns"));
    assert_eq!(site.says(), "n1:0 n2:0 n3:0");
    site.service("web", &labelled("web"));
    assert_eq!(site.says(), "n1:0 n2:0 n3:9");
}

#[test]
fn a_vip_moves_back_where_nodes_are_preferred_unless_an_advertisement_says_no() {
    let mut site = Site::new();
    site.service("web", &json!({}));
    let preferred = json!([preferring(9, "b")]);
    for (one, two, expected) in [
        (json!({}), json!({}), false),
        (json!({ "preferredNodeSelectors": preferred }), json!({}), true),
        (json!({"preferredNodeSelectors": preferred, "preempt": false}), json!({}), false),
        (json!({ "preferredNodeSelectors": preferred }), json!({"preempt": false}), false),
        (json!({"preempt": true}), json!({}), true),
    ] {
        site.advertisement("one", &one).advertisement("two", &two);
        for node in ["n1", "n3"] {
            assert_eq!(site.vip(node).preempt, expected, "{one} {two} on {node}");
        }
    }
}

#[test]
fn a_gateway_without_backends_is_withdrawn_only_when_it_says_so() {
    let mut site = Site::new();
    let annotated =
        |value: &str| json!({"metadata": {"annotations": {"vipgate.dev/no-backends": value}}});
    let everywhere = "n1:0 n2:0 n3:0";
    let nowhere = "n1:NoBackend n2:NoBackend n3:NoBackend";
    site.gateway("web", &annotated("Withdraw"));
    assert_eq!(site.says(), nowhere, "no route");
    site.add(json!({
        "kind": "TCPRoute", "metadata": {"name": "web", "namespace": "default"},
        "spec": {"parentRefs": [{"name": "web"}],
            "rules": [{"backendRefs": [{"name": "web", "port": 80}, {"name": "web", "port": 80, "weight": 0}]}]},
    }));
    site.add(json!({"kind": "Service", "metadata": {"name": "web", "namespace": "default"},
        "spec": {"ports": [{"port": 80}]}}));
    assert_eq!(site.says(), nowhere, "no endpoint");
    site.endpoints("web", &[("n1", true)]);
    assert_eq!(site.says(), everywhere);
    site.endpoints("web", &[("n1", false)]);
    assert_eq!(site.says(), nowhere, "none is ready");
    for value in ["Reject", "", " Withdraw-not"] {
        site.gateway("web", &annotated(value));
        assert_eq!(site.says(), everywhere, "{value}");
    }
}

#[test]
fn a_service_without_endpoints_is_withdrawn_only_when_it_says_so() {
    let mut site = Site::new();
    let withdraw = json!({"metadata": {"annotations": {"vipgate.dev/no-backends": "Withdraw"}}});
    site.service("web", &json!({}));
    assert_eq!(site.says(), "n1:0 n2:0 n3:0");
    site.service("web", &withdraw);
    assert_eq!(site.says(), "n1:NoBackend n2:NoBackend n3:NoBackend");
    site.endpoints("web", &[("n9", true)]);
    assert_eq!(site.says(), "n1:0 n2:0 n3:0");
    // With one beside it that is not withdrawn the VIP stays, and goes by that.
    site.endpoints("web", &[]).service("dns", &local()).endpoints("dns", &[("n2", true)]);
    assert_eq!(site.says(), "n1:NoLocalEndpoint n2:0 n3:NoLocalEndpoint");
}

/// MetalLB: "different services sharing the same ip should advertise from the same node": there both need the
/// same selector with Local, here it is enough that a node has endpoints of both.
#[test]
fn a_shared_vip_is_for_the_nodes_that_all_who_have_it_have_in_common() {
    let mut site = Site::new();
    site.service("a", &local()).endpoints("a", &[("n1", true), ("n2", true)]);
    site.service("b", &local()).endpoints("b", &[("n2", true), ("n3", true)]);
    assert_eq!(site.says(), "n1:NoLocalEndpoint n2:0 n3:NoLocalEndpoint");
    assert_eq!(site.vip("n2").compromise, None);
    // The node that they have in common is drained: the oldest decides.
    site.nodes[1].2 = true;
    assert_eq!(site.says(), "n1:0 n2:0 n3:NoLocalEndpoint");
    let compromise = site.vip("n1").compromise.expect("a compromise");
    assert_eq!(compromise.reason, ExclusionReason::NoCommonNode);
    assert!(compromise.message.contains("the oldest, Service default/a"), "{compromise}");
    assert!(compromise.message.contains("no ready endpoint of Service default/b is on node n1"));
}

#[test]
fn without_a_common_node_the_oldest_that_has_any_decides() {
    let mut site = Site::new();
    site.service("z", &local()).endpoints("z", &[("n3", true)]);
    site.service("a", &local()).endpoints("a", &[("n1", true)]);
    assert_eq!(site.says(), "n1:NoLocalEndpoint n2:NoLocalEndpoint n3:0");
    // It has none at all: then the other one does.
    site.endpoints("z", &[]);
    assert_eq!(site.says(), "n1:0 n2:NoLocalEndpoint n3:NoLocalEndpoint");
    site.endpoints("a", &[("n9", true)]);
    assert_eq!(site.says(), "n1:NoLocalEndpoint n2:NoLocalEndpoint n3:NoLocalEndpoint");
}

#[test]
fn advertisements_for_different_users_of_a_vip_are_intersected_too() {
    let mut site = Site::new();
    let of = |app: &str, label: &str| json!({"serviceSelectors": [{"matchLabels": {"app": app}}], "nodeSelectors": [rack(label)]});
    site.advertisement("a", &of("a", "a")).advertisement("b", &of("b", "b"));
    site.gateway("a", &labelled("a")).service("b", &labelled("b"));
    assert_eq!(site.says(), "n1:0 n2:0 n3:NodeNotSelected", "the Gateway is the oldest");
    site.nodes[1].1 = Labels::from([("rack".to_owned(), "b".to_owned())]);
    site.advertisement("b", &of("b", "b")).advertisement("a", &json!({}));
    // Now the Service has both advertisements, and the Gateway one.
    assert_eq!(site.says(), "n1:0 n2:0 n3:0");
}

#[test]
fn a_value_that_is_none_is_named_and_counts_as_reject() {
    let mut planner = Planner::new();
    planner.set_release(true);
    planner.set_node(support::node());
    let gateway = "---
kind: Gateway
metadata: {name: web, namespace: default, annotations: {vipgate.dev/no-backends: withdraw}}
spec: {gatewayClassName: vipgate, listeners: [{name: tcp, protocol: TCP, port: 80}]}
";
    for (object, age) in support::objects("world.yaml", &[WORLD, gateway].concat()) {
        planner.apply(object, age);
    }
    let outcome = support::settle(&mut planner);
    let said = "annotation vipgate.dev/no-backends says \"withdraw\", and Reject counts";
    let problem = &outcome.statuses.problems[0];
    assert!(problem.message.contains(said), "{problem:?}");
    let status = &outcome.statuses.gateways[&ObjectKey::new("default", "web")];
    assert!(status.conditions[1].is_true() && status.conditions[1].message.contains(said));

    let mut controller = Planner::in_role(Role::Controller);
    let service = "---
kind: Service
metadata: {name: web, namespace: default, annotations: {vipgate.dev/no-backends: no}}
spec: {type: LoadBalancer, ports: [{port: 80, protocol: TCP}], ipFamilies: [IPv4]}
"
    .replace(": no}", ": 'no'}");
    for (object, age) in support::objects("world.yaml", &[WORLD, &service].concat()) {
        controller.apply(object, age);
    }
    let statuses = controller.run().statuses;
    let condition = &statuses.services[&ObjectKey::new("default", "web")].conditions[0];
    assert!(condition.message.contains("vipgate.dev/no-backends says \"no\""), "{condition:?}");
}

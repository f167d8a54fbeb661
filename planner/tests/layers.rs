//! Which layers run for which change, and that those are enough.

#![allow(missing_docs, reason = "a test has no public items")]

mod support;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use vipgate_api::{Age, Kind, ObjectKey, ObjectRef};
use vipgate_planner::{
    Announce, Claim, Claims, Environment, Foreign, ListenerState, MacAddr, NodeReport, Origin,
    Outcome, Planner, Runs, VipUser,
};

const WORLD: &str = "
kind: GatewayClass
metadata: {name: vipgate}
spec: {controllerName: vipgate.dev/gateway-controller}
---
kind: IPAddressPool
metadata: {name: lan, namespace: vipgate-system}
spec: {addresses: [10.0.0.100-10.0.0.109]}
---
kind: L2Advertisement
metadata: {name: front, namespace: vipgate-system}
spec: {ipAddressPoolSelectors: [{matchLabels: {tier: front}}], interfaces: [eth9]}
---
kind: Gateway
metadata: {name: web, namespace: default, generation: 3}
spec:
  gatewayClassName: vipgate
  listeners: [{name: tcp, protocol: TCP, port: 80}]
---
kind: TCPRoute
metadata: {name: web, namespace: default, generation: 5}
spec:
  parentRefs: [{name: web}]
  rules: [{backendRefs: [{name: web, port: 80}]}]
---
kind: Service
metadata: {name: web, namespace: default}
spec: {ports: [{port: 80}]}
---
kind: EndpointSlice
metadata: {name: web-1, namespace: default, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{port: 8080}]
endpoints: [{addresses: [10.1.0.1]}]
";

fn settled() -> (Planner, Outcome) {
    let mut planner = Planner::new();
    planner.set_release(true);
    planner.set_node(support::node());
    apply(&mut planner, WORLD);
    let outcome = support::settle(&mut planner);
    (planner, outcome)
}

fn apply(planner: &mut Planner, yaml: &str) {
    for (object, age) in support::objects("world.yaml", yaml) {
        planner.apply(object, age);
    }
}

/// The layers that run for a change, and what comes out.
fn ran(planner: &mut Planner, change: impl FnOnce(&mut Planner)) -> (Runs, Outcome) {
    let before = planner.runs();
    change(planner);
    let outcome = planner.run();
    let after = planner.runs();
    let runs = Runs {
        services: after.services - before.services,
        admission: after.admission - before.admission,
        pools: after.pools - before.pools,
        allocation: after.allocation - before.allocation,
        attachment: after.attachment - before.attachment,
        policies: after.policies - before.policies,
        resolution: after.resolution - before.resolution,
        assembly: after.assembly - before.assembly,
        status: after.status - before.status,
    };
    (runs, outcome)
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

#[test]
fn endpoints_run_resolution_and_what_follows() {
    let (mut planner, _) = settled();
    let slice = WORLD.rsplit("---").next().expect("the slice").replace("10.1.0.1", "10.1.0.2");
    let (runs, outcome) = ran(&mut planner, |planner| apply(planner, &slice));
    assert_eq!(runs, Runs { resolution: 1, assembly: 1, status: 1, ..Runs::default() });
    let (_, target) = outcome.plan.listeners[0].targets().next().expect("a target");
    assert_eq!(target.shares[0].endpoints[0].0, "10.1.0.2:8080".parse().expect("a socket address"));
    assert!(outcome.claims.is_none());
}

#[test]
fn endpoints_of_nobodys_service_run_nothing() {
    let (mut planner, before) = settled();
    let slice = WORLD.rsplit("---").next().expect("the slice").replace("web", "other");
    let (runs, outcome) = ran(&mut planner, |planner| apply(planner, &slice));
    assert_eq!(runs, Runs::default());
    assert!(Arc::ptr_eq(&before.plan, &outcome.plan), "an equal plan is the same plan");
    assert!(Arc::ptr_eq(&before.statuses, &outcome.statuses));
}

/// Neither addresses nor routes have anything to do with it.
#[test]
fn a_policy_runs_no_allocation_and_no_attachment() {
    let (mut planner, _) = settled();
    let policy = "
kind: BackendPolicy
metadata: {name: web, namespace: default}
spec:
  targetRefs: [{group: '', kind: Service, name: web}]
  connect: {tries: 1}
";
    let all = Runs { policies: 1, resolution: 1, assembly: 1, status: 1, ..Runs::default() };
    let (runs, outcome) = ran(&mut planner, |planner| apply(planner, policy));
    assert_eq!(runs, all);
    let (_, target) = outcome.plan.listeners[0].targets().next().expect("a target");
    assert_eq!(target.shares[0].settings.connect_tries, 1);

    let of_gateway = "
kind: ListenerPolicy
metadata: {name: web, namespace: default}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: web}]
  idleTimeout: 7m
";
    let (runs, outcome) = ran(&mut planner, |planner| apply(planner, of_gateway));
    assert_eq!(runs, all);
    let seven = Some(Duration::from_secs(420));
    assert_eq!(outcome.plan.listeners[0].settings.idle_timeout, seven);

    // A Service that nothing is said of changes nothing that is said.
    let other =
        "kind: Service\nmetadata: {name: other, namespace: default}\nspec: {ports: [{port: 80}]}";
    let (runs, _) = ran(&mut planner, |planner| apply(planner, other));
    assert_eq!(runs, Runs { policies: 1, ..Runs::default() });

    let gone = ObjectRef::new(Kind::ListenerPolicy, ObjectKey::new("default", "web"));
    let (runs, outcome) = ran(&mut planner, |planner| assert!(planner.delete(&gone)));
    assert_eq!(runs, all);
    assert_eq!(outcome.plan.listeners[0].settings, Arc::default());
}

#[test]
fn a_report_runs_status_alone() {
    let (mut planner, before) = settled();
    let (runs, outcome) = ran(&mut planner, |p| p.set_report(NodeReport::default()));
    assert_eq!(runs, Runs { status: 1, ..Runs::default() });
    assert!(Arc::ptr_eq(&before.plan, &outcome.plan));
    assert_ne!(before.statuses, outcome.statuses);
}

#[test]
fn an_equal_input_runs_nothing() {
    let (mut planner, before) = settled();
    let (runs, outcome) = ran(&mut planner, |planner| {
        apply(planner, WORLD);
        planner.set_node(support::node());
        planner.set_report(support::all_well(&before.plan));
        planner.set_foreign(Foreign::default());
        planner.set_claims(planner.claims().clone());
        planner.set_release(true);
        assert!(!planner.publish(address("10.0.0.100")));
        let absent = ObjectRef { kind: Kind::Gateway, key: ObjectKey::new("default", "absent") };
        assert!(!planner.delete(&absent));
    });
    assert_eq!(runs, Runs::default());
    assert!(Arc::ptr_eq(&before.plan, &outcome.plan));
}

#[test]
fn what_is_about_bgp_runs_assembly_and_status_alone() {
    let (mut planner, _) = settled();
    let peer = "
kind: BGPPeer
metadata: {name: tor, namespace: vipgate-system}
spec: {myASN: 65001, peerASN: 65002, peerAddress: 10.0.0.254}
";
    let runs_twice = Runs { assembly: 1, status: 1, ..Runs::default() };
    let (runs, outcome) = ran(&mut planner, |planner| apply(planner, peer));
    assert_eq!(runs, runs_twice);
    assert_eq!(outcome.plan.peers.len(), 1);
    let advertisement = "
kind: BGPAdvertisement
metadata: {name: all, namespace: vipgate-system}
spec: {}
";
    let (runs, outcome) = ran(&mut planner, |planner| apply(planner, advertisement));
    assert_eq!(runs, runs_twice);
    let vip = &outcome.plan.vips[&address("10.0.0.100")];
    assert_eq!((&vip.announce, vip.routes.len()), (&Announce::Routed, 1));
    // Names that nobody uses change nothing but what is said of them.
    let profile = "
kind: BFDProfile
metadata: {name: fast, namespace: vipgate-system}
";
    let before = outcome.plan;
    let (runs, outcome) = ran(&mut planner, |planner| apply(planner, profile));
    assert_eq!(runs, runs_twice);
    assert!(Arc::ptr_eq(&before, &outcome.plan));
    assert_eq!(outcome.statuses.bgp.len(), 3);
}

#[test]
fn a_link_that_goes_down_runs_no_allocation() {
    let (mut planner, _) = settled();
    let (runs, outcome) = ran(&mut planner, |planner| {
        let mut node = support::node();
        node.links[1].up = false;
        planner.set_node(node);
    });
    assert_eq!(runs, Runs { assembly: 1, status: 1, ..Runs::default() });
    assert!(matches!(outcome.plan.vips[&address("10.0.0.100")].announce, Announce::Nowhere(_)));
}

#[test]
fn a_label_of_a_pool_changes_where_its_addresses_are_announced() {
    let (mut planner, _) = settled();
    let pool = "
kind: IPAddressPool
metadata: {name: lan, namespace: vipgate-system, labels: {tier: front}}
spec: {addresses: [10.0.0.100-10.0.0.109]}
";
    let (runs, outcome) = ran(&mut planner, |planner| apply(planner, pool));
    assert_eq!(runs, Runs { pools: 1, assembly: 1, status: 1, ..Runs::default() });
    let Announce::Nowhere(why) = &outcome.plan.vips[&address("10.0.0.100")].announce else {
        panic!("announced although the one interface that is named does not exist");
    };
    assert!(why.message.contains("eth9"), "{why}");
}

#[test]
fn a_second_rule_shows_in_the_status_alone() {
    let (mut planner, before) = settled();
    let route = "
kind: TCPRoute
metadata: {name: web, namespace: default, generation: 6}
spec:
  parentRefs: [{name: web}]
  rules: [{backendRefs: [{name: web, port: 80}]}, {backendRefs: [{name: web, port: 80}]}]
";
    let (runs, outcome) = ran(&mut planner, |planner| apply(planner, route));
    let expected = Runs { attachment: 1, resolution: 1, assembly: 1, status: 1, ..Runs::default() };
    assert_eq!(runs, expected);
    assert!(Arc::ptr_eq(&before.plan, &outcome.plan));
    let problem = outcome.statuses.problems.first().expect("a problem");
    assert!(problem.message.starts_with("Dropped Rule"), "{}", problem.message);
}

#[test]
fn claims_are_told_once() {
    let mut planner = Planner::new();
    planner.set_node(support::node());
    apply(&mut planner, WORLD);
    let told = planner.run().claims.expect("a new claim");
    assert_eq!(told.0.keys().copied().collect::<Vec<_>>(), [address("10.0.0.100")]);
    assert!(planner.run().claims.is_none(), "nothing is new");
    assert!(planner.publish(address("10.0.0.100")));
    let told = planner.run().claims.expect("a claim that is published now");
    assert!(told.0[&address("10.0.0.100")].published);
    planner.set_claims(told);
    assert!(planner.run().claims.is_none(), "the caller has them");
}

#[test]
fn claims_of_absent_gateways_end_on_release_only() {
    let object = ObjectRef::new(Kind::Gateway, ObjectKey::new("default", "gone"));
    let users = vec![VipUser { object, ports: Vec::new(), terms: None }];
    let claim = Claim { pool: "lan".to_owned(), users, origin: Origin::Chosen, published: true };
    let gone = address("10.0.0.109");
    let mut planner = Planner::new();
    planner.set_node(support::node());
    planner.set_claims(Claims([(gone, claim)].into()));
    apply(&mut planner, WORLD);
    let outcome = planner.run();
    assert!(planner.claims().0.contains_key(&gone), "the objects may be incomplete");
    assert!(!outcome.plan.vips.contains_key(&gone), "nobody asks for it");
    planner.set_release(true);
    let claims = planner.run().claims.expect("a claim that ended");
    assert!(!claims.0.contains_key(&gone));
}

#[test]
fn a_chosen_address_gives_way_before_it_is_published_and_never_after() {
    let (used, mac) = (address("10.0.0.100"), MacAddr([2, 0, 0, 0, 0, 9]));
    let vips = |published: bool| {
        let mut planner = Planner::new();
        planner.set_node(support::node());
        apply(&mut planner, WORLD);
        assert!(planner.run().plan.vips[&used].probe, "a new address is probed");
        if published {
            planner.publish(used);
        }
        planner.set_foreign([(used, mac)].into());
        let plan = planner.run().plan;
        plan.vips.values().map(|vip| (vip.address, vip.probe)).collect::<Vec<_>>()
    };
    assert_eq!(vips(false), [(address("10.0.0.101"), true)]);
    assert_eq!(vips(true), [(used, false)]);
}

#[test]
fn a_new_generation_is_in_the_plan_although_nothing_else_changes() {
    let (mut planner, before) = settled();
    let key = ObjectRef::new(Kind::Gateway, ObjectKey::new("default", "web"));
    assert_eq!(before.plan.sources[&key].generation, 3);
    let (runs, outcome) =
        ran(&mut planner, |p| apply(p, &WORLD.replace("generation: 3", "generation: 4")));
    assert_eq!(outcome.plan.sources[&key].generation, 4);
    assert_eq!((runs.resolution, runs.assembly), (0, 1));
}

#[test]
fn the_count_of_sets_goes_back_to_none_and_is_left_out_where_there_are_no_sets() {
    let (mut planner, _) = settled();
    let count = |outcome: &Outcome| {
        let gateway = ObjectKey::new("default", "web");
        outcome.statuses.gateways[&gateway].attached_listener_sets
    };
    let set = "
kind: ListenerSet
metadata: {name: more, namespace: default}
spec:
  parentRef: {name: web}
  listeners: [{name: more, protocol: TCP, port: 81}]
";
    apply(
        &mut planner,
        &WORLD.replace(
            "  listeners: [{name: tcp",
            "  allowedListeners: {namespaces: {from: Same}}\n  listeners: [{name: tcp",
        ),
    );
    apply(&mut planner, set);
    assert_eq!(count(&planner.run()), Some(1));
    planner.delete(&ObjectRef::new(Kind::ListenerSet, ObjectKey::new("default", "more")));
    assert_eq!(count(&planner.run()), Some(0));
    let absent = [Kind::ListenerSet].into();
    planner.set_environment(Environment { absent, ..Environment::default() });
    assert_eq!(count(&planner.run()), None);
}

#[test]
fn statuses_carry_the_generation_in_every_condition() {
    let (mut planner, _) = settled();
    let mut report = NodeReport::default();
    let outcome = planner.run();
    report.vips = support::all_well(&outcome.plan).vips;
    for listener in &outcome.plan.listeners {
        report.listeners.insert(listener.id.clone(), ListenerState::Failed("in use".to_owned()));
    }
    planner.set_report(report);
    let statuses = planner.run().statuses;
    let gateway = ObjectRef { kind: Kind::Gateway, key: ObjectKey::new("default", "web") };
    assert_eq!(
        statuses.json(&gateway, Some(3)).expect("a status"),
        json!({
            "addresses": [{"type": "IPAddress", "value": "10.0.0.100"}],
            "conditions": [
                {"type": "Accepted", "status": "True", "reason": "Accepted",
                 "message": "every listener is accepted", "observedGeneration": 3},
                {"type": "Programmed", "status": "False", "reason": "Invalid",
                 "message": "no listener could be bound: listener tcp: in use",
                 "observedGeneration": 3},
            ],
            "listeners": [{
                "name": "tcp",
                "supportedKinds": [
                    {"group": "gateway.networking.k8s.io", "kind": "TCPRoute"}
                ],
                "attachedRoutes": 1,
                "conditions": [
                    {"type": "Accepted", "status": "True", "reason": "Accepted",
                     "message": "the listener is valid", "observedGeneration": 3},
                    {"type": "Programmed", "status": "False", "reason": "PortUnavailable",
                     "message": "in use", "observedGeneration": 3},
                    {"type": "ResolvedRefs", "status": "True", "reason": "ResolvedRefs",
                     "message": "every reference is resolved", "observedGeneration": 3},
                    {"type": "Conflicted", "status": "False", "reason": "NoConflicts",
                     "message": "no other listener is in the way", "observedGeneration": 3},
                ],
            }],
            "attachedListenerSets": 0,
        })
    );
    let route = ObjectRef { kind: Kind::TcpRoute, key: ObjectKey::new("default", "web") };
    let status = statuses.json(&route, None).expect("a status");
    assert!(status["parents"][0]["conditions"][0].get("observedGeneration").is_none());
    let service = ObjectRef { kind: Kind::Service, key: ObjectKey::new("default", "web") };
    assert!(statuses.json(&service, None).is_none());
}

/// The 200 ms in which a change has to be applied leave room for thousands of routes, even without
/// optimisation.
#[test]
fn two_thousand_routes_are_no_trouble() {
    let mut planner = Planner::new();
    planner.set_node(support::node());
    apply(&mut planner, WORLD);
    for n in 0..2_000 {
        let (route, service) = (format!("r{n}"), format!("s{n}"));
        let documents = [
            json!({
                "kind": "TCPRoute",
                "metadata": {"name": route, "namespace": "default"},
                "spec": {
                    "parentRefs": [{"name": "web"}],
                    "rules": [{"backendRefs": [{"name": service, "port": 80}]}],
                },
            }),
            json!({
                "kind": "Service",
                "metadata": {"name": service, "namespace": "default"},
                "spec": {"ports": [{"port": 80}]},
            }),
        ];
        for document in documents {
            planner.apply(support::object(document).expect("an object"), Age::default());
        }
    }
    let outcome = planner.run();
    assert_eq!(outcome.plan.listeners[0].attached.len(), 2_001);
    let slice = WORLD.rsplit("---").next().expect("the slice").replace("10.1.0.1", "10.1.0.2");
    let start = Instant::now();
    apply(&mut planner, &slice);
    planner.run();
    let took = start.elapsed();
    assert!(took < Duration::from_secs(1), "{took:?} for one change of endpoints");
}

/// Names are in no layer between the route and the plan.
#[test]
fn another_hostname_alone_reaches_the_plan() {
    let (mut planner, _) = settled();
    let gateway = "
kind: Gateway
metadata: {name: names, namespace: default}
spec:
  gatewayClassName: vipgate
  listeners: [{name: http, protocol: HTTP, port: 8080}]
";
    apply(&mut planner, gateway);
    let route = |name: &str| {
        format!(
            "
kind: HTTPRoute
metadata: {{name: names, namespace: default}}
spec:
  parentRefs: [{{name: names}}]
  hostnames: [{name}]
  rules: [{{backendRefs: [{{name: web, port: 80}}]}}]
"
        )
    };
    for name in ["a.example.com", "b.example.com"] {
        apply(&mut planner, &route(name));
        let plan = planner.run().plan;
        let listener = plan.listeners.iter().find(|l| l.id.gateway.name == "names");
        let targets = listener.and_then(|l| l.by_name()).expect("an HTTP listener").targets.iter();
        let names: Vec<_> = targets.map(|(asked, _)| asked.as_deref()).collect();
        assert_eq!(names, [Some(name)]);
    }
}

/// Which Gateway it is that is not ours is in no layer between the set and its status.
#[test]
fn a_set_of_another_gateway_that_is_not_ours_is_told_of_that_one() {
    let mut planner = Planner::new();
    planner.set_node(support::node());
    for name in ["one", "two"] {
        let gateway = format!(
            "
kind: Gateway
metadata: {{name: {name}, namespace: default}}
spec: {{gatewayClassName: absent, listeners: [{{name: tcp, protocol: TCP, port: 80}}]}}
"
        );
        apply(&mut planner, &gateway);
    }
    for name in ["one", "two"] {
        let set = format!(
            "
kind: ListenerSet
metadata: {{name: more, namespace: default}}
spec: {{parentRef: {{name: {name}}}, listeners: [{{name: more, protocol: TCP, port: 81}}]}}
"
        );
        apply(&mut planner, &set);
        let set = ObjectRef::new(Kind::ListenerSet, ObjectKey::new("default", "more"));
        let said = planner.run().statuses.former_json(&set, None).expect("a status").to_string();
        assert!(said.contains(&format!("default/{name}")), "{said}");
    }
}

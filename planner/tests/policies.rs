//! What golden cases do not show of policies: bounds, other namespaces, and what nobody says.

#![allow(missing_docs, reason = "a test has no public items")]

mod support;

use std::fmt::Write;
use std::time::Duration;

use vipgate_api::{Kind, ObjectKey, ObjectRef};
use vipgate_planner::{Balancing, Outcome, Planner, Role};

const BASE: &str = "
kind: GatewayClass
metadata: {name: vipgate}
spec: {controllerName: vipgate.dev/gateway-controller}
---
kind: IPAddressPool
metadata: {name: lan, namespace: vipgate-system}
spec: {addresses: [10.0.0.100-10.0.0.199]}
---
kind: Service
metadata: {name: db, namespace: data}
spec: {ports: [{port: 80}]}
";

fn run(more: &str) -> Outcome {
    let mut planner = Planner::new();
    planner.set_node(support::node());
    for (file, yaml) in [("base", BASE), ("more", more)] {
        for (object, age) in support::objects(file, yaml) {
            planner.apply(object, age);
        }
    }
    support::settle(&mut planner)
}

fn policy(kind: Kind, namespace: &str, name: &str) -> ObjectRef {
    ObjectRef::new(kind, ObjectKey::new(namespace, name))
}

/// A server's owner has a word wherever the server is used; who uses it sees which Gateways that are.
#[test]
fn a_policy_of_a_service_counts_for_routes_of_other_namespaces_and_has_room_for_sixteen_gateways() {
    let mut world = "
kind: BackendPolicy
metadata: {name: db, namespace: data}
spec:
  targetRefs: [{group: '', kind: Service, name: db}]
  balancing: Maglev
---
kind: BackendPolicy
metadata: {name: theirs, namespace: web}
spec:
  targetRefs: [{group: '', kind: Service, name: db}, {group: gateway.networking.k8s.io, kind: TCPRoute, name: db}]
  balancing: SourceHash
  connect: {tries: 2}
---
kind: ReferenceGrant
metadata: {name: web, namespace: data}
spec:
  from: [{group: gateway.networking.k8s.io, kind: TCPRoute, namespace: web}]
  to: [{group: '', kind: Service}]
"
    .to_owned();
    let mut parents = Vec::new();
    for number in 10..30 {
        let gateway = format!(
            "---\nkind: Gateway\nmetadata: {{name: g{number}, namespace: web}}\nspec:\n  gatewayClassName: vipgate\n  \
             listeners: [{{name: tcp, protocol: TCP, port: 80}}]\n"
        );
        world.push_str(&gateway);
        parents.push(format!("{{name: g{number}}}"));
    }
    write!(
        world,
        "---\nkind: TCPRoute\nmetadata: {{name: db, namespace: web}}\nspec:\n  parentRefs: [{}]\n  rules: \
         [{{backendRefs: [{{name: db, namespace: data, port: 80}}]}}]\n",
        parents.join(", ")
    )
    .expect("text can be appended to");
    let outcome = run(&world);

    assert_eq!(outcome.plan.listeners.len(), 20);
    let (_, target) = outcome.plan.listeners[0].targets().next().expect("a target");
    let settings = &target.shares[0].settings;
    assert_eq!((settings.balancing, settings.connect_tries), (Balancing::Maglev, 2));

    let status = &outcome.statuses.policies[&policy(Kind::BackendPolicy, "data", "db")];
    assert_eq!(status.ancestors.len(), 16);
    assert!(status.ancestors.iter().all(|one| one.conditions[0].is_true()));
    let last = &status.ancestors[15].conditions[0].message;
    assert!(last.ends_with("; 4 more ancestors have no room in this list"), "{last}");

    // There is no Service of that name in its own namespace; the route is.
    let theirs = &outcome.statuses.policies[&policy(Kind::BackendPolicy, "web", "theirs")];
    let of_itself = theirs.ancestors.iter().find(|one| one.ancestor_ref.kind == "Service");
    let of_itself = &of_itself.expect("the target is its own ancestor").conditions[0];
    assert_eq!(of_itself.reason.to_string(), "TargetNotFound");
}

/// How long a session of UDP may be silent is the engine's as long as nobody says it.
#[test]
fn a_listener_that_nobody_speaks_of_has_what_its_protocol_has() {
    let gateway = "
kind: Gateway
metadata: {name: web, namespace: web}
spec:
  gatewayClassName: vipgate
  listeners: [{name: dns, protocol: UDP, port: 53}, {name: tcp, protocol: TCP, port: 53}]
";
    let idle = |outcome: &Outcome| -> Vec<Option<Duration>> {
        outcome.plan.listeners.iter().map(|listener| listener.settings.idle_timeout).collect()
    };
    assert_eq!(idle(&run(gateway)), [None, Some(Duration::from_secs(3600))]);
    let policy = "---
kind: ListenerPolicy
metadata: {name: web, namespace: web}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: web}]
  idleTimeout: 20s
";
    let twenty = Some(Duration::from_secs(20));
    assert_eq!(idle(&run(&format!("{gateway}{policy}"))), [twenty, twenty]);
}

/// The controller says it, and it is no node.
#[test]
fn a_controller_says_what_becomes_of_policies() {
    let mut planner = Planner::in_role(Role::Controller);
    let yaml = "
kind: ListenerPolicy
metadata: {name: web, namespace: web, generation: 4}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: gone}]
";
    for (object, age) in support::objects("policy", yaml) {
        planner.apply(object, age);
    }
    let statuses = planner.run().statuses;
    let object = policy(Kind::ListenerPolicy, "web", "web");
    assert!(statuses.objects().any(|one| one == object));
    let json = statuses.json(&object, Some(4)).expect("a status");
    let ancestor = &json["ancestors"][0];
    assert_eq!(ancestor["controllerName"], "vipgate.dev/gateway-controller");
    assert_eq!(ancestor["ancestorRef"]["name"], "gone");
    assert_eq!(ancestor["conditions"][0]["observedGeneration"], 4);
    assert_eq!(ancestor["conditions"][0]["reason"], "TargetNotFound");
}

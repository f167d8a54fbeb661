//! What each role decides, and what it leaves to others: one world, seen by a host without a
//! cluster, by the controller of one, and by the speaker of a node.

#![allow(missing_docs, reason = "a test has no public items")]

mod support;

use std::net::IpAddr;

use serde_json::json;
use vipgate_api::vipgate::{PortUse, Transport};
use vipgate_api::{Age, ConditionType, Kind, ObjectKey, ObjectRef, Reason};
use vipgate_planner::{
    Announce, Claim, Claims, ListenerState, NodeReport, Origin, Outcome, Planner, Role, VipState,
    VipUser,
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
kind: Gateway
metadata: {name: web, namespace: default, generation: 1, uid: gateway-1}
spec:
  gatewayClassName: vipgate
  allowedListeners: {namespaces: {from: All}}
  listeners: [{name: tcp, protocol: TCP, port: 80}]
---
kind: ListenerSet
metadata: {name: more, namespace: apps, generation: 4, uid: set-1}
spec:
  parentRef: {name: web, namespace: default}
  listeners: [{name: tcp, protocol: TCP, port: 81}]
";

const ROLES: [Role; 3] = [Role::Standalone, Role::Controller, Role::Speaker];

fn planner(role: Role) -> Planner {
    let mut planner = Planner::in_role(role);
    planner.set_node(support::node());
    planner.set_release(true);
    for (object, age) in support::objects("world.yaml", WORLD) {
        planner.apply(object, age);
    }
    planner
}

fn service() -> (vipgate_api::Object, Age) {
    let service = json!({
        "kind": "Service",
        "metadata": {"name": "dns", "namespace": "default"},
        "spec": {"type": "LoadBalancer", "loadBalancerClass": "vipgate.dev/service",
            "ports": [{"port": 53, "protocol": "UDP"}], "ipFamilies": ["IPv4"]},
    });
    let age = Age { created: None, place: ("younger".to_owned(), 0) };
    (support::object(service).expect("a Service"), age)
}

fn gateway() -> ObjectRef {
    ObjectRef::new(Kind::Gateway, ObjectKey::new("default", "web"))
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// A claim on an address that no pool has.
fn claim(object: ObjectRef, ports: &[u16]) -> Claims {
    let ports = ports.iter().map(|port| PortUse { protocol: Transport::Tcp, port: *port });
    let claim = Claim {
        pool: "gone".to_owned(),
        users: vec![VipUser { object, ports: ports.collect(), terms: None }],
        origin: Origin::Requested,
        published: true,
    };
    Claims([(address("10.0.0.42"), claim)].into())
}

fn vips(outcome: &Outcome) -> Vec<String> {
    outcome.plan.vips.keys().map(IpAddr::to_string).collect()
}

#[test]
fn standalone_and_controller_give_out_addresses_and_a_speaker_takes_what_is_claimed() {
    for role in ROLES {
        let outcome = planner(role).run();
        let decided = outcome.claims.as_ref().map(|claims| claims.0.len());
        match role {
            Role::Standalone | Role::Controller => {
                assert_eq!((vips(&outcome), decided), (vec!["10.0.0.100".to_owned()], Some(1)));
            }
            Role::Speaker => assert_eq!((vips(&outcome), decided), (vec![], None)),
        }
    }
    // What is claimed is served, whether a pool has it or not, and it stays as it is.
    let mut speaker = planner(Role::Speaker);
    speaker.set_claims(claim(gateway(), &[80, 81]));
    let outcome = speaker.run();
    assert_eq!(vips(&outcome), ["10.0.0.42"]);
    assert!(outcome.claims.is_none(), "a speaker changed the claims");
    assert_eq!(outcome.plan.listeners.len(), 2);
}

#[test]
fn a_speaker_keeps_a_claim_whose_owner_it_does_not_know() {
    let stranger = ObjectRef::new(Kind::Gateway, ObjectKey::new("default", "stranger"));
    for role in ROLES {
        let mut planner = planner(role);
        planner.set_claims(claim(stranger.clone(), &[80]));
        let outcome = planner.run();
        let is_there = planner.claims().0.contains_key(&address("10.0.0.42"));
        assert_eq!(is_there, role == Role::Speaker, "{role:?}");
        // It serves nothing there: nobody says what.
        assert!(outcome.plan.listeners.iter().all(|l| l.id.address != address("10.0.0.42")));
    }
}

#[test]
fn a_node_knows_from_where_it_announces_and_the_controller_leaves_it_to_the_nodes() {
    for role in ROLES {
        let mut planner = planner(role);
        planner.set_claims(claim(gateway(), &[80, 81]));
        let plan = planner.run().plan;
        let vip = plan.vips.values().next().expect("a VIP");
        let announce = match role {
            Role::Controller => Announce::ByNodes,
            Role::Standalone | Role::Speaker => Announce::Layer2(vec!["eth0".to_owned()]),
        };
        assert_eq!(vip.announce, announce, "{role:?}");
    }
}

#[test]
fn services_are_the_controllers_and_their_claims_everybodys() {
    let key = ObjectRef::new(Kind::Service, ObjectKey::new("default", "dns"));
    for role in ROLES {
        let mut planner = planner(role);
        let (object, age) = service();
        planner.apply(object, age);
        let outcome = planner.run();
        let has = outcome.statuses.services.contains_key(&key.key);
        let claimed = planner.claims().0.values().any(|claim| claim.names(&key));
        assert_eq!(
            (has, claimed),
            (role == Role::Controller, role == Role::Controller),
            "{role:?}"
        );
    }
    let mut speaker = planner(Role::Speaker);
    speaker.set_claims(claim(key, &[53]));
    let plan = speaker.run().plan;
    let vip = plan.vips.values().next().expect("a VIP");
    assert!(vip.kernel, "a Service's address waits for a listener of ours");
}

#[test]
fn all_roles_judge_listeners_and_sets_alike() {
    let accepted = |role| {
        let mut planner = planner(role);
        let statuses = planner.run().statuses;
        let of = |conditions: &[vipgate_api::Condition]| conditions[0].clone();
        let gateway = &statuses.gateways[&gateway().key];
        let set = &statuses.sets[&ObjectKey::new("apps", "more")];
        (of(&gateway.conditions), of(&gateway.listeners[0].conditions), of(&set.conditions))
    };
    assert!(ROLES.iter().all(|role| accepted(*role) == accepted(Role::Standalone)));
    assert!(accepted(Role::Standalone).2.is_true());
}

#[test]
fn what_a_speaker_serves_is_what_the_controller_calls_programmed() {
    let mut controller = planner(Role::Controller);
    let decided = controller.run();
    let mut speaker = planner(Role::Speaker);
    speaker.set_claims(decided.claims.expect("claims"));
    let served = speaker.run().plan;
    assert_eq!(served.sources, decided.plan.sources);

    let report = NodeReport { sources: served.sources.clone(), ..support::all_well(&served) };
    let programmed = |controller: &mut Planner, report: &NodeReport| {
        let status = report.to_speaker(None, vec!["n1".to_owned()], Vec::new());
        let plan = controller.run().plan;
        let read = NodeReport::from_speaker(&status, &plan);
        controller.set_reports([("n1".to_owned(), read)].into());
        let statuses = controller.run().statuses;
        let is = |conditions: &[vipgate_api::Condition]| {
            let programmed = conditions.iter().find(|c| c.kind == ConditionType::Programmed);
            programmed.is_some_and(vipgate_api::Condition::is_true)
        };
        let gateway = is(&statuses.gateways[&gateway().key].conditions);
        (gateway, is(&statuses.sets[&ObjectKey::new("apps", "more")].conditions))
    };
    assert_eq!(programmed(&mut controller, &report), (true, true));

    let set = served.listeners.iter().find(|l| l.id.set.is_some()).expect("the set's listener");
    let mut failed = report.clone();
    let why = ListenerState::Failed("port 81 is in use".to_owned());
    failed.listeners.insert(set.id.clone(), why);
    assert_eq!(programmed(&mut controller, &failed), (true, false));

    // The set was deleted and made again under its name: what is served is not it.
    let again = WORLD.replace("set-1", "set-2");
    for (object, age) in support::objects("world.yaml", &again) {
        controller.apply(object, age);
    }
    assert_eq!(programmed(&mut controller, &report), (true, false));
}

#[test]
fn a_port_that_is_not_claimed_is_not_served_by_a_speaker_nor_called_served() {
    let mut speaker = planner(Role::Speaker);
    speaker.set_claims(claim(gateway(), &[80]));
    let plan = speaker.run().plan;
    let ports: Vec<u16> = plan.listeners.iter().map(|listener| listener.bind.port()).collect();
    assert_eq!(ports, [80]);
    let sources: Vec<String> = plan.sources.keys().map(ToString::to_string).collect();
    assert_eq!(sources, ["Gateway default/web"], "the set is not served in full");
}

#[test]
fn a_controller_believes_reports_and_not_its_own_links() {
    let mut controller = planner(Role::Controller);
    controller.set_node(vipgate_planner::Node::default());
    let plan = controller.run().plan;
    let reports = |state: VipState| {
        let listeners = plan.listeners.iter().map(|l| (l.id.clone(), ListenerState::Bound));
        let vips = plan.vips.keys().map(|address| (*address, state.clone()));
        let report = NodeReport {
            vips: vips.collect(),
            listeners: listeners.collect(),
            ..NodeReport::default()
        };
        [("n7".to_owned(), report)].into()
    };
    let mut programmed = |state| {
        controller.set_reports(reports(state));
        controller.run().statuses.gateways[&gateway().key].conditions[1].clone()
    };
    let condition = programmed(VipState::Serving(vec!["eth3".to_owned()]));
    assert!(condition.is_true() && condition.message.contains("node n7 on eth3"), "{condition:?}");
    let condition = programmed(VipState::Failed("no interface".to_owned()));
    assert_eq!(condition.reason, Reason::NoResources);
}

#[test]
fn a_service_whose_traffic_stays_on_its_node_is_announced_where_an_endpoint_is_ready() {
    let key = ObjectRef::new(Kind::Service, ObjectKey::new("default", "dns"));
    let slice = |node: &str, ready: bool| {
        let slice = json!({
            "kind": "EndpointSlice",
            "metadata": {"name": "dns-1", "namespace": "default",
                "labels": {"kubernetes.io/service-name": "dns"}},
            "addressType": "IPv4",
            "ports": [{"port": 53, "protocol": "UDP"}],
            "endpoints": [{"addresses": ["10.244.0.9"], "nodeName": node,
                "conditions": {"ready": ready, "serving": true, "terminating": !ready}}],
        });
        support::object(slice).expect("an EndpointSlice")
    };
    let mut speaker = planner(Role::Speaker);
    speaker.set_claims(claim(key, &[53]));
    let (object, age) = service();
    let vipgate_api::Object::Service(mut service) = object else { panic!("a Service") };
    let announce = |speaker: &mut Planner| {
        speaker.run().plan.vips.values().next().expect("a VIP").announce.clone()
    };
    let here = Announce::Layer2(vec!["eth0".to_owned()]);
    speaker.apply(vipgate_api::Object::Service(service.clone()), age.clone());
    assert_eq!(announce(&mut speaker), here, "Cluster: every node forwards");

    let spec = std::sync::Arc::make_mut(&mut service).spec.as_mut().expect("a spec");
    spec.external_traffic_policy = Some("Local".to_owned());
    speaker.apply(vipgate_api::Object::Service(service), age.clone());
    let nowhere = |announce: Announce| matches!(announce, Announce::Nowhere(why) if why.message.contains("Service default/dns"));
    assert!(nowhere(announce(&mut speaker)), "no endpoint at all");
    for (node, ready, is_here) in
        [("n2", true, false), ("n1", true, true), ("n1", false, false), ("n1", true, true)]
    {
        speaker.apply(slice(node, ready), age.clone());
        let announce = announce(&mut speaker);
        assert_eq!(announce == here, is_here, "{node} {ready}: {announce:?}");
    }
}

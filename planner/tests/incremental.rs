//! A plan that was brought up to date is the plan that is made from nothing: after any changes of objects,
//! reports and names, however many of them come at once, in every role. The worlds are those of `properties`, and in them much of what
//! is worked out part by part: names, ListenerSets, Gateways that are withdrawn without backends.

#![allow(missing_docs, reason = "a test has no public items")]

#[path = "support/random.rs"]
mod random;
mod support;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::net::IpAddr;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use random::{any_object, decode, ground, objects, references};
use serde_json::{Value, json};
use vipgate_planner::planner::Role;
use vipgate_planner::{Answer, Claims, Listener, Names, NodeReport, Outcome, Planner, Reports};

#[derive(Clone, Debug)]
enum Change {
    Apply(Value),
    Delete(usize),
    /// All is well with what was planned last, or nothing is known of it.
    Report(bool),
    /// What a name resolves to.
    Names(Option<u8>),
    /// A claim is for one port less, or for all that there were at first: a speaker is told so.
    Ports(usize, bool),
}

fn changes() -> impl Strategy<Value = Vec<Vec<Change>>> {
    let change = prop_oneof![
        4 => any_object().prop_map(Change::Apply),
        8 => any_other().prop_map(Change::Apply),
        4 => any::<usize>().prop_map(Change::Delete),
        1 => any::<bool>().prop_map(Change::Report),
        1 => option::of(any::<u8>()).prop_map(Change::Names),
        1 => any::<(usize, bool)>().prop_map(|(claim, all)| Change::Ports(claim, all)),
    ];
    vec(vec(change, 1..4), 1..25)
}

fn metadata() -> impl Strategy<Value = Value> {
    (select(&["one", "two", "three"][..]), select(&["a", "b"][..]))
        .prop_map(|(name, namespace)| json!({"name": name, "namespace": namespace}))
}

fn any_other() -> impl Strategy<Value = Value> {
    prop_oneof![any_gateway(), any_set(), any_route(), any_backend(), any_slice(), any_policy()]
}

const HOSTS: [&str; 4] = ["a.example.com", "b.example.com", "*.example.com", "other.org"];

fn listener() -> impl Strategy<Value = Value> {
    let protocol = select(&["HTTP", "TLS", "TCP", "UDP"][..]);
    (0..3_usize, protocol, option::of(select(&HOSTS[..])), 80..83_u16).prop_map(
        |(place, protocol, host, port)| {
            let name = ["one", "two", "three"][place];
            let mut listener = json!({"name": name, "port": port,
                "protocol": protocol, "allowedRoutes": {"namespaces": {"from": "All"}}});
            if protocol == "TLS" {
                listener["tls"] = json!({"mode": "Passthrough"});
            }
            if let Some(host) = host.filter(|_| protocol != "TCP" && protocol != "UDP") {
                listener["hostname"] = host.into();
            }
            listener
        },
    )
}

fn any_gateway() -> impl Strategy<Value = Value> {
    (metadata(), vec(listener(), 1..4), any::<bool>()).prop_map(
        |(mut metadata, listeners, withdraws)| {
            if withdraws {
                metadata["annotations"] = json!({"vipgate.dev/no-backends": "Withdraw"});
            }
            json!({"kind": "Gateway", "metadata": metadata, "spec": {
                "gatewayClassName": "vipgate", "listeners": listeners,
                "allowedListeners": {"namespaces": {"from": "All"}}}})
        },
    )
}

fn any_set() -> impl Strategy<Value = Value> {
    let parent = metadata();
    (metadata(), parent, vec(listener(), 1..3)).prop_map(|(metadata, parent, listeners)| {
        json!({"kind": "ListenerSet", "metadata": metadata,
            "spec": {"parentRef": parent, "listeners": listeners}})
    })
}

fn any_route() -> impl Strategy<Value = Value> {
    let kind = select(&["TCPRoute", "UDPRoute", "TLSRoute", "HTTPRoute"][..]);
    let parent = (metadata(), select(&["Gateway", "Gateway", "ListenerSet"][..])).prop_map(
        |(mut parent, kind)| {
            parent["kind"] = kind.into();
            parent
        },
    );
    let backend = select(vec![
        json!({"name": "one", "port": 80}),
        json!({"name": "two", "port": 80}),
        json!({"group": "vipgate.dev", "kind": "Backend", "name": "one"}),
        json!({"group": "vipgate.dev", "kind": "Backend", "name": "two"}),
    ]);
    let hosts = subsequence(HOSTS.to_vec(), 0..=3);
    (kind, metadata(), vec(parent, 1..3), hosts, vec(backend, 1..3)).prop_map(
        |(kind, metadata, parents, hosts, backends)| {
            let mut route = json!({"kind": kind, "metadata": metadata, "spec": {
                "parentRefs": parents, "rules": [{"backendRefs": backends}]}});
            if matches!(kind, "TLSRoute" | "HTTPRoute") {
                route["spec"]["hostnames"] = json!(hosts);
            }
            route
        },
    )
}

fn any_backend() -> impl Strategy<Value = Value> {
    let endpoints = select(vec![
        json!([]),
        json!([{"address": "10.1.0.1", "port": 80}]),
        json!([{"address": "127.0.0.1", "port": 80}, {"address": "10.1.0.2", "port": 80}]),
        json!([{"hostname": "name.example.com", "port": 80}]),
    ]);
    (metadata(), endpoints).prop_map(|(metadata, endpoints)| {
        json!({"kind": "Backend", "metadata": metadata, "spec": {"endpoints": endpoints}})
    })
}

/// Slices that change the Service that they are of, too.
fn any_slice() -> impl Strategy<Value = Value> {
    let service = option::of(select(&["one", "two"][..]));
    let endpoints = subsequence(vec!["10.1.0.1", "10.1.0.2", "10.0.0.100"], 0..=3);
    (metadata(), service, endpoints, any::<bool>()).prop_map(
        |(mut metadata, service, endpoints, ready)| {
            if let Some(service) = service {
                metadata["labels"] = json!({"kubernetes.io/service-name": service});
            }
            let endpoint = |address: &str| {
                json!({"addresses": [address], "nodeName": "n1", "conditions": {"ready": ready}})
            };
            let endpoints: Vec<_> = endpoints.into_iter().map(endpoint).collect();
            json!({"kind": "EndpointSlice", "metadata": metadata, "addressType": "IPv4",
                "ports": [{"port": 8080}], "endpoints": endpoints})
        },
    )
}

fn any_policy() -> impl Strategy<Value = Value> {
    let validation = json!({"wellKnownCACertificates": "System", "hostname": "a.example.com"});
    (metadata(), select(&["one", "two"][..])).prop_map(move |(metadata, name)| {
        let target = json!({"group": "vipgate.dev", "kind": "Backend", "name": name});
        json!({"kind": "BackendTLSPolicy", "metadata": metadata,
            "spec": {"targetRefs": [target], "validation": validation}})
    })
}

/// What was told to a planner, apart from its objects.
struct Told {
    role: Role,
    claims: Claims,
    reports: Reports,
    names: Names,
}

impl Told {
    fn planner(&self) -> Planner {
        let mut planner = Planner::in_role(self.role);
        planner.set_node(support::node());
        planner.set_claims(self.claims.clone());
        planner.set_reports(self.reports.clone());
        planner.set_names(self.names.clone());
        planner
    }
}

/// Claims for the Gateways that there are in these worlds: a speaker takes them as they are.
fn claims() -> Claims {
    let mut planner = Planner::in_role(Role::Controller);
    let mut all = ground();
    for name in ["one", "two", "three"] {
        for namespace in ["a", "b"] {
            let listeners: Vec<_> = (80..83)
                .map(|port| json!({"name": format!("l{port}"), "protocol": "TCP", "port": port}))
                .collect();
            all.push(decode(json!({"kind": "Gateway",
                "metadata": {"name": name, "namespace": namespace},
                "spec": {"gatewayClassName": "vipgate", "listeners": listeners}})));
        }
    }
    for (object, age) in all {
        planner.apply(object, age);
    }
    planner.run();
    planner.claims().clone()
}

fn change(planner: &mut Planner, told: &mut Told, change: &Change, last: &Outcome) {
    match change {
        Change::Apply(document) => {
            let (object, age) = decode(document.clone());
            planner.apply(object, age);
        }
        Change::Delete(place) => {
            let all = references(planner.world());
            if let Some(object) = all.get(place % all.len().max(1)) {
                planner.delete(object);
            }
        }
        Change::Report(well) => {
            let report = match well {
                true => support::all_well(&last.plan),
                false => NodeReport::default(),
            };
            told.reports = [("n1".to_owned(), report)].into();
            planner.set_reports(told.reports.clone());
        }
        Change::Names(last) => {
            let answer = last.map(|last| Answer {
                addresses: [IpAddr::from([10, 2, 0, last])].into(),
                ..Answer::default()
            });
            told.names =
                answer.map(|one| ("name.example.com".to_owned(), one)).into_iter().collect();
            planner.set_names(told.names.clone());
        }
        Change::Ports(place, all) if told.role == Role::Speaker => {
            let first = claims();
            let place = place % first.0.len();
            let (address, claim) = first.0.into_iter().nth(place).expect("there are some");
            let users = &mut told.claims.0.get_mut(&address).expect("they stay").users;
            users.clone_from(&claim.users);
            if !all {
                users[0].ports.pop();
            }
            planner.set_claims(told.claims.clone());
        }
        // They work them out.
        Change::Ports(..) => {}
    }
}

/// The listeners by what they are, so that those of two plans can be told to be the very same.
fn listeners(outcome: &Outcome) -> BTreeMap<String, Arc<Listener>> {
    let all = outcome.plan.listeners.iter();
    all.map(|one| (format!("{}:{}", one.id, one.bind), Arc::clone(one))).collect()
}

/// What is like before is the very same.
fn is_kept<K: Ord + Debug, V: PartialEq>(
    before: &BTreeMap<K, Arc<V>>,
    now: &BTreeMap<K, Arc<V>>,
) -> Result<(), TestCaseError> {
    for (which, one) in now {
        if let Some(old) = before.get(which).filter(|old| ***old == **one) {
            prop_assert!(Arc::ptr_eq(old, one), "{:?} was made anew", which);
        }
    }
    Ok(())
}

fn is_as_from_nothing(role: Role, changes: &[Vec<Change>]) -> Result<(), TestCaseError> {
    let claims = if role == Role::Speaker { claims() } else { Claims::default() };
    let mut told = Told { role, claims, reports: Reports::default(), names: Names::default() };
    let mut planner = told.planner();
    for (object, age) in ground() {
        planner.apply(object, age);
    }
    let mut last = planner.run();
    for bunch in changes {
        for one in bunch {
            change(&mut planner, &mut told, one, &last);
        }
        let now = planner.run();
        told.claims = planner.claims().clone();
        let mut other = told.planner();
        for (object, age) in objects(planner.world()).into_iter().rev() {
            other.apply(object, age);
        }
        let expected = other.run();
        prop_assert_eq!(&now.plan, &expected.plan);
        prop_assert_eq!(&now.statuses, &expected.statuses);
        prop_assert_eq!(planner.claims(), other.claims());
        prop_assert!(now.plan.listeners.is_sorted_by(|a, b| a.id <= b.id));
        is_kept(&listeners(&last), &listeners(&now))?;
        is_kept(&last.statuses.gateways, &now.statuses.gateways)?;
        is_kept(&last.statuses.sets, &now.statuses.sets)?;
        is_kept(&last.statuses.routes, &now.statuses.routes)?;
        prop_assert_eq!(now.plan == last.plan, Arc::ptr_eq(&now.plan, &last.plan));
        prop_assert_eq!(now.statuses == last.statuses, Arc::ptr_eq(&now.statuses, &last.statuses));
        last = now;
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn standalone_it_is_as_from_nothing(changes in changes()) {
        is_as_from_nothing(Role::Standalone, &changes)?;
    }

    #[test]
    fn on_a_node_of_a_cluster_it_is_as_from_nothing(changes in changes()) {
        is_as_from_nothing(Role::Speaker, &changes)?;
    }

    #[test]
    fn in_a_controller_it_is_as_from_nothing(changes in changes()) {
        is_as_from_nothing(Role::Controller, &changes)?;
    }
}

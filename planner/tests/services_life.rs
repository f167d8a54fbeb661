//! Services and pools are edited at random, one after the other, through the planner of a controller.
//! Whatever happens: no address is given out twice with a port in common, nobody's address moves because
//! of somebody else, and a restart, or the same objects in another order, change nothing.

#![allow(missing_docs, reason = "a test has no public items")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::{Value, json};
use vipgate_api::{Age, Kind, ObjectKey, ObjectRef};
use vipgate_planner::planner::Role;
use vipgate_planner::{Claims, Planner};

const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
const POOLS: [&str; 3] = ["one", "three", "two"];

/// One edit.
#[derive(Clone, Debug)]
enum Edit {
    Service(&'static str, Value),
    NoService(&'static str),
    /// The spec, and whether it takes addresses back.
    Pool(&'static str, Value, bool),
    NoPool(&'static str),
    /// A node has found all addresses free.
    Publish,
}

fn service() -> impl Strategy<Value = Edit> {
    let families = select(vec![
        (json!(["IPv4"]), "SingleStack"),
        (json!(["IPv6"]), "SingleStack"),
        (json!(["IPv4", "IPv6"]), "PreferDualStack"),
        (json!(["IPv6", "IPv4"]), "RequireDualStack"),
    ]);
    let ports = subsequence(vec![1, 2, 3, 4], 1..=2);
    let key = select(vec!["", "", "k", "k", "l"]);
    let names = select(vec!["", "", "", "10.0.0.1", "10.0.1.2", "fd00::1,10.0.0.2", "10.9.9.9"]);
    let pool = select(vec!["", "", "", "one", "two,three", "none"]);
    let policy = select(vec!["Cluster", "Cluster", "Local"]);
    let kind = select(vec![("LoadBalancer", None); 4]);
    let kind = prop_oneof![
        6 => kind,
        1 => Just(("LoadBalancer", Some("example.com/lb"))),
        1 => Just(("ClusterIP", None)),
    ];
    let app = select(vec!["x", "y"]);
    let who = select(NAMES.to_vec());
    (who, families, ports, key, names, (pool, policy, kind, app)).prop_map(
        |(name, (families, dual), ports, key, named, (pool, policy, (kind, class), app))| {
            let ports: Vec<_> =
                ports.iter().map(|p| json!({"port": p, "protocol": "TCP"})).collect();
            let annotations = json!({"metallb.io/allow-shared-ip": key,
                "metallb.io/loadBalancerIPs": named, "metallb.io/address-pool": pool});
            let service = json!({"kind": "Service",
                "metadata": {"name": name, "namespace": "default", "annotations": annotations},
                "spec": {"type": kind, "loadBalancerClass": class, "ports": ports,
                    "ipFamilies": families, "ipFamilyPolicy": dual, "selector": {"app": app},
                    "externalTrafficPolicy": policy}});
            Edit::Service(name, service)
        },
    )
}

fn pool() -> impl Strategy<Value = Edit> {
    let ranges = vec!["10.0.0.0/30", "10.0.1.0/30", "10.0.2.1", "fd00::/126", "fd01::/126"];
    let rule = select(vec![
        json!(null),
        json!(null),
        json!({"priority": 5}),
        json!({"namespaces": ["default"]}),
        json!({"namespaces": ["elsewhere"]}),
    ]);
    let flags = (prop::bool::weighted(0.8), any::<bool>(), prop::bool::weighted(0.2));
    (select(POOLS.to_vec()), subsequence(ranges, 1..=4), rule, flags).prop_map(
        |(name, addresses, rule, (auto_assign, avoid, reclaim))| {
            let pool = json!({"kind": "IPAddressPool",
                "metadata": {"name": name, "namespace": "vipgate-system"},
                "spec": {"addresses": addresses, "autoAssign": auto_assign, "avoidBuggyIPs": avoid,
                    "reclaim": reclaim, "serviceAllocation": rule}});
            Edit::Pool(name, pool, reclaim)
        },
    )
}

fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        6 => service(),
        2 => select(NAMES.to_vec()).prop_map(Edit::NoService),
        3 => pool(),
        1 => select(POOLS.to_vec()).prop_map(Edit::NoPool),
        4 => Just(Edit::Publish),
    ]
}

fn reference(name: &str) -> ObjectRef {
    ObjectRef::new(Kind::Service, ObjectKey::new("default", name))
}

/// What there is, beside the planner that is told of it bit by bit.
#[derive(Default)]
struct Cluster {
    services: BTreeMap<&'static str, Value>,
    pools: BTreeMap<&'static str, (Value, bool)>,
}

/// The first of [`NAMES`] is the oldest.
fn age(name: &str) -> Age {
    let place = NAMES.iter().position(|other| *other == name).unwrap_or_default();
    Age { created: None, place: (String::new(), place) }
}

fn tell(planner: &mut Planner, name: &str, object: &Value) {
    planner.apply(support::object(object.clone()).expect("an object"), age(name));
}

fn new_planner(claims: Claims) -> Planner {
    let mut planner = Planner::in_role(Role::Controller);
    planner.set_claims(claims);
    planner.set_release(true);
    planner
}

impl Cluster {
    fn edit(&mut self, planner: &mut Planner, edit: &Edit) {
        match edit {
            Edit::Service(name, service) => {
                tell(planner, name, service);
                self.services.insert(name, service.clone());
            }
            Edit::NoService(name) => {
                planner.delete(&reference(name));
                self.services.remove(name);
            }
            Edit::Pool(name, pool, reclaim) => {
                tell(planner, name, pool);
                self.pools.insert(name, (pool.clone(), *reclaim));
            }
            Edit::NoPool(name) => {
                let key = ObjectKey::new("vipgate-system", *name);
                planner.delete(&ObjectRef::new(Kind::IpAddressPool, key));
                self.pools.remove(name);
            }
            Edit::Publish => {
                let addresses: Vec<_> = planner.claims().0.keys().copied().collect();
                for address in addresses {
                    planner.publish(address);
                }
            }
        }
    }

    /// A controller that starts now, and hears of everything in the opposite order.
    fn restarted(&self, claims: &Claims) -> Planner {
        let text = serde_json::to_string(claims).expect("claims are JSON");
        let mut planner = new_planner(serde_json::from_str(&text).expect("claims are read again"));
        self.services.iter().rev().for_each(|(name, service)| tell(&mut planner, name, service));
        self.pools.iter().rev().for_each(|(name, (pool, _))| tell(&mut planner, name, pool));
        planner
    }

    /// The Services that an edit of `name` must not cost anything: all others that are ours.
    fn bystanders(&self, edit: &Edit) -> BTreeSet<&'static str> {
        let edited = match edit {
            Edit::Service(name, _) | Edit::NoService(name) => Some(*name),
            _ => None,
        };
        let others = self.services.keys().copied();
        others.filter(|name| Some(*name) != edited).collect()
    }
}

fn addresses_of(claims: &Claims, name: &str) -> BTreeSet<IpAddr> {
    let user = reference(name);
    let all = claims.0.iter().filter(|(_, claim)| claim.published && claim.names(&user));
    all.map(|(address, _)| *address).collect()
}

impl Cluster {
    /// The addresses of a Service that it may rely on. One of another pool than those that it names is
    /// not: it moves as soon as a pool that it names is there, and that is its own wish.
    fn relied_on(&self, claims: &Claims, name: &str) -> BTreeSet<IpAddr> {
        let annotations = &self.services[name]["metadata"]["annotations"];
        let pools = annotations["metallb.io/address-pool"].as_str().unwrap_or_default();
        let is_meant = |pool: &str| pools.is_empty() || pools.split(',').any(|named| named == pool);
        let mut addresses = addresses_of(claims, name);
        addresses.retain(|address| is_meant(&claims.0[address].pool));
        addresses
    }
}

/// No two users of an address have a port in common, share without a key, or go to different nodes.
fn in_order(cluster: &Cluster, claims: &Claims) -> Result<(), TestCaseError> {
    for (address, claim) in &claims.0 {
        prop_assert!(!claim.users.is_empty(), "{address} has no user");
        let of = |index: usize| &cluster.services[claim.users[index].object.key.name.as_str()];
        for one in 0..claim.users.len() {
            for other in one + 1..claim.users.len() {
                let ports = |index: usize| -> BTreeSet<u64> {
                    let ports = of(index)["spec"]["ports"].as_array().into_iter().flatten();
                    ports.filter_map(|port| port["port"].as_u64()).collect()
                };
                prop_assert!(ports(one).is_disjoint(&ports(other)), "{address} is given out twice");
                let key = |index: usize| &of(index)["metadata"]["annotations"]["metallb.io/allow-shared-ip"];
                prop_assert!(key(one) == key(other) && key(one) != "", "{address} has two keys");
                let policy = |index: usize| &of(index)["spec"]["externalTrafficPolicy"];
                prop_assert_eq!(policy(one), policy(other));
                let selector = |index: usize| &of(index)["spec"]["selector"];
                prop_assert!(policy(one) == "Cluster" || selector(one) == selector(other));
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn edits_harm_nobody_else(edits in prop::collection::vec(edit(), 1..30)) {
        let (mut planner, mut cluster) = (new_planner(Claims::default()), Cluster::default());
        for edit in &edits {
            let before = planner.claims().clone();
            let reclaimed = |cluster: &Cluster| cluster.pools.values().any(|(_, reclaims)| *reclaims);
            let may_reclaim = reclaimed(&cluster);
            cluster.edit(&mut planner, edit);
            let outcome = planner.run();
            let claims = planner.claims().clone();
            in_order(&cluster, &claims)?;

            let is_of_pools = matches!(edit, Edit::Pool(..) | Edit::NoPool(_));
            if !(is_of_pools && (may_reclaim || reclaimed(&cluster))) {
                for name in cluster.bystanders(edit) {
                    let had = cluster.relied_on(&before, name);
                    let has = addresses_of(&claims, name);
                    prop_assert!(has.is_superset(&had), "{name} had {had:?}, has {has:?}: {edit:?}");
                }
            }

            let again = planner.run();
            prop_assert!(again.claims.is_none(), "a second run changes nothing");
            let mut restarted = cluster.restarted(&claims);
            let afresh = restarted.run();
            prop_assert_eq!(restarted.claims(), &claims, "a restart changes nothing");
            prop_assert_eq!(&afresh.statuses.services, &outcome.statuses.services);
        }
    }
}

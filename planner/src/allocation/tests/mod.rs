//! Tests of allocation: the setup that they share.

mod addresses;
mod arbitrary;
mod keeping;
mod model;
mod pools;
mod properties;
mod scale;
mod services;
mod sharing;
mod sharing_properties;
mod span;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use vipgate_api::gateway::{AddressType, GatewayAddress};
use vipgate_api::k8s::{LabelSelector, Namespace, ObjectMeta};
use vipgate_api::selector::Labels;
use vipgate_api::vipgate::{
    IpAddressPool, IpAddressPoolSpec, PortUse, ServiceAllocation, Transport,
};
use vipgate_api::{Age, Kind, ObjectKey, ObjectRef, Stored};

use super::{
    AddressProblem, Addresses, Allocation, Asks, FAMILIES, Family, Foreign, Ground,
    POOL_ANNOTATION, PoolChoice, Pools, ServiceAsks, Sharing, Traffic, Unshared, Want, run,
};
use crate::claim::{Claim, Claims, Origin, VipUser};
use crate::node::MacAddr;
use crate::world::Shelf;

const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 7]);

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn key(name: &str) -> ObjectKey {
    match name.split_once('/') {
        Some((namespace, name)) => ObjectKey::new(namespace, name),
        None => ObjectKey::new("default", name),
    }
}

fn user(name: &str) -> ObjectRef {
    ObjectRef::new(Kind::Gateway, key(name))
}

fn vip_user(name: &str) -> VipUser {
    VipUser { object: user(name), ports: Vec::new(), terms: None }
}

fn age(place: usize) -> Age {
    Age { created: None, place: (String::new(), place) }
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn selector(key: &str, value: &str) -> LabelSelector {
    LabelSelector { match_labels: Some(labels(&[(key, value)])), match_expressions: None }
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

/// A Gateway that asks for nothing in particular; `name` or `namespace/name`.
fn gateway(name: &str) -> Want {
    Want {
        user: user(name),
        ports: Vec::new(),
        age: Age::default(),
        labels: Labels::new(),
        pool: None,
        asks: Asks::Entries(Vec::new()),
        sharing: None,
        adopt: Vec::new(),
    }
}

/// A Service of these families, SingleStack if it is one and PreferDualStack otherwise.
fn service(name: &str, families: &[Family]) -> Want {
    Want {
        user: ObjectRef::new(Kind::Service, key(name)),
        asks: Asks::Service(ServiceAsks {
            families: families.to_vec(),
            all: false,
            named: Vec::new(),
            named_by: "spec.loadBalancerIP".to_owned(),
        }),
        ..gateway(name)
    }
}

/// RequireDualStack.
fn requiring(name: &str, families: &[Family]) -> Want {
    changed(service(name, families), |asks| asks.all = true)
}

/// The same, with these addresses named.
fn with_names(want: Want, values: &[&str]) -> Want {
    changed(want, |asks| asks.named = strings(values))
}

fn changed(mut want: Want, change: impl FnOnce(&mut ServiceAsks)) -> Want {
    let Asks::Service(asks) = &mut want.asks else { panic!("a Gateway has no families") };
    change(asks);
    want
}

/// The same, sharing with others of this key.
fn sharing(want: Want, key: &str, ports: &[u16]) -> Want {
    let is_service = want.user.kind == Kind::Service;
    let traffic = is_service.then(|| Traffic { local: false, selector: Labels::new() });
    let port = |port: &u16| PortUse { protocol: Transport::Tcp, port: *port };
    let ports = ports.iter().map(port).collect();
    Want { sharing: Some(Sharing { key: key.to_owned(), traffic }), ports, ..want }
}

/// A Gateway with these `spec.addresses`; `""` asks for any.
fn asking(name: &str, values: &[&str]) -> Want {
    let entry = |value: &&str| GatewayAddress {
        kind: AddressType::IpAddress,
        value: (!value.is_empty()).then(|| (*value).to_owned()),
    };
    Want { asks: Asks::Entries(values.iter().map(entry).collect()), ..gateway(name) }
}

/// Names pools, comma separated.
fn naming(want: Want, names: &str) -> Want {
    let annotation = POOL_ANNOTATION.to_owned();
    Want { pool: Some(PoolChoice { annotation, names: names.to_owned() }), ..want }
}

/// `spec.addresses` of a Gateway.
fn entries(want: &Want) -> &[GatewayAddress] {
    match &want.asks {
        Asks::Entries(entries) => entries,
        Asks::Service(_) => panic!("a Service has no entries"),
    }
}

/// All inputs of one allocation.
#[derive(Clone, Debug)]
struct Setup {
    pools: Shelf<IpAddressPool>,
    namespaces: Shelf<Namespace>,
    wants: Vec<Want>,
    claims: Claims,
    foreign: Foreign,
    node_addresses: BTreeSet<IpAddr>,
    release: bool,
}

impl Setup {
    fn new() -> Self {
        Self {
            pools: Shelf::new(),
            namespaces: Shelf::new(),
            wants: Vec::new(),
            claims: Claims::default(),
            foreign: Foreign::new(),
            node_addresses: BTreeSet::new(),
            release: true,
        }
    }

    fn pool(self, name: &str, addresses: &[&str]) -> Self {
        self.pool_with(name, addresses, |_| {})
    }

    fn pool_with(
        mut self,
        name: &str,
        addresses: &[&str],
        change: impl FnOnce(&mut IpAddressPoolSpec),
    ) -> Self {
        let mut spec = IpAddressPoolSpec {
            addresses: strings(addresses),
            exclusions: Vec::new(),
            auto_assign: true,
            avoid_buggy_ips: false,
            reclaim: false,
            service_allocation: None,
        };
        change(&mut spec);
        let pool = IpAddressPool { metadata: ObjectMeta::default(), spec };
        self.pools.insert(key(name), Stored { object: Arc::new(pool), age: Age::default() });
        self
    }

    fn restricted(self, name: &str, addresses: &[&str], rule: ServiceAllocation) -> Self {
        self.pool_with(name, addresses, |spec| spec.service_allocation = Some(rule))
    }

    fn namespace(mut self, name: &str, with: &[(&str, &str)]) -> Self {
        let metadata = ObjectMeta { labels: Some(labels(with)), ..ObjectMeta::default() };
        let object = Arc::new(Namespace { metadata, ..Namespace::default() });
        self.namespaces.insert(ObjectKey::new("", name), Stored { object, age: Age::default() });
        self
    }

    /// Adds a Gateway, younger than those before it.
    fn want(mut self, want: Want) -> Self {
        let age = age(self.wants.len());
        self.wants.push(Want { age, ..want });
        self
    }

    fn claim(mut self, address: &str, pool: &str, gateway: &str, origin: Origin) -> Self {
        let (pool, users) = (pool.to_owned(), vec![vip_user(gateway)]);
        self.claims.0.insert(ip(address), Claim { pool, users, origin, published: false });
        self
    }

    fn published(self, address: &str, pool: &str, gateway: &str, origin: Origin) -> Self {
        let mut setup = self.claim(address, pool, gateway, origin);
        setup.claims.0.get_mut(&ip(address)).unwrap().published = true;
        setup
    }

    fn foreign(mut self, address: &str) -> Self {
        self.foreign.insert(ip(address), MAC);
        self
    }

    fn node_address(mut self, address: &str) -> Self {
        self.node_addresses.insert(ip(address));
        self
    }

    fn keeping_unknown(mut self) -> Self {
        self.release = false;
        self
    }

    fn read_pools(&self) -> (Pools, BTreeMap<ObjectKey, String>) {
        Pools::new(&self.pools, &self.namespaces)
    }

    fn run(&self) -> Allocation {
        let pools = self.read_pools().0;
        let ground =
            Ground { pools: &pools, foreign: &self.foreign, node_addresses: &self.node_addresses };
        run(&ground, self.wants.iter().collect(), &self.claims, self.release)
    }

    /// The same, with all that came out told to clients.
    fn told(&self) -> Self {
        let mut claims = self.run().claims;
        claims.0.values_mut().for_each(|claim| claim.published = true);
        Self { claims, ..self.clone() }
    }

    /// The same with other users, the first the oldest.
    fn wanting(&self, wants: &[Want]) -> Self {
        let empty = Self { wants: Vec::new(), ..self.clone() };
        wants.iter().cloned().fold(empty, Self::want)
    }

    /// The same with the claims that came out, and with other Gateways.
    fn then(&self, wants: Vec<Want>) -> Self {
        Self { claims: self.run().claims, wants, ..self.clone() }
    }
}

fn of<'a>(allocation: &'a Allocation, gateway: &str) -> &'a Addresses {
    &allocation.users[&user(gateway)]
}

fn assigned(allocation: &Allocation, gateway: &str) -> Vec<String> {
    of(allocation, gateway).assigned.iter().map(ToString::to_string).collect()
}

fn assigned_to_service(allocation: &Allocation, name: &str) -> Vec<String> {
    let addresses = &allocation.users[&ObjectRef::new(Kind::Service, key(name))];
    addresses.assigned.iter().map(ToString::to_string).collect()
}

fn problems_of_service(allocation: &Allocation, name: &str) -> Vec<String> {
    let addresses = &allocation.users[&ObjectRef::new(Kind::Service, key(name))];
    addresses.problems.iter().map(ToString::to_string).collect()
}

/// The one problem of a Gateway.
fn problem<'a>(allocation: &'a Allocation, gateway: &str) -> &'a AddressProblem {
    match of(allocation, gateway).problems.as_slice() {
        [problem] => problem,
        other => panic!("one problem expected, got {other:?}"),
    }
}

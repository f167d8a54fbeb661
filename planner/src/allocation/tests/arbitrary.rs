//! Random inputs from a world of 32 addresses, small enough that everything collides: pools that
//! overlap, claims that no pool has, addresses that are foreign or the host's own.

use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::*;

/// 16 IPv4 addresses around a `.255` and a `.0`, and 16 IPv6 addresses.
pub(super) fn universe() -> Vec<IpAddr> {
    let v4 = (0xf8..0x108_u32).map(|n| IpAddr::from((0x0a00_0000 + n).to_be_bytes()));
    let v6 = (0..16).map(|n| ip(&format!("fd00::{n:x}")));
    v4.chain(v6).collect()
}

/// Gateways that a want may come from; claims also come from two more.
const GATEWAYS: usize = 8;

fn name(index: usize) -> ObjectRef {
    let key = ObjectKey::new(["n0", "n1"][index % 2], format!("g{index}"));
    ObjectRef::new(Kind::Gateway, key)
}

fn range() -> impl Strategy<Value = String> {
    (0..2usize, 0..16usize, 0..16usize).prop_map(|(family, a, b)| {
        let all = universe();
        let end = |index| all[family * 16 + index];
        format!("{}-{}", end(a.min(b)), end(a.max(b)))
    })
}

fn rule() -> impl Strategy<Value = ServiceAllocation> {
    (0..3u32, subsequence(vec!["n0"], 0..=1), any::<bool>(), prop::bool::weighted(0.3)).prop_map(
        |(priority, namespaces, by_label, for_web)| ServiceAllocation {
            priority,
            namespaces: strings(&namespaces),
            namespace_selectors: match by_label && !namespaces.is_empty() {
                true => vec![selector("tier", "front")],
                false => vec![],
            },
            service_selectors: vec![],
            gateway_selectors: if for_web { vec![selector("app", "web")] } else { vec![] },
        },
    )
}

fn pool() -> impl Strategy<Value = IpAddressPoolSpec> {
    (
        prop::collection::vec(range(), 0..4),
        prop::collection::vec(range(), 0..2),
        prop::bool::weighted(0.8),
        any::<bool>(),
        prop::option::weighted(0.5, rule()),
    )
        .prop_map(
            |(addresses, exclusions, auto_assign, avoid_buggy_ips, service_allocation)| {
                IpAddressPoolSpec {
                    addresses,
                    exclusions,
                    auto_assign,
                    avoid_buggy_ips,
                    reclaim: false,
                    service_allocation,
                }
            },
        )
}

fn entry() -> impl Strategy<Value = GatewayAddress> {
    prop_oneof![
        4 => select(universe()).prop_map(|address| address.to_string()),
        3 => Just(String::new()),
        1 => Just("10.9.9.9".to_owned()),
        1 => Just("nonsense".to_owned()),
    ]
    .prop_map(|value| {
        let kind = match value.as_str() {
            "nonsense" => AddressType::Hostname,
            _ => AddressType::IpAddress,
        };
        GatewayAddress { kind, value: Some(value) }
    })
}

fn want(index: usize) -> impl Strategy<Value = Want> {
    let named = select(vec!["a", "b,c", "d,missing", "missing"]).prop_map(str::to_owned);
    let entries = prop_oneof![Just(vec![]), prop::collection::vec(entry(), 1..4)];
    (0..3usize, any::<bool>(), prop::option::weighted(0.2, named), entries).prop_map(
        move |(place, web, names, entries)| Want {
            user: name(index),
            ports: Vec::new(),
            age: age(place),
            labels: if web { labels(&[("app", "web")]) } else { Labels::new() },
            pool: names.map(|names| PoolChoice { annotation: POOL_ANNOTATION.to_owned(), names }),
            asks: Asks::Entries(entries),
            sharing: None,
            adopt: Vec::new(),
        },
    )
}

pub(super) fn wants() -> impl Strategy<Value = Vec<Want>> {
    let all: Vec<_> = (0..GATEWAYS).map(|index| want(index).boxed()).collect();
    (all, any::<[bool; GATEWAYS]>()).prop_map(|(wants, there)| {
        wants.into_iter().zip(there).filter_map(|(want, there)| there.then_some(want)).collect()
    })
}

pub(super) fn claims() -> impl Strategy<Value = Claims> {
    let mut addresses = universe();
    addresses.push(ip("10.9.9.9"));
    let claim = (0..GATEWAYS + 2, select(vec!["a", "b", "gone"]), any::<[bool; 2]>());
    let claim = claim.prop_map(|(gateway, pool, [requested, published])| Claim {
        pool: pool.to_owned(),
        users: vec![VipUser { object: name(gateway), ports: Vec::new(), terms: None }],
        origin: if requested { Origin::Requested } else { Origin::Chosen },
        published,
    });
    prop::collection::btree_map(select(addresses), claim, 0..12).prop_map(Claims)
}

/// Everything but Gateways and claims.
pub(super) fn surroundings() -> impl Strategy<Value = Setup> {
    let pools = prop::collection::btree_map(select(vec!["a", "b", "c", "d"]), pool(), 0..=4);
    let some = || prop::collection::btree_set(select(universe()), 0..4);
    (pools, some(), some(), any::<bool>()).prop_map(|(pools, foreign, node_addresses, release)| {
        let base = Setup {
            foreign: foreign.into_iter().map(|address| (address, MAC)).collect(),
            node_addresses,
            release,
            ..Setup::new()
        };
        let base = base.namespace("n1", &[("tier", "front")]);
        pools
            .into_iter()
            .fold(base, |setup, (name, spec)| setup.pool_with(name, &[], |empty| *empty = spec))
    })
}

/// Everything.
pub(super) fn setup() -> impl Strategy<Value = Setup> {
    (surroundings(), wants(), claims()).prop_map(|(surroundings, wants, claims)| Setup {
        wants,
        claims,
        ..surroundings
    })
}

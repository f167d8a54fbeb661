//! Status of an IPAddressPool: how much of it is given out, and whether it is used as written.

use std::collections::BTreeMap;
use std::net::IpAddr;

use vipgate_api::vipgate::IpAddressPoolStatus;
use vipgate_api::{Condition, ConditionType, ObjectKey, Reason};

use super::Layers;
use crate::allocation::Family;

/// How many addresses that are in use but not in their pool any more are named one by one.
const NAMED: usize = 5;

/// What is given out of one pool.
#[derive(Default)]
struct Use {
    v4: i64,
    v6: i64,
    /// Of these, how many the pool still gives out.
    inside: [u128; 2],
    /// Those that it gives out no more.
    outside: Vec<IpAddr>,
}

/// The status of every pool.
pub(super) fn statuses(layers: &Layers<'_>) -> BTreeMap<ObjectKey, IpAddressPoolStatus> {
    let mut uses: BTreeMap<&str, Use> = BTreeMap::new();
    for (address, claim) in &layers.allocation.claims.0 {
        let of_pool = uses.entry(claim.pool.as_str()).or_default();
        match Family::of(*address) {
            Family::V4 => of_pool.v4 += 1,
            Family::V6 => of_pool.v6 += 1,
        }
        match layers.pools.gives_out(&claim.pool, *address) {
            true => of_pool.inside[usize::from(address.is_ipv6())] += 1,
            false => of_pool.outside.push(*address),
        }
    }
    let nothing = Use::default();
    let each = layers.pool_objects.keys().map(|key| {
        let in_use = match layers.pools.is_used(key) {
            true => uses.get(key.name.as_str()).unwrap_or(&nothing),
            false => &nothing,
        };
        (key.clone(), status(layers, key, in_use))
    });
    each.collect()
}

fn status(layers: &Layers<'_>, key: &ObjectKey, in_use: &Use) -> IpAddressPoolStatus {
    let left = |family: Family, inside: u128| {
        let size = layers.pools.size(key, family);
        i64::try_from(size.saturating_sub(inside)).unwrap_or(i64::MAX)
    };
    IpAddressPoolStatus {
        assigned_ipv4: in_use.v4,
        assigned_ipv6: in_use.v6,
        available_ipv4: left(Family::V4, in_use.inside[0]),
        available_ipv6: left(Family::V6, in_use.inside[1]),
        conditions: vec![accepted(layers, key, in_use)],
    }
}

/// Whether addresses are given out as the pool says.
fn accepted(layers: &Layers<'_>, key: &ObjectKey, in_use: &Use) -> Condition {
    let kind = ConditionType::Accepted;
    let problem = layers.pool_problems.get(key);
    if !layers.pools.is_used(key) {
        let why = problem.map_or("it was not read yet", String::as_str);
        return Condition::fails(kind, Reason::Invalid, why);
    }
    let outside = (!in_use.outside.is_empty()).then(|| outside(&in_use.outside));
    let (reason, message) = match (problem, outside) {
        (Some(overlap), None) => (Reason::Overlapping, overlap.clone()),
        (Some(overlap), Some(outside)) => (Reason::Overlapping, format!("{overlap}; {outside}")),
        (None, Some(outside)) => (Reason::Accepted, outside),
        (None, None) => (Reason::Accepted, "its addresses are given out as it says".to_owned()),
    };
    Condition::holds(kind, reason, message)
}

fn outside(addresses: &[IpAddr]) -> String {
    let named: Vec<_> = addresses.iter().take(NAMED).map(IpAddr::to_string).collect();
    let more = match addresses.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!(
        "in use, and kept, although the pool has it no more: {}{more} (spec.reclaim: true takes such \
         addresses back)",
        named.join(", ")
    )
}

//! Whose VIPs this node asks for: those that another member announces on a LAN, and of the members that could take
//! it over and ask for VIPs at all this one is the first.
//!
//! Each member comes to the same by itself, from what all say. While they do not know the same, a VIP is asked for by
//! two, or by none, for a moment.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use vipgate_api::vipgate::Transport;
use vipgate_planner::ownership::{Possession, score};
use vipgate_planner::{Announce, MacAddr, Plan};

use crate::group::{Other, Standing};
use crate::node::macs_of;

/// The note of a member that asks for the VIPs of others.
pub(super) const ASKS: &[u8] = b"p";

/// A VIP to ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// The member that has it, by what the rule knows it.
    pub(super) owner: String,
    /// Its name.
    pub(super) name: String,
    /// The Ethernet addresses that it announces by; any, if it does not say.
    pub(super) macs: BTreeSet<MacAddr>,
    /// The links on which it is announced.
    pub(super) links: Vec<String>,
    /// TCP ports of its listeners.
    pub(super) ports: Vec<u16>,
}

/// By VIP.
pub(super) type Roster = BTreeMap<IpAddr, Target>;

/// The VIPs that the member at `me` asks for.
pub(super) fn roster(plan: &Plan, standing: &Standing, me: SocketAddr) -> Roster {
    let mut ports: BTreeMap<IpAddr, BTreeSet<u16>> = BTreeMap::new();
    for listener in &plan.listeners {
        if listener.transport() == Transport::Tcp {
            ports.entry(listener.id.address).or_default().insert(listener.bind.port());
        }
    }
    let ours = me.to_string();
    let others: Vec<(String, &Other)> =
        standing.others.iter().map(|(address, other)| (address.to_string(), &**other)).collect();
    let target = |vip: &vipgate_planner::Vip| {
        let Announce::Layer2(links) = &vip.announce else { return None };
        let (owner, other) = announcing(standing, vip.address)?;
        let could_ask = |(address, other): &&(String, &Other)| {
            let offer = other.entries.get(&vip.address).and_then(|entry| entry.offer);
            let asks = other.notes.contains_key(ASKS);
            *address != owner && asks && offer.is_some_and(|offer| !offer.leaving)
        };
        let first = score(vip.address, &ours);
        let mut rivals = others.iter().filter(could_ask);
        let is_first = rivals
            .all(|(name, _)| (score(vip.address, name), name.as_str()) < (first, ours.as_str()));
        let target = || Target {
            name: standing.name_of(&owner).to_owned(),
            owner,
            macs: macs_of(other),
            links: links.clone(),
            ports: ports.remove(&vip.address).unwrap_or_default().into_iter().collect(),
        };
        is_first.then(target).map(|target| (vip.address, target))
    };
    plan.vips.values().filter_map(target).collect()
}

/// The member that announces a VIP, if another one does.
pub(super) fn announcing(standing: &Standing, vip: IpAddr) -> Option<(String, &Other)> {
    match standing.ownership.vips.get(&vip)? {
        Possession::There { owner, announced: true } => {
            let other = standing.others.get(&owner.parse().ok()?)?;
            Some((owner.clone(), other))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;

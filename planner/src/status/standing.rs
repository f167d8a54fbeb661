//! How far a VIP has come on this node.

use std::net::IpAddr;

use vipgate_api::Reason;

use super::Layers;
use crate::node::VipState;
use crate::plan::{Announce, Vip};
use crate::refusal::Refusal;
use crate::report::{Lost, truncated, vip_states};

/// What can be said of a VIP.
pub(super) enum Standing {
    /// On the host and announced; the text says by whom and where.
    Serving(String),
    /// Perhaps on a node that has no room to say so.
    Unknown(String),
    /// On its way; the text says what it waits for.
    Waiting(String),
    /// Not reachable through this node.
    Down(Refusal),
}

impl Standing {
    /// Plan and reports together. What the plan rules out needs no report. One node that serves is
    /// enough; else one that may, then what a node waits for, then what stands in its way.
    pub(super) fn of(vip: &Vip, layers: &Layers<'_>) -> Self {
        let (address, reports, this_node) = (vip.address, layers.reports, &layers.node.name);
        let states = vip_states(reports, address);
        // Another member of the group may have it.
        if let Announce::Nowhere(why) = &vip.announce
            && !states.iter().any(|(_, state)| state.is_announced())
        {
            let message = format!("{address} cannot be announced: {why}");
            return Self::Down(Refusal::new(Reason::NoResources, message));
        }
        let routers = |node: &str| {
            reports.get(node).and_then(|report| report.routed.get(&address)).copied().unwrap_or(0)
        };
        let of_node = |(node, state)| Self::on_node(vip, state, node, routers(node));
        let mut standings: Vec<Self> = states.into_iter().map(of_node).collect();
        let silent = truncated(reports);
        if !silent.is_empty() {
            let silent = silent.join(", ");
            standings.push(Self::Unknown(format!(
                "whether {address} is announced is not known: the Speaker object of {silent} has no \
                 room for all that it serves"
            )));
        }
        standings.sort_by_key(|standing| match standing {
            Self::Serving(_) => 0,
            Self::Unknown(_) => 1,
            Self::Waiting(_) => 2,
            Self::Down(_) => 3,
        });
        if !standings.is_empty() {
            return standings.swap_remove(0);
        }
        Self::Waiting(match &vip.announce {
            Announce::ByNodes => format!(
                "no speaker has taken {address} yet{} (if this lasts: does one run? `kubectl get \
                 speakers` lists them)",
                who_had(address, layers.lost)
            ),
            _ if vip.probe => format!("{address} is about to be probed"),
            _ => format!("node {this_node} is about to take {address}"),
        })
    }

    /// `routers` were told of it there.
    fn on_node(vip: &Vip, state: &VipState, node: &str, routers: u32) -> Self {
        let address = vip.address;
        match state {
            VipState::Probing => {
                Self::Waiting(format!("asking the network whether {address} is free"))
            }
            VipState::Conflict(mac) => Self::Down(Refusal::new(
                Reason::AddressNotUsable,
                format!(
                    "{address} is in use by a host with MAC {mac}: take the address from that \
                     host, or put it into spec.exclusions of its pool"
                ),
            )),
            VipState::Standby { owner, announced: true }
            | VipState::Excluded { owner: Some(owner), announced: true, .. } => {
                Self::Serving(format!("{address} is announced by node {owner}"))
            }
            VipState::Standby { owner, announced: false } => {
                Self::Waiting(format!("node {owner} is about to announce {address}"))
            }
            VipState::Excluded { why, .. } => {
                let message = format!("node {node} cannot serve {address}: {why}");
                Self::Down(Refusal::new(Reason::NoResources, message))
            }
            VipState::Waiting(why) => Self::Waiting(format!("no node has {address} yet: {why}")),
            VipState::Failed(why) => {
                let message = format!("node {node} cannot serve {address}: {why}");
                Self::Down(Refusal::new(Reason::NoResources, message))
            }
            VipState::Serving(_) if address.is_loopback() => {
                Self::Serving(format!("{address} is served by node {node} on its loopback"))
            }
            VipState::Serving(links) => {
                let links = links.join(", ");
                let routers = match routers {
                    0 => None,
                    1 => Some("to a router".to_owned()),
                    many => Some(format!("to {many} routers")),
                };
                let links = (!links.is_empty()).then(|| format!("on {links}"));
                let places: Vec<String> = links.into_iter().chain(routers).collect();
                if places.is_empty() {
                    return Self::Waiting(format!(
                        "node {node} has {address}, and no router takes it: see its BGPPeers (`vipgate bgp`)"
                    ));
                }
                Self::Serving(format!(
                    "{address} is announced by node {node} {}",
                    places.join(" and ")
                ))
            }
        }
    }
}

/// The nodes that served an address and are lost, as the end of a sentence.
fn who_had(address: IpAddr, lost: &Lost) -> String {
    let had = lost.iter().filter(|(_, node)| node.served.contains(&address));
    had.map(|(name, node)| format!("; node {name} served it and is lost: {}", node.why)).collect()
}

//! What each node of the group has to do with a VIP, as this one knows it.

use std::net::{IpAddr, SocketAddr};

use vipgate_planner::{Announce, Exclusion, NodeReport, VipState};
use vipgate_speaker::group::{Other, Standing};
use vipgate_speaker::node::{Speaker, excuse};

use super::board::{Situation, describe};
use crate::status::report::NodeStanding;

/// This node first, on which so many of the VIP's listeners are bound, then the others by name.
pub(super) fn of(
    (vip, bound): (IpAddr, u16),
    name: &str,
    speaker: &Speaker,
    standing: Option<&Standing>,
    situation: &Situation,
) -> Vec<NodeStanding> {
    let key = speaker.group().map_or_else(|| name.to_owned(), |group| group.address().to_string());
    let planned = situation.plan.vips.get(&vip);
    let weight = planned.map_or(0, |vip| vip.weight);
    let routed = planned.is_some_and(|vip| vip.announce == Announce::Routed);
    let mut own =
        NodeStanding { name: name.to_owned(), key, weight, bound, ..NodeStanding::default() };
    own_state(&mut own, vip, &situation.report);
    // Whoever serves it for routers alone could have it on the LAN, too.
    let on_the_lan = planned.is_some_and(|vip| matches!(vip.announce, Announce::Layer2(_)));
    own.candidate |= on_the_lan && own.routers.is_some_and(|routers| routers > 0);
    let others = standing.into_iter().flat_map(|standing| &standing.others);
    let mut others: Vec<NodeStanding> =
        others.map(|(address, other)| other_state(vip, *address, other, routed)).collect();
    others.sort_by(|a, b| a.name.cmp(&b.name));
    others.insert(0, own);
    others
}

/// What a node's own report says of it.
pub(crate) fn own_state(node: &mut NodeStanding, vip: IpAddr, report: &NodeReport) {
    let state = report.vips.get(&vip);
    node.routers = report.routed.get(&vip).copied();
    let (owner, candidate, why) = match state {
        // Nobody's on the LAN.
        Some(VipState::Serving(links)) if links.is_empty() && node.routers.is_some() => {
            (false, false, sessions(report).map(|why| ("SomeRouters".to_owned(), why)))
        }
        Some(VipState::Serving(_)) => (true, true, None),
        Some(VipState::Waiting(why)) if node.routers.is_some() => {
            let sessions = sessions(report).map(|sessions| format!("; {sessions}"));
            let why = format!("{why}{}", sessions.unwrap_or_default());
            (false, false, Some(("NoRouter".to_owned(), why)))
        }
        Some(VipState::Probing | VipState::Standby { .. } | VipState::Waiting(_)) => {
            (false, true, None)
        }
        Some(VipState::Excluded { why, .. }) => {
            (false, false, Some((why.reason.to_string(), why.message.clone())))
        }
        Some(VipState::Conflict(_)) => {
            (false, false, Some(("Conflict".to_owned(), describe(vip, report))))
        }
        Some(VipState::Failed(why)) => (false, false, Some(("Failed".to_owned(), why.clone()))),
        None => (false, false, Some(("Unknown".to_owned(), "it says nothing of it".to_owned()))),
    };
    (node.owner, node.candidate) = (owner, candidate);
    node.since = report.since.get(&vip).cloned();
    node.contested = report.contested.get(&vip).map(ToString::to_string);
    node.leaving = report.gives_way.is_some();
    let known = |why: &Exclusion| (why.reason.to_string(), why.message.clone());
    let why = why
        .or_else(|| report.gives_way.as_ref().map(known))
        .or_else(|| report.compromises.get(&vip).map(known));
    (node.reason, node.message) = why.unzip();
}

/// What is wrong with sessions that are not established.
fn sessions(report: &NodeReport) -> Option<String> {
    let down = report.peers.iter().filter(|(_, peer)| !peer.is_established());
    let words: Vec<String> = down
        .map(|(name, peer)| {
            let why = peer.last_error.as_deref().unwrap_or("being connected");
            format!("BGPPeer {name}: {why}")
        })
        .collect();
    (!words.is_empty()).then(|| words.join("; "))
}

/// What another one says to the group; of a VIP that only routers are told of it says nothing.
fn other_state(vip: IpAddr, address: SocketAddr, other: &Other, routed: bool) -> NodeStanding {
    let entry = other.entries.get(&vip).copied().unwrap_or_default();
    let offer = entry.offer.unwrap_or_default();
    let (reason, message) = match entry.offer {
        Some(offer) if offer.leaving => (Some("Leaving".to_owned()), None),
        Some(_) => (None, None),
        None if routed && excuse(other, vip).is_none() => {
            let why = "it announces it to routers, or not, by itself: ask there";
            (Some("Unknown".to_owned()), Some(why.to_owned()))
        }
        None => {
            let why = excuse(other, vip).unwrap_or_else(|| {
                ("Unknown".to_owned(), "it does not offer it: ask there".to_owned())
            });
            (Some(why.0), Some(why.1))
        }
    };
    NodeStanding {
        name: if other.name.is_empty() { address.to_string() } else { other.name.clone() },
        key: address.to_string(),
        owner: entry.hold.is_some_and(|hold| hold.serving),
        candidate: entry.offer.is_some(),
        reason,
        message,
        weight: offer.weight,
        bound: offer.bound,
        leaving: offer.leaving,
        ..NodeStanding::default()
    }
}

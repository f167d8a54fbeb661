//! What each node of the group has to do with a VIP, as this one knows it.

use std::net::{IpAddr, SocketAddr};

use vipgate_planner::{Exclusion, NodeReport, VipState};
use vipgate_speaker::group::{Other, Standing};
use vipgate_speaker::node::{Speaker, excuse};

use super::board::{Situation, describe};
use crate::status::report::NodeStanding;

/// This node first, then the others by name.
pub(super) fn of(
    vip: IpAddr,
    name: &str,
    speaker: &Speaker,
    standing: Option<&Standing>,
    situation: &Situation,
) -> Vec<NodeStanding> {
    let key = speaker.group().map_or_else(|| name.to_owned(), |group| group.address().to_string());
    let bound = situation
        .report
        .listeners
        .iter()
        .filter(|(id, state)| id.address == vip && state.listens());
    let weight = situation.plan.vips.get(&vip).map_or(0, |vip| vip.weight);
    let mut own = NodeStanding {
        name: name.to_owned(),
        key,
        weight,
        bound: u16::try_from(bound.count()).unwrap_or(u16::MAX),
        ..NodeStanding::default()
    };
    own_state(&mut own, vip, &situation.report);
    let others = standing.into_iter().flat_map(|standing| &standing.others);
    let mut others: Vec<NodeStanding> =
        others.map(|(address, other)| other_state(vip, *address, other)).collect();
    others.sort_by(|a, b| a.name.cmp(&b.name));
    others.insert(0, own);
    others
}

/// What a node's own report says of it.
pub(crate) fn own_state(node: &mut NodeStanding, vip: IpAddr, report: &NodeReport) {
    let state = report.vips.get(&vip);
    let (owner, candidate, why) = match state {
        Some(VipState::Serving(_)) => (true, true, None),
        Some(VipState::Probing | VipState::Standby { .. } | VipState::Waiting(_)) => {
            (false, true, None)
        }
        Some(VipState::Excluded { why, .. }) => {
            (false, false, Some((why.reason.to_string(), why.message.clone())))
        }
        Some(VipState::Conflict(_)) => {
            (false, false, Some(("Conflict".to_owned(), describe(state))))
        }
        Some(VipState::Failed(why)) => (false, false, Some(("Failed".to_owned(), why.clone()))),
        None => (false, false, Some(("Unknown".to_owned(), "it says nothing of it".to_owned()))),
    };
    (node.owner, node.candidate) = (owner, candidate);
    node.since = report.since.get(&vip).cloned();
    node.leaving = report.gives_way.is_some();
    let known = |why: &Exclusion| (why.reason.to_string(), why.message.clone());
    let why = why
        .or_else(|| report.gives_way.as_ref().map(known))
        .or_else(|| report.compromises.get(&vip).map(known));
    (node.reason, node.message) = why.unzip();
}

/// What another one says to the group.
fn other_state(vip: IpAddr, address: SocketAddr, other: &Other) -> NodeStanding {
    let entry = other.entries.get(&vip).copied().unwrap_or_default();
    let offer = entry.offer.unwrap_or_default();
    let (reason, message) = match entry.offer {
        Some(offer) if offer.leaving => (Some("Leaving".to_owned()), None),
        Some(_) => (None, None),
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
        since: None,
    }
}

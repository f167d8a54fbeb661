//! Status of BGPPeers, BGPAdvertisements, BFDProfiles and Communities.
//!
//! What is in the objects is told from them. Whether a BGPPeer's password is there, and whether it is the
//! second one for a router, only the nodes know: what they report counts while it is about the present
//! state of the BGPPeer.

use std::collections::BTreeMap;

use vipgate_api::vipgate::BgpStatus;
use vipgate_api::{Condition, ConditionType, Kind, ObjectRef, Reason};

use super::Layers;
use crate::refusal::Refusal;
use crate::routing::{Verdict, is_of_others};

/// How many faults are told in one message.
const TOLD: usize = 6;

/// The status of each of them.
pub(super) fn statuses(layers: &Layers<'_>) -> BTreeMap<ObjectRef, BgpStatus> {
    let verdicts = layers.routing.verdicts.iter();
    let status = |object: &ObjectRef, verdict: &Verdict| match object.kind {
        Kind::BgpPeer => peer(verdict, &Nodes::of(layers, object, verdict)),
        Kind::BgpAdvertisement => BgpStatus {
            conditions: vec![
                accepted(&verdict.faults, "what it selects is announced as it says"),
                resolved(&verdict.dangling),
            ],
        },
        Kind::BfdProfile => BgpStatus {
            conditions: vec![accepted(&verdict.faults, "it counts for BGPPeers that name it")],
        },
        _ => community(verdict),
    };
    verdicts.map(|(object, verdict)| (object.clone(), status(object, verdict))).collect()
}

fn accepted(faults: &[Refusal], well: &str) -> Condition {
    match told(faults) {
        Some(refusal) => refusal.condition(ConditionType::Accepted),
        None => Condition::holds(ConditionType::Accepted, Reason::Accepted, well),
    }
}

fn resolved(dangling: &[Refusal]) -> Condition {
    let kind = ConditionType::ResolvedRefs;
    match told(dangling) {
        Some(refusal) => refusal.condition(kind),
        None => Condition::holds(kind, Reason::ResolvedRefs, "all that it names is there"),
    }
}

fn partly(faults: &[Refusal]) -> Option<Condition> {
    let Refusal { reason, message } = told(faults)?;
    Some(Condition::holds(ConditionType::PartiallyInvalid, reason, message))
}

/// Names that are no good do not harm the others.
fn community(verdict: &Verdict) -> BgpStatus {
    let well = "its names count";
    let conditions = match (verdict.counts, partly(&verdict.faults)) {
        (true, Some(partly)) => vec![accepted(&[], well), partly],
        _ => vec![accepted(&verdict.faults, well)],
    };
    BgpStatus { conditions }
}

/// What the nodes that a BGPPeer takes say of it.
#[derive(Default)]
struct Nodes<'a> {
    /// Names of those that have a session, or try.
    trying: Vec<&'a str>,
    /// Those that have none, and why.
    refusing: Vec<(&'a str, Refusal)>,
}

impl<'a> Nodes<'a> {
    fn of(layers: &Layers<'a>, peer: &ObjectRef, verdict: &Verdict) -> Self {
        let mut nodes = Self::default();
        let name = peer.key.to_string();
        let Some(source) = &verdict.source else { return nodes };
        for (node, report) in layers.reports {
            let said = report.peers.get(&name);
            let Some(said) = said.filter(|_| report.sources.get(peer) == Some(source)) else {
                continue;
            };
            match said.reason {
                None => nodes.trying.push(node),
                Some(reason) => {
                    let why = said.last_error.as_deref().unwrap_or("its log says why");
                    nodes.refusing.push((node, Refusal::new(reason, why)));
                }
            }
        }
        nodes
    }

    /// What they say that is of this sort; of many the first words of each.
    fn refusals(&self, of_others: bool) -> Vec<Refusal> {
        let mut told: Vec<Refusal> = Vec::new();
        for (node, refusal) in &self.refusing {
            if is_of_others(refusal.reason) == of_others
                && !told.iter().any(|one| one.message.ends_with(&refusal.message))
            {
                let message = format!("on node {node}: {}", refusal.message);
                told.push(Refusal::new(refusal.reason, message));
            }
        }
        told
    }
}

fn peer(verdict: &Verdict, nodes: &Nodes<'_>) -> BgpStatus {
    const WELL: &str = "nodes that its nodeSelectors take speak with it";
    if !verdict.faults.is_empty() {
        return BgpStatus { conditions: vec![accepted(&verdict.faults, WELL)] };
    }
    let doubles = nodes.refusals(false);
    let (accepted, doubles_of_some) = match nodes.trying.is_empty() {
        true => (accepted(&doubles, WELL), &[][..]),
        false => (accepted(&[], WELL), &doubles[..]),
    };
    let partly = partly(&[doubles_of_some, &verdict.lacking].concat());
    let dangling = match verdict.dangling.is_empty() {
        true => nodes.refusals(true),
        false => verdict.dangling.clone(),
    };
    let nobody_said = dangling.is_empty() && nodes.trying.is_empty() && doubles.is_empty();
    let resolved = match verdict.has_secret && nobody_said && verdict.source.is_some() {
        true => Condition::unknown(
            ConditionType::ResolvedRefs,
            Reason::Pending,
            "no node has looked at its Secret yet, which only nodes that speak with it may read: does a \
             speaker run on one that its nodeSelectors take?",
        ),
        false => resolved(&dangling),
    };
    BgpStatus {
        conditions: [Some(accepted), Some(resolved), partly].into_iter().flatten().collect(),
    }
}

/// Several refusals as one: the first reason, and what there is room for.
fn told(refusals: &[Refusal]) -> Option<Refusal> {
    let mut sum = crate::refusal::sum(refusals.iter().take(TOLD))?;
    if let Some(more) = refusals.len().checked_sub(TOLD).filter(|more| *more > 0) {
        sum.message += &format!("; and {more} more");
    }
    Some(sum)
}

//! The links of a VIP: who can have it, who has it and why, and whether that is announced and undisputed.

use vipgate_api::{Kind, ObjectRef};

use super::reasons;
use crate::status::report::NodeStanding;
use crate::why::cause::{Cause, Fill, Stage};
use crate::why::chain::Chain;
use crate::why::explain::Explanation;
use crate::why::facts::Vip;

/// A host outside answers for the address.
pub(super) fn is_conflict(node: &NodeStanding) -> bool {
    node.reason.as_deref() == Some("Conflict")
}

/// All of them.
pub(super) fn links(chain: &mut Chain<'_>, user: &ObjectRef, vip: &Vip) {
    let (address, nodes) = (vip.status.address, &vip.status.nodes);
    let users: Vec<String> = vip.users.iter().map(ToString::to_string).collect();
    let mut explanation = Explanation::new(
        address,
        vip.status.pool.clone(),
        users,
        vip.advertisements.clone(),
        nodes.clone(),
    );
    // Another that is not read may be the owner, or the choice.
    let unlisted = chain.facts.unlisted(&[Kind::Speaker]);
    let is_half_seen = unlisted.is_some();
    if let Some(why) = unlisted {
        explanation.leave_open(why);
    }
    chain.good(Stage::Claim, user, format!("{address} is claimed for it"));
    let can = |node: &&NodeStanding| node.owner || node.candidate || node.routers.is_some();
    let able: Vec<&NodeStanding> = nodes.iter().filter(can).collect();
    let conflict = nodes.iter().find(|node| is_conflict(node));
    if let Some(held) = conflict.filter(|_| able.is_empty()) {
        let text = format!("{}: {address} is {}", held.name, said(held));
        chain.broken(Cause::HeldElsewhere, user, text, Fill::at(address).on(&held.name));
    } else if able.is_empty() {
        nobody(chain, user, vip);
    } else {
        chain.good(Stage::Node, user, format!("{address} {}", who_can(&able, nodes)));
        owner(chain, user, vip, &explanation);
        wire(chain, user, vip);
    }
    let is_known = !is_half_seen || nodes.iter().any(|node| node.owner);
    if is_known && !chain.ownership.contains(&explanation) {
        chain.ownership.push(explanation);
    }
}

/// No node can have it. The one that came furthest is the nearest to having it, so its reason is the one to mend:
/// that an advertisement does not select others may well be meant so.
fn nobody(chain: &mut Chain<'_>, user: &ObjectRef, vip: &Vip) {
    let (address, nodes) = (vip.status.address, &vip.status.nodes);
    if nodes.is_empty() {
        let text = format!("no speaker says anything of {address}: there is none");
        chain.broken(Cause::NoSpeaker, user, text, Fill::at(address));
        return;
    }
    // A node that says why is worth more than one that says nothing.
    let cause = |node: &NodeStanding| reasons::of_node(node.reason.as_deref().unwrap_or_default());
    let weigh = |node: &NodeStanding| (cause(node) != Cause::NotTaken, cause(node));
    let Some(nearest) = nodes.iter().rev().max_by_key(|node| weigh(node)) else { return };
    let each: Vec<String> =
        nodes.iter().map(|node| format!("{}: {}", node.name, said(node))).collect();
    let text = format!("no node can have {address}: {}", each.join("; "));
    let port = vip.status.listeners.iter().find(|one| one.failure.is_some()).map(|one| one.port);
    let fill = Fill { port, ..Fill::at(address).on(&nearest.name) };
    chain.broken(cause(nearest), user, text, fill);
}

fn said(node: &NodeStanding) -> String {
    match (&node.reason, &node.message) {
        (_, Some(message)) => message.clone(),
        (Some(reason), None) => reason.clone(),
        (None, None) => "it says nothing of it".to_owned(),
    }
}

/// `can be on a, b; not on c (NoSubnet)`.
fn who_can(able: &[&NodeStanding], nodes: &[NodeStanding]) -> String {
    let names: Vec<&str> = able.iter().map(|node| node.name.as_str()).collect();
    let others = nodes.iter().filter(|node| !able.contains(node));
    let others: Vec<String> = others
        .map(|node| format!("{} ({})", node.name, node.reason.as_deref().unwrap_or("Unknown")))
        .collect();
    let rest =
        if others.is_empty() { String::new() } else { format!("; not on {}", others.join(", ")) };
    format!("can be on {}{rest}", names.join(", "))
}

fn owner(chain: &mut Chain<'_>, user: &ObjectRef, vip: &Vip, explanation: &Explanation) {
    let (address, nodes) = (vip.status.address, &vip.status.nodes);
    let owners: Vec<&NodeStanding> = nodes.iter().filter(|node| node.owner).collect();
    match &owners[..] {
        [] if nodes.iter().any(|node| node.routers.is_some()) => {
            let text = format!("{address}: {}", explanation.why());
            chain.good(Stage::Owner, user, text);
        }
        [] => {
            let mut waiting = nodes.iter().filter(|node| node.candidate);
            let first = waiting.next().map_or("", |node| node.name.as_str());
            let text = format!("nobody has {address}: {}; {}", explanation.why(), vip.status.state);
            chain.broken(Cause::NotTaken, user, text, Fill::at(address).on(first));
        }
        [owner] => {
            let text = format!("{} has {address}: {}", owner.name, explanation.why());
            chain.good(Stage::Owner, user, text);
        }
        several => {
            let names: Vec<&str> = several.iter().map(|owner| owner.name.as_str()).collect();
            let text = format!("{} have {address} at once", names.join(" and "));
            chain.broken(Cause::SeveralOwners, user, text, Fill::at(address).on(names[0]));
        }
    }
}

fn wire(chain: &mut Chain<'_>, user: &ObjectRef, vip: &Vip) {
    let (address, nodes) = (vip.status.address, &vip.status.nodes);
    let mut contested = nodes.iter().filter_map(|node| Some((node, node.contested.as_ref()?)));
    if let Some((node, mac)) = contested.next() {
        let text = format!("{address} on {} is claimed by {mac} too, and defended", node.name);
        chain.broken(Cause::Defended, user, text, Fill::at(address).on(&node.name));
    }
    let routed: Vec<(&NodeStanding, u32)> =
        nodes.iter().filter_map(|node| Some((node, node.routers?))).collect();
    if routed.is_empty() {
        if nodes.iter().any(|node| node.owner) {
            chain.good(Stage::Wire, user, format!("{address} {}", vip.status.state));
        }
        return;
    }
    let told: Vec<String> = (routed.iter().filter(|(_, routers)| *routers > 0))
        .map(|(node, routers)| format!("{} ({routers})", node.name))
        .collect();
    if told.is_empty() {
        let each = routed.iter().map(|(node, _)| format!("{}: {}", node.name, said(node)));
        let text = format!("no router knows {address}: {}", each.collect::<Vec<_>>().join("; "));
        let name = &routed[0].0.name;
        chain.broken(Cause::NoRouter, user, text, Fill::at(address).on(name));
        return;
    }
    let silent: Vec<String> = (routed.iter())
        .filter(|(node, _)| node.reason.is_some())
        .map(|(node, _)| format!("{}: {}", node.name, said(node)))
        .collect();
    let text = format!("routers know {address} from {}", told.join(", "));
    if silent.is_empty() {
        chain.good(Stage::Wire, user, text);
    } else {
        chain.note(Stage::Wire, user, format!("{text}; {}", silent.join("; ")));
    }
}

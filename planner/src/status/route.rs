//! Status of a route: one entry for each parentRef that names a Gateway of ours.

use std::sync::Arc;

use vipgate_api::gateway::Route;
use vipgate_api::{CONTROLLER_NAME, Condition, ConditionType, Kind, ObjectRef, Reason};

use super::{Layers, ParentStatus, RouteStatus};
use crate::attachment::Parent;
use crate::refusal::{Refusal, sum};
use crate::resolution::{Resolved, VipSide};

/// The status of a route that names a Gateway of ours.
pub(super) fn status(
    layers: &Layers<'_>,
    key: &ObjectRef,
    parents: &[Parent],
    route: &Route,
) -> RouteStatus {
    let parents = parents
        .iter()
        .map(|parent| ParentStatus {
            parent_ref: Arc::clone(&parent.reference),
            controller_name: CONTROLLER_NAME,
            conditions: [
                Some(accepted(parent)),
                Some(resolved_refs(layers, key, parent)),
                parent.verdict.is_ok().then(|| partially_invalid(key.kind, route)).flatten(),
            ]
            .into_iter()
            .flatten()
            .collect(),
        })
        .collect();
    RouteStatus { parents }
}

fn accepted(parent: &Parent) -> Condition {
    let kind = ConditionType::Accepted;
    let listeners = match &parent.verdict {
        Ok(listeners) => listeners.join(", "),
        Err(refusal) => return refusal.condition(kind),
    };
    let mut message = format!("attached to {listeners} of Gateway {}", parent.gateway);
    if parent.reference.kind == Kind::ListenerSet.name() {
        message.push_str(&format!(", which ListenerSet {} adds", parent.reference.name));
    }
    for superseded in &parent.superseded {
        let (listener, by) = (&superseded.listener, &superseded.by);
        message.push_str(&format!(
            "; gets no connections on {listener}: the older {by} has that listener"
        ));
    }
    Condition::holds(kind, Reason::Accepted, message)
}

/// The route as each side of the Gateway's addresses sees it.
pub(super) fn resolved<'a>(
    layers: &Layers<'a>,
    key: &ObjectRef,
    parent: &Parent,
) -> Vec<&'a Resolved> {
    let sides = VipSide::all_of(layers.allocation.gateway(&parent.gateway));
    sides.filter_map(|side| layers.resolution.get(key, side)).collect()
}

fn resolved_refs(layers: &Layers<'_>, key: &ObjectRef, parent: &Parent) -> Condition {
    let kind = ConditionType::ResolvedRefs;
    let resolved = resolved(layers, key, parent);
    let unsafe_ones = layers.backend_tls.obstacles(&parent.gateway, key);
    let mut refusals: Vec<&Refusal> = Vec::new();
    let refused = resolved.iter().flat_map(|resolved| &resolved.refusals);
    for refusal in refused.chain(&unsafe_ones) {
        if !refusals.contains(&refusal) {
            refusals.push(refusal);
        }
    }
    if let Some(refusal) = sum(refusals) {
        return refusal.condition(kind);
    }
    let mut message = "every backendRef is resolved".to_owned();
    for starved in resolved.first().iter().flat_map(|resolved| &resolved.starved) {
        message.push_str("; ");
        message.push_str(starved);
    }
    Condition::holds(kind, Reason::ResolvedRefs, message)
}

/// `v1alpha2` allows several rules, but nothing in a connection tells which is meant. An HTTPRoute
/// of several is not accepted at all.
fn partially_invalid(kind: Kind, route: &Route) -> Option<Condition> {
    let dropped = match route.spec.rules.len() {
        0 | 1 => return None,
        2 => "rules[1]".to_owned(),
        many => format!("rules[1] to rules[{}]", many - 1),
    };
    let message = format!(
        "Dropped Rule {dropped}: a {kind} has one rule (as in v1), the first is served; move the \
         backendRefs into it, or write another {kind} for another listener"
    );
    Some(Condition::holds(ConditionType::PartiallyInvalid, Reason::UnsupportedValue, message))
}

//! What is to be said of Gateways and ListenerSets that are not ours, by whoever finds that it said
//! something of them before: they were ours, and nobody has taken them over.
//!
//! Where it is known that nobody serves the object, that is said. Where it is somebody else's now, it
//! is given back as an API server makes it, for its next controller to fill in.

use serde::Serialize;
use vipgate_api::gateway::GatewayAddress;
use vipgate_api::{Condition, ConditionType, GATEWAY_GROUP, Kind, ObjectKey, ObjectRef, Reason};

use super::{Layers, ListenerStatus};

/// The last status of a Gateway or ListenerSet from us.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FormerStatus {
    /// Nothing in place of those of a Gateway that is somebody else's. Absent where they stay: the
    /// Gateway keeps its claims until its class is there again.
    #[serde(skip_serializing_if = "Option::is_none")]
    addresses: Option<Vec<GatewayAddress>>,
    /// Accepted, Programmed.
    conditions: Vec<Condition>,
    /// None: what was said of them is not so any more.
    listeners: Vec<ListenerStatus>,
    /// Of a Gateway, where the API server has ListenerSets.
    #[serde(skip_serializing_if = "Option::is_none")]
    attached_listener_sets: Option<u32>,
}

/// One for every Gateway and ListenerSet that is not ours.
pub(super) fn statuses(layers: &Layers<'_>) -> Vec<(ObjectRef, FormerStatus)> {
    let admission = layers.admission;
    let sets = (!layers.environment.absent.contains(&Kind::ListenerSet)).then_some(0);
    let classless = admission.classless.iter().map(|(key, class)| {
        let status = FormerStatus {
            addresses: None,
            conditions: classless(class),
            listeners: Vec::new(),
            attached_listener_sets: sets,
        };
        (ObjectRef::new(Kind::Gateway, key.clone()), status)
    });
    let foreign = admission.foreign.iter().map(|key| {
        let status = FormerStatus {
            addresses: Some(Vec::new()),
            conditions: given_back(),
            listeners: Vec::new(),
            attached_listener_sets: sets,
        };
        (ObjectRef::new(Kind::Gateway, key.clone()), status)
    });
    let orphans = admission.orphans.iter().map(|(key, gateway)| {
        let why = format!("Gateway {gateway} does not exist: check spec.parentRef, or create it");
        (key, refused(&why))
    });
    let others = admission.foreign_sets.iter().map(|key| (key, of_set(layers, key)));
    let sets = orphans.chain(others).map(|(key, conditions)| {
        let status = FormerStatus {
            addresses: None,
            conditions,
            listeners: Vec::new(),
            attached_listener_sets: None,
        };
        (ObjectRef::new(Kind::ListenerSet, key.clone()), status)
    });
    classless.chain(foreign).chain(sets).collect()
}

/// Of a set whose Gateway is there and not ours.
fn of_set(layers: &Layers<'_>, key: &ObjectKey) -> Vec<Condition> {
    let parent = layers.sets.get(key).map(|stored| &stored.object.spec.parent_ref);
    let gateway = parent.filter(|parent| parent.group == GATEWAY_GROUP && parent.kind == "Gateway");
    let class = gateway.and_then(|parent| {
        let namespace = parent.namespace.as_ref().unwrap_or(&key.namespace);
        let gateway = ObjectKey::new(namespace, &parent.name);
        let class = layers.admission.classless.get(&gateway)?;
        Some(refused(&format!("Gateway {gateway} is not accepted: {}", missing(class))))
    });
    class.unwrap_or_else(given_back)
}

fn refused(why: &str) -> Vec<Condition> {
    [ConditionType::Accepted, ConditionType::Programmed]
        .map(|kind| Condition::fails(kind, Reason::ParentNotAccepted, why))
        .to_vec()
}

/// Whether it will be accepted is for the class to say that it waits for. That nobody serves it is sure.
fn classless(class: &str) -> Vec<Condition> {
    let why = missing(class);
    let programmed = format!("nobody serves it, and its addresses are kept for it: {why}");
    vec![
        Condition::unknown(ConditionType::Accepted, Reason::Pending, why),
        Condition::fails(ConditionType::Programmed, Reason::Pending, programmed),
    ]
}

fn missing(class: &str) -> String {
    format!("there is no GatewayClass {class:?}: create it, or write the name of another")
}

/// As the CRDs have it before a controller comes.
fn given_back() -> Vec<Condition> {
    [ConditionType::Accepted, ConditionType::Programmed]
        .map(|kind| Condition::unknown(kind, Reason::Pending, "Waiting for controller"))
        .to_vec()
}

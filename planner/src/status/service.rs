//! Status of a Service of type LoadBalancer: its addresses, and what is wrong with them.
//!
//! Clients are told only of addresses that were probed and found free, or that they know already.
//! Whether the Service itself works is its own matter: the kernel forwards, not we.

use std::net::IpAddr;

use serde::Serialize;
use vipgate_api::{Condition, ConditionType, Kind, ObjectKey, ObjectRef, Reason};

use super::Layers;
use crate::allocation::{AddressProblem, Addresses};
use crate::report::compromise;
use crate::services::{Classless, ServiceWant};

/// Our part of `Service.status`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceStatus {
    /// Its addresses; absent when they are another controller's, and not to be touched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_balancer: Option<LoadBalancer>,
    /// `vipgate.dev/AddressAssigned`; none for a Service that is ours no more.
    pub conditions: Vec<Condition>,
}

/// `Service.status.loadBalancer`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LoadBalancer {
    /// The addresses, those of the primary family first.
    pub ingress: Vec<Ingress>,
}

/// One address of a Service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Ingress {
    /// The address.
    pub ip: IpAddr,
    /// `VIP`: packets arrive with this address as their destination.
    pub ip_mode: &'static str,
}

/// The status of a Service that is ours no more: nothing, in place of what we wrote.
pub(super) fn former(clear: bool) -> ServiceStatus {
    ServiceStatus { load_balancer: clear.then(LoadBalancer::default), conditions: Vec::new() }
}

/// The status of a Service of our class, or of none.
pub(super) fn status(layers: &Layers<'_>, key: &ObjectKey, want: &ServiceWant) -> ServiceStatus {
    let object = ObjectRef::new(Kind::Service, key.clone());
    match layers.allocation.users.get(&object) {
        Some(addresses) => {
            let published = addresses.assigned.iter().filter(|a| is_published(layers, **a));
            let ingress = published.map(|ip| Ingress { ip: *ip, ip_mode: "VIP" }).collect();
            ServiceStatus {
                load_balancer: Some(LoadBalancer { ingress }),
                conditions: vec![noted(assigned(layers, &object, addresses), want)],
            }
        }
        None => ServiceStatus { load_balancer: None, conditions: vec![left(layers, want)] },
    }
}

fn is_published(layers: &Layers<'_>, address: IpAddr) -> bool {
    let claim = layers.allocation.claims.0.get(&address);
    address.is_loopback() || claim.is_some_and(|claim| claim.published)
}

/// With what of the Service was not heeded.
fn noted(mut condition: Condition, want: &ServiceWant) -> Condition {
    for note in &want.notes {
        condition.message += "; ";
        condition.message += note;
    }
    condition
}

/// Whether it has every address that it asks for.
fn assigned(layers: &Layers<'_>, object: &ObjectRef, addresses: &Addresses) -> Condition {
    let kind = ConditionType::AddressAssigned;
    if let Some(first) = addresses.problems.first() {
        let all: Vec<_> = addresses.problems.iter().map(AddressProblem::to_string).collect();
        return Condition::fails(kind, first.service_reason(), all.join("; "));
    }
    let waiting: Vec<_> = addresses
        .assigned
        .iter()
        .filter(|address| !is_published(layers, **address))
        .map(IpAddr::to_string)
        .collect();
    if !waiting.is_empty() {
        let message = format!(
            "{} is chosen, and told to clients when a node has found it free and taken it (if this \
             lasts: `kubectl get speakers` lists the nodes that could)",
            waiting.join(", ")
        );
        return Condition::fails(kind, Reason::Pending, message);
    }
    let each = addresses.assigned.iter().map(|address| from_pool(layers, object, *address));
    let message = each.collect::<Vec<_>>().join("; ");
    Condition::holds(kind, Reason::AddressAssigned, message)
}

/// `10.0.0.1 of pool lan, shared with Service default/dns`; and why it would not be given out today.
fn from_pool(layers: &Layers<'_>, object: &ObjectRef, address: IpAddr) -> String {
    let Some(claim) = layers.allocation.claims.0.get(&address) else { return address.to_string() };
    let others = claim.users.iter().filter(|user| user.object != *object);
    let others: Vec<_> = others.map(|user| user.object.to_string()).collect();
    let mut text = format!("{address} of pool {}", claim.pool);
    if !others.is_empty() {
        text += &format!(", shared with {}", others.join(", "));
    }
    if let Some(compromise) = compromise(layers.reports, address) {
        text += &format!(" ({compromise})");
    }
    if let Some(note) = layers.allocation.note(object, address) {
        text += &format!(" (kept because it is in use, although {})", note.why);
    }
    text
}

/// Why nothing is done for it.
fn left(layers: &Layers<'_>, want: &ServiceWant) -> Condition {
    let kind = ConditionType::AddressAssigned;
    match layers.classless {
        Classless::Leave(why) if want.classless => {
            Condition::fails(kind, Reason::OtherController, why.clone())
        }
        _ => Condition::fails(kind, Reason::Pending, "no address was looked for yet"),
    }
}

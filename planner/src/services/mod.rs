//! Which Services of type LoadBalancer are ours, and what they want.
//!
//! Ours are those with `loadBalancerClass: vipgate.dev/service`, and those with none, unless another
//! program serves these ([`Classless`]). Companions of Gateways (`vipgate.dev/gateway`) and every other
//! class are somebody else's. Nothing here knows pools or claims.

mod annotations;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use vipgate_api::k8s::{Service, ServiceSpec};
use vipgate_api::vipgate::{PortUse, Transport};
use vipgate_api::{ConditionType, Kind, ObjectKey, ObjectRef, Stored};

use self::annotations::Annotations;
use crate::allocation::{Asks, Family, ServiceAsks, Traffic, Want};
use crate::no_backends;
use crate::world::Shelf;

/// `spec.loadBalancerClass` of the Services that are ours.
pub const SERVICE_CLASS: &str = "vipgate.dev/service";

/// `spec.loadBalancerClass` of the Service that stands for a Gateway. Never allocated for.
pub const COMPANION_CLASS: &str = "vipgate.dev/gateway";

/// What becomes of Services without `loadBalancerClass`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Classless {
    /// They are ours.
    #[default]
    Take,
    /// Another program serves them, so new ones are left to it; those that have an address of ours
    /// keep it. The text names that program, and says how to change this.
    Leave(String),
}

/// What came out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Services {
    /// Those of our class, and those of none.
    pub wants: BTreeMap<ObjectKey, Arc<ServiceWant>>,
    /// Those that were ours (they carry our condition) and are so no more, and whether the addresses
    /// in their status are to go too: in a Service of another class they are another's.
    pub former: BTreeMap<ObjectKey, bool>,
}

/// A Service that needs addresses.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceWant {
    /// What it wants.
    pub want: Want,
    /// Whether it names no class.
    pub classless: bool,
    /// What of it was not heeded, and why; for people.
    pub notes: Vec<String>,
}

/// What was read of each Service that is ours, so that an edit of one reads that one.
#[derive(Debug, Default)]
pub struct Reader(BTreeMap<ObjectKey, (Stored<Service>, Arc<ServiceWant>)>);

impl Reader {
    /// Finds the Services that are ours.
    pub fn admit(&mut self, services: &Shelf<Service>) -> Services {
        let mut admitted = Services::default();
        let mut known = std::mem::take(&mut self.0);
        for (key, stored) in services {
            let spec = stored.object.spec.as_ref();
            match spec.and_then(|spec| Some((spec, class_of(spec)?))) {
                Some((spec, class)) => {
                    let same = known.remove(key).filter(|(read, _)| is_same(read, stored));
                    let entry = same.unwrap_or_else(|| {
                        let want = service_want(key, stored, spec, class.is_none());
                        (stored.clone(), Arc::new(want))
                    });
                    admitted.wants.insert(key.clone(), Arc::clone(&entry.1));
                    self.0.insert(key.clone(), entry);
                }
                None if carries_our_condition(&stored.object) => {
                    let is_balanced = spec.is_some_and(is_load_balancer);
                    admitted.former.insert(key.clone(), !is_balanced);
                }
                None => {}
            }
        }
        admitted
    }
}

/// Whether it is the very object that was read.
fn is_same(read: &Stored<Service>, stored: &Stored<Service>) -> bool {
    Arc::ptr_eq(&read.object, &stored.object) && read.age == stored.age
}

/// The class of a Service that may be ours; the inner one is absent when it names none.
fn class_of(spec: &ServiceSpec) -> Option<Option<&str>> {
    if !is_load_balancer(spec) {
        return None;
    }
    match spec.load_balancer_class.as_deref() {
        None => Some(None),
        Some(SERVICE_CLASS) => Some(Some(SERVICE_CLASS)),
        Some(_) => None,
    }
}

fn is_load_balancer(spec: &ServiceSpec) -> bool {
    spec.type_.as_deref() == Some("LoadBalancer")
}

fn carries_our_condition(service: &Service) -> bool {
    let conditions = service.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let ours = ConditionType::AddressAssigned.to_string();
    conditions.into_iter().any(|condition| condition.type_ == ours)
}

fn service_want(
    key: &ObjectKey,
    stored: &Stored<Service>,
    spec: &ServiceSpec,
    classless: bool,
) -> ServiceWant {
    let metadata = &stored.object.metadata;
    let mut notes = Vec::new();
    let annotations = Annotations::read(metadata, &mut notes);
    notes.extend(no_backends::withdraws(metadata).err());
    let (named, named_by) = annotations.addresses(spec, &mut notes);
    let families = families(spec);
    let all = spec.ip_family_policy.as_deref() == Some("RequireDualStack");
    let local = spec.external_traffic_policy.as_deref() == Some("Local");
    let traffic = Traffic { local, selector: spec.selector.clone().unwrap_or_default() };
    let want = Want {
        user: ObjectRef::new(Kind::Service, key.clone()),
        ports: ports(spec),
        age: stored.age.clone(),
        labels: metadata.labels.clone().unwrap_or_default(),
        pool: annotations.pool(),
        asks: Asks::Service(ServiceAsks { families, all, named, named_by }),
        sharing: annotations.sharing(traffic),
        adopt: status_addresses(&stored.object),
    };
    ServiceWant { want, classless, notes }
}

/// The families that it has, the primary one first. An API server fills in `ipFamilies`; without it
/// those of its cluster addresses count, and at last IPv4.
fn families(spec: &ServiceSpec) -> Vec<Family> {
    let named = spec.ip_families.iter().flatten().filter_map(|name| match name.as_str() {
        "IPv4" => Some(Family::V4),
        "IPv6" => Some(Family::V6),
        _ => None,
    });
    let addresses = spec.cluster_ips.iter().flatten().chain(&spec.cluster_ip);
    let of_addresses = addresses.filter_map(|text| text.parse::<IpAddr>().ok()).map(Family::of);
    let mut families: Vec<Family> = Vec::new();
    for family in named {
        if !families.contains(&family) {
            families.push(family);
        }
    }
    if families.is_empty() {
        for family in of_addresses {
            if !families.contains(&family) {
                families.push(family);
            }
        }
    }
    if families.is_empty() {
        families.push(Family::V4);
    }
    if !matches!(spec.ip_family_policy.as_deref(), Some("PreferDualStack" | "RequireDualStack")) {
        families.truncate(1);
    }
    families
}

fn ports(spec: &ServiceSpec) -> Vec<PortUse> {
    let ports = spec.ports.iter().flatten().filter_map(|port| {
        let protocol = match port.protocol.as_deref() {
            None => Transport::Tcp,
            Some(name) => Transport::named(name)?,
        };
        Some(PortUse { protocol, port: u16::try_from(port.port).ok()? })
    });
    ports.collect::<BTreeSet<_>>().into_iter().collect()
}

/// The addresses that its status shows.
pub fn status_addresses(service: &Service) -> Vec<IpAddr> {
    let balancer = service.status.iter().filter_map(|status| status.load_balancer.as_ref());
    let ingress = balancer.flat_map(|balancer| balancer.ingress.iter().flatten());
    ingress.filter_map(|ingress| ingress.ip.as_ref()?.parse().ok()).collect()
}

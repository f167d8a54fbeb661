//! The companion of a Gateway: a Service that shows it to those who look at Services.
//!
//! external-dns and `kubectl get services` know nothing of Gateways. So each Gateway of ours has one
//! Service of type LoadBalancer beside it, with the labels and annotations of
//! `spec.infrastructure`, and with the Gateway's addresses in its status. Nothing is forwarded by
//! it: it has no selector, and `ipMode: Proxy` keeps kube-proxy from capturing the addresses.
//!
//! What always holds:
//! * A companion is known by its owner and by [`KEYS`], and a Service by its class ([`COMPANION_CLASS`]) too. A
//!   Service of somebody else that has its name is left alone, and the companion takes another one.
//! * Labels and annotations that others put on it stay. Which are the Gateway's stands in an
//!   annotation ([`KEYS`]), so that they go when they are taken out of `spec.infrastructure`.

mod account;
mod service;

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use serde_json::{Map, Value, json};
use vipgate_api::gateway::Gateway;
use vipgate_api::k8s::{ObjectMeta, Service, ServiceAccount};
use vipgate_api::{Kind, ObjectKey, ObjectRef, Resource};
use vipgate_planner::services::COMPANION_CLASS;
use vipgate_planner::world::Shelf;
use vipgate_planner::{Plan, Statuses, World};

use crate::change::Change;
use crate::hash::short_hash;

/// Label that names the Gateway (GEP-1762); every companion has it.
pub const GATEWAY_NAME: &str = "gateway.networking.k8s.io/gateway-name";
/// Annotation: the labels and annotations that come from the Gateway, each with `l:` or `a:` before
/// it, sorted, with commas between them.
pub const KEYS: &str = "vipgate.dev/infrastructure-keys";

/// Protocol and number of each port.
type Ports = BTreeSet<(&'static str, u16)>;

/// Longest name of a Service, and longest value of a label.
const LONGEST: usize = 63;

/// Which kind of object a Gateway's `spec.infrastructure` is put on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Companion {
    /// A Service, which shows the addresses too.
    #[default]
    Service,
    /// A ServiceAccount, which shows the labels and annotations only.
    ServiceAccount,
    /// Nothing.
    None,
}

/// What is to be changed so that every Gateway of ours has its companion, and nobody else has one.
/// Nothing is deleted unless `complete`: what is not known may be there.
pub fn changes(
    world: &World,
    accounts: &Shelf<ServiceAccount>,
    statuses: &Statuses,
    plan: &Plan,
    companion: Companion,
    complete: bool,
) -> Vec<Change> {
    let (mut services, mut accounts) = (services(world), of_gateways(accounts));
    let (mut changes, added) = (Vec::new(), added_ports(plan));
    for (key, gateway) in gateways(world, statuses) {
        let Some(uid) = gateway.metadata.uid.as_deref() else { continue };
        match companion {
            Companion::Service => {
                let ports = ports(gateway, added.get(key));
                if ports.is_empty() {
                    continue;
                }
                let taken = |key: &ObjectKey| world.services.contains_key(key);
                match services.remove(uid) {
                    Some(there) => changes.extend(service::corrections(&there, gateway, &ports)),
                    None => changes.extend(service::create(key, gateway, &ports, taken)),
                }
            }
            Companion::ServiceAccount => match accounts.remove(uid) {
                Some(there) => changes.extend(account::corrections(&there, gateway)),
                None => changes.push(account::create(key, gateway)),
            },
            Companion::None => {}
        }
    }
    if complete {
        let services = services.into_values().flatten().map(reference);
        let accounts = accounts.into_values().flatten().map(reference);
        changes.extend(services.chain(accounts).map(Change::Delete));
    }
    changes
}

/// The statuses of all companions, as they are where the API server keeps `ipMode`.
pub fn statuses(world: &World, statuses: &Statuses) -> Vec<(ObjectRef, Value)> {
    let all = world.services.values().map(|stored| &*stored.object);
    all.filter_map(|service| Some((reference(service), status(world, statuses, service, true)?)))
        .collect()
}

/// The status of a companion: the addresses that clients of the Gateway may use; none where it is not known that
/// the API server keeps `ipMode` ([`crate::ip_mode`]), because kube-proxy would capture them. `None` when the
/// Service is no companion, or its Gateway is not ours, or about to go.
pub fn status(
    world: &World,
    statuses: &Statuses,
    service: &Service,
    keeps_ip_mode: bool,
) -> Option<Value> {
    let owner = gateway_of(service)?;
    let key = ObjectKey::new(&service.key().namespace, &owner.name);
    let gateway = &world.gateways.get(&key)?.object.metadata;
    if gateway.uid.as_deref() != Some(&owner.uid) || gateway.deletion_timestamp.is_some() {
        return None;
    }
    let addresses = statuses.gateways.get(&key)?.addresses.iter().filter(|_| keeps_ip_mode);
    let ingress: Vec<Value> = addresses
        .filter_map(|address| Some(json!({"ip": address.value.as_ref()?, "ipMode": "Proxy"})))
        .collect();
    let load_balancer = match ingress.is_empty() {
        true => json!({}),
        false => json!({"ingress": ingress}),
    };
    Some(json!({"loadBalancer": load_balancer}))
}

/// The Services that are companions of these Gateways.
pub fn beside(world: &World, gateways: &BTreeSet<&ObjectKey>) -> impl Iterator<Item = ObjectRef> {
    let services = world.services.values().filter(|_| !gateways.is_empty());
    services.filter_map(|stored| {
        let (service, name) = (&*stored.object, &gateway_of(&stored.object)?.name);
        let key = ObjectKey::new(&service.key().namespace, name);
        gateways.contains(&key).then(|| reference(service))
    })
}

/// The Gateway that a Service is the companion of.
fn gateway_of(service: &Service) -> Option<&OwnerReference> {
    let is_ours = is_companion(&service.metadata) && is_of_class(service);
    owner(&service.metadata).filter(|_| is_ours)
}

/// Gateways of ours that are there to stay.
fn gateways<'a>(
    world: &'a World,
    statuses: &'a Statuses,
) -> impl Iterator<Item = (&'a ObjectKey, &'a Gateway)> {
    statuses.gateways.keys().filter_map(|key| {
        let gateway = &*world.gateways.get(key)?.object;
        gateway.metadata.deletion_timestamp.is_none().then_some((key, gateway))
    })
}

/// Services that are companions, by the uid of the Gateway that owns them.
fn services(world: &World) -> BTreeMap<&str, Vec<&Service>> {
    let mut all = of_gateways(&world.services);
    all.values_mut().for_each(|services| services.retain(|service| is_of_class(service)));
    all.retain(|_, services| !services.is_empty());
    all
}

/// Objects that belong to a Gateway and carry what it says ([`KEYS`]), by its uid.
fn of_gateways<T: Resource>(shelf: &Shelf<T>) -> BTreeMap<&str, Vec<&T>> {
    let mut all: BTreeMap<&str, Vec<&T>> = BTreeMap::new();
    for stored in shelf.values() {
        let metadata = stored.object.metadata();
        if let Some(owner) = owner(metadata).filter(|_| is_companion(metadata)) {
            all.entry(&owner.uid).or_default().push(&stored.object);
        }
    }
    all
}

fn is_companion(metadata: &ObjectMeta) -> bool {
    metadata.annotations.as_ref().is_some_and(|all| all.contains_key(KEYS))
}

fn is_of_class(service: &Service) -> bool {
    let spec = service.spec.as_ref();
    spec.is_some_and(|spec| spec.load_balancer_class.as_deref() == Some(COMPANION_CLASS))
}

/// The Gateway that an object belongs to.
fn owner(metadata: &ObjectMeta) -> Option<&OwnerReference> {
    let owners = metadata.owner_references.iter().flatten();
    let mut gateways =
        owners.filter(|owner| owner.controller == Some(true) && owner.kind == Kind::Gateway.name());
    gateways.next()
}

fn reference<T: Resource>(object: &T) -> ObjectRef {
    ObjectRef { kind: T::KIND, key: object.key() }
}

/// Ports of listeners that ListenerSets add, by Gateway.
fn added_ports(plan: &Plan) -> BTreeMap<&ObjectKey, Ports> {
    let mut all: BTreeMap<&ObjectKey, Ports> = BTreeMap::new();
    for listener in plan.listeners.iter().filter(|listener| listener.id.set.is_some()) {
        let port = (listener.transport().name(), listener.bind.port());
        all.entry(&listener.id.gateway).or_default().insert(port);
    }
    all
}

/// Ports of the Gateway's listeners, and of those that ListenerSets add.
fn ports(gateway: &Gateway, added: Option<&Ports>) -> Ports {
    let own = gateway.spec.listeners.iter().map(|listener| match listener.protocol.as_str() {
        "UDP" => ("UDP", listener.port),
        _ => ("TCP", listener.port),
    });
    own.chain(added.into_iter().flatten().copied()).collect()
}

/// What a Gateway wants on its companion.
#[derive(Debug, Default, PartialEq)]
struct Infrastructure {
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
}

impl Infrastructure {
    fn of(gateway: &Gateway) -> Self {
        let mut all = match &gateway.spec.infrastructure {
            Some(asked) => {
                Self { labels: asked.labels.clone(), annotations: asked.annotations.clone() }
            }
            None => Self::default(),
        };
        all.labels.insert(GATEWAY_NAME.to_owned(), label_value(gateway.key().name.clone()));
        let keys = all.labels.keys().map(|key| format!("l:{key}"));
        let keys: Vec<String> =
            keys.chain(all.annotations.keys().map(|key| format!("a:{key}"))).collect();
        all.annotations.insert(KEYS.to_owned(), keys.join(","));
        all
    }
}

/// A Gateway's name where it is a value that a label may have, else something in its place: whoever
/// looks for companions finds them by that label.
fn label_value(mut name: String) -> String {
    if name.len() > LONGEST {
        let hash = short_hash([&name], 8);
        name.truncate(LONGEST - 9);
        name = format!("{}-{hash}", name.trim_end_matches(['-', '.']));
    }
    name
}

fn owner_reference(gateway: &Gateway) -> Value {
    json!({
        "apiVersion": Kind::Gateway.api_version(),
        "kind": Kind::Gateway.name(),
        "name": gateway.metadata.name,
        "uid": gateway.metadata.uid,
        "controller": true,
        "blockOwnerDeletion": true,
    })
}

/// Names that a companion may have, the plain one first. Names of Services are shorter than those of
/// Gateways and have no dots.
fn names(gateway: &str, uid: &str) -> [Option<String>; 2] {
    let plain = format!("vipgate-{gateway}");
    let mut stem = plain.replace('.', "-");
    stem.truncate(LONGEST - 9);
    let hashed = format!("{}-{}", stem.trim_end_matches('-'), short_hash([gateway, uid], 8));
    let fits = plain.len() <= LONGEST && !plain.contains('.');
    [fits.then_some(plain), Some(hashed)]
}

fn metadata(has: &ObjectMeta, wanted: &Infrastructure) -> Map<String, Value> {
    let none = BTreeMap::new();
    let (labels, annotations) =
        (has.labels.as_ref().unwrap_or(&none), has.annotations.as_ref().unwrap_or(&none));
    let former: Vec<&str> =
        annotations.get(KEYS).map(|keys| keys.split(',').collect()).unwrap_or_default();
    let of = |mark: &str| -> Vec<&str> {
        former.iter().filter_map(|key| key.strip_prefix(mark)).collect()
    };
    let mut change = Map::new();
    for (name, has, wanted, former) in [
        ("labels", labels, &wanted.labels, of("l:")),
        ("annotations", annotations, &wanted.annotations, of("a:")),
    ] {
        let mut fields = Map::new();
        for (key, value) in wanted.iter().filter(|(key, value)| has.get(*key) != Some(value)) {
            fields.insert(key.clone(), value.clone().into());
        }
        for key in former.into_iter().filter(|key| !wanted.contains_key(*key)) {
            if has.contains_key(key) {
                fields.insert(key.to_owned(), Value::Null);
            }
        }
        if !fields.is_empty() {
            change.insert(name.to_owned(), fields.into());
        }
    }
    change
}

#[cfg(test)]
mod tests;

//! Which GatewayClasses and Gateways are ours, and what of them is valid.
//!
//! Flow: classes with our controller name, then the Gateways that name one of them, then their
//! listeners, each by itself. Gateways of other controllers are remembered by name and never
//! judged. Nothing here knows addresses, routes or nodes, so `Accepted` cannot depend on them.

mod clients;
mod listeners;
mod protocol;
mod room;
mod sets;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use vipgate_api::gateway::{CertificateRef, Gateway, GatewayClass, ListenerSet};
use vipgate_api::k8s::Namespace;
use vipgate_api::selector::Labels;
use vipgate_api::vipgate::PortUse;
use vipgate_api::{CONTROLLER_NAME, Kind, ObjectKey, ObjectRef, Reason, Stored};

pub use self::clients::ClientCheck;
pub use self::listeners::AdmittedListener;
pub(crate) use self::protocol::takes;
use self::room::Room;
pub use self::sets::AdmittedSet;
use crate::allocation::{Asks, POOL_ANNOTATION, PoolChoice, SHARE_ANNOTATION, Sharing, Want};
use crate::no_backends;
use crate::plan::Source;
use crate::refusal::Refusal;
use crate::world::Shelf;

/// What came out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Admission {
    /// Our classes, and why one is refused.
    pub classes: BTreeMap<ObjectKey, Option<Refusal>>,
    /// Gateways of our classes.
    pub gateways: BTreeMap<ObjectKey, AdmittedGateway>,
    /// Gateways whose class is somebody else's.
    pub foreign: BTreeSet<ObjectKey>,
    /// Gateways whose class does not exist, with its name.
    pub classless: BTreeMap<ObjectKey, String>,
    /// ListenerSets that name one of these Gateways.
    pub sets: BTreeMap<ObjectKey, AdmittedSet>,
    /// ListenerSets whose Gateway does not exist, with its name.
    pub orphans: BTreeMap<ObjectKey, ObjectKey>,
    /// All other ListenerSets: somebody else's.
    pub foreign_sets: BTreeSet<ObjectKey>,
    /// What the Gateways want that need addresses: those that are not refused.
    pub wants: BTreeMap<ObjectKey, Want>,
}

/// The objects that are judged, and what they refer to.
#[derive(Clone, Copy)]
pub struct Ground<'a> {
    /// GatewayClasses.
    pub classes: &'a Shelf<GatewayClass>,
    /// Gateways.
    pub gateways: &'a Shelf<Gateway>,
    /// ListenerSets.
    pub listener_sets: &'a Shelf<ListenerSet>,
    /// For their labels.
    pub namespaces: &'a Shelf<Namespace>,
}

/// What became another by an update.
#[derive(Debug, Default)]
pub struct Changed {
    /// Gateways of ours.
    pub gateways: BTreeSet<ObjectKey>,
    /// Those of them that want the same addresses as before, for other ports.
    pub ports: BTreeSet<ObjectKey>,
    /// Whether one of them wants anything else, or nothing any more.
    pub wants: bool,
}

/// A Gateway, judged.
#[derive(Clone, Debug, PartialEq)]
pub struct AdmittedGateway {
    /// Which object this is about.
    pub source: Option<Source>,
    /// Why nothing of it is served, if so (Accepted=False).
    pub refused: Option<Refusal>,
    /// The certificate that it shows to backends, as it refers to it.
    pub client_certificate: Option<CertificateRef>,
    /// Where it says that clients come in whatever certificate they show.
    pub insecure: Vec<String>,
    /// Its listeners, in the order of the spec, then those of its ListenerSets, the set that goes
    /// first in front.
    pub listeners: Vec<AdmittedListener>,
    /// The ListenerSets that name it, the one that goes first in front.
    pub sets: Vec<ObjectKey>,
    /// Its labels, for those who select Services: its own, and before them those of its infrastructure.
    pub labels: Labels,
    /// Whether its VIPs are withdrawn when it has no backend.
    pub withdraws: bool,
    /// What of it was not heeded, and why; for people.
    pub remarks: Vec<String>,
}

impl AdmittedGateway {
    /// Its own listeners with their place, or those of one of its ListenerSets.
    pub fn listeners_of<'a>(
        &'a self,
        set: Option<&'a ObjectKey>,
    ) -> impl Iterator<Item = (usize, &'a AdmittedListener)> {
        self.listeners.iter().enumerate().filter(move |(_, l)| l.set.as_ref() == set)
    }

    /// The listeners to serve, with their place.
    pub fn served(&self) -> impl Iterator<Item = (usize, &AdmittedListener)> {
        let all = if self.refused.is_some() { &[] } else { self.listeners.as_slice() };
        all.iter().enumerate().filter(|(_, listener)| listener.refused.is_none())
    }
}

impl Admission {
    /// The ListenerSets that name a Gateway.
    pub fn sets_of<'a>(
        &'a self,
        gateway: &'a AdmittedGateway,
    ) -> impl Iterator<Item = (&'a ObjectKey, &'a AdmittedSet)> {
        gateway.sets.iter().filter_map(|set| self.sets.get_key_value(set))
    }
}

/// Judges classes, Gateways and ListenerSets.
pub fn admit(ground: Ground<'_>) -> Admission {
    let Ground { classes, gateways, listener_sets, namespaces } = ground;
    let sets = sets::by_gateway(listener_sets);
    let mut admission = Admission { classes: admit_classes(classes), ..Admission::default() };
    for (key, stored) in gateways {
        let name = &stored.object.spec.gateway_class_name;
        let class = ObjectKey::new("", name);
        let Some(refused) = admission.classes.get(&class) else {
            if classes.contains_key(&class) {
                admission.foreign.insert(key.clone());
            } else {
                admission.classless.insert(key.clone(), name.clone());
            }
            continue;
        };
        let mut room = Room::default();
        let mut gateway = admit_gateway(key, &stored.object, name, refused.as_ref(), &mut room);
        for set in sets.get(key).into_iter().flatten() {
            let refused = sets::allowed(&stored.object, key, &set.namespace, namespaces);
            if refused.is_none() {
                let listeners = &listener_sets[*set].object.spec.listeners;
                let spec = &stored.object.spec;
                let before = &gateway.listeners;
                let more = listeners::admit((key, spec), Some(set), listeners, before);
                gateway.listeners.extend(room.taken_by(more));
            }
            let source = Source::of(&listener_sets[*set].object.metadata);
            let admitted = AdmittedSet { source, gateway: key.clone(), refused };
            admission.sets.insert((*set).clone(), admitted);
            gateway.sets.push((*set).clone());
        }
        if gateway.refused.is_none() {
            admission.wants.insert(key.clone(), want(key, stored, &gateway));
        }
        admission.gateways.insert(key.clone(), gateway);
    }
    for (gateway, orphans) in sets.iter().filter(|(key, _)| !gateways.contains_key(key)) {
        let orphans = orphans.iter().map(|set| ((*set).clone(), gateway.clone()));
        admission.orphans.extend(orphans);
    }
    let others = listener_sets.keys();
    let others = others
        .filter(|set| !admission.sets.contains_key(set) && !admission.orphans.contains_key(set));
    admission.foreign_sets = others.cloned().collect();
    admission
}

/// Judges these Gateways anew: nothing else changed since all were judged. `None`, and nothing is done: which
/// Gateways are ours is another matter now, or ListenerSets are concerned, so all have to be judged.
pub fn update(
    admission: &mut Arc<Admission>,
    ground: Ground<'_>,
    stale: &BTreeSet<ObjectKey>,
) -> Option<Changed> {
    let mut judged = Vec::new();
    for key in stale {
        let stored = ground.gateways.get(key)?;
        let name = &stored.object.spec.gateway_class_name;
        let class = ObjectKey::new("", name);
        let Some(refused) = admission.classes.get(&class) else {
            // Somebody else's, as before.
            if admission.foreign.contains(key) && ground.classes.contains_key(&class) {
                continue;
            }
            return None;
        };
        let before = admission.gateways.get(key).filter(|before| before.sets.is_empty())?;
        let mut room = Room::default();
        let now = admit_gateway(key, &stored.object, name, refused.as_ref(), &mut room);
        let want = now.refused.is_none().then(|| want(key, stored, &now));
        if *before != now || admission.wants.get(key) != want.as_ref() {
            judged.push((key, now, want));
        }
    }
    let mut changed = Changed::default();
    for (key, now, want) in judged {
        let admission = Arc::make_mut(admission);
        changed.gateways.insert(key.clone());
        admission.gateways.insert(key.clone(), now);
        let before = match &want {
            Some(want) => admission.wants.insert(key.clone(), want.clone()),
            None => admission.wants.remove(key),
        };
        if before == want {
            continue;
        }
        let ports_alone = before
            .zip(want)
            .is_some_and(|(before, want)| Want { ports: want.ports.clone(), ..before } == want);
        match ports_alone {
            true => drop(changed.ports.insert(key.clone())),
            false => changed.wants = true,
        }
    }
    Some(changed)
}

fn admit_classes(classes: &Shelf<GatewayClass>) -> BTreeMap<ObjectKey, Option<Refusal>> {
    let ours = classes.iter().filter(|(_, c)| c.object.spec.controller_name == CONTROLLER_NAME);
    ours.map(|(key, class)| {
        let refused = class.object.spec.parameters_ref.as_ref().map(|parameters| {
            let message = format!(
                "spec.parametersRef names {} {}, but vipgate has no parameters: remove it",
                parameters.kind, parameters.name
            );
            Refusal::new(Reason::InvalidParameters, message)
        });
        (key.clone(), refused)
    })
    .collect()
}

fn admit_gateway(
    key: &ObjectKey,
    gateway: &Gateway,
    class: &str,
    unfit: Option<&Refusal>,
    room: &mut Room,
) -> AdmittedGateway {
    let listeners = listeners::admit((key, &gateway.spec), None, &gateway.spec.listeners, &[]);
    let listeners = room.taken_by(listeners);
    let refused = unfit
        .map(|why| {
            let message = format!("GatewayClass {class} is not accepted: {}", why.message);
            Refusal::new(why.reason, message)
        })
        .or_else(|| parameters(gateway))
        .or_else(|| none_valid(&listeners));
    let backend = gateway.spec.tls.as_ref().and_then(|tls| tls.backend.as_ref());
    let client_certificate = backend.and_then(|tls| tls.client_certificate_ref.clone());
    let insecure = clients::insecure(&gateway.spec);
    let source = Source::of(&gateway.metadata);
    let (withdraws, remarks) = match no_backends::withdraws(&gateway.metadata) {
        Ok(withdraws) => (withdraws, Vec::new()),
        Err(remark) => (false, vec![remark]),
    };
    let labels = labels(gateway);
    AdmittedGateway {
        source,
        refused,
        client_certificate,
        insecure,
        listeners,
        sets: Vec::new(),
        labels,
        withdraws,
        remarks,
    }
}

/// What a Service in its place would have.
fn labels(gateway: &Gateway) -> Labels {
    let mut labels = gateway.metadata.labels.clone().unwrap_or_default();
    let infrastructure = gateway.spec.infrastructure.iter();
    labels.extend(infrastructure.flat_map(|all| all.labels.clone()));
    labels
}

fn parameters(gateway: &Gateway) -> Option<Refusal> {
    let parameters = gateway.spec.infrastructure.as_ref()?.parameters_ref.as_ref()?;
    let message = format!(
        "spec.infrastructure.parametersRef names {} {}, but vipgate has no parameters: remove it",
        parameters.kind, parameters.name
    );
    Some(Refusal::new(Reason::InvalidParameters, message))
}

fn none_valid(listeners: &[AdmittedListener]) -> Option<Refusal> {
    if listeners.iter().any(|listener| listener.refused.is_none()) {
        return None;
    }
    let message = match listeners.is_empty() {
        true => "the Gateway has no listener: add one to spec.listeners".to_owned(),
        false => format!("no listener is valid: {}", list_refused(listeners)),
    };
    Some(Refusal::new(Reason::ListenersNotValid, message))
}

/// The listeners that are not served, each with the reason.
pub(crate) fn list_refused<'a>(
    listeners: impl IntoIterator<Item = &'a AdmittedListener>,
) -> String {
    let refused = listeners.into_iter().filter_map(|listener| {
        let why = listener.refused.as_ref()?;
        Some(format!("{} ({})", listener.name, why.reason))
    });
    refused.collect::<Vec<_>>().join(", ")
}

fn want(key: &ObjectKey, stored: &Stored<Gateway>, gateway: &AdmittedGateway) -> Want {
    let metadata = &stored.object.metadata;
    let annotation = |name: &str| {
        let value = metadata.annotations.as_ref()?.get(name)?;
        (!value.is_empty()).then(|| value.clone())
    };
    Want {
        user: ObjectRef::new(Kind::Gateway, key.clone()),
        ports: ports(gateway),
        age: stored.age.clone(),
        labels: metadata.labels.clone().unwrap_or_default(),
        pool: annotation(POOL_ANNOTATION)
            .map(|names| PoolChoice { annotation: POOL_ANNOTATION.to_owned(), names }),
        asks: Asks::Entries(stored.object.spec.addresses.clone()),
        sharing: annotation(SHARE_ANNOTATION).map(|key| Sharing { key, traffic: None }),
        adopt: stored.object.status_addresses(),
    }
}

/// What it serves on each address, each port once.
fn ports(gateway: &AdmittedGateway) -> Vec<PortUse> {
    let ports: BTreeSet<PortUse> =
        gateway.served().filter_map(|(_, listener)| listener.port_use()).collect();
    ports.into_iter().collect()
}

//! What is said about every object: conditions, and a list of what is wrong.
//!
//! Everything is derived from the other layers and from what the nodes report: by [`derive()`] for all, or by
//! [`update`] for the parts that a change is about. What [`update`] leaves as it was is what [`derive()`] would
//! say, and `tests/incremental.rs` holds it to that. Conditions come in a fixed order and have no
//! times: whoever writes them adds `lastTransitionTime` and keeps it while the status is the same.

mod backend_tls;
mod bgp;
mod former;
mod gateway;
mod json;
mod listener;
mod listener_set;
mod pool;
mod problem;
mod route;
mod service;
mod standing;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Serialize;
use vipgate_api::gateway::{
    GatewayAddress, ListenerSet, ParentReference, PolicyStatus, RouteGroupKind,
};
use vipgate_api::vipgate::{BgpStatus, IpAddressPool, IpAddressPoolStatus};
use vipgate_api::{Condition, ConditionType, Kind, ObjectKey, ObjectRef, Reason};

pub use self::former::FormerStatus;
pub use self::problem::Problem;
pub use self::service::{Ingress, LoadBalancer, ServiceStatus};
use crate::admission::{Admission, AdmittedGateway};
use crate::allocation::{Allocation, Pools};
use crate::attachment::Attachment;
use crate::backend_tls as towards_backends;
use crate::certificates::Certificates;
use crate::environment::Environment;
use crate::node::Node;
use crate::plan::Plan;
use crate::policies::Policies;
use crate::refusal::Refusal;
use crate::report::{Lost, Reports};
use crate::resolution::Resolution;
use crate::routing::Routing;
use crate::services::{Classless, Services};
use crate::world::{Routes, Shelf};

/// Gateway API features that are served, by name.
///
/// `GatewayInfrastructure` is the name in v1.6.2 and later of what was
/// `GatewayInfrastructurePropagation`: both are claimed, so that every release of the tests runs them.
const SUPPORTED_FEATURES: [&str; 12] = [
    "Gateway",
    "GatewayAddressEmpty",
    "GatewayInfrastructure",
    "GatewayInfrastructurePropagation",
    "GatewayStaticAddresses",
    "ListenerSet",
    "ReferenceGrant",
    "TCPRoute",
    "TLSRoute",
    "TLSRouteModeMixed",
    "TLSRouteModeTerminate",
    "UDPRoute",
];

/// Status of every object that we write one for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Statuses {
    /// GatewayClasses of ours.
    pub classes: BTreeMap<ObjectKey, ClassStatus>,
    /// Gateways of our classes.
    pub gateways: BTreeMap<ObjectKey, Arc<GatewayStatus>>,
    /// ListenerSets that name one of these Gateways.
    pub sets: BTreeMap<ObjectKey, Arc<SetStatus>>,
    /// Routes with a parentRef to one of these Gateways.
    pub routes: BTreeMap<ObjectRef, Arc<RouteStatus>>,
    /// Services of type LoadBalancer that are ours, or were.
    pub services: BTreeMap<ObjectKey, ServiceStatus>,
    /// IPAddressPools.
    pub pools: BTreeMap<ObjectKey, IpAddressPoolStatus>,
    /// BGPPeers, BGPAdvertisements, BFDProfiles and Communities.
    pub bgp: BTreeMap<ObjectRef, BgpStatus>,
    /// Policies that are ours, or that are about what is ours.
    pub policies: BTreeMap<ObjectRef, PolicyStatus>,
    /// Gateways and ListenerSets that are not ours: for whoever finds there what we said once, and
    /// for nobody else.
    pub former: BTreeMap<ObjectRef, FormerStatus>,
    /// What is wrong, broken things first.
    pub problems: Vec<Problem>,
    /// What is well but worth knowing, such as an address in use that its pool no longer has.
    pub notes: Vec<String>,
}

/// `GatewayClass.status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClassStatus {
    /// Accepted, SupportedVersion.
    pub conditions: Vec<Condition>,
    /// Sorted by name; absent where the API server knows features in another form, or none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub supported_features: Option<Vec<Feature>>,
}

/// One of `GatewayClass.status.supportedFeatures`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Feature {
    /// Name, as the conformance suite knows it.
    pub name: &'static str,
}

/// `Gateway.status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayStatus {
    /// Addresses that clients may use.
    pub addresses: Vec<GatewayAddress>,
    /// Accepted, Programmed, and ResolvedRefs where it is not so.
    pub conditions: Vec<Condition>,
    /// Every listener of its own, in the order of the spec.
    pub listeners: Vec<ListenerStatus>,
    /// How many ListenerSets are accepted; absent where the API server has no ListenerSets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attached_listener_sets: Option<u32>,
}

/// `ListenerSet.status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SetStatus {
    /// Accepted, Programmed.
    pub conditions: Vec<Condition>,
    /// Every listener, in the order of the spec.
    pub listeners: Vec<ListenerStatus>,
}

/// One of `Gateway.status.listeners`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListenerStatus {
    /// Its name.
    pub name: String,
    /// Kinds of routes that it takes.
    pub supported_kinds: Arc<[RouteGroupKind]>,
    /// Number of routes attached to it, those that an older one supersedes included.
    pub attached_routes: u32,
    /// Accepted, Programmed, ResolvedRefs, Conflicted.
    pub conditions: Vec<Condition>,
}

/// `status` of a route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RouteStatus {
    /// Our entries; those of other controllers are theirs.
    pub parents: Vec<ParentStatus>,
}

/// One of `status.parents` of a route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ParentStatus {
    /// As it stands in the spec, with the defaults of the CRD.
    pub parent_ref: Arc<ParentReference>,
    /// Ours.
    pub controller_name: &'static str,
    /// Accepted, ResolvedRefs, and PartiallyInvalid where it is so.
    pub conditions: Vec<Condition>,
}

/// What status is derived from.
pub struct Layers<'a> {
    /// The routes themselves.
    pub routes: &'a Routes,
    /// Classes, Gateways and listeners.
    pub admission: &'a Admission,
    /// Services of type LoadBalancer.
    pub services: &'a Services,
    /// What becomes of those without a class.
    pub classless: &'a Classless,
    /// Every pool.
    pub pool_objects: &'a Shelf<IpAddressPool>,
    /// Those that are used.
    pub pools: &'a Pools,
    /// What the cluster has.
    pub environment: &'a Environment,
    /// Pools that cannot be used as written.
    pub pool_problems: &'a BTreeMap<ObjectKey, String>,
    /// Addresses.
    pub allocation: &'a Allocation,
    /// Routes on listeners.
    pub attachment: &'a Attachment,
    /// Endpoints of routes.
    pub resolution: &'a Resolution,
    /// Certificates of listeners.
    pub certificates: &'a Certificates,
    /// What policies come to.
    pub policies: &'a Policies,
    /// TLS towards backends.
    pub backend_tls: &'a towards_backends::Policies,
    /// What is about BGP.
    pub routing: &'a Routing,
    /// The ListenerSets themselves.
    pub sets: &'a Shelf<ListenerSet>,
    /// What the node is asked to do.
    pub plan: &'a Plan,
    /// The node.
    pub node: &'a Node,
    /// What each node does.
    pub reports: &'a Reports,
    /// Nodes that are not heard any more.
    pub lost: &'a Lost,
}

/// Derives every status. Those of Gateways, ListenerSets and routes that come out as they were in the last ones
/// keep their identity.
pub fn derive(layers: &Layers<'_>, last: &Statuses) -> Statuses {
    let mut statuses = Statuses {
        notes: layers.allocation.notes.iter().map(ToString::to_string).collect(),
        ..Statuses::default()
    };
    for (key, refused) in &layers.admission.classes {
        statuses.classes.insert(key.clone(), class(refused.as_ref(), layers.environment));
    }
    for (key, gateway) in &layers.admission.gateways {
        let (status, sets) = of_gateway(layers, key, gateway);
        statuses.gateways.insert(key.clone(), kept(&last.gateways, key, status));
        let sets = sets.into_iter();
        statuses.sets.extend(sets.map(|(set, now)| (set.clone(), kept(&last.sets, set, now))));
    }
    for key in layers.attachment.routes.keys() {
        if let Some(status) = of_route(layers, key) {
            statuses.routes.insert(key.clone(), kept(&last.routes, key, status));
        }
    }
    for (key, want) in &layers.services.wants {
        statuses.services.insert(key.clone(), service::status(layers, key, want));
        let user = &want.want.user;
        statuses.notes.extend(want.notes.iter().map(|note| format!("{user}: {note}")));
    }
    for (key, clear) in &layers.services.former {
        statuses.services.insert(key.clone(), service::former(*clear));
    }
    statuses.pools = pool::statuses(layers);
    statuses.bgp = bgp::statuses(layers);
    statuses.policies.clone_from(&layers.policies.statuses);
    statuses.policies.extend(backend_tls::statuses(layers));
    statuses.former = former::statuses(layers).into_iter().collect();
    statuses.problems = problem::problems(&statuses, layers);
    statuses
}

/// Derives the statuses of these Gateways, with their ListenerSets, and routes anew: nothing that is said of
/// anything else has changed since they were derived. Statuses that come out as they were keep their identity.
pub fn update(statuses: &mut Arc<Statuses>, layers: &Layers<'_>, stale: &BTreeSet<ObjectRef>) {
    for object in stale {
        let key = &object.key;
        if object.kind != Kind::Gateway {
            match of_route(layers, object) {
                Some(now) if same(&statuses.routes, object, &now).is_some() => {}
                Some(now) => {
                    Arc::make_mut(statuses).routes.insert(object.clone(), Arc::new(now));
                }
                None if !statuses.routes.contains_key(object) => {}
                None => drop(Arc::make_mut(statuses).routes.remove(object)),
            }
            continue;
        }
        let Some(gateway) = layers.admission.gateways.get(key) else { continue };
        let (now, sets) = of_gateway(layers, key, gateway);
        if same(&statuses.gateways, key, &now).is_none() {
            Arc::make_mut(statuses).gateways.insert(key.clone(), Arc::new(now));
        }
        for (set, now) in sets {
            if same(&statuses.sets, set, &now).is_none() {
                Arc::make_mut(statuses).sets.insert(set.clone(), Arc::new(now));
            }
        }
    }
    let problems = problem::update(statuses, layers, stale);
    if statuses.problems != problems {
        Arc::make_mut(statuses).problems = problems;
    }
}

/// The last status of an object, if it says the same as the one of now.
fn same<'a, K: Ord, V: PartialEq>(
    last: &'a BTreeMap<K, Arc<V>>,
    key: &K,
    now: &V,
) -> Option<&'a Arc<V>> {
    last.get(key).filter(|last| ***last == *now)
}

/// The status of now: the last one itself, if that says the same.
fn kept<K: Ord, V: PartialEq>(last: &BTreeMap<K, Arc<V>>, key: &K, now: V) -> Arc<V> {
    same(last, key, &now).cloned().unwrap_or_else(|| Arc::new(now))
}

/// The status of a Gateway, and those of its ListenerSets.
fn of_gateway<'a>(
    layers: &'a Layers<'a>,
    key: &'a ObjectKey,
    gateway: &'a AdmittedGateway,
) -> (GatewayStatus, Vec<(&'a ObjectKey, SetStatus)>) {
    let view = gateway::View::new(layers, key, gateway);
    let sets = layers.admission.sets_of(gateway);
    let sets = sets.map(|(set, admitted)| (set, listener_set::status(&view, set, admitted)));
    let sets = sets.collect();
    (view.status(), sets)
}

/// The status of a route, if it names a Gateway of ours.
fn of_route(layers: &Layers<'_>, key: &ObjectRef) -> Option<RouteStatus> {
    let (stored, parents) = (layers.routes.get(key)?, layers.attachment.routes.get(key)?);
    Some(route::status(layers, key, parents, &stored.object))
}

fn class(refused: Option<&Refusal>, environment: &Environment) -> ClassStatus {
    let accepted = match refused {
        Some(refusal) => refusal.condition(ConditionType::Accepted),
        None => Condition::holds(
            ConditionType::Accepted,
            Reason::Accepted,
            format!("Gateways of this class are served by vipgate{}", environment.unread()),
        ),
    };
    let version = environment.supported_version();
    ClassStatus {
        conditions: vec![accepted, version],
        // One field in a form that the CRD does not have, and the API server refuses all of it.
        supported_features: environment
            .has_features()
            .then(|| SUPPORTED_FEATURES.map(|name| Feature { name }).to_vec()),
    }
}

//! From backendRefs to endpoints.
//!
//! Flow, for each backendRef: kind served? → reference permitted? → object and port there? →
//! ready endpoints (leaving ones when none is ready), names by their last answer → addresses that may be
//! forwarded to.
//!
//! What always holds: a target has one share for each backendRef, in their order and with their
//! weights, also for those that cannot be resolved. So a broken reference takes its own part of
//! the connections down and no other. The existence of an object in another namespace shows only
//! where a ReferenceGrant allows to look.

mod by_name;
mod candidates;
mod grants;
mod here;
mod nearness;
mod refused;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use vipgate_api::gateway::{BackendRef, ReferenceGrant, Route};
use vipgate_api::k8s::Service;
use vipgate_api::vipgate::Backend;
use vipgate_api::{Kind, ObjectKey, ObjectRef, Reason, VIPGATE_GROUP};

use self::by_name::ByName;
use self::candidates::{Candidate, Readiness, Slices};
pub(crate) use self::candidates::{ready_nodes, service_of, with_endpoints};
pub(crate) use self::grants::may_refer;
use self::here::Whereabouts;
pub use self::nearness::Place;
use crate::allocation::{Addresses, Allocation};
use crate::attachment::Attachment;
use crate::claim::Claims;
use crate::index::Index;
use crate::names::Names;
use crate::plan::{BackendSettings, BackendShare, ClientAddress, Endpoint, Target};
use crate::policies::Policies;
use crate::refusal::Refusal;
use crate::world::{Shelf, World};

/// What came out: by route. Only what is attached, and only for the VIPs there are.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Resolution(BTreeMap<ObjectRef, Sides>);

/// A route by whether the VIP is a loopback one: only those may have backends on loopback.
#[derive(Clone, Debug, Default, PartialEq)]
struct Sides {
    loopback: Option<Arc<Resolved>>,
    network: Option<Arc<Resolved>>,
}

impl Sides {
    fn side(&self, side: VipSide) -> Option<&Resolved> {
        match side {
            VipSide::Loopback => self.loopback.as_deref(),
            VipSide::Network => self.network.as_deref(),
        }
    }
}

impl Resolution {
    /// A route, as connections see it that come from one side.
    pub fn get(&self, route: &ObjectRef, side: VipSide) -> Option<&Resolved> {
        self.0.get(route)?.side(side)
    }

    /// Every route, by each side.
    pub fn all(&self) -> impl Iterator<Item = &Resolved> {
        self.0
            .values()
            .flat_map(|sides| sides.loopback.iter().chain(&sides.network))
            .map(|one| &**one)
    }

    /// Whether some backend is to see its clients' addresses.
    pub(crate) fn preserves(&self) -> bool {
        let mut shares = self.all().flat_map(|resolved| &resolved.target.shares);
        shares.any(|share| share.settings.client_address == ClientAddress::Preserve)
    }
}

/// On which side of the host an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum VipSide {
    /// Reached from the host itself.
    Loopback,
    /// Reached from the network.
    Network,
}

impl VipSide {
    /// The side of an address.
    pub fn of(address: std::net::IpAddr) -> Self {
        if address.is_loopback() { Self::Loopback } else { Self::Network }
    }

    /// The sides of a Gateway; the network for one that has no address yet.
    pub fn all_of(addresses: Option<&Addresses>) -> impl Iterator<Item = Self> + use<> {
        let assigned = addresses.map(|addresses| addresses.assigned.as_slice()).unwrap_or_default();
        let is = |side| assigned.iter().any(|address| Self::of(*address) == side);
        let loopback = is(Self::Loopback).then_some(Self::Loopback);
        let network = (assigned.is_empty() || is(Self::Network)).then_some(Self::Network);
        loopback.into_iter().chain(network)
    }
}

/// A route, resolved.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolved {
    /// Where its connections go.
    pub target: Arc<Target>,
    /// backendRefs that cannot be resolved (ResolvedRefs=False).
    pub refusals: Vec<Refusal>,
    /// backendRefs that are right, have a weight, and have nothing that is ready.
    pub starved: Vec<String>,
    /// What is wrong with DNS names of backendRefs that have endpoints all the same.
    pub doubtful: Vec<String>,
    /// The DNS names of all backendRefs.
    pub names: BTreeSet<String>,
}

/// Sorted, each once, with what is known of where it runs.
type Endpoints = BTreeMap<Endpoint, Whereabouts>;

/// What resolving depends on.
#[derive(Clone, Copy)]
pub(crate) struct Inputs<'a> {
    /// The objects.
    pub(crate) world: &'a World,
    /// Which of them has to do with which.
    pub(crate) index: &'a Index,
    /// Routes on listeners.
    pub(crate) attachment: &'a Attachment,
    /// Addresses.
    pub(crate) allocation: &'a Allocation,
    /// What policies say of backends.
    pub(crate) policies: &'a Policies,
    /// Where connections are forwarded from; `None`: nowhere in particular.
    pub(crate) place: Option<Place<'a>>,
    /// Answers to DNS names; `None` where they are somebody else's to resolve.
    pub(crate) names: Option<&'a Names>,
}

/// The objects that backendRefs lead to.
struct Ground<'a> {
    services: &'a Shelf<Service>,
    slices: Slices<'a>,
    backends: &'a Shelf<Backend>,
    grants: &'a Shelf<ReferenceGrant>,
    vips: &'a Claims,
    place: Option<Place<'a>>,
    policies: &'a Policies,
    names: Option<&'a Names>,
}

/// Resolves every attached route.
pub(crate) fn resolve(inputs: Inputs<'_>) -> Resolution {
    let ground = Ground::of(inputs);
    let routes = inputs.attachment.routes.keys();
    Resolution(routes.filter_map(|key| Some((key.clone(), ground.sides(inputs, key)?))).collect())
}

impl Resolution {
    /// Resolves these routes anew. Returns those that came out as another than before.
    pub(crate) fn update(
        &mut self,
        inputs: Inputs<'_>,
        stale: &BTreeSet<ObjectRef>,
    ) -> BTreeSet<ObjectRef> {
        let ground = Ground::of(inputs);
        let mut changed = BTreeSet::new();
        for key in stale {
            let now = ground.sides(inputs, key);
            if self.0.get(key) == now.as_ref() {
                continue;
            }
            changed.insert(key.clone());
            match now {
                Some(sides) => drop(self.0.insert(key.clone(), sides)),
                None => drop(self.0.remove(key)),
            }
        }
        changed
    }
}

impl<'a> Ground<'a> {
    fn of(inputs: Inputs<'a>) -> Self {
        let Inputs { world, index, allocation, policies, place, names, .. } = inputs;
        let World { services, endpoint_slices, backends, grants, .. } = world;
        let slices = Slices { all: endpoint_slices, index };
        let vips = &allocation.claims;
        Self { services, slices, backends, grants, vips, place, policies, names }
    }

    /// A route for the VIPs of the Gateways that it is attached to, or would be.
    fn sides(&self, inputs: Inputs<'_>, key: &ObjectRef) -> Option<Sides> {
        let parents = inputs.attachment.routes.get(key)?;
        let route = &inputs.world.routes.get(key)?.object;
        let mut sides = Sides::default();
        for parent in parents {
            for side in VipSide::all_of(inputs.allocation.gateway(&parent.gateway)) {
                let place = match side {
                    VipSide::Loopback => &mut sides.loopback,
                    VipSide::Network => &mut sides.network,
                };
                if place.is_none() {
                    *place = Some(Arc::new(self.route(key, route, side)));
                }
            }
        }
        Some(sides)
    }
}

impl Ground<'_> {
    /// Resolves the rule that is served: the first.
    fn route(&self, key: &ObjectRef, route: &Route, side: VipSide) -> Resolved {
        let references = route.spec.rules.first().map(|rule| rule.backend_refs.as_slice());
        let (mut shares, mut refusals, mut starved) = (Vec::new(), Vec::new(), Vec::new());
        let (mut doubtful, mut names) = (Vec::new(), BTreeSet::new());
        for (index, reference) in references.unwrap_or_default().iter().enumerate() {
            let target = target_of(&key.key, reference);
            let mut by_name = ByName::default();
            let found = self.reference(key, reference, &target, side, &mut by_name);
            let backend = describe(reference, &target);
            let (endpoints, unusable) = match found {
                Ok(endpoints) if endpoints.is_empty() && by_name.elsewhere => (endpoints, None),
                Ok(endpoints) if endpoints.is_empty() => {
                    let why = match by_name.reasons() {
                        Some(reasons) => format!("{backend}: {reasons}"),
                        None => format!("{backend} has no endpoint that is ready"),
                    };
                    if reference.weight > 0 {
                        starved.push(why.clone());
                    }
                    (endpoints, Some(why))
                }
                Ok(endpoints) => {
                    doubtful.extend(by_name.errors.iter().map(|why| format!("{backend}: {why}")));
                    (endpoints, None)
                }
                Err(refusal) => {
                    let message = format!("backendRefs[{index}]: {}", refusal.message);
                    refusals.push(Refusal::new(refusal.reason, message));
                    (Endpoints::new(), Some(refusal.message))
                }
            };
            names.append(&mut by_name.names);
            let settings = self.settings(key, reference, &target);
            shares.push(BackendShare {
                backend,
                weight: reference.weight,
                preserved: self.preserved(&settings, &endpoints),
                endpoints: endpoints.into_keys().collect(),
                unusable,
                settings,
            });
        }
        let target = Arc::new(Target { route: key.clone(), shares });
        Resolved { target, refusals, starved, doubtful, names }
    }

    /// How connections of a route get to what a backendRef names.
    fn settings(
        &self,
        route: &ObjectRef,
        reference: &BackendRef,
        target: &ObjectKey,
    ) -> Arc<BackendSettings> {
        match kind_of(reference) {
            Some(kind) => self.policies.backend(route, &ObjectRef::new(kind, target.clone())),
            None => Arc::default(),
        }
    }

    fn reference(
        &self,
        route: &ObjectRef,
        reference: &BackendRef,
        target: &ObjectKey,
        side: VipSide,
        by_name: &mut ByName,
    ) -> Result<Endpoints, Refusal> {
        let kind = (reference.group.as_str(), reference.kind.as_str());
        if !matches!(kind, ("", "Service") | (VIPGATE_GROUP, "Backend")) {
            let group = &reference.group;
            let message = format!(
                "kind {} of group {group:?} cannot be a backend: write a Service, or a Backend of \
                 group {VIPGATE_GROUP}",
                reference.kind
            );
            return Err(Refusal::new(Reason::InvalidKind, message));
        }
        grants::check(route, reference, target, self.grants)?;
        let protocol = if route.kind == Kind::UdpRoute { "UDP" } else { "TCP" };
        let port = reference.port;
        let candidates = match kind {
            ("", _) => candidates::of_service(
                target,
                port,
                protocol,
                self.services,
                self.slices,
                self.place,
            )?,
            _ => candidates::of_backend(target, port, self.backends, self.names, by_name)?,
        };
        self.usable(candidates, side, || describe(reference, target))
    }

    /// The endpoints that new connections go to, the near ones of them, sorted, each once. An error when there would be
    /// some, were they not all refused.
    fn usable(
        &self,
        candidates: Vec<Candidate>,
        side: VipSide,
        backend: impl FnOnce() -> String,
    ) -> Result<Endpoints, Refusal> {
        let (mut ready, mut leaving) = (Vec::new(), Endpoints::new());
        let mut refused = BTreeMap::new();
        for Candidate { address, readiness, nearness, whereabouts } in candidates {
            let loopback_allowed = side == VipSide::Loopback;
            if let Some(why) = refused::refused(address.ip(), loopback_allowed, self.vips) {
                refused.insert(address.ip(), why);
                continue;
            }
            match readiness {
                Readiness::Ready => ready.push((nearness, (Endpoint(address), whereabouts))),
                Readiness::Leaving => drop(leaving.insert(Endpoint(address), whereabouts)),
            }
        }
        nearness::keep_near(&mut ready);
        let ready: Endpoints = ready.into_iter().map(|(_, endpoint)| endpoint).collect();
        let usable = if ready.is_empty() { leaving } else { ready };
        match refused.first_key_value() {
            Some((address, why)) if usable.is_empty() => {
                let more = match refused.len() - 1 {
                    0 => String::new(),
                    more => format!(" (and {more} more are refused)"),
                };
                let backend = backend();
                let message =
                    format!("{backend}: {address} {why}{more}: give it endpoints elsewhere");
                Err(Refusal::new(Reason::AddressRefused, message))
            }
            _ => Ok(usable),
        }
    }
}

/// The Services and Backends that the served rule of a route names, wherever they are.
pub(crate) fn backends<'a>(
    route: &'a ObjectRef,
    object: &'a Route,
) -> impl Iterator<Item = ObjectRef> + 'a {
    let references = object.spec.rules.first().into_iter().flat_map(|rule| &rule.backend_refs);
    references.filter_map(|reference| {
        Some(ObjectRef::new(kind_of(reference)?, target_of(&route.key, reference)))
    })
}

/// What a backendRef names, if it is of a kind that can be a backend.
fn kind_of(reference: &BackendRef) -> Option<Kind> {
    match (reference.group.as_str(), reference.kind.as_str()) {
        ("", "Service") => Some(Kind::Service),
        (VIPGATE_GROUP, "Backend") => Some(Kind::Backend),
        _ => None,
    }
}

fn target_of(route: &ObjectKey, reference: &BackendRef) -> ObjectKey {
    let namespace = reference.namespace.as_ref().unwrap_or(&route.namespace);
    ObjectKey::new(namespace, &reference.name)
}

/// `Service default/web:80`.
fn describe(reference: &BackendRef, target: &ObjectKey) -> String {
    match reference.port {
        Some(port) => format!("{} {target}:{port}", reference.kind),
        None => format!("{} {target}", reference.kind),
    }
}

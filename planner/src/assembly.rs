//! What this node has to do: the plan.
//!
//! Nothing is decided here that another layer could decide: addresses come from allocation,
//! routes from attachment, endpoints from resolution; only the way an address is announced
//! depends on the node.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use vipgate_api::gateway::TlsMode;
use vipgate_api::vipgate::PortUse;
use vipgate_api::{Kind, ObjectKey, ObjectRef};

use crate::admission::{Admission, AdmittedGateway, AdmittedListener};
use crate::allocation::Allocation;
use crate::attachment::{Attachment, names_of};
use crate::backend_tls;
use crate::candidacy::{self, Candidacy};
use crate::certificates::{Certificates, Resolved};
use crate::claim::Claim;
use crate::hostname;
use crate::node::{Neighbours, Node};
use crate::plan::{
    Announce, ByName, Listener, ListenerId, Plan, Service, Source, Target, Termination, Tls, Vip,
};
use crate::policies::Policies;
use crate::report::source_of;
use crate::resolution::{Resolution, VipSide};
use crate::routing::Routing;
use crate::world::World;

/// What a plan is put together from.
#[derive(Clone, Copy)]
pub struct Layers<'a> {
    /// The objects.
    pub world: &'a World,
    /// Classes, Gateways and listeners.
    pub admission: &'a Admission,
    /// Addresses.
    pub allocation: &'a Allocation,
    /// Routes on listeners.
    pub attachment: &'a Attachment,
    /// Endpoints of routes.
    pub resolution: &'a Resolution,
    /// Certificates of listeners.
    pub certificates: &'a Certificates,
    /// What policies say of listeners.
    pub policies: &'a Policies,
    /// TLS towards backends.
    pub backend_tls: &'a backend_tls::Policies,
    /// What is about BGP.
    pub routing: &'a Routing,
}

/// Puts the plan together; for no node in particular when there is none. Listeners that come out as they were in
/// the last plan are the very same.
pub fn assemble(layers: &Layers<'_>, node: Option<(&Node, &Neighbours)>, last: &Plan) -> Plan {
    let Layers { admission, allocation, routing, .. } = *layers;
    let gives_way = node.and_then(|(node, _)| node.gives_way.clone());
    let mut plan = Plan { gives_way, ..Plan::default() };
    if node.is_some() {
        plan.peers.clone_from(&routing.peering.peers);
        plan.held_back.clone_from(&routing.peering.held_back);
        let of_node = plan.peers.keys().chain(plan.held_back.keys()).cloned();
        let of_node = of_node.map(|key| ObjectRef::new(Kind::BgpPeer, key));
        let sources = of_node.filter_map(|peer| {
            let source = routing.verdicts.get(&peer)?.source.clone()?;
            Some((peer, source))
        });
        plan.sources.extend(sources);
    }
    for (key, gateway) in &admission.gateways {
        let (listeners, incomplete) = layers.listeners_of(key, gateway);
        let own = plan.listeners.len();
        plan.listeners.extend(listeners.into_iter().map(Arc::new));
        share(&mut plan.listeners[own..], last.listeners_of(key));
        let sources = layers.sources_of(key, gateway, &incomplete).into_iter();
        plan.sources.extend(sources.filter_map(|(object, source)| Some((object, source?))));
    }
    let ground = layers.candidacy(node);
    let known = |(user, _): &(&ObjectRef, _)| {
        user.kind == Kind::Service || admission.gateways.contains_key(&user.key)
    };
    for (_, addresses) in allocation.users.iter().filter(known) {
        for address in &addresses.assigned {
            if !plan.vips.contains_key(address) {
                let vip = vip(*address, allocation, ground.as_ref(), &plan);
                plan.vips.insert(*address, vip);
            }
        }
    }
    plan
}

/// Puts the listeners of these Gateways together anew, and their VIPs where those hang on backends: nothing
/// but routes and endpoints changed since the plan was assembled, and these of the Gateways, of which all that is in
/// the plan may be another. Returns the Gateways whose VIPs are others now. What comes out as it was keeps its
/// identity.
pub fn update(
    plan: &mut Arc<Plan>,
    layers: &Layers<'_>,
    node: Option<(&Node, &Neighbours)>,
    stale: &BTreeSet<ObjectKey>,
    changed: &BTreeSet<ObjectKey>,
) -> BTreeSet<ObjectKey> {
    let Layers { admission, allocation, .. } = *layers;
    let mut hanging = BTreeSet::new();
    for key in stale {
        let Some(gateway) = admission.gateways.get(key) else { continue };
        let (listeners, incomplete) = layers.listeners_of(key, gateway);
        let mut listeners: Vec<_> = listeners.into_iter().map(Arc::new).collect();
        let places = plan.places_of(key);
        let last = &plan.listeners[places.clone()];
        share(&mut listeners, last);
        let is_same = |(old, new): (&Arc<Listener>, &Arc<Listener>)| Arc::ptr_eq(old, new);
        let alike = last.len() == listeners.len() && std::iter::zip(last, &listeners).all(is_same);
        if !alike {
            drop(Arc::make_mut(plan).listeners.splice(places, listeners));
        }
        let has_changed = changed.contains(key);
        if has_changed {
            for (object, source) in layers.sources_of(key, gateway, &incomplete) {
                if plan.sources.get(&object) == source.as_ref() {
                    continue;
                }
                let sources = &mut Arc::make_mut(plan).sources;
                match source {
                    Some(source) => drop(sources.insert(object, source)),
                    None => drop(sources.remove(&object)),
                }
            }
        }
        if gateway.withdraws || has_changed {
            let addresses = allocation.gateway(key).into_iter();
            hanging.extend(addresses.flat_map(|addresses| addresses.assigned.iter().copied()));
        }
    }
    if hanging.is_empty() {
        return BTreeSet::new();
    }
    let ground = layers.candidacy(node);
    let mut moved = BTreeSet::new();
    for address in hanging {
        let now = vip(address, allocation, ground.as_ref(), plan);
        if plan.vips.get(&address) != Some(&now) {
            let users = allocation.claims.0[&address].users.iter();
            moved.extend(users.map(|user| user.object.key.clone()));
            Arc::make_mut(plan).vips.insert(address, now);
        }
    }
    moved
}

/// Takes those of the last listeners that are like these; both in the order of their ids.
fn share(listeners: &mut [Arc<Listener>], last: &[Arc<Listener>]) {
    let mut last = last.iter().peekable();
    for listener in listeners {
        while last.next_if(|last| last.id < listener.id).is_some() {}
        if let Some(same) = last.next_if(|last| **last == *listener) {
            *listener = Arc::clone(same);
        }
    }
}

/// Whether a connection that it accepts could get anywhere.
fn has_backend(listener: &Listener) -> bool {
    let mut shares = listener.targets().flat_map(|(_, target)| &target.shares);
    shares.any(|share| share.weight > 0 && !share.endpoints.is_empty())
}

/// Whether a port of an address is claimed for somebody. A claim may lag behind the listeners; until
/// it has caught up, the port may be somebody else's.
fn has_port(claim: &Claim, user: &ObjectRef, listener: &Listener) -> bool {
    let wanted = PortUse { protocol: listener.transport(), port: listener.bind.port() };
    claim.users.iter().any(|one| one.object == *user && one.ports.contains(&wanted))
}

fn vip<'a>(
    address: IpAddr,
    allocation: &'a Allocation,
    ground: Option<&candidacy::Ground<'a>>,
    plan: &Plan,
) -> Vip {
    let claim = allocation.claims.0.get(&address).expect("an assigned address has a claim");
    let alive = |gateway: &ObjectKey| {
        let mut own = plan.listeners_of(gateway).iter();
        own.any(|listener| listener.id.address == address && has_backend(listener))
    };
    let decide = |ground: &candidacy::Ground<'a>| ground.decide(address, claim, &alive);
    let candidacy = ground.map_or_else(|| Announce::ByNodes.into(), decide);
    let Candidacy { announce, weight, preempt, routes, yields, elsewhere, compromise } = candidacy;
    // Where it is announced on no LAN, there is nobody to ask.
    let asked = match announce {
        Announce::Loopback => false,
        Announce::Routed => elsewhere,
        _ => true,
    };
    let probe = !claim.published && asked;
    let kernel = claim.users.iter().all(|user| user.object.kind == Kind::Service);
    Vip { address, probe, announce, kernel, weight, preempt, routes, yields, compromise }
}

/// How a listener ends TLS. One that is to check its clients and knows nothing to check them by ends
/// none: handshakes are reset, and nobody gets in unchecked.
fn termination(resolved: Option<&Resolved>, alpn: Vec<String>) -> Termination {
    let Some(resolved) = resolved else { return Termination { alpn, ..Termination::default() } };
    let (certificates, clients) = match resolved.clients.as_ref().map(|clients| &clients.check) {
        None => (resolved.usable.clone(), None),
        Some(Ok(check)) => (resolved.usable.clone(), Some(Arc::clone(check))),
        Some(Err(_)) => (Vec::new(), None),
    };
    Termination { certificates, alpn, clients }
}

impl<'a> Layers<'a> {
    /// What VIPs are decided from.
    fn candidacy(&self, node: Option<(&'a Node, &'a Neighbours)>) -> Option<candidacy::Ground<'a>> {
        let Self { world, admission, routing, .. } = *self;
        let (node, others) = node?;
        Some(candidacy::Ground::new(world, admission, routing, node, others))
    }

    /// The states of a Gateway and of its ListenerSets that are in the plan with all that they ask for; none of
    /// one that is not.
    fn sources_of(
        &self,
        key: &ObjectKey,
        gateway: &AdmittedGateway,
        incomplete: &BTreeSet<ObjectRef>,
    ) -> Vec<(ObjectRef, Option<Source>)> {
        let wants = self.allocation.gateway(key).is_some();
        let sets = self.admission.sets_of(gateway);
        let sets = sets.map(|(set, admitted)| (Kind::ListenerSet, set, &admitted.source));
        let all = sets.chain([(Kind::Gateway, key, &gateway.source)]);
        let all = all.map(|(kind, key, source)| (ObjectRef::new(kind, key.clone()), source));
        let is_in = |object: &ObjectRef| wants && !incomplete.contains(object);
        all.map(|(object, source)| (is_in(&object), object, source))
            .map(|(is_in, object, source)| (object, source.clone().filter(|_| is_in)))
            .collect()
    }

    /// The listeners of one Gateway on all of its addresses, in the order of their ids; and the objects
    /// that ask for listeners whose ports are not claimed yet.
    fn listeners_of(
        &self,
        key: &ObjectKey,
        gateway: &AdmittedGateway,
    ) -> (Vec<Listener>, BTreeSet<ObjectRef>) {
        let user = ObjectRef::new(Kind::Gateway, key.clone());
        let (mut listeners, mut incomplete) = (Vec::new(), BTreeSet::new());
        let addresses = self.allocation.users.get(&user).into_iter();
        for address in addresses.flat_map(|addresses| &addresses.assigned) {
            let claim = &self.allocation.claims.0[address];
            for listener in self.listeners(key, gateway, *address) {
                match has_port(claim, &user, &listener) {
                    true => listeners.push(listener),
                    false => drop(incomplete.insert(source_of(&listener.id))),
                }
            }
        }
        listeners.sort_by(|a, b| a.id.cmp(&b.id));
        (listeners, incomplete)
    }

    /// The listeners of one Gateway on one of its addresses.
    fn listeners(
        &self,
        key: &ObjectKey,
        gateway: &AdmittedGateway,
        address: IpAddr,
    ) -> Vec<Listener> {
        let slots = self.attachment.listeners.get(key).map(Vec::as_slice).unwrap_or_default();
        let certificates = self.certificates.listeners.get(key);
        let certificates = certificates.map(Vec::as_slice).unwrap_or_default();
        gateway
            .served()
            .map(|(index, listener)| {
                let attached = slots.get(index).map(Vec::as_slice).unwrap_or_default();
                let by_name = || self.by_name(key, listener, attached, address);
                let only = || self.only(key, listener, attached, address);
                let end = |alpn| termination(certificates.get(index), alpn);
                let service = match listener.protocol.as_str() {
                    "HTTP" => Service::Http(by_name()),
                    "HTTPS" => {
                        // What is inside goes to the backend as it comes, and nothing tells
                        // whether that one speaks HTTP/2.
                        let alpn = vec!["http/1.1".to_owned()];
                        Service::Https(by_name(), end(alpn))
                    }
                    "TLS" if listener.tls == Some(TlsMode::Passthrough) => {
                        Service::Tls(by_name(), Tls::Passthrough)
                    }
                    "TLS" => Service::Tls(by_name(), Tls::Terminate(end(Vec::new()))),
                    "UDP" => Service::Udp(only()),
                    _ => Service::Tcp(only()),
                };
                let id = ListenerId {
                    gateway: key.clone(),
                    set: listener.set.clone(),
                    name: listener.name.clone(),
                    address,
                };
                let bind = SocketAddr::new(address, listener.port);
                let attached = attached.iter().cloned().collect();
                let settings = self.policies.listener(key, index, listener);
                Listener { id, bind, service, attached, settings }
            })
            .collect()
    }

    /// Where there is nothing to choose by, the oldest route has the listener.
    fn only(
        &self,
        gateway: &ObjectKey,
        listener: &AdmittedListener,
        attached: &[ObjectRef],
        address: IpAddr,
    ) -> Option<Arc<Target>> {
        self.target(gateway, listener, attached.first()?, address)
    }

    /// Each name belongs to the oldest route that has it.
    fn by_name(
        &self,
        gateway: &ObjectKey,
        listener: &AdmittedListener,
        attached: &[ObjectRef],
        address: IpAddr,
    ) -> ByName {
        let mut targets: Vec<(Option<String>, Arc<Target>)> = Vec::new();
        for route in attached {
            let Some(stored) = self.world.routes.get(route) else { continue };
            let Some(target) = self.target(gateway, listener, route, address) else { continue };
            for name in names_of(listener, &stored.object.spec) {
                // What the listener takes anyway is no choice.
                let name = name.filter(|name| listener.hostname.as_ref() != Some(name));
                if !targets.iter().any(|(taken, _)| *taken == name) {
                    targets.push((name, Arc::clone(&target)));
                }
            }
        }
        targets.sort_by_key(|(name, _)| hostname::rank(name.as_deref()));
        ByName { hostname: listener.hostname.clone(), targets }
    }

    fn target(
        &self,
        gateway: &ObjectKey,
        listener: &AdmittedListener,
        route: &ObjectRef,
        address: IpAddr,
    ) -> Option<Arc<Target>> {
        let resolved = self.resolution.get(route, VipSide::of(address))?;
        let passes = listener.tls == Some(TlsMode::Passthrough);
        if passes || route.kind == Kind::UdpRoute || self.backend_tls.is_empty() {
            return Some(Arc::clone(&resolved.target));
        }
        let stored = self.world.routes.get(route)?;
        let certificate =
            self.certificates.shown.get(gateway).and_then(|shown| shown.as_ref().ok());
        Some(backend_tls::secured(
            &resolved.target,
            &stored.object,
            self.backend_tls,
            &self.world.services,
            certificate,
        ))
    }
}

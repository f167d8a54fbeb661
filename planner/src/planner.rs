//! The planner: owns all inputs, runs the layers whose inputs changed.
//!
//! ```text
//!   input            admission pools allocation attachment resolution assembly status
//!   GatewayClass         x
//!   Gateway              x
//!   Namespace                    x               x
//!   IPAddressPool                x                                     x
//!   ListenerSet              x                                                  x
//!   routes                                       x          x          x        x
//!   Service                              x                  x          (x)
//!   EndpointSlice                                           x          (x)
//!   Backend, ReferenceGrant                                 x
//!   answers to DNS names                                    x
//!   Secret, ConfigMap, ReferenceGrant   (a layer of its own: certificates)   x  x
//!   BackendTLSPolicy, ConfigMap, Service, Backend, ReferenceGrant, routes
//!                      (a layer of its own: TLS towards backends)      x        x
//!   L2Advertisement                                                    x
//!   ListenerPolicy, BackendPolicy, which routes and backends there are
//!                      (a layer of its own: policies)           x          x        x
//!   BGPPeer, BGPAdvertisement, BFDProfile, Community, Secret, IPAddressPool
//!                      (a layer of its own: routing)                   x        x
//!   claims, whether they are followed, foreign
//!                                        x
//!   node                                 x                             x        x
//!   other nodes                                                        x
//!   report                                                                      x
//! ```
//!
//! `(x)`: in the role of a speaker, for what they say of where they may be announced. Routing looks at the
//! node, too: its name and labels; so does resolution, for which endpoints are near, and, where clients' addresses are preserved,
//! at its links, for which are on it. Behind each `x` the layers that use the result run too, but only if it is
//! another than before. So a change of endpoints runs neither allocation nor attachment, and a report runs status alone.
//!
//! Routes, endpoints and Gateways are many, and change one by one. So most layers know which routes
//! and Gateways a change is about, and work out these parts alone:
//!
//! ```text
//!   route, Service, EndpointSlice, Backend
//!     ──> attachment of the route ──> its endpoints ──> listeners of its Gateways ──> status of these
//!   Gateway, one that is ours as before, and has no ListenerSets
//!     ──> its admission ──> its certificates, ports of its claims ──> attachment of its routes ──> as above
//! ```
//!
//! Whatever else changes makes all of a layer stale. Either way it is the same functions that work out a
//! part, and what comes out as it was stays the very same, for those who compare plans.
//!
//! What always holds: the outcome depends on the inputs as they are, never on the way they came
//! about, except for what the claims remember.

mod run;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use vipgate_api::{Age, Kind, Object, ObjectKey, ObjectRef, Reason};

use crate::admission::Admission;
use crate::allocation::{AddressProblem, Allocation, Pools};
use crate::attachment::Attachment;
use crate::backend_tls;
use crate::certificates::Certificates;
use crate::claim::{Claims, Foreign};
use crate::environment::Environment;
use crate::index::{self, Index};
use crate::layer::Layer;
use crate::names::Names;
use crate::node::{Neighbours, Node, NodeReport};
use crate::plan::Plan;
use crate::policies::Policies;
use crate::report::{Lost, Reports};
use crate::resolution::Resolution;
use crate::routing::Routing;
use crate::services::{self, Classless, Services};
use crate::status::Statuses;
use crate::world::World;

/// Everything that is known, and everything that follows from it.
#[derive(Debug, Default)]
pub struct Planner {
    world: World,
    index: Index,
    claims: Claims,
    /// The claims that the caller knows.
    told: Claims,
    foreign: Foreign,
    node: Node,
    neighbours: Neighbours,
    reports: Reports,
    lost: Lost,
    role: Role,
    /// Addresses of other hosts of the cluster, which are never given out.
    reserved: BTreeSet<IpAddr>,
    release: bool,
    /// Whether the claims are another's, and are only followed.
    follows: bool,
    /// Objects that are there and cannot be read.
    unreadable: BTreeSet<ObjectRef>,
    classless: Classless,
    environment: Environment,
    names: Names,

    services: Layer<Services>,
    read_services: services::Reader,
    /// By Gateway.
    admission: Layer<Admission, ObjectKey>,
    /// By Gateway.
    certificates: Layer<Certificates, ObjectKey>,
    backend_tls: Layer<backend_tls::Policies>,
    routing: Layer<Routing>,
    pools: Layer<(Pools, BTreeMap<ObjectKey, String>)>,
    /// By Gateway that has, or wants, the addresses it had, for other ports.
    allocation: Layer<Allocation, ObjectKey>,
    /// By route, and by Gateway with all its routes.
    attachment: Layer<Attachment, ObjectRef>,
    policies: Layer<Policies>,
    resolution: Layer<Resolution, ObjectRef>,
    /// By Gateway.
    assembly: Layer<Plan, ObjectKey>,
    /// Of the Gateways that assembly is to look at, those that changed themselves, or have other ports.
    reworked: BTreeSet<ObjectKey>,
    /// By Gateway and route.
    status: Layer<Statuses, ObjectRef>,
}

/// In whose place a planner decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// A host without a cluster: gives out addresses, serves them, and says what is so.
    #[default]
    Standalone,
    /// The controller of a cluster: gives out addresses and says what is so. It is no node: where an
    /// address is announced, the nodes decide and report.
    Controller,
    /// The speaker of a node: takes the claims as they are.
    Speaker,
}

/// What follows from the inputs. An [`Arc`] is the same as in the last outcome when its content is.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What this node has to do.
    pub plan: Arc<Plan>,
    /// What is said about the objects.
    pub statuses: Arc<Statuses>,
    /// The claims, when they are not those that the caller set or was told last. They have to be
    /// kept safe before the plan goes out: the plan serves what they say.
    pub claims: Option<Claims>,
}

/// How often each layer ran.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Runs {
    /// Services of type LoadBalancer.
    pub services: u64,
    /// Classes, Gateways, listeners.
    pub admission: u64,
    /// Reading of pools.
    pub pools: u64,
    /// Addresses.
    pub allocation: u64,
    /// Routes to listeners.
    pub attachment: u64,
    /// What policies say.
    pub policies: u64,
    /// backendRefs to endpoints.
    pub resolution: u64,
    /// The plan.
    pub assembly: u64,
    /// Conditions.
    pub status: u64,
}

impl Planner {
    /// A planner that knows nothing. It does not release claims until told that its objects are
    /// complete ([`Self::set_release`]).
    pub fn new() -> Self {
        Self::default()
    }

    /// A planner in another role.
    pub fn in_role(role: Role) -> Self {
        Self { role, ..Self::default() }
    }

    /// Adds or replaces an object; says whether anything changed.
    pub fn apply(&mut self, object: Object, age: Age) -> bool {
        let reference = object.reference();
        self.change(&reference, |world| world.apply(object, age))
    }

    /// Forgets an object; says whether it was there.
    pub fn delete(&mut self, object: &ObjectRef) -> bool {
        self.change(object, |world| world.delete(object))
    }

    /// Changes an object, and says of what layers there are which parts are stale by that.
    fn change(&mut self, object: &ObjectRef, change: impl FnOnce(&mut World) -> bool) -> bool {
        let mut backends = BTreeSet::new();
        backends.extend(index::backend(object, &self.world));
        self.index.leave(object, &self.world);
        let changed = change(&mut self.world);
        self.index.enter(object, &self.world);
        if changed {
            backends.extend(index::backend(object, &self.world));
            self.touch(object, &backends);
        }
        changed
    }

    /// `backends` are what the object is, or is about, or was before.
    fn touch(&mut self, object: &ObjectRef, backends: &BTreeSet<ObjectRef>) {
        match object.kind {
            Kind::GatewayClass => self.admission.touch(),
            Kind::Gateway => self.admission.touch_parts([object.key.clone()]),
            Kind::ListenerSet => {
                self.admission.touch();
                // For the Gateways that those name which are not ours.
                self.status.touch();
            }
            Kind::Namespace => {
                // Only ListenerSets are admitted by namespace.
                if !self.world.listener_sets.is_empty() {
                    self.admission.touch();
                }
                self.pools.touch();
                self.attachment.touch();
            }
            Kind::IpAddressPool => {
                self.pools.touch();
                self.routing.touch();
                self.assembly.touch();
                self.status.touch();
            }
            Kind::TcpRoute | Kind::TlsRoute | Kind::UdpRoute | Kind::HttpRoute => {
                let parents = self.attachment.value().routes.get(object).into_iter().flatten();
                let gateways = parents.map(|parent| parent.gateway.clone());
                // Attachment may be stale as a whole and come out as it was: then nobody else touches these.
                self.assembly.touch_parts(gateways);
                self.attachment.touch_parts([object.clone()]);
                self.resolution.touch_parts([object.clone()]);
                self.status.touch_parts([object.clone()]);
                self.touch_policies();
                self.touch_backend_tls();
            }
            Kind::Service => {
                self.touch_routes_to(backends);
                if self.role == Role::Controller {
                    self.services.touch();
                }
                self.touch_vips_of(backends);
                self.touch_policies();
                self.touch_backend_tls();
            }
            Kind::EndpointSlice => {
                self.touch_routes_to(backends);
                self.touch_vips_of(backends);
            }
            Kind::Backend => {
                self.touch_routes_to(backends);
                self.touch_policies();
                self.touch_backend_tls();
            }
            Kind::ListenerPolicy | Kind::BackendPolicy => self.policies.touch(),
            Kind::ReferenceGrant => {
                self.backend_tls.touch();
                self.resolution.touch();
                self.certificates.touch();
            }
            Kind::Secret => {
                self.certificates.touch();
                self.routing.touch();
            }
            Kind::ConfigMap => {
                self.certificates.touch();
                self.backend_tls.touch();
            }
            Kind::BackendTlsPolicy => self.backend_tls.touch(),
            Kind::L2Advertisement => self.assembly.touch(),
            Kind::BgpPeer | Kind::BgpAdvertisement | Kind::BfdProfile | Kind::Community => {
                self.routing.touch();
            }
            Kind::VirtualIp | Kind::Speaker | Kind::Node | Kind::ServiceAccount => {}
        }
    }

    /// Of routes, Services and Backends only BackendPolicies want to know whether they are there.
    fn touch_policies(&mut self) {
        if !self.world.backend_policies.is_empty() {
            self.policies.touch();
        }
    }

    fn touch_routes_to(&mut self, backends: &BTreeSet<ObjectRef>) {
        let routes = backends.iter().flat_map(|backend| self.index.routes(backend));
        self.resolution.touch_parts(routes.cloned());
    }

    /// Where a VIP may be announced hangs on the Services that have it, and on their endpoints.
    fn touch_vips_of(&mut self, services: &BTreeSet<ObjectRef>) {
        let users = &self.allocation.value().users;
        if self.role == Role::Speaker && services.iter().any(|one| users.contains_key(one)) {
            self.assembly.touch();
        }
    }

    fn touch_backend_tls(&mut self) {
        if !self.world.backend_tls_policies.is_empty() {
            self.backend_tls.touch();
        }
    }

    /// Says what this node is.
    pub fn set_node(&mut self, node: Node) {
        if node == self.node {
            return;
        }
        if addresses_of(&node) != addresses_of(&self.node) {
            self.allocation.touch();
        }
        if (&node.name, &node.labels) != (&self.node.name, &self.node.labels) {
            self.routing.touch();
            self.resolution.touch();
        }
        if node.links != self.node.links && self.resolution.value().preserves() {
            self.resolution.touch();
        }
        self.assembly.touch();
        self.status.touch();
        if let Some(report) = self.reports.remove(&self.node.name) {
            self.reports.insert(node.name.clone(), report);
        }
        self.node = node;
    }

    /// Says which other nodes could have VIPs.
    pub fn set_neighbours(&mut self, neighbours: Neighbours) {
        if neighbours != self.neighbours {
            self.neighbours = neighbours;
            self.assembly.touch();
        }
    }

    /// Says what this node does, where there is no other.
    pub fn set_report(&mut self, report: NodeReport) {
        self.set_reports([(self.node.name.clone(), report)].into());
    }

    /// Says what all nodes do.
    pub fn set_reports(&mut self, reports: Reports) {
        if reports != self.reports {
            self.reports = reports;
            self.status.touch();
        }
    }

    /// Says which nodes are not heard any more. Their reports have to be taken out of
    /// [`Self::set_reports`].
    pub fn set_lost(&mut self, lost: Lost) {
        if lost != self.lost {
            self.lost = lost;
            self.status.touch();
        }
    }

    /// Replaces the addresses of the cluster's hosts, which are never given out.
    pub fn set_reserved(&mut self, reserved: BTreeSet<IpAddr>) {
        if reserved != self.reserved {
            self.reserved = reserved;
            self.allocation.touch();
        }
    }

    /// Replaces all claims, as a state file or the group has them.
    pub fn set_claims(&mut self, claims: Claims) {
        self.told.clone_from(&claims);
        if claims == self.claims {
            return;
        }
        // Who gives them out works out the ports himself.
        let follows = self.role == Role::Speaker;
        match self.claims.other_ports(&claims).filter(|_| follows) {
            Some(gateways) => self.allocation.touch_parts(gateways),
            None => self.allocation.touch(),
        }
        self.claims = claims;
    }

    /// Says whether the claims are somebody else's to give: addresses that are in none of them wait.
    pub fn set_follows(&mut self, follows: bool) {
        if follows != self.follows {
            self.follows = follows;
            self.allocation.touch();
        }
    }

    /// Remembers that an address was probed and found free, so that it may be published; says
    /// whether that is new. From then on it is not changed any more.
    pub fn publish(&mut self, address: IpAddr) -> bool {
        match self.claims.0.get_mut(&address) {
            Some(claim) if !claim.published => {
                claim.published = true;
                self.allocation.touch();
                true
            }
            _ => false,
        }
    }

    /// Replaces the addresses that hosts outside the group answer for.
    pub fn set_foreign(&mut self, foreign: Foreign) {
        if foreign != self.foreign {
            self.foreign = foreign;
            self.allocation.touch();
        }
    }

    /// Says whether the objects are complete, so that a claim whose Gateway is not among them ends.
    pub fn set_release(&mut self, release: bool) {
        if release != self.release {
            self.release = release;
            self.allocation.touch();
        }
    }

    /// Says which objects are there and cannot be read: a claim of theirs does not end.
    pub fn set_unreadable(&mut self, unreadable: BTreeSet<ObjectRef>) {
        if unreadable != self.unreadable {
            self.unreadable = unreadable;
            self.allocation.touch();
        }
    }

    /// Says what becomes of Services without a loadBalancerClass.
    pub fn set_classless(&mut self, classless: Classless) {
        if classless != self.classless {
            self.classless = classless;
            self.allocation.touch();
            self.status.touch();
        }
    }

    /// Says what the cluster around us has.
    pub fn set_environment(&mut self, environment: Environment) {
        if environment != self.environment {
            self.environment = environment;
            self.status.touch();
        }
    }

    /// Replaces what DNS names resolve to. Whoever gives out addresses alone needs none: in the role of a
    /// controller a name counts as resolved.
    pub fn set_names(&mut self, names: Names) {
        if names != self.names {
            self.names = names;
            self.resolution.touch();
        }
    }

    /// The objects.
    pub fn world(&self) -> &World {
        &self.world
    }

    /// The claims.
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// What stands in the way of the addresses of a Gateway or Service, by the reasons that Services have for
    /// it: those of a Gateway's conditions are coarser. None when nothing does, or it wants none.
    pub fn address_obstacles(&self, user: &ObjectRef) -> Vec<Reason> {
        let addresses = self.allocation.value().users.get(user);
        let problems = addresses.into_iter().flat_map(|addresses| &addresses.problems);
        problems.map(AddressProblem::service_reason).collect()
    }

    /// The Secrets that listeners have certificates from, and Gateways those that backends are shown.
    pub fn secrets_in_use(&self) -> BTreeSet<ObjectKey> {
        self.certificates.value().secrets()
    }

    /// The DNS names that attached routes have endpoints by, in the order of their letters. None in the
    /// role of a controller.
    pub fn names_in_use(&self) -> BTreeSet<String> {
        let all = self.resolution.value().all();
        all.flat_map(|resolved| resolved.names.iter().cloned()).collect()
    }

    /// The ConfigMaps whose certificates somebody has to go back to, as far as they can be used.
    pub fn config_maps_in_use(&self) -> BTreeSet<ObjectKey> {
        let of_backends = self.backend_tls.value().bundles_in_use();
        self.certificates.value().bundles_in_use().chain(of_backends).cloned().collect()
    }

    /// The ConfigMaps that are referred to and may be, whether or not they are known.
    pub fn config_maps_wanted(&self) -> BTreeSet<ObjectKey> {
        let of_backends = self.backend_tls.value().bundles_wanted();
        self.certificates.value().bundles_wanted().chain(of_backends).cloned().collect()
    }

    /// How often each layer ran.
    pub fn runs(&self) -> Runs {
        Runs {
            services: self.services.runs(),
            admission: self.admission.runs(),
            pools: self.pools.runs(),
            allocation: self.allocation.runs(),
            attachment: self.attachment.runs(),
            policies: self.policies.runs(),
            resolution: self.resolution.runs(),
            assembly: self.assembly.runs(),
            status: self.status.runs(),
        }
    }
}

fn addresses_of(node: &Node) -> BTreeSet<IpAddr> {
    node.links.iter().flat_map(|link| &link.addresses).map(|net| net.addr()).collect()
}

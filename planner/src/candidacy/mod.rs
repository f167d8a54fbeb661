//! Which nodes may have a VIP: what the objects say of it. Links are [`crate::announce`]'s, and sockets the
//! speaker's.
//!
//! ```text
//!   advertisements that select the pool     this node
//!   none, or L2Advertisements               has it if the group says so, and answers for it on the LAN
//!   BGPAdvertisements                       has it and tells its routers, as every node that can
//!   both                                    both: one answers on the LAN, all tell their routers
//! ```
//!
//! Each user of a VIP has its own set of nodes: by the advertisements of the pool that take it
//! (`serviceSelectors`, `gatewaySelectors`) and the node (`nodeSelectors`), and, for a Service with
//! `externalTrafficPolicy: Local`, by where its endpoints are. A VIP takes what all its users have in
//! common. Where no node that could have it fits them all, the oldest user that has any node decides.
//! A user that has no backend and wants to be withdrawn then asks for nothing.
//!
//! All of it comes from objects that every speaker sees, so all speakers find the same.

mod advertisement;
mod routes;
mod users;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use vipgate_api::selector::{Labels, matches};
use vipgate_api::vipgate::L2AdvertisementSpec;
use vipgate_api::{Kind, ObjectKey, ObjectRef};

use crate::admission::Admission;
use crate::announce::announce;
use crate::bgp::Route;
use crate::claim::Claim;
use crate::exclusion::{Exclusion, ExclusionReason};
use crate::local;
use crate::no_backends;
use crate::node::{Neighbours, Node};
use crate::plan::Announce;
use crate::resolution::with_endpoints;
use crate::routing::Routing;
use crate::world::World;
use advertisement::{Lan, Routed, labels_of};
pub use advertisement::{SelectsPools, selects_pool};
use routes::Routes;
use users::{Decisive, User};

/// What it is decided from.
pub(crate) struct Ground<'a> {
    world: &'a World,
    admission: &'a Admission,
    routing: &'a Routing,
    node: &'a Node,
    neighbours: &'a Neighbours,
    /// Services whose traffic stays on its node, with the nodes that have an endpoint.
    local: BTreeMap<ObjectKey, BTreeSet<&'a str>>,
    /// Services that want to be withdrawn without endpoints, and have none.
    withdrawn: BTreeSet<ObjectKey>,
}

/// What was decided of a VIP.
pub(crate) struct Candidacy {
    pub(crate) announce: Announce,
    pub(crate) weight: u32,
    pub(crate) preempt: bool,
    /// What routers are told of it.
    pub(crate) routes: Vec<Route>,
    /// Why they are told only until they know it from another node.
    pub(crate) yields: Option<Exclusion>,
    /// Whether it is announced on a LAN as well, of which this node is no part.
    pub(crate) elsewhere: bool,
    pub(crate) compromise: Option<Exclusion>,
}

impl From<Announce> for Candidacy {
    fn from(announce: Announce) -> Self {
        Self {
            announce,
            weight: 0,
            preempt: false,
            routes: Vec::new(),
            yields: None,
            elsewhere: false,
            compromise: None,
        }
    }
}

impl From<Routes> for Candidacy {
    fn from(Routes { routes, yields, compromise }: Routes) -> Self {
        Self { routes, yields, compromise, ..Announce::Routed.into() }
    }
}

impl<'a> Ground<'a> {
    pub(crate) fn new(
        world: &'a World,
        admission: &'a Admission,
        routing: &'a Routing,
        node: &'a Node,
        neighbours: &'a Neighbours,
    ) -> Self {
        let withdraws = |metadata| no_backends::withdraws(metadata).unwrap_or_default();
        let services = world.services.iter();
        let mut withdrawn: BTreeSet<ObjectKey> = services
            .filter(|(_, stored)| withdraws(&stored.object.metadata))
            .map(|(key, _)| key.clone())
            .collect();
        if !withdrawn.is_empty() {
            let alive = with_endpoints(&world.endpoint_slices);
            withdrawn.retain(|key| !alive.contains(key));
        }
        let local = local::nodes_of(world);
        Self { world, admission, routing, node, neighbours, local, withdrawn }
    }

    /// What this node does with an address; `alive` says whether a Gateway has a backend for what comes to it.
    pub(crate) fn decide(
        &self,
        address: IpAddr,
        claim: &'a Claim,
        alive: &dyn Fn(&ObjectKey) -> bool,
    ) -> Candidacy {
        if address.is_loopback() {
            return Announce::Loopback.into();
        }
        let users = claim.users.iter().map(|user| &user.object);
        let kept: Vec<&'a ObjectRef> =
            users.filter(|user| !self.is_withdrawn(user, alive)).collect();
        if kept.is_empty() {
            return Announce::Nowhere(no_backend(claim)).into();
        }
        let labels = labels_of(&claim.pool, &self.world.pools);
        let (lan, routed) = (self.lan(&claim.pool, &labels), self.routed(&claim.pool, &labels));
        if routed.is_empty() {
            return self.on_lan(address, &self.users(&kept, &lan));
        }
        let routes = self.routes(address, &self.users(&kept, &routed));
        if lan.is_empty() {
            return routes.map_or_else(|why| Announce::Nowhere(why).into(), Candidacy::from);
        }
        let on_lan = self.on_lan(address, &self.users(&kept, &lan));
        match (routes, &on_lan.announce) {
            (Ok(routes), Announce::Layer2(_)) => Candidacy {
                routes: routes.routes,
                yields: routes.yields,
                compromise: on_lan.compromise.or(routes.compromise),
                ..on_lan
            },
            // Whoever has it on the LAN, routers may come here.
            (Ok(routes), _) => Candidacy { elsewhere: true, ..routes.into() },
            (Err(_), _) => on_lan,
        }
    }

    /// The L2Advertisements that select a pool.
    fn lan(&self, pool: &str, labels: &Labels) -> Vec<Lan<'a>> {
        let all = self.world.l2_advertisements.iter();
        let all = all.map(|(key, stored)| Lan { key, spec: &stored.object.spec });
        all.filter(|one| selects_pool(one.spec, pool, labels)).collect()
    }

    /// The BGPAdvertisements that select a pool.
    fn routed(&self, pool: &str, labels: &Labels) -> Vec<Routed<'a>> {
        let Routing { peering, adverts, .. } = self.routing;
        let all = adverts.iter().map(|(key, advert)| Routed { key, advert, peering });
        all.filter(|one| selects_pool(&one.advert.object.spec, pool, labels)).collect()
    }

    /// How it is announced by ARP and NDP.
    fn on_lan(&self, address: IpAddr, users: &[User<'a, Lan<'a>>]) -> Candidacy {
        let decisive = match self.decisive(users) {
            Ok(decisive) => decisive,
            Err(why) => return Announce::Nowhere(why).into(),
        };
        let taking: Vec<_> = decisive.taking(&self.node.labels);
        let preferences = taking.iter().flat_map(|one| &one.spec.preferred_node_selectors);
        let met = preferences.filter(|preferred| matches(&preferred.preference, &self.node.labels));
        let by: Vec<_> = taking.iter().map(|one| (one.key, one.spec)).collect();
        Candidacy {
            announce: announce(address, &by, self.node),
            weight: met.fold(0, |sum, preferred| sum.saturating_add(preferred.weight)),
            preempt: preempts(&decisive),
            compromise: decisive.compromise,
            routes: Vec::new(),
            yields: None,
            elsewhere: false,
        }
    }

    fn is_withdrawn(&self, user: &ObjectRef, alive: &dyn Fn(&ObjectKey) -> bool) -> bool {
        match user.kind {
            Kind::Service => self.withdrawn.contains(&user.key),
            _ => {
                let gateway = self.admission.gateways.get(&user.key);
                gateway.is_some_and(|gateway| gateway.withdraws) && !alive(&user.key)
            }
        }
    }
}

/// Whether the VIP of these users moves to a node that is preferred, on whichever node this is asked.
fn preempts(decisive: &Decisive<'_, '_, Lan<'_>>) -> bool {
    let says = |spec: &L2AdvertisementSpec| {
        spec.preempt.unwrap_or(!spec.preferred_node_selectors.is_empty())
    };
    decisive.all().all(|one| one.spec.preempt != Some(false))
        && decisive.all().any(|one| says(one.spec))
}

fn no_backend(claim: &Claim) -> Exclusion {
    let users: Vec<String> = claim.users.iter().map(|user| user.object.to_string()).collect();
    let message = format!(
        "no backend of {} has a usable endpoint, and annotation {} says Withdraw",
        users.join(", "),
        no_backends::ANNOTATION
    );
    Exclusion::new(ExclusionReason::NoBackend, message)
}

//! Which nodes may have a VIP: what the objects say of it. Links are [`crate::announce`]'s, and sockets the
//! speaker's.
//!
//! Each user of a VIP has its own set of nodes: by the L2Advertisements of the pool that take it
//! (`serviceSelectors`) and the node (`nodeSelectors`), and, for a Service with
//! `externalTrafficPolicy: Local`, by where its endpoints are. A VIP takes what all its users have in
//! common. Where no node that could have it fits them all, the oldest user that has any node decides.
//! A user that has no backend and wants to be withdrawn then asks for nothing.
//!
//! All of it comes from objects that every speaker sees, so all speakers find the same.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use vipgate_api::selector::{Labels, matches};
use vipgate_api::vipgate::L2AdvertisementSpec;
use vipgate_api::{Age, Kind, ObjectKey, ObjectRef};

use crate::admission::Admission;
use crate::announce::{announce, labels_of, selects, takes};
use crate::claim::Claim;
use crate::exclusion::{Exclusion, ExclusionReason};
use crate::local;
use crate::no_backends;
use crate::node::{Neighbours, Node};
use crate::plan::Announce;
use crate::resolution::with_endpoints;
use crate::world::World;

/// What it is decided from.
pub(crate) struct Ground<'a> {
    world: &'a World,
    admission: &'a Admission,
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
    pub(crate) compromise: Option<Exclusion>,
}

impl From<Announce> for Candidacy {
    fn from(announce: Announce) -> Self {
        Self { announce, weight: 0, preempt: false, compromise: None }
    }
}

type Advertisements<'a> = Vec<(&'a ObjectKey, &'a L2AdvertisementSpec)>;

/// A user of a VIP.
struct User<'a> {
    object: &'a ObjectRef,
    age: Option<&'a Age>,
    /// Whether a pool of its VIP is selected by any advertisement, and those of these that take it.
    advertised: Option<Advertisements<'a>>,
}

impl<'a> Ground<'a> {
    pub(crate) fn new(
        world: &'a World,
        admission: &'a Admission,
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
        Self { world, admission, node, neighbours, local, withdrawn }
    }

    /// What this node does with an address; `alive` are the Gateways that have a backend for what comes to it.
    pub(crate) fn decide(
        &self,
        address: IpAddr,
        claim: &Claim,
        alive: &BTreeSet<(&ObjectKey, IpAddr)>,
    ) -> Candidacy {
        if address.is_loopback() {
            return Announce::Loopback.into();
        }
        let users = claim.users.iter().map(|user| &user.object);
        let kept: Vec<&ObjectRef> =
            users.filter(|user| !self.is_withdrawn(user, address, alive)).collect();
        if kept.is_empty() {
            return Announce::Nowhere(no_backend(claim)).into();
        }
        let users = self.users(kept, &claim.pool);
        let (decisive, compromise) = match self.decisive(&users) {
            Ok(decided) => decided,
            Err(why) => return Announce::Nowhere(why).into(),
        };
        let taking = taking(&decisive, &self.node.labels);
        let preferences = taking.iter().flat_map(|(_, spec)| &spec.preferred_node_selectors);
        let met = preferences.filter(|preferred| matches(&preferred.preference, &self.node.labels));
        Candidacy {
            announce: announce(address, &taking, self.node),
            weight: met.fold(0, |sum, preferred| sum.saturating_add(preferred.weight)),
            preempt: preempts(&decisive),
            compromise,
        }
    }

    fn is_withdrawn(
        &self,
        user: &ObjectRef,
        address: IpAddr,
        alive: &BTreeSet<(&ObjectKey, IpAddr)>,
    ) -> bool {
        match user.kind {
            Kind::Service => self.withdrawn.contains(&user.key),
            _ => {
                let gateway = self.admission.gateways.get(&user.key);
                gateway.is_some_and(|gateway| gateway.withdraws)
                    && !alive.contains(&(&user.key, address))
            }
        }
    }

    fn users(&self, objects: Vec<&'a ObjectRef>, pool: &str) -> Vec<User<'a>>
    where
        Self: 'a,
    {
        let labels = labels_of(pool, &self.world.pools);
        let selecting: Advertisements<'a> = (self.world.l2_advertisements.iter())
            .map(|(key, stored)| (key, &stored.object.spec))
            .filter(|(_, spec)| selects(spec, pool, &labels))
            .collect();
        let of = |object: &'a ObjectRef| {
            let (labels, age) = self.labels_and_age(object);
            let takes = |spec: &L2AdvertisementSpec| {
                let selectors = &spec.service_selectors;
                selectors.is_empty() || selectors.iter().any(|one| matches(one, &labels))
            };
            let advertised = (!selecting.is_empty())
                .then(|| selecting.iter().copied().filter(|(_, spec)| takes(spec)).collect());
            User { object, age, advertised }
        };
        objects.into_iter().map(of).collect()
    }

    fn labels_and_age(&self, object: &ObjectRef) -> (Labels, Option<&'a Age>) {
        match object.kind {
            Kind::Service => {
                let service = self.world.services.get(&object.key);
                let labels = service.and_then(|stored| stored.object.metadata.labels.clone());
                (labels.unwrap_or_default(), service.map(|stored| &stored.age))
            }
            _ => {
                let gateway = self.admission.gateways.get(&object.key);
                let age = self.world.gateways.get(&object.key).map(|stored| &stored.age);
                (gateway.map(|gateway| gateway.labels.clone()).unwrap_or_default(), age)
            }
        }
    }

    /// The users by which it goes on this node, and that these are not all, if so; or why this node is
    /// no candidate.
    fn decisive<'u>(
        &self,
        users: &'u [User<'a>],
    ) -> Result<(Vec<&'u User<'a>>, Option<Exclusion>), Exclusion> {
        let here = |user: &User<'a>| self.misfit(user, &self.node.name, &self.node.labels);
        let Some(misfit) = users.iter().find_map(here) else {
            return Ok((users.iter().collect(), None));
        };
        let fits = |user: &User<'a>, name: &str, labels: &Labels| {
            self.misfit(user, name, labels).is_none()
        };
        let common = self.neighbours.iter().any(|(name, neighbour)| {
            !neighbour.gives_way && users.iter().all(|user| fits(user, name, &neighbour.labels))
        });
        if users.len() == 1 || common {
            return Err(misfit);
        }
        let has_a_node = |user: &&User<'a>| {
            let mut others = self.neighbours.iter();
            here(user).is_none() || others.any(|(name, other)| fits(user, name, &other.labels))
        };
        let oldest = users.iter().filter(has_a_node).max_by_key(|user| Reverse(user.rank()));
        let Some(oldest) = oldest else { return Err(misfit) };
        let compromise = format!(
            "no node fits all who have it, so it goes by the oldest, {}: {misfit}",
            oldest.object
        );
        let compromise = Exclusion::new(ExclusionReason::NoCommonNode, compromise);
        here(oldest).map_or_else(|| Ok((vec![oldest], Some(compromise))), Err)
    }

    /// Why a node is not one for a user, if so.
    fn misfit(&self, user: &User<'_>, name: &str, labels: &Labels) -> Option<Exclusion> {
        let object = user.object;
        if let Some(advertised) = &user.advertised {
            if advertised.is_empty() {
                let message = format!(
                    "no L2Advertisement of its pool takes {object}: give it labels that their \
                     serviceSelectors match"
                );
                return Some(Exclusion::new(ExclusionReason::NoAdvertisement, message));
            }
            if !advertised.iter().any(|(_, spec)| takes(spec, labels)) {
                let names: Vec<String> =
                    advertised.iter().map(|(key, _)| key.to_string()).collect();
                let message = format!(
                    "no L2Advertisement of {object} takes node {name}: give the node labels that the \
                     nodeSelectors of {} match (standalone: --label)",
                    names.join(", ")
                );
                return Some(Exclusion::new(ExclusionReason::NodeNotSelected, message));
            }
        }
        let nodes = self.local.get(&object.key).filter(|_| object.kind == Kind::Service)?;
        (!nodes.contains(name)).then(|| {
            let message = format!(
                "no ready endpoint of {object} is on node {name}, and its externalTrafficPolicy is Local"
            );
            Exclusion::new(ExclusionReason::NoLocalEndpoint, message)
        })
    }
}

impl User<'_> {
    /// The least is the oldest; one that is not known yet is young.
    fn rank(&self) -> (bool, Option<&Age>, &ObjectRef) {
        (self.age.is_none(), self.age, self.object)
    }
}

/// The advertisements of these users that take a node of these labels, each once.
fn taking<'a>(users: &[&User<'a>], labels: &Labels) -> Advertisements<'a> {
    let all = users.iter().flat_map(|user| user.advertised.iter().flatten());
    let taking: BTreeMap<&ObjectKey, &L2AdvertisementSpec> =
        all.copied().filter(|(_, spec)| takes(spec, labels)).collect();
    taking.into_iter().collect()
}

/// Whether the VIP of these users moves to a node that is preferred, on whichever node this is asked.
fn preempts(users: &[&User<'_>]) -> bool {
    let specs = || users.iter().flat_map(|user| user.advertised.iter().flatten());
    let says = |spec: &L2AdvertisementSpec| {
        spec.preempt.unwrap_or(!spec.preferred_node_selectors.is_empty())
    };
    specs().all(|(_, spec)| spec.preempt != Some(false)) && specs().any(|(_, spec)| says(spec))
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

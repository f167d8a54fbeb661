//! What there is: every object that decisions are made about, as it was last seen.
//!
//! Events come in, and the planner with it: [`Index::take`] says nothing, [`Index::is_complete`] says
//! when everything is known. An event that is older than what was seen or written is passed over.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use vipgate_api::k8s::ServiceAccount;
use vipgate_api::vipgate::SpeakerStatus;
use vipgate_api::{Kind, Object, ObjectKey, ObjectRef, Resource, Stored};
use vipgate_planner::world::Shelf;
use vipgate_planner::{Environment, Planner, Role};

use crate::claims::Vips;
use crate::watch::{Event, Seen};

/// Kinds of the Gateway API that people may miss.
const OPTIONAL: [Kind; 6] = [
    Kind::ListenerSet,
    Kind::TcpRoute,
    Kind::TlsRoute,
    Kind::UdpRoute,
    Kind::HttpRoute,
    Kind::ReferenceGrant,
];

/// See the module.
#[derive(Debug)]
pub struct Index {
    /// Decides.
    pub planner: Planner,
    /// The claims that are objects.
    pub vips: Vips,
    /// Every object, as it was last seen or written.
    pub seen: BTreeMap<ObjectRef, Arc<Seen>>,
    /// What the speakers say.
    pub speakers: BTreeMap<String, SpeakerStatus>,
    /// ServiceAccounts that may be companions.
    pub accounts: Shelf<ServiceAccount>,
    hosts: BTreeMap<String, Vec<IpAddr>>,
    environment: Environment,
    awaited: Option<BTreeSet<Kind>>,
    complete: BTreeSet<Kind>,
}

impl Default for Index {
    fn default() -> Self {
        Self {
            planner: Planner::in_role(Role::Controller),
            vips: Vips::default(),
            seen: BTreeMap::new(),
            speakers: BTreeMap::new(),
            accounts: Shelf::new(),
            hosts: BTreeMap::new(),
            environment: Environment::default(),
            awaited: None,
            complete: BTreeSet::new(),
        }
    }
}

impl Index {
    /// Takes in what happened.
    pub fn take(&mut self, event: Event) {
        match event {
            Event::Applied(object, age, seen) => {
                let reference = object.reference();
                if self.seen.get(&reference).is_some_and(|known| is_older(&seen, known)) {
                    return;
                }
                self.seen.insert(reference, seen);
                match &object {
                    Object::VirtualIp(vip) => drop(self.vips.apply(vip)),
                    Object::Speaker(speaker) => {
                        let name = speaker.metadata.name.clone().unwrap_or_default();
                        self.speakers.insert(name, speaker.status.clone());
                    }
                    Object::Node(node) => self.host(node),
                    Object::ServiceAccount(account) => {
                        let stored = Stored { object: Arc::clone(account), age };
                        self.accounts.insert(account.key(), stored);
                    }
                    _ => drop(self.planner.apply(object, age)),
                }
            }
            Event::Deleted(reference) => {
                self.seen.remove(&reference);
                match reference.kind {
                    Kind::VirtualIp => drop(self.vips.delete(&reference.key)),
                    Kind::Speaker => drop(self.speakers.remove(&reference.key.name)),
                    Kind::Node => {
                        self.hosts.remove(&reference.key.name);
                        self.reserve();
                    }
                    Kind::ServiceAccount => drop(self.accounts.remove(&reference.key)),
                    _ => drop(self.planner.delete(&reference)),
                }
            }
            Event::Synced(kind) => drop(self.complete.insert(kind)),
            Event::Trouble(kind, why) => {
                self.environment.unread.insert(kind, why);
                self.planner.set_environment(self.environment.clone());
            }
            Event::Well(kind) => {
                self.environment.unread.remove(&kind);
                self.planner.set_environment(self.environment.clone());
            }
            Event::Served(served) => {
                let is_served = |kind: &Kind| served.versions.contains_key(kind);
                self.complete.retain(is_served);
                self.environment.unread.retain(|kind, _| is_served(kind));
                self.environment.absent =
                    OPTIONAL.into_iter().filter(|kind| !is_served(kind)).collect();
                self.awaited = Some(served.versions.keys().copied().collect());
                self.environment.bundle = served.bundle;
                self.planner.set_environment(self.environment.clone());
            }
            Event::Unreadable(..) | Event::Away(_) => {}
        }
    }

    /// Whether everything is known that can be known. Before that nothing is decided.
    pub fn is_complete(&self) -> bool {
        let Some(awaited) = &self.awaited else { return false };
        let needed = [Kind::VirtualIp, Kind::IpAddressPool];
        needed.iter().all(|kind| self.complete.contains(kind))
            && awaited.iter().all(|kind| self.complete.contains(kind) || self.is_refused(*kind))
    }

    /// Whether the API server does not let us read a kind.
    fn is_refused(&self, kind: Kind) -> bool {
        self.environment.unread.contains_key(&kind)
    }

    /// Whether all objects of these kinds are known, so that one that is not there is gone.
    pub fn knows(&self, kinds: &[Kind]) -> bool {
        self.awaited.as_ref().is_some_and(|awaited| {
            kinds.iter().all(|kind| !awaited.contains(kind) || self.complete.contains(kind))
        })
    }

    /// Whether the planner's world has an object as it was last seen or written: what is worked out
    /// from an older one is not to be written.
    pub fn is_current(&self, object: &ObjectRef) -> bool {
        let world = self.planner.world();
        let metadata = match object.kind {
            Kind::GatewayClass => world.classes.get(&object.key).map(|s| &s.object.metadata),
            Kind::Service => world.services.get(&object.key).map(|s| &s.object.metadata),
            Kind::Secret => world.secrets.get(&object.key).map(|s| &s.object.metadata),
            Kind::ServiceAccount => self.accounts.get(&object.key).map(|s| &s.object.metadata),
            _ => return true,
        };
        let in_world = metadata.and_then(|metadata| metadata.resource_version.as_deref());
        in_world == self.seen.get(object).map(|seen| seen.resource_version.as_str())
    }

    /// `metadata.generation` of an object.
    pub fn generation(&self, object: &ObjectRef) -> Option<i64> {
        let world = self.planner.world();
        let key: &ObjectKey = &object.key;
        match object.kind {
            Kind::GatewayClass => world.classes.get(key)?.object.metadata.generation,
            Kind::Gateway => world.gateways.get(key)?.object.metadata.generation,
            Kind::ListenerSet => world.listener_sets.get(key)?.object.metadata.generation,
            kind if kind.is_route() => world.routes.get(object)?.object.metadata.generation,
            Kind::IpAddressPool => world.pools.get(key)?.object.metadata.generation,
            // The API server gives Services none.
            _ => None,
        }
    }

    /// The addresses of a Node are never given out.
    fn host(&mut self, node: &vipgate_api::k8s::Node) {
        let addresses = node.status.iter().flat_map(|status| status.addresses.iter().flatten());
        let addresses = addresses.filter_map(|address| address.address.parse().ok()).collect();
        self.hosts.insert(node.metadata.name.clone().unwrap_or_default(), addresses);
        self.reserve();
    }

    fn reserve(&mut self) {
        self.planner.set_reserved(self.hosts.values().flatten().copied().collect());
    }
}

/// Whether an event tells of an older version than is known. (Versions of one kind can be compared as
/// numbers, KEP-5504; where they are none, nothing is passed over.)
fn is_older(event: &Seen, known: &Seen) -> bool {
    let number = |seen: &Seen| seen.resource_version.parse::<u64>().ok();
    matches!((number(event), number(known)), (Some(event), Some(known)) if event < known)
}

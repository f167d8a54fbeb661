//! What there is: every object that decisions are made about, as it was last seen.
//!
//! Events come in, and the planner with it: [`Index::take`] says whether anything follows, [`Index::is_complete`]
//! when everything is known. An event that is older than what was seen or written is passed over.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use vipgate_api::k8s::{Node, ServiceAccount};
use vipgate_api::vipgate::SpeakerStatus;
use vipgate_api::{Kind, Object, ObjectKey, ObjectRef, Resource, Stored};
use vipgate_planner::world::Shelf;
use vipgate_planner::{Environment, Lost, LostNode, Planner, Role};

use crate::bundles::Bundles;
use crate::claims::Vips;
use crate::watch::{Event, Seen};

/// Kinds of the Gateway API that people may miss.
const OPTIONAL: [Kind; 7] = [
    Kind::ListenerSet,
    Kind::TcpRoute,
    Kind::TlsRoute,
    Kind::UdpRoute,
    Kind::HttpRoute,
    Kind::ReferenceGrant,
    Kind::BackendTlsPolicy,
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
    /// ServiceAccounts that may be companions.
    pub accounts: Shelf<ServiceAccount>,
    /// ConfigMaps: the planner gets those that somebody read.
    pub bundles: Bundles,
    /// Objects that cannot be read now: why, and what is known of them all the same. Of those that
    /// could be read once the planner has that version.
    pub unreadable: BTreeMap<ObjectRef, (String, Arc<Seen>)>,
    speakers: BTreeMap<String, SpeakerStatus>,
    nodes: BTreeMap<String, Host>,
    rumours: u64,
    environment: Environment,
    awaited: Option<BTreeSet<Kind>>,
    complete: BTreeSet<Kind>,
}

/// What of a Node matters.
#[derive(Debug, Default, PartialEq, Eq)]
struct Host {
    addresses: Vec<IpAddr>,
    /// What the cluster says of it when it has lost sight of it.
    silent: Option<String>,
}

impl Host {
    fn of(node: &Node) -> Self {
        let status = node.status.iter();
        let addresses = status.clone().flat_map(|status| status.addresses.iter().flatten());
        let mut conditions = status.flat_map(|status| status.conditions.iter().flatten());
        let silent = conditions.find(|one| one.type_ == "Ready" && one.status == "Unknown");
        Self {
            addresses: addresses.filter_map(|address| address.address.parse().ok()).collect(),
            silent: silent.map(|ready| {
                let why = ready.message.as_deref().unwrap_or("no message");
                format!("the Node is Ready=Unknown ({why})")
            }),
        }
    }
}

impl Default for Index {
    fn default() -> Self {
        Self {
            planner: Planner::in_role(Role::Controller),
            vips: Vips::default(),
            seen: BTreeMap::new(),
            accounts: Shelf::new(),
            bundles: Bundles::default(),
            unreadable: BTreeMap::new(),
            speakers: BTreeMap::new(),
            nodes: BTreeMap::new(),
            rumours: 0,
            environment: Environment::default(),
            awaited: None,
            complete: BTreeSet::new(),
        }
    }
}

impl Index {
    /// One that knows nothing; copies are in the namespace `install`.
    pub fn new(install: &str) -> Self {
        Self { bundles: Bundles::new(install), ..Self::default() }
    }

    /// Takes in what happened. Says whether anything can follow from it, but for the versions and the
    /// statuses of objects.
    pub fn take(&mut self, event: Event) -> bool {
        match event {
            // Without its content: of those that are not ours only that they changed is noted.
            Event::Applied(Object::ConfigMap(map), _, seen) => {
                let reference = ObjectRef::new(Kind::ConfigMap, map.key());
                match self.bundles.changed(&map.metadata) {
                    true => drop(self.seen.insert(reference, seen)),
                    false => drop(self.seen.remove(&reference)),
                }
                return true;
            }
            Event::Applied(object, age, seen) => {
                let reference = object.reference();
                if self.seen.get(&reference).is_some_and(|known| is_older(&seen, known)) {
                    return false;
                }
                let is_readable_again = self.unreadable.remove(&reference).is_some();
                if is_readable_again {
                    self.note_unreadable();
                }
                self.seen.insert(reference, seen);
                let is_news = match &object {
                    Object::VirtualIp(vip) => self.vips.apply(vip),
                    Object::Speaker(speaker) => {
                        let name = speaker.metadata.name.clone().unwrap_or_default();
                        let status = &speaker.status;
                        let before = self.speakers.insert(name, status.clone());
                        let is_news = before.as_ref() != Some(status);
                        self.rumours += u64::from(is_news);
                        is_news
                    }
                    Object::Node(node) => {
                        let name = node.metadata.name.clone().unwrap_or_default();
                        let host = Host::of(node);
                        let is_news = self.nodes.get(&name) != Some(&host);
                        if is_news {
                            self.nodes.insert(name, host);
                            self.rumours += 1;
                            self.reserve();
                        }
                        is_news
                    }
                    Object::ServiceAccount(account) => {
                        let stored = Stored { object: Arc::clone(account), age };
                        let before = self.accounts.insert(account.key(), stored.clone());
                        before.as_ref() != Some(&stored)
                    }
                    _ => self.planner.apply(object, age),
                };
                return is_news || is_readable_again;
            }
            Event::Deleted(reference) => {
                self.rumours += 1;
                self.seen.remove(&reference);
                if self.unreadable.remove(&reference).is_some() {
                    self.note_unreadable();
                }
                match reference.kind {
                    Kind::VirtualIp => drop(self.vips.delete(&reference.key)),
                    Kind::Speaker => drop(self.speakers.remove(&reference.key.name)),
                    Kind::Node => {
                        self.nodes.remove(&reference.key.name);
                        self.reserve();
                    }
                    Kind::ServiceAccount => drop(self.accounts.remove(&reference.key)),
                    Kind::ConfigMap => {
                        self.bundles.gone(&reference.key);
                        self.planner.delete(&reference);
                    }
                    _ => drop(self.planner.delete(&reference)),
                }
            }
            Event::Synced(kind) => {
                self.rumours += 1;
                self.complete.insert(kind);
            }
            Event::Trouble(kind, why) => {
                self.rumours += 1;
                self.environment.unread.insert(kind, why);
                self.planner.set_environment(self.environment.clone());
            }
            Event::Well(kind) => {
                self.rumours += 1;
                self.environment.unread.remove(&kind);
                self.planner.set_environment(self.environment.clone());
            }
            Event::Served(served) => {
                self.rumours += 1;
                let is_served = |kind: &Kind| served.versions.contains_key(kind);
                self.complete.retain(is_served);
                self.environment.unread.retain(|kind, _| is_served(kind));
                self.environment.absent =
                    OPTIONAL.into_iter().filter(|kind| !is_served(kind)).collect();
                self.awaited = Some(served.versions.keys().copied().collect());
                self.environment.bundle = served.bundle;
                self.planner.set_environment(self.environment.clone());
            }
            Event::Unreadable(object, why, seen) => {
                self.unreadable.insert(object, (why, seen));
                self.note_unreadable();
            }
            Event::Away(_) => return false,
        }
        true
    }

    /// Another number whenever [`Self::speakers`] may say something else.
    pub fn rumours(&self) -> u64 {
        self.rumours
    }

    /// Whether everything is known that can be known. Before that nothing is decided.
    pub fn is_complete(&self) -> bool {
        let Some(awaited) = &self.awaited else { return false };
        let needed = [Kind::VirtualIp, Kind::IpAddressPool];
        needed.iter().all(|kind| self.complete.contains(kind))
            && awaited.iter().all(|kind| self.complete.contains(kind) || self.is_refused(*kind))
    }

    /// What there is to wait for until [everything is known](Self::is_complete).
    pub fn awaits(&self) -> Vec<String> {
        let Some(awaited) = &self.awaited else {
            return vec!["an answer of the API server: which kinds are served".to_owned()];
        };
        let needed = [Kind::VirtualIp, Kind::IpAddressPool];
        let missing = needed.iter().filter(|kind| !self.complete.contains(kind));
        let others = awaited.iter().filter(|kind| !self.complete.contains(kind));
        let others = others.filter(|kind| !needed.contains(kind) && !self.is_refused(**kind));
        missing.chain(others).map(|kind| format!("all objects of kind {kind}")).collect()
    }

    /// Whether the API server does not let us read a kind.
    fn is_refused(&self, kind: Kind) -> bool {
        self.environment.unread.contains_key(&kind)
    }

    /// Whether all objects of these kinds are known, so that one that is not there is gone, unless it
    /// is among the [unreadable](Self::unreadable).
    pub fn knows(&self, kinds: &[Kind]) -> bool {
        self.awaited.as_ref().is_some_and(|awaited| {
            kinds.iter().all(|kind| !awaited.contains(kind) || self.complete.contains(kind))
        })
    }

    /// Whether all objects of these kinds are known, and each could be read: then one that is not there
    /// is gone indeed, and nothing that follows from it is missed.
    pub fn has_read(&self, kinds: &[Kind]) -> bool {
        self.knows(kinds) && !self.unreadable.keys().any(|object| kinds.contains(&object.kind))
    }

    /// Whether a kind is served, and all objects of it are known and could be read.
    pub fn has_all(&self, kind: Kind) -> bool {
        self.complete.contains(&kind) && self.has_read(&[kind])
    }

    /// Whether the planner's world has an object as it was last seen or written: what is worked out
    /// from an older one is not to be written.
    pub fn is_current(&self, object: &ObjectRef) -> bool {
        let world = self.planner.world();
        let metadata = match object.kind {
            Kind::GatewayClass => world.classes.get(&object.key).map(|s| &s.object.metadata),
            Kind::IpAddressPool => world.pools.get(&object.key).map(|s| &s.object.metadata),
            Kind::Service => world.services.get(&object.key).map(|s| &s.object.metadata),
            Kind::Secret => world.secrets.get(&object.key).map(|s| &s.object.metadata),
            Kind::ConfigMap => world.config_maps.get(&object.key).map(|s| &s.object.metadata),
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
            Kind::BgpPeer => world.bgp_peers.get(key)?.object.metadata.generation,
            Kind::BgpAdvertisement => world.bgp_advertisements.get(key)?.object.metadata.generation,
            Kind::BfdProfile => world.bfd_profiles.get(key)?.object.metadata.generation,
            Kind::Community => world.communities.get(key)?.object.metadata.generation,
            Kind::ListenerPolicy => world.listener_policies.get(key)?.object.metadata.generation,
            Kind::BackendPolicy => world.backend_policies.get(key)?.object.metadata.generation,
            Kind::BackendTlsPolicy => {
                world.backend_tls_policies.get(key)?.object.metadata.generation
            }
            // The API server gives Services none.
            _ => None,
        }
    }

    /// What the speakers say, and the nodes whose speaker does not count. A Speaker outlives its
    /// process, and even its node: what it says is news only while the cluster sees the node.
    pub fn speakers(&self) -> (BTreeMap<&String, &SpeakerStatus>, Lost) {
        let (mut heard, mut lost) = (BTreeMap::new(), Lost::new());
        for (node, status) in &self.speakers {
            match self.lost(node) {
                None => drop(heard.insert(node, status)),
                Some(why) => drop(lost.insert(node.clone(), LostNode::new(why, status))),
            }
        }
        (heard, lost)
    }

    /// Why a node is not heard any more, if so. Where Nodes may not be read nobody knows which there are.
    fn lost(&self, node: &str) -> Option<String> {
        match self.nodes.get(node) {
            Some(host) => host.silent.clone(),
            None if !self.complete.contains(&Kind::Node) || self.is_refused(Kind::Node) => None,
            None => Some("there is no Node of that name".to_owned()),
        }
    }

    /// The addresses of Nodes are never given out.
    fn reserve(&mut self) {
        let addresses = self.nodes.values().flat_map(|host| &host.addresses).copied();
        self.planner.set_reserved(addresses.collect());
    }

    /// An object that cannot be read is there: what it has stays its own.
    fn note_unreadable(&mut self) {
        self.planner.set_unreadable(self.unreadable.keys().cloned().collect());
    }
}

/// Whether an event tells of an older version than is known. (Versions of one kind can be compared as
/// numbers, KEP-5504; where they are none, nothing is passed over.)
fn is_older(event: &Seen, known: &Seen) -> bool {
    let number = |seen: &Seen| seen.resource_version.parse::<u64>().ok();
    matches!((number(event), number(known)), (Some(event), Some(known)) if event < known)
}

#[cfg(test)]
mod tests;

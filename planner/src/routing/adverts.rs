//! BGPAdvertisements, with all that they name.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use vipgate_api::vipgate::{BgpAdvertisement, CommunityValue, well_known, well_known_names};
use vipgate_api::{Kind, ObjectKey, ObjectRef, Reason};

use crate::refusal::Refusal;
use crate::world::World;

/// A BGPAdvertisement.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Advert {
    /// The object, for its selectors.
    pub(crate) object: Arc<BgpAdvertisement>,
    /// How it announces; or why it announces nothing.
    pub(crate) terms: Result<Terms, Refusal>,
}

/// How an advertisement announces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    lengths: (u8, u8),
    /// For peers of our own AS.
    pub(crate) local_pref: Option<u32>,
    /// Communities (RFC 1997).
    pub(crate) communities: BTreeSet<u32>,
    /// Large communities (RFC 8092).
    pub(crate) large_communities: BTreeSet<[u32; 3]>,
    /// BGPPeers that are named and there; all when `None`.
    pub(crate) peers: Option<BTreeSet<ObjectKey>>,
}

impl Terms {
    /// What is announced of an address.
    pub(crate) fn prefix(&self, address: IpAddr) -> IpNet {
        let length = match address {
            IpAddr::V4(_) => self.lengths.0.min(32),
            IpAddr::V6(_) => self.lengths.1.min(128),
        };
        IpNet::new(address, length).expect("no longer than an address").trunc()
    }
}

/// What names of Communities stand for, and whose they are.
pub(super) type Aliases<'a> = BTreeMap<&'a str, (CommunityValue, &'a ObjectKey)>;

/// Reads all of them; with what is wrong.
pub(super) fn adverts(
    world: &World,
    aliases: &Aliases<'_>,
) -> (BTreeMap<ObjectKey, Advert>, Vec<(ObjectRef, Refusal)>) {
    let (mut adverts, mut problems) = (BTreeMap::new(), Vec::new());
    for (key, stored) in &world.bgp_advertisements {
        let object = Arc::clone(&stored.object);
        let mut add = |reason, message: String| {
            let advertisement = ObjectRef::new(Kind::BgpAdvertisement, key.clone());
            problems.push((advertisement, Refusal::new(reason, message)));
        };
        let terms = terms(world, &object, aliases);
        match &terms {
            Err(refusal) => {
                add(refusal.reason, format!("{}: it announces nothing", refusal.message))
            }
            Ok(_) => {
                for (index, name) in object.spec.peers.iter().enumerate() {
                    if !world.bgp_peers.keys().any(|peer| peer.name == *name) {
                        let message = format!(
                            "spec.peers[{index}]: there is no BGPPeer {name}: create it, or write the \
                             name of another"
                        );
                        add(Reason::PeerNotFound, message);
                    }
                }
            }
        }
        for (index, name) in object.spec.ip_address_pools.iter().enumerate() {
            if !world.pools.keys().any(|pool| pool.name == *name) {
                let message = format!(
                    "spec.ipAddressPools[{index}]: there is no IPAddressPool {name}: create it, or write \
                     the name of another"
                );
                add(Reason::PoolNotFound, message);
            }
        }
        adverts.insert(key.clone(), Advert { object, terms });
    }
    (adverts, problems)
}

fn terms(
    world: &World,
    object: &BgpAdvertisement,
    aliases: &Aliases<'_>,
) -> Result<Terms, Refusal> {
    let spec = &object.spec;
    if let Some(fault) = spec.faults().first() {
        let message = format!("{}: {}", fault.path, fault.message);
        return Err(Refusal::new(Reason::Invalid, message));
    }
    let (mut communities, mut large_communities) = (BTreeSet::new(), BTreeSet::new());
    for (index, text) in spec.communities.iter().enumerate() {
        let known =
            || well_known(text).or_else(|| aliases.get(text.as_str()).map(|(value, _)| *value));
        match text.parse().ok().or_else(known) {
            Some(CommunityValue::Standard(value)) => drop(communities.insert(value)),
            Some(CommunityValue::Large(value)) => drop(large_communities.insert(value)),
            None => {
                let known: Vec<&str> = well_known_names().collect();
                let message = format!(
                    "spec.communities[{index}]: no Community has the name {text:?}: add it to one, or write \
                     numbers such as 65001:100, or one of {}",
                    known.join(", ")
                );
                return Err(Refusal::new(Reason::CommunityNotFound, message));
            }
        }
    }
    let is_named = |key: &&ObjectKey| spec.peers.contains(&key.name);
    let peers = (!spec.peers.is_empty())
        .then(|| world.bgp_peers.keys().filter(is_named).cloned().collect());
    let (lengths, local_pref) = (spec.lengths(), spec.local_pref);
    Ok(Terms { lengths, local_pref, communities, large_communities, peers })
}

/// The names of all Communities; of several objects that have one, the oldest counts.
pub(super) fn aliases(world: &World) -> (Aliases<'_>, Vec<(ObjectRef, Refusal)>) {
    let mut oldest: Vec<_> = world.communities.iter().collect();
    oldest.sort_by(|(a, one), (b, other)| (&one.age, a).cmp(&(&other.age, b)));
    let (mut aliases, mut problems) = (Aliases::new(), Vec::new());
    for (key, stored) in oldest {
        let object = || ObjectRef::new(Kind::Community, key.clone());
        let spec = &stored.object.spec;
        for fault in spec.faults() {
            let message = format!("{}: {}", fault.path, fault.message);
            problems.push((object(), Refusal::new(Reason::Invalid, message)));
        }
        for (index, alias) in spec.communities.iter().enumerate() {
            let Ok(value) = alias.value.parse::<CommunityValue>() else { continue };
            if well_known(&alias.name).is_some() {
                continue;
            }
            match aliases.get(alias.name.as_str()) {
                None => drop(aliases.insert(&alias.name, (value, key))),
                Some((_, before)) if *before == key => {}
                Some((counts, before)) => {
                    let message = format!(
                        "spec.communities[{index}].name: {} is {counts} by Community {before}, which is \
                         older: write another name",
                        alias.name
                    );
                    problems.push((object(), Refusal::new(Reason::Invalid, message)));
                }
            }
        }
    }
    (aliases, problems)
}

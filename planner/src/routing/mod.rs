//! Routers: with which of them a node speaks, and what BGPAdvertisements have to say to them.
//!
//! Nothing is known of VIPs here: which of them is announced from where is `candidacy`'s. What
//! cannot be obeyed is left out, with the reason, and harms nothing else. An advertisement that is left
//! out still selects its pools: a slip of the pen in a community does not turn ARP on.

mod adverts;
mod password;
mod peering;
mod verdict;

use std::collections::BTreeMap;

use vipgate_api::{Kind, ObjectKey, ObjectRef, Stored};

use crate::node::Node;
use crate::refusal::Refusal;
use crate::world::{Shelf, World};

pub(crate) use adverts::{Advert, Terms};
pub(crate) use peering::Peering;
pub(crate) use verdict::{Verdict, is_of_others};

/// What came out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Routing {
    /// Sessions.
    pub(crate) peering: Peering,
    /// BGPAdvertisements, by name.
    pub(crate) adverts: BTreeMap<ObjectKey, Advert>,
    /// What is wrong, where.
    pub(crate) problems: Vec<(ObjectRef, Refusal)>,
    /// What is to be said of each object.
    pub(crate) verdicts: BTreeMap<ObjectRef, Verdict>,
}

/// Looks at everything that is about BGP, as a node sees it; as nobody in particular does when there is
/// none. Where each node sees to its own (`in_cluster`), what is wrong for others only is left to them.
pub fn route(world: &World, node: Option<&Node>, in_cluster: bool) -> Routing {
    let peering = peering::peering(world, node);
    let (aliases, mut doubts) = adverts::aliases(world);
    let (adverts, of_adverts) = adverts::adverts(world, &aliases);
    doubts.extend(of_adverts);
    doubts.extend(peering::faulty_profiles(world));
    let of_peer = |(key, refusal): (&ObjectKey, &Refusal)| {
        (ObjectRef::new(Kind::BgpPeer, key.clone()), refusal.clone())
    };
    let elsewhere = peering.elsewhere.iter().filter(|_| !in_cluster);
    let problems = peering
        .held_back
        .iter()
        .chain(&peering.lacking)
        .chain(elsewhere)
        .map(of_peer)
        .chain(doubts);
    let problems: Vec<_> = problems.collect();
    let verdicts = verdict::verdicts(world, &aliases, &problems);
    Routing { peering, adverts, problems, verdicts }
}

/// The object of a name that another one refers to: in whichever namespace, as their namespaces have no
/// meaning, but one of its own goes first.
fn named<'a, T>(
    shelf: &'a Shelf<T>,
    from: &ObjectKey,
    name: &str,
) -> Option<(&'a ObjectKey, &'a Stored<T>)> {
    let own = shelf.get_key_value(&ObjectKey::new(&from.namespace, name));
    own.or_else(|| shelf.iter().find(|(key, _)| key.name == name))
}

//! What is to be said of each object that is about BGP: what is wrong with it, and with what it names.

use std::collections::BTreeMap;

use vipgate_api::{Kind, ObjectKey, ObjectRef, Reason};

use super::adverts::Aliases;
use crate::plan::Source;
use crate::refusal::Refusal;
use crate::world::World;

/// What is to be said of an object.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Verdict {
    /// Which state of it this is about; nothing where there is no API server.
    pub(crate) source: Option<Source>,
    /// What is wrong with it.
    pub(crate) faults: Vec<Refusal>,
    /// What is wrong with the objects that it names.
    pub(crate) dangling: Vec<Refusal>,
    /// What it asks for and does not get, where all else is followed.
    pub(crate) lacking: Vec<Refusal>,
    /// Whether a part of it counts all the same.
    pub(crate) counts: bool,
    /// Whether it names a Secret.
    pub(crate) has_secret: bool,
}

impl Verdict {
    /// Takes in something that is wrong.
    fn add(&mut self, refusal: &Refusal) {
        let list = match refusal.reason {
            Reason::EchoNotPossible => &mut self.lacking,
            reason if is_of_others(reason) => &mut self.dangling,
            _ => &mut self.faults,
        };
        list.push(refusal.clone());
    }
}

/// Whether what is wrong is wrong with an object that is named.
pub(crate) fn is_of_others(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::BfdProfileNotFound
            | Reason::InvalidBfdProfile
            | Reason::InvalidPassword
            | Reason::CommunityNotFound
            | Reason::PeerNotFound
            | Reason::PoolNotFound
    )
}

/// The verdicts on all of them.
pub(super) fn verdicts(
    world: &World,
    aliases: &Aliases<'_>,
    problems: &[(ObjectRef, Refusal)],
) -> BTreeMap<ObjectRef, Verdict> {
    let mut all = BTreeMap::new();
    let mut of = |kind, key: &ObjectKey, verdict| {
        all.insert(ObjectRef::new(kind, key.clone()), verdict);
    };
    for (key, stored) in &world.bgp_peers {
        let source = Source::of(&stored.object.metadata);
        let has_secret = stored.object.spec.password_secret.is_some();
        of(Kind::BgpPeer, key, Verdict { source, has_secret, ..Verdict::default() });
    }
    for (key, stored) in &world.bgp_advertisements {
        let source = Source::of(&stored.object.metadata);
        of(Kind::BgpAdvertisement, key, Verdict { source, ..Verdict::default() });
    }
    for (key, stored) in &world.bfd_profiles {
        let source = Source::of(&stored.object.metadata);
        of(Kind::BfdProfile, key, Verdict { source, ..Verdict::default() });
    }
    for (key, stored) in &world.communities {
        let source = Source::of(&stored.object.metadata);
        let counts = aliases.values().any(|(_, of)| *of == key);
        of(Kind::Community, key, Verdict { source, counts, ..Verdict::default() });
    }
    for (object, refusal) in problems {
        if let Some(verdict) = all.get_mut(object) {
            verdict.add(refusal);
        }
    }
    all
}

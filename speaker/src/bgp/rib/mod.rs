//! What one peer is told (RFC 4271's Adj-RIB-Out): what it should have, what it has, and the
//! fewest messages from the one to the other.
//!
//! Pure state. What always holds:
//! * a prefix waits at most once, with its newest path: however often it changes while the peer
//!   is slow, it is sent once;
//! * prefixes of one path share messages;
//! * a new session is sent everything, then End-of-RIB (RFC 4724) once per family.

mod routes;

pub use routes::{Aggregation, Routes};

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ipnet::IpNet;

use super::wire::{self, Encoding, Family, GRACEFUL_SHUTDOWN, Path, TooLong};

/// What a peer should have and has.
#[derive(Clone, Debug, Default)]
pub struct Rib {
    wanted: Arc<Routes>,
    session: Option<Open>,
}

/// The part that lives as long as a session.
#[derive(Clone, Debug)]
struct Open {
    encoding: Encoding,
    families: BTreeSet<Family>,
    /// What the peer has.
    sent: BTreeMap<IpNet, Path>,
    /// Prefixes of which wanted and sent may differ.
    dirty: BTreeSet<IpNet>,
    /// Families whose first dump is not yet marked as complete.
    unmarked: BTreeSet<Family>,
    /// Paths say that they are about to go.
    leaving: bool,
    /// Nothing is wanted any more.
    left: bool,
    /// How many of the wanted ones this session cannot carry.
    unsendable: usize,
    /// Wanted ones whose path fits no message, and the last reason.
    refused: BTreeSet<IpNet>,
    why: Option<TooLong>,
}

/// What a peer was told: all of this, but for what fits no message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    routes: Arc<Routes>,
    refused: Arc<BTreeSet<IpNet>>,
    families: BTreeSet<Family>,
}

impl Told {
    /// Whether the peer has a prefix.
    #[must_use]
    pub fn has(&self, prefix: &IpNet) -> bool {
        self.families.contains(&Family::of(*prefix))
            && self.routes.get(prefix).is_some()
            && !self.refused.contains(prefix)
    }
}

/// How many prefixes are where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Prefixes the peer has from us.
    pub sent: usize,
    /// Prefixes it should have, whether it can be told or not.
    pub wanted: usize,
    /// Of these, prefixes for which there is no next hop or family in this session, or no room.
    pub unsendable: usize,
    /// And prefixes whose attributes fit no message.
    pub refused: usize,
}

impl Rib {
    /// Replaces what the peer should have.
    pub fn set(&mut self, wanted: Arc<Routes>) {
        if let Some(open) = &mut self.session {
            open.dirty.extend(self.wanted.differing(&wanted));
            open.unsendable = open.count_unsendable(&wanted);
        }
        self.wanted = wanted;
    }

    /// A session begins: the peer has nothing.
    pub fn up(&mut self, families: &BTreeSet<Family>, encoding: Encoding) {
        let mut open = Open {
            encoding,
            families: families.clone(),
            sent: BTreeMap::new(),
            dirty: self.wanted.prefixes().collect(),
            unmarked: families.clone(),
            leaving: false,
            left: false,
            unsendable: 0,
            refused: BTreeSet::new(),
            why: None,
        };
        open.unsendable = open.count_unsendable(&self.wanted);
        self.session = Some(open);
    }

    /// The session is over.
    pub fn down(&mut self) {
        self.session = None;
    }

    /// The peer wants everything of a family again (RFC 2918).
    pub fn resend(&mut self, family: Family) {
        if let Some(open) = &mut self.session {
            let again: Vec<IpNet> =
                open.sent.keys().filter(|prefix| Family::of(**prefix) == family).copied().collect();
            for prefix in again {
                if self.wanted.get(&prefix).is_some() {
                    open.sent.remove(&prefix);
                }
                open.dirty.insert(prefix);
            }
        }
    }

    /// Marks all paths as about to go (RFC 8326).
    pub fn leave(&mut self) {
        if let Some(open) = &mut self.session {
            open.leaving = true;
            open.dirty.extend(self.wanted.prefixes());
        }
    }

    /// Withdraws everything.
    pub fn withdraw(&mut self) {
        if let Some(open) = &mut self.session {
            open.left = true;
            open.dirty.extend(open.sent.keys());
        }
    }

    /// The messages that make the peer have what it should; to be sent in this order.
    pub fn drain(&mut self) -> Vec<Vec<u8>> {
        match &mut self.session {
            Some(open) => open.drain(&self.wanted),
            None => Vec::new(),
        }
    }

    /// How many prefixes are where.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let wanted = self.wanted.len();
        let Some(open) = &self.session else { return Counts { wanted, ..Counts::default() } };
        let (unsendable, refused) = (open.unsendable, open.refused.len());
        Counts { sent: open.sent.len(), wanted, unsendable, refused }
    }

    /// What the peer was told, once that is all that there is to tell: every message of it has been composed.
    #[must_use]
    pub fn told(&self) -> Option<Told> {
        let open = self.session.as_ref().filter(|open| open.dirty.is_empty() && !open.left)?;
        Some(Told {
            routes: Arc::clone(&self.wanted),
            refused: Arc::new(open.refused.clone()),
            families: self.carries(),
        })
    }

    /// Families of which prefixes can be sent in this session.
    #[must_use]
    pub fn carries(&self) -> BTreeSet<Family> {
        let session = self.session.iter();
        session
            .flat_map(|open| open.families.iter().filter(|one| open.carries(**one)))
            .copied()
            .collect()
    }

    /// What does not fit into a message.
    #[must_use]
    pub fn refused(&self) -> Option<TooLong> {
        let refusing = self.session.as_ref().filter(|open| !open.refused.is_empty());
        refusing.and_then(|open| open.why)
    }
}

impl Open {
    fn drain(&mut self, wanted: &Routes) -> Vec<Vec<u8>> {
        let mut gone: BTreeMap<Family, Vec<IpNet>> = BTreeMap::new();
        let mut changed: BTreeMap<(Family, Path), Vec<IpNet>> = BTreeMap::new();
        for prefix in std::mem::take(&mut self.dirty) {
            let family = Family::of(prefix);
            self.refused.remove(&prefix);
            let path = self.path(wanted, prefix).map(Cow::into_owned);
            match path {
                Some(path) if self.sent.get(&prefix) == Some(&path) => {}
                Some(path) => changed.entry((family, path)).or_default().push(prefix),
                None if self.sent.remove(&prefix).is_some() => {
                    gone.entry(family).or_default().push(prefix);
                }
                None => {}
            }
        }
        let mut messages = Vec::new();
        for ((family, path), prefixes) in changed {
            match wire::announce(&self.encoding, &path, family, &prefixes) {
                Ok(composed) => {
                    messages.extend(composed);
                    self.sent.extend(prefixes.into_iter().map(|prefix| (prefix, path.clone())));
                }
                Err(too_long) => {
                    self.why = Some(too_long);
                    self.refused.extend(&prefixes);
                    // What the peer had of it no longer holds.
                    let had = prefixes.into_iter().filter(|p| self.sent.remove(p).is_some());
                    gone.entry(family).or_default().extend(had);
                }
            }
        }
        for (family, prefixes) in gone {
            messages.extend(wire::withdraw(family, &prefixes));
        }
        messages.extend(std::mem::take(&mut self.unmarked).into_iter().map(wire::end_of_rib));
        messages
    }

    /// What the peer is to have of a prefix, as things are.
    fn path<'a>(&self, wanted: &'a Routes, prefix: IpNet) -> Option<Cow<'a, Path>> {
        if self.left || !self.can_send(prefix) {
            return None;
        }
        let path = wanted.get(&prefix)?;
        if !self.leaving {
            return Some(Cow::Borrowed(path));
        }
        let mut last = path.clone();
        last.communities.insert(GRACEFUL_SHUTDOWN);
        // Peers of our AS are told without their having to know the community.
        last.local_pref = Some(0);
        Some(Cow::Owned(last))
    }

    fn count_unsendable(&self, wanted: &Routes) -> usize {
        wanted.prefixes().filter(|prefix| !self.can_send(*prefix)).count()
    }

    fn can_send(&self, prefix: IpNet) -> bool {
        self.carries(Family::of(prefix))
    }

    fn carries(&self, family: Family) -> bool {
        self.families.contains(&family) && self.encoding.next_hop(family).is_some()
    }
}

#[cfg(test)]
mod tests;

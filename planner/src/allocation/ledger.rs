//! The claims while they are being worked out.
//!
//! What always holds: a claim that went in stays in. So the lowest free address of a pool only
//! ever rises, and a search goes on where the last one stopped: n addresses cost O(n log n).

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use vipgate_api::ObjectRef;
use vipgate_api::vipgate::VipUser;

use super::ground::Ground;
use super::pool::Pool;
use super::sharing::{self, Unshared};
use super::span::Family;
use super::want::Want;
use crate::claim::{Claim, Claims, Origin};

/// Who has which address, and how far each pool is used up.
pub(super) struct Ledger<'a> {
    ground: &'a Ground<'a>,
    claims: BTreeMap<IpAddr, Claim>,
    wants: BTreeMap<&'a ObjectRef, &'a Want>,
    /// Addresses by the key of those who share them.
    shared: BTreeMap<&'a str, BTreeSet<IpAddr>>,
    /// The lowest address that can still be free, by pool and family; `None` when there is none.
    lowest: BTreeMap<(&'a str, Family), Option<IpAddr>>,
}

impl<'a> Ledger<'a> {
    /// Nothing is claimed.
    pub(super) fn new(ground: &'a Ground<'a>, wants: &[&'a Want]) -> Self {
        Self {
            ground,
            claims: BTreeMap::new(),
            wants: wants.iter().map(|want| (&want.user, *want)).collect(),
            shared: BTreeMap::new(),
            lowest: BTreeMap::new(),
        }
    }

    /// Leaves an address to a user of which nothing is known but its claim.
    pub(super) fn leave_to(&mut self, object: &ObjectRef, address: IpAddr, claim: &Claim) {
        let users = claim.users.iter().filter(|user| user.object == *object);
        match self.claims.entry(address) {
            Entry::Occupied(mut held) => {
                let held = &mut held.get_mut().users;
                held.extend(users.cloned());
                held.sort_unstable();
            }
            Entry::Vacant(free) => {
                free.insert(Claim { users: users.cloned().collect(), ..claim.clone() });
            }
        }
    }

    /// Enters a claim of one user. Where the address has a claim, the user joins it; the error says
    /// who keeps it from that, and by what. `was_there` says that it only stays where it was.
    pub(super) fn enter(
        &mut self,
        address: IpAddr,
        claim: Claim,
        want: &'a Want,
        was_there: bool,
    ) -> Result<(), (ObjectRef, Unshared)> {
        match self.claims.entry(address) {
            Entry::Occupied(mut taken) => {
                let held = taken.get_mut();
                let find = |object: &ObjectRef| self.wants.get(object).copied();
                if let Some(excluded) = sharing::excluded(want, &held.users, was_there, find) {
                    return Err(excluded);
                }
                held.users.extend(claim.users);
                held.users.sort_unstable();
                held.published |= claim.published;
                if claim.origin == Origin::Requested {
                    held.origin = Origin::Requested;
                }
            }
            Entry::Vacant(free) => {
                free.insert(claim);
            }
        }
        if let Some(sharing) = &want.sharing {
            self.shared.entry(&sharing.key).or_default().insert(address);
        }
        Ok(())
    }

    /// The lowest address of a pool and family that a user may have by sharing it.
    pub(super) fn shared(&self, pool: &Pool, family: Family, want: &Want) -> Option<IpAddr> {
        let key = want.sharing.as_ref()?.key.as_str();
        let fits = |address: &&IpAddr| {
            Family::of(**address) == family
                && pool.offers(**address)
                && !self.ground.foreign.contains_key(*address)
                && !self.ground.node_addresses.contains(*address)
                && self.excluded(**address, want).is_none()
        };
        self.shared.get(key)?.iter().find(fits).copied()
    }

    /// Who keeps somebody from an address, and by what.
    pub(super) fn excluded(&self, address: IpAddr, want: &Want) -> Option<(ObjectRef, Unshared)> {
        let find = |object: &ObjectRef| self.wants.get(object).copied();
        sharing::excluded(want, self.users(address), false, find)
    }

    fn users(&self, address: IpAddr) -> &[VipUser] {
        self.claims.get(&address).map(|claim| claim.users.as_slice()).unwrap_or_default()
    }

    /// The lowest address of a pool and family that may be chosen.
    pub(super) fn lowest_free(&mut self, pool: &'a Pool, family: Family) -> Option<IpAddr> {
        let Self { ground, claims, lowest, .. } = self;
        let lowest =
            lowest.entry((pool.name.as_str(), family)).or_insert_with(|| Some(family.lowest()));
        *lowest = pool.lowest_free((*lowest)?, |address| {
            claims.contains_key(&address)
                || ground.foreign.contains_key(&address)
                || ground.node_addresses.contains(&address)
        });
        *lowest
    }

    /// The claims, each under the pool that gives its address out today, if one does. It stays with the
    /// pool that it came from while one of its users names that, and not today's: that another pool was
    /// made which has the address too is not their doing. (A pool that only keeps the address back has
    /// no say: it might be one that reclaims.) A claim of which no user is known stays as it is.
    pub(super) fn finish(mut self) -> Claims {
        for (address, claim) in &mut self.claims {
            let home = self.ground.pools.home(*address).filter(|pool| pool.offers(*address));
            let Some(today) = home.filter(|pool| pool.name != claim.pool) else { continue };
            let insists = |want: &&Want| {
                let named = want.pool_names();
                named.contains(&claim.pool.as_str()) && !named.contains(&today.name.as_str())
            };
            let mut users = claim.users.iter().filter_map(|user| self.wants.get(&user.object));
            let is_known = users.clone().next().is_some();
            if is_known && !users.any(insists) {
                claim.pool.clone_from(&today.name);
            }
        }
        Claims(self.claims)
    }
}

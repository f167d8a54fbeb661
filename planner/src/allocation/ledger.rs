//! The claims while they are being worked out.
//!
//! What always holds: a claim that went in stays in. So the lowest free address of a pool only
//! ever rises, and a search goes on where the last one stopped: n addresses cost O(n log n).

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::IpAddr;

use vipgate_api::ObjectRef;

use super::ground::Ground;
use super::pool::Pool;
use super::span::Family;
use crate::claim::{Claim, Claims};

/// Who has which address, and how far each pool is used up.
pub(super) struct Ledger<'a> {
    ground: &'a Ground<'a>,
    claims: BTreeMap<IpAddr, Claim>,
    /// The lowest address that can still be free, by pool and family; `None` when there is none.
    lowest: BTreeMap<(&'a str, Family), Option<IpAddr>>,
}

impl<'a> Ledger<'a> {
    /// Nothing is claimed.
    pub(super) fn new(ground: &'a Ground<'a>) -> Self {
        Self { ground, claims: BTreeMap::new(), lowest: BTreeMap::new() }
    }

    /// Enters what is left of a claim that went in; one that has other users gets these too.
    pub(super) fn hold(&mut self, address: IpAddr, claim: Claim) {
        match self.claims.entry(address) {
            Entry::Occupied(mut held) => {
                let users = &mut held.get_mut().users;
                users.extend(claim.users);
                users.sort_unstable();
            }
            Entry::Vacant(free) => drop(free.insert(claim)),
        }
    }

    /// Enters a claim. An address that has one keeps it; the error says whose that is.
    pub(super) fn enter(&mut self, address: IpAddr, claim: Claim) -> Result<(), ObjectRef> {
        match self.claims.entry(address) {
            Entry::Occupied(taken) => Err(taken.get().users[0].object.clone()),
            Entry::Vacant(free) => {
                free.insert(claim);
                Ok(())
            }
        }
    }

    /// The lowest address of a pool and family that may be chosen.
    pub(super) fn lowest_free(&mut self, pool: &'a Pool, family: Family) -> Option<IpAddr> {
        let Self { ground, claims, lowest } = self;
        let lowest =
            lowest.entry((pool.name.as_str(), family)).or_insert_with(|| Some(family.lowest()));
        *lowest = pool.lowest_free((*lowest)?, |address| {
            claims.contains_key(&address)
                || ground.foreign.contains_key(&address)
                || ground.node_addresses.contains(&address)
        });
        *lowest
    }

    /// The claims.
    pub(super) fn finish(self) -> Claims {
        Claims(self.claims)
    }
}

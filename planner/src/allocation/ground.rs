//! What allocation stands on: the pools, and the addresses that are somebody else's.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::pool::{self, Pool, Pools};
use super::problem::{AddressProblem, Outside};
use super::span::Family;
use super::want::Want;
use crate::claim::Foreign;

/// The inputs that are the same for everybody.
pub(super) struct Ground<'a> {
    /// The pools.
    pub(super) pools: &'a Pools,
    /// Addresses that hosts outside the group answer for.
    pub(super) foreign: &'a Foreign,
    /// The host's own addresses.
    pub(super) node_addresses: &'a BTreeSet<IpAddr>,
}

impl<'a> Ground<'a> {
    /// Whether an address may be given to this user, foreign use and announcing apart; the pool
    /// it belongs to, or what speaks against it.
    pub(super) fn admits(&self, want: &Want, address: IpAddr) -> Result<&'a Pool, Outside> {
        if pool::is_never(address) {
            let why = format!("it can never be the address of a {}", want.user.kind);
            return Err(Outside::Reserved(why));
        }
        let pool = self.pools.home(address).ok_or(Outside::NoPool)?;
        let name = &pool.name;
        if !pool.offers(address) {
            let field = if pool.avoids(address) { "avoidBuggyIPs" } else { "exclusions" };
            return Err(Outside::Reserved(format!("pool {name} keeps it back by spec.{field}")));
        }
        if self.node_addresses.contains(&address) {
            return Err(Outside::Reserved("it is an address of the host itself".to_owned()));
        }
        match self.refusal(want, pool) {
            Some(why) => Err(Outside::NotAllowed { pool: name.clone(), why }),
            None => Ok(pool),
        }
    }

    /// Why somebody may not have addresses of a pool, be it by the pool or by its own annotation.
    fn refusal(&self, want: &Want, pool: &Pool) -> Option<String> {
        let named = want.pool_names();
        if !named.is_empty() && !named.contains(&pool.name.as_str()) {
            let named = named.join(", ");
            let annotation = want.pool_annotation();
            return Some(format!("the annotation {annotation} names {named}: add it there"));
        }
        self.pools.refusal(pool, want)
    }

    /// Whether somebody may have exactly this address, which it asks for.
    pub(super) fn grants(&self, want: &Want, address: IpAddr) -> Result<&'a Pool, AddressProblem> {
        self.admits(want, address).map_err(|outside| match outside {
            Outside::NoPool => AddressProblem::NotInPool { address, pools: self.pools.names() },
            Outside::Reserved(why) => AddressProblem::Reserved { address, why },
            Outside::NotAllowed { pool, why } => {
                AddressProblem::PoolNotAllowed { address: Some(address), pool, why }
            }
        })
    }

    /// The problem with an address that somebody has, if somebody outside answers for it.
    pub(super) fn conflict(&self, address: IpAddr) -> Option<AddressProblem> {
        let mac = *self.foreign.get(&address)?;
        Some(AddressProblem::Foreign { address, mac })
    }

    /// Why no address could be chosen. `usable` are the pools that were tried.
    pub(super) fn nothing_free(
        &self,
        want: &Want,
        usable: &[&Pool],
        family: Option<Family>,
    ) -> Vec<AddressProblem> {
        let unknown = |name: &&str| self.pools.named(name).is_none();
        let names = want.pool_names();
        let mut problems: Vec<_> = names
            .iter()
            .filter(|name| unknown(name))
            .map(|name| AddressProblem::UnknownPool {
                annotation: want.pool_annotation().to_owned(),
                name: (*name).to_owned(),
                pools: self.pools.names(),
            })
            .collect();
        if usable.is_empty() {
            problems.extend(self.refusals(want));
            if problems.is_empty() {
                problems.push(AddressProblem::NoPool);
            }
            return problems;
        }
        let wanted = |pool: &&Pool| family.is_none_or(|family| pool.has(family));
        let tried: Vec<_> = usable.iter().copied().filter(wanted).collect();
        problems.push(match family {
            Some(family) if tried.is_empty() => {
                AddressProblem::NoneOfFamily { pools: names_of(usable), family }
            }
            family => {
                let foreign = self.foreign.keys().filter(|address| {
                    family.is_none_or(|family| family == Family::of(**address))
                        && tried.iter().any(|pool| pool.offers(**address))
                });
                let (foreign, pools) = (foreign.count(), names_of(&tried));
                AddressProblem::Exhausted { foreign, pools, family }
            }
        });
        problems
    }

    /// The pools that would have been chosen from, had they taken this user.
    fn refusals(&self, want: &Want) -> Vec<AddressProblem> {
        let refused = self.pools.candidates(want).filter_map(|pool| {
            let why = self.pools.refusal(pool, want)?;
            Some(AddressProblem::PoolNotAllowed { address: None, pool: pool.name.clone(), why })
        });
        refused.collect()
    }
}

fn names_of(pools: &[&Pool]) -> Vec<String> {
    pools.iter().map(|pool| pool.name.clone()).collect()
}

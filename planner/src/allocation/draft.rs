//! One Gateway on its way through allocation: what it asks for, what it keeps, what it gets.
//!
//! Flow: [`Draft::keep`] for all Gateways, then [`Draft::request`] for all, then [`Draft::choose`]
//! for all. Everything is released in the first step, by looking at nothing but this one Gateway;
//! the later steps only add. That makes the result a fixed point, and keeps Gateways from
//! disturbing each other.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::asked::{Ask, Asked};
use super::ground::Ground;
use super::ledger::Ledger;
use super::pool::Pool;
use super::problem::{AddressProblem, Note};
use super::span::Family;
use super::{Addresses, Want};
use crate::claim::{Claim, Origin, VipUser};

/// One Gateway.
pub(super) struct Draft<'a> {
    ground: &'a Ground<'a>,
    want: &'a Want,
    /// Pools that addresses may be chosen from, in order.
    usable: Vec<&'a Pool>,
    asked: Asked,
    /// Addresses it has because it asks for them.
    requested: BTreeSet<IpAddr>,
    /// Addresses it has because they were chosen for it.
    chosen: BTreeSet<IpAddr>,
    problems: Vec<AddressProblem>,
    notes: Vec<Note>,
}

impl<'a> Draft<'a> {
    /// A Gateway that has nothing yet.
    pub(super) fn new(ground: &'a Ground<'a>, want: &'a Want) -> Self {
        let mut problems = Vec::new();
        let asked = Asked::read(&want.addresses, &mut problems);
        Self {
            ground,
            want,
            usable: ground.pools.usable_by(want),
            asked,
            requested: BTreeSet::new(),
            chosen: BTreeSet::new(),
            problems,
            notes: Vec::new(),
        }
    }

    /// Keeps of its own claims those that it still asks for; the others are released.
    pub(super) fn keep(&mut self, mut own: Vec<(IpAddr, &Claim)>, ledger: &mut Ledger<'_>) {
        own.retain(|(address, claim)| {
            let asked = self.asked.requests().any(|request| request == *address);
            if asked && (claim.published || self.ground.grants(self.want, *address).is_ok()) {
                self.hold(*address, claim, Origin::Requested, ledger);
            }
            !asked && self.may_stay_chosen(*address, claim)
        });
        // What is in use goes first, then what would be given first.
        own.sort_by_key(|(address, claim)| (!claim.published, *address));
        while let Some(index) = self.next_to_keep(&own) {
            let (address, claim) = own.remove(index);
            self.hold(address, claim, Origin::Chosen, ledger);
        }
    }

    /// Claims the addresses that it asks for and has not got.
    pub(super) fn request(&mut self, ledger: &mut Ledger<'_>) {
        for address in self.asked.requests() {
            if self.requested.contains(&address) {
                continue;
            }
            let entered = self.ground.grants(self.want, address).and_then(|pool| {
                let claim = self.claim(pool, Origin::Requested);
                let taken = |by| AddressProblem::InUse { address, by };
                ledger.enter(address, claim).map_err(taken)
            });
            match entered {
                Ok(()) => {
                    self.requested.insert(address);
                }
                Err(problem) => self.problems.push(problem),
            }
        }
    }

    /// Chooses the addresses that are still missing.
    pub(super) fn choose(&mut self, ledger: &mut Ledger<'a>) {
        if matches!(self.asked, Asked::PerFamily) {
            return self.choose_per_family(ledger);
        }
        while self.chosen.len() < self.asked.any() {
            // A family that it has not got yet is worth more than a second address of one.
            let new = self.uncovered();
            let all = self.ground.announced;
            let free = self.find(&new, ledger).or_else(|| self.find(all, ledger));
            let Some((pool, address)) = free else { return self.lacks(None) };
            self.take(pool, address, ledger);
        }
    }

    /// The addresses in the order asked for, and what is wrong with them.
    pub(super) fn finish(mut self) -> (Addresses, Vec<Note>) {
        let held = self.requested.union(&self.chosen);
        self.problems.extend(held.filter_map(|address| self.ground.conflict(*address)));
        let mut chosen = self.chosen.into_iter();
        let assigned = match self.asked {
            Asked::PerFamily => chosen.collect(),
            Asked::Listed(asks) => asks
                .into_iter()
                .filter_map(|ask| match ask {
                    Ask::This(address) => self.requested.get(&address).copied(),
                    Ask::Any => chosen.next(),
                })
                .collect(),
        };
        (Addresses { assigned, problems: self.problems }, self.notes)
    }

    /// Whether an address that it has may go on as a chosen one. One that is published gives way
    /// only to the Gateway's own annotation, and only when that names a pool that it may use. (It
    /// does so even when that pool is full: what is released must not depend on other Gateways.)
    fn may_stay_chosen(&self, address: IpAddr, claim: &Claim) -> bool {
        let offers = |pool: &&Pool| pool.offers(address);
        if claim.published {
            let named = self.want.pool_names();
            let pool = self.ground.pools.pool_of(address).unwrap_or(&claim.pool);
            return named.is_empty() || named.contains(&pool) || self.usable.is_empty();
        }
        self.ground.announced.contains(&Family::of(address))
            && self.usable.iter().any(offers)
            && !self.ground.foreign.contains_key(&address)
            && !self.ground.node_addresses.contains(&address)
    }

    /// Which of the candidates to keep next: one of a family that is not covered, else any.
    fn next_to_keep(&self, candidates: &[(IpAddr, &Claim)]) -> Option<usize> {
        let covered = self.covered();
        let new =
            candidates.iter().position(|(address, _)| !covered.contains(&Family::of(*address)));
        match &self.asked {
            Asked::PerFamily => new,
            Asked::Listed(_) if self.chosen.len() == self.asked.any() => None,
            Asked::Listed(_) => new.or((!candidates.is_empty()).then_some(0)),
        }
    }

    /// Keeps a claim, under the name that its pool has today.
    fn hold(&mut self, address: IpAddr, claim: &Claim, origin: Origin, ledger: &mut Ledger<'_>) {
        let pool = self.ground.pools.pool_of(address).unwrap_or(&claim.pool).to_owned();
        if let Err(why) = self.ground.admits(self.want, address) {
            self.notes.push(Note { address, user: self.want.user.clone(), why });
        }
        match origin {
            Origin::Requested => self.requested.insert(address),
            Origin::Chosen => self.chosen.insert(address),
        };
        ledger.hold(address, Claim { users: vec![self.user()], pool, origin, ..*claim });
    }

    /// One address per family of the pool that it has, or of the first that has something free.
    fn choose_per_family(&mut self, ledger: &mut Ledger<'a>) {
        let sources = match self.chosen.is_empty() {
            true => self.first_with_free(ledger).into_iter().collect(),
            false => self.own_pools(),
        };
        if self.chosen.is_empty() && sources.is_empty() {
            return self.lacks(None);
        }
        for family in self.uncovered() {
            if !sources.iter().any(|pool| pool.has(family)) {
                continue;
            }
            let same = find_in(&sources, &[family], ledger);
            match same.or_else(|| find_in(&self.usable, &[family], ledger)) {
                Some((pool, address)) => self.take(pool, address, ledger),
                None => self.lacks(Some(family)),
            }
        }
    }

    /// The first pool with an address of every family that it has, else the first with any.
    fn first_with_free(&self, ledger: &mut Ledger<'a>) -> Option<&'a Pool> {
        let families = self.ground.announced;
        let complete = self.usable.iter().find(|pool| {
            let mut own = families.iter().filter(|family| pool.has(**family)).peekable();
            own.peek().is_some() && own.all(|family| ledger.lowest_free(pool, *family).is_some())
        });
        complete.copied().or_else(|| find_in(&self.usable, families, ledger).map(|(pool, _)| pool))
    }

    /// Pools that it may use and has an address of.
    fn own_pools(&self) -> Vec<&'a Pool> {
        let held = |pool: &&Pool| {
            self.chosen.iter().chain(&self.requested).any(|address| pool.offers(*address))
        };
        self.usable.iter().copied().filter(held).collect()
    }

    /// A free address of one of the families, of its own pools if possible.
    fn find(&self, families: &[Family], ledger: &mut Ledger<'a>) -> Option<(&'a Pool, IpAddr)> {
        find_in(&self.own_pools(), families, ledger)
            .or_else(|| find_in(&self.usable, families, ledger))
    }

    fn take(&mut self, pool: &Pool, address: IpAddr, ledger: &mut Ledger<'_>) {
        ledger
            .enter(address, self.claim(pool, Origin::Chosen))
            .expect("the address was found free just now");
        self.chosen.insert(address);
    }

    fn claim(&self, pool: &Pool, origin: Origin) -> Claim {
        let users = vec![self.user()];
        Claim { pool: pool.name.clone(), users, origin, published: false }
    }

    fn user(&self) -> VipUser {
        VipUser { object: self.want.user.clone(), ports: self.want.ports.clone() }
    }

    /// Families of the addresses that it has or asks for.
    fn covered(&self) -> BTreeSet<Family> {
        let mut families = self.asked.families();
        families.extend(self.chosen.iter().map(|address| Family::of(*address)));
        families
    }

    fn uncovered(&self) -> Vec<Family> {
        let covered = self.covered();
        self.ground.announced.iter().copied().filter(|family| !covered.contains(family)).collect()
    }

    fn lacks(&mut self, family: Option<Family>) {
        self.problems.extend(self.ground.nothing_free(self.want, &self.usable, family));
    }
}

/// The lowest free address in the first pool that has one; within a pool the first family first.
fn find_in<'a>(
    pools: &[&'a Pool],
    families: &[Family],
    ledger: &mut Ledger<'a>,
) -> Option<(&'a Pool, IpAddr)> {
    pools.iter().find_map(|pool| {
        let address = families.iter().find_map(|family| ledger.lowest_free(pool, *family))?;
        Some((*pool, address))
    })
}

//! One Gateway or Service on its way through allocation: what it asks for, what it keeps, what it
//! gets.
//!
//! Flow: [`Draft::keep`] for all, then [`Draft::adopt`], [`Draft::request`] and [`Draft::choose`], each
//! for all, the oldest first. Everything is released in the first step, by looking at nothing but this
//! one user and those that it shares an address with; the later steps only add. That makes the result
//! a fixed point, and keeps users from disturbing each other.

use std::collections::BTreeSet;
use std::net::IpAddr;

use vipgate_api::ObjectRef;

use super::asked::{Ask, Asked, Families};
use super::ground::Ground;
use super::ledger::Ledger;
use super::pool::Pool;
use super::problem::{AddressProblem, Note};
use super::sharing::Unshared;
use super::span::Family;
use super::want::Want;
use super::{Addresses, FAMILIES};
use crate::claim::{Claim, Origin, VipUser};

/// One of them.
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
    /// Families of the addresses that a pool took back just now.
    reclaimed: BTreeSet<Family>,
    /// Whether a Service that takes all of its families or none got none.
    lacks_all: bool,
    /// Whether a Service has none of the addresses that it names, because it cannot have all.
    lacks_named: bool,
    problems: Vec<AddressProblem>,
    notes: Vec<Note>,
}

impl<'a> Draft<'a> {
    /// Somebody who has nothing yet.
    pub(super) fn new(ground: &'a Ground<'a>, want: &'a Want) -> Self {
        let mut problems = Vec::new();
        let asked = Asked::read(&want.asks, &mut problems);
        Self {
            ground,
            want,
            usable: ground.pools.usable_by(want),
            asked,
            requested: BTreeSet::new(),
            chosen: BTreeSet::new(),
            reclaimed: BTreeSet::new(),
            lacks_all: false,
            lacks_named: false,
            problems,
            notes: Vec::new(),
        }
    }

    /// Whether its ports, or the terms on which it shares, are others than those that its claims were
    /// made with. Then it has to fit in with those who are as they were.
    pub(super) fn differs_from(&self, own: &[(IpAddr, &Claim)]) -> bool {
        let now = self.user();
        let users = own.iter().flat_map(|(_, claim)| &claim.users);
        users.filter(|user| user.object == now.object).any(|user| *user != now)
    }

    /// Keeps of its own claims those that it still asks for; the others are released.
    pub(super) fn keep(&mut self, mut own: Vec<(IpAddr, &Claim)>, ledger: &mut Ledger<'a>) {
        own.retain(|(address, claim)| {
            if self.ground.pools.reclaims(*address, &claim.pool) {
                self.reclaimed.insert(Family::of(*address));
                return false;
            }
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

    /// Takes over the addresses in its status that nobody claims, as far as it still asks for them.
    pub(super) fn adopt(&mut self, ledger: &mut Ledger<'a>) {
        for address in &self.want.adopt {
            let asked = self.asked.requests().any(|request| request == *address);
            let has = self.requested.contains(address) || self.chosen.contains(address);
            if has || !(asked || self.lacks_family(Family::of(*address))) {
                continue;
            }
            let origin = if asked { Origin::Requested } else { Origin::Chosen };
            let Ok(pool) = self.ground.grants(self.want, *address) else { continue };
            let claim = Claim { published: true, ..self.claim(pool, origin) };
            if ledger.enter(*address, claim, self.want, false).is_ok() {
                match origin {
                    Origin::Requested => self.requested.insert(*address),
                    Origin::Chosen => self.chosen.insert(*address),
                };
            }
        }
    }

    /// Whether one more address of this family would be chosen.
    fn lacks_family(&self, family: Family) -> bool {
        match &self.asked {
            Asked::PerFamily => self.uncovered().contains(&family),
            Asked::Listed(_) => self.chosen.len() < self.asked.any(),
            Asked::Families(_) => self.missing().contains(&family),
        }
    }

    /// Claims the addresses that it asks for and has not got.
    pub(super) fn request(&mut self, ledger: &mut Ledger<'a>) {
        let wanted: Vec<_> =
            self.asked.requests().filter(|address| !self.requested.contains(address)).collect();
        if matches!(&self.asked, Asked::Families(_)) {
            // A Service has all that it names or nothing. What keeps it from them is said at the end.
            self.lacks_named = wanted.iter().any(|a| self.refused(*a, ledger).is_err());
            if self.lacks_named {
                return;
            }
        }
        for address in wanted {
            let entered = self.refused(address, ledger).and_then(|pool| {
                let claim = self.claim(pool, Origin::Requested);
                ledger.enter(address, claim, self.want, false).map_err(|by| in_use(address, by))
            });
            match entered {
                Ok(()) => {
                    self.requested.insert(address);
                }
                Err(problem) => self.problems.push(problem),
            }
        }
    }

    /// The pool of an address that it asks for, or why it cannot have it.
    fn refused(&self, address: IpAddr, ledger: &Ledger<'a>) -> Result<&'a Pool, AddressProblem> {
        let pool = self.ground.grants(self.want, address)?;
        match ledger.excluded(address, self.want) {
            None => Ok(pool),
            Some(by) => Err(in_use(address, by)),
        }
    }

    /// Chooses the addresses that are still missing.
    pub(super) fn choose(&mut self, ledger: &mut Ledger<'a>) {
        match &self.asked {
            Asked::PerFamily => return self.choose_per_family(ledger),
            Asked::Families(Families { families, all, unusable, .. }) => {
                let (families, all, unusable) = (families.clone(), *all, *unusable);
                let has_not = |address: &IpAddr| !self.requested.contains(address);
                if unusable || self.asked.requests().any(|address| has_not(&address)) {
                    return;
                }
                return self.choose_families(&families, all, ledger);
            }
            Asked::Listed(_) => {}
        }
        while self.chosen.len() < self.asked.any() {
            // A family that it has not got yet is worth more than a second address of one.
            let new = self.uncovered();
            let free = self.find(&new, ledger).or_else(|| self.find(&FAMILIES, ledger));
            let Some((pool, address)) = free else { return self.lacks(None) };
            self.take(pool, address, ledger);
        }
    }

    /// The addresses in the order asked for, and what is wrong with them.
    pub(super) fn finish(mut self, ledger: &mut Ledger<'a>) -> (Addresses, Vec<Note>) {
        // Others have been given addresses since: what is said must not depend on the moment.
        if self.lacks_all {
            for family in self.missing() {
                if self.find_in(&self.usable, &[family], ledger).is_none() {
                    self.lacks(Some(family));
                }
            }
        }
        if self.lacks_named {
            let wanted = self.asked.requests().filter(|a| !self.requested.contains(a));
            let problems: Vec<_> =
                wanted.filter_map(|address| self.refused(address, ledger).err()).collect();
            self.problems.extend(problems);
        }
        for problem in &mut self.problems {
            if let AddressProblem::InUse { address, .. } = *problem
                && let Some(excluded) = ledger.excluded(address, self.want)
            {
                *problem = in_use(address, excluded);
            }
        }
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
            Asked::Families(ref asked) => {
                let order = |address: &IpAddr| {
                    asked.families.iter().position(|family| *family == Family::of(*address))
                };
                let named = self.asked.requests().filter(|a| self.requested.contains(a));
                let mut all: Vec<_> = named.chain(chosen).collect();
                all.sort_by_key(order);
                all
            }
        };
        (Addresses { assigned, problems: self.problems }, self.notes)
    }

    /// Whether an address that it has may go on as a chosen one. One that is published gives way
    /// only to the Gateway's own annotation, and only when that names a pool that it may use. (It
    /// does so even when that pool is full: what is released must not depend on other Gateways.)
    fn may_stay_chosen(&self, address: IpAddr, claim: &Claim) -> bool {
        let offers = |pool: &&Pool| pool.offers(address);
        if claim.published {
            // Both the pool that has it today and the one that it came from: another pool may have been
            // made that has the address too.
            let named = self.want.pool_names();
            let today = self.ground.pools.pool_of(address);
            return named.is_empty()
                || named.contains(&claim.pool.as_str())
                || today.is_some_and(|pool| named.contains(&pool))
                || self.usable.is_empty();
        }
        self.usable.iter().any(offers)
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
            Asked::Families(_) => {
                let missing = self.missing();
                candidates.iter().position(|(address, _)| missing.contains(&Family::of(*address)))
            }
            Asked::Listed(_) if self.chosen.len() == self.asked.any() => None,
            Asked::Listed(_) => new.or((!candidates.is_empty()).then_some(0)),
        }
    }

    /// Keeps a claim; not if those who kept the address before
    /// it share it no more.
    fn hold(&mut self, address: IpAddr, claim: &Claim, origin: Origin, ledger: &mut Ledger<'a>) {
        let pool = claim.pool.clone();
        let published = claim.published;
        let claim = Claim { pool, users: vec![self.user()], origin, published };
        if ledger.enter(address, claim, self.want, true).is_err() {
            return;
        }
        if let Err(why) = self.ground.admits(self.want, address) {
            self.notes.push(Note { address, user: self.want.user.clone(), why });
        }
        match origin {
            Origin::Requested => self.requested.insert(address),
            Origin::Chosen => self.chosen.insert(address),
        };
    }

    /// What a Service lacks: all from one pool where possible; if it has something already, then from
    /// the pools of that, so that it spreads over no second pool unless it must.
    fn choose_families(&mut self, families: &[Family], all: bool, ledger: &mut Ledger<'a>) {
        let missing = self.missing();
        if missing.is_empty() {
            return;
        }
        let is_new = self.chosen.is_empty() && self.requested.is_empty();
        if !is_new {
            for family in missing {
                let own = self.find_in(&self.own_pools(), &[family], ledger);
                let anywhere = all || self.reclaimed.contains(&family);
                let found = match own {
                    None if anywhere => self.find_in(&self.usable, &[family], ledger),
                    own => own,
                };
                match found {
                    Some((pool, address)) => self.take(pool, address, ledger),
                    None if all => self.lacks(Some(family)),
                    None => {}
                }
            }
            return;
        }
        // Pools that are for somebody in particular, or have a priority, go first, be it with one
        // family (as in MetalLB).
        let (pinned, rest): (Vec<_>, Vec<_>) =
            self.usable.iter().copied().partition(|pool| pool.is_pinned());
        let found = match all {
            true => {
                let complete = self.complete(&pinned, families, ledger);
                let complete = complete.or_else(|| self.complete(&rest, families, ledger));
                complete.or_else(|| {
                    let each = families.iter().map(|f| self.find_in(&self.usable, &[*f], ledger));
                    each.collect()
                })
            }
            false => [pinned, rest].iter().find_map(|pools| {
                self.complete(pools, families, ledger).or_else(|| {
                    let mut each = families.iter().map(|f| self.find_in(pools, &[*f], ledger));
                    each.find_map(|found| Some(vec![found?]))
                })
            }),
        };
        match found {
            Some(found) => {
                found.into_iter().for_each(|(pool, address)| self.take(pool, address, ledger));
            }
            None if all => self.lacks_all = true,
            None => self.lacks(families.first().copied().filter(|_| families.len() == 1)),
        }
    }

    /// An address of each family, from the first of these pools that has all; pools with an address to
    /// share go first.
    fn complete(
        &self,
        pools: &[&'a Pool],
        families: &[Family],
        ledger: &mut Ledger<'a>,
    ) -> Option<Vec<(&'a Pool, IpAddr)>> {
        let mut pools = pools.to_vec();
        if self.want.sharing.is_some() {
            let shares = |pool: &&Pool| {
                families.iter().any(|family| ledger.shared(pool, *family, self.want).is_some())
            };
            pools.sort_by_cached_key(|pool| !shares(pool));
        }
        pools.into_iter().find_map(|pool| {
            let each = families.iter().map(|f| self.find_in(&[pool], &[*f], ledger));
            each.collect()
        })
    }

    /// Families that a Service wants and has no address of, neither chosen nor named.
    fn missing(&self) -> Vec<Family> {
        let Asked::Families(asked) = &self.asked else { return Vec::new() };
        let covered = self.covered();
        asked.families.iter().copied().filter(|family| !covered.contains(family)).collect()
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
            let same = self.find_in(&sources, &[family], ledger);
            match same.or_else(|| self.find_in(&self.usable, &[family], ledger)) {
                Some((pool, address)) => self.take(pool, address, ledger),
                None => self.lacks(Some(family)),
            }
        }
    }

    /// The first pool with an address of every family that it has, else the first with any.
    fn first_with_free(&self, ledger: &mut Ledger<'a>) -> Option<&'a Pool> {
        let complete = self.usable.iter().find(|pool| {
            let mut own = FAMILIES.iter().filter(|family| pool.has(**family)).peekable();
            own.peek().is_some()
                && own.all(|family| self.find_in(&[pool], &[*family], ledger).is_some())
        });
        complete
            .copied()
            .or_else(|| self.find_in(&self.usable, &FAMILIES, ledger).map(|(pool, _)| pool))
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
        self.find_in(&self.own_pools(), families, ledger)
            .or_else(|| self.find_in(&self.usable, families, ledger))
    }

    fn take(&mut self, pool: &Pool, address: IpAddr, ledger: &mut Ledger<'a>) {
        let claim = self.claim(pool, Origin::Chosen);
        ledger
            .enter(address, claim, self.want, false)
            .expect("the address was found free, or to be shared, just now");
        self.chosen.insert(address);
    }

    /// A new claim.
    fn claim(&self, pool: &Pool, origin: Origin) -> Claim {
        Claim { pool: pool.name.clone(), users: vec![self.user()], origin, published: false }
    }

    fn user(&self) -> VipUser {
        self.want.as_user()
    }

    /// Families of the addresses that it has or asks for.
    fn covered(&self) -> BTreeSet<Family> {
        let mut families = self.asked.families();
        families.extend(self.chosen.iter().map(|address| Family::of(*address)));
        families
    }

    fn uncovered(&self) -> Vec<Family> {
        let covered = self.covered();
        FAMILIES.into_iter().filter(|family| !covered.contains(family)).collect()
    }

    fn lacks(&mut self, family: Option<Family>) {
        self.problems.extend(self.ground.nothing_free(self.want, &self.usable, family));
    }

    /// An address in the first pool that has one to share with those of the same key, else the lowest
    /// free address in the first pool that has one; within a pool the first family first.
    fn find_in(
        &self,
        pools: &[&'a Pool],
        families: &[Family],
        ledger: &mut Ledger<'a>,
    ) -> Option<(&'a Pool, IpAddr)> {
        let shared = pools.iter().find_map(|pool| {
            let mut each = families.iter().map(|f| ledger.shared(pool, *f, self.want));
            Some((*pool, each.find_map(|address| address)?))
        });
        shared.or_else(|| {
            pools.iter().find_map(|pool| {
                let address = families.iter().find_map(|f| ledger.lowest_free(pool, *f))?;
                Some((*pool, address))
            })
        })
    }
}

fn in_use(address: IpAddr, (by, why): (ObjectRef, Unshared)) -> AddressProblem {
    AddressProblem::InUse { address, by, why }
}

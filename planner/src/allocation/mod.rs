//! Which Gateway or Service gets which addresses: a function (objects, claims, addresses in foreign
//! use) → claims. No clock, no randomness; the claims are the only memory.
//!
//! ```text
//!   pools ──────────┐
//!   own claims ─> keep ──> adopt ──> request ──> choose ──> claims, and per user: addresses, problems
//!                  │         │         │           └ the lowest that is free, by age of the user
//!                  │         │         └ what it names; the claim decides, then the age
//!                  │         └ what stands in its status, and nobody claims
//!                  └ what is still asked for; everything else is released here, and only here
//! ```
//!
//! What always holds:
//! * An address has one claim, and one pool ([`Pools`]). A claim has several users only when all of
//!   them share on purpose and no port collides ([`Sharing`]); where that ends, the one that was
//!   changed leaves, and of several that were the youngest.
//! * A published address moves only when its own user asks for something else: not for a pool that
//!   shrank (unless that says `reclaim`), not for another user, not for a host that answers for it.
//! * A claim that is not published yet was never seen by a client. It is held to today's rules.
//! * The order of the inputs has no influence, and a second run changes nothing.

mod asked;
mod draft;
mod ground;
mod ledger;
mod pool;
mod problem;
mod sharing;
mod span;
#[cfg(test)]
mod tests;
mod want;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use vipgate_api::{Kind, ObjectKey, ObjectRef};

use self::draft::Draft;
use self::ground::Ground;
use self::ledger::Ledger;
pub use self::pool::Pools;
pub use self::problem::{AddressProblem, Note, Outside};
pub(crate) use self::sharing::MOST_PORTS;
pub use self::sharing::{SHARE_ANNOTATION, Sharing, Traffic, Unshared};
pub use self::span::Family;
pub use self::want::{Asks, POOL_ANNOTATION, PoolChoice, ServiceAsks, Want};
use crate::claim::{Claim, Claims, Foreign};

/// Families of addresses, in the order in which they are given out.
const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

/// What came out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allocation {
    /// All claims, to be remembered for the next time.
    pub claims: Claims,
    /// The addresses of everybody who wants some.
    pub users: BTreeMap<ObjectRef, Addresses>,
    /// Published addresses that are kept against today's rules, by user and address.
    pub notes: Vec<Note>,
}

impl Allocation {
    /// Why an address that somebody keeps would not be given to it today, if so.
    pub fn note(&self, user: &ObjectRef, address: IpAddr) -> Option<&Note> {
        let place = |note: &Note| (&note.user, note.address).cmp(&(user, address));
        let index = self.notes.binary_search_by(place).ok()?;
        Some(&self.notes[index])
    }

    /// The addresses of a Gateway that wants some.
    pub fn gateway(&self, key: &ObjectKey) -> Option<&Addresses> {
        self.users.get(&ObjectRef::new(Kind::Gateway, key.clone()))
    }
}

/// What one user has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    /// Its addresses, in the order asked for, else IPv4 before IPv6. An address with a
    /// [`AddressProblem::Foreign`] is among them: it is claimed, and waits for its other user.
    pub assigned: Vec<IpAddr>,
    /// What it asked for and has not got, or cannot use.
    pub problems: Vec<AddressProblem>,
}

/// Gives addresses to Gateways and Services.
///
/// `claims` is what came out last time (and was marked published since). `foreign` are addresses
/// that somebody outside the group answers for, `node_addresses` those of the host itself; neither
/// is ever chosen. With `release` false the input may be incomplete: claims of users that are not
/// in `wants` are kept. With `release` true they end, and their addresses are free again.
///
/// New claims start unpublished. Cost: n log n in the number of claims and wants.
pub fn allocate<'a>(
    pools: &Pools,
    wants: impl IntoIterator<Item = &'a Want>,
    claims: &Claims,
    foreign: &Foreign,
    node_addresses: &BTreeSet<IpAddr>,
    release: bool,
) -> Allocation {
    let wants: Vec<_> = wants.into_iter().collect();
    let ground = Ground { pools, foreign, node_addresses };
    run(&ground, wants, claims, release)
}

/// Brings claims up to date with users that want what they wanted, for other ports: it is the same as to allocate
/// anew, as long as nobody shares an address with them. Otherwise nothing is done; whether it was.
pub fn serve_ports(allocation: &mut Arc<Allocation>, wants: &[&Want]) -> bool {
    let mut served = Vec::new();
    for want in wants {
        let Some(addresses) = allocation.users.get(&want.user) else { return false };
        let alone = |address: &IpAddr| match allocation.claims.0[address].users.as_slice() {
            [user] => user.object == want.user && user.terms.is_none(),
            _ => false,
        };
        if want.sharing.is_some() || !addresses.assigned.iter().all(alone) {
            return false;
        }
        served.extend(addresses.assigned.iter().map(|address| (*address, want.as_user())));
    }
    if served.is_empty() {
        return true;
    }
    let claims = &mut Arc::make_mut(allocation).claims.0;
    for (address, user) in served {
        claims.get_mut(&address).expect("an assigned address has a claim").users = vec![user];
    }
    true
}

/// Addresses as the claims say, in the order of their bytes: for whoever does not decide.
pub fn follow(claims: &Claims) -> Allocation {
    let mut users: BTreeMap<ObjectRef, Addresses> = BTreeMap::new();
    for (address, claim) in &claims.0 {
        for user in &claim.users {
            users.entry(user.object.clone()).or_default().assigned.push(*address);
        }
    }
    Allocation { claims: claims.clone(), users, notes: Vec::new() }
}

/// What may be used of an allocation by one who does not decide: addresses that `granted` has for
/// the same user. The ports of a claim are those that the allocation found, where the users are the same.
pub fn confine(mut allocation: Allocation, granted: &Claims) -> Allocation {
    for (user, addresses) in &mut allocation.users {
        let is_granted = |address: &IpAddr| granted.0.get(address).is_some_and(|c| c.names(user));
        addresses.assigned.retain(is_granted);
    }
    let objects = |claim: &Claim| claim.users.iter().map(|u| u.object.clone()).collect::<Vec<_>>();
    let same = |address: &IpAddr, claim: &Claim| {
        let found = allocation.claims.0.get(address)?;
        (objects(found) == objects(claim))
            .then(|| Claim { users: found.users.clone(), ..claim.clone() })
    };
    let claims = granted
        .0
        .iter()
        .map(|(address, claim)| (*address, same(address, claim).unwrap_or_else(|| claim.clone())));
    allocation.claims = Claims(claims.collect());
    allocation.notes.retain(|note| allocation.claims.0.contains_key(&note.address));
    allocation
}

fn run<'a>(
    ground: &'a Ground<'a>,
    mut wants: Vec<&'a Want>,
    claims: &Claims,
    release: bool,
) -> Allocation {
    let mut ledger = Ledger::new(ground, &wants);
    let mut by_user: BTreeMap<&ObjectRef, Vec<(IpAddr, &Claim)>> = BTreeMap::new();
    for (address, claim) in &claims.0 {
        for user in &claim.users {
            by_user.entry(&user.object).or_default().push((*address, claim));
        }
    }
    wants.sort_by_key(|want| (&want.age, &want.user));

    let own: Vec<_> =
        wants.iter().map(|want| by_user.remove(&want.user).unwrap_or_default()).collect();
    if !release {
        for (object, claims) in by_user {
            for (address, claim) in claims {
                ledger.leave_to(object, address, claim);
            }
        }
    }
    let mut drafts: Vec<_> = wants.iter().map(|want| Draft::new(ground, want)).collect();
    // Those who are as they were keep what they have; then those who have changed, as far as that fits.
    let (changed, same): (Vec<_>, Vec<_>) =
        drafts.iter_mut().zip(own).partition(|(draft, own)| draft.differs_from(own));
    for (draft, own) in same.into_iter().chain(changed) {
        draft.keep(own, &mut ledger);
    }
    drafts.iter_mut().for_each(|draft| draft.adopt(&mut ledger));
    drafts.iter_mut().for_each(|draft| draft.request(&mut ledger));
    drafts.iter_mut().for_each(|draft| draft.choose(&mut ledger));

    let (mut users, mut notes) = (BTreeMap::new(), Vec::new());
    for (draft, want) in drafts.into_iter().zip(wants) {
        let (addresses, its_notes) = draft.finish(&mut ledger);
        users.insert(want.user.clone(), addresses);
        notes.extend(its_notes);
    }
    notes.sort_by(|a, b| (&a.user, a.address).cmp(&(&b.user, b.address)));
    Allocation { claims: ledger.finish(), users, notes }
}

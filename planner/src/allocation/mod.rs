//! Which Gateway gets which addresses: a function (objects, claims, addresses in foreign use) →
//! claims. No clock, no randomness; the claims are the only memory.
//!
//! ```text
//!   pools ──────────┐
//!   own claims ─> keep ──> request ──> choose ──> claims, and per Gateway: addresses, problems
//!                  │         │           └ the lowest that is free, by age of the Gateway
//!                  │         └ what spec.addresses names; the claim decides, then the age
//!                  └ what is still asked for; everything else is released here, and only here
//! ```
//!
//! What always holds:
//! * An address has one claim, and one pool ([`Pools`]).
//! * A published address moves only when its own Gateway asks for something else: not for a pool
//!   that shrank, not for another Gateway, not for a host that answers for it.
//! * A claim that is not published yet was never seen by a client. It is held to today's rules.
//! * The order of the inputs has no influence, and a second run changes nothing.

mod asked;
mod draft;
mod ground;
mod ledger;
mod pool;
mod problem;
mod span;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use vipgate_api::gateway::GatewayAddress;
use vipgate_api::selector::Labels;
use vipgate_api::vipgate::PortUse;
use vipgate_api::{Age, Kind, ObjectKey, ObjectRef};

use self::draft::Draft;
use self::ground::Ground;
use self::ledger::Ledger;
pub use self::pool::Pools;
pub use self::problem::{AddressProblem, Note, Outside};
pub use self::span::Family;
use crate::claim::{Claim, Claims, Foreign};

/// Annotation of a Gateway that names the pool, or several (comma separated), to choose from.
pub const POOL_ANNOTATION: &str = "vipgate.dev/address-pool";

/// Families that can be announced, in the order in which they are given out. IPv6 joins them when
/// the speaker speaks NDP: this line is all that holds it back. (`::1`, the only IPv6 address that
/// would need no NDP, is the host's own.)
const ANNOUNCED: &[Family] = &[Family::V4];

/// One Gateway that needs addresses: of our class, and accepted so far.
#[derive(Clone, Debug, PartialEq)]
pub struct Want {
    /// The Gateway; one `Want` for each.
    pub user: ObjectRef,
    /// Ports that it serves on each of its addresses; sorted.
    pub ports: Vec<PortUse>,
    /// The oldest goes first where two new ones ask for the same.
    pub age: Age,
    /// Its labels, for `gatewaySelectors`.
    pub labels: Labels,
    /// Value of [`POOL_ANNOTATION`].
    pub pool: Option<String>,
    /// `spec.addresses`: an `IPAddress` with a value is requested, one without asks for one more
    /// of our choice. When there is no entry at all, one address per family of the pool is chosen.
    pub addresses: Vec<GatewayAddress>,
}

impl Want {
    /// Names in the annotation; none means any pool with `autoAssign`.
    fn pool_names(&self) -> Vec<&str> {
        let names = self.pool.as_deref().unwrap_or_default().split(',');
        names.map(str::trim).filter(|name| !name.is_empty()).collect()
    }
}

/// What came out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allocation {
    /// All claims, to be remembered for the next time.
    pub claims: Claims,
    /// The addresses of everybody who wants some.
    pub users: BTreeMap<ObjectRef, Addresses>,
    /// Published addresses that are kept against today's rules, by Gateway and address.
    pub notes: Vec<Note>,
}

impl Allocation {
    /// The addresses of a Gateway that wants some.
    pub fn gateway(&self, key: &ObjectKey) -> Option<&Addresses> {
        self.users.get(&ObjectRef::new(Kind::Gateway, key.clone()))
    }
}

/// What one Gateway has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    /// Its addresses, in the order asked for, else IPv4 before IPv6. An address with a
    /// [`AddressProblem::Foreign`] is among them: it is claimed, and waits for its other user.
    pub assigned: Vec<IpAddr>,
    /// What it asked for and has not got, or cannot use.
    pub problems: Vec<AddressProblem>,
}

/// Gives addresses to Gateways.
///
/// `claims` is what came out last time (and was marked published since). `foreign` are addresses
/// that somebody outside the group answers for, `node_addresses` those of the host itself; neither
/// is ever chosen. With `release` false the input may be incomplete: claims of Gateways that are
/// not in `wants` are kept. With `release` true they end, and their addresses are free again.
///
/// New claims start unpublished. Cost: n log n in the number of claims and wants.
pub fn allocate(
    pools: &Pools,
    wants: &[Want],
    claims: &Claims,
    foreign: &Foreign,
    node_addresses: &BTreeSet<IpAddr>,
    release: bool,
) -> Allocation {
    run(&Ground { pools, foreign, node_addresses, announced: ANNOUNCED }, wants, claims, release)
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

fn run<'a>(
    ground: &'a Ground<'a>,
    wants: &'a [Want],
    claims: &Claims,
    release: bool,
) -> Allocation {
    let mut ledger = Ledger::new(ground);
    let mut by_user: BTreeMap<&ObjectRef, Vec<(IpAddr, &Claim)>> = BTreeMap::new();
    for (address, claim) in &claims.0 {
        for user in &claim.users {
            by_user.entry(&user.object).or_default().push((*address, claim));
        }
    }
    let mut wants: Vec<_> = wants.iter().collect();
    wants.sort_by_key(|want| (&want.age, &want.user));

    let mut drafts: Vec<_> = wants.iter().map(|want| Draft::new(ground, want)).collect();
    for (draft, want) in drafts.iter_mut().zip(&wants) {
        draft.keep(by_user.remove(&want.user).unwrap_or_default(), &mut ledger);
    }
    if !release {
        for (object, claims) in by_user {
            for (address, claim) in claims {
                let users = claim.users.iter().filter(|user| user.object == *object).cloned();
                ledger.hold(address, Claim { users: users.collect(), ..claim.clone() });
            }
        }
    }
    drafts.iter_mut().for_each(|draft| draft.request(&mut ledger));
    drafts.iter_mut().for_each(|draft| draft.choose(&mut ledger));

    let (mut users, mut notes) = (BTreeMap::new(), Vec::new());
    for (draft, want) in drafts.into_iter().zip(wants) {
        let (addresses, its_notes) = draft.finish();
        users.insert(want.user.clone(), addresses);
        notes.extend(its_notes);
    }
    notes.sort_by(|a, b| (&a.user, a.address).cmp(&(&b.user, b.address)));
    Allocation { claims: ledger.finish(), users, notes }
}

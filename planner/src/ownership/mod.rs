//! Which member of the group owns which VIP.
//!
//! ```text
//!   offers (what could be served here) ──┐
//!   what the others say, and who lives ──┼──> Keeper::step ──┬──> entries of our own, said to all
//!   time ────────────────────────────────┘                   └──> what is served here, and who has the rest
//! ```
//!
//! Every member runs the same rule over what all say of themselves, so there is nobody to ask and nothing
//! to wait for. A hold (a VIP that a member owns) is a word of its owner, never of another one:
//!
//! * **The present owner stays**, whoever else could be it. Only when no live member holds a VIP is one
//!   chosen: by weight, by how many of its listeners are bound, by rendezvous hash.
//! * **Of two that hold one VIP** (after a partition) all see the same winner: whose hold
//!   was undisputed before most of the group (solid), then the later epoch, then the hash. The other lets go at once.
//! * **A planned move** (the owner goes, or a preferred one has been back for [`keeper::STEADY`]) is a
//!   hand-over: the new one takes with the next epoch, the old one lets go when it sees that, the new one
//!   serves when it sees that. A crash is not waited for.
//! * **A rebalance** ([`Rebalance`]) is the one time when a hold gives way to the choice: for a minute each
//!   VIP goes, by such a hand-over, to whom a VIP without owner would go, one after the other.
//! * **Who does not know yet what the others hold takes nothing.**
//! * **Two that do not hear each other but see each other's frames** end with one owner: [`wire`].
//!
//! No clock, no randomness, no I/O.

pub mod election;
pub mod keeper;
pub mod rebalance;
pub mod rule;
pub mod wire;

use std::collections::BTreeMap;
use std::net::IpAddr;

pub use election::{Candidate, Grounds, choose, grounds, score};
pub use keeper::{Keeper, Ownership, Possession};
pub use rebalance::Rebalance;
pub use wire::Wire;

/// A VIP could be served by a member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offer {
    /// Sum of the weights of the preferences that the member meets; higher is preferred.
    pub weight: u32,
    /// How many of the VIP's listeners are bound there.
    pub bound: u16,
    /// Whether the member gives the VIP away to whoever can have it (it drains).
    pub leaving: bool,
    /// Whether a member of higher weight takes the VIP from one of lower.
    pub preempt: bool,
    /// Whether it is announced there now. Nothing is decided by this; the others can say so.
    pub announced: bool,
}

/// A VIP is held by a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    /// Larger than that of every hold of the VIP that the member knew of.
    pub epoch: u64,
    /// Whether it has been undisputed for a while before most of the group.
    pub solid: bool,
    /// Whether it is served, or still waits for the former owner to let go.
    pub serving: bool,
}

/// What a member says about a VIP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// It could serve it.
    pub offer: Option<Offer>,
    /// It has it.
    pub hold: Option<Hold>,
}

/// What a member says about all VIPs.
pub type Entries = BTreeMap<IpAddr, Entry>;

/// Another member.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// What it says.
    pub entries: Entries,
    /// Whether all that it says is known here.
    pub complete: bool,
}

/// What a member knows of the group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// The others that are alive, by name.
    pub others: BTreeMap<String, Peer>,
    /// Of how many the group should consist, this member with it.
    pub expected: usize,
    /// Whether VIPs are to go where they would go if nobody had them ([`Rebalance`]).
    pub rebalance: bool,
}

#[cfg(test)]
mod tests;

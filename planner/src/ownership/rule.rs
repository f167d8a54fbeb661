//! The parts of the rule that could be otherwise, as values: what a keeper does is put together from them.
//! There is one rule. Tests replace a part to show that they would notice.

use std::net::IpAddr;
use std::time::Duration;

use super::election::{Candidate, choose, score};
use super::{Hold, Offer};

/// How long the former owner may take to let go in a planned move, before it is served all the same.
pub const LET_GO_WITHIN: Duration = Duration::from_millis(250);
/// How long the rest of the group may be silent at our start, before VIPs are taken without it.
pub const PATIENCE: Duration = Duration::from_millis(1_500);
/// How long the others may take to see a VIP that is new, before it is taken without them.
pub const GATHER: Duration = Duration::from_millis(300);
/// How long a member that lives may keep us waiting for what it says.
pub const UNHEARD: Duration = Duration::from_secs(2);

/// Ranks holds of one VIP: the largest wins, everywhere.
pub(super) type Rank = (bool, u64, u64);

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rule {
    /// How a member's hold of a VIP ranks among others.
    pub(super) rank: fn(IpAddr, &str, Hold) -> Rank,
    /// Who should have a VIP, of several candidates; who asks is the last one.
    pub(super) choose: for<'a> fn(IpAddr, &[Candidate<'a>]) -> Option<Candidate<'a>>,
    /// Whether we take a VIP from an owner that could keep it.
    pub(super) prefers: fn(Offer, Offer) -> bool,
    pub(super) let_go_within: Duration,
    pub(super) patience: Duration,
    pub(super) gather: Duration,
    pub(super) unheard: Duration,
}

/// The rule.
pub(super) const RULE: Rule = Rule {
    rank: |vip, name, hold| (hold.solid, hold.epoch, score(vip, name)),
    choose: |vip, candidates| choose(vip, candidates.iter().copied()),
    prefers: |ours, theirs| ours.preempt && ours.weight > theirs.weight,
    let_go_within: LET_GO_WITHIN,
    patience: PATIENCE,
    gather: GATHER,
    unheard: UNHEARD,
};

//! VIPs that came here from another member: since when that one did not serve them, and why.
//!
//! A plain function of how things stood and stand. What always holds: a VIP is told of only while it is here,
//! and only if this member knew another one to have it before.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Instant;

use vipgate_planner::ownership::{Possession, View};

/// Why a VIP left the member that had it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// The member is gone from the group: it died, or nobody hears it.
    Dead,
    /// The member gave it away: it ends in order, or is not to have VIPs any more.
    Left,
    /// The member is there and let go of it: its link failed, or none of its listeners is bound any more.
    Released,
    /// It goes to a node that is preferred, or VIPs are spread anew.
    Moved,
}

impl Cause {
    /// All there are.
    pub const ALL: [Self; 4] = [Self::Dead, Self::Left, Self::Released, Self::Moved];

    /// As it is called in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dead => "dead",
            Self::Left => "left",
            Self::Released => "released",
            Self::Moved => "moved",
        }
    }
}

/// How a VIP came here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Takeover {
    /// When the other one, if it is dead, was heard last; else when it was known here that it does not have
    /// the VIP any more, or when that was taken here, whichever came first.
    pub since: Instant,
    /// Why.
    pub cause: Cause,
}

/// Where VIPs are, as of one moment.
type Places = BTreeMap<IpAddr, Possession>;

/// What is remembered.
#[derive(Debug, Default)]
pub(super) struct Takeovers {
    /// VIPs that a member had and nobody has since.
    lost: BTreeMap<IpAddr, Takeover>,
    here: BTreeMap<IpAddr, Takeover>,
}

impl Takeovers {
    /// Those of the VIPs that are here.
    pub(super) fn here(&self) -> &BTreeMap<IpAddr, Takeover> {
        &self.here
    }

    /// Takes in where VIPs were and are. `sign` is when a member was heard last.
    pub(super) fn follow(
        &mut self,
        now: Instant,
        (before, after): (&Places, &Places),
        view: &View,
        sign: impl Fn(&str) -> Option<Instant>,
    ) {
        self.lost.retain(|vip, _| after.contains_key(vip));
        self.here.retain(|vip, _| after.get(vip) == Some(&Possession::Here));
        for (vip, place) in after {
            if let Possession::There { .. } = place {
                self.lost.remove(vip);
                continue;
            }
            if let Some(Possession::There { owner, .. }) = before.get(vip) {
                let cause = cause(*vip, owner, view);
                let since = if cause == Cause::Dead { sign(owner).unwrap_or(now) } else { now };
                self.lost.insert(*vip, Takeover { since, cause });
            }
            if *place == Possession::Here
                && let Some(takeover) = self.lost.remove(vip)
            {
                self.here.insert(*vip, takeover);
            }
        }
    }
}

/// Why a member that had a VIP has it no more, or not for long.
fn cause(vip: IpAddr, owner: &str, view: &View) -> Cause {
    let Some(peer) = view.others.get(owner) else { return Cause::Dead };
    let entry = peer.entries.get(&vip).copied().unwrap_or_default();
    match (entry.offer, entry.hold) {
        (Some(offer), _) if offer.leaving => Cause::Left,
        (_, Some(_)) => Cause::Moved,
        (_, None) => Cause::Released,
    }
}

#[cfg(test)]
mod tests;

//! Whether a VIP is this node's to serve, as the group says; without a group every VIP is, and while
//! one is still to be joined none is.
//!
//! Says of every VIP that could be served here that it could (an offer), and reads from the standing
//! of the group what is so. The rule itself is `vipgate_planner::ownership`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use vipgate_planner::ownership::{Offer, Possession};
use vipgate_planner::{Announce, Link, MacAddr, NodeReport, Plan, VipState};

use super::RETRY;
use super::meetings::Meetings;
use crate::group::{Group, News, Notes, Standing};

/// The note with the Ethernet addresses of a member, six bytes each.
const MACS: &[u8] = b"m";
/// The note that this node is no candidate for a VIP, which comes behind: the reason and, on the next
/// line, the text.
pub(super) const EXCLUDED: u8 = b'x';
/// The note that routers know a VIP, which comes behind, from this node, and that it does not give way.
const ROUTED: u8 = b'r';
/// How long after routers were told of a VIP it is said that they know it: some look for the next hop first,
/// and who gives way to it must not be too early.
const SETTLE: Duration = Duration::from_secs(1);
/// Longest text in one.
const MOST_WORDS: usize = 400;
/// So many fit one.
const MOST_MACS: usize = 128;

/// The way to the group.
pub(super) enum Gate {
    /// There is none.
    Open,
    /// There will be one.
    Awaited(watch::Receiver<Option<Arc<Group>>>),
    /// There is one.
    Member(Membership),
}

pub(super) struct Membership {
    group: Arc<Group>,
    news: News,
    /// VIPs that were this node's and could not be served, and when: others are let before for a while.
    failed: BTreeMap<IpAddr, Instant>,
    /// What was said of VIPs for which this node is no candidate, and of those that routers know from it.
    said: Notes,
    /// Since when routers know VIPs from it.
    routed: BTreeMap<IpAddr, Instant>,
}

/// Whose VIP it is.
pub(super) enum Turn {
    /// Ours.
    Ours,
    /// Not ours; to be reported so.
    Others(VipState),
}

impl Gate {
    pub(super) fn new(grouped: bool, group: watch::Receiver<Option<Arc<Group>>>) -> Self {
        if grouped { Self::Awaited(group) } else { Self::Open }
    }

    /// What the group says last, if there is one.
    pub(super) fn standing(&self) -> Option<&Standing> {
        self.membership().map(|member| member.news.known().as_ref())
    }

    fn membership(&self) -> Option<&Membership> {
        match self {
            Self::Member(membership) => Some(membership),
            Self::Open | Self::Awaited(_) => None,
        }
    }

    /// Waits until the group says something new, and takes it in; for ever without a group.
    pub(super) async fn changed(&mut self) {
        match self {
            Self::Open => std::future::pending().await,
            Self::Awaited(group) => {
                // The sender outlives the node.
                let Ok(joined) = group.wait_for(Option::is_some).await.map(|group| group.clone())
                else {
                    return std::future::pending().await;
                };
                if let Some(group) = joined {
                    *self = Self::Member(Membership {
                        news: group.news(),
                        group,
                        failed: BTreeMap::new(),
                        said: Notes::new(),
                        routed: BTreeMap::new(),
                    });
                }
            }
            Self::Member(membership) => membership.news.changed(concerns_us).await,
        }
    }

    /// Whose a VIP is.
    pub(super) fn turn(&self, vip: IpAddr) -> Turn {
        let standing = match self {
            _ if vip.is_loopback() => return Turn::Ours,
            Self::Open => return Turn::Ours,
            Self::Awaited(_) => {
                let why = "this node has not joined the group yet";
                return Turn::Others(VipState::Waiting(why.to_owned()));
            }
            Self::Member(membership) => membership.news.known(),
        };
        Turn::Others(match standing.ownership.vips.get(&vip) {
            Some(Possession::Here) => return Turn::Ours,
            Some(Possession::There { owner, announced }) => {
                let owner = standing.name_of(owner).to_owned();
                VipState::Standby { owner, announced: *announced }
            }
            Some(Possession::Nowhere(why)) => VipState::Waiting((*why).to_owned()),
            None => VipState::Waiting("the group was not asked yet".to_owned()),
        })
    }

    /// Tells the group what could be served here, which is what the last round found, without what cannot
    /// be announced (`unheard`), and what was yielded to one that it does not hear.
    pub(super) fn offer(
        &mut self,
        plan: &Plan,
        report: &NodeReport,
        unheard: &BTreeSet<IpAddr>,
        meetings: &Meetings,
        leaving: bool,
    ) {
        let now = Instant::now();
        let Self::Member(Membership { group, failed, .. }) = self else { return };
        let mut bound: BTreeMap<IpAddr, u16> = BTreeMap::new();
        for (id, state) in &report.listeners {
            if state.listens() {
                let bound = bound.entry(id.address).or_default();
                *bound = bound.saturating_add(1);
            }
        }
        failed.retain(|_, at| now < *at + RETRY);
        let offers = plan.vips.values().filter_map(|vip| {
            let (address, bound) = (vip.address, bound.get(&vip.address).copied().unwrap_or(0));
            let able = matches!(vip.announce, Announce::Layer2(_)) && (vip.kernel || bound > 0);
            let fails = matches!(report.vips.get(&address), Some(VipState::Failed(_)));
            if able && (fails || unheard.contains(&address)) {
                failed.entry(address).or_insert(now);
            }
            // Without a link it is served for routers alone.
            let announced = matches!(report.vips.get(&address),
                Some(VipState::Serving(links)) if !links.is_empty());
            let leaving = leaving || plan.gives_way.is_some();
            let (weight, preempt) = (vip.weight, vip.preempt);
            let offer = Offer { weight, bound, leaving, preempt, announced };
            let able = able && !failed.contains_key(&address);
            (able && meetings.yielded(address).is_none()).then_some((address, offer))
        });
        group.offer(offers.collect());
        self.say(plan, report, now);
    }

    /// Whether another member says that routers know a VIP from it.
    pub(super) fn is_routed_elsewhere(&self, vip: IpAddr) -> bool {
        let Some(standing) = self.standing() else { return false };
        let note = note_of(ROUTED, vip);
        standing.others.values().any(|other| other.notes.contains_key(&note))
    }

    /// Tells the group why VIPs could not be served here, for whoever asks there; and which of them routers
    /// know from here, for who would give way to that.
    fn say(&mut self, plan: &Plan, report: &NodeReport, now: Instant) {
        let Self::Member(Membership { group, said, routed, .. }) = self else { return };
        let excuse = |(vip, state): (&IpAddr, &VipState)| {
            let VipState::Excluded { why, .. } = state else { return None };
            let words: String = why.message.chars().take(MOST_WORDS).collect();
            Some((note_of(EXCLUDED, *vip), format!("{}\n{words}", why.reason).into_bytes()))
        };
        let stays = |vip: &IpAddr| plan.vips.get(vip).is_some_and(|vip| vip.yields.is_none());
        let known = report.routed.iter().filter(|(vip, routers)| **routers > 0 && stays(vip));
        let known: BTreeSet<IpAddr> = known.map(|(vip, _)| *vip).collect();
        routed.retain(|vip, _| known.contains(vip));
        for vip in &known {
            routed.entry(*vip).or_insert(now);
        }
        let settled = routed.iter().filter(|(_, since)| **since + SETTLE <= now);
        let known = settled.map(|(vip, _)| (note_of(ROUTED, *vip), b"1".to_vec()));
        let new: Notes = report.vips.iter().filter_map(excuse).chain(known).collect();
        if new != *said {
            group.notes(|notes| {
                notes.retain(|key, _| !matches!(key.first(), Some(&(EXCLUDED | ROUTED))));
                notes.extend(new.clone());
            });
            *said = new;
        }
    }

    /// When a VIP that could not be served is offered again, or the group is told that routers know one.
    pub(super) fn due(&self) -> Option<Instant> {
        let Membership { failed, routed, said, .. } = self.membership()?;
        let again = failed.values().map(|at| *at + RETRY);
        let unsaid = routed.iter().filter(|(vip, _)| !said.contains_key(&note_of(ROUTED, **vip)));
        again.chain(unsaid.map(|(_, since)| *since + SETTLE)).min()
    }

    /// Tells the group by which Ethernet addresses this host may announce VIPs, for it not to be taken
    /// for a stranger.
    pub(super) fn introduce(&self, plan: &Plan, links: &[Link]) {
        let Some(Membership { group, .. }) = self.membership() else { return };
        let macs = announcing_macs(plan, links);
        let macs: Vec<u8> = macs.into_iter().take(MOST_MACS).flat_map(|mac| mac.0).collect();
        group.note(MACS, Some(macs));
    }

    /// The Ethernet addresses that a member says it announces by.
    pub(super) fn macs_of(notes: &Notes) -> impl Iterator<Item = MacAddr> + '_ {
        let (macs, _) = notes.get(MACS).map_or(&[][..], Vec::as_slice).as_chunks::<6>();
        macs.iter().map(|mac| MacAddr(*mac))
    }
}

/// Whether VIPs come here or go from here, or members or what they say of themselves.
fn concerns_us(before: &Standing, now: &Standing) -> bool {
    !(before.is_said_alike(now) && ours(before).eq(ours(now)))
}

fn ours(standing: &Standing) -> impl Iterator<Item = &IpAddr> {
    let vips = standing.ownership.vips.iter();
    vips.filter(|(_, place)| **place == Possession::Here).map(|(vip, _)| vip)
}

/// The key of a note about a VIP.
pub(super) fn note_of(what: u8, vip: IpAddr) -> Vec<u8> {
    [&[what], vip.to_string().as_bytes()].concat()
}

/// The Ethernet addresses by which the VIPs of a plan are announced here.
pub(super) fn announcing_macs(plan: &Plan, links: &[Link]) -> BTreeSet<MacAddr> {
    let announcing: BTreeSet<&String> = (plan.vips.values())
        .flat_map(|vip| match &vip.announce {
            Announce::Layer2(links) => links.as_slice(),
            _ => &[],
        })
        .collect();
    let links = links.iter().filter(|link| announcing.contains(&link.name));
    links.filter_map(|link| link.mac).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group::Other;

    fn standing(here: bool, there: &str, note: &[u8]) -> Standing {
        let there = Possession::There { owner: there.to_owned(), announced: true };
        let first = if here { Possession::Here } else { there.clone() };
        let vips = [("192.0.2.1", first), ("192.0.2.2", there)];
        let mut standing = Standing::default();
        let vips = vips.map(|(vip, place)| (vip.parse().unwrap(), place));
        standing.ownership.vips = vips.into_iter().collect();
        let notes = Notes::from([(MACS.to_vec(), note.to_vec())]);
        let other = Other { notes, ..Other::default() };
        standing.others.insert("192.0.2.11:7472".parse().unwrap(), Arc::new(other));
        standing
    }

    #[test]
    fn where_the_vips_of_others_are_can_wait_and_nothing_else() {
        let before = standing(true, "a", b"mac");
        assert!(!concerns_us(&before, &standing(true, "a", b"mac")));
        assert!(!concerns_us(&before, &standing(true, "b", b"mac")));
        assert!(concerns_us(&before, &standing(false, "a", b"mac")), "a VIP goes");
        assert!(concerns_us(&standing(false, "a", b"mac"), &before), "a VIP comes");
        assert!(concerns_us(&before, &standing(true, "a", b"another")), "what a member says");
        let alone = Standing { others: BTreeMap::new(), ..before.clone() };
        assert!(concerns_us(&before, &alone), "a member goes");
    }
}

//! Whether a VIP is this node's to serve, as the group says; without a group every VIP is, and while
//! one is still to be joined none is.
//!
//! Says of every VIP that could be served here that it could (an offer), and reads from the standing
//! of the group what is so. The rule itself is `vipgate_planner::ownership`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::watch;
use vipgate_planner::ownership::{Offer, Possession};
use vipgate_planner::{Announce, Link, MacAddr, NodeReport, Plan, VipState};

use super::RETRY;
use super::meetings::Meetings;
use crate::group::{Group, Notes, Standing};

/// The note with the Ethernet addresses of a member, six bytes each.
const MACS: &[u8] = b"m";
/// The note that this node is no candidate for a VIP, which comes behind: the reason and, on the next
/// line, the text.
pub(super) const EXCLUDED: u8 = b'x';
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
    standings: watch::Receiver<Arc<Standing>>,
    standing: Arc<Standing>,
    /// VIPs that were this node's and could not be served, and when: others are let before for a while.
    failed: BTreeMap<IpAddr, Instant>,
    /// What was said of VIPs for which this node is no candidate.
    excuses: Notes,
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
        self.membership().map(|member| member.standing.as_ref())
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
                    let mut standings = group.standings();
                    let standing = Arc::clone(&standings.borrow_and_update());
                    *self = Self::Member(Membership {
                        group,
                        standings,
                        standing,
                        failed: BTreeMap::new(),
                        excuses: Notes::new(),
                    });
                }
            }
            Self::Member(Membership { standings, standing, .. }) => match standings.changed().await
            {
                Ok(()) => *standing = Arc::clone(&standings.borrow_and_update()),
                // It has left, and this node is about to end.
                Err(_) => std::future::pending().await,
            },
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
            Self::Member(membership) => &membership.standing,
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

    /// Tells the group what could be served here, which is what the last round found, without what was
    /// yielded to one that it does not hear.
    pub(super) fn offer(
        &mut self,
        plan: &Plan,
        report: &NodeReport,
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
            if let Some(VipState::Failed(_)) = report.vips.get(&address)
                && able
            {
                failed.entry(address).or_insert(now);
            }
            let announced = matches!(report.vips.get(&address), Some(VipState::Serving(_)));
            let leaving = leaving || plan.gives_way.is_some();
            let (weight, preempt) = (vip.weight, vip.preempt);
            let offer = Offer { weight, bound, leaving, preempt, announced };
            let able = able && !failed.contains_key(&address);
            (able && meetings.yielded(address).is_none()).then_some((address, offer))
        });
        group.offer(offers.collect());
        self.excuse(report);
    }

    /// Tells the group why VIPs could not be served here, for whoever asks there.
    fn excuse(&mut self, report: &NodeReport) {
        let Self::Member(Membership { group, excuses, .. }) = self else { return };
        let excuse = |(vip, state): (&IpAddr, &VipState)| {
            let VipState::Excluded { why, .. } = state else { return None };
            let words: String = why.message.chars().take(MOST_WORDS).collect();
            let key = [&[EXCLUDED], vip.to_string().as_bytes()].concat();
            Some((key, format!("{}\n{words}", why.reason).into_bytes()))
        };
        let new: Notes = report.vips.iter().filter_map(excuse).collect();
        if new != *excuses {
            group.notes(|notes| {
                notes.retain(|key, _| key.first() != Some(&EXCLUDED));
                notes.extend(new.clone());
            });
            *excuses = new;
        }
    }

    /// When a VIP that could not be served is offered again, if there is one.
    pub(super) fn due(&self) -> Option<Instant> {
        self.membership()?.failed.values().min().map(|at| *at + RETRY)
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

//! What the wire said about addresses that are claimed for the first time (RFC 5227).
//!
//! State: one entry per address of the plan that has to be probed. A probe runs once; an address
//! that somebody has is asked for again every [`AGAIN`], because a requested address waits for it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use vipgate_planner::{Announce, MacAddr, Plan, Vip, VipState};

use crate::arp::{ArpError, ArpSpeaker, ProbeOutcome};

/// How long after a conflict or a failure the address is asked for again.
const AGAIN: Duration = Duration::from_secs(30);

/// Probes under way and their results.
#[derive(Default)]
pub(super) struct Probes {
    answers: BTreeMap<IpAddr, Answer>,
    /// Addresses with a probe under way, or one that waits for its time.
    busy: BTreeSet<IpAddr>,
    running: FuturesUnordered<BoxFuture<'static, (IpAddr, Finding)>>,
}

/// What is known of an address; nothing before the first answer.
enum Answer {
    Free,
    Taken(MacAddr),
    Failed(String),
}

enum Finding {
    Outcome(Result<ProbeOutcome, ArpError>),
    TimeToAskAgain,
}

impl Probes {
    /// Starts probes for what is new in the plan or due again, and forgets what is gone from it.
    pub(super) fn follow(&mut self, plan: &Plan, arp: &Arc<ArpSpeaker>) {
        self.answers.retain(|address, _| plan.vips.get(address).is_some_and(|vip| vip.probe));
        for vip in plan.vips.values().filter(|vip| vip.probe) {
            let (IpAddr::V4(address), Announce::Layer2(links)) = (vip.address, &vip.announce)
            else {
                continue;
            };
            let settled = matches!(self.answers.get(&vip.address), Some(Answer::Free));
            if !settled && self.busy.insert(vip.address) {
                self.running.push(ask(arp, address, links.clone()));
            }
        }
    }

    /// Waits until there is something new; for ever when nothing runs.
    pub(super) async fn next(&mut self) {
        let Some((address, finding)) = self.running.next().await else {
            return std::future::pending().await;
        };
        let answer = match finding {
            Finding::TimeToAskAgain => {
                self.busy.remove(&address);
                return;
            }
            Finding::Outcome(Ok(ProbeOutcome::Free)) => {
                self.busy.remove(&address);
                self.answers.insert(address, Answer::Free);
                return;
            }
            Finding::Outcome(Ok(ProbeOutcome::Conflict { mac, .. })) => Answer::Taken(mac),
            Finding::Outcome(Err(error)) => Answer::Failed(error.to_string()),
        };
        self.answers.insert(address, answer);
        self.running.push(Box::pin(async move {
            tokio::time::sleep(AGAIN).await;
            (address, Finding::TimeToAskAgain)
        }));
    }

    /// What stands in the way of holding this VIP, if anything.
    pub(super) fn state(&self, vip: &Vip) -> Option<VipState> {
        if !vip.probe {
            return None;
        }
        match self.answers.get(&vip.address) {
            None => Some(VipState::Probing),
            Some(Answer::Free) => None,
            Some(Answer::Taken(mac)) => Some(VipState::Conflict(*mac)),
            Some(Answer::Failed(why)) => Some(VipState::Failed(why.clone())),
        }
    }
}

fn ask(
    arp: &Arc<ArpSpeaker>,
    address: Ipv4Addr,
    links: Vec<String>,
) -> BoxFuture<'static, (IpAddr, Finding)> {
    let arp = Arc::clone(arp);
    Box::pin(async move { (address.into(), Finding::Outcome(arp.probe(address, &links).await)) })
}

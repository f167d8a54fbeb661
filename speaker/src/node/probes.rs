//! What the wire said about addresses that are claimed for the first time (RFC 5227, RFC 4862).
//!
//! State: one question per address of the plan that has to be probed, which is over when the
//! address is free. A question belongs to the links it was asked on: when the plan names others, or
//! none because a link went down, it is forgotten and asked anew. An address that somebody has is
//! asked for again every [`AGAIN`], because a requested address waits for it.
//!
//! A VIP that this node only tells routers of, and that is announced on a LAN as well, is left to the nodes
//! of that LAN to ask for: for [`OTHERS_ASK`], since none of them may be there.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use vipgate_planner::{Announce, MacAddr, Plan, Vip, VipState};

use crate::l2::{L2Error, L2Speaker, ProbeOutcome};

/// How long after a conflict the address is asked for again.
const AGAIN: Duration = Duration::from_secs(30);
/// How long after a failure to ask, which says nothing about the address.
const AFTER_FAILURE: Duration = Duration::from_secs(5);
/// How long the nodes of a LAN have to find that an address is somebody's, and to say so.
const OTHERS_ASK: Duration = Duration::from_secs(3);

/// Questions under way and their answers.
#[derive(Default)]
pub(super) struct Probes {
    questions: BTreeMap<IpAddr, Question>,
    running: FuturesUnordered<BoxFuture<'static, Found>>,
    /// Numbers questions, so that what comes in for a forgotten one is told apart.
    asked: u64,
}

struct Question {
    number: u64,
    links: Vec<String>,
    /// The last answer; nothing before the first.
    answer: Option<Answer>,
}

enum Answer {
    Free,
    Taken(MacAddr),
    Failed(String),
}

/// For which address and question, and what.
type Found = (IpAddr, u64, Finding);

enum Finding {
    Outcome(Result<ProbeOutcome, L2Error>),
    TimeToAskAgain,
}

impl Probes {
    /// Starts probes for what is new among the VIPs of the plan that are to be asked for, and forgets
    /// what is gone from them.
    pub(super) fn follow(&mut self, plan: &Plan, new: &BTreeSet<IpAddr>, l2: &Arc<L2Speaker>) {
        let to_ask = |address: &IpAddr| {
            plan.vips.get(address).filter(|_| new.contains(address)).and_then(to_probe)
        };
        self.questions.retain(|address, question| {
            to_ask(address).is_some_and(|(_, links)| links == question.links)
        });
        for (address, links) in new.iter().filter_map(to_ask) {
            if let Entry::Vacant(new) = self.questions.entry(address) {
                self.asked += 1;
                let number = self.asked;
                new.insert(Question { number, links: links.to_vec(), answer: None });
                self.running.push(ask(Arc::clone(l2), address, links.to_vec(), number));
            }
        }
    }

    /// Forgets answers of these, which are no strangers any more.
    pub(super) fn forget(&mut self, macs: &BTreeSet<MacAddr>) {
        let theirs = |answer: &Answer| matches!(answer, Answer::Taken(mac) if macs.contains(mac));
        self.questions.retain(|_, question| !question.answer.as_ref().is_some_and(theirs));
    }

    /// Waits until there is something new, and takes in all that is; for ever when nothing runs.
    pub(super) async fn next(&mut self, l2: &Arc<L2Speaker>) {
        let mut news = false;
        while !news {
            let Some(found) = self.running.next().await else {
                return std::future::pending().await;
            };
            news = self.take(found, l2);
        }
        // Questions asked together are answered together, and one round does for all.
        while let Some(Some(found)) = self.running.next().now_or_never() {
            self.take(found, l2);
        }
    }

    /// Takes in what was found; whether that is news.
    fn take(&mut self, (address, number, finding): Found, l2: &Arc<L2Speaker>) -> bool {
        let Some(question) = self.questions.get_mut(&address) else { return false };
        if question.number != number {
            return false;
        }
        let (answer, pause) = match finding {
            Finding::TimeToAskAgain => {
                self.running.push(ask(Arc::clone(l2), address, question.links.clone(), number));
                return false;
            }
            Finding::Outcome(Ok(ProbeOutcome::Free)) => (Answer::Free, None),
            Finding::Outcome(Ok(ProbeOutcome::Conflict { mac, .. })) => {
                (Answer::Taken(mac), Some(AGAIN))
            }
            Finding::Outcome(Err(error)) => {
                (Answer::Failed(error.to_string()), Some(AFTER_FAILURE))
            }
        };
        question.answer = Some(answer);
        if let Some(pause) = pause {
            self.running.push(Box::pin(async move {
                tokio::time::sleep(pause).await;
                (address, number, Finding::TimeToAskAgain)
            }));
        }
        true
    }

    /// What stands in the way of holding this VIP, if anything.
    pub(super) fn state(&self, vip: &Vip) -> Option<VipState> {
        if !vip.probe {
            return None;
        }
        match self.questions.get(&vip.address).and_then(|question| question.answer.as_ref()) {
            None => Some(VipState::Probing),
            Some(Answer::Free) => None,
            Some(Answer::Taken(mac)) => Some(VipState::Conflict(*mac)),
            Some(Answer::Failed(why)) => Some(VipState::Failed(why.clone())),
        }
    }
}

/// The address and where to ask for it, of a VIP that has to be probed; nowhere where others ask.
fn to_probe(vip: &Vip) -> Option<(IpAddr, &[String])> {
    match &vip.announce {
        Announce::Layer2(links) if vip.probe => Some((vip.address, links)),
        Announce::Routed if vip.probe => Some((vip.address, &[])),
        _ => None,
    }
}

fn ask(
    l2: Arc<L2Speaker>,
    address: IpAddr,
    links: Vec<String>,
    number: u64,
) -> BoxFuture<'static, Found> {
    Box::pin(async move {
        let outcome = if links.is_empty() {
            tokio::time::sleep(OTHERS_ASK).await;
            Ok(ProbeOutcome::Free)
        } else {
            l2.probe(address, &links).await
        };
        (address, number, Finding::Outcome(outcome))
    })
}

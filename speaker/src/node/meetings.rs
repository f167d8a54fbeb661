//! Members of the group that are lost to it, and meet this node on the wire.
//!
//! The rule is `vipgate_planner::ownership::wire`; here it is told what the group and the frames say,
//! and the questions that it needs are asked: for each VIP that was yielded one at a time, as long as
//! it is.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use vipgate_planner::ownership::Wire;
use vipgate_planner::ownership::wire::Appearance;
use vipgate_planner::{Announce, MacAddr, Plan};

use super::gate::Gate;
use crate::l2::{L2Error, L2Speaker, ProbeOutcome, Sighting};

/// How long after an answer the wire is asked again.
const AGAIN: Duration = Duration::from_millis(500);

/// What the rule remembers, and the questions under way.
pub(super) struct Meetings {
    wire: Wire,
    /// Begins the rule's clock.
    started: Instant,
    running: FuturesUnordered<BoxFuture<'static, Found>>,
    /// VIPs with a question under way.
    asking: BTreeSet<IpAddr>,
}

/// About which VIP, and what.
type Found = (IpAddr, Result<ProbeOutcome, L2Error>);

impl Meetings {
    pub(super) fn new() -> Self {
        Self {
            wire: Wire::default(),
            started: Instant::now(),
            running: FuturesUnordered::new(),
            asking: BTreeSet::new(),
        }
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// Takes in what the group says.
    pub(super) fn follow(&mut self, plan: &Plan, gate: &Gate) {
        let Some(standing) = gate.standing() else { return };
        let heard = standing.others.iter().map(|(address, other)| {
            let (name, macs) = (other.name.clone(), Gate::macs_of(&other.notes).collect());
            (address.to_string(), Appearance { name, macs })
        });
        let heard: BTreeMap<String, Appearance> = heard.collect();
        let vips = &standing.ownership.vips;
        let planned = plan.vips.keys().map(|vip| (*vip, vips.get(vip).cloned())).collect();
        self.wire.follow(self.now(), &heard, &planned);
    }

    /// Takes in what a frame says.
    pub(super) fn seen(&mut self, sighting: &Sighting) {
        self.wire.seen(self.now(), sighting.vip, sighting.mac);
    }

    /// Applies the rule; the VIPs to announce anew. `lowest` is the lowest address that this node
    /// announces by; without one it is the other that announces.
    pub(super) fn decide(&mut self, lowest: Option<MacAddr>) -> BTreeSet<IpAddr> {
        let now = self.now();
        self.wire.decide(now, lowest.unwrap_or(MacAddr([0xff; 6])))
    }

    /// When there is something to decide, if nothing happens before.
    pub(super) fn due(&self) -> Option<Instant> {
        self.wire.due().map(|due| self.started + due)
    }

    /// The member that a VIP was yielded to, if it was.
    pub(super) fn yielded(&self, vip: IpAddr) -> Option<&str> {
        self.wire.yielded(vip)
    }

    /// The Ethernet addresses of the members that are heard or remembered.
    pub(super) fn macs(&self) -> BTreeSet<MacAddr> {
        self.wire.macs()
    }

    /// Asks for what was yielded and is not asked for.
    pub(super) fn ask(&mut self, plan: &Plan, l2: &Arc<L2Speaker>) {
        let to_ask: Vec<IpAddr> =
            self.wire.to_ask().filter(|vip| !self.asking.contains(vip)).collect();
        for vip in to_ask {
            if let Some(Announce::Layer2(links)) = plan.vips.get(&vip).map(|vip| &vip.announce) {
                let owner = self.wire.yielded(vip).unwrap_or_default();
                tracing::warn!(%vip, owner, "left to a member that the group does not hear and that \
                    announces it: check that UDP passes between the members");
                self.asking.insert(vip);
                self.running.push(question(Arc::clone(l2), vip, links.clone(), Duration::ZERO));
            }
        }
    }

    /// Waits until a VIP is yielded no more because nobody answers for it; for ever when nothing is.
    /// Whoever awaits it drops it at will: answers are taken in one by one.
    pub(super) async fn next(&mut self, plan: &Plan, l2: &Arc<L2Speaker>) {
        loop {
            let Some((vip, found)) = self.running.next().await else {
                return std::future::pending().await;
            };
            self.asking.remove(&vip);
            let pause = self.take(vip, found);
            let links = match plan.vips.get(&vip).map(|vip| &vip.announce) {
                Some(Announce::Layer2(links)) if self.yielded(vip).is_some() => links.clone(),
                _ => {
                    tracing::info!(%vip, "no longer left to a member that the group does not hear");
                    return;
                }
            };
            self.asking.insert(vip);
            self.running.push(question(Arc::clone(l2), vip, links, pause));
        }
    }

    /// Takes in an answer, or that there was none; how long to wait before the next question. One that
    /// could not be asked says nothing.
    fn take(&mut self, vip: IpAddr, found: Result<ProbeOutcome, L2Error>) -> Duration {
        let now = self.now();
        match found {
            Ok(ProbeOutcome::Free) => {
                self.wire.answered(now, vip, None);
                Duration::ZERO
            }
            Ok(ProbeOutcome::Conflict { mac, .. }) => {
                self.wire.answered(now, vip, Some(mac));
                AGAIN
            }
            Err(_) => AGAIN,
        }
    }
}

fn question(
    l2: Arc<L2Speaker>,
    vip: IpAddr,
    links: Vec<String>,
    pause: Duration,
) -> BoxFuture<'static, Found> {
    Box::pin(async move {
        tokio::time::sleep(pause).await;
        (vip, l2.look_for(vip, &links).await)
    })
}

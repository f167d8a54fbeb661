//! The one task that owns the hands: from the plan to the host, the wire and the report.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use vipgate_planner::{
    Announce, Exclusion, ExclusionReason, Link, ListenerState, NodeReport, Plan, Vip, VipState,
};

use super::contests::Contests;
use super::gate::{self, Gate, Turn};
use super::meetings::Meetings;
use super::probes::Probes;
use super::{LINGER, Phase, RETRY, listeners};
use crate::host::{Host, VipOutcomes};
use crate::l2::{L2Error, L2Speaker, Sighting};
use crate::proxy::Proxy;

/// The one task that owns the hands.
pub(super) struct Executor {
    l2: Arc<L2Speaker>,
    gate: Gate,
    /// Whether VIPs are given to whoever takes them.
    leaving: bool,
    sightings: mpsc::Receiver<Sighting>,
    meetings: Meetings,
    contests: Contests,
    host: Host,
    /// What became of the held VIPs; the host tries failed ones again by itself.
    vips: watch::Receiver<VipOutcomes>,
    /// Whether the host can lead connections from one port of a VIP to another.
    redirects: watch::Receiver<bool>,
    links: watch::Receiver<Vec<Link>>,
    proxy: Arc<Proxy>,
    probes: Probes,
    plan: Arc<Plan>,
    /// VIPs that were put on the host and announced by the last round.
    held: BTreeSet<IpAddr>,
    /// VIPs that another member took from here, until when they stay on the host.
    lingering: BTreeMap<IpAddr, Instant>,
    /// Since when VIPs are held, as people write it.
    since: BTreeMap<IpAddr, String>,
    /// Whether the last round left something undone that is worth another try.
    incomplete: bool,
    reports: watch::Sender<NodeReport>,
    stopped: CancellationToken,
}

impl Executor {
    pub(super) fn new(
        host: Host,
        proxy: Arc<Proxy>,
        (l2, sightings): (L2Speaker, mpsc::Receiver<Sighting>),
        gate: Gate,
        reports: watch::Sender<NodeReport>,
        stopped: CancellationToken,
    ) -> Self {
        Self {
            l2: Arc::new(l2),
            gate,
            leaving: false,
            sightings,
            meetings: Meetings::new(),
            contests: Contests::default(),
            vips: host.vips(),
            redirects: host.redirects(),
            links: host.links(),
            stopped,
            host,
            proxy,
            probes: Probes::default(),
            plan: Arc::default(),
            held: BTreeSet::new(),
            lingering: BTreeMap::new(),
            since: BTreeMap::new(),
            incomplete: false,
            reports,
        }
    }

    pub(super) async fn run(
        mut self,
        mut plans: watch::Receiver<Arc<Plan>>,
        mut phases: watch::Receiver<Phase>,
    ) {
        self.follow_links();
        self.proxy.allow_redirects(true);
        loop {
            let (retry, met) = (self.gate.due(), self.meetings.due());
            tokio::select! {
                changed = plans.changed() => {
                    if changed.is_err() { break; }
                    self.plan = plans.borrow_and_update().clone();
                }
                changed = self.links.changed() => {
                    if changed.is_err() { break; }
                    self.follow_links();
                }
                changed = phases.changed() => {
                    let phase = *phases.borrow_and_update();
                    if changed.is_err() || phase > Phase::Leaving { break; }
                    self.leaving = phase == Phase::Leaving;
                }
                () = self.gate.changed() => {}
                changed = self.vips.changed() => {
                    if changed.is_err() { break; }
                }
                changed = self.redirects.changed() => {
                    if changed.is_err() { break; }
                    self.proxy.allow_redirects(*self.redirects.borrow_and_update());
                }
                () = self.probes.next(&self.l2) => {}
                () = self.meetings.next(&self.plan, &self.l2) => {}
                Some(sighting) = self.sightings.recv() => self.take_sighting(&sighting),
                () = until(self.contests.due()) => {}
                () = until(met) => {}
                () = until(retry) => {}
                () = until(self.lingering.values().min().copied()) => {}
                () = tokio::time::sleep(RETRY), if self.incomplete => {}
            }
            self.reconcile().await;
        }
        self.end(phases).await;
    }

    fn follow_links(&mut self) {
        let links = self.links.borrow_and_update().clone();
        self.l2.set_links(&links);
    }

    fn take_sighting(&mut self, sighting: &Sighting) {
        let Sighting { vip, mac, link, member } = sighting;
        if *member {
            tracing::debug!(%vip, %mac, link, "a member of the group claims a VIP of ours");
            self.meetings.seen(sighting);
        } else {
            tracing::debug!(%vip, %mac, link, "another host claims a VIP of ours; defended");
            self.contests.seen(sighting, Instant::now());
        }
    }

    /// What members of the group say on the wire is no conflict, nor was it before they were known.
    /// With those that are lost it is settled by rule.
    fn meet_members(&mut self, plan: &Plan) {
        self.meetings.follow(plan, &self.gate);
        let macs = self.meetings.macs();
        self.contests.forget(&macs);
        self.probes.forget(&macs);
        self.l2.set_friends(macs);
        let lowest = gate::announcing_macs(plan, &self.links.borrow()).first().copied();
        for vip in self.meetings.decide(lowest) {
            tracing::warn!(%vip, "a member that the group does not hear announces it; it stays here");
            self.l2.insist(vip);
        }
        self.meetings.ask(plan, &self.l2);
    }

    /// Whose a VIP is, as the group and the wire say.
    fn turn(&self, vip: IpAddr) -> Turn {
        match self.meetings.yielded(vip) {
            Some(owner) => {
                Turn::Others(VipState::Standby { owner: owner.to_owned(), announced: true })
            }
            None => self.gate.turn(vip),
        }
    }

    /// One round: from the plan to the host and back to the report.
    async fn reconcile(&mut self) {
        let plan = self.plan.clone();
        self.gate.introduce(&plan, &self.links.borrow());
        self.meet_members(&plan);
        let (mut ours, mut others) = (BTreeSet::new(), BTreeMap::new());
        for address in plan.vips.keys() {
            match self.turn(*address) {
                Turn::Ours => drop(ours.insert(*address)),
                Turn::Others(state) => drop(others.insert(*address, state)),
            }
        }
        self.probes.follow(&plan, &ours, &self.l2);
        self.announce(&(&self.held & &ours));
        let (listeners, exposures) = listeners::bind(&self.proxy, &plan);

        let contested = self.contests.lately(&plan, Instant::now());
        let mut report = NodeReport { listeners, contested, ..known(&plan) };
        let mut ready = BTreeSet::new();
        let listening = report.listeners.iter().filter(|(_, state)| state.listens());
        let listening: BTreeSet<IpAddr> = listening.map(|(id, _)| id.address).collect();
        for (address, vip) in &plan.vips {
            let is_bound = listening.contains(address);
            match self.readiness(vip, others.get(address).cloned(), is_bound) {
                Readiness::Hold => {
                    ready.insert(*address);
                }
                Readiness::Report(state) => {
                    report.vips.insert(*address, state);
                }
            }
        }
        let lingering = self.linger(&ready, &others);
        let exposed = |vip: &IpAddr| (*vip, exposures.get(vip).cloned().unwrap_or_default());
        let wanted = ready.union(&lingering).map(exposed).collect();
        for (address, held) in self.host.set_vips(wanted).await {
            if let Err(error) = held
                && ready.remove(&address)
            {
                report.vips.insert(address, VipState::Failed(error.to_string()));
            }
        }
        self.vips.mark_unchanged();
        let mute = self.announce(&ready);
        for address in &ready {
            report.vips.insert(*address, served(&plan.vips[address].announce, &mute));
        }
        self.since.retain(|address, _| ready.contains(address));
        for address in &ready {
            self.since.entry(*address).or_insert_with(now);
        }
        report.since.clone_from(&self.since);
        self.held = ready;
        self.gate.offer(&plan, &report, &self.meetings, self.leaving);
        self.incomplete = report.vips.values().any(|state| matches!(state, VipState::Failed(_)))
            || report.listeners.values().any(|state| matches!(state, ListenerState::Failed(_)));
        self.reports.send_if_modified(|current| {
            let changed = *current != report;
            if changed {
                *current = report;
            }
            changed
        });
    }

    /// The VIPs that another member took from here just now.
    fn linger(
        &mut self,
        ready: &BTreeSet<IpAddr>,
        others: &BTreeMap<IpAddr, VipState>,
    ) -> BTreeSet<IpAddr> {
        let now = Instant::now();
        let taken = |vip: &&IpAddr| matches!(others.get(*vip), Some(VipState::Standby { .. }));
        for vip in self.held.iter().filter(taken) {
            self.lingering.insert(*vip, now + LINGER);
        }
        self.lingering.retain(|vip, until| now < *until && others.contains_key(vip));
        self.lingering.keys().filter(|vip| !ready.contains(*vip)).copied().collect()
    }

    /// Whether a VIP can be held, or what stands in the way: first what would do so if it were this
    /// node's, then that it is another's.
    fn readiness(&self, vip: &Vip, others: Option<VipState>, is_bound: bool) -> Readiness {
        // Where the kernel forwards, for a Service, no listener of ours is needed.
        if !vip.kernel && !is_bound {
            let why = "none of its listeners could be bound, so it is not announced";
            return excluded(Exclusion::new(ExclusionReason::NotBound, why), others);
        }
        match &vip.announce {
            Announce::Nowhere(why) => excluded(why.clone(), others),
            Announce::ByNodes => unreachable!("a plan for a node names its interfaces"),
            Announce::Loopback => Readiness::Report(VipState::Serving(Vec::new())),
            Announce::Layer2(_) => {
                others.or_else(|| self.probes.state(vip)).map_or(Readiness::Hold, Readiness::Report)
            }
        }
    }

    /// Announces these VIPs and falls silent about all others; returns the links that cannot speak.
    fn announce(&self, vips: &BTreeSet<IpAddr>) -> BTreeMap<String, L2Error> {
        let owned = vips
            .iter()
            .filter_map(|address| match &self.plan.vips.get(address)?.announce {
                Announce::Layer2(links) => Some((*address, links.clone())),
                _ => None,
            })
            .collect::<BTreeMap<IpAddr, Vec<String>>>();
        self.l2.set_owned(&owned)
    }

    /// After serving: VIPs are kept and answered for until the drain is over, then taken back.
    async fn end(mut self, mut phases: watch::Receiver<Phase>) {
        while *phases.borrow_and_update() != Phase::Ended {
            tokio::select! {
                changed = phases.changed() => if changed.is_err() { break },
                () = self.gate.changed() => {
                    let ours = |vip: &IpAddr| matches!(self.turn(*vip), Turn::Ours);
                    self.announce(&self.held.iter().copied().filter(ours).collect());
                }
            }
        }
        self.l2.set_owned(&BTreeMap::new());
        self.stopped.cancel();
        if let Err(error) = self.host.shutdown().await {
            tracing::error!(%error, "the host could not be left as it was found");
        }
    }
}

/// Comes true at that time, or never.
async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}

/// What a report has of a plan.
fn known(plan: &Plan) -> NodeReport {
    let vips = plan.vips.values();
    let compromises = vips.clone().filter_map(|vip| Some((vip.address, vip.compromise.clone()?)));
    let weights = vips.filter(|vip| vip.weight > 0).map(|vip| (vip.address, vip.weight));
    NodeReport {
        sources: plan.sources.clone(),
        weights: weights.collect(),
        compromises: compromises.collect(),
        gives_way: plan.gives_way.clone(),
        ..NodeReport::default()
    }
}

/// The time, as people write it.
fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A VIP that is none of this node's, and whose it is.
fn excluded(why: Exclusion, others: Option<VipState>) -> Readiness {
    let (owner, announced) = match others {
        Some(VipState::Standby { owner, announced }) => (Some(owner), announced),
        _ => (None, false),
    };
    Readiness::Report(VipState::Excluded { why, owner, announced })
}

/// The state of a VIP that is on the host.
fn served(announce: &Announce, mute: &BTreeMap<String, L2Error>) -> VipState {
    let Announce::Layer2(links) = announce else { return VipState::Serving(Vec::new()) };
    let speaking: Vec<String> =
        links.iter().filter(|link| !mute.contains_key(*link)).cloned().collect();
    match links.iter().find_map(|link| mute.get(link)) {
        Some(error) if speaking.is_empty() => VipState::Failed(error.to_string()),
        _ => VipState::Serving(speaking),
    }
}

enum Readiness {
    Hold,
    Report(VipState),
}

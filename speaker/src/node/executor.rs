//! The one task that owns the hands: from the plan to the host, the wire and the report.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use vipgate_planner::{Announce, Link, ListenerState, NodeReport, Plan, VipState};

use super::contests::Contests;
use super::failovers::Watch;
use super::gate::{self, Gate, Turn};
use super::lingering::Lingering;
use super::listeners::Listeners;
use super::meetings::Meetings;
use super::probes::Probes;
use super::readiness::{self, Readiness, readiness};
use super::{Counting, Engines, Phase, RETRY, routes, yielding};
use crate::bgp::peers::{Board, Sessions, in_words};
use crate::deadline::until;
use crate::host::{Host, VipOutcomes};
use crate::l2::{L2Error, L2Speaker, Sighting};

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
    preserving: watch::Receiver<bool>,
    links: watch::Receiver<Vec<Link>>,
    engines: Engines,
    listeners: Listeners,
    probes: Probes,
    /// The sessions with routers, and what they do.
    sessions: Arc<Sessions>,
    board: watch::Receiver<Board>,
    plan: Arc<Plan>,
    /// VIPs that were put on the host and announced by the last round.
    held: BTreeSet<IpAddr>,
    /// Of these, the ones that routers were to be told of.
    routed: BTreeSet<IpAddr>,
    lingering: Lingering,
    failovers: Watch,
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
        engines: Engines,
        (l2, sightings, counting): (Arc<L2Speaker>, mpsc::Receiver<Sighting>, Counting),
        gate: Gate,
        sessions: Arc<Sessions>,
        reports: watch::Sender<NodeReport>,
        stopped: CancellationToken,
    ) -> Self {
        Self {
            l2,
            gate,
            leaving: false,
            sightings,
            meetings: Meetings::new(),
            contests: Contests::counting(counting.claims),
            failovers: Watch::of(counting.failovers),
            vips: host.vips(),
            redirects: host.redirects(),
            preserving: host.preserving(),
            links: host.links(),
            stopped,
            host,
            engines,
            listeners: Listeners::default(),
            probes: Probes::default(),
            board: sessions.board(),
            sessions,
            plan: Arc::default(),
            held: BTreeSet::new(),
            routed: BTreeSet::new(),
            lingering: Lingering::default(),
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
        self.engines.allow_redirects(true);
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
                    self.engines.allow_redirects(*self.redirects.borrow_and_update());
                    self.listeners.try_again();
                }
                changed = self.preserving.changed() => {
                    if changed.is_err() { break; }
                    self.engines.proxy.allow_preserving(*self.preserving.borrow_and_update());
                }
                changed = self.board.changed() => {
                    if changed.is_err() { break; }
                }
                () = self.probes.next(&self.l2) => {}
                () = self.meetings.next(&self.plan, &self.l2) => {}
                Some(sighting) = self.sightings.recv() => self.take_sighting(&sighting),
                () = until(self.contests.due()) => {}
                () = until(met) => {}
                () = until(retry) => {}
                () = until(self.lingering.due()) => {}
                () = tokio::time::sleep(RETRY), if self.incomplete => {}
                () = tokio::time::sleep(RETRY), if self.listeners.outlived() => {}
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
        let plan = yielding::settled(&self.plan, |vip| self.gate.is_routed_elsewhere(vip));
        self.gate.introduce(&plan, &self.links.borrow());
        self.meet_members(&plan);
        let (mut ours, mut others) = (BTreeSet::new(), BTreeMap::new());
        // What only routers are told of is nobody's on the LAN.
        let on_the_lan = plan.vips.values().filter(|vip| vip.announce != Announce::Routed);
        for address in on_the_lan.map(|vip| &vip.address) {
            match self.turn(*address) {
                Turn::Ours => drop(ours.insert(*address)),
                Turn::Others(state) => drop(others.insert(*address, state)),
            }
        }
        let elsewhere = plan.vips.values().filter(|vip| vip.announce == Announce::Routed);
        let asked = ours.iter().copied().chain(elsewhere.map(|vip| vip.address)).collect();
        self.probes.follow(&plan, &asked, &self.l2);
        self.announce(&(&self.held & &ours));
        let (listeners, exposures) = self.listeners.bind(&self.engines, &plan);

        let contested = self.contests.lately(&plan, Instant::now());
        let mut report = NodeReport { listeners, contested, ..known(&plan) };
        let mut ready = BTreeSet::new();
        let listening = report.listeners.iter().filter(|(_, state)| state.listens());
        let listening: BTreeSet<IpAddr> = listening.map(|(id, _)| id.address).collect();
        for (address, vip) in &plan.vips {
            let is_bound = listening.contains(address);
            match readiness(vip, others.get(address).cloned(), is_bound, &self.probes) {
                Readiness::Hold => {
                    ready.insert(*address);
                }
                Readiness::Report(state) => {
                    report.vips.insert(*address, state);
                }
            }
        }
        let before = (&self.held, &self.routed);
        let lingering = self.lingering.follow(before, &ready, &others, Instant::now());
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
        let mute = self.announce(&(&ready & &ours));
        // Others can have what cannot be announced on the LAN, whether routers know it or not.
        let is_mute = |vip: &&IpAddr| {
            let state = readiness::on_the_lan(&plan.vips[*vip], &mute);
            ours.contains(*vip) && matches!(state, Some(VipState::Failed(_)))
        };
        let unheard: BTreeSet<IpAddr> = ready.iter().filter(is_mute).copied().collect();
        self.count_failovers(&plan, &ready & &ours, &mute);
        let told = self.tell_routers(&plan, &ready, &mut report);
        for address in &ready {
            let (vip, others) = (&plan.vips[address], others.get(address).cloned());
            let routers = report.routed.get(address).copied().unwrap_or_default();
            report.vips.insert(*address, readiness::held(vip, others, &mute, routers));
        }
        self.since.retain(|address, _| ready.contains(address));
        for address in &ready {
            self.since.entry(*address).or_insert_with(|| in_words(Instant::now()));
        }
        report.since.clone_from(&self.since);
        self.held = ready;
        self.gate.offer(&plan, &report, &unheard, &self.meetings, self.leaving);
        self.incomplete = !told
            || !unheard.is_empty()
            || report.vips.values().any(|state| matches!(state, VipState::Failed(_)))
            || report.listeners.values().any(|state| matches!(state, ListenerState::Failed(_)));
        self.reports.send_if_modified(|current| {
            let changed = *current != report;
            if changed {
                *current = report;
            }
            changed
        });
    }

    /// Counts what came from other members and is announced from now on.
    fn count_failovers(
        &mut self,
        plan: &Plan,
        mut vips: BTreeSet<IpAddr>,
        mute: &BTreeMap<String, L2Error>,
    ) {
        let Some(standing) = self.gate.standing() else { return };
        vips.retain(|vip| {
            let state = readiness::on_the_lan(&plan.vips[vip], mute);
            matches!(state, Some(VipState::Serving(_)))
        });
        self.failovers.announced(&vips, &standing.takeovers, Instant::now());
    }

    /// Tells routers of the VIPs that are held, and what they know into the report. What is held no more
    /// stays on the host for a moment after this ([`Lingering`]). Whether there is anybody to tell them.
    fn tell_routers(
        &mut self,
        plan: &Plan,
        held: &BTreeSet<IpAddr>,
        report: &mut NodeReport,
    ) -> bool {
        let told = self.sessions.set(routes::wanted(plan, held, self.links.borrow().clone()));
        let board = self.board.borrow_and_update();
        let routed = held.iter().filter_map(|vip| plan.vips.get(vip));
        let routed = routed.filter(|vip| !vip.routes.is_empty());
        report.routed = routed.map(|vip| (vip.address, routes::known_to(vip, &board))).collect();
        report.peers = routes::peers(plan, &board);
        self.routed = report.routed.keys().copied().collect();
        told
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
                    self.report_others();
                }
            }
        }
        self.l2.set_owned(&BTreeMap::new());
        self.stopped.cancel();
        if let Err(error) = self.host.shutdown().await {
            tracing::error!(%error, "the host could not be left as it was found");
        }
    }

    /// While connections end: who has what is not announced here any more. There would be two owners
    /// otherwise, for whoever counts them.
    fn report_others(&self) {
        let others = |vip: &IpAddr| match self.turn(*vip) {
            Turn::Others(state) => Some((*vip, state)),
            Turn::Ours => None,
        };
        let others: BTreeMap<IpAddr, VipState> = self.held.iter().filter_map(others).collect();
        self.reports.send_if_modified(|report| {
            let mut changed = false;
            for (vip, state) in &mut report.vips {
                if let (VipState::Serving(links), Some(theirs)) = (&*state, others.get(vip))
                    && !links.is_empty()
                {
                    *state = theirs.clone();
                    changed = true;
                }
            }
            changed
        });
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

//! Makes a plan true on this node, and reports what is really so.
//!
//! ```text
//!          ┌──────────────────────────── Executor (one task) ────────────────────────────┐
//!  plan ──>│ proxy.apply ──> gate ──> probe (new claims) ──> host.set_vips ──> l2.set_owned  │──> NodeReport
//!  links ─>│    bind         ours?      ask the wire            on lo            announce    │
//!          └─────────────────▲───────────────────────────────────────────────────────────┘
//!                            └── group (offers, standing)
//! ```
//!
//! State: the last plan, what the group says, and what the wire said about each new address. What
//! always holds:
//! * a VIP is announced only while the group says that it is this node's (without a group it always
//!   is), it is on the host, and one of its listeners is bound, or the kernel forwards what comes for it;
//! * withdrawing goes the other way round: silence first, then the sockets, then the address;
//! * the task never decides who owns what; it only says what it found.

mod contests;
mod gate;
mod meetings;
mod probes;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use thiserror::Error;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use vipgate_planner::{Announce, Link, ListenerState, NodeReport, Plan, Vip, VipState};

use crate::group::{Group, Standing};
use crate::host::{Host, HostError, VipOutcomes};
use crate::l2::{L2Error, L2Speaker, Sighting};
use crate::proxy::{self, Proxy};
use contests::Contests;
use gate::{Gate, Turn};
use meetings::Meetings;
use probes::Probes;

/// How often sockets that could not be bound, and addresses that could not be held, are tried again.
const RETRY: Duration = Duration::from_secs(5);
/// How long a VIP that went to another member is still served here, in silence: until all clients have
/// heard of the new owner, they come here.
const LINGER: Duration = Duration::from_millis(300);
/// How long the group may take to take over what this node has, when it goes.
const HAND_OVER: Duration = Duration::from_millis(500);

/// What a speaker is told at its start.
#[derive(Clone, Debug)]
pub struct Config {
    /// Forwarding.
    pub proxy: proxy::Config,
    /// How often VIPs are announced again.
    pub announce_every: Duration,
    /// Whether there is a group of hosts that share the VIPs: none is served before it was joined
    /// ([`Speaker::join`]). Without one all of them are this host's.
    pub grouped: bool,
}

/// Why a speaker cannot start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The forwarding threads.
    #[error("the forwarding threads cannot be started: {0}")]
    Proxy(#[source] io::Error),
    /// The host.
    #[error(transparent)]
    Host(#[from] HostError),
}

/// A running speaker. Plans go in, reports come out; dropping it does not stop it: [`Speaker::drain`].
#[derive(Debug)]
pub struct Speaker {
    plans: watch::Sender<Arc<Plan>>,
    reports: watch::Receiver<NodeReport>,
    links: watch::Receiver<Vec<Link>>,
    proxy: Arc<Proxy>,
    phases: watch::Sender<Phase>,
    group: watch::Sender<Option<Arc<Group>>>,
    tracker: TaskTracker,
}

/// Where a speaker is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
enum Phase {
    Serving,
    /// Everything is offered to the others of the group, and served until they have it.
    Leaving,
    /// Listeners are closed, VIPs stay for the connections that are left.
    Draining,
    /// Everything is taken back.
    Ended,
}

impl Speaker {
    /// Starts the forwarding threads and the task. Needs no privilege until the first VIP outside
    /// 127.0.0.0/8 comes.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let tracker = TaskTracker::new();
        let host = Host::start().await?;
        let links = host.links();
        let proxy = Arc::new(Proxy::start(config.proxy).map_err(StartError::Proxy)?);
        let (plans, plan_source) = watch::channel(Arc::new(Plan::default()));
        let (report_sink, reports) = watch::channel(NodeReport::default());
        let (phases, phase_source) = watch::channel(Phase::Serving);
        let group = watch::Sender::new(None);
        let stopped = CancellationToken::new();
        let (l2, sightings) =
            L2Speaker::new(tracker.clone(), stopped.clone(), config.announce_every);
        let executor = Executor {
            l2: Arc::new(l2),
            gate: Gate::new(config.grouped, group.subscribe()),
            leaving: false,
            sightings,
            meetings: Meetings::new(),
            contests: Contests::default(),
            vips: host.vips(),
            stopped,
            host,
            links: links.clone(),
            proxy: proxy.clone(),
            probes: Probes::default(),
            plan: Arc::default(),
            held: BTreeSet::new(),
            lingering: BTreeMap::new(),
            incomplete: false,
            reports: report_sink,
        };
        tracker.spawn(executor.run(plan_source, phase_source));
        Ok(Self { plans, reports, links, proxy, phases, group, tracker })
    }

    /// Joins the group, which from now on says what is served here.
    pub fn join(&self, group: Arc<Group>) {
        self.group.send_replace(Some(group));
    }

    /// Replaces the plan.
    pub fn apply(&self, plan: Arc<Plan>) {
        self.plans.send_if_modified(|current| {
            let changed = **current != *plan;
            if changed {
                *current = plan;
            }
            changed
        });
    }

    /// What is really so, each time it changes.
    pub fn reports(&self) -> watch::Receiver<NodeReport> {
        self.reports.clone()
    }

    /// The links of this node, each time they change.
    pub fn links(&self) -> watch::Receiver<Vec<Link>> {
        self.links.clone()
    }

    /// Counters of the forwarding.
    pub fn proxy(&self) -> &Proxy {
        &self.proxy
    }

    /// Ends in order: the group takes over what it can; then listeners close, connections go on until they end or the deadline passes
    /// (then they are reset), and VIPs are kept reachable until then; docs/decisions/0004.
    pub async fn drain(&self, deadline: Duration) {
        let group = self.group.borrow().clone();
        if let Some(group) = &group {
            let _ = self.phases.send(Phase::Leaving);
            let mut standings = group.standings();
            let gone =
                |standing: &Arc<Standing>| standing.holds.is_empty() || standing.others.is_empty();
            let _ = tokio::time::timeout(HAND_OVER, standings.wait_for(gone)).await;
            if !standings.borrow().others.is_empty() {
                tokio::time::sleep(LINGER).await;
            }
        }
        let _ = self.phases.send(Phase::Draining);
        let proxy = self.proxy.clone();
        // The wait is a blocking one on the forwarding threads.
        let drained = self.tracker.spawn_blocking(move || proxy.drain(deadline));
        if let Err(error) = drained.await {
            tracing::error!(%error, "draining failed; connections were reset");
        }
        let _ = self.phases.send(Phase::Ended);
        if let Some(group) = group {
            let left = self.tracker.spawn_blocking(move || group.leave());
            if let Err(error) = left.await {
                tracing::error!(%error, "the group was not told that this host goes");
            }
        }
        self.tracker.close();
        self.tracker.wait().await;
    }
}

/// The one task that owns the hands.
struct Executor {
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
    links: watch::Receiver<Vec<Link>>,
    proxy: Arc<Proxy>,
    probes: Probes,
    plan: Arc<Plan>,
    /// VIPs that were put on the host and announced by the last round.
    held: BTreeSet<IpAddr>,
    /// VIPs that another member took from here, until when they stay on the host.
    lingering: BTreeMap<IpAddr, Instant>,
    /// Whether the last round left something undone that is worth another try.
    incomplete: bool,
    reports: watch::Sender<NodeReport>,
    stopped: CancellationToken,
}

impl Executor {
    async fn run(
        mut self,
        mut plans: watch::Receiver<Arc<Plan>>,
        mut phases: watch::Receiver<Phase>,
    ) {
        self.follow_links();
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
        let listeners = self.bind(&plan);

        let contested = self.contests.lately(&plan, Instant::now());
        let sources = plan.sources.clone();
        let mut report = NodeReport { listeners, contested, sources, ..NodeReport::default() };
        let mut ready = BTreeSet::new();
        for (address, vip) in &plan.vips {
            match self.readiness(vip, others.get(address).cloned(), &report) {
                Readiness::Hold => {
                    ready.insert(*address);
                }
                Readiness::Report(state) => {
                    report.vips.insert(*address, state);
                }
            }
        }
        let lingering = self.linger(&ready, &others);
        for (address, held) in self.host.set_vips(&ready | &lingering).await {
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

    fn bind(&self, plan: &Plan) -> BTreeMap<vipgate_planner::ListenerId, ListenerState> {
        let outcome = self.proxy.apply(&plan.listeners);
        let bare = plan.listeners.iter().filter(|listener| listener.lacks_certificate());
        let bare: BTreeSet<_> = bare.map(|listener| &listener.id).collect();
        outcome
            .into_iter()
            .map(|(id, bound)| {
                let state = match bound {
                    Ok(_) if bare.contains(&id) => ListenerState::NoCertificate,
                    Ok(_) => ListenerState::Bound,
                    Err(error) => ListenerState::Failed(error.to_string()),
                };
                (id, state)
            })
            .collect()
    }

    /// Whether a VIP can be held, or what stands in the way: first what would do so if it were this
    /// node's, then that it is another's.
    fn readiness(&self, vip: &Vip, others: Option<VipState>, report: &NodeReport) -> Readiness {
        // Whoever announces it elsewhere, it is well.
        if let Some(state @ VipState::Standby { announced: true, .. }) = others {
            return Readiness::Report(state);
        }
        let mut listeners = report.listeners.iter().filter(|(id, _)| id.address == vip.address);
        // Where the kernel forwards, for a Service, no listener of ours is needed.
        if !vip.kernel && !listeners.any(|(_, state)| state.listens()) {
            let why = "none of its listeners could be bound, so it is not announced";
            return Readiness::Report(VipState::Failed(why.to_owned()));
        }
        match &vip.announce {
            Announce::Nowhere(why) => Readiness::Report(VipState::Failed(why.clone())),
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

//! Makes a plan true on this node, and reports what is really so.
//!
//! ```text
//!          ┌──────────────────────────── Executor (one task) ────────────────────────────┐
//!  plan ──>│ proxy, udp ──>  gate ──> probe (new claims) ──> host.set_vips ─┬> l2.set_owned  │──> NodeReport
//!  links ─>│    bind         ours?      ask the wire            on lo       │    announce    │
//!          │    │                                             ▲             └> sessions.set  │
//!          │    └── what only routers are told of ────────────┘                tables        │
//!          └─────────────────▲──────────────────────────────────────────────────▲──────────┘
//!                            └── group (offers, standing)       bgp::peers ─────┘ board
//! ```
//!
//! State: the last plan, what the group says, and what the wire said about each new address. What
//! always holds:
//! * a VIP is announced only while the group says that it is this node's (without a group it always
//!   is), it is on the host, and one of its listeners is bound, or the kernel forwards what comes for it;
//! * routers are told of a VIP exactly while it is on the host and bound, from every node that may;
//! * withdrawing goes the other way round: silence first, then the sockets, then the address, which
//!   stays for a moment where others may still send here;
//! * the task never decides who owns what; it only says what it found.

mod contests;
mod executor;
mod failovers;
mod gate;
mod lingering;
mod listeners;
mod meetings;
mod probes;
mod readiness;
mod routes;
mod yielding;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use vipgate_planner::ownership::Possession;
use vipgate_planner::{Link, MacAddr, NodeReport, Plan};

use crate::access_log::{AccessLog, Log};
use crate::bgp::peers::{Board, Sessions};
use crate::group::{Group, Other, Standing};
use crate::host::{Host, HostError};
use crate::l2::L2Speaker;
use crate::proxy::{self, Proxy};
use crate::reach::{self, Asking};
use crate::udp::{self, Udp};
use contests::Tally;
use executor::Executor;
pub use failovers::{FailoverTimes, Failovers};
use gate::Gate;

/// How often sockets that could not be bound, and addresses that could not be held, are tried again.
const RETRY: Duration = Duration::from_secs(5);
/// How long a VIP that went to another member is still served here, in silence: until all clients have
/// heard of the new owner, they come here.
const LINGER: Duration = Duration::from_millis(300);
/// How long the sessions with routers may take to be taken down step by step.
const PART: Duration = Duration::from_secs(4);
/// How long the group may take to take over what this node has, when it goes. It is served meanwhile.
const HAND_OVER: Duration = Duration::from_secs(2);

/// Why another member of the group says that it is no candidate for a VIP, if it does: the reason and the
/// text.
pub fn excuse(other: &Other, vip: IpAddr) -> Option<(String, String)> {
    let key = gate::note_of(gate::EXCLUDED, vip);
    let text = String::from_utf8_lossy(other.notes.get(&key)?).into_owned();
    let (reason, message) = text.split_once('\n')?;
    Some((reason.to_owned(), message.to_owned()))
}

/// The Ethernet addresses by which another member of the group says that it announces VIPs.
pub(crate) fn macs_of(other: &Other) -> BTreeSet<MacAddr> {
    Gate::macs_of(&other.notes).collect()
}

/// What a speaker is told at its start.
#[derive(Clone, Debug)]
pub struct Config {
    /// Name of the node.
    pub node: String,
    /// Forwarding of connections. Files that sessions of UDP may take are kept from it while there is a
    /// listener for them.
    pub proxy: proxy::Config,
    /// Forwarding of datagrams.
    pub udp: udp::Config,
    /// Where listeners' access logs go.
    pub access_log: AccessLog,
    /// How often VIPs are announced again.
    pub announce_every: Duration,
    /// Whether there is a group of hosts that share the VIPs: none is served before it was joined
    /// ([`Speaker::join`]). Without one all of them are this host's.
    pub grouped: bool,
    /// Whether the VIPs of other members are asked for from here.
    pub asking: Asking,
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
    engines: Engines,
    phases: watch::Sender<Phase>,
    group: watch::Sender<Option<Arc<Group>>>,
    sessions: Arc<Sessions>,
    counting: Counting,
    node: String,
    tracker: TaskTracker,
}

/// What is counted, for whoever asks.
#[derive(Clone, Debug, Default)]
struct Counting {
    claims: Tally,
    failovers: failovers::Clock,
    reached: reach::Board,
}

/// What forwards: one engine for connections, one for datagrams. They know nothing of each other, and
/// each passes over the listeners of the other.
#[derive(Clone, Debug)]
struct Engines {
    proxy: Arc<Proxy>,
    udp: Arc<Udp>,
}

impl Engines {
    fn start(proxy: proxy::Config, udp: udp::Config, log: &AccessLog) -> io::Result<Self> {
        let log = Log::start(log)?;
        let udp = Udp::start(udp, log.clone())?;
        Ok(Self { proxy: Arc::new(Proxy::start(proxy, log)?), udp: Arc::new(udp) })
    }

    fn allow_redirects(&self, allow: bool) {
        self.proxy.allow_redirects(allow);
        self.udp.allow_redirects(allow);
    }

    /// Both, at the same time.
    async fn drain(&self, deadline: Duration, tracker: &TaskTracker) {
        let (proxy, udp) = (Arc::clone(&self.proxy), Arc::clone(&self.udp));
        // The waits are blocking ones on the forwarding threads.
        let connections = tracker.spawn_blocking(move || proxy.drain(deadline));
        let sessions = tracker.spawn_blocking(move || udp.drain(deadline));
        let (connections, sessions) = tokio::join!(connections, sessions);
        if let Err(error) = connections.and(sessions) {
            tracing::error!(%error, "draining failed; connections were reset");
        }
    }
}

/// Where a speaker is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
enum Phase {
    Serving,
    /// Everything is offered to the others of the group, and served until they and routers have heard.
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
        let engines = Engines::start(config.proxy, config.udp, &config.access_log)
            .map_err(StartError::Proxy)?;
        let (plans, plan_source) = watch::channel(Arc::new(Plan::default()));
        let (report_sink, reports) = watch::channel(NodeReport::default());
        let (phases, phase_source) = watch::channel(Phase::Serving);
        let group = watch::Sender::new(None);
        let stopped = CancellationToken::new();
        let (l2, sightings) =
            L2Speaker::new(tracker.clone(), stopped.clone(), config.announce_every);
        let l2 = Arc::new(l2);
        let sources = reach::Sources {
            plans: plans.subscribe(),
            links: links.clone(),
            group: group.subscribe(),
            l2: Arc::clone(&l2),
        };
        let gate = Gate::new(config.grouped, group.subscribe());
        let counting = Counting::default();
        let node = config.node;
        let sessions = Arc::new(Sessions::new(&node));
        let executor = Executor::new(
            host,
            engines.clone(),
            (l2, sightings, counting.clone()),
            gate,
            Arc::clone(&sessions),
            report_sink,
            stopped.clone(),
        );
        let board = counting.reached.clone();
        tracker.spawn(reach::start(config.asking, sources, board, stopped));
        tracker.spawn(executor.run(plan_source, phase_source));
        Ok(Self {
            plans,
            reports,
            links,
            engines,
            phases,
            group,
            sessions,
            counting,
            node,
            tracker,
        })
    }

    /// Joins the group, which from now on says what is served here.
    pub fn join(&self, group: Arc<Group>) {
        self.group.send_replace(Some(group));
    }

    /// The group, once there is one.
    pub fn group(&self) -> Option<Arc<Group>> {
        self.group.borrow().clone()
    }

    /// How things stand in the group, once there is one.
    pub fn standing(&self) -> Option<Arc<Standing>> {
        let standings = self.group()?.standings();
        let standing = Arc::clone(&standings.borrow());
        Some(standing)
    }

    /// Replaces the plan.
    pub fn apply(&self, plan: Arc<Plan>) {
        self.plans.send_if_modified(|current| {
            let changed = !Arc::ptr_eq(current, &plan) && **current != *plan;
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

    /// Counters of the forwarding of connections.
    pub fn proxy(&self) -> &Proxy {
        &self.engines.proxy
    }

    /// Counters of the forwarding of datagrams.
    pub fn udp(&self) -> &Udp {
        &self.engines.udp
    }

    /// How often hosts that are no members claimed a VIP while it served here, since it is planned.
    pub fn rival_claims(&self) -> BTreeMap<IpAddr, u64> {
        self.counting.claims.read()
    }

    /// How long VIPs that other members had before took to be announced here.
    pub fn failovers(&self) -> Failovers {
        self.counting.failovers.read()
    }

    /// What was found of the VIPs of other members that are asked for from here.
    pub fn reached(&self) -> reach::Snapshot {
        self.counting.reached.read()
    }

    /// What the sessions with routers do.
    pub fn routers(&self) -> watch::Receiver<Board> {
        self.sessions.board()
    }

    /// Gives VIPs to the rest of the group, as far as it takes them.
    async fn hand_over(&self, group: Option<&Group>) {
        let Some(group) = group else { return };
        let _ = self.phases.send(Phase::Leaving);
        let mut standings = group.standings();
        let held: BTreeSet<IpAddr> = standings.borrow().holds.keys().copied().collect();
        let over = |standing: &Arc<Standing>| {
            standing.others.is_empty() || is_handed_over(standing, &held)
        };
        let _ = tokio::time::timeout(HAND_OVER, standings.wait_for(over)).await;
        if !standings.borrow().others.is_empty() {
            tokio::time::sleep(LINGER).await;
        }
    }

    /// Takes routes back, and ends the sessions with routers.
    async fn part(&self) {
        let text = format!("vipgate on {} is stopped", self.node);
        if tokio::time::timeout(PART, self.sessions.leave(&text)).await.is_err() {
            tracing::warn!("not all BGP sessions ended in time; they end with the process");
        }
    }

    /// Ends in order: the group takes over what it can, and routers are told to send elsewhere, while
    /// everything is served on; then listeners close, connections go on until they end or the deadline
    /// passes (then they are reset), and VIPs are kept reachable until then; docs/decisions/0004.
    pub async fn drain(&self, deadline: Duration) {
        let group = self.group();
        tokio::join!(self.hand_over(group.as_deref()), self.part());
        let _ = self.phases.send(Phase::Draining);
        self.engines.drain(deadline, &self.tracker).await;
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

/// Whether nothing is held here any more, and whoever took what was held announces it. Until it does, clients
/// come here, and it may have much to do first.
fn is_handed_over(standing: &Standing, held: &BTreeSet<IpAddr>) -> bool {
    let is_silent = |vip: &IpAddr| {
        let place = standing.ownership.vips.get(vip);
        matches!(place, Some(Possession::There { announced: false, .. }))
    };
    standing.holds.is_empty() && !held.iter().any(is_silent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vip_is_handed_over_when_its_next_owner_announces_it() {
        let [ours, others]: [IpAddr; 2] =
            ["192.0.2.1", "192.0.2.2"].map(|vip| vip.parse().unwrap());
        let standing = |hold: bool, announced: bool| {
            let mut standing = Standing::default();
            standing.holds.extend(hold.then_some((ours, 1)));
            let there = |announced| Possession::There { owner: "other".to_owned(), announced };
            // What was never here is not waited for.
            standing.ownership.vips = [(ours, there(announced)), (others, there(false))].into();
            standing
        };
        let held = BTreeSet::from([ours]);
        assert!(!is_handed_over(&standing(true, false), &held));
        assert!(!is_handed_over(&standing(false, false), &held), "taken, and in silence");
        assert!(is_handed_over(&standing(false, true), &held));
        let mut nobodys = standing(false, true);
        nobodys.ownership.vips.insert(ours, Possession::Nowhere("nobody can have it"));
        assert!(is_handed_over(&nobodys, &held), "nobody will take it");
    }
}

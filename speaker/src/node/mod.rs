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
mod executor;
mod gate;
mod listeners;
mod meetings;
mod probes;

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use vipgate_planner::{Link, NodeReport, Plan};

use crate::group::{Group, Other, Standing};
use crate::host::{Host, HostError};
use crate::l2::L2Speaker;
use crate::proxy::{self, Proxy};
use executor::Executor;
use gate::Gate;

/// How often sockets that could not be bound, and addresses that could not be held, are tried again.
const RETRY: Duration = Duration::from_secs(5);
/// How long a VIP that went to another member is still served here, in silence: until all clients have
/// heard of the new owner, they come here.
const LINGER: Duration = Duration::from_millis(300);
/// How long the group may take to take over what this node has, when it goes. It is served meanwhile.
const HAND_OVER: Duration = Duration::from_secs(2);

/// Why another member of the group says that it is no candidate for a VIP, if it does: the reason and the
/// text.
pub fn excuse(other: &Other, vip: IpAddr) -> Option<(String, String)> {
    let key = [&[gate::EXCLUDED], vip.to_string().as_bytes()].concat();
    let text = String::from_utf8_lossy(other.notes.get(&key)?).into_owned();
    let (reason, message) = text.split_once('\n')?;
    Some((reason.to_owned(), message.to_owned()))
}

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
        let gate = Gate::new(config.grouped, group.subscribe());
        let executor =
            Executor::new(host, proxy.clone(), (l2, sightings), gate, report_sink, stopped);
        tracker.spawn(executor.run(plan_source, phase_source));
        Ok(Self { plans, reports, links, proxy, phases, group, tracker })
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

    /// Ends in order: the group takes over what it can; then listeners close, connections go on until
    /// they end or the deadline passes (then they are reset), and VIPs are kept reachable until then;
    /// docs/decisions/0004.
    pub async fn drain(&self, deadline: Duration) {
        let group = self.group();
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

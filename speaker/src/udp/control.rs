//! From the plan's listeners to the next table: which sockets stay, which open, which close.

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use vipgate_api::vipgate::Transport;
use vipgate_planner::{Listener, ListenerId};

use super::listener;
use super::rotation::Rotation;
use super::shared::Shared;
use super::stats::ListenerStats;
use super::table::{Port, Table, Target};
use crate::access_log::Place;
use crate::clients::Clients;
use crate::proxy::BindError;
use crate::proxy::endpoint::EndpointState;
use crate::proxy::prober::Prober;
use crate::proxy::slots::Slots;
use crate::proxy::table::{Endpoints, Forward};

/// How long workers may take to let go of sockets whose port is wanted again.
const LET_GO: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub(super) struct Control {
    ports: Slots<SocketAddr, Port>,
    /// Of each listener in the plan, whether it has a port or not.
    stats: BTreeMap<ListenerId, Arc<ListenerStats>>,
    endpoints: Endpoints,
    /// Ports whose sockets workers may still have, and since when nobody wants them.
    given_up: Vec<(SocketAddr, Instant)>,
    /// Whether datagrams to a port may be led to sockets on another one.
    may_redirect: bool,
    draining: bool,
}

type Outcome = Result<SocketAddr, BindError>;

impl Control {
    /// Without listeners so far. Endpoints are never ejected: that one answers no more shows when it refuses,
    /// and then its sessions end.
    pub(super) fn new(prober: Prober) -> Self {
        Self {
            ports: Slots::default(),
            stats: BTreeMap::new(),
            endpoints: Endpoints::of_datagrams(prober),
            given_up: Vec::new(),
            may_redirect: false,
            draining: false,
        }
    }

    /// See [`Udp::apply`](super::Udp::apply).
    pub(super) fn apply(
        &mut self,
        listeners: &[Arc<Listener>],
        shared: &Shared,
    ) -> BTreeMap<ListenerId, Outcome> {
        let listeners = listeners.iter().filter(|l| l.transport() == Transport::Udp);
        let listeners: Vec<&Arc<Listener>> = listeners.collect();
        if self.draining {
            let draining =
                |l: &&Arc<Listener>| (l.id.clone(), Err(BindError::Draining { bind: l.bind }));
            return listeners.iter().map(draining).collect();
        }
        let workers = shared.config.workers.get();
        let ids: HashSet<&ListenerId> = listeners.iter().map(|listener| &listener.id).collect();
        self.stats.retain(|id, _| ids.contains(id));
        for listener in &listeners {
            let stats = || Arc::new(ListenerStats::new(workers));
            self.stats.entry(listener.id.clone()).or_insert_with(stats);
        }
        let mut changed = self.close_gone(&listeners);
        let mut outcomes = BTreeMap::new();
        let mut taken: BTreeMap<SocketAddr, &ListenerId> = BTreeMap::new();
        for listener in listeners {
            let outcome = match taken.get(&listener.bind) {
                Some(by) => {
                    let by = Box::new((*by).clone());
                    Err(BindError::SamePlan { bind: listener.bind, by })
                }
                None => {
                    taken.insert(listener.bind, &listener.id);
                    self.set_port(listener, workers, &mut changed)
                }
            };
            outcomes.insert(listener.id.clone(), outcome);
        }
        if changed {
            self.endpoints.forget_unused();
            shared.table.publish(self.table(None));
        }
        outcomes
    }

    /// See [`Udp::allow_redirects`](super::Udp::allow_redirects).
    pub(super) fn allow_redirects(&mut self, may_redirect: bool) {
        self.may_redirect = may_redirect;
    }

    /// From now on nothing is applied. The table to end with.
    pub(super) fn drain(&mut self, until: Instant) -> Table {
        self.draining = true;
        self.table(Some(until))
    }

    /// Lets go of sockets and targets; the counters stay for snapshots.
    pub(super) fn release(&mut self) {
        self.ports.map(|port| Port {
            sockets: Arc::default(),
            served_at: port.served_at,
            clients: Clients::of(&port.listener.settings),
            listener: Arc::clone(&port.listener),
            target: None,
            stats: Arc::clone(&port.stats),
            log: None,
        });
    }

    /// The counters of each listener.
    pub(super) fn listeners(&self) -> impl Iterator<Item = (&ListenerId, &ListenerStats)> {
        self.stats.iter().map(|(id, stats)| (id, &**stats))
    }

    /// The counters of each endpoint that is in use.
    pub(super) fn endpoints(&self) -> impl Iterator<Item = Arc<EndpointState>> {
        self.endpoints.iter()
    }

    fn table(&self, drain_until: Option<Instant>) -> Table {
        Table {
            ports: self.ports.values().to_vec(),
            binds: self.ports.iter().map(|(bind, _)| *bind).collect(),
            drain_until,
        }
    }

    /// Takes away ports that nobody wants any more, and those that datagrams can no longer be led to.
    /// Whether there were any.
    fn close_gone(&mut self, listeners: &[&Arc<Listener>]) -> bool {
        let binds: HashSet<SocketAddr> = listeners.iter().map(|listener| listener.bind).collect();
        self.given_up.retain(|(_, at)| at.elapsed() < LET_GO);
        let mut gone = HashSet::new();
        for (bind, port) in self.ports.iter() {
            let reached = self.may_redirect || port.served_at == bind.port();
            if !binds.contains(bind) || !reached {
                gone.insert(*bind);
                self.given_up.retain(|(known, _)| known != bind);
                // Where it was served at another one, the port itself is somebody else's.
                if port.served_at == bind.port() {
                    self.given_up.push((*bind, Instant::now()));
                }
            }
        }
        self.ports.retain(|bind| !gone.contains(bind))
    }

    /// Gives a listener its port. Where it is served.
    fn set_port(
        &mut self,
        listener: &Arc<Listener>,
        workers: usize,
        changed: &mut bool,
    ) -> Outcome {
        let bind = listener.bind;
        let old = self.ports.get(&bind).cloned();
        if let Some(old) = &old
            && old.listener == *listener
        {
            return Ok(SocketAddr::new(bind.ip(), old.served_at));
        }
        let (sockets, served_at) = match &old {
            Some(old) => (Arc::clone(&old.sockets), old.served_at),
            None => self.open(bind, workers)?,
        };
        let target = self.target(listener, old.as_deref());
        let stats = Arc::clone(&self.stats[&listener.id]);
        let log = Place::of(listener, old.as_ref().and_then(|old| old.log.as_ref()));
        let (listener, clients) = (Arc::clone(listener), Clients::of(&listener.settings));
        self.ports.set(&bind, Port { sockets, served_at, listener, clients, target, stats, log });
        *changed = true;
        Ok(SocketAddr::new(bind.ip(), served_at))
    }

    /// Where a listener sends sessions; goes on with the turns where the weights did not change.
    fn target(&mut self, listener: &Listener, old: Option<&Port>) -> Option<Target> {
        let (_, target) = listener.targets().next()?;
        let old = old.and_then(|old| old.target.as_ref());
        let forward = Arc::new(Forward::new(target, &mut self.endpoints));
        let rotation = match old {
            Some(old) if forward.same_weights(&old.forward) => Arc::clone(&old.rotation),
            _ => Arc::new(Mutex::new(Rotation::new(&forward))),
        };
        let endpoints = forward.shares.iter().flat_map(|share| &share.endpoints);
        let endpoints = Arc::new(endpoints.map(|upstream| upstream.address).collect());
        Some(Target { forward, rotation, endpoints })
    }

    /// Opens the sockets of a port. Those that it had before close when the last worker has gone over to
    /// the table without them, which is at once, and waited for.
    fn open(&self, bind: SocketAddr, workers: usize) -> Result<(Arc<[OwnedFd]>, u16), BindError> {
        let given_up = self.given_up.iter().find(|(given_up, _)| *given_up == bind);
        loop {
            match listener::open(bind, workers, self.may_redirect) {
                Err(BindError::InUse { .. })
                    if given_up.is_some_and(|(_, at)| at.elapsed() < LET_GO) =>
                {
                    thread::sleep(Duration::from_millis(1));
                }
                outcome => return outcome,
            }
        }
    }
}

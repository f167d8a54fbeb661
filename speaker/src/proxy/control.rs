//! From the plan's listeners to the next table: which sockets stay, which open, which close.
//!
//! Ports and listeners live apart, so that a renamed listener keeps its socket, and one that moves to
//! another port its connections.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use rustix::net::{Shutdown, shutdown};
use rustls::ServerConfig;
use vipgate_api::vipgate::Transport;
use vipgate_planner::{Certificate, Listener, ListenerId, Service, Termination, TlsRange};

use super::door::{self, Door};
use super::endpoint::EndpointState;
use super::keepalive;
use super::listener::{self, BindError};
use super::prober::Prober;
use super::shared::{self, Shared};
use super::slots::Slots;
use super::stats::ListenerStats;
use super::table::{Endpoints, Entry, Forward, Port, Protocol, Table};
use super::tls;
use crate::access_log::Place;
use crate::clients::Clients;

/// See the module.
#[derive(Debug)]
pub(super) struct Control {
    ports: Slots<SocketAddr, Port>,
    entries: Slots<ListenerId, Entry>,
    /// The listeners of the last plan, in its order, and what became of them.
    applied: Vec<Arc<Listener>>,
    outcomes: BTreeMap<ListenerId, Outcome>,
    endpoints: Endpoints,
    /// See [`Table`].
    departures: u64,
    /// Whether connections to a port may be led to a socket on another one.
    may_redirect: bool,
    /// Files that are kept for datagrams.
    kept_files: usize,
    draining: bool,
}

type Outcome = Result<SocketAddr, BindError>;

impl Control {
    /// Without listeners so far.
    pub(super) fn new(prober: Option<Prober>) -> Self {
        Self {
            ports: Slots::default(),
            entries: Slots::default(),
            applied: Vec::new(),
            outcomes: BTreeMap::new(),
            endpoints: Endpoints::new(prober),
            departures: 0,
            may_redirect: false,
            kept_files: 0,
            draining: false,
        }
    }

    /// See [`Proxy::apply`](super::Proxy::apply).
    pub(super) fn apply(
        &mut self,
        listeners: &[Arc<Listener>],
        shared: &Shared,
    ) -> BTreeMap<ListenerId, Outcome> {
        if self.draining {
            return listeners
                .iter()
                .map(|l| (l.id.clone(), Err(BindError::Draining { bind: l.bind })))
                .collect();
        }
        self.renew(listeners, shared);
        self.outcomes.clone()
    }

    /// See [`Proxy::renew`](super::Proxy::renew).
    pub(super) fn renew(&mut self, listeners: &[Arc<Listener>], shared: &Shared) -> bool {
        if self.draining {
            return false;
        }
        let listeners: Vec<_> =
            listeners.iter().filter(|l| l.transport() == Transport::Tcp).collect();
        let (stale, mut changed, mut as_before) = match self.stale(&listeners) {
            Some(stale) => (stale, false, true),
            None => {
                let changed = self.close_gone(&listeners);
                self.outcomes.clear();
                (listeners.clone(), changed, false)
            }
        };
        for listener in &stale {
            changed |= self.set_entry(listener, shared.config.workers.get());
        }
        for (bind, wanting) in by_port(&stale) {
            // Listeners that are told apart by name share the port, if they speak the same.
            let protocol = Protocol::of(&wanting[0].service);
            let (first, others) = (wanting[0], &wanting[1..]);
            let shares =
                |l: &Listener| protocol != Protocol::Tcp && Protocol::of(&l.service) == protocol;
            let (mut served, refused): (Vec<_>, Vec<_>) = others.iter().partition(|l| shares(l));
            served.insert(0, first);
            let outcome = self.set_port(bind, &served, shared, &mut changed);
            for listener in served {
                as_before &= self.outcomes.get(&listener.id).is_some_and(|old| *old == outcome);
                self.outcomes.insert(listener.id.clone(), outcome.clone());
            }
            for listener in refused {
                let error = BindError::SamePlan { bind, by: Box::new(first.id.clone()) };
                self.outcomes.insert(listener.id.clone(), Err(error));
                as_before = false;
            }
        }
        self.note_applied(&listeners);
        shared.limit.store(self.connection_limit(shared), Relaxed);
        if changed {
            self.endpoints.forget_unused();
            let forwards = self.entries.values().iter().flatten().flat_map(|entry| &entry.forwards);
            let forwards = forwards.map(|(_, forward)| forward);
            if self.endpoints.settle(forwards, Instant::now()) {
                self.departures += 1;
            }
            shared.table.publish(self.table(None));
        }
        as_before
    }

    /// Remembers what was applied; nearly all of it as the last time.
    fn note_applied(&mut self, listeners: &[&Arc<Listener>]) {
        if self.applied.len() != listeners.len() {
            self.applied = listeners.iter().copied().cloned().collect();
            return;
        }
        for (old, new) in std::iter::zip(&mut self.applied, listeners) {
            if !Arc::ptr_eq(old, new) {
                old.clone_from(new);
            }
        }
    }

    /// Where the same listeners listen in the same places as the last time, and all of them could: those
    /// with which something is new, and those that share a port with one of these. `None`: there is more
    /// to do.
    fn stale<'a>(&self, listeners: &[&'a Arc<Listener>]) -> Option<Vec<&'a Arc<Listener>>> {
        let pairs = || std::iter::zip(&self.applied, listeners.iter().copied());
        let is_other = |(old, new): &(&Arc<Listener>, &Arc<Listener>)| !Arc::ptr_eq(old, new);
        let stays = |(old, new): (&Arc<Listener>, &Arc<Listener>)| {
            (&old.id, old.bind) == (&new.id, new.bind)
        };
        let same = self.applied.len() == listeners.len()
            && pairs().filter(is_other).all(stays)
            && self.outcomes.values().all(Result::is_ok);
        let binds: BTreeSet<SocketAddr> = pairs().filter(is_other).map(|(_, l)| l.bind).collect();
        same.then(|| match binds.is_empty() {
            true => Vec::new(),
            false => listeners.iter().copied().filter(|l| binds.contains(&l.bind)).collect(),
        })
    }

    /// See [`Proxy::allow_redirects`](super::Proxy::allow_redirects).
    pub(super) fn allow_redirects(&mut self, may_redirect: bool) {
        self.may_redirect = may_redirect;
        // Where each of them listens may change with that.
        self.applied.clear();
    }

    /// See [`Proxy::keep_files`](super::Proxy::keep_files).
    pub(super) fn keep_files(&mut self, files: usize) {
        self.kept_files = files;
    }

    /// From now on nothing is applied. The table to end with: a worker that has not seen the last
    /// one yet is to accept what is queued, too.
    pub(super) fn drain(&mut self, until: Instant) -> Table {
        self.draining = true;
        self.table(Some(until))
    }

    /// Lets go of sockets and targets; the counters stay for snapshots.
    pub(super) fn release(&mut self) {
        self.ports.map(|port| Port {
            socket: None,
            served_at: port.served_at,
            protocol: port.protocol,
            asks: port.asks,
            curt: port.curt,
            door: Arc::clone(&port.door),
            listeners: Vec::new(),
            stats: Arc::clone(&port.stats),
        });
        self.entries.map(|entry| Entry {
            listener: Arc::clone(&entry.listener),
            forwards: Vec::new(),
            routes: Vec::new(),
            certificates: Vec::new(),
            stats: Arc::clone(&entry.stats),
            gate: Arc::clone(&entry.gate),
            clients: Clients::default(),
            guarded: entry.guarded,
            log: entry.log.clone(),
        });
    }

    /// The counters of each listener.
    pub(super) fn listeners(&self) -> impl Iterator<Item = (&ListenerId, &ListenerStats)> {
        self.entries.iter().map(|(id, entry)| (id, &*entry.stats))
    }

    /// The counters of each port, and whether something has to be said there before a listener is known.
    pub(super) fn ports(&self) -> impl Iterator<Item = (&SocketAddr, bool, &ListenerStats)> {
        self.ports
            .iter()
            .map(|(bind, port)| (bind, port.asks || port.door.takes_headers(), &*port.stats))
    }

    /// The endpoints that are in use.
    pub(super) fn endpoints(&self) -> impl Iterator<Item = Arc<EndpointState>> {
        self.endpoints.iter()
    }

    /// Those that checks found not to work.
    pub(super) fn unhealthy(&self) -> HashSet<SocketAddr> {
        self.endpoints.unhealthy()
    }

    fn table(&self, drain_until: Option<Instant>) -> Table {
        let (ports, entries) = (self.ports.values().to_vec(), self.entries.values().to_vec());
        Table { ports, entries, drain_until, departures: self.departures }
    }

    /// Takes away listeners and ports that nobody wants any more, and ports that connections can no
    /// longer be led to. Whether there were any.
    fn close_gone(&mut self, listeners: &[&Arc<Listener>]) -> bool {
        let ids: HashSet<&ListenerId> = listeners.iter().map(|listener| &listener.id).collect();
        let binds: HashSet<SocketAddr> = listeners.iter().map(|listener| listener.bind).collect();
        let mut gone = HashSet::new();
        for (bind, port) in self.ports.iter() {
            let reached = self.may_redirect || port.served_at == bind.port();
            if binds.contains(bind) && reached {
                continue;
            }
            gone.insert(*bind);
            if let Some(socket) = &port.socket {
                // At once, not when the last worker lets go: the port may be wanted again.
                // Fails only when it no longer listens.
                let _ = shutdown(&**socket, Shutdown::Read);
            }
        }
        let ports = self.ports.retain(|bind| !gone.contains(bind));
        self.entries.retain(|id| ids.contains(id)) || ports
    }

    /// Makes these the listeners of a port. Where it is served.
    fn set_port(
        &mut self,
        bind: SocketAddr,
        listeners: &[&Listener],
        shared: &Shared,
        changed: &mut bool,
    ) -> Outcome {
        let protocol = Protocol::of(&listeners[0].service);
        // One that is alone and has nothing to choose is forwarded at once; what speaks TLS nearly always
        // has, and is refused where it speaks something else.
        let asks = protocol == Protocol::Tls
            || listeners.len() > 1
            || listeners.iter().any(|l| has_choice(l));
        let curt = listeners.iter().any(|l| matches!(l.service, Service::Tls(..)));
        let numbers: Vec<u32> = listeners.iter().map(|l| self.entries.number(&l.id)).collect();
        let old = self.ports.get(&bind);
        let door = Door::of(bind, listeners, old.map(|old| &old.door));
        if let Some(old) = old
            && (old.protocol, old.asks, old.curt, &old.listeners)
                == (protocol, asks, curt, &numbers)
            && Arc::ptr_eq(&old.door, &door)
        {
            return Ok(SocketAddr::new(bind.ip(), old.served_at));
        }
        let open = old.and_then(|old| Some((Arc::clone(old.socket.as_ref()?), old.served_at)));
        let (socket, served_at) = match open {
            Some(open) => open,
            None => {
                let backlog = shared.config.backlog;
                let (socket, port) = listener::listen(bind, backlog, self.may_redirect)?;
                (Arc::new(socket), port)
            }
        };
        // It stays when settings change; what it accepted already keeps what it has.
        if door.keepalive != old.and_then(|old| old.door.keepalive)
            && let Err(error) = keepalive::set(socket.as_fd(), door.keepalive)
        {
            tracing::warn!(%bind, %error, "clients are asked for life signs as before");
        }
        let stats = match old {
            Some(old) if old.protocol == protocol => Arc::clone(&old.stats),
            _ => Arc::new(ListenerStats::new(shared.config.workers.get())),
        };
        let socket = Some(socket);
        let listeners = numbers;
        let port = Port { socket, served_at, protocol, asks, curt, door, listeners, stats };
        self.ports.set(&bind, port);
        *changed = true;
        Ok(SocketAddr::new(bind.ip(), served_at))
    }

    /// Puts a listener into its place. Whether that changed anything.
    fn set_entry(&mut self, listener: &Arc<Listener>, workers: usize) -> bool {
        let old = self.entries.get(&listener.id).cloned();
        if old.as_ref().is_some_and(|old| old.listener == *listener) {
            return false;
        }
        let forwards = match &old {
            Some(old) if old.listener.targets().eq(listener.targets()) => old.forwards.clone(),
            _ => listener
                .targets()
                .map(|(name, target)| {
                    (name.map(str::to_owned), Arc::new(Forward::new(target, &mut self.endpoints)))
                })
                .collect(),
        };
        let certificates = match listener.termination() {
            Some(end) => {
                let range = &listener.settings.tls;
                let same = |old: &&Arc<Entry>| {
                    old.listener.settings.tls == *range
                        && old
                            .listener
                            .termination()
                            .is_some_and(|old| old.alpn == end.alpn && old.clients == end.clients)
                };
                let known = old.as_ref().filter(same).map(|old| old.certificates.as_slice());
                configured(end, range, known.unwrap_or_default())
            }
            None => Vec::new(),
        };
        let settings = &listener.settings;
        let gate = old.as_ref().map_or_else(Arc::default, |old| Arc::clone(&old.gate));
        if old.as_ref().is_some_and(|old| old.listener.settings.rate != settings.rate) {
            gate.rate_changed();
        }
        let log = Place::of(listener, old.as_ref().and_then(|old| old.log.as_ref()));
        let (clients, guarded) = (Clients::of(settings), door::guards(settings));
        let stats =
            old.map_or_else(|| Arc::new(ListenerStats::new(workers)), |old| Arc::clone(&old.stats));
        let routes = listener.targets().map(|(_, target)| stats.route(&target.route)).collect();
        let listener = Arc::clone(listener);
        let entry =
            Entry { listener, forwards, routes, certificates, stats, gate, clients, guarded, log };
        let id = entry.listener.id.clone();
        self.entries.set(&id, entry);
        true
    }

    /// How many connections the process has files for: two each, after listening sockets, what
    /// each worker needs, and the reserve.
    fn connection_limit(&self, shared: &Shared) -> usize {
        let config = &shared.config;
        let workers = 2 * config.workers.get() + 2 * shared.most_pipes;
        let kept = config.reserved_files + self.kept_files;
        let others = kept + self.ports.iter().count() + workers;
        (shared::files().saturating_sub(others) / 2).max(1)
    }
}

/// The listeners of each address and port, in the order of the plan.
fn by_port<'a>(listeners: &[&'a Arc<Listener>]) -> BTreeMap<SocketAddr, Vec<&'a Listener>> {
    let mut ports: BTreeMap<SocketAddr, Vec<&Listener>> = BTreeMap::new();
    for listener in listeners {
        ports.entry(listener.bind).or_default().push(listener);
    }
    ports
}

/// Whether the name that a client says matters to a listener that is alone on its port.
fn has_choice(listener: &Listener) -> bool {
    let by_name = listener.by_name();
    by_name.is_some_and(|by_name| {
        by_name.hostname.is_some() || by_name.targets.iter().any(|(name, _)| name.is_some())
    })
}

/// Certificates with what a handshake needs. One that stays, among terms that stay, keeps it, and with it
/// the keys of its session tickets.
fn configured(
    end: &Termination,
    range: &TlsRange,
    known: &[(Arc<Certificate>, Arc<ServerConfig>)],
) -> Vec<(Arc<Certificate>, Arc<ServerConfig>)> {
    let config = |certificate: &Arc<Certificate>| {
        if let Some(known) = known.iter().find(|(known, _)| known == certificate) {
            return Some(known.clone());
        }
        match tls::config(certificate, end, range) {
            Ok(config) => Some((Arc::clone(certificate), config)),
            Err(error) => {
                tracing::error!(secret = %certificate.secret, error, "a certificate cannot be used, \
                    or not with what the listener asks for");
                None
            }
        }
    };
    end.certificates.iter().filter_map(config).collect()
}

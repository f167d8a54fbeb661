//! From the plan's listeners to the next table: which sockets stay, which open, which close.
//!
//! Owns the listening sockets, by address and port, and the slots, by listener. Both live apart,
//! so that a renamed listener keeps its socket, and one that moves to another port its connections.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use rustix::net::{Shutdown, shutdown};
use rustix::process::{Resource, getrlimit};
use rustls::ServerConfig;
use vipgate_planner::{Certificate, Listener, ListenerId, Service, Target};

use super::listener::{self, BindError};
use super::shared::Shared;
use super::stats::{EndpointStats, ListenerStats};
use super::table::{Endpoints, Entry, Forward, Table, ToldBy};
use super::tls;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Control {
    sockets: HashMap<SocketAddr, Arc<OwnedFd>>,
    slots: BTreeMap<ListenerId, usize>,
    /// By slot, as in the last table.
    entries: Vec<Option<Arc<Entry>>>,
    /// Slots without a listener.
    free: Vec<usize>,
    endpoints: Endpoints,
    draining: bool,
}

type Outcome = Result<SocketAddr, BindError>;

impl Control {
    /// See [`Proxy::apply`](super::Proxy::apply).
    pub(super) fn apply(
        &mut self,
        listeners: &[Listener],
        shared: &Shared,
    ) -> BTreeMap<ListenerId, Outcome> {
        if self.draining {
            return listeners
                .iter()
                .map(|l| (l.id.clone(), Err(BindError::Draining { bind: l.bind })))
                .collect();
        }
        let mut changed = self.close_gone(listeners);
        let mut bound: HashMap<SocketAddr, &Listener> = HashMap::new();
        let mut outcomes = BTreeMap::new();
        let ports = self.ports(listeners);
        for listener in listeners {
            let bind = listener.bind;
            let outcome = match bound.get(&bind) {
                // Named listeners share the port: the first of them accepts for all.
                Some(by) if told_by(by) != ToldBy::Nothing && told_by(by) == told_by(listener) => {
                    Ok(None)
                }
                Some(by) => Err(BindError::SamePlan { bind, by: Box::new(by.id.clone()) }),
                None => self.socket(bind, shared.config.backlog).map(Some),
            };
            if outcome.is_ok() {
                bound.entry(bind).or_insert(listener);
            }
            let (socket, outcome) = match outcome {
                Ok(socket) => (socket, Ok(bind)),
                Err(error) => (None, Err(error)),
            };
            let port = ports.get(&bind).cloned().unwrap_or_default();
            changed |= self.set_entry(listener, socket, port, shared.config.workers.get());
            outcomes.insert(listener.id.clone(), outcome);
        }
        if changed {
            self.endpoints.forget_unused();
            shared.limit.store(self.connection_limit(shared), Relaxed);
            shared.publish(Table { entries: self.entries.clone(), drain_until: None });
        }
        outcomes
    }

    /// From now on nothing is applied. The table to end with: a worker that has not seen the last
    /// one yet is to accept what is queued, too.
    pub(super) fn drain(&mut self, until: Instant) -> Table {
        self.draining = true;
        Table { entries: self.entries.clone(), drain_until: Some(until) }
    }

    /// Lets go of sockets and targets; the counters stay for snapshots.
    pub(super) fn release(&mut self) {
        self.sockets.clear();
        for entry in self.entries.iter_mut().flatten() {
            *entry = Arc::new(Entry {
                listener: entry.listener.clone(),
                socket: None,
                forwards: Vec::new(),
                certificates: Vec::new(),
                told_by: entry.told_by,
                port: Vec::new(),
                stats: Arc::clone(&entry.stats),
            });
        }
    }

    /// The counters of each listener.
    pub(super) fn stats(&self) -> impl Iterator<Item = (&ListenerId, &Arc<ListenerStats>)> {
        self.slots.iter().filter_map(|(id, slot)| Some((id, &self.entries[*slot].as_ref()?.stats)))
    }

    /// The counters of each endpoint that is in use.
    pub(super) fn endpoints(&self) -> impl Iterator<Item = (SocketAddr, Arc<EndpointStats>)> {
        self.endpoints.iter()
    }

    /// Takes away listeners and sockets that nobody wants any more. Whether there were any.
    fn close_gone(&mut self, listeners: &[Listener]) -> bool {
        let ids: HashSet<&ListenerId> = listeners.iter().map(|listener| &listener.id).collect();
        let binds: HashSet<SocketAddr> = listeners.iter().map(|listener| listener.bind).collect();
        let before = self.slots.len();
        self.slots.retain(|id, slot| {
            let keep = ids.contains(id);
            if !keep {
                self.entries[*slot] = None;
                self.free.push(*slot);
            }
            keep
        });
        self.sockets.retain(|bind, socket| {
            let keep = binds.contains(bind);
            if !keep {
                // At once, not when the last worker lets go: the port may be wanted again.
                // Fails only when it no longer listens.
                let _ = shutdown(&**socket, Shutdown::Read);
            }
            keep
        });
        self.slots.len() != before
    }

    /// The socket for an address and port: the one that is there, or a new one.
    fn socket(&mut self, bind: SocketAddr, backlog: i32) -> Result<Arc<OwnedFd>, BindError> {
        if let Some(socket) = self.sockets.get(&bind) {
            return Ok(Arc::clone(socket));
        }
        let socket = Arc::new(listener::listen(bind, backlog)?);
        self.sockets.insert(bind, Arc::clone(&socket));
        Ok(socket)
    }

    /// Puts a listener into its slot. Whether that changed anything.
    fn set_entry(
        &mut self,
        listener: &Listener,
        socket: Option<Arc<OwnedFd>>,
        port: Vec<u32>,
        workers: usize,
    ) -> bool {
        let slot = self.slot(&listener.id);
        let old = self.entries[slot].as_ref();
        if let Some(old) = old
            && old.listener == *listener
            && old.port == port
            && old.socket.as_ref().map(Arc::as_ptr) == socket.as_ref().map(Arc::as_ptr)
        {
            return false;
        }
        let before = old.map(|old| &old.listener.service);
        let forwards = match old {
            Some(old) if targets(&old.listener.service) == targets(&listener.service) => {
                old.forwards.clone()
            }
            _ => targets(&listener.service)
                .into_iter()
                .map(|(name, target)| {
                    (name.map(str::to_owned), Arc::new(Forward::new(target, &mut self.endpoints)))
                })
                .collect(),
        };
        let certificates = match (&listener.service, before) {
            (Service::Https(_, new), Some(Service::Https(_, known))) if new == known => {
                old.map(|old| old.certificates.clone()).unwrap_or_default()
            }
            (Service::Https(_, new), _) => configured(new),
            _ => Vec::new(),
        };
        let stats =
            old.map_or_else(|| Arc::new(ListenerStats::new(workers)), |old| Arc::clone(&old.stats));
        let entry = Entry {
            listener: listener.clone(),
            socket,
            forwards,
            certificates,
            told_by: told_by_port(listener, &port),
            port,
            stats,
        };
        self.entries[slot] = Some(Arc::new(entry));
        true
    }

    /// The slots of the named listeners of each port.
    fn ports(&mut self, listeners: &[Listener]) -> HashMap<SocketAddr, Vec<u32>> {
        let mut ports: HashMap<SocketAddr, Vec<u32>> = HashMap::new();
        for listener in listeners.iter().filter(|l| told_by(l) != ToldBy::Nothing) {
            let slot = self.slot(&listener.id);
            let slot = u32::try_from(slot).expect("a process has fewer than 2^32 listeners");
            ports.entry(listener.bind).or_default().push(slot);
        }
        ports
    }

    /// The slot of a listener; a free one if it is new.
    fn slot(&mut self, id: &ListenerId) -> usize {
        if let Some(slot) = self.slots.get(id) {
            return *slot;
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            self.entries.len() - 1
        });
        self.slots.insert(id.clone(), slot);
        slot
    }

    /// How many connections the process has files for: two each, after listening sockets, what
    /// each worker needs, and the reserve.
    fn connection_limit(&self, shared: &Shared) -> usize {
        let Some(files) = getrlimit(Resource::Nofile).current else { return usize::MAX };
        let config = &shared.config;
        let others = config.reserved_files + self.sockets.len() + 2 * config.workers.get();
        (usize::try_from(files).unwrap_or(usize::MAX).saturating_sub(others) / 2).max(1)
    }
}

fn told_by(listener: &Listener) -> ToldBy {
    match listener.service {
        Service::Tcp(_) => ToldBy::Nothing,
        Service::Http(_) => ToldBy::Host,
        Service::Https(..) => ToldBy::ServerName,
    }
}

/// An HTTP listener that is alone on its port and has nothing to choose is forwarded at once.
fn told_by_port(listener: &Listener, port: &[u32]) -> ToldBy {
    match &listener.service {
        Service::Http(by_name)
            if port.len() == 1
                && by_name.hostname.is_none()
                && by_name.targets.iter().all(|(name, _)| name.is_none()) =>
        {
            ToldBy::Nothing
        }
        _ => told_by(listener),
    }
}

fn targets(service: &Service) -> Vec<(Option<&str>, &Arc<Target>)> {
    match service {
        Service::Tcp(target) => target.iter().map(|target| (None, target)).collect(),
        Service::Http(by_name) | Service::Https(by_name, _) => {
            by_name.targets.iter().map(|(name, target)| (name.as_deref(), target)).collect()
        }
    }
}

fn configured(certificates: &[Arc<Certificate>]) -> Vec<(Arc<Certificate>, Arc<ServerConfig>)> {
    let config = |certificate: &Arc<Certificate>| match tls::config(certificate) {
        Ok(config) => Some((Arc::clone(certificate), config)),
        Err(error) => {
            tracing::error!(secret = %certificate.secret, error, "a certificate cannot be used");
            None
        }
    };
    certificates.iter().filter_map(config).collect()
}

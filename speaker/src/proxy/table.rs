//! The table that the workers forward by: built by `apply`, read by every worker, never edited.
//!
//! A new table shares with the one before it every entry that did not change, so a worker finds the
//! differences by comparing pointers, and keeps what it has for the rest.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Weak};
use std::time::Instant;

use rustls::ServerConfig;
use vipgate_api::ObjectRef;
use vipgate_planner::{Certificate, Listener, Target};

use super::stats::{EndpointStats, ListenerStats};

/// What all workers do.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// By slot: a listener keeps its slot for as long as its id is in the plan.
    pub(super) entries: Vec<Option<Arc<Entry>>>,
    /// Set when the engine ends: accept what is queued, then no more; what is open then is reset.
    pub(super) drain_until: Option<Instant>,
}

/// One listener.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) listener: Listener,
    /// None while the bind fails, and where another listener of the same port accepts.
    pub(super) socket: Option<Arc<OwnedFd>>,
    /// Where connections go, by the name that they ask for.
    pub(super) forwards: Vec<(Option<String>, Arc<Forward>)>,
    /// Certificates, with what a handshake needs.
    pub(super) certificates: Vec<(Arc<Certificate>, Arc<ServerConfig>)>,
    /// How a connection says which listener of the port it means.
    pub(super) told_by: ToldBy,
    /// Slots of all listeners of the port, where there may be several.
    pub(super) port: Vec<u32>,
    pub(super) stats: Arc<ListenerStats>,
}

/// What has to be heard of a client before it can be forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ToldBy {
    /// Nothing.
    Nothing,
    /// The Host of the first request.
    Host,
    /// The server name of a TLS handshake.
    ServerName,
}

impl Entry {
    /// Whether connections of this route go on.
    pub(super) fn keeps(&self, route: &ObjectRef) -> bool {
        self.listener.attached.contains(route)
            || self.listener.target().is_some_and(|target| target.route == *route)
    }
}

/// A target with what connecting needs at hand.
#[derive(Debug)]
pub(super) struct Forward {
    /// Shared on its own: an open connection keeps its route's name, not all its endpoints.
    pub(super) route: Arc<ObjectRef>,
    pub(super) shares: Vec<Share>,
}

/// A backendRef.
#[derive(Debug)]
pub(super) struct Share {
    pub(super) weight: u32,
    pub(super) endpoints: Vec<Upstream>,
}

/// An endpoint of a backendRef.
#[derive(Debug)]
pub(super) struct Upstream {
    pub(super) address: SocketAddr,
    pub(super) stats: Arc<EndpointStats>,
}

impl Forward {
    /// Prepares a target.
    pub(super) fn new(target: &Target, endpoints: &mut Endpoints) -> Self {
        let shares = target
            .shares
            .iter()
            .map(|share| Share {
                weight: share.weight,
                endpoints: share
                    .endpoints
                    .iter()
                    .map(|endpoint| Upstream {
                        address: endpoint.0,
                        stats: endpoints.stats(endpoint.0),
                    })
                    .collect(),
            })
            .collect();
        Self { route: Arc::new(target.route.clone()), shares }
    }

    /// Whether a pick over this one may go on where a pick over `other` stopped.
    pub(super) fn same_weights(&self, other: &Self) -> bool {
        self.route == other.route
            && self.shares.iter().map(|s| s.weight).eq(other.shares.iter().map(|s| s.weight))
    }
}

/// The counters of every endpoint that some target has, one per address.
#[derive(Debug, Default)]
pub(super) struct Endpoints {
    known: HashMap<SocketAddr, Weak<EndpointStats>>,
}

impl Endpoints {
    fn stats(&mut self, address: SocketAddr) -> Arc<EndpointStats> {
        let known = self.known.entry(address).or_default();
        known.upgrade().unwrap_or_else(|| {
            let stats = Arc::new(EndpointStats::default());
            *known = Arc::downgrade(&stats);
            stats
        })
    }

    /// Forgets endpoints that no target has any more.
    pub(super) fn forget_unused(&mut self) {
        self.known.retain(|_, stats| stats.strong_count() > 0);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (SocketAddr, Arc<EndpointStats>)> {
        self.known.iter().filter_map(|(address, stats)| Some((*address, stats.upgrade()?)))
    }
}

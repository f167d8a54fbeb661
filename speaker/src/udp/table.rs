//! The table that the workers forward by: built by `apply`, read by every worker, never edited.
//!
//! A new table shares with the one before it every port that did not change, so a worker finds the
//! differences by comparing pointers.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use vipgate_api::ObjectRef;
use vipgate_planner::Listener;

use super::rotation::Rotation;
use super::stats::ListenerStats;
use crate::access_log::Place;
use crate::clients::Clients;
use crate::proxy::table::Forward;

/// What all workers do.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// By number: a port keeps its own for as long as some listener wants it.
    pub(super) ports: Vec<Option<Arc<Port>>>,
    /// Where clients find the ports.
    pub(super) binds: HashSet<SocketAddr>,
    /// Set when the engine ends: no session begins any more, and those that are left end then.
    pub(super) drain_until: Option<Instant>,
}

/// An address and port where datagrams come in, for one listener.
#[derive(Debug)]
pub(super) struct Port {
    /// One for each worker: the kernel spreads flows over them, always in the same way. None once the
    /// engine has ended.
    pub(super) sockets: Arc<[OwnedFd]>,
    /// The port that the sockets have: another than clients use where somebody else has that.
    pub(super) served_at: u16,
    pub(super) listener: Arc<Listener>,
    pub(super) clients: Clients,
    pub(super) target: Option<Target>,
    pub(super) stats: Arc<ListenerStats>,
    /// Where its sessions are logged, if they are.
    pub(super) log: Option<Arc<Place>>,
}

/// Where sessions go.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) forward: Arc<Forward>,
    pub(super) rotation: Arc<Mutex<Rotation>>,
    /// All of them, whatever their weight.
    pub(super) endpoints: Arc<HashSet<SocketAddr>>,
}

impl Port {
    /// Whether sessions of this route go on.
    pub(super) fn keeps(&self, route: &ObjectRef) -> bool {
        self.listener.attached.contains(route) || self.listener.serves(route)
    }

    /// Whether an endpoint is one of those that sessions go to.
    pub(super) fn lists(&self, endpoint: SocketAddr) -> bool {
        self.target.as_ref().is_some_and(|target| target.endpoints.contains(&endpoint))
    }

    /// Whether a session of `old` may have no place here.
    pub(super) fn is_narrower(&self, old: &Self) -> bool {
        !Arc::ptr_eq(&self.stats, &old.stats)
            || old.listener.attached.iter().any(|route| !self.keeps(route))
            || old.listener.targets().any(|(_, target)| !self.keeps(&target.route))
    }
}

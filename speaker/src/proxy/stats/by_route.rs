//! What a listener counts by route.
//!
//! A connection counts in one place: on its route once it has one, on the listener itself before. What a
//! listener counted is therefore the sum of its own counters, of those of its routes, and of what was
//! counted on routes that are gone; so it only grows, whatever becomes of routes. A route is gone when
//! neither a table nor a connection has it any more.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};

use vipgate_api::ObjectRef;

use super::{ListenerCounters, Shard, Shards};

/// A route of one listener, with what its connections counted there.
#[derive(Debug)]
pub(in crate::proxy) struct RouteStats {
    pub(in crate::proxy) route: ObjectRef,
    shards: Shards,
}

impl RouteStats {
    fn new(route: ObjectRef, workers: usize) -> Self {
        Self { route, shards: Shards::new(workers) }
    }

    pub(in crate::proxy) fn shard(&self, worker: usize) -> &Shard {
        self.shards.shard(worker)
    }

    fn snapshot(&self) -> ListenerCounters {
        let mut counted = self.shards.sum();
        let joined = self.shards.0.iter().map(|shard| shard.joined.load(Relaxed));
        counted.accepted += joined.sum::<u64>();
        counted
    }
}

/// The routes of a listener. Locked by `apply` and by snapshots, never while forwarding.
#[derive(Debug, Default)]
pub(super) struct Routes(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    routes: BTreeMap<ObjectRef, Arc<RouteStats>>,
    /// What was counted on routes that are gone, without those that the listener itself counted.
    gone: ListenerCounters,
}

impl Routes {
    /// The counters of a route: those that are there, if it is not gone.
    pub(super) fn stats(&self, route: &ObjectRef, workers: usize) -> Arc<RouteStats> {
        self.with(|known| {
            let stats = known.routes.get(route).cloned().unwrap_or_else(|| {
                let stats = Arc::new(RouteStats::new(route.clone(), workers));
                known.routes.insert(route.clone(), Arc::clone(&stats));
                stats
            });
            known.fold();
            stats
        })
    }

    /// What was counted on each route, and on all that there ever were.
    pub(super) fn snapshot(&self) -> (BTreeMap<ObjectRef, ListenerCounters>, ListenerCounters) {
        self.with(|known| {
            known.fold();
            let mut all = known.gone.clone();
            let mut each = BTreeMap::new();
            for (route, stats) in &known.routes {
                all.add(&stats.shards.sum());
                each.insert(route.clone(), stats.snapshot());
            }
            (each, all)
        })
    }

    /// A lock whose holder panicked is used on: counters are right or a moment old, never half-made.
    fn with<T>(&self, action: impl FnOnce(&mut Known) -> T) -> T {
        action(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Known {
    /// Lets go of routes that nobody else has. New holders come by this lock alone, so nobody counts
    /// on them any more.
    fn fold(&mut self) {
        let gone = &mut self.gone;
        self.routes.retain(|_, stats| match Arc::get_mut(stats) {
            Some(last) => {
                gone.add(&last.shards.sum());
                false
            }
            None => true,
        });
    }
}

#[cfg(test)]
mod tests {
    use vipgate_api::{Kind, ObjectKey};

    use super::super::{ListenerStats, ResetReason};
    use super::*;

    fn route(name: &str) -> ObjectRef {
        ObjectRef::new(Kind::TcpRoute, ObjectKey::new("default", name))
    }

    /// Connections that were accepted for a route, and others that found theirs later.
    #[test]
    fn a_connection_counts_once_for_the_listener_whenever_its_route_was_known() {
        let listener = ListenerStats::new(2);
        let stats = listener.route(&route("r"));
        stats.shard(0).accepted.fetch_add(3, Relaxed);
        listener.shard(1).accepted.fetch_add(2, Relaxed);
        stats.shard(1).joined.fetch_add(1, Relaxed);
        let (routes, all) = listener.snapshot();
        assert_eq!((routes[&route("r")].accepted, all.accepted), (4, 5));
    }

    #[test]
    fn the_listener_keeps_what_a_route_that_is_gone_counted() {
        let listener = ListenerStats::new(1);
        let (table, connection) = (listener.route(&route("r")), listener.route(&route("r")));
        table.shard(0).bytes_in.fetch_add(10, Relaxed);
        drop(table);
        // It has left the listener, and a connection goes on.
        let _other = listener.route(&route("other"));
        connection.shard(0).bytes_in.fetch_add(5, Relaxed);
        connection.shard(0).reset(ResetReason::ByClient);
        connection.shard(0).joined.fetch_add(1, Relaxed);
        let (routes, all) = listener.snapshot();
        assert_eq!((routes[&route("r")].bytes_in, all.bytes_in), (15, 15));
        assert_eq!(routes.len(), 2);
        drop(connection);
        let (routes, gone) = listener.snapshot();
        assert_eq!(routes.into_keys().collect::<Vec<_>>(), [route("other")]);
        assert_eq!(gone, all);
        // Back again, it is a new one; the listener goes on.
        listener.route(&route("r")).shard(0).bytes_in.fetch_add(1, Relaxed);
        assert_eq!(listener.snapshot().1.bytes_in, 16);
    }

    /// However often the configuration changes.
    #[test]
    fn routes_that_are_gone_take_no_room() {
        let listener = ListenerStats::new(1);
        for round in 0..1000 {
            listener.route(&route(&round.to_string())).shard(0).accepted.fetch_add(1, Relaxed);
        }
        assert!(listener.routes.with(|known| known.routes.len()) <= 1);
        assert_eq!(listener.snapshot().1.accepted, 1000);
    }
}

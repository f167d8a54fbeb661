//! Connections on which nothing has moved for too long.
//!
//! Forwarding notes when it last did something, in tenths of a second, and that is all it does. A
//! connection has one entry in a heap from the time that its endpoint was picked; when the entry comes to
//! the front, it is looked whether the connection was active meanwhile, and by the present settings of its
//! listener it is ended or gets its entry anew. Settings that change make all entries anew.
//!
//! Deadlines are coarse: those of an hour are whole minutes, so that a million idle connections wake their
//! worker once in a minute, and it sleeps for good where there is none. Entries of connections that are gone
//! are dropped when they are more than half of all, so short connections leave nothing behind.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use super::connection::{Connection, Ending, Place};
use super::stats::ResetReason;
use super::token::ConnectionId;
use super::worker::Worker;

/// Tenths of a second since a worker began: enough for 13 years.
pub(super) type Tick = u32;

const PER_SECOND: u32 = 10;
/// A deadline comes late by up to this part of the time-out, and by no more than a minute.
const COARSE: Tick = 64;
const COARSEST: Tick = 60 * PER_SECOND;
/// So many entries may be stale whatever the others are.
const SPARE: usize = 1024;

/// The entries of a worker's connections.
#[derive(Debug)]
pub(super) struct Idle {
    began: Instant,
    heap: BinaryHeap<Reverse<(Tick, ConnectionId)>>,
}

impl Idle {
    /// None yet; ticks begin now.
    pub(super) fn new(began: Instant) -> Self {
        Self { began, heap: BinaryHeap::new() }
    }

    /// The number of a time.
    pub(super) fn tick(&self, now: Instant) -> Tick {
        ticks(now.saturating_duration_since(self.began))
    }

    /// The time from which on a tick is over.
    fn time(&self, tick: Tick) -> Instant {
        self.began + Duration::from_millis(u64::from(tick) * (1000 / u64::from(PER_SECOND)))
    }

    /// Adds the one entry of a connection. `is_there` tells whether a connection still is; there are
    /// `open` of them.
    fn push(
        &mut self,
        at: Tick,
        id: ConnectionId,
        open: usize,
        is_there: impl Fn(ConnectionId) -> bool,
    ) {
        self.heap.push(Reverse((at, id)));
        if self.heap.len() > 2 * open + SPARE {
            self.heap.retain(|Reverse((_, id))| is_there(*id));
            self.heap.shrink_to(2 * self.heap.len());
        }
    }

    /// Takes an entry that is due.
    fn due(&mut self, now: Tick) -> Option<ConnectionId> {
        let Reverse((at, _)) = self.heap.peek()?;
        if *at > now {
            return None;
        }
        self.heap.pop().map(|Reverse((_, id))| id)
    }

    /// When the first entry is due of a connection that is there; drops others on the way.
    pub(super) fn next(&mut self, is_there: impl Fn(ConnectionId) -> bool) -> Option<Instant> {
        while let Some(Reverse((at, id))) = self.heap.peek() {
            if is_there(*id) {
                return Some(self.time(*at));
            }
            self.heap.pop();
        }
        None
    }
}

/// Whole ones of a time.
fn ticks(time: Duration) -> Tick {
    let whole = time.as_secs().saturating_mul(PER_SECOND.into());
    let rest = time.subsec_millis() / (1000 / PER_SECOND);
    Tick::try_from(whole).unwrap_or(Tick::MAX).saturating_add(rest)
}

/// The first tick by which the time-out has passed for certain: the last activity may have been at the very
/// end of its tick.
fn expires(active: Tick, timeout: Duration) -> Tick {
    let whole = ticks(timeout);
    let started = Tick::from(!timeout.subsec_nanos().is_multiple_of(1_000_000_000 / PER_SECOND));
    active.saturating_add(whole).saturating_add(started).saturating_add(1)
}

/// When to look: the same tick for many.
fn deadline(active: Tick, timeout: Duration) -> Tick {
    let step = (ticks(timeout) / COARSE).clamp(1, COARSEST);
    expires(active, timeout).checked_next_multiple_of(step).unwrap_or(Tick::MAX)
}

impl Worker {
    /// A connection's endpoint was picked: from now on it may be idle.
    pub(super) fn watch_idle(&mut self, id: ConnectionId) {
        let Some(connection) = self.connection(id) else { return };
        let timeout = self.idle_timeout(connection);
        let now = self.tick;
        if let Some(connection) = self.connections.get_mut(id.slot as usize) {
            connection.active = now;
        }
        if let Some(timeout) = timeout {
            self.look_at(deadline(now, timeout), id);
        }
    }

    /// Looks at the connections whose entries are due.
    pub(super) fn fire_idle(&mut self) {
        while let Some(id) = self.idle.due(self.tick) {
            let Some(connection) = self.connection(id) else { continue };
            // One whose listener has no time-out any more gets an entry when that changes.
            let Some(timeout) = self.idle_timeout(connection) else { continue };
            // One that is about to end does not come back.
            let Some(active) = connection.active_at(self.tick) else { continue };
            if expires(active, timeout) <= self.tick {
                self.end(id.slot as usize, Ending::Reset(ResetReason::Idle));
            } else {
                self.look_at(deadline(active, timeout), id);
            }
        }
    }

    /// Time-outs have changed: all entries are made anew.
    pub(super) fn rewatch_idle(&mut self) {
        let entries = self.connections.iter().filter_map(|(slot, connection)| {
            let timeout = self.idle_timeout(connection)?;
            let active = connection.active_at(self.tick)?;
            let id = ConnectionId::new(slot, connection.generation);
            Some(Reverse((deadline(active, timeout), id)))
        });
        self.idle.heap = entries.collect();
    }

    fn look_at(&mut self, at: Tick, id: ConnectionId) {
        let connections = &self.connections;
        let is_there = |id: ConnectionId| {
            let connection = connections.get(id.slot as usize);
            connection.is_some_and(|connection| connection.generation == id.generation)
        };
        self.idle.push(at, id, connections.len(), is_there);
    }

    /// What its listener says now.
    fn idle_timeout(&self, connection: &Connection) -> Option<Duration> {
        let Place::Listener(slot) = connection.owner.place else { return None };
        self.listeners.get(slot as usize)?.as_ref()?.entry.listener.settings.idle_timeout
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn a_deadline_is_never_early_and_late_by_little() {
        for timeout in
            [1, 100, 101, 250, 1000, 60_000, 3_600_000, 86_400_000].map(Duration::from_millis)
        {
            for active in [0, 1, 599, 600, 601, 123_456] {
                let at = deadline(active, timeout);
                let tenth = Duration::from_millis(100);
                // The last activity was in the tick; the deadline is the beginning of one.
                let passed = (at - active - 1) * tenth;
                assert!(passed >= timeout, "{timeout:?} after {active}: {passed:?}");
                let late = passed - timeout;
                let most = (timeout / 64).min(Duration::from_secs(60)) + 2 * tenth;
                assert!(late <= most, "{timeout:?} after {active}: {late:?} late");
            }
        }
        assert_eq!(deadline(5, Duration::MAX), Tick::MAX);
    }

    #[test]
    fn many_deadlines_are_few_wake_ups() {
        let mut ticks: Vec<_> = (0..36_000).map(|active| deadline(active, HOUR)).collect();
        ticks.dedup();
        assert!(ticks.len() <= 66, "{} wake-ups in an hour", ticks.len());
    }

    #[test]
    fn what_is_gone_leaves_nothing() {
        let mut idle = Idle::new(Instant::now());
        let id = |slot| ConnectionId::new(slot, 0);
        let is_there = |id: ConnectionId| id.slot < 10;
        for slot in 0..1_000_000 {
            idle.push(deadline(slot as u32, HOUR), id(slot), 10, is_there);
        }
        assert!(idle.heap.len() <= 20 + SPARE && idle.heap.capacity() < 4 * SPARE);
        let first = idle.next(is_there).unwrap();
        assert_eq!(first, idle.time(deadline(0, HOUR)));
        assert_eq!(idle.due(deadline(0, HOUR) - 1), None);
        let due: Vec<_> = std::iter::from_fn(|| idle.due(deadline(0, HOUR))).collect();
        assert!((0..10).all(|slot| due.contains(&id(slot))));
        assert!(idle.next(is_there).is_none() && idle.heap.is_empty());
    }
}

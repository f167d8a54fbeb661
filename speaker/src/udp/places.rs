//! How many sessions a listener has, in all and from each source, over all workers.
//!
//! A limit of a policy is one of the node, and the kernel spreads clients over workers as it likes: parts of
//! it would let a listener with a limit of ten refuse its seventh session. So places are counted here.
//! Whoever takes one above the limit sees to it that another session gives up its own: one of the same
//! worker, or of that with the most, which is told so ([`Claims`]). Until it has heard, which is at once,
//! there are as many too many.
//!
//! Always holds: a session has one place, for as long as it lives.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::stats::ListenerStats;

/// The places of a listener.
#[derive(Debug, Default)]
pub(super) struct Places {
    taken: AtomicU32,
    /// Of each source, how many each worker has; of sessions that count for it ([`Place::count`]).
    sources: Mutex<HashMap<IpAddr, Box<[u32]>>>,
}

impl Places {
    /// How many are taken.
    pub(super) fn taken(&self) -> u32 {
        self.taken.load(Relaxed)
    }

    /// How many are taken from a source.
    pub(super) fn of(&self, source: IpAddr) -> u32 {
        self.sources().get(&source).map_or(0, |counts| counts.iter().sum())
    }

    /// Another worker than this one that has sessions of a source; the one with the most.
    pub(super) fn holder(&self, source: IpAddr, but: usize) -> Option<usize> {
        let sources = self.sources();
        let counts = sources.get(&source)?.iter().enumerate();
        let others = counts.filter(|(worker, count)| *worker != but && **count > 0);
        others.max_by_key(|(_, count)| **count).map(|(worker, _)| worker)
    }

    fn sources(&self) -> MutexGuard<'_, HashMap<IpAddr, Box<[u32]>>> {
        // Counts are changed one at a time: a holder that panicked left none half-changed.
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One place; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    stats: Arc<ListenerStats>,
    worker: u32,
    /// The source that it counts for.
    source: Option<IpAddr>,
}

impl Place {
    /// Takes one, whether there is one or not.
    pub(super) fn take(stats: &Arc<ListenerStats>, worker: usize) -> Self {
        stats.places.taken.fetch_add(1, Relaxed);
        let worker = u32::try_from(worker).expect("a host has fewer than 2^32 processors");
        Self { stats: Arc::clone(stats), worker, source: None }
    }

    /// From now on it counts for its source.
    pub(super) fn count(&mut self, source: IpAddr) {
        if self.source.replace(source).is_none() {
            let none = || vec![0; self.stats.workers()].into_boxed_slice();
            let mut sources = self.stats.places.sources();
            sources.entry(source).or_insert_with(none)[self.worker as usize] += 1;
        }
    }

    /// The counters of its listener.
    pub(super) fn stats(&self) -> &Arc<ListenerStats> {
        &self.stats
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.stats.places.taken.fetch_sub(1, Relaxed);
        let Some(source) = self.source else { return };
        let mut sources = self.stats.places.sources();
        if let Some(counts) = sources.get_mut(&source) {
            counts[self.worker as usize] -= 1;
            if counts.iter().all(|count| *count == 0) {
                sources.remove(&source);
            }
        }
    }
}

/// A place that a worker is to give up, since another took it.
#[derive(Debug)]
pub(super) struct Claim {
    /// The port, by its number, and which listener it was.
    pub(super) port: u32,
    pub(super) stats: Arc<ListenerStats>,
    /// One of this source, if not any.
    pub(super) source: Option<IpAddr>,
}

/// What a worker is asked for. There is one for each session that others began above a limit, so there
/// are no more than they can have sessions.
#[derive(Debug, Default)]
pub(super) struct Claims(Mutex<Vec<Claim>>);

impl Claims {
    pub(super) fn add(&self, claim: Claim) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(claim);
    }

    pub(super) fn take(&self) -> Vec<Claim> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_given_back_and_sources_forgotten() {
        let stats = Arc::new(ListenerStats::new(3));
        let places = &stats.places;
        let [one, other]: [IpAddr; 2] = ["192.0.2.1", "192.0.2.2"].map(|ip| ip.parse().unwrap());
        let mut first = Place::take(&stats, 0);
        assert_eq!((places.taken(), places.of(one)), (1, 0), "it does not count yet");
        first.count(one);
        first.count(one);
        let mut held: Vec<Place> = (0..5).map(|n| Place::take(&stats, 1 + n / 3)).collect();
        held.iter_mut().for_each(|place| place.count(one));
        let mut last = Place::take(&stats, 2);
        last.count(other);
        assert_eq!((places.taken(), places.of(one), places.of(other)), (7, 6, 1));
        assert_eq!(places.holder(one, 0), Some(1));
        assert_eq!(places.holder(one, 1), Some(2));
        assert_eq!(places.holder(other, 2), None, "nobody else has one");
        drop((first, held));
        assert_eq!((places.taken(), places.of(one)), (1, 0));
        assert_eq!(places.sources().len(), 1);
        drop(last);
        assert!(places.sources().is_empty());
    }
}

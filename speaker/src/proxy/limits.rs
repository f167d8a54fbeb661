//! How many connections a listener takes: at once, at once from one source, and how fast new ones.
//!
//! Workers share it, so it is exact, and a listener keeps it for as long as it is in the plan: settings
//! change what is allowed. What was open before a bound was set does not count for it. Bounds come with each question.
//!
//! Always holds: there is no entry for a source without a connection, so memory is bounded by the
//! connections that are open; what a connection took is given back when its [`Permit`] goes, whatever way it
//! ends.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use vipgate_planner::ListenerSettings;

use super::stats::ResetReason;
use crate::clients::source_of;
use crate::rate::Meter;

/// Parts of the sources, each with a lock of its own.
const PARTS: usize = 64;
/// A part with room for more than this gives it back when most of it is unused.
const ROOMY: usize = 64;

/// Connections of each source.
type Sources = HashMap<IpAddr, u32>;

/// Which part a source is in: mixed, as neighbours are likely to come together. Nobody gains by finding
/// sources of one part; the map inside is keyed.
fn part_of(source: IpAddr) -> usize {
    let bits = match source {
        IpAddr::V4(address) => u64::from(address.to_bits()),
        IpAddr::V6(address) => (address.to_bits() >> 64) as u64,
    };
    (bits.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58) as usize
}

/// See the module.
#[derive(Debug)]
pub(super) struct Gate {
    /// Connections that count for the limit of all together.
    open: AtomicU32,
    /// Made when the first connection counts for its source.
    sources: OnceLock<Box<[Mutex<Sources>]>>,
    rate: Meter,
    /// What the rate is reckoned from.
    since: Instant,
}

impl Default for Gate {
    fn default() -> Self {
        let (open, sources, rate) = Default::default();
        Self { open, sources, rate, since: Instant::now() }
    }
}

impl Gate {
    /// Lets a connection in, or says why not. Without bounds there is nothing to be given back.
    pub(super) fn enter(
        self: &Arc<Self>,
        settings: &ListenerSettings,
        client: Option<IpAddr>,
        now: Instant,
    ) -> Result<Option<Permit>, ResetReason> {
        let mut permit = Permit { gate: Arc::clone(self), counts: false, source: None };
        // The source first: what is given back again below is then seen by nobody else's question.
        if let (Some(most), Some(client)) = (settings.connections_per_source, client) {
            let source = source_of(client);
            if !self.take_source(source, most) {
                return Err(ResetReason::TooManyFromSource);
            }
            permit.source = Some(source);
        }
        if let Some(most) = settings.connections {
            let one_more = |open| (open < most).then_some(open + 1);
            if self.open.fetch_update(Relaxed, Relaxed, one_more).is_err() {
                return Err(ResetReason::TooMany);
            }
            permit.counts = true;
        }
        // Last: who is refused for another reason has taken nothing of the rate.
        match settings.rate {
            Some(rate) if !self.rate.admit(rate, self.nanoseconds(now)) => {
                Err(ResetReason::TooFast)
            }
            _ => Ok((permit.counts || permit.source.is_some()).then_some(permit)),
        }
    }

    /// The rate is another one: what was used up of the old one says nothing.
    pub(super) fn rate_changed(&self) {
        self.rate.forget();
    }

    fn nanoseconds(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.since);
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }

    fn part(&self, source: IpAddr) -> MutexGuard<'_, Sources> {
        let parts = self.sources.get_or_init(|| (0..PARTS).map(|_| Mutex::default()).collect());
        parts[part_of(source)].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_source(&self, source: IpAddr, most: u32) -> bool {
        let mut part = self.part(source);
        // Not by `entry`, which would leave one for a source that is not let in.
        match part.get_mut(&source) {
            Some(open) if *open >= most => false,
            Some(open) => {
                *open += 1;
                true
            }
            None if most == 0 => false,
            None => {
                part.insert(source, 1);
                true
            }
        }
    }

    fn give_back_source(&self, source: IpAddr) {
        let mut part = self.part(source);
        let Some(open) = part.get_mut(&source) else { return };
        *open -= 1;
        if *open == 0 {
            part.remove(&source);
            if part.capacity() > ROOMY && part.len() < part.capacity() / 8 {
                let room = 2 * part.len();
                part.shrink_to(room);
            }
        }
    }
}

/// What a connection has taken; given back when this goes.
#[derive(Debug)]
pub(super) struct Permit {
    gate: Arc<Gate>,
    counts: bool,
    source: Option<IpAddr>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.counts {
            self.gate.open.fetch_sub(1, Relaxed);
        }
        if let Some(source) = self.source {
            self.gate.give_back_source(source);
        }
    }
}

#[cfg(test)]
mod tests;

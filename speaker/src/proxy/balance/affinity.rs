//! Session affinity: which endpoint of a backendRef a client had last.
//!
//! One for each route and backendRef that asks for it, shared by all listeners and workers, and kept when the
//! table changes. It remembers so many clients at most; when there are more, those go whose last connection
//! began longest ago, and so does whoever has not been heard for the time-out.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::hash::Client;

/// Locks, so that workers seldom wait for each other.
const SHARDS: usize = 16;
/// Clients that are remembered: 65,536 in all, of about a hundred bytes each.
const CLIENTS_PER_SHARD: usize = 4096;

/// See the module.
#[derive(Debug)]
pub(crate) struct Affinity {
    shards: Box<[Mutex<Shard>]>,
}

#[derive(Debug, Default)]
struct Shard {
    clients: HashMap<Client, Stay>,
    /// Who was heard when, the longest ago first; one that was heard again since is there a second time,
    /// and the first means nothing any more.
    order: VecDeque<(Client, u64)>,
    /// Counts what was heard.
    heard: u64,
}

#[derive(Debug)]
struct Stay {
    endpoint: SocketAddr,
    since: Instant,
    heard: u64,
}

impl Default for Affinity {
    fn default() -> Self {
        Self { shards: (0..SHARDS).map(|_| Mutex::default()).collect() }
    }
}

impl Affinity {
    /// The endpoint of a client's new connection: the one that it had, if that is less than `timeout` ago
    /// and `place` has one for it; else what `choose` says, which is its own from now on. No two
    /// connections of a client choose at once.
    pub(crate) fn endpoint(
        &self,
        client: &Client,
        now: Instant,
        timeout: Duration,
        place: impl FnOnce(SocketAddr) -> Option<usize>,
        choose: impl FnOnce() -> Option<(usize, SocketAddr)>,
    ) -> Option<usize> {
        let mut shard = self.shard(client);
        let kept = shard
            .clients
            .get(client)
            .filter(|stay| now.saturating_duration_since(stay.since) < timeout)
            .and_then(|stay| Some((place(stay.endpoint)?, stay.endpoint)));
        let (place, endpoint) = kept.or_else(choose)?;
        shard.hear(*client, endpoint, now, timeout);
        Some(place)
    }

    /// A client's connection ended up with another endpoint than was chosen.
    pub(crate) fn note(
        &self,
        client: &Client,
        endpoint: SocketAddr,
        now: Instant,
        timeout: Duration,
    ) {
        self.shard(client).hear(*client, endpoint, now, timeout);
    }

    #[allow(clippy::cast_possible_truncation, reason = "any bits will do")]
    fn shard(&self, client: &Client) -> MutexGuard<'_, Shard> {
        let shard = &self.shards[client.slot() as usize % SHARDS];
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().unwrap().clients.len()).sum()
    }
}

impl Shard {
    fn hear(&mut self, client: Client, endpoint: SocketAddr, now: Instant, timeout: Duration) {
        self.heard += 1;
        self.clients.insert(client, Stay { endpoint, since: now, heard: self.heard });
        self.order.push_back((client, self.heard));
        while let Some((first, heard)) = self.order.front() {
            if let Some(stay) = self.clients.get(first)
                && stay.heard == *heard
            {
                let old = now.saturating_duration_since(stay.since) >= timeout;
                if !old && self.clients.len() <= CLIENTS_PER_SHARD {
                    break;
                }
                self.clients.remove(first);
            }
            self.order.pop_front();
        }
        // A few that are heard all the time behind one that is not yet old.
        if self.order.len() > 2 * self.clients.len() + 64 {
            let clients = &self.clients;
            self.order.retain(|(c, heard)| clients.get(c).is_some_and(|s| s.heard == *heard));
        }
    }
}

//! Evening out what is forwarded: a worker with more to do than it gets to hands a connection to one that has long slept.
//!
//! Which worker accepts a connection is settled before anybody knows what will move on it. Clients that come within
//! the time that the other worker needs to wake are all accepted by one; and of connections that were evenly
//! spread, those of one worker may be the busy ones. So what counts is what happens: a worker with several
//! connections that wait for another turn looks whether some other one sleeps, and if it finds the same nap
//! a little later, hands over the connection that has waited for longest.
//!
//! Always holds: a connection is in one worker's hands or in one inbox; nothing gets into the inbox of a worker that
//! has ended. A worker that has no two busy connections pays two writes to a line of its own for each time it sleeps.

use std::mem;
use std::os::fd::AsFd;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::connection::{Connection, Ending};
use super::worker::Worker;

/// So long another worker has to have slept at a stretch while this one had too much. Whoever is only between two
/// packets sleeps for less.
const LONG: Duration = Duration::from_millis(2);

/// What workers know of each other.
#[derive(Debug)]
pub(super) struct Spread(Vec<Desk>);

/// A worker as the others see it; on cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Desk {
    /// Counts each time that it falls asleep and each time that it wakes: odd while it sleeps.
    naps: AtomicU32,
    /// Whether there is something in the inbox, for those who look often.
    filled: AtomicBool,
    inbox: Mutex<Inbox>,
}

/// Connections that are on their way to a worker.
#[derive(Debug, Default)]
struct Inbox {
    waiting: Vec<Connection>,
    /// The worker has ended.
    closed: bool,
}

/// A nap of a worker, which is over as soon as that wakes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Nap {
    worker: usize,
    number: u32,
}

impl Spread {
    /// Of so many workers, all awake.
    pub(super) fn new(workers: usize) -> Self {
        Self((0..workers).map(|_| Desk::default()).collect())
    }

    /// A worker falls asleep, or wakes. Only that worker may say so.
    pub(super) fn turns_over(&self, worker: usize) {
        let naps = &self.0[worker].naps;
        naps.store(naps.load(Relaxed).wrapping_add(1), Relaxed);
    }

    /// A nap of some worker other than this one, which looks first at the one behind itself.
    fn nap(&self, but: usize) -> Option<Nap> {
        let workers = self.0.len();
        let others = (1..workers).map(|step| (but + step) % workers);
        others.map(|worker| self.now(worker)).find(|nap| nap.number % 2 == 1)
    }

    /// Whether it still is the same nap.
    fn goes_on(&self, nap: Nap) -> bool {
        self.now(nap.worker) == nap
    }

    fn now(&self, worker: usize) -> Nap {
        Nap { worker, number: self.0[worker].naps.load(Relaxed) }
    }

    /// Puts a connection into a worker's inbox. Gives it back if that has ended.
    fn hand(&self, worker: usize, connection: Connection) -> Result<(), Connection> {
        let desk = &self.0[worker];
        let mut inbox = desk.inbox();
        if inbox.closed {
            return Err(connection);
        }
        inbox.waiting.push(connection);
        desk.filled.store(true, Release);
        Ok(())
    }

    /// What has come for a worker.
    fn take(&self, worker: usize) -> Vec<Connection> {
        let desk = &self.0[worker];
        if !desk.filled.load(Acquire) {
            return Vec::new();
        }
        let mut inbox = desk.inbox();
        desk.filled.store(false, Relaxed);
        mem::take(&mut inbox.waiting)
    }

    /// A worker is about to end. Whether it may: if nothing has come meanwhile, and then nothing will.
    pub(super) fn close(&self, worker: usize) -> bool {
        let mut inbox = self.0[worker].inbox();
        inbox.closed = inbox.waiting.is_empty();
        inbox.closed
    }
}

impl Desk {
    /// Whoever panicked with it had not begun to change it.
    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Worker {
    /// Hands a connection to a worker that has slept for long, if there is more to do here than for one connection.
    pub(super) fn even_out(&mut self) {
        if self.again.len() < 2 || self.table.drain_until.is_some() {
            return;
        }
        match self.napping {
            Some((nap, seen)) if self.shared.spread.goes_on(nap) => {
                if self.now.saturating_duration_since(seen) >= LONG {
                    self.napping = None;
                    self.hand_over(nap.worker);
                }
            }
            _ => {
                let nap = self.shared.spread.nap(self.index);
                self.napping = nap.map(|nap| (nap, self.now));
            }
        }
    }

    /// Hands over the connection that has waited for longest, if it is one that forwards.
    fn hand_over(&mut self, to: usize) {
        let Some(id) = self.again.front().copied() else { return };
        if !self.connection(id).is_some_and(Connection::is_open) {
            return;
        }
        self.again.pop_front();
        let mut connection = self.connections.remove(id.slot as usize);
        connection.queued = false;
        connection.unwatch(self.epoll.as_fd());
        connection.shard(to).open.fetch_add(1, Relaxed);
        connection.shard(self.index).open.fetch_sub(1, Relaxed);
        match self.shared.spread.hand(to, connection) {
            Ok(()) => self.shared.table.wake(to),
            Err(connection) => {
                connection.shard(self.index).open.fetch_add(1, Relaxed);
                connection.shard(to).open.fetch_sub(1, Relaxed);
                self.go_on_with(connection);
            }
        }
    }

    /// Goes on with what others have handed over.
    pub(super) fn take_over(&mut self) {
        for connection in self.shared.spread.take(self.index) {
            self.go_on_with(connection);
        }
    }

    fn go_on_with(&mut self, connection: Connection) {
        // What was published while it was on its way.
        let refused = self.table.refuses(&connection);
        let id = self.insert(|_| connection);
        if let Some(reason) = refused {
            return self.end(id.slot as usize, Ending::Reset(reason));
        }
        self.watch_idle(id);
        self.handle(id, Connection::go_on);
        let at = self.connections.get_mut(id.slot as usize).and_then(Connection::look_at_endpoint);
        if let Some(at) = at {
            self.timers.arm(at, id);
        }
    }
}

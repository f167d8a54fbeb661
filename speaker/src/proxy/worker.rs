//! A worker: one thread, one epoll, its buffers, its own connections.
//!
//! Workers share nothing while they forward; one that has too much hands a connection to one that sleeps
//! (`spread`). They learn of a new table by a counter that they look
//! at before every batch of events and after every accept, so a connection that a client starts
//! after `apply` returned is forwarded by the new table; an eventfd wakes those that sleep.
//!
//! Always holds: a worker with nothing to do sleeps without a time-out; a connection's turn is
//! bounded (see `pump`); a panic while one connection is handled closes that one.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventFlags};
use rustix::io::Errno;
use slab::Slab;

use super::choose::Accepting;
use super::connection::{Connection, Context, Ending, Owner, Place, Verdict};
use super::idle::{Idle, Tick};
use super::pipe::Pipes;
use super::shared::Shared;
use super::spread::Nap;
use super::stats::ResetReason;
use super::table::{Port, Table};
use super::timer::Timers;
use super::token::{ConnectionId, Token};
use super::undecided::Undecided;
use crate::access_log::Logger;

/// The shared buffer: what one read can bring.
const BUFFER: usize = 64 * 1024;
/// What such a read opens into, if it brings TLS, with the record that was begun before it.
const OPENED: usize = BUFFER + 20 * 1024;
/// Events taken from the kernel at once.
const EVENTS: usize = 256;

/// A worker's state; see the module.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) index: usize,
    pub(super) epoll: OwnedFd,
    pub(super) shared: Arc<Shared>,
    /// The adopted table, and its number.
    pub(super) table: Arc<Table>,
    pub(super) generation: u64,
    /// By their numbers in the table.
    pub(super) ports: Vec<Option<Arc<Port>>>,
    pub(super) listeners: Vec<Option<Accepting>>,
    /// Ports that wait for files or room, and until when.
    pub(super) paused: Vec<u32>,
    pub(super) resume_at: Option<Instant>,
    /// Until then no port accepts.
    pub(super) starved: bool,
    pub(super) now: Instant,
    /// The same, coarse.
    pub(super) tick: Tick,
    pub(super) connections: Slab<Connection>,
    started: u32,
    undecided: Undecided,
    /// Those that wait for another turn.
    pub(super) again: VecDeque<ConnectionId>,
    /// Another worker's nap, and when it was first seen.
    pub(super) napping: Option<(Nap, Instant)>,
    pub(super) timers: Timers,
    pub(super) idle: Idle,
    logger: Logger,
    buffer: Box<[u8]>,
    opened: Box<[u8]>,
    pipes: Pipes,
}

impl Worker {
    /// A worker that is ready to run.
    pub(super) fn new(index: usize, shared: Arc<Shared>, logger: Logger) -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        // Edge-triggered: every write to the eventfd wakes, and nobody has to read it.
        epoll::add(
            &epoll,
            shared.table.waker(index).as_fd(),
            Token::Wake.data(),
            EventFlags::IN | EventFlags::ET,
        )?;
        let pipes = Pipes::new(Arc::clone(&shared.pipes), shared.most_pipes);
        let now = Instant::now();
        Ok(Self {
            index,
            epoll,
            shared,
            table: Arc::default(),
            generation: 0,
            ports: Vec::new(),
            listeners: Vec::new(),
            paused: Vec::new(),
            resume_at: None,
            starved: false,
            now,
            tick: 0,
            connections: Slab::new(),
            started: 0,
            undecided: Undecided::default(),
            again: VecDeque::new(),
            napping: None,
            timers: Timers::default(),
            idle: Idle::new(now),
            logger,
            buffer: vec![0; BUFFER].into_boxed_slice(),
            opened: vec![0; OPENED].into_boxed_slice(),
            pipes,
        })
    }

    /// Forwards until the engine has been drained.
    pub(super) fn run(mut self) {
        let mut events: Vec<Event> = Vec::with_capacity(EVENTS);
        while self.round(&mut events) {}
    }

    /// Waits for events, obeys them, and does what there is to do besides. Whether there is another round.
    fn round(&mut self, events: &mut Vec<Event>) -> bool {
        self.adopt_table();
        self.take_over();
        if self.is_drained() {
            return false;
        }
        let timeout = self.sleep_at_most();
        events.clear();
        if let Err(error) = self.wait(events, timeout.as_ref())
            && error != Errno::INTR
        {
            tracing::error!(worker = self.index, %error, "epoll_wait failed; forwarding ends here");
            return false;
        }
        self.now = Instant::now();
        self.tick = self.idle.tick(self.now);
        self.adopt_table();
        for event in events {
            match Token::from_data(event.data) {
                Token::Wake => {}
                Token::Port(slot) => self.accept(slot),
                Token::Connection(id, side) => {
                    let flags = event.flags;
                    self.handle(id, |connection, context| connection.event(side, flags, context));
                }
            }
        }
        self.fire_timers();
        self.give_turns();
        true
    }

    /// Waits for events. Others may take what it says while it sleeps for one that has nothing to do.
    fn wait(&self, events: &mut Vec<Event>, timeout: Option<&Timespec>) -> Result<(), Errno> {
        let sleeps = self.again.is_empty();
        if sleeps {
            self.shared.spread.turns_over(self.index);
        }
        let outcome = epoll::wait(&self.epoll, spare_capacity(events), timeout);
        if sleeps {
            self.shared.spread.turns_over(self.index);
        }
        outcome.map(drop)
    }

    fn is_drained(&self) -> bool {
        let is_over = self.table.drain_until.is_some() && self.connections.is_empty();
        is_over && self.shared.spread.close(self.index)
    }

    /// None: until an event comes.
    fn sleep_at_most(&mut self) -> Option<Timespec> {
        if !self.again.is_empty() {
            return Some(Timespec { tv_sec: 0, tv_nsec: 0 });
        }
        let connections = &self.connections;
        let timer = self.timers.next(|id| {
            let connection = connections.get(id.slot as usize)?;
            (connection.generation == id.generation).then(|| connection.deadline())?
        });
        let idle = self.idle.next(|id| {
            let connection = connections.get(id.slot as usize);
            connection.is_some_and(|connection| connection.generation == id.generation)
        });
        let others = [idle, self.resume_at, self.table.drain_until];
        let at = others.into_iter().chain([timer]).flatten().min()?;
        let left = at.saturating_duration_since(Instant::now()).min(Duration::from_secs(3600));
        Some(Timespec::try_from(left).expect("an hour is a valid time-out"))
    }

    fn fire_timers(&mut self) {
        while let Some((at, id)) = self.timers.due(self.now) {
            self.handle(id, |connection, context| {
                if connection.deadline() == Some(at) {
                    connection.timer(context)
                } else {
                    Verdict::Wait
                }
            });
        }
        self.fire_idle();
        if self.resume_at.is_some_and(|at| at <= self.now) {
            self.resume_accepting();
        }
        if self.table.drain_until.is_some_and(|at| at <= self.now) {
            self.end_where(|_| Some(ResetReason::DrainDeadline));
        }
    }

    /// One turn for each connection that had more to do than its last turn allowed.
    fn give_turns(&mut self) {
        self.even_out();
        for _ in 0..self.again.len() {
            let Some(id) = self.again.pop_front() else { return };
            self.handle(id, |connection, context| {
                connection.queued = false;
                connection.turn(context)
            });
        }
    }

    /// Takes over a connection whose client has to say first what it wants. When there are too many,
    /// those go that are at it for longest.
    pub(super) fn ask(&mut self, new: impl FnOnce(u32) -> Connection) {
        let id = self.begin(new);
        let shared = &self.shared;
        // At most half of all connections, if twice as many as the limit are there.
        let room = shared.limit.load(Relaxed) / (4 * shared.config.workers.get());
        let limit = shared.config.undecided.min(room).max(1);
        let connections = &self.connections;
        let surplus = self.undecided.push(id, limit, |id| {
            let connection = connections.get(id.slot as usize);
            connection.is_some_and(|c| c.generation == id.generation && c.is_undecided())
        });
        for id in surplus {
            self.end(id.slot as usize, Ending::Reset(ResetReason::Crowded));
        }
    }

    /// Takes over a new connection.
    pub(super) fn begin(&mut self, new: impl FnOnce(u32) -> Connection) -> ConnectionId {
        let id = self.insert(new);
        self.shared.open.fetch_add(1, Relaxed);
        if let Some(connection) = self.connection(id) {
            connection.shard(self.index).open.fetch_add(1, Relaxed);
        }
        self.handle(id, Connection::start);
        id
    }

    /// Gives a connection a number here.
    pub(super) fn insert(&mut self, new: impl FnOnce(u32) -> Connection) -> ConnectionId {
        let entry = self.connections.vacant_entry();
        let id = ConnectionId::new(entry.key(), self.started);
        self.started = self.started.wrapping_add(1);
        entry.insert(new(id.generation)).generation = id.generation;
        id
    }

    /// Lets a connection do something and obeys what it says. Events of connections that ended
    /// meanwhile match none. A panic ends the connection, not the worker: what it borrowed is only
    /// that connection's own and a buffer without meaning.
    pub(super) fn handle(
        &mut self,
        id: ConnectionId,
        action: impl FnOnce(&mut Connection, &mut Context<'_>) -> Verdict,
    ) {
        let Some(connection) = self
            .connections
            .get_mut(id.slot as usize)
            .filter(|connection| connection.generation == id.generation)
        else {
            return;
        };
        let mut context = Context {
            id,
            epoll: self.epoll.as_fd(),
            buffer: &mut self.buffer,
            opened: &mut self.opened,
            pipes: &mut self.pipes,
            now: self.now,
            tick: self.tick,
            config: &self.shared.config,
            preserving: &self.shared.preserving,
            worker: self.index,
        };
        let verdict = catch_unwind(AssertUnwindSafe(|| action(connection, &mut context)))
            .unwrap_or_else(|_| {
                self.shared.stats.panics.fetch_add(1, Relaxed);
                tracing::error!(
                    worker = self.index,
                    route = connection.route.as_ref().map(|stats| stats.route.to_string()),
                    "a panic ended one connection; please report it with the backtrace above"
                );
                Verdict::End(Ending::Reset(ResetReason::Panic))
            });
        match verdict {
            Verdict::Wait => {}
            Verdict::Arm(at) => self.timers.arm(at, id),
            Verdict::Arrived => self.arrived(id),
            Verdict::Choose(name) => self.choose_for(id, name),
            Verdict::Pick(name) => self.pick_by(id, name.as_deref()),
            Verdict::Again if connection.queued => {}
            Verdict::Again => {
                connection.queued = true;
                self.again.push_back(id);
            }
            Verdict::End(ending) => self.end(id.slot as usize, ending),
        }
    }

    /// A connection, if it has not ended.
    pub(super) fn connection(&self, id: ConnectionId) -> Option<&Connection> {
        let connection = self.connections.get(id.slot as usize)?;
        (connection.generation == id.generation).then_some(connection)
    }

    /// A client said which name it means: finds the listener, and the connection counts there.
    fn choose_for(&mut self, id: ConnectionId, name: Option<String>) {
        let place = self.connections.get(id.slot as usize).map(|c| c.owner.place);
        let Some(Place::Port(port)) = place else { return };
        let (owner, terms) = self.choose(port, name.as_deref());
        let refusing = match (&owner, &terms) {
            (
                Some(Owner { place: Place::Listener(listener), .. }),
                Err(ResetReason::NoEndpoint),
            ) => self.route(*listener, name.as_deref()),
            _ => None,
        };
        if let Some(connection) = self.connections.get_mut(id.slot as usize) {
            connection.note_name(name.as_deref());
        }
        if let Some(owner) = owner
            && let Err(reason) = self.settle(id, owner)
        {
            return self.end(id.slot as usize, Ending::Reset(reason));
        }
        if let (Some(route), Some(connection)) =
            (refusing, self.connections.get_mut(id.slot as usize))
        {
            connection.set_route(route, self.index);
        }
        self.handle(id, |connection, context| connection.chosen(terms, name, context));
    }

    /// A client is ready to be connected to what its listener has for a name.
    fn pick_by(&mut self, id: ConnectionId, name: Option<&str>) {
        let place = self.connections.get(id.slot as usize).map(|c| c.owner.place);
        let Some(Place::Listener(listener)) = place else { return };
        self.pick_for(id, listener, name);
    }

    /// Connects a client to what a listener has for a name.
    pub(super) fn pick_for(&mut self, id: ConnectionId, listener: u32, name: Option<&str>) {
        let client = self.wants_client(listener).then(|| {
            let connection = self.connections.get(id.slot as usize)?;
            Some(connection.client_addresses()?.source.ip())
        });
        let (route, pick) = self.pick(listener, name, client.flatten());
        if let (Some(route), Some(connection)) = (route, self.connections.get_mut(id.slot as usize))
        {
            connection.set_route(route, self.index);
        }
        if pick.is_ok() {
            self.watch_idle(id);
        }
        self.handle(id, |connection, context| connection.picked(pick, context));
    }

    /// Endpoints left, or came back, whose connections are to end for it.
    pub(super) fn look_at_endpoints(&mut self) {
        for (slot, connection) in &mut self.connections {
            if let Some(at) = connection.look_at_endpoint() {
                self.timers.arm(at, ConnectionId::new(slot, connection.generation));
            }
        }
    }

    /// Resets the connections for which there is a reason.
    pub(super) fn end_where(&mut self, reason: impl Fn(&Connection) -> Option<ResetReason>) {
        let ending: Vec<_> = self
            .connections
            .iter()
            .filter_map(|(slot, connection)| Some((slot, reason(connection)?)))
            .collect();
        for (slot, reason) in ending {
            self.end(slot, Ending::Reset(reason));
        }
    }

    pub(super) fn end(&mut self, slot: usize, ending: Ending) {
        let mut connection = self.connections.remove(slot);
        self.shared.open.fetch_sub(1, Relaxed);
        let shard = connection.shard(self.index);
        shard.open.fetch_sub(1, Relaxed);
        match ending {
            Ending::Orderly => {}
            Ending::Reset(reason) | Ending::Refused(reason) => shard.reset(reason),
        }
        if ending == Ending::Reset(ResetReason::OutOfFiles) {
            self.starve();
        }
        if let Some(line) = connection.last_line(ending, self.now) {
            self.logger.log(line);
        }
        connection.close(ending);
    }
}

#[cfg(test)]
mod tests;

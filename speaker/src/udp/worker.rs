//! A worker: one thread, one epoll, two batches of buffers, its own sessions.
//!
//! Workers share nothing while they forward, but whose turn it is when a session begins, and how many a listener
//! has. They learn of a
//! new table by a counter that they look at before and after every read of a port, so what a client sends
//! after `apply` returned is forwarded by the new table; an eventfd wakes those that sleep.
//!
//! Always holds: a worker with nothing to do and no session sleeps without a time-out; a socket's turn is
//! one read; a panic while one session is handled ends that one.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventFlags};

use super::batch::{Batch, Offload, can_cut};
use super::room::patience_of;
use super::session::Session;
use super::sessions::{Limits, Sessions};
use super::shared::Shared;
use super::stats::EndReason;
use super::table::{Port, Table};
use super::token::Token;
use crate::access_log::Logger;

/// Events taken from the kernel at once.
const EVENTS: usize = 256;
/// How much later than it could a session may end, so that many end at once.
const LATENESS: Duration = Duration::from_secs(1);

/// A worker's state; see the module.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) index: usize,
    pub(super) epoll: OwnedFd,
    pub(super) shared: Arc<Shared>,
    pub(super) logger: Logger,
    /// The adopted table, and its number.
    pub(super) table: Arc<Table>,
    pub(super) generation: u64,
    /// By their numbers in the table.
    pub(super) ports: Vec<Option<Arc<Port>>>,
    /// What the socket of a port last said that it had to drop.
    pub(super) overruns: HashMap<u32, u32>,
    pub(super) sessions: Sessions<Session>,
    /// From clients.
    pub(super) inbound: Batch,
    /// To clients, each piece with the number of its port: what was read of all sessions that spoke at
    /// one time.
    pub(super) outbound: Batch,
    pub(super) offload: Offload,
    pub(super) now: Instant,
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
        let config = &shared.config;
        let part = |all: usize| (all / config.workers.get()).max(1);
        let all = part(config.sessions);
        // Nobody has more than a quarter, unless there is next to nothing.
        let of_a_source = part(config.sessions_per_source).min((all / 4).max(1));
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None)?;
        let offload = Offload { cuts: can_cut(socket.as_fd()), ..Offload::default() };
        Ok(Self {
            index,
            epoll,
            table: Arc::default(),
            generation: 0,
            ports: Vec::new(),
            overruns: HashMap::new(),
            sessions: Sessions::new(Limits { all, of_a_source }, patience_of(config)),
            inbound: Batch::default(),
            outbound: Batch::default(),
            offload,
            now: Instant::now(),
            shared,
            logger,
        })
    }

    /// Forwards until the engine has been drained.
    pub(super) fn run(mut self) {
        let mut events: Vec<Event> = Vec::with_capacity(EVENTS);
        loop {
            self.adopt_table();
            if self.table.drain_until.is_some() && self.sessions.is_empty() {
                return;
            }
            let timeout = self.sleep_at_most();
            events.clear();
            if let Err(error) =
                epoll::wait(&self.epoll, spare_capacity(&mut events), timeout.as_ref())
                && error != rustix::io::Errno::INTR
            {
                tracing::error!(worker = self.index, %error, "epoll_wait failed; forwarding ends here");
                return;
            }
            self.now = Instant::now();
            self.adopt_table();
            for event in &events {
                self.handle(Token::from_data(event.data));
            }
            self.contain(None, |worker| {
                worker.flush();
                worker.count_cut();
                worker.end_silent();
            });
        }
    }

    /// None: until an event comes.
    fn sleep_at_most(&self) -> Option<Timespec> {
        let lateness = LATENESS.min(self.sessions.least_patience() / 8);
        let silent = self.sessions.next_silent().map(|at| at + lateness);
        let at = [silent, self.table.drain_until].into_iter().flatten().min()?;
        let left = at.saturating_duration_since(Instant::now()).min(Duration::from_secs(3600));
        // Rounded up: the kernel counts in milliseconds, and one too early would be one more.
        let left = left + Duration::from_millis(1);
        Some(Timespec::try_from(left).expect("an hour is a valid time-out"))
    }

    fn handle(&mut self, token: Token) {
        self.contain(Some(token), |worker| match token {
            Token::Wake => worker.give_up_places(),
            Token::Port(number) => worker.receive(number),
            Token::Session(slot) => worker.relay(slot),
        });
    }

    /// A panic ends the session that it was about, not the worker; of others, what was read is lost.
    fn contain(&mut self, about: Option<Token>, work: impl FnOnce(&mut Self)) {
        if catch_unwind(AssertUnwindSafe(|| work(self))).is_ok() {
            return;
        }
        self.shared.stats.panics.fetch_add(1, Relaxed);
        tracing::error!(
            worker = self.index,
            ?about,
            "a panic ended one session at most; please report it with the backtrace above"
        );
        if let Some(Token::Session(slot)) = about {
            self.end(slot, EndReason::Panic);
        }
    }

    fn end_silent(&mut self) {
        while let Some(slot) = self.sessions.silent(self.now) {
            self.end(slot, EndReason::Idle);
        }
        if self.table.drain_until.is_some_and(|at| at <= self.now) {
            self.end_where(|_, _| Some(EndReason::DrainDeadline));
        }
    }

    fn count_cut(&mut self) {
        let cut = std::mem::take(&mut self.offload.cut);
        if cut > 0 {
            self.shared.stats.cut.fetch_add(cut, Relaxed);
        }
    }

    /// A port by its number.
    pub(super) fn port(&self, number: u32) -> Option<&Arc<Port>> {
        self.ports.get(number as usize)?.as_ref()
    }
}

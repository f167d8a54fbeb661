//! The listening side of a worker: adopting tables, accepting, pausing when there is no room.
//!
//! Every worker watches every listening socket, level-triggered and exclusive, so a connection
//! wakes one of them. The kernel wakes the one that watches longest; after accepting, a worker
//! therefore goes to the end of that line, and connections are spread evenly.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use rustix::event::epoll::{self, EventFlags};
use rustix::io::Errno;
use rustix::net::{Shutdown, SocketFlags, accept_with, shutdown};

use rustls::ServerConfig;
use vipgate_api::ObjectRef;
use vipgate_planner::Service;

use super::connect::Dial;
use super::connection::Connection;
use super::hello::{Greeting, Hello};
use super::name;
use super::pick::Picker;
use super::socket;
use super::stats::{ListenerStats, ResetReason};
use super::table::{Entry, Forward, Table, ToldBy};
use super::token::Token;
use super::worker::Worker;

/// Connections accepted per turn; the rest is for the next turn, or for another worker.
const ACCEPTS_PER_TURN: usize = 4;
/// How long to leave connections in the accept queue when there are no files or no room.
const PAUSE: Duration = Duration::from_millis(100);

/// A listener as one worker sees it.
#[derive(Debug)]
pub(super) struct Accepting {
    entry: Arc<Entry>,
    /// One for each of the entry's `forwards`.
    rotations: Vec<Rotation>,
}

/// Whose turn it is among shares, and among the endpoints inside each.
#[derive(Debug)]
struct Rotation {
    picker: Picker,
    /// Per share, counts its picks. Starts at the worker's number, so that workers do not all
    /// begin with the same endpoint.
    cursors: Box<[usize]>,
}

impl Rotation {
    fn new(forward: &Forward, worker: usize) -> Self {
        Self {
            picker: Picker::new(forward.shares.iter().map(|share| share.weight)),
            cursors: vec![worker; forward.shares.len()].into_boxed_slice(),
        }
    }
}

/// Where a connection goes: a target, one of its shares, and the endpoint in it to try first.
type Picked = (Arc<Forward>, usize, usize);

/// What a client that said a name means.
#[derive(Debug)]
pub(super) struct Choice {
    slot: u32,
    stats: Arc<ListenerStats>,
    dial: Dial,
    route: Arc<ObjectRef>,
    config: Option<Arc<ServerConfig>>,
}

impl Choice {
    /// Counters of the listener that is meant.
    pub(super) fn stats(&self) -> &ListenerStats {
        &self.stats
    }

    /// Listener, counters, way, route, and what a handshake needs.
    pub(super) fn parts(
        self,
    ) -> (u32, Arc<ListenerStats>, Dial, Arc<ObjectRef>, Option<Arc<ServerConfig>>) {
        (self.slot, self.stats, self.dial, self.route, self.config)
    }
}

impl Accepting {
    /// Takes over a new entry; goes on with the picks where the weights did not change.
    fn new(entry: Arc<Entry>, old: Option<Self>, worker: usize) -> Self {
        let (before, mut kept) = match old {
            Some(old) => (Some(old.entry), old.rotations.into_iter().map(Some).collect()),
            None => (None, Vec::new()),
        };
        let rotations = entry
            .forwards
            .iter()
            .map(|(name, forward)| {
                let known = before.as_ref().and_then(|before| {
                    let same = |(n, f): &(Option<String>, Arc<Forward>)| {
                        n == name && forward.same_weights(f)
                    };
                    before.forwards.iter().position(same)
                });
                let kept = known.and_then(|place| kept.get_mut(place)?.take());
                kept.unwrap_or_else(|| Rotation::new(forward, worker))
            })
            .collect();
        Self { entry, rotations }
    }

    /// Where the next connection goes.
    fn pick(&mut self, target: usize) -> Result<Picked, ResetReason> {
        let (Some((_, forward)), Some(rotation)) =
            (self.entry.forwards.get(target), self.rotations.get_mut(target))
        else {
            return Err(ResetReason::NoRoute);
        };
        let share = rotation.picker.pick().ok_or(ResetReason::NoEndpoint)?;
        let endpoints = forward.shares[share].endpoints.len();
        if endpoints == 0 {
            return Err(ResetReason::NoEndpoint);
        }
        let cursor = &mut rotation.cursors[share];
        *cursor = cursor.wrapping_add(1);
        Ok((Arc::clone(forward), share, cursor.wrapping_sub(1) % endpoints))
    }
}

impl Worker {
    /// Goes over to the newest table, if there is one: watches its sockets and resets the
    /// connections that it has no place for.
    pub(super) fn adopt_table(&mut self) {
        if let Some((generation, table)) = self.newer_table() {
            self.adopt(generation, table);
        }
    }

    fn newer_table(&self) -> Option<(u64, Arc<Table>)> {
        let generation = self.shared.generation();
        (generation != self.generation).then(|| (generation, self.shared.table()))
    }

    fn adopt(&mut self, generation: u64, table: Arc<Table>) {
        self.generation = generation;
        // Once draining, only the deadline can change.
        if self.table.drain_until.is_none() {
            let narrower = self.adopt_entries(&table);
            if narrower {
                self.end_where(|connection| table.refuses(connection));
            }
            if table.drain_until.is_some() {
                self.stop_accepting();
            }
        }
        self.table = table;
    }

    /// Takes over the entries that changed. Whether some connection may have lost its place.
    fn adopt_entries(&mut self, table: &Table) -> bool {
        let slots = self.listeners.len().max(table.entries.len());
        self.listeners.resize_with(slots, || None);
        let new = |slot: usize| table.entries.get(slot).and_then(Option::as_ref);
        let mut narrower = false;
        // First all that goes, then all that comes: a socket may have moved to another slot.
        let mut changed = Vec::new();
        for slot in 0..slots {
            let old = self.listeners[slot].as_ref().map(|accepting| &accepting.entry);
            let new = new(slot);
            if old.map(Arc::as_ptr) == new.map(Arc::as_ptr) {
                continue;
            }
            changed.push(slot);
            if let Some(old) = old {
                narrower |= new.is_none_or(|new| is_narrower(old, new));
                if let Some(socket) = &old.socket
                    && !new.is_some_and(|new| is_same(new.socket.as_ref(), socket))
                {
                    self.unwatch(socket);
                    self.paused.retain(|paused| *paused as usize != slot);
                }
            }
        }
        for slot in changed {
            let old = self.listeners[slot].take();
            let Some(entry) = new(slot) else { continue };
            let watched = old.as_ref().is_some_and(|old| {
                entry.socket.as_ref().is_some_and(|new| is_same(old.entry.socket.as_ref(), new))
            });
            self.listeners[slot] = Some(Accepting::new(Arc::clone(entry), old, self.index));
            if !watched {
                self.watch(slot_number(slot));
            }
        }
        narrower
    }

    /// Accepts what is queued and closes the listening sockets, for all workers: what was queued
    /// when the drain began is taken by then.
    fn stop_accepting(&mut self) {
        for slot in 0..self.listeners.len() {
            let Some(accepting) = &self.listeners[slot] else { continue };
            if let Some(socket) = accepting.entry.socket.clone() {
                // A queue's length, not more: clients may come faster than they are taken.
                for _ in 0..self.shared.config.backlog {
                    if self.shared.is_full() {
                        break;
                    }
                    match accept_one(&socket) {
                        Ok(client) => self.admit(slot_number(slot), client),
                        Err(error) if is_passing(error) => {}
                        Err(_) => break,
                    }
                }
                self.unwatch(&socket);
                // Fails only when another worker was faster.
                let _ = shutdown(&*socket, Shutdown::Read);
            }
        }
        self.listeners.clear();
        self.paused.clear();
        self.resume_at = None;
    }

    /// Handles the event of a listening socket.
    pub(super) fn accept(&mut self, slot: u32) {
        let Some(socket) = self.socket(slot) else { return };
        let mut accepted = false;
        for _ in 0..ACCEPTS_PER_TURN {
            if self.shared.is_full() || self.starved {
                return self.pause(slot, &socket);
            }
            match accept_one(&socket) {
                Ok(client) => {
                    accepted = true;
                    // When it is time to stop, this one still counts as accepted before.
                    if let Some((generation, table)) = self.newer_table()
                        && table.drain_until.is_none()
                    {
                        self.adopt(generation, table);
                    }
                    if !is_same(self.socket(slot).as_ref(), &socket) {
                        // The listener went away between the client's connect and now.
                        return socket::reset(client);
                    }
                    self.admit(slot, client);
                }
                Err(Errno::AGAIN) => break,
                Err(error) if is_passing(error) => {}
                // Shut down by `apply`; the table that says so is on its way.
                Err(Errno::INVAL) => return self.unwatch(&socket),
                // Out of files or memory, or something unheard of. Never to be tried in a loop.
                Err(error) => {
                    tracing::debug!(worker = self.index, %error, "accept failed; pausing");
                    return self.pause(slot, &socket);
                }
            }
        }
        if accepted && is_same(self.socket(slot).as_ref(), &socket) {
            self.unwatch(&socket);
            self.watch(slot);
        }
    }

    /// Starts to forward an accepted connection, or resets it.
    fn admit(&mut self, slot: u32, client: OwnedFd) {
        let Some(accepting) = self.listeners.get_mut(slot as usize).and_then(Option::as_mut) else {
            return socket::reset(client);
        };
        let stats = Arc::clone(&accepting.entry.stats);
        stats.shard(self.index).accepted.fetch_add(1, Relaxed);
        let hello = match accepting.entry.told_by {
            ToldBy::Nothing => None,
            ToldBy::Host => Some(Hello::Http),
            ToldBy::ServerName => Some(Hello::Tls(Box::default())),
        };
        if let Some(hello) = hello {
            let greeting = Greeting::new(hello, self.now);
            return self.begin(|generation| {
                Connection::greeted(client, greeting, generation, slot, stats)
            });
        }
        match accepting.pick(0) {
            Err(reason) => {
                stats.shard(self.index).reset(reason);
                socket::reset(client);
            }
            Ok((forward, share, first)) => {
                let route = Arc::clone(&forward.route);
                let dial = Dial::new(forward, share, first, self.now);
                self.begin(|generation| {
                    Connection::new(client, dial, generation, slot, stats, route)
                });
            }
        }
    }

    /// What a client means that came in by a listener and asks for a name.
    pub(super) fn choose(&mut self, by: u32, name: Option<&str>) -> Result<Choice, ResetReason> {
        let entry = |slot: u32| {
            self.listeners.get(slot as usize).and_then(Option::as_ref).map(|a| &a.entry)
        };
        let port = entry(by).ok_or(ResetReason::ListenerGone)?.port.clone();
        let listeners = port.into_iter().filter_map(|slot| Some((slot, entry(slot)?)));
        let listeners = listeners.map(|(slot, entry)| (hostname(entry), slot));
        let slot = name::best(listeners, name).ok_or(ResetReason::NoName)?;
        let accepting = self.listeners.get_mut(slot as usize).and_then(Option::as_mut);
        let accepting = accepting.ok_or(ResetReason::ListenerGone)?;
        let entry = Arc::clone(&accepting.entry);
        let config = match entry.told_by {
            ToldBy::ServerName => {
                let all = entry.certificates.iter();
                let named = all.clone().flat_map(|(certificate, config)| {
                    certificate.names.iter().map(move |name| (Some(name.as_str()), config))
                });
                let chosen = name::best(named, name).or_else(|| all.map(|(_, c)| c).next());
                Some(Arc::clone(chosen.ok_or(ResetReason::NoCertificate)?))
            }
            ToldBy::Host | ToldBy::Nothing => None,
        };
        if entry.forwards.is_empty() {
            return Err(ResetReason::NoRoute);
        }
        let targets = entry.forwards.iter().enumerate().map(|(i, (name, _))| (name.as_deref(), i));
        let target = name::best(targets, name).ok_or(ResetReason::NoName)?;
        let (forward, share, first) = accepting.pick(target)?;
        let route = Arc::clone(&forward.route);
        let dial = Dial::new(forward, share, first, self.now);
        Ok(Choice { slot, stats: Arc::clone(&entry.stats), dial, route, config })
    }

    fn socket(&self, slot: u32) -> Option<Arc<OwnedFd>> {
        self.listeners.get(slot as usize)?.as_ref()?.entry.socket.clone()
    }

    /// Watches a listener's socket; a connection that is already queued is reported at once.
    fn watch(&mut self, slot: u32) {
        let Some(socket) = self.socket(slot) else { return };
        let flags = EventFlags::IN | EventFlags::EXCLUSIVE;
        match epoll::add(&self.epoll, &*socket, Token::Listener(slot).data(), flags) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => {
                tracing::warn!(
                    worker = self.index, %error,
                    "cannot watch a listening socket; check fs.epoll.max_user_watches"
                );
                self.paused.push(slot);
                self.resume_at.get_or_insert(self.now + PAUSE);
            }
        }
    }

    fn unwatch(&self, socket: &OwnedFd) {
        // Fails only when it is not watched, as while pausing.
        let _ = epoll::delete(&self.epoll, socket);
    }

    /// Leaves a listener's connections in its queue for a moment.
    fn pause(&mut self, slot: u32, socket: &OwnedFd) {
        self.shared.stats.accept_pauses.fetch_add(1, Relaxed);
        self.unwatch(socket);
        self.paused.push(slot);
        self.resume_at.get_or_insert(self.now + PAUSE);
    }

    /// There was a file for the client, but none for the backend: no more clients for a moment.
    pub(super) fn starve(&mut self) {
        self.starved = true;
        self.resume_at.get_or_insert(self.now + PAUSE);
    }

    pub(super) fn resume_accepting(&mut self) {
        self.resume_at = None;
        self.starved = false;
        for slot in std::mem::take(&mut self.paused) {
            self.watch(slot);
        }
    }
}

impl Table {
    /// Why a connection has no place in this table.
    fn refuses(&self, connection: &Connection) -> Option<ResetReason> {
        let entry = self.entries.get(connection.listener as usize).and_then(Option::as_ref);
        match entry.filter(|entry| Arc::ptr_eq(&entry.stats, &connection.stats)) {
            None => Some(ResetReason::ListenerGone),
            // One that has not said what it wants has no route yet.
            Some(entry) if connection.route.as_ref().is_none_or(|r| entry.keeps(r)) => None,
            Some(_) => Some(ResetReason::RouteDetached),
        }
    }
}

/// Whether a connection of `old` may have no place in `new`.
fn is_narrower(old: &Entry, new: &Entry) -> bool {
    !Arc::ptr_eq(&old.stats, &new.stats)
        || old.listener.attached.iter().any(|route| !new.keeps(route))
        || old.listener.target().is_some_and(|target| !new.keeps(&target.route))
}

/// The names that a listener takes.
fn hostname(entry: &Entry) -> Option<&str> {
    match &entry.listener.service {
        Service::Tcp(_) => None,
        Service::Http(by_name) | Service::Https(by_name, _) => by_name.hostname.as_deref(),
    }
}

fn is_same(a: Option<&Arc<OwnedFd>>, b: &Arc<OwnedFd>) -> bool {
    a.is_some_and(|a| Arc::ptr_eq(a, b))
}

fn slot_number(slot: usize) -> u32 {
    u32::try_from(slot).expect("a process has fewer than 2^32 listeners")
}

fn accept_one(socket: &OwnedFd) -> Result<OwnedFd, Errno> {
    accept_with(socket, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)
}

/// Errors of accept(2) that are about the one connection, which is gone by then.
fn is_passing(error: Errno) -> bool {
    matches!(
        error,
        Errno::INTR
            | Errno::CONNABORTED
            | Errno::PROTO
            | Errno::NOPROTOOPT
            | Errno::NETDOWN
            | Errno::NETUNREACH
            | Errno::HOSTDOWN
            | Errno::HOSTUNREACH
            | Errno::OPNOTSUPP
            | Errno::NONET
            | Errno::PERM
    )
}

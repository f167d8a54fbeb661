//! The listening side of a worker: accepting, and pausing when there is no room.
//!
//! Every worker watches every listening socket, level-triggered and exclusive, so a connection
//! wakes one of them. The kernel wakes the one that watches longest; after accepting, a worker
//! therefore goes to the end of that line, and connections are spread evenly.

use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use rustix::event::epoll::{self, EventFlags};
use rustix::io::Errno;
use rustix::net::{Shutdown, SocketFlags, accept_with, acceptfrom_with, shutdown};

use super::connection::{Connection, Owner, Place, peer};
use super::slots::number;
use super::socket;
use super::table::Port;
use super::token::Token;
use super::worker::Worker;

/// Connections accepted per turn; the rest is for the next turn, or for another worker.
const ACCEPTS_PER_TURN: usize = 4;
/// How long to leave connections in the accept queue when there are no files or no room.
const PAUSE: Duration = Duration::from_millis(100);

impl Worker {
    /// Accepts what is queued and closes the listening sockets, for all workers: what was queued
    /// when the drain began is taken by then.
    pub(super) fn stop_accepting(&mut self) {
        for slot in 0..self.ports.len() {
            if let Some(socket) = self.socket(number(slot)) {
                // A queue's length, not more: clients may come faster than they are taken.
                for _ in 0..self.shared.config.backlog {
                    if self.shared.is_full() {
                        break;
                    }
                    match accept_one(&socket, self.looks(number(slot))) {
                        Ok((client, from)) => self.admit(number(slot), client, from),
                        Err(error) if is_passing(error) => {}
                        Err(_) => break,
                    }
                }
                self.unwatch(&socket);
                // Fails only when another worker was faster.
                let _ = shutdown(&*socket, Shutdown::Read);
            }
        }
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
            match accept_one(&socket, self.looks(slot)) {
                Ok((client, from)) => {
                    accepted = true;
                    // When it is time to stop, this one still counts as accepted before.
                    if let Some((generation, table)) = self.newer_table()
                        && table.drain_until.is_none()
                    {
                        self.adopt(generation, table);
                    }
                    if !self.listens(slot, &socket) {
                        // The listener went away between the client's connect and now.
                        return socket::reset(client);
                    }
                    self.admit(slot, client, from);
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
        if accepted && self.listens(slot, &socket) {
            self.unwatch(&socket);
            self.watch(slot);
        }
    }

    /// Starts to forward an accepted connection, or to ask the client what it wants; or resets it.
    fn admit(&mut self, slot: u32, client: OwnedFd, from: Option<SocketAddr>) {
        let Some(port) = self.ports.get(slot as usize).and_then(Option::as_ref) else {
            return socket::reset(client);
        };
        if port.door.guarded {
            let port = Arc::clone(port);
            return self.receive(slot, &port, client, from);
        }
        if port.asks {
            let greeting = port.greeting(self.now);
            port.stats.shard(self.index).accepted.fetch_add(1, Relaxed);
            let owner = Owner { place: Place::Port(slot), stats: Arc::clone(&port.stats) };
            return self
                .ask(|generation| Connection::greeting(client, generation, owner, greeting));
        }
        let listener = port.listeners.first().copied();
        let accepting = listener.and_then(|l| self.listeners.get(l as usize)?.as_ref());
        let (Some(listener), Some(accepting)) = (listener, accepting) else {
            return socket::reset(client);
        };
        let stats = Arc::clone(&accepting.entry.stats);
        let address = self.wants_client(listener).then(|| peer(client.as_fd())).flatten();
        let address = address.map(|address| address.ip());
        let (route, pick) = self.pick(listener, None, address);
        let shard = match &route {
            Some(route) => route.shard(self.index),
            None => stats.shard(self.index),
        };
        shard.accepted.fetch_add(1, Relaxed);
        match pick {
            Err(reason) => {
                shard.reset(reason);
                socket::reset(client);
            }
            Ok(dial) => {
                let owner = Owner { place: Place::Listener(listener), stats };
                let new = |generation| Connection::dialling(client, generation, owner, dial, route);
                let id = self.begin(new);
                self.watch_idle(id);
            }
        }
    }

    /// Whether some listener of a port has to know its clients' addresses.
    fn looks(&self, slot: u32) -> bool {
        let port = self.ports.get(slot as usize).and_then(Option::as_ref);
        port.is_some_and(|port| port.door.looks)
    }

    fn socket(&self, slot: u32) -> Option<Arc<OwnedFd>> {
        self.ports.get(slot as usize)?.as_ref()?.socket.clone()
    }

    /// Whether this is still the socket of a port.
    fn listens(&self, slot: u32, socket: &Arc<OwnedFd>) -> bool {
        let port = self.ports.get(slot as usize).and_then(Option::as_ref);
        port.is_some_and(|port| port.has(socket))
    }

    /// Watches a port's socket; a connection that is already queued is reported at once.
    pub(super) fn watch(&mut self, slot: u32) {
        let Some(socket) = self.socket(slot) else { return };
        let flags = EventFlags::IN | EventFlags::EXCLUSIVE;
        match epoll::add(&self.epoll, &*socket, Token::Port(slot).data(), flags) {
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

    pub(super) fn unwatch(&self, socket: &OwnedFd) {
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

impl Port {
    /// Whether this is its socket.
    pub(super) fn has(&self, socket: &Arc<OwnedFd>) -> bool {
        self.socket.as_ref().is_some_and(|own| Arc::ptr_eq(own, socket))
    }
}

/// A connection, with the client's address if that is asked for: here the kernel knows it also of a client
/// that has gone again.
fn accept_one(
    socket: &OwnedFd,
    with_address: bool,
) -> Result<(OwnedFd, Option<SocketAddr>), Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    if !with_address {
        return accept_with(socket, flags).map(|client| (client, None));
    }
    let (client, from) = acceptfrom_with(socket, flags)?;
    Ok((client, from.and_then(|from| from.try_into().ok())))
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

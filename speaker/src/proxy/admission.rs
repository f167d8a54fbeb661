//! From accepted to its listener: what a worker does with a new connection where settings matter.

use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::connection::{Arrival, Connection, Ending, Owner, Place, Record, peer};
use super::hello::{Greeting, Hello};
use super::socket;
use super::stats::ResetReason;
use super::table::{Entry, Port, Protocol};
use super::token::ConnectionId;
use super::worker::Worker;

impl Worker {
    /// Takes in a connection of a port where settings matter. It counts at the port until its listener is
    /// known.
    pub(super) fn receive(
        &mut self,
        slot: u32,
        port: &Port,
        client: OwnedFd,
        from: Option<SocketAddr>,
    ) {
        let (door, now) = (&port.door, self.now);
        let from = match (from, door.looks) {
            // A table came between accept and now.
            (None, true) => match peer(client.as_fd()) {
                Some(from) => Some(from),
                // It has gone again, and nobody knows who it was.
                None => return socket::reset(client),
            },
            (from, _) => from,
        };
        let header = from.is_some_and(|from| door.expects_header(from.ip()));
        port.stats.shard(self.index).accepted.fetch_add(1, Relaxed);
        let owner = Owner { place: Place::Port(slot), stats: Arc::clone(&port.stats) };
        let arrival = Arrival::new(header, now, now + door.handshake_timeout);
        let record = Record::new(from, door.log.as_ref(), now);
        let new = |generation| Connection::arriving(client, generation, owner, arrival, record);
        if header || port.asks {
            self.ask(new);
        } else {
            self.begin(new);
        }
    }

    /// A connection's client is known: asks it what it wants where that has to be known, or connects it.
    pub(super) fn arrived(&mut self, id: ConnectionId) {
        let Some(connection) = self.connection(id) else { return };
        let Place::Port(slot) = connection.owner.place else { return };
        let Some(port) = self.ports.get(slot as usize).and_then(Clone::clone) else {
            return self.end(id.slot as usize, Ending::Reset(ResetReason::ListenerGone));
        };
        if port.asks && !self.nobody_allows(&port, connection) {
            let began = self.now;
            let greeting = port.greeting(began);
            return self
                .handle(id, |connection, context| connection.begin_greeting(greeting, context));
        }
        let first = port.listeners.first().copied();
        let settled = first.and_then(|first| Some((first, self.entry(first)?.owner(first))));
        match settled.map(|(first, owner)| (first, self.settle(id, owner))) {
            Some((first, Ok(()))) => self.pick_for(id, first, None),
            Some((_, Err(reason))) => self.end(id.slot as usize, Ending::Reset(reason)),
            None => self.end(id.slot as usize, Ending::Reset(ResetReason::ListenerGone)),
        }
    }

    /// Whether a client need not be asked which listener it means, as none of them lets it in: the first
    /// one then says so.
    fn nobody_allows(&self, port: &Port, connection: &Connection) -> bool {
        let client = if port.door.looks { connection.client_address() } else { None };
        let allows = |slot: &u32| match (client, self.entry(*slot)) {
            (Some(client), Some(entry)) => entry.clients.may(client),
            _ => true,
        };
        !port.listeners.iter().any(allows)
    }

    /// A connection's listener is known: it counts there from now on, and the settings are obeyed.
    ///
    /// # Errors
    /// Why it is not let in.
    pub(super) fn settle(&mut self, id: ConnectionId, owner: Owner) -> Result<(), ResetReason> {
        let index = self.index;
        let Some(connection) = self.connections.get_mut(id.slot as usize) else { return Ok(()) };
        let (before, place) = (connection.owner.place, owner.place);
        connection.owner.stats.shard(index).open.fetch_sub(1, Relaxed);
        let shard = owner.stats.shard(index);
        shard.accepted.fetch_add(1, Relaxed);
        shard.open.fetch_add(1, Relaxed);
        connection.owner = owner;
        let inherited = match before {
            Place::Port(slot) => {
                let port = self.ports.get(slot as usize).and_then(Option::as_ref);
                port.and_then(|port| port.door.keepalive)
            }
            Place::Listener(_) => None,
        };
        let Place::Listener(slot) = place else { return Ok(()) };
        let accepting = self.listeners.get(slot as usize).and_then(Option::as_ref);
        let accepting = accepting.ok_or(ResetReason::ListenerGone)?;
        connection.settle(&accepting.entry, inherited, self.now)
    }

    /// A listener by its number.
    pub(super) fn entry(&self, slot: u32) -> Option<&Arc<Entry>> {
        Some(&self.listeners.get(slot as usize)?.as_ref()?.entry)
    }
}

impl Port {
    /// What its clients are asked, from now on.
    pub(super) fn greeting(&self, began: std::time::Instant) -> Greeting {
        let hello = match self.protocol {
            Protocol::Tls => Hello::Tls,
            Protocol::Http | Protocol::Tcp => Hello::Http,
        };
        Greeting::new(hello, self.curt, began, began + self.door.handshake_timeout)
    }
}

impl Entry {
    /// Of connections to this listener, which has the number.
    pub(super) fn owner(&self, slot: u32) -> Owner {
        Owner { place: Place::Listener(slot), stats: Arc::clone(&self.stats) }
    }
}

//! Going over to a new table: watching its sockets, and ending what has no place in it.

use std::sync::Arc;

use super::choose::Accepting;
use super::connection::{Connection, Owner, Place};
use super::slots::number;
use super::stats::ResetReason;
use super::table::{Entry, Table};
use super::worker::Worker;

impl Worker {
    /// Goes over to the newest table, if there is one: watches its sockets and resets the
    /// connections that it has no place for.
    pub(super) fn adopt_table(&mut self) {
        if let Some((generation, table)) = self.newer_table() {
            self.adopt(generation, table);
        }
    }

    pub(super) fn newer_table(&self) -> Option<(u64, Arc<Table>)> {
        self.shared.table.newer(self.generation)
    }

    pub(super) fn adopt(&mut self, generation: u64, table: Arc<Table>) {
        self.generation = generation;
        // Once draining, only the deadline can change.
        if self.table.drain_until.is_none() {
            let narrower = self.adopt_entries(&table) | self.adopt_ports(&table);
            if narrower {
                self.end_where(|connection| table.refuses(connection));
            }
            if table.departures != self.table.departures {
                self.look_at_endpoints();
            }
            if table.drain_until.is_some() {
                self.stop_accepting();
            }
        }
        self.table = table;
    }

    /// Takes over the listeners that changed. Whether some connection may have lost its place.
    fn adopt_entries(&mut self, table: &Table) -> bool {
        let (mut narrower, mut other_timeout) = (false, false);
        for (slot, new) in changes(&mut self.listeners, &table.entries, |old| &old.entry) {
            let old = self.listeners[slot].take();
            narrower |=
                old.as_ref().is_some_and(|old| new.is_none_or(|new| is_narrower(&old.entry, new)));
            let timeout = |entry: &Entry| entry.listener.settings.idle_timeout;
            other_timeout |= old
                .as_ref()
                .is_some_and(|old| new.is_some_and(|new| timeout(new) != timeout(&old.entry)));
            self.listeners[slot] = new.map(|new| Accepting::new(Arc::clone(new), old, self.index));
        }
        if other_timeout {
            self.rewatch_idle();
        }
        narrower
    }

    /// Takes over the ports that changed. Whether some connection may have lost its place.
    fn adopt_ports(&mut self, table: &Table) -> bool {
        let mut narrower = false;
        let changed = changes(&mut self.ports, &table.ports, |old| old);
        // First all that goes, then all that comes: a socket may be at another number now.
        for (slot, new) in &changed {
            let Some(old) = &self.ports[*slot] else { continue };
            narrower |= new.is_none_or(|new| !Arc::ptr_eq(&new.stats, &old.stats));
            if let Some(socket) = &old.socket
                && !new.is_some_and(|new| new.has(socket))
            {
                self.unwatch(socket);
                self.paused.retain(|paused| *paused as usize != *slot);
            }
        }
        for (slot, new) in changed {
            let old = std::mem::replace(&mut self.ports[slot], new.cloned());
            let watched = old.and_then(|old| old.socket.clone());
            if !watched.is_some_and(|socket| new.is_some_and(|new| new.has(&socket))) {
                self.watch(number(slot));
            }
        }
        narrower
    }
}

/// Where what a worker has differs from a table, and what the table has there. Makes room for it.
fn changes<'a, H, T>(
    had: &mut Vec<Option<H>>,
    table: &'a [Option<Arc<T>>],
    of: impl Fn(&H) -> &Arc<T>,
) -> Vec<(usize, Option<&'a Arc<T>>)> {
    let slots = had.len().max(table.len());
    had.resize_with(slots, || None);
    let new = |slot: usize| table.get(slot).and_then(Option::as_ref);
    had.iter()
        .enumerate()
        .filter(|(slot, had)| {
            had.as_ref().map(|had| Arc::as_ptr(of(had))) != new(*slot).map(Arc::as_ptr)
        })
        .map(|(slot, _)| (slot, new(slot)))
        .collect()
}

impl Table {
    /// Why a connection has no place in this table.
    pub(super) fn refuses(&self, connection: &Connection) -> Option<ResetReason> {
        let Owner { place, stats } = &connection.owner;
        match *place {
            Place::Port(slot) => {
                let port = self.ports.get(slot as usize).and_then(Option::as_ref);
                let stands = port.is_some_and(|port| Arc::ptr_eq(&port.stats, stats));
                (!stands).then_some(ResetReason::ListenerGone)
            }
            Place::Listener(slot) => {
                let entry = self.entries.get(slot as usize).and_then(Option::as_ref);
                match entry.filter(|entry| Arc::ptr_eq(&entry.stats, stats)) {
                    None => Some(ResetReason::ListenerGone),
                    // One that is shaking hands has no route yet; what it says in secret is for nobody
                    // else if TLS is to end elsewhere now.
                    Some(entry) if connection.route.is_none() && !entry.ends_tls() => {
                        Some(ResetReason::ListenerGone)
                    }
                    Some(entry)
                        if connection.route.as_ref().is_none_or(|r| entry.keeps(&r.route)) =>
                    {
                        None
                    }
                    Some(_) => Some(ResetReason::RouteDetached),
                }
            }
        }
    }
}

/// Whether a connection of `old` may have no place in `new`.
fn is_narrower(old: &Entry, new: &Entry) -> bool {
    !Arc::ptr_eq(&old.stats, &new.stats)
        || (old.ends_tls() && !new.ends_tls())
        || old.listener.attached.iter().any(|route| !new.keeps(route))
        || old.listener.targets().any(|(_, target)| !new.keeps(&target.route))
}

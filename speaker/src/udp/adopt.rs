//! Going over to a new table: watching its sockets, and ending what has no place in it.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::epoll::{self, EventFlags};

use super::session::Session;
use super::sessions::Flow;
use super::stats::EndReason;
use super::table::{Port, Table};
use super::token::Token;
use super::worker::Worker;
use crate::clients::source_of;

/// While the engine ends, how long a fresh session may be silent: as long as resolvers wait before they
/// ask again (resolv.conf(5), `timeout`).
const FRESH_WHILE_DRAINING: Duration = Duration::from_secs(5);

impl Worker {
    /// Goes over to the newest table, if there is one: watches its sockets and ends the sessions that
    /// it has no place for.
    pub(super) fn adopt_table(&mut self) {
        let Some((generation, table)) = self.shared.table.newer(self.generation) else { return };
        self.generation = generation;
        // Answers that were read go from the ports of the table that they were read by.
        self.flush();
        // Once draining, only the deadline can change.
        if self.table.drain_until.is_none() {
            if self.adopt_ports(&table) {
                self.end_where(|flow, session| table.refuses(flow, session));
            }
            self.adopt_terms();
            for (flow, session) in self.sessions.iter_mut() {
                let port = table.ports.get(flow.port as usize).and_then(Option::as_ref);
                session.left = !port.is_some_and(|port| port.lists(session.endpoint));
                // Those that began before there was a limit count from now on.
                let settings = port.map(|port| &port.listener.settings);
                if settings.is_some_and(|settings| settings.connections_per_source.is_some()) {
                    session.place.count(source_of(flow.client.ip()));
                }
            }
        }
        if table.drain_until.is_some() {
            self.sessions.hurry(FRESH_WHILE_DRAINING);
        }
        self.table = table;
    }

    /// Takes over the ports that changed. Whether some session may have lost its place.
    fn adopt_ports(&mut self, table: &Table) -> bool {
        let mut narrower = false;
        let count = self.ports.len().max(table.ports.len());
        self.ports.resize(count, None);
        let new = |number: usize| table.ports.get(number).and_then(Option::as_ref);
        let same = |old: Option<&Arc<Port>>, new: Option<&Arc<Port>>| {
            old.map(Arc::as_ptr) == new.map(Arc::as_ptr)
        };
        for number in 0..count {
            let (old, new) = (self.ports[number].take(), new(number));
            if same(old.as_ref(), new) {
                self.ports[number] = old;
                continue;
            }
            let stays = match (&old, new) {
                (Some(old), Some(new)) => Arc::ptr_eq(&old.sockets, &new.sockets),
                _ => false,
            };
            narrower |= old
                .as_ref()
                .is_some_and(|old| !stays || new.is_none_or(|new| new.is_narrower(old)));
            self.ports[number] = new.cloned();
            if !stays {
                if let Some(socket) = old.as_ref().and_then(|old| old.sockets.get(self.index)) {
                    // Fails only when it could not be watched.
                    let _ = epoll::delete(&self.epoll, socket);
                }
                if let Some(socket) = new.and_then(|new| new.sockets.get(self.index)) {
                    self.overruns.remove(&(number as u32));
                    self.watch_port(number as u32, socket);
                }
            }
        }
        narrower
    }

    fn watch_port(&self, number: u32, socket: &OwnedFd) {
        if let Err(error) =
            epoll::add(&self.epoll, socket, Token::Port(number).data(), EventFlags::IN)
        {
            tracing::warn!(
                worker = self.index, %error,
                "cannot watch a socket of a listener, whose datagrams stay there; check \
                 fs.epoll.max_user_watches"
            );
        }
    }

    /// Ends the sessions for which there is a reason.
    pub(super) fn end_where(&mut self, reason: impl Fn(&Flow, &Session) -> Option<EndReason>) {
        let ending: Vec<_> = self
            .sessions
            .iter()
            .filter_map(|(slot, flow, session)| Some((slot, reason(flow, session)?)))
            .collect();
        for (slot, reason) in ending {
            self.end(slot, reason);
        }
    }
}

impl Table {
    /// Why a session has no place in this table.
    fn refuses(&self, flow: &Flow, session: &Session) -> Option<EndReason> {
        let port = self.ports.get(flow.port as usize).and_then(Option::as_ref);
        let is_its_own = |port: &&Arc<Port>| {
            Arc::ptr_eq(&port.stats, session.stats()) && port.listener.bind == session.bind
        };
        match port.filter(is_its_own) {
            None => Some(EndReason::ListenerGone),
            Some(port) if port.keeps(&session.route) => None,
            Some(_) => Some(EndReason::RouteDetached),
        }
    }
}

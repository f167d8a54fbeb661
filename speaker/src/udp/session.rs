//! One client's exchange with its endpoint: how it begins, and what it is made of.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, PoisonError};

use jiff::Timestamp;
use rustix::event::epoll::{self, EventFlags};
use rustix::io::Errno;
use vipgate_api::ObjectRef;

use super::listener;
use super::places::Place;
use super::sessions::Flow;
use super::stats::{DropReason, EndReason, ListenerStats};
use super::table::Port;
use super::token::Token;
use super::worker::Worker;
use crate::access_log::{Line, Tally};
use crate::proxy::endpoint::{EndpointState, Held};

/// Endpoints that are tried, all of one share, where the host has no way to the first.
const TRIES: usize = 3;

/// What a worker keeps of a session. It holds on to no table.
#[derive(Debug)]
pub(super) struct Session {
    /// Connected to the endpoint.
    pub(super) socket: OwnedFd,
    pub(super) endpoint: SocketAddr,
    /// Where its client speaks to.
    pub(super) bind: SocketAddr,
    /// Whether it is ready for more than a question and an answer.
    pub(super) equipped: bool,
    /// What its socket last said that it had to drop.
    pub(super) overrun: u32,
    /// Whether the endpoint is one of the route's no more.
    pub(super) left: bool,
    pub(super) health: Arc<EndpointState>,
    /// Has it counted as open at its endpoint, where that decides who gets the next one.
    _held: Option<Held>,
    pub(super) route: Arc<ObjectRef>,
    /// Among the sessions of its listener.
    pub(super) place: Place,
    /// What is counted for the access log, where its listener has one.
    pub(super) tally: Option<Box<Tally>>,
}

impl Session {
    /// The counters of its listener.
    pub(super) fn stats(&self) -> &Arc<ListenerStats> {
        self.place.stats()
    }
}

impl Worker {
    /// Begins a session for a flow that has none, if there may be one.
    pub(super) fn begin(&mut self, port: &Port, flow: Flow) -> Result<u32, DropReason> {
        if self.table.drain_until.is_some() {
            return Err(DropReason::Draining);
        }
        if !port.clients.may(flow.client.ip()) {
            return Err(DropReason::NotAllowed);
        }
        let target = port.target.as_ref().ok_or(DropReason::NoRoute)?;
        if self.table.binds.contains(&flow.client) {
            return Err(DropReason::Loop);
        }
        if port.listener.settings.rate.is_some_and(|rate| !self.is_slow_enough(port, rate)) {
            return Err(DropReason::TooFast);
        }
        let forward = &target.forward;
        let client = forward.client(Some(flow.client.ip())).ok_or(DropReason::NoEndpoint)?;
        let (share, first) = {
            let mut rotation = target.rotation.lock().unwrap_or_else(PoisonError::into_inner);
            rotation.pick(forward, &client, self.now)?
        };
        let share = &forward.shares[share];
        let place = self.make_room(port, flow);
        let (mut at, mut tried) = (first, Vec::new());
        let socket = loop {
            let upstream = &share.endpoints[at];
            match self.dial(upstream.address) {
                Ok(socket) => break socket,
                Err(error) if is_exhaustion(error) => return Err(DropReason::Exhausted),
                Err(error) => upstream.failed(error),
            }
            tried.push(at);
            let next = share.next(&client, at, |place| tried.contains(&place).then_some(true));
            at = next.filter(|_| tried.len() < TRIES).ok_or(DropReason::Unreachable)?;
        };
        if at != first {
            share.moved(&client, at, self.now);
        }
        let session = Session {
            socket,
            endpoint: share.endpoints[at].address,
            bind: port.listener.bind,
            equipped: false,
            overrun: 0,
            left: false,
            health: Arc::clone(&share.endpoints[at]),
            _held: share.hold(at),
            route: Arc::clone(&forward.route),
            place,
            tally: port.log.as_ref().map(|log| Box::new(Tally::new(Arc::clone(log), self.now))),
        };
        self.watch_session(flow, session)
    }

    fn watch_session(&mut self, flow: Flow, session: Session) -> Result<u32, DropReason> {
        let shard = session.stats().shard(self.index);
        shard.sessions.fetch_add(1, Relaxed);
        shard.open.fetch_add(1, Relaxed);
        let slot = self.sessions.begin(flow, session, self.now);
        let Some((_, session)) = self.sessions.get(slot) else {
            return Err(DropReason::Exhausted);
        };
        let token = Token::Session(slot).data();
        if let Err(error) = epoll::add(&self.epoll, &session.socket, token, EventFlags::IN) {
            tracing::debug!(worker = self.index, %error, "cannot watch a session");
            self.end(slot, EndReason::Crowded);
            return Err(DropReason::Exhausted);
        }
        Ok(slot)
    }

    /// The session of a flow, unless its endpoint left and does not answer.
    pub(super) fn session_of(&mut self, flow: &Flow) -> Option<u32> {
        let slot = self.sessions.find(flow)?;
        let (_, session) = self.sessions.get(slot)?;
        if session.left && self.sessions.is_unanswered(slot, self.now, self.shared.config.deserted)
        {
            self.end(slot, EndReason::Deserted);
            return None;
        }
        Some(slot)
    }

    /// Makes a session ready for more, once it has shown that there is more. At once it would be much of
    /// the work for most of them.
    pub(super) fn equip(&mut self, slot: u32) {
        if let Some(session) = self.sessions.get_mut(slot)
            && !session.equipped
        {
            session.equipped = true;
            listener::equip(&session.socket);
        }
    }

    /// Where the host has no file or port left, a session gives its own.
    fn dial(&mut self, endpoint: SocketAddr) -> Result<OwnedFd, Errno> {
        match listener::dial(endpoint) {
            Err(error) if is_exhaustion(error) => {
                let slot = self.sessions.first_to_go().ok_or(error)?;
                self.end(slot, EndReason::Crowded);
                listener::dial(endpoint)
            }
            result => result,
        }
    }

    pub(super) fn end(&mut self, slot: u32, reason: EndReason) {
        let Some((flow, mut session)) = self.sessions.end(slot) else { return };
        session.stats().shard(self.index).ended(reason);
        let logged = session.tally.take_if(|tally| tally.place.samples());
        if let Some(tally) = logged {
            self.logger.log(Line {
                time: Timestamp::now(),
                lasted: self.now.saturating_duration_since(tally.began),
                tally: *tally,
                client: Some(flow.client),
                via: None,
                route: Some(session.route.to_string()),
                endpoint: Some(session.endpoint),
                reason: reason.name(),
            });
        }
    }
}

/// Whether an error says that this process or host, not the endpoint, has nothing left. (EAGAIN: of
/// local ports.)
fn is_exhaustion(error: Errno) -> bool {
    matches!(
        error,
        Errno::MFILE
            | Errno::NFILE
            | Errno::NOBUFS
            | Errno::NOMEM
            | Errno::AGAIN
            | Errno::ADDRINUSE
    )
}

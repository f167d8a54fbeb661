//! The task that has all sessions and sockets.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Place;
use std::future::pending;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use tokio::net::UdpSocket;
use tokio::sync::{Notify, mpsc, oneshot, watch};

use super::socket::{self, MULTIHOP, SINGLE_HOP};
use super::{BfdError, Order, Status, Target};
use crate::bfd::fsm::{Fsm, Input, Output};
use crate::bfd::wire::{Diagnostic, Packet, State};

/// A packet without authentication has 24 bytes; longer ones are dropped anyway.
const LONGEST: usize = 128;
/// Packets taken per socket before ours have their turn.
const BUDGET: usize = 32;

/// A session to begin.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) target: Target,
    pub(super) ordered: watch::Receiver<Order>,
    pub(super) answer: oneshot::Sender<Result<watch::Receiver<Status>, BfdError>>,
}

/// Where packets come in: family and port.
type Port = (bool, u16);

/// All sessions.
pub(super) struct Task {
    requests: mpsc::Receiver<Request>,
    /// An order changed, or a handle was dropped.
    noticed: Arc<Notify>,
    sockets: BTreeMap<Port, UdpSocket>,
    sessions: BTreeMap<u32, Entry>,
    /// The last discriminator given.
    last: u32,
}

struct Entry {
    target: Target,
    fsm: Fsm,
    ordered: watch::Receiver<Order>,
    applied: Order,
    status: watch::Sender<Status>,
    /// Opened when something is sent, and again after a failure.
    socket: Option<std::net::UdpSocket>,
}

enum Woken {
    Due,
    Noticed,
    Request(Option<Request>),
    Packets(Port),
}

impl Task {
    pub(super) fn new(requests: mpsc::Receiver<Request>, noticed: Arc<Notify>) -> Task {
        let (sockets, sessions) = (BTreeMap::new(), BTreeMap::new());
        // Another number after a restart, so that the peer sees another session.
        let last = seed();
        Task { requests, noticed, sockets, sessions, last }
    }

    /// Runs until [`super::Bfd`] is dropped.
    pub(super) async fn run(mut self) {
        loop {
            match self.wait().await {
                Woken::Due => self.tick(),
                Woken::Noticed => self.follow_orders(),
                Woken::Request(Some(request)) => {
                    let begun = self.begin(request.target, request.ordered);
                    // Fails if the asker has gone; the session goes at the next notice.
                    let _gone = request.answer.send(begun);
                }
                Woken::Request(None) => return self.end(),
                Woken::Packets(port) => self.receive(port),
            }
        }
    }

    async fn wait(&mut self) -> Woken {
        let next = self.sessions.values().filter_map(|entry| entry.fsm.deadline()).min();
        tokio::select! {
            biased;
            () = until(next) => Woken::Due,
            () = self.noticed.notified() => Woken::Noticed,
            request = self.requests.recv() => Woken::Request(request),
            port = readable(&self.sockets) => Woken::Packets(port),
        }
    }

    fn begin(
        &mut self,
        target: Target,
        ordered: watch::Receiver<Order>,
    ) -> Result<watch::Receiver<Status>, BfdError> {
        let taken = |entry: &Entry| entry.ordered.has_changed().is_ok() && entry.is_with(&target);
        if self.sessions.values().any(taken) {
            return Err(BfdError::Twice(target.peer.ip()));
        }
        self.listen(&target)?;
        let now = Instant::now();
        self.last = self.last.wrapping_add(1).max(1);
        let applied = *ordered.borrow();
        let fsm = Fsm::new(applied.config, self.last, u64::from(seed()), now);
        let status = Status {
            state: fsm.state(),
            diagnostic: Diagnostic::None,
            remote: fsm.remote_state(),
            since: now,
            ups: 0,
            last_down: None,
        };
        let (status, watched) = watch::channel(status);
        let entry = Entry { target, fsm, ordered, applied, status, socket: None };
        self.sessions.insert(self.last, entry);
        self.relax_ttl();
        Ok(watched)
    }

    fn listen(&mut self, target: &Target) -> Result<(), BfdError> {
        let (ipv4, port) = target.port();
        if let Place::Vacant(place) = self.sockets.entry((ipv4, port)) {
            let least = target.multihop.unwrap_or(u8::MAX);
            let opened = socket::receiving(ipv4, port, least);
            place.insert(opened.map_err(|source| BfdError::Receive { port, source })?);
        }
        Ok(())
    }

    /// The least TTL that a multihop session asks for holds for all of its family.
    fn relax_ttl(&mut self) {
        for ((ipv4, port), socket) in &self.sockets {
            let wanted =
                self.sessions.values().filter(|entry| entry.target.port() == (*ipv4, *port));
            let least = wanted.filter_map(|entry| entry.target.multihop).min();
            if let Some(least) = least
                && let Err(error) = socket::require_ttl(socket, *ipv4, least)
            {
                tracing::warn!(%error, "BFD: the least TTL cannot be changed");
            }
        }
    }

    fn tick(&mut self) {
        let now = Instant::now();
        let due = |entry: &Entry| entry.fsm.deadline().is_some_and(|at| at <= now);
        if self.sessions.values().any(due) {
            // After a stall packets may have been waiting longer than the detection time.
            let ports: Vec<Port> = self.sockets.keys().copied().collect();
            ports.into_iter().for_each(|port| self.receive(port));
        }
        for entry in self.sessions.values_mut().filter(|entry| due(entry)) {
            entry.handle(Input::Tick, now);
        }
    }

    fn follow_orders(&mut self) {
        let now = Instant::now();
        for entry in self.sessions.values_mut() {
            let order = *entry.ordered.borrow();
            if order.config != entry.applied.config {
                entry.handle(Input::Configure(order.config), now);
            }
            if order.admin_down != entry.applied.admin_down {
                entry.handle(Input::AdminDown(order.admin_down), now);
            }
            entry.applied = order;
        }
        // Its handle is gone.
        self.sessions.retain(|_, entry| entry.ordered.has_changed().is_ok());
        let used: Vec<Port> = self.sessions.values().map(|entry| entry.target.port()).collect();
        self.sockets.retain(|port, _| used.contains(port));
        self.relax_ttl();
    }

    fn end(&mut self) {
        let now = Instant::now();
        self.sessions.values_mut().for_each(|entry| entry.handle(Input::AdminDown(true), now));
    }

    fn receive(&mut self, port: Port) {
        let mut datagram = [0; LONGEST];
        for _ in 0..BUDGET {
            let Some(socket) = self.sockets.get(&port) else { return };
            let Ok((length, from)) = socket.try_recv_from(&mut datagram) else { return };
            if !self.sessions.values().any(|entry| entry.is_from(from, port)) {
                continue;
            }
            let Ok(packet) = Packet::decode(&datagram[..length]) else { continue };
            let now = Instant::now();
            if let Some(entry) = self.find(&packet, from, port) {
                entry.handle(Input::Received(packet), now);
            }
        }
    }

    /// By our number if they know it, and always by address.
    fn find(&mut self, packet: &Packet, from: SocketAddr, port: Port) -> Option<&mut Entry> {
        let fits = |entry: &Entry| entry.is_from(from, port);
        match packet.your_discriminator {
            0 => self.sessions.values_mut().find(|entry| fits(entry)),
            ours => self.sessions.get_mut(&ours).filter(|entry| fits(entry)),
        }
    }
}

impl Entry {
    fn is_from(&self, from: SocketAddr, port: Port) -> bool {
        self.target.port() == port && same_host(self.target.peer, from)
    }

    fn is_with(&self, target: &Target) -> bool {
        self.target.port() == target.port() && same_host(self.target.peer, target.peer)
    }

    fn handle(&mut self, input: Input, now: Instant) {
        for output in self.fsm.handle(input, now) {
            match output {
                Output::Send(packet) => self.send(&packet),
                Output::Changed(state, diagnostic) => {
                    tracing::info!(peer = %self.target.peer.ip(), ?state, ?diagnostic, "BFD");
                    let remote = self.fsm.remote_state();
                    self.status.send_modify(|status| {
                        let ups = status.ups + u64::from(state == State::Up);
                        let went_down = (state == State::Down).then_some(diagnostic);
                        let last_down = went_down.or(status.last_down);
                        *status = Status { state, diagnostic, remote, since: now, ups, last_down };
                    });
                }
            }
        }
    }

    /// A packet that cannot be sent is as good as lost: the next one may be.
    fn send(&mut self, packet: &Packet) {
        let hint = packet.my_discriminator;
        if self.socket.is_none() {
            match socket::sending(&self.target, hint) {
                Ok(socket) => self.socket = Some(socket),
                Err(error) => {
                    tracing::debug!(peer = %self.target.peer.ip(), %error, "BFD: no socket");
                    return;
                }
            }
        }
        let sent = self.socket.as_ref().map(|socket| socket.send(&packet.encode()));
        match sent {
            // The peer's host has nobody on the port, as long as its daemon restarts.
            Some(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {}
            Some(Err(error)) => {
                tracing::debug!(peer = %self.target.peer.ip(), %error, "BFD: not sent");
                self.socket = None;
            }
            _ => {}
        }
    }
}

impl Target {
    fn port(&self) -> Port {
        let port = if self.multihop.is_some() { MULTIHOP } else { SINGLE_HOP };
        (self.peer.is_ipv4(), port)
    }
}

fn same_host(one: SocketAddr, other: SocketAddr) -> bool {
    let scoped = |address: SocketAddr| match address {
        SocketAddr::V6(v6) if v6.ip().is_unicast_link_local() => Some(v6.scope_id()),
        _ => None,
    };
    let ip: fn(SocketAddr) -> IpAddr = |address| address.ip();
    ip(one) == ip(other) && scoped(one) == scoped(other)
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => pending().await,
    }
}

/// Waits until one of the sockets can be read.
async fn readable(sockets: &BTreeMap<Port, UdpSocket>) -> Port {
    let waits = sockets.iter().map(|(port, socket)| {
        Box::pin(async move {
            match socket.readable().await {
                Ok(()) => *port,
                Err(_runtime_ends) => pending().await,
            }
        })
    });
    let waits: Vec<_> = waits.collect();
    if waits.is_empty() {
        return pending().await;
    }
    futures_util::future::select_all(waits).await.0
}

/// Something that differs from process to process and from call to call: the time since boot.
fn seed() -> u32 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let mixed = (time.tv_nsec as u64 ^ (time.tv_sec as u64) << 20)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        ^ u64::from(std::process::id());
    (mixed >> 16) as u32
}

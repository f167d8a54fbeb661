//! The task that has all sessions and sockets.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Place;
use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use tokio::net::UdpSocket;
use tokio::sync::{Notify, mpsc, oneshot, watch};

use super::echo::{self, Link};
use super::session::{Entry, seed};
use super::socket::{self, Port};
use super::{BfdError, Order, Status, Target};
use crate::bfd::fsm::Input;
use crate::bfd::wire::Packet;
use crate::bfd::wire::frame::Frame;
use crate::deadline::until;

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

/// All sessions.
pub(super) struct Task {
    requests: mpsc::Receiver<Request>,
    /// An order changed, or a handle was dropped.
    noticed: Arc<Notify>,
    sockets: BTreeMap<Port, UdpSocket>,
    /// By their indices, those of sessions with echo.
    links: BTreeMap<u32, Arc<Link>>,
    sessions: BTreeMap<u32, Entry>,
    /// The last discriminator given.
    last: u32,
}

enum Woken {
    Due,
    Noticed,
    Request(Option<Request>),
    Packets(Port),
    Frames(u32),
}

impl Task {
    pub(super) fn new(requests: mpsc::Receiver<Request>, noticed: Arc<Notify>) -> Task {
        let (sockets, links, sessions) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        // Another number after a restart, so that the peer sees another session.
        let last = seed();
        Task { requests, noticed, sockets, links, sessions, last }
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
                Woken::Packets(port) => self.receive(&port),
                Woken::Frames(index) => self.receive_frames(index),
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
            index = some_frame(&self.links) => Woken::Frames(index),
        }
    }

    fn begin(
        &mut self,
        target: Target,
        ordered: watch::Receiver<Order>,
    ) -> Result<watch::Receiver<Status>, BfdError> {
        let taken = |entry: &Entry| entry.is_wanted() && entry.is_with(&target);
        if self.sessions.values().any(taken) {
            return Err(BfdError::Twice(target.peer.ip()));
        }
        self.listen(&target)?;
        let now = Instant::now();
        self.last = self.last.wrapping_add(1).max(1);
        let (entry, watched) = Entry::new(target, self.last, ordered, now);
        self.sessions.insert(self.last, entry);
        self.relax_ttl();
        Ok(watched)
    }

    fn listen(&mut self, target: &Target) -> Result<(), BfdError> {
        let port = target.port();
        let number = port.number;
        let beside = |other: &Port| (other.ipv4, other.number) == (port.ipv4, number);
        let shared = port.vrf.is_some()
            || self.sockets.keys().any(|other| beside(other) && other.vrf.is_some());
        if shared {
            for (_, socket) in self.sockets.iter().filter(|(other, _)| beside(other)) {
                socket::share(socket)
                    .map_err(|source| BfdError::Receive { port: number, source })?;
            }
        }
        if let Place::Vacant(place) = self.sockets.entry(port) {
            let least = target.multihop.unwrap_or(u8::MAX);
            let opened = socket::receiving(place.key(), least, shared);
            place.insert(opened.map_err(|source| BfdError::Receive { port: number, source })?);
        }
        Ok(())
    }

    /// The least TTL that a multihop session asks for holds for all of its family.
    fn relax_ttl(&mut self) {
        for (port, socket) in &self.sockets {
            let wanted = self.sessions.values().filter(|entry| entry.target.port() == *port);
            let least = wanted.filter_map(|entry| entry.target.multihop).min();
            if let Some(least) = least
                && let Err(error) = socket::require_ttl(socket, port.ipv4, least)
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
            let ports: Vec<Port> = self.sockets.keys().cloned().collect();
            ports.iter().for_each(|port| self.receive(port));
            let links: Vec<u32> = self.links.keys().copied().collect();
            links.into_iter().for_each(|index| self.receive_frames(index));
        }
        for entry in self.sessions.values_mut().filter(|entry| due(entry)) {
            entry.handle(Input::Tick, now);
        }
        let over = self.sessions.values_mut().filter_map(|entry| entry.forget_echo(now));
        if over.count() > 0 {
            self.close_links();
        }
    }

    fn close_links(&mut self) {
        let echoes = self.sessions.values().filter_map(|entry| entry.echo.as_ref());
        let used: Vec<u32> = echoes.map(|echo| echo.index).collect();
        self.links.retain(|index, _| used.contains(index));
    }

    fn follow_orders(&mut self) {
        let now = Instant::now();
        for entry in self.sessions.values_mut() {
            entry.follow_orders(&mut self.links, now);
        }
        // Its handle is gone.
        self.sessions.retain(|_, entry| entry.is_wanted());
        let used: Vec<Port> = self.sessions.values().map(|entry| entry.target.port()).collect();
        self.sockets.retain(|port, _| used.contains(port));
        self.close_links();
        self.relax_ttl();
    }

    fn end(&mut self) {
        let now = Instant::now();
        self.sessions.values_mut().for_each(|entry| entry.handle(Input::AdminDown(true), now));
    }

    fn receive(&mut self, port: &Port) {
        let mut datagram = [0; LONGEST];
        for _ in 0..BUDGET {
            let Some(socket) = self.sockets.get(port) else { return };
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

    fn receive_frames(&mut self, index: u32) {
        let mut buffer = [0; echo::LONGEST];
        let Some(link) = self.links.get(&index).cloned() else { return };
        for _ in 0..BUDGET {
            let Some(length) = link.receive(&mut buffer) else { return };
            let bytes = &mut buffer[..length];
            let Some(frame) = Frame::read(bytes) else { continue };
            let now = Instant::now();
            let of_link =
                |entry: &&mut Entry| entry.echo.as_ref().is_some_and(|echo| echo.index == index);
            let mut entries = self.sessions.values_mut().filter(of_link);
            let theirs = entries.find_map(|entry| entry.takes(&frame, now).then_some(entry));
            if let Some(entry) = theirs {
                entry.send_back(bytes, now);
            }
        }
    }

    /// By our number if they know it, and always by address.
    fn find(&mut self, packet: &Packet, from: SocketAddr, port: &Port) -> Option<&mut Entry> {
        let fits = |entry: &Entry| entry.is_from(from, port);
        match packet.your_discriminator {
            0 => self.sessions.values_mut().find(|entry| fits(entry)),
            ours => self.sessions.get_mut(&ours).filter(|entry| fits(entry)),
        }
    }
}

/// Waits until one of the sockets can be read.
async fn readable(sockets: &BTreeMap<Port, UdpSocket>) -> Port {
    let waits = sockets.iter().map(|(port, socket)| {
        Box::pin(async move {
            match socket.readable().await {
                Ok(()) => port.clone(),
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

/// Waits until a frame is on one of the links.
async fn some_frame(links: &BTreeMap<u32, Arc<Link>>) -> u32 {
    let waits = links.iter().map(|(index, link)| {
        Box::pin(async move {
            link.readable().await;
            *index
        })
    });
    let waits: Vec<_> = waits.collect();
    if waits.is_empty() {
        return pending().await;
    }
    futures_util::future::select_all(waits).await.0
}

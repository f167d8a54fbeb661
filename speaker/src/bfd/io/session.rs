//! One session: its state machine, and what comes of it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Place;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::watch;

use super::echo::{Link, Side};
use super::socket::{self, MULTIHOP, Port, SINGLE_HOP};
use super::{Order, Status, Target};
use crate::bfd::fsm::{Fsm, Input, Output};
use crate::bfd::wire::echo::Echo;
use crate::bfd::wire::frame::Frame;
use crate::bfd::wire::{Diagnostic, Packet, State};

/// A session, with what it is to do and the sockets it does it by.
pub(super) struct Entry {
    pub(super) target: Target,
    pub(super) fsm: Fsm,
    ordered: watch::Receiver<Order>,
    applied: Order,
    status: watch::Sender<Status>,
    /// Opened when something is sent, and again after a failure.
    socket: Option<std::net::UdpSocket>,
    /// Where echo is asked for and possible.
    pub(super) echo: Option<Side>,
}

impl Entry {
    /// A session that begins now, and what it will be doing.
    pub(super) fn new(
        target: Target,
        discriminator: u32,
        ordered: watch::Receiver<Order>,
        now: Instant,
    ) -> (Entry, watch::Receiver<Status>) {
        let applied = *ordered.borrow();
        let fsm = Fsm::new(applied.config, discriminator, u64::from(seed()), now);
        let status = Status {
            state: fsm.state(),
            diagnostic: Diagnostic::None,
            remote: fsm.remote_state(),
            since: now,
            ups: 0,
            downs: 0,
            last_down: None,
            echo: fsm.echoing(),
        };
        let (status, watched) = watch::channel(status);
        let entry = Entry { target, fsm, ordered, applied, status, socket: None, echo: None };
        (entry, watched)
    }

    /// Does what is ordered.
    pub(super) fn follow_orders(&mut self, links: &mut BTreeMap<u32, Arc<Link>>, now: Instant) {
        let order = *self.ordered.borrow();
        if order.config != self.applied.config {
            self.handle(Input::Configure(order.config), now);
        }
        if order.admin_down != self.applied.admin_down {
            self.handle(Input::AdminDown(order.admin_down), now);
        }
        self.applied = order;
        self.follow_echo(links, now);
    }

    /// Whether somebody wants it still.
    pub(super) fn is_wanted(&self) -> bool {
        self.ordered.has_changed().is_ok()
    }

    pub(super) fn is_from(&self, from: SocketAddr, port: &Port) -> bool {
        self.target.port() == *port && same_host(self.target.peer, from)
    }

    pub(super) fn is_with(&self, target: &Target) -> bool {
        self.target.port() == target.port() && same_host(self.target.peer, target.peer)
    }

    /// Begins, goes on with or ends the echo function, as it is ordered.
    fn follow_echo(&mut self, links: &mut BTreeMap<u32, Arc<Link>>, now: Instant) {
        let wanted = self.applied.echo_link.zip(self.applied.config.echo);
        let wanted = match (self.target.peer.ip(), self.target.multihop) {
            (IpAddr::V4(peer), None) => wanted.map(|(index, interval)| (index, interval, peer)),
            _ => None,
        };
        let path = match (&mut self.echo, wanted) {
            (None, None) => false,
            (Some(echo), None) => {
                echo.end(now);
                false
            }
            (Some(echo), Some((index, interval, _))) if echo.index == index => {
                echo.go_on(interval);
                echo.has_path()
            }
            (_, Some((index, interval, peer))) => {
                let begun = link(links, index).and_then(|link| Side::new(index, link, peer, now));
                self.echo = match begun {
                    Ok(mut echo) => {
                        echo.go_on(interval);
                        Some(echo)
                    }
                    Err(error) => {
                        tracing::warn!(%peer, %error, "BFD: no packet socket, so no echo");
                        None
                    }
                };
                false
            }
        };
        self.handle(Input::EchoPath(path), now);
    }

    /// Gives up an echo function that has ended.
    pub(super) fn forget_echo(&mut self, now: Instant) -> Option<Side> {
        self.echo.take_if(|echo| echo.is_over(now))
    }

    /// Takes what a frame says to this session; whether it is an echo packet of the peer.
    pub(super) fn takes(&mut self, frame: &Frame<'_>, now: Instant) -> bool {
        let Some(echo) = &mut self.echo else { return false };
        let ours = self.fsm.discriminator();
        if echo.is_told_by(frame) {
            let of_this = |packet: Packet| packet.your_discriminator == ours;
            let is_new = Packet::decode(frame.payload).is_ok_and(of_this) && echo.learn(frame);
            if is_new && !echo.has_ended() {
                self.handle(Input::EchoPath(true), now);
            }
            return false;
        }
        if let Some(sent) = echo.returned(frame, ours) {
            self.handle(Input::EchoReturned(sent), now);
            return false;
        }
        echo.is_theirs(frame)
    }

    pub(super) fn send_back(&mut self, bytes: &mut [u8], now: Instant) {
        if let Some(echo) = &mut self.echo {
            echo.send_back(bytes, now);
        }
    }

    pub(super) fn handle(&mut self, input: Input, now: Instant) {
        for output in self.fsm.handle(input, now) {
            match output {
                Output::Send(packet) => self.send(&packet),
                Output::SendEcho(sent) => {
                    let discriminator = self.fsm.discriminator();
                    if let Some(echo) = &self.echo {
                        echo.send(Echo { discriminator, sent });
                    }
                }
                Output::Changed(state, diagnostic) => {
                    tracing::info!(peer = %self.target.peer.ip(), ?state, ?diagnostic, "BFD");
                    let remote = self.fsm.remote_state();
                    self.status.send_modify(|status| {
                        let ups = status.ups + u64::from(state == State::Up);
                        let went_down = (state == State::Down).then_some(diagnostic);
                        let last_down = went_down.or(status.last_down);
                        let downs = status.downs + u64::from(status.state == State::Up);
                        *status = Status {
                            state,
                            diagnostic,
                            remote,
                            since: now,
                            ups,
                            downs,
                            last_down,
                            echo: self.fsm.echoing(),
                        };
                    });
                }
            }
        }
        let echo = self.fsm.echoing();
        self.status.send_if_modified(|status| std::mem::replace(&mut status.echo, echo) != echo);
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

/// The packet socket of a link, opened where it is not.
fn link(links: &mut BTreeMap<u32, Arc<Link>>, index: u32) -> io::Result<Arc<Link>> {
    Ok(Arc::clone(match links.entry(index) {
        Place::Occupied(place) => place.into_mut(),
        Place::Vacant(place) => place.insert(Arc::new(Link::open(index)?)),
    }))
}

impl Target {
    pub(super) fn port(&self) -> Port {
        let number = if self.multihop.is_some() { MULTIHOP } else { SINGLE_HOP };
        Port { ipv4: self.peer.is_ipv4(), number, vrf: self.vrf.clone() }
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

/// Something that differs from process to process and from call to call: the time since boot.
pub(super) fn seed() -> u32 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let mixed = (time.tv_nsec as u64 ^ (time.tv_sec as u64) << 20)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        ^ u64::from(std::process::id());
    (mixed >> 16) as u32
}

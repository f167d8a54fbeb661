//! One connection: from accepted to closed.
//!
//! ```text
//!   ── Dialling ───────────────> Open ───────────────────────────> orderly end
//!        │         connected       │ one side failed   both ends passed on
//!        │  all tries failed,      v
//!        │  client gone        Resetting ── what it had sent is delivered, ──> reset
//!        └──────────────> reset             or patience is over
//! ```
//!
//! Where the backend is spoken to by TLS, its handshake comes between Dialling and Open (Securing); one
//! that fails is a failed attempt, and the next endpoint is dialled.
//!
//! Where the listener's settings say something of new connections, they go through `Arriving` first, which
//! waits for a PROXY header if there is to be one. Where the first bytes decide which listener is meant
//! (HTTP, HTTPS, TLS), stages go before:
//!
//! ```text
//!   ── Greeting ── Host heard, or a ClientHello to be passed on ──> Dialling
//!        │    └─── ClientHello to be answered ──> Handshake ──finished──^
//!        │ not served                                 │ failed
//!        └─────────────> Farewell <───────────────────┘     (the client is told why, or reset)
//! ```
//!
//! While dialling nothing is read: what the client sends waits in the kernel. A client that only
//! ended its direction is not gone; it may be waiting for the answer.
//!
//! The stages are in files of their own: [`arrive`], [`greet`] (until it is known what the client wants),
//! [`dial`] (with [`introduce`], what the backend is told of the client, and [`backend_tls`]) and [`forward`]
//! (until the end; or until the endpoint has left, [`departed`]).

mod arrive;
mod backend_tls;
mod departed;
mod dial;
mod forward;
mod greet;
mod introduce;
mod record;

use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use rustix::event::epoll::{self, EventFlags};
use rustix::io::Errno;

use super::config::Config;
use super::connect::Dial;
use super::farewell::Farewell;
use super::hello::Greeting;
use super::idle::Tick;
use super::pipe::Pipes;
use super::preserve::Preserving;
use super::relay::Relay;
use super::socket;
use super::stats::{ListenerStats, ResetReason, RouteStats, Shard};
use super::token::{ConnectionId, Side, Token};

pub(super) use self::arrive::{Arrival, peer};
pub(super) use self::record::Record;

/// What both sockets are watched for, once and for all: there is no `epoll_ctl` per wake-up.
const WATCHED: EventFlags = EventFlags::IN
    .union(EventFlags::OUT)
    .union(EventFlags::RDHUP)
    .union(EventFlags::PRI)
    .union(EventFlags::ET);
/// The socket is done for: an error, or both directions are over.
const DEAD: EventFlags = EventFlags::ERR.union(EventFlags::HUP);

/// What the worker lends to a connection while it handles it.
pub(super) struct Context<'a> {
    pub(super) id: ConnectionId,
    pub(super) epoll: BorrowedFd<'a>,
    pub(super) buffer: &'a mut [u8],
    /// Where bytes go that came through TLS.
    pub(super) opened: &'a mut [u8],
    pub(super) pipes: &'a mut Pipes,
    pub(super) now: Instant,
    /// The same, coarse.
    pub(super) tick: Tick,
    pub(super) config: &'a Config,
    pub(super) preserving: &'a Preserving,
    pub(super) worker: usize,
}

impl Context<'_> {
    fn watch(&self, socket: &OwnedFd, side: Side) -> Result<(), Errno> {
        epoll::add(self.epoll, socket, Token::Connection(self.id, side).data(), WATCHED)
    }
}

/// What the worker is to do with a connection after it was handled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing until the next event.
    Wait,
    /// Give it another turn after the others.
    Again,
    /// Wake it at this time, unless [`Connection::deadline`] says another by then.
    Arm(Instant),
    /// Its client is known, and what it says next is its own: [`Connection::begin_greeting`] or
    /// [`Connection::picked`] has to follow.
    Arrived,
    /// The client has said which name it means, or none: [`Connection::chosen`] has to follow.
    Choose(Option<String>),
    /// It is to be connected to what its listener has for this name: [`Connection::picked`] has to
    /// follow.
    Pick(Option<String>),
    /// It is over.
    End(Ending),
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// Both directions ended and their ends were passed on.
    Orderly,
    /// Both sockets are reset.
    Reset(ResetReason),
    /// The client was told that it is not served, and why; there is no backend.
    Refused(ResetReason),
}

/// To what a connection belongs, and where it counts until it has a route.
#[derive(Clone, Debug)]
pub(super) struct Owner {
    pub(super) place: Place,
    /// Tells whether the number is still that listener's or port's.
    pub(super) stats: Arc<ListenerStats>,
}

/// A number in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Of a port: the client has not said yet which of its listeners it means.
    Port(u32),
    Listener(u32),
}

/// A connection of a worker. There may be very many that are idle: what is only needed while
/// something goes on is boxed away.
#[derive(Debug)]
pub(super) struct Connection {
    client: OwnedFd,
    /// None between two attempts to connect.
    server: Option<OwnedFd>,
    stage: Stage,
    relay: Relay,
    /// In the worker's queue for another turn.
    pub(super) queued: bool,
    pub(super) generation: u32,
    /// When something was last forwarded.
    pub(super) active: Tick,
    pub(super) owner: Owner,
    /// None until it is being connected, or not served for what its route says. From then on it counts
    /// there.
    pub(super) route: Option<Arc<RouteStats>>,
    /// See there.
    record: Option<Box<Record>>,
}

/// An idle connection costs this much in user space, plus the slab's room to grow.
const _: () = assert!(size_of::<Connection>() <= 112);

#[derive(Debug)]
enum Stage {
    Arriving(Box<Arrival>),
    Greeting(Box<Greeting>),
    Handshake(Box<Handshake>),
    Dialling(Box<Dial>),
    /// It is connected, and TLS is being agreed on with the backend.
    Securing(Box<Dial>),
    Open,
    Resetting(Box<forward::Resetting>),
    Farewell(Box<Farewell>),
}

/// TLS is being agreed on; the relay does it.
#[derive(Debug)]
struct Handshake {
    /// What the client asked for.
    name: Option<String>,
    deadline: Instant,
}

impl Connection {
    /// An accepted connection of a port where settings matter.
    pub(super) fn arriving(
        client: OwnedFd,
        generation: u32,
        owner: Owner,
        arrival: Arrival,
        record: Record,
    ) -> Self {
        Self {
            client,
            server: None,
            stage: Stage::Arriving(Box::new(arrival)),
            relay: Relay::plain(),
            queued: false,
            generation,
            active: 0,
            owner,
            route: None,
            record: Some(Box::new(record)),
        }
    }

    /// An accepted connection that has to say first what it wants.
    pub(super) fn greeting(
        client: OwnedFd,
        generation: u32,
        owner: Owner,
        greeting: Greeting,
    ) -> Self {
        Self {
            client,
            server: None,
            stage: Stage::Greeting(Box::new(greeting)),
            relay: Relay::plain(),
            queued: false,
            generation,
            active: 0,
            owner,
            route: None,
            record: None,
        }
    }

    /// An accepted connection that is to be connected.
    pub(super) fn dialling(
        client: OwnedFd,
        generation: u32,
        owner: Owner,
        dial: Dial,
        route: Option<Arc<RouteStats>>,
    ) -> Self {
        Self {
            client,
            server: None,
            stage: Stage::Dialling(Box::new(dial)),
            relay: Relay::plain(),
            queued: false,
            generation,
            active: 0,
            owner,
            route,
            record: None,
        }
    }

    /// Where a worker counts what becomes of it.
    pub(super) fn shard(&self, worker: usize) -> &Shard {
        match &self.route {
            Some(route) => route.shard(worker),
            None => self.owner.stats.shard(worker),
        }
    }

    /// Counts on its route from now on.
    pub(super) fn set_route(&mut self, route: Arc<RouteStats>, worker: usize) {
        self.shard(worker).open.fetch_sub(1, Relaxed);
        let shard = route.shard(worker);
        shard.joined.fetch_add(1, Relaxed);
        shard.open.fetch_add(1, Relaxed);
        self.route = Some(route);
    }

    /// What is kept of it, from now on if it was not so far.
    fn record(&mut self) -> &mut Record {
        self.record.get_or_insert_default()
    }

    /// Whether it is not known yet what the client wants, or whether it is able to say so.
    pub(super) fn is_undecided(&self) -> bool {
        matches!(self.stage, Stage::Arriving(_) | Stage::Greeting(_) | Stage::Handshake(_))
    }

    /// When something was last forwarded, of one that forwards or is about to.
    pub(super) fn active_at(&self, now: Tick) -> Option<Tick> {
        match self.stage {
            Stage::Open => Some(self.active),
            Stage::Dialling(_) | Stage::Securing(_) => Some(now),
            _ => None,
        }
    }

    /// When it wants to be woken.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match &self.stage {
            Stage::Arriving(arrival) => Some(arrival.deadline),
            Stage::Greeting(greeting) => Some(greeting.wake_at()),
            Stage::Handshake(handshake) => Some(handshake.deadline),
            Stage::Dialling(dial) | Stage::Securing(dial) => Some(dial.deadline),
            Stage::Open => self.departs_at(),
            Stage::Resetting(resetting) => Some(resetting.poll_at),
            Stage::Farewell(farewell) => Some(farewell.deadline),
        }
    }

    /// Starts: watches the client and connects.
    pub(super) fn start(&mut self, context: &mut Context<'_>) -> Verdict {
        match context.watch(&self.client, Side::Client) {
            // The first edge comes at once if something is there.
            Ok(()) => match &self.stage {
                Stage::Arriving(_) => self.begin_arrival(),
                Stage::Greeting(greeting) => Verdict::Arm(greeting.deadline),
                _ => self.dial(context),
            },
            Err(_) => Verdict::End(Ending::Reset(ResetReason::OutOfFiles)),
        }
    }

    /// Whether it forwards.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Open)
    }

    /// Leaves a worker: that hears of its sockets no more.
    pub(super) fn unwatch(&self, epoll: BorrowedFd<'_>) {
        for socket in [Some(&self.client), self.server.as_ref()].into_iter().flatten() {
            // Fails only when it is not watched.
            let _ = epoll::delete(epoll, socket);
        }
    }

    /// Goes on with another worker, which tells of its sockets anew.
    pub(super) fn go_on(&mut self, context: &mut Context<'_>) -> Verdict {
        self.is_to_be_woken_anew();
        let sockets = [(Some(&self.client), Side::Client), (self.server.as_ref(), Side::Server)];
        for (socket, side) in sockets {
            if socket.is_some_and(|socket| context.watch(socket, side).is_err()) {
                return Verdict::End(Ending::Reset(ResetReason::OutOfFiles));
            }
        }
        self.forward(context)
    }

    /// Handles an event of one of its sockets.
    pub(super) fn event(
        &mut self,
        side: Side,
        flags: EventFlags,
        context: &mut Context<'_>,
    ) -> Verdict {
        self.relay.event(side, flags);
        match (&mut self.stage, side) {
            (Stage::Arriving(arrival), _) => {
                arrival.event(flags);
                self.arrive(context)
            }
            (Stage::Greeting(greeting), _) => {
                greeting.event(flags);
                self.greet(context)
            }
            (Stage::Handshake(_), _) => self.shake(context),
            (Stage::Dialling(_) | Stage::Securing(_), Side::Client) if flags.intersects(DEAD) => {
                Verdict::End(Ending::Reset(ResetReason::ByClient))
            }
            (Stage::Dialling(_) | Stage::Securing(_), Side::Client) => Verdict::Wait,
            (Stage::Dialling(_), Side::Server) => self.dialled(flags, context),
            (Stage::Securing(_), Side::Server) => self.shake_server(context),
            (Stage::Open, _) if flags.contains(EventFlags::ERR) => self.broke(side, context),
            (Stage::Open, _) => self.forward(context),
            (Stage::Resetting(_), _) => self.salvage(context),
            (Stage::Farewell(_), _) => self.part(context),
        }
    }

    /// Another turn, after [`Verdict::Again`].
    pub(super) fn turn(&mut self, context: &mut Context<'_>) -> Verdict {
        match self.stage {
            Stage::Arriving(_) => self.arrive(context),
            Stage::Greeting(_) => self.greet(context),
            Stage::Handshake(_) => self.shake(context),
            Stage::Dialling(_) | Stage::Securing(_) => Verdict::Wait,
            Stage::Open => self.forward(context),
            Stage::Resetting(_) => self.salvage(context),
            Stage::Farewell(_) => self.part(context),
        }
    }

    /// Its deadline has come.
    pub(super) fn timer(&mut self, context: &mut Context<'_>) -> Verdict {
        match &self.stage {
            Stage::Greeting(greeting) if context.now < greeting.deadline => self.greet(context),
            Stage::Arriving(_) | Stage::Greeting(_) | Stage::Handshake(_) => {
                Verdict::End(Ending::Reset(ResetReason::Silent))
            }
            Stage::Dialling(_) => self.dialling_too_long(context),
            Stage::Securing(_) => self.securing_too_long(context),
            Stage::Open => self.depart(context.now),
            Stage::Resetting(_) => self.salvage(context),
            Stage::Farewell(farewell) => Verdict::End(Ending::Refused(farewell.reason)),
        }
    }

    /// Closes it.
    pub(super) fn close(self, ending: Ending) {
        match ending {
            Ending::Orderly | Ending::Refused(_) => {}
            Ending::Reset(_) => {
                socket::reset(self.client);
                if let Some(server) = self.server {
                    socket::reset(server);
                }
            }
        }
    }
}

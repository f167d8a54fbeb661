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
//! Where the first bytes decide which listener is meant (HTTP, HTTPS, TLS), stages go before:
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
//! The stages are in files of their own: [`greet`] (until it is known what the client wants), [`dial`]
//! (with [`introduce`], what the backend is told of the client) and [`forward`] (until the end; or until the
//! endpoint has left, [`departed`]).

mod departed;
mod dial;
mod forward;
mod greet;
mod introduce;
mod record;

use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Instant;

use rustix::event::epoll::{self, EventFlags};
use rustix::io::Errno;
use vipgate_api::ObjectRef;

use super::config::Config;
use super::connect::Dial;
use super::farewell::Farewell;
use super::hello::Greeting;
use super::relay::Relay;
use super::socket;
use super::stats::{ListenerStats, ResetReason};
use super::token::{ConnectionId, Side, Token};
pub(super) use introduce::peer;
use record::Record;

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
    pub(super) now: Instant,
    pub(super) config: &'a Config,
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

/// To what a connection belongs and where it counts.
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
    pub(super) owner: Owner,
    /// None until it is being connected.
    pub(super) route: Option<Arc<ObjectRef>>,
    /// See there.
    record: Option<Box<Record>>,
}

/// An idle connection costs this much in user space, plus the slab's room to grow.
const _: () = assert!(size_of::<Connection>() <= 104);

#[derive(Debug)]
enum Stage {
    Greeting(Box<Greeting>),
    Handshake(Box<Handshake>),
    Dialling(Box<Dial>),
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
        route: Arc<ObjectRef>,
    ) -> Self {
        Self {
            client,
            server: None,
            stage: Stage::Dialling(Box::new(dial)),
            relay: Relay::plain(),
            queued: false,
            generation,
            owner,
            route: Some(route),
            record: None,
        }
    }

    /// What is kept of it, from now on if it was not so far.
    fn record(&mut self) -> &mut Record {
        self.record.get_or_insert_default()
    }

    /// Whether it is not known yet what the client wants, or whether it is able to say so.
    pub(super) fn is_undecided(&self) -> bool {
        matches!(self.stage, Stage::Greeting(_) | Stage::Handshake(_))
    }

    /// When it wants to be woken.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match &self.stage {
            Stage::Greeting(greeting) => Some(greeting.deadline),
            Stage::Handshake(handshake) => Some(handshake.deadline),
            Stage::Dialling(dial) => Some(dial.deadline),
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
                Stage::Greeting(greeting) => Verdict::Arm(greeting.deadline),
                _ => self.dial(context),
            },
            Err(_) => Verdict::End(Ending::Reset(ResetReason::OutOfFiles)),
        }
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
            (Stage::Greeting(greeting), _) => {
                greeting.event(flags);
                self.greet(context)
            }
            (Stage::Handshake(_), _) => self.shake(context),
            (Stage::Dialling(_), Side::Client) if flags.intersects(DEAD) => {
                Verdict::End(Ending::Reset(ResetReason::ByClient))
            }
            (Stage::Dialling(_), Side::Client) => Verdict::Wait,
            (Stage::Dialling(_), Side::Server) => self.dialled(flags, context),
            (Stage::Open, _) if flags.contains(EventFlags::ERR) => self.broke(side, context),
            (Stage::Open, _) => self.forward(context),
            (Stage::Resetting(_), _) => self.salvage(context),
            (Stage::Farewell(_), _) => self.part(context),
        }
    }

    /// Another turn, after [`Verdict::Again`].
    pub(super) fn turn(&mut self, context: &mut Context<'_>) -> Verdict {
        match self.stage {
            Stage::Greeting(_) => self.greet(context),
            Stage::Handshake(_) => self.shake(context),
            Stage::Dialling(_) => Verdict::Wait,
            Stage::Open => self.forward(context),
            Stage::Resetting(_) => self.salvage(context),
            Stage::Farewell(_) => self.part(context),
        }
    }

    /// Its deadline has come.
    pub(super) fn timer(&mut self, context: &mut Context<'_>) -> Verdict {
        match &self.stage {
            Stage::Greeting(_) | Stage::Handshake(_) => {
                Verdict::End(Ending::Reset(ResetReason::Silent))
            }
            Stage::Dialling(_) => self.dialling_too_long(context),
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

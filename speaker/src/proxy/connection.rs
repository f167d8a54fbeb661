//! One connection: from accepted to closed.
//!
//! ```text
//!                  connected              both ends passed on
//!   ── Dialling ───────────────> Open ───────────────────────────> orderly end
//!        │  all tries failed,      │ one side failed
//!        │  client gone            v
//!        │                     Resetting ── what it had sent is delivered, ──> reset
//!        └──────────────> reset             or patience is over
//! ```
//!
//! Where the first bytes decide which listener is meant (HTTP, HTTPS), a stage goes before: Greeting,
//! until the client has said a name. Where TLS ends here, a stage of its own takes the place of Open.
//!
//! While dialling nothing is read: what the client sends waits in the kernel. A client that only
//! ended its direction is not gone; it may be waiting for the answer.
//!
//! A reset of one side becomes a reset of the other, and what the failed side had sent before is
//! delivered first. A reset overtakes what is still queued towards the survivor, so it waits until
//! that is acknowledged; the kernel raises no event for this, hence the short polls.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, EventFlags};
use rustix::io::Errno;
use rustix::net::sockopt::socket_error;
use rustix::net::{RecvFlags, SendFlags, getpeername, recv, send};
use vipgate_api::ObjectRef;

use super::accept::Choice;
use super::config::Config;
use super::connect::{self, Dial};
use super::hello::{Greeting, Heard, Hello, Refusal};
use super::pump::{Progress, Pump};
use super::socket;
use super::stats::{ListenerStats, ResetReason};
use super::tls::{self, Socket, TlsPump};
use super::token::{ConnectionId, Side, Token};

/// What both sockets are watched for, once and for all: there is no `epoll_ctl` per wake-up.
const WATCHED: EventFlags = EventFlags::IN
    .union(EventFlags::OUT)
    .union(EventFlags::RDHUP)
    .union(EventFlags::PRI)
    .union(EventFlags::ET);
/// The socket is done for: an error, or both directions are over.
const DEAD: EventFlags = EventFlags::ERR.union(EventFlags::HUP);
/// First pause between two looks whether the survivor of a reset has acknowledged; it doubles.
const FIRST_POLL: Duration = Duration::from_millis(1);
const LAST_POLL: Duration = Duration::from_millis(64);

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
    /// The client is told why it is not served; there is no backend.
    Refused(Refusal),
}

/// A connection of a worker. There may be very many that are idle: what is only needed while
/// something goes on is boxed away.
#[derive(Debug)]
pub(super) struct Connection {
    client: OwnedFd,
    /// None between two attempts to connect.
    server: Option<OwnedFd>,
    stage: Stage,
    /// Client to server.
    up: Pump,
    /// Server to client.
    down: Pump,
    /// In the worker's queue for another turn.
    pub(super) queued: bool,
    pub(super) generation: u32,
    /// Slot of the listener in the table; `stats` tells whether the slot is still that listener's.
    pub(super) listener: u32,
    pub(super) stats: Arc<ListenerStats>,
    /// None until it is known which listener is meant.
    pub(super) route: Option<Arc<ObjectRef>>,
}

/// An idle connection costs this much in user space, plus the slab's room to grow.
const _: () = assert!(size_of::<Connection>() <= 128);

#[derive(Debug)]
enum Stage {
    Greeting(Box<Greeting>),
    Dialling(Box<Dial>),
    Open,
    Tls(Box<TlsPump>),
    Resetting(Box<Resetting>),
}

#[derive(Debug)]
struct Resetting {
    broken: Side,
    /// End of patience.
    until: Instant,
    /// Next look.
    poll_at: Instant,
    pause: Duration,
}

impl Connection {
    /// An accepted connection that is to be connected.
    pub(super) fn new(
        client: OwnedFd,
        dial: Dial,
        generation: u32,
        listener: u32,
        stats: Arc<ListenerStats>,
        route: Arc<ObjectRef>,
    ) -> Self {
        Self {
            client,
            server: None,
            stage: Stage::Dialling(Box::new(dial)),
            up: Pump::default(),
            down: Pump::default(),
            queued: false,
            generation,
            listener,
            stats,
            route: Some(route),
        }
    }

    /// An accepted connection that has to say first what it wants.
    pub(super) fn greeted(
        client: OwnedFd,
        greeting: Greeting,
        generation: u32,
        listener: u32,
        stats: Arc<ListenerStats>,
    ) -> Self {
        Self {
            client,
            server: None,
            stage: Stage::Greeting(Box::new(greeting)),
            up: Pump::default(),
            down: Pump::default(),
            queued: false,
            generation,
            listener,
            stats,
            route: None,
        }
    }

    /// When it wants to be woken.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match &self.stage {
            Stage::Greeting(greeting) => Some(greeting.deadline),
            Stage::Dialling(dial) => Some(dial.deadline),
            Stage::Open | Stage::Tls(_) => None,
            Stage::Resetting(resetting) => Some(resetting.poll_at),
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
        let (reads, writes) = match side {
            Side::Client => (&mut self.up, &mut self.down),
            Side::Server => (&mut self.down, &mut self.up),
        };
        reads.source_event(flags);
        writes.sink_event(flags);
        if let Stage::Tls(tls) = &mut self.stage {
            match side {
                Side::Client => tls.client_event(flags),
                Side::Server => tls.server_event(flags),
            }
        }
        match (&self.stage, side) {
            (Stage::Greeting(_), _) => self.greet(context),
            (Stage::Tls(_), _) => self.forward_tls(context),
            (Stage::Dialling(_), Side::Client) if flags.intersects(DEAD) => {
                Verdict::End(Ending::Reset(ResetReason::ByClient))
            }
            (Stage::Dialling(_), Side::Client) => Verdict::Wait,
            (Stage::Dialling(_), Side::Server) => self.dialled(flags, context),
            (Stage::Open, _) if flags.contains(EventFlags::ERR) => self.broke(side, context),
            (Stage::Open, _) => self.forward(context),
            (Stage::Resetting(_), _) => self.salvage(context),
        }
    }

    /// Another turn, after [`Verdict::Again`].
    pub(super) fn turn(&mut self, context: &mut Context<'_>) -> Verdict {
        match self.stage {
            Stage::Greeting(_) => self.greet(context),
            Stage::Dialling(_) => Verdict::Wait,
            Stage::Open => self.forward(context),
            Stage::Tls(_) => self.forward_tls(context),
            Stage::Resetting(_) => self.salvage(context),
        }
    }

    /// Its deadline has come.
    pub(super) fn timer(&mut self, context: &mut Context<'_>) -> Verdict {
        match self.stage {
            // A worker that fell behind may not have seen yet that it is connected.
            Stage::Dialling(_) if self.server.as_ref().is_some_and(|s| getpeername(s).is_ok()) => {
                self.dialled(EventFlags::OUT, context)
            }
            Stage::Dialling(_) => self.attempt_failed(Errno::TIMEDOUT, context),
            Stage::Greeting(_) => Verdict::End(Ending::Reset(ResetReason::Silent)),
            Stage::Open | Stage::Tls(_) => Verdict::Wait,
            Stage::Resetting(_) => self.salvage(context),
        }
    }

    /// Closes it.
    pub(super) fn close(self, ending: Ending) {
        match ending {
            Ending::Orderly => {}
            Ending::Reset(_) => {
                socket::reset(self.client);
                if let Some(server) = self.server {
                    socket::reset(server);
                }
            }
            Ending::Refused(refusal) => {
                // What is left unread would turn the close into a reset, and the answer would be lost.
                let mut rest = [0; 4096];
                for _ in 0..16 {
                    match recv(&self.client, &mut rest, RecvFlags::empty()) {
                        Ok((_, 1..)) => {}
                        _ => break,
                    }
                }
                // A few bytes into an empty queue; a client that is gone does not need them.
                let _ = send(&self.client, refusal.bytes(), SendFlags::NOSIGNAL);
            }
        }
    }

    /// Looks at what the client has said so far.
    fn greet(&mut self, context: &mut Context<'_>) -> Verdict {
        let Stage::Greeting(greeting) = &mut self.stage else { return Verdict::Wait };
        match greeting.listen(&self.client, context.buffer) {
            Heard::NeedMore => Verdict::Wait,
            Heard::Name(name) => Verdict::Choose(name),
            Heard::Gone => Verdict::End(Ending::Reset(ResetReason::ByClient)),
            Heard::Refused(refusal) => Verdict::End(Ending::Refused(refusal)),
        }
    }

    /// What the client means is known: connects, or tells it that it is not served.
    pub(super) fn chosen(
        &mut self,
        choice: Result<Choice, ResetReason>,
        context: &mut Context<'_>,
    ) -> Verdict {
        let Stage::Greeting(greeting) = &mut self.stage else { return Verdict::Wait };
        let hello = std::mem::replace(&mut greeting.hello, Hello::Http);
        let choice = match (choice, &hello) {
            (Ok(choice), _) => choice,
            (Err(ResetReason::NoName), Hello::Http) => {
                return Verdict::End(Ending::Refused(Refusal::NotFound));
            }
            (Err(ResetReason::NoName), _) => {
                return Verdict::End(Ending::Refused(Refusal::UnrecognizedName));
            }
            (Err(reason), _) => return Verdict::End(Ending::Reset(reason)),
        };
        let (slot, stats, mut dial, route, config) = choice.parts();
        if let (Hello::Heard(accepted), Some(config)) = (hello, config) {
            let Ok(mut tls) = accepted.into_connection(config) else {
                return Verdict::End(Ending::Refused(Refusal::HandshakeFailure));
            };
            // Our part of the handshake is under way while the backend is being connected.
            let _ = tls.write_tls(&mut Socket(self.client.as_fd()));
            dial.tls = Some(Box::new(tls));
        }
        (self.listener, self.stats, self.route) = (slot, stats, Some(route));
        self.stage = Stage::Dialling(Box::new(dial));
        self.dial(context)
    }

    /// Connected: what was waited for is over.
    fn opened(&mut self) {
        if let Stage::Dialling(dial) = std::mem::replace(&mut self.stage, Stage::Open)
            && let Some(tls) = dial.tls
        {
            self.stage = Stage::Tls(Box::new(TlsPump::new(*tls)));
        }
    }

    /// Moves what can be moved in both directions, through TLS.
    fn forward_tls(&mut self, context: &mut Context<'_>) -> Verdict {
        let (Stage::Tls(tls), Some(server)) = (&mut self.stage, &self.server) else {
            return Verdict::Wait;
        };
        let (client, server) = (self.client.as_fd(), server.as_fd());
        let (mut bytes_in, mut bytes_out) = (0, 0);
        let moved = (&mut bytes_in, &mut bytes_out);
        let progress = tls.run(client, server, context.buffer, moved);
        self.count(context, bytes_in, bytes_out);
        match progress {
            tls::Progress::Waiting => Verdict::Wait,
            tls::Progress::More => Verdict::Again,
            tls::Progress::Finished => Verdict::End(Ending::Orderly),
            tls::Progress::ClientFailed => Verdict::End(Ending::Reset(ResetReason::ByClient)),
            tls::Progress::ServerFailed => Verdict::End(Ending::Reset(ResetReason::ByBackend)),
        }
    }

    /// Starts attempts until one is under way.
    fn dial(&mut self, context: &Context<'_>) -> Verdict {
        while let Stage::Dialling(dial) = &mut self.stage {
            let attempt = connect::start(dial.upstream().address).and_then(|socket| {
                context.watch(&socket, Side::Server)?;
                Ok(socket)
            });
            match attempt {
                Ok(socket) => {
                    self.server = Some(socket);
                    dial.deadline = context.now + context.config.connect_timeout;
                    return Verdict::Arm(dial.deadline);
                }
                Err(error) if connect::is_exhaustion(error) => {
                    return Verdict::End(Ending::Reset(ResetReason::OutOfFiles));
                }
                Err(error) => {
                    if !dial.failed(error, context.config.connect_tries) {
                        return Verdict::End(Ending::Reset(ResetReason::ConnectFailed));
                    }
                }
            }
        }
        Verdict::Wait
    }

    fn attempt_failed(&mut self, error: Errno, context: &Context<'_>) -> Verdict {
        let Stage::Dialling(dial) = &mut self.stage else { return Verdict::Wait };
        self.server = None;
        // What the failed socket said is not about the next one.
        self.down = Pump::default();
        if dial.failed(error, context.config.connect_tries) {
            self.dial(context)
        } else {
            Verdict::End(Ending::Reset(ResetReason::ConnectFailed))
        }
    }

    /// The socket that is being connected raised an event.
    fn dialled(&mut self, flags: EventFlags, context: &mut Context<'_>) -> Verdict {
        let (Stage::Dialling(dial), Some(server)) = (&self.stage, &self.server) else {
            return Verdict::Wait;
        };
        if flags.intersects(DEAD) {
            match socket_error(server).and_then(|result| result) {
                // The connection was made and then reset: the endpoint accepted it, so the client
                // gets the reset, and no other endpoint is asked.
                Ok(()) | Err(Errno::CONNRESET | Errno::PIPE) => {
                    dial.upstream().stats.connected();
                    if dial.tls.is_some() {
                        return Verdict::End(Ending::Reset(ResetReason::ByBackend));
                    }
                    self.stage = Stage::Open;
                    return self.broke(Side::Server, context);
                }
                Err(error) => return self.attempt_failed(error, context),
            }
        }
        if !flags.contains(EventFlags::OUT) {
            return Verdict::Wait;
        }
        dial.upstream().stats.connected();
        self.opened();
        match self.stage {
            Stage::Tls(_) => self.forward_tls(context),
            _ => self.forward(context),
        }
    }

    /// Moves what can be moved in both directions.
    fn forward(&mut self, context: &mut Context<'_>) -> Verdict {
        let Some(server) = &self.server else { return Verdict::Wait };
        let (client, server) = (self.client.as_fd(), server.as_fd());
        let (mut bytes_in, mut bytes_out) = (0, 0);
        let up = self.up.run(client, server, context.buffer, &mut bytes_in);
        let down = match up {
            Progress::SourceFailed | Progress::SinkFailed => Progress::Waiting,
            _ => self.down.run(server, client, context.buffer, &mut bytes_out),
        };
        self.count(context, bytes_in, bytes_out);
        match (up, down) {
            (Progress::SourceFailed, _) | (_, Progress::SinkFailed) => {
                self.broke(Side::Client, context)
            }
            (Progress::SinkFailed, _) | (_, Progress::SourceFailed) => {
                self.broke(Side::Server, context)
            }
            (Progress::Finished, Progress::Finished) => Verdict::End(Ending::Orderly),
            (Progress::More, _) | (_, Progress::More) => Verdict::Again,
            _ => Verdict::Wait,
        }
    }

    /// One side failed: saves what it had sent, then resets the other.
    fn broke(&mut self, broken: Side, context: &mut Context<'_>) -> Verdict {
        match broken {
            Side::Client => self.up.source_failed(),
            Side::Server => self.down.source_failed(),
        }
        let until = context.now + context.config.reset_patience;
        let resetting = Resetting { broken, until, poll_at: until, pause: FIRST_POLL };
        self.stage = Stage::Resetting(Box::new(resetting));
        self.salvage(context)
    }

    /// Delivers what the failed side had sent, and ends when that is done or takes too long.
    fn salvage(&mut self, context: &mut Context<'_>) -> Verdict {
        let (Stage::Resetting(resetting), Some(server)) = (&mut self.stage, &self.server) else {
            return Verdict::Wait;
        };
        let (client, server) = (self.client.as_fd(), server.as_fd());
        let (mut bytes_in, mut bytes_out) = (0, 0);
        let (pump, progress, survivor, reason) = match resetting.broken {
            Side::Client => {
                let progress = self.up.run(client, server, context.buffer, &mut bytes_in);
                (&self.up, progress, server, ResetReason::ByClient)
            }
            Side::Server => {
                let progress = self.down.run(server, client, context.buffer, &mut bytes_out);
                (&self.down, progress, client, ResetReason::ByBackend)
            }
        };
        let end = Verdict::End(Ending::Reset(reason));
        let verdict = match progress {
            Progress::SinkFailed => end,
            _ if context.now >= resetting.until => end,
            Progress::More => Verdict::Again,
            // The survivor's next "writable" brings it on, or the end of patience.
            Progress::Waiting if pump.has_leftover() => {
                resetting.poll_at = resetting.until;
                Verdict::Arm(resetting.until)
            }
            _ if socket::unacknowledged(survivor).unwrap_or(0) == 0 => end,
            _ => {
                resetting.poll_at = resetting.until.min(context.now + resetting.pause);
                resetting.pause = LAST_POLL.min(resetting.pause * 2);
                Verdict::Arm(resetting.poll_at)
            }
        };
        self.count(context, bytes_in, bytes_out);
        verdict
    }

    fn count(&self, context: &Context<'_>, bytes_in: u64, bytes_out: u64) {
        let shard = self.stats.shard(context.worker);
        if bytes_in > 0 {
            shard.bytes_in.fetch_add(bytes_in, Relaxed);
        }
        if bytes_out > 0 {
            shard.bytes_out.fetch_add(bytes_out, Relaxed);
        }
    }
}

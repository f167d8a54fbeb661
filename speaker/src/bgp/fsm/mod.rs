//! One session with one peer, as a state machine (RFC 4271 section 8): what happened in, what to
//! do out.
//!
//! ```text
//!            Start              Connected           OPEN            KEEPALIVE
//!   Idle ───────────> Connect ───────────> OpenSent ────> OpenConfirm ────> Established
//!     ▲                │  ▲ Retry                                             │ Stop
//!     │     failed     ▼  │                any error, any loss                ▼
//!     └───── Stop ── Waiting <──────────────────────────────────────────── Draining
//! ```
//!
//! No socket, no clock, no task: timers are asked for ([`Output::Set`]) and come back
//! ([`Input::Timer`]), and the jitter comes from a seed, so that a session of hours is a test of
//! microseconds. What always holds:
//! * every input is answered in every state; none panics;
//! * a session that ends for whatever reason is tried again, later each time up to
//!   [`Config::connect_time`], until [`Input::Stop`];
//! * what comes from a connection that was given up is ignored: the shell closes it first.
//!
//! We dial and do not listen, so that there is one connection and no collision (section 6.8).

mod backoff;
mod config;
mod negotiate;

pub use config::{Config, PeerAs, Restart};
pub use negotiate::Session;

use std::fmt;
use std::time::Duration;

use super::wire::{Cease, Control, Family, Message, Notification, Refresh, WireError};
use backoff::Backoff;

/// Until the peer's OPEN is there. RFC 4271 section 8.2.2 suggests four minutes; that is a long time
/// to be told nothing when, say, TTLs do not fit.
const OPEN_HOLD: Duration = Duration::from_secs(60);
/// What a connection may take to be made.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// RFC 9687 section 4: the send hold time is twice the hold time, and not less than this.
const LEAST_SEND_HOLD: Duration = Duration::from_secs(480);

/// The states of RFC 4271; `Waiting` is its Active without a listener, `Draining` a planned stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Not started, or stopped for good.
    Idle,
    /// Waits to try again.
    Waiting,
    /// A connection is being made.
    Connect,
    /// Our OPEN is sent.
    OpenSent,
    /// The peer's OPEN was taken.
    OpenConfirm,
    /// Routes are exchanged.
    Established,
    /// Routes are being taken back before the session is ended.
    Draining,
}

/// The timers of a session. Each runs once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// Until the next attempt to connect, or the end of one.
    Retry,
    /// Until the peer counts as lost.
    Hold,
    /// Until the next KEEPALIVE.
    Keepalive,
    /// Until a peer that takes nothing counts as lost (RFC 9687).
    SendHold,
    /// Until the next step of a planned stop.
    Drain,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Begin, and go on until stopped.
    Start,
    /// The connection asked for is there.
    Connected {
        /// No router is between us and the peer.
        on_link: bool,
    },
    /// It could not be made, and why.
    ConnectFailed(String),
    /// The peer said something.
    Received(Message),
    /// The peer said something unintelligible.
    Malformed(WireError),
    /// The connection is gone, and why.
    Closed(String),
    /// The peer's host took some of what we sent.
    Progress,
    /// A timer ran out.
    Timer(Timer),
    /// BFD says that the peer cannot be reached.
    BfdDown,
    /// End for good. The text is for the people on the other side (RFC 9003).
    Stop {
        /// Why.
        text: String,
        /// Take the routes back step by step, instead of all at once.
        gracefully: bool,
    },
}

/// What is to be done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Make a connection.
    Connect,
    /// Send a message.
    Send(Control),
    /// Close the connection, or give up the attempt, once what was sent is gone.
    Close,
    /// Start a timer anew.
    Set(Timer, Duration),
    /// Stop a timer.
    Clear(Timer),
    /// Stop all timers.
    ClearAll,
    /// Routes can be sent, all of them.
    Up(Session),
    /// All routes of this family are to be sent again.
    Resend(Family),
    /// Send all routes again, marked as about to go (RFC 8326).
    MarkRoutes,
    /// Withdraw all routes.
    WithdrawRoutes,
    /// The attempt or session has ended.
    Down(Down),
}

/// Why an attempt or session ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Down {
    /// No connection.
    Unreachable(String),
    /// The connection broke.
    Lost(String),
    /// The peer ended it.
    Peer(Notification),
    /// We ended it, because of what the peer did.
    Ours(Notification, Option<String>),
    /// The peer took nothing for too long (RFC 9687).
    Stuck,
    /// It was to end.
    Stopped,
}

impl fmt::Display for Down {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Down::Unreachable(why) => write!(f, "no connection: {why}"),
            Down::Lost(why) => write!(f, "connection lost: {why}"),
            Down::Peer(notification) => write!(f, "peer says: {notification}"),
            Down::Ours(notification, None) => write!(f, "ended by us: {notification}"),
            Down::Ours(notification, Some(why)) => {
                write!(f, "ended by us: {notification} ({why})")
            }
            Down::Stuck => f.write_str("the peer accepts nothing any more (send hold time)"),
            Down::Stopped => f.write_str("stopped"),
        }
    }
}

/// One session.
#[derive(Clone, Debug)]
pub struct Fsm {
    config: Config,
    state: State,
    backoff: Backoff,
    /// What was negotiated; from OpenConfirm on.
    session: Option<Session>,
    /// No router is between us and the peer.
    on_link: bool,
    /// What the peer is told at the end of a planned stop.
    farewell: String,
    /// A session was established since the process began: forwarding was not interrupted.
    established_before: bool,
}

impl Fsm {
    /// A session that has not been started. Sessions with different seeds try again at different
    /// times.
    #[must_use]
    pub fn new(config: Config, seed: u64) -> Fsm {
        let backoff = Backoff::new(config.connect_time, seed);
        Fsm {
            config,
            state: State::Idle,
            backoff,
            session: None,
            on_link: false,
            farewell: String::new(),
            established_before: false,
        }
    }

    /// Where it is.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// What was negotiated, while established.
    #[must_use]
    pub fn session(&self) -> Option<&Session> {
        self.session.as_ref().filter(|_| self.state >= State::Established)
    }

    /// Takes what happened, returns what is to be done.
    pub fn handle(&mut self, input: Input) -> Vec<Output> {
        match input {
            Input::Start => self.start(),
            Input::Connected { on_link } => self.connected(on_link),
            Input::ConnectFailed(why) => self.connect_failed(why),
            Input::Received(message) => self.received(message),
            Input::Malformed(error) => self.malformed(&error),
            Input::Closed(why) => self.closed(why),
            Input::Progress => self.progress(),
            Input::Timer(timer) => self.timer(timer),
            Input::BfdDown => self.bfd_down(),
            Input::Stop { text, gracefully } => self.stop(text, gracefully),
        }
    }

    fn start(&mut self) -> Vec<Output> {
        if self.state == State::Idle { self.connect() } else { Vec::new() }
    }

    fn connect(&mut self) -> Vec<Output> {
        self.state = State::Connect;
        vec![Output::Connect, Output::Set(Timer::Retry, CONNECT_LIMIT)]
    }

    fn connected(&mut self, on_link: bool) -> Vec<Output> {
        if self.state != State::Connect {
            return Vec::new();
        }
        self.state = State::OpenSent;
        self.on_link = on_link;
        let open = self.config.open(self.established_before);
        vec![
            Output::Clear(Timer::Retry),
            Output::Send(Control::Open(open)),
            Output::Set(Timer::Hold, OPEN_HOLD),
        ]
    }

    fn connect_failed(&mut self, why: String) -> Vec<Output> {
        if self.state != State::Connect {
            return Vec::new();
        }
        self.end(None, Down::Unreachable(why))
    }

    fn closed(&mut self, why: String) -> Vec<Output> {
        match self.state {
            State::Idle | State::Waiting | State::Connect => Vec::new(),
            State::Draining => self.finish(None),
            State::OpenSent | State::OpenConfirm | State::Established => {
                self.end(None, Down::Lost(why))
            }
        }
    }

    fn malformed(&mut self, error: &WireError) -> Vec<Output> {
        if self.state < State::OpenSent {
            return Vec::new();
        }
        let notification = error.notification();
        self.end(Some(notification.clone()), Down::Ours(notification, Some(error.to_string())))
    }

    fn received(&mut self, message: Message) -> Vec<Output> {
        match (self.state, message) {
            (State::Idle | State::Waiting | State::Connect, _) => Vec::new(),
            (State::Draining, Message::Notification(_)) => self.finish(None),
            (_, Message::Notification(notification)) => self.end(None, Down::Peer(notification)),
            (State::OpenSent, Message::Open(open)) => {
                match Session::negotiate(&self.config, &open, self.on_link) {
                    Ok(session) => self.confirm(session),
                    Err((notification, why)) => {
                        self.end(Some(notification.clone()), Down::Ours(notification, Some(why)))
                    }
                }
            }
            (State::OpenConfirm, Message::Keepalive) => self.establish(),
            (State::Established | State::Draining, Message::Refresh(refresh)) => match refresh {
                Refresh::Request(family) => vec![Output::Resend(family)],
                Refresh::Ignored => Vec::new(),
            },
            (State::Established | State::Draining, Message::Update(_) | Message::Keepalive) => {
                self.heard().into_iter().collect()
            }
            (state, _) => self.unexpected(state),
        }
    }

    /// A message the state does not have (RFC 6608).
    fn unexpected(&mut self, state: State) -> Vec<Output> {
        let subcode = match state {
            State::OpenSent => 1,
            State::OpenConfirm => 2,
            _ => 3,
        };
        let notification = Notification::new(super::wire::FSM_ERROR, subcode);
        self.end(Some(notification.clone()), Down::Ours(notification, None))
    }

    fn confirm(&mut self, session: Session) -> Vec<Output> {
        self.state = State::OpenConfirm;
        let mut outputs = vec![Output::Send(Control::Keepalive)];
        outputs.extend(session.hold_timer());
        if session.hold.is_zero() {
            outputs.push(Output::Clear(Timer::Hold));
        }
        outputs.extend(session.keepalive_timer());
        self.session = Some(session);
        outputs
    }

    fn establish(&mut self) -> Vec<Output> {
        let Some(session) = self.session.clone() else { return Vec::new() };
        self.state = State::Established;
        self.established_before = true;
        self.backoff.reset();
        let mut outputs: Vec<Output> = session.hold_timer().into_iter().collect();
        outputs.extend(session.send_hold_timer());
        outputs.push(Output::Up(session));
        outputs
    }

    fn heard(&self) -> Option<Output> {
        self.session.as_ref().and_then(Session::hold_timer)
    }

    fn progress(&mut self) -> Vec<Output> {
        let session = self.session.as_ref().filter(|_| self.state >= State::Established);
        session.and_then(Session::send_hold_timer).into_iter().collect()
    }

    fn timer(&mut self, timer: Timer) -> Vec<Output> {
        match (timer, self.state) {
            (Timer::Retry, State::Waiting) => self.connect(),
            (Timer::Retry, State::Connect) => {
                let limit = CONNECT_LIMIT.as_secs();
                let why = format!(
                    "no answer within {limit} s: check the address, firewalls, and password and \
                     TTL security on both sides"
                );
                self.end(None, Down::Unreachable(why))
            }
            (Timer::Hold, State::OpenSent | State::OpenConfirm | State::Established) => {
                const SILENT: &str = "it took the connection and sends no OPEN: check TTL security \
                                      on both sides, and whether BGP runs there";
                let why = (self.state == State::OpenSent).then(|| SILENT.to_owned());
                let notification = Notification::hold_time_expired();
                self.end(Some(notification.clone()), Down::Ours(notification, why))
            }
            (Timer::Hold | Timer::SendHold, State::Draining) => self.finish(None),
            (Timer::SendHold, State::Established) => self.end(None, Down::Stuck),
            (Timer::Keepalive, State::OpenConfirm | State::Established | State::Draining) => {
                let again = self.session.as_ref().and_then(Session::keepalive_timer);
                std::iter::once(Output::Send(Control::Keepalive)).chain(again).collect()
            }
            (Timer::Drain, State::Draining) => self.drained(),
            _ => Vec::new(),
        }
    }

    fn bfd_down(&mut self) -> Vec<Output> {
        if self.state < State::OpenSent {
            return Vec::new();
        }
        if self.state == State::Draining {
            return self.finish(None);
        }
        let notification = Notification::cease(Cease::BfdDown, "");
        self.end(Some(notification.clone()), Down::Ours(notification, None))
    }

    fn stop(&mut self, text: String, gracefully: bool) -> Vec<Output> {
        self.farewell = text;
        match self.state {
            State::Idle => Vec::new(),
            State::Waiting | State::Connect => self.finish(None),
            State::Established if gracefully => {
                self.state = State::Draining;
                let mark = self.config.drain_mark;
                vec![Output::MarkRoutes, Output::Set(Timer::Drain, mark)]
            }
            State::Draining if gracefully => Vec::new(),
            _ => self.finish(Some(self.cease())),
        }
    }

    /// The next step of a planned stop: after the mark the withdrawal, after that the end.
    fn drained(&mut self) -> Vec<Output> {
        match self.session.as_mut().filter(|session| !session.withdrawn) {
            Some(session) => {
                session.withdrawn = true;
                let settle = self.config.drain_settle;
                vec![Output::WithdrawRoutes, Output::Set(Timer::Drain, settle)]
            }
            None => self.finish(Some(self.cease())),
        }
    }

    fn cease(&self) -> Notification {
        Notification::cease(Cease::AdministrativeShutdown, &self.farewell)
    }

    /// The end for good.
    fn finish(&mut self, notification: Option<Notification>) -> Vec<Output> {
        let mut outputs = self.hang_up(notification);
        self.state = State::Idle;
        outputs.push(Output::Down(Down::Stopped));
        outputs
    }

    /// The end of an attempt or session; another follows.
    fn end(&mut self, notification: Option<Notification>, down: Down) -> Vec<Output> {
        let mut outputs = self.hang_up(notification);
        self.state = State::Waiting;
        outputs.push(Output::Set(Timer::Retry, self.backoff.next()));
        outputs.push(Output::Down(down));
        outputs
    }

    fn hang_up(&mut self, notification: Option<Notification>) -> Vec<Output> {
        self.session = None;
        let last = notification.map(|last| Output::Send(Control::Notification(last)));
        let mut outputs: Vec<Output> = last.into_iter().collect();
        if self.state > State::Waiting {
            outputs.push(Output::Close);
        }
        outputs.push(Output::ClearAll);
        outputs
    }
}

//! One session with one peer, as a state machine (RFC 4271 section 8): what happened in, what to
//! do out.
//!
//! ```text
//!            Start              Connected           OPEN            KEEPALIVE
//!   Idle ───────────> Connect ───────────> OpenSent ────> OpenConfirm ────> Established
//!     ▲                │  ▲ Retry             ▲                                │ Stop
//!     │     failed     ▼  │     Called        │    any error, any loss         ▼
//!     └───── Stop ── Waiting ─────────────────┘ <────────────────────────── Draining
//!
//!   collision: a call while a connection of ours is being made (section 6.8)
//! ```
//!
//! No socket, no clock, no task: timers are asked for ([`Output::Set`]) and come back
//! ([`Input::Timer`]), and the jitter comes from a seed, so that a session of hours is a test of
//! microseconds. What always holds:
//! * every input is answered in every state; none panics;
//! * a session that ends for whatever reason is tried again, later each time up to
//!   [`Config::connect_time`], until [`Input::Stop`]; a passive one waits for a call instead;
//! * what comes from a connection that was given up is ignored: the shell closes it first;
//! * there are at most two connections, one of each [`Origin`], and none beside an established one.

mod backoff;
mod collision;
mod config;
mod events;
mod negotiate;

pub use config::{Config, PeerAs, Restart};
pub use events::{Down, Input, Origin, Output, State, Timer};
pub use negotiate::Session;

use std::collections::BTreeSet;
use std::time::Duration;

use super::wire::{Cease, Control, Family, Message, Notification, Refresh, WireError};
use backoff::Backoff;
use collision::{Held, Rival};

/// Until the peer's OPEN is there. RFC 4271 section 8.2.2 suggests four minutes; that is a long time
/// to be told nothing when, say, TTLs do not fit.
const OPEN_HOLD: Duration = Duration::from_secs(60);
/// What a connection may take to be made.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// RFC 9687 section 4: the send hold time is twice the hold time, and not less than this.
const LEAST_SEND_HOLD: Duration = Duration::from_secs(480);

/// What a connection is to the machine.
enum Part {
    /// That of the state.
    Main,
    /// The one beside it.
    Rival,
    /// None of them any more.
    None,
}

/// One session.
#[derive(Clone, Debug)]
pub struct Fsm {
    config: Config,
    state: State,
    backoff: Backoff,
    /// What was negotiated; from OpenConfirm on.
    session: Option<Session>,
    /// Who made the connection that the state is about.
    origin: Origin,
    /// No router is between us and the peer.
    on_link: bool,
    /// A call beside an attempt of ours.
    rival: Option<Rival>,
    /// The one of two connections that is not to stay, if the other one comes to its OPEN.
    held: Option<Held>,
    /// Why the peer cannot call.
    deaf: Option<String>,
    /// The peer has called: whatever is wrong, it is something else.
    called: bool,
    /// What the peer is told at the end of a planned stop.
    farewell: String,
    /// Families for which the last OPEN offered graceful restart.
    offered: BTreeSet<Family>,
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
            origin: Origin::Ours,
            on_link: false,
            rival: None,
            held: None,
            deaf: None,
            called: false,
            farewell: String::new(),
            offered: BTreeSet::new(),
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
            Input::Called { on_link } => self.called(on_link),
            Input::Deaf(why) => self.deaf(why),
            Input::Received(origin, message) => match self.part(origin) {
                Part::Main => self.received(message),
                Part::Rival => self.rival_received(message),
                Part::None => Vec::new(),
            },
            Input::Malformed(origin, error) => match self.part(origin) {
                Part::Main => self.malformed(&error),
                Part::Rival => self.rival_malformed(&error),
                Part::None => Vec::new(),
            },
            Input::Closed(origin, why) => match self.part(origin) {
                Part::Main => self.closed(why),
                Part::Rival => self.lose_rival(None),
                Part::None => Vec::new(),
            },
            Input::Progress => self.progress(),
            Input::Timer(timer) => self.timer(timer),
            Input::BfdDown => self.bfd_down(),
            Input::Stop { text, gracefully } => self.stop(text, gracefully),
            Input::End(cease) => self.end_for(cease),
            Input::Offer(restart) => self.offer(restart),
        }
    }

    fn start(&mut self) -> Vec<Output> {
        if self.state == State::Idle { self.connect() } else { Vec::new() }
    }

    /// Which of the connections one of this origin is.
    fn part(&self, origin: Origin) -> Part {
        match origin {
            _ if origin == self.origin => Part::Main,
            Origin::Theirs if self.rival.is_some() => Part::Rival,
            _ => Part::None,
        }
    }

    fn connect(&mut self) -> Vec<Output> {
        self.origin = Origin::Ours;
        if self.config.passive {
            self.state = State::Waiting;
            return vec![Output::Set(Timer::Retry, self.config.connect_time)];
        }
        self.state = State::Connect;
        vec![Output::Connect, Output::Set(Timer::Retry, CONNECT_LIMIT)]
    }

    fn connected(&mut self, on_link: bool) -> Vec<Output> {
        if self.state != State::Connect {
            return Vec::new();
        }
        self.opened(Origin::Ours, on_link)
    }

    /// A connection is there, and is the one that the state is about.
    fn opened(&mut self, origin: Origin, on_link: bool) -> Vec<Output> {
        self.state = State::OpenSent;
        self.origin = origin;
        self.on_link = on_link;
        let open = self.open();
        vec![
            Output::Clear(Timer::Retry),
            Output::Send(origin, open),
            Output::Set(Timer::Hold, OPEN_HOLD),
        ]
    }

    fn open(&mut self) -> Control {
        self.offered = self.config.surviving().collect();
        Control::Open(self.config.open(self.established_before))
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
            (State::OpenSent, Message::Keepalive) if self.holds(self.origin) => self.keep_held(),
            (State::Idle | State::Waiting | State::Connect, _) => Vec::new(),
            (State::Draining, Message::Notification(_)) => self.finish(None),
            (_, Message::Notification(notification)) => self.end(None, Down::Peer(notification)),
            (State::OpenSent, Message::Open(open)) => {
                match Session::negotiate(&self.config, &open, self.on_link) {
                    Ok(session) => self.opens(session),
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
        let mut outputs = vec![Output::Send(self.origin, Control::Keepalive)];
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
        let mut outputs = self.drop_rival(Some(Notification::cease(Cease::Collision, "")));
        outputs.extend(session.hold_timer());
        outputs.extend(session.send_hold_timer());
        outputs.push(Output::Up(self.origin, session));
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
            (Timer::Retry, State::Waiting) if self.config.passive => self.uncalled(),
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
                let keepalive = Output::Send(self.origin, Control::Keepalive);
                std::iter::once(keepalive).chain(again).collect()
            }
            (Timer::Drain, State::Draining) => self.drained(),
            (Timer::Rival, _) => self.lose_rival(Some(Notification::hold_time_expired())),
            (Timer::Grace, _) => self.release(),
            _ => Vec::new(),
        }
    }

    fn bfd_down(&mut self) -> Vec<Output> {
        let notification = Notification::cease(Cease::BfdDown, "");
        let mut outputs = self.drop_rival(Some(notification.clone()));
        match self.state {
            State::Idle | State::Waiting | State::Connect => {}
            State::Draining => outputs.extend(self.finish(None)),
            State::OpenSent | State::OpenConfirm | State::Established => {
                outputs
                    .extend(self.end(Some(notification.clone()), Down::Ours(notification, None)));
            }
        }
        outputs
    }

    fn stop(&mut self, text: String, gracefully: bool) -> Vec<Output> {
        self.farewell = text;
        match self.state {
            State::Idle => Vec::new(),
            State::Waiting => self.finish(None),
            State::Established if gracefully => {
                self.state = State::Draining;
                let mark = self.config.drain_mark;
                vec![Output::MarkRoutes, Output::Set(Timer::Drain, mark)]
            }
            State::Draining if gracefully => Vec::new(),
            _ => self.finish(Some(self.cease())),
        }
    }

    fn end_for(&mut self, cease: Cease) -> Vec<Output> {
        match self.state {
            State::Idle => Vec::new(),
            State::Waiting => self.finish(None),
            _ => self.finish(Some(Notification::cease(cease, ""))),
        }
    }

    /// RFC 4724 section 4.2: a peer keeps routes over the end of a connection that was not ended by
    /// a NOTIFICATION, and drops those for which the next OPEN makes no promise.
    fn offer(&mut self, restart: Option<Restart>) -> Vec<Output> {
        self.config.graceful_restart = restart;
        let holds: BTreeSet<Family> = self.config.surviving().collect();
        let believed = self.session.as_ref().is_none_or(|one| one.graceful_restart.is_some());
        let connected = (State::OpenSent..=State::Established).contains(&self.state);
        let connected = connected || self.rival.is_some();
        if !connected || !believed || self.offered.is_subset(&holds) {
            return Vec::new();
        }
        let mut outputs = self.hang_up(None);
        outputs.push(Output::Down(Down::Renewed));
        outputs.extend(self.connect());
        outputs
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
        if self.rival.is_some() {
            return self.promote(notification);
        }
        let mut outputs = self.hang_up(notification);
        self.state = State::Waiting;
        let wait = match self.config.passive {
            true => self.config.connect_time,
            false => self.backoff.next(),
        };
        outputs.push(Output::Set(Timer::Retry, wait));
        outputs.push(Output::Down(down));
        outputs
    }

    fn hang_up(&mut self, notification: Option<Notification>) -> Vec<Output> {
        self.session = None;
        self.held = None;
        let mut outputs = self.drop_rival(notification.clone());
        let last = notification.filter(|_| self.state > State::Connect);
        let last = last.map(|last| Output::Send(self.origin, Control::Notification(last)));
        outputs.extend(last);
        if self.state > State::Waiting {
            outputs.push(Output::Close(self.origin));
        }
        outputs.push(Output::ClearAll);
        outputs
    }
}

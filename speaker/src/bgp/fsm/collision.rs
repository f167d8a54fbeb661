//! Calls of the peer, and what becomes of two connections at once (RFC 4271 section 6.8).
//!
//! A call that comes while we have no connection is simply taken. One that comes beside an attempt of
//! ours is its rival, and both go on until it is known which of them stays:
//! * when both have an OPEN, the one that was made by the side of the higher BGP identifier (of the
//!   higher AS number where these are equal, RFC 6286);
//! * when one of them fails, the other; when one is established, that one.
//!
//! So a path that works in one direction only is enough for a session. The RFC lets each end keep what
//! the other one closes, when one has established a connection while the other compares identifiers. So
//! the connection that would not stay is held for a moment before its OPEN is confirmed, in which the
//! other one may come to its own. After that, or with peers that lose more time, that can still happen:
//! then both ends begin anew, after times that differ.

use std::time::Duration;

use super::{Down, Fsm, OPEN_HOLD, Origin, Output, Session, State, Timer};
use crate::bgp::wire::{Cease, Control, FSM_ERROR, Message, Notification, WireError};

/// How long the connection that would not stay waits for the other one.
const GRACE: Duration = Duration::from_secs(3);

/// The connection that would not stay. To the rest of the machine it is in OpenSent.
#[derive(Clone, Debug)]
pub(super) struct Held {
    origin: Origin,
    session: Session,
    /// The peer has confirmed our OPEN.
    kept: bool,
}

/// A call beside an attempt of ours, in OpenSent or, with what was negotiated, in OpenConfirm.
#[derive(Clone, Debug)]
pub(super) struct Rival {
    session: Option<Session>,
    on_link: bool,
}

impl Fsm {
    /// The peer calls.
    pub(super) fn called(&mut self, on_link: bool) -> Vec<Output> {
        self.called = true;
        match (self.state, self.origin) {
            (State::Idle, _) => refuse(Cease::ConnectionRejected),
            (State::Established | State::Draining, _) => refuse(Cease::Collision),
            (State::Waiting, _) => self.accept(on_link),
            (_, Origin::Ours) => {
                // Whoever calls again has given the first call up.
                self.held = self.held.take().filter(|held| held.origin == Origin::Ours);
                let mut outputs = self.drop_rival(Some(collision()));
                self.rival = Some(Rival { session: None, on_link });
                let open = self.open();
                outputs.push(Output::Accept);
                outputs.push(Output::Send(Origin::Theirs, open));
                outputs.push(Output::Set(Timer::Rival, OPEN_HOLD));
                outputs
            }
            (_, Origin::Theirs) => {
                let mut outputs = self.hang_up(Some(collision()));
                outputs.extend(self.accept(on_link));
                outputs
            }
        }
    }

    fn accept(&mut self, on_link: bool) -> Vec<Output> {
        let mut outputs = vec![Output::Accept];
        outputs.extend(self.opened(Origin::Theirs, on_link));
        outputs
    }

    /// The peer can call, or why it cannot.
    pub(super) fn deaf(&mut self, why: Option<String>) -> Vec<Output> {
        self.called = false;
        self.deaf = why;
        let waits = self.config.passive && self.state == State::Waiting;
        let why = self.deaf.clone().filter(|_| waits);
        why.map(|why| Output::Down(Down::Unreachable(why))).into_iter().collect()
    }

    /// A passive session has waited for long. When the peer has called before, what came of it says
    /// more.
    pub(super) fn uncalled(&self) -> Vec<Output> {
        let wait = self.config.connect_time;
        let mut outputs = vec![Output::Set(Timer::Retry, wait)];
        if !self.called {
            let why = self.deaf.clone().unwrap_or_else(|| {
                format!(
                    "it has not called for {} s, and this BGPPeer is passive: check that the router \
                     dials (is not passive, too), that it has this node as a neighbour, firewalls, \
                     and password and TTL security on both sides",
                    wait.as_secs()
                )
            });
            outputs.push(Output::Down(Down::Unreachable(why)));
        }
        outputs
    }

    /// The OPEN of the connection that the state is about.
    pub(super) fn opens(&mut self, session: Session) -> Vec<Output> {
        let Some(rival) = &self.rival else { return self.confirm(session) };
        let rival_has_open = rival.session.is_some() || self.holds(Origin::Theirs);
        match (rival_has_open, self.ours_stays(&session)) {
            (true, true) => {
                self.held = None;
                let mut outputs = self.drop_rival(Some(collision()));
                outputs.push(Output::Clear(Timer::Grace));
                outputs.extend(self.confirm(session));
                outputs
            }
            (true, false) => self.promote(Some(collision())),
            (false, true) => self.confirm(session),
            (false, false) => self.hold(Origin::Ours, session),
        }
    }

    fn hold(&mut self, origin: Origin, session: Session) -> Vec<Output> {
        self.held = Some(Held { origin, session, kept: false });
        vec![Output::Set(Timer::Grace, GRACE)]
    }

    /// Whether the connection of this origin is held.
    pub(super) fn holds(&self, origin: Origin) -> bool {
        self.held.as_ref().is_some_and(|held| held.origin == origin)
    }

    /// The peer has confirmed the connection that is held.
    pub(super) fn keep_held(&mut self) -> Vec<Output> {
        if let Some(held) = &mut self.held {
            held.kept = true;
        }
        Vec::new()
    }

    /// The connection that is held goes on.
    pub(super) fn release(&mut self) -> Vec<Output> {
        let Some(Held { origin, session, kept }) = self.held.take() else { return Vec::new() };
        let mut outputs = match origin {
            Origin::Ours => self.confirm(session),
            Origin::Theirs => self.confirm_rival(session),
        };
        if kept && origin == Origin::Theirs {
            outputs.extend(self.promote(Some(collision())));
        }
        if kept {
            outputs.extend(self.establish());
        }
        outputs
    }

    pub(super) fn rival_received(&mut self, message: Message) -> Vec<Output> {
        let Some(rival) = &self.rival else { return Vec::new() };
        match (&rival.session, message) {
            (_, Message::Notification(_)) => self.lose_rival(None),
            (None, Message::Keepalive) if self.holds(Origin::Theirs) => self.keep_held(),
            (None, Message::Open(open)) => {
                match Session::negotiate(&self.config, &open, rival.on_link) {
                    Ok(session) => self.rival_opens(session),
                    Err((notification, why)) => self.rival_fails(notification, Some(why)),
                }
            }
            (Some(_), Message::Keepalive) => {
                let mut outputs = self.promote(Some(collision()));
                outputs.extend(self.establish());
                outputs
            }
            (session, _) => {
                let subcode = if session.is_none() { 1 } else { 2 };
                self.rival_fails(Notification::new(FSM_ERROR, subcode), None)
            }
        }
    }

    fn rival_opens(&mut self, session: Session) -> Vec<Output> {
        let ours_has_open = self.state == State::OpenConfirm || self.holds(Origin::Ours);
        match (ours_has_open, self.ours_stays(&session)) {
            (true, true) => self.drop_rival(Some(collision())),
            (false, true) if self.state == State::OpenSent => self.hold(Origin::Theirs, session),
            (ours_has_open, _) => {
                let mut outputs = self.confirm_rival(session);
                if ours_has_open {
                    self.held = None;
                    outputs.extend(self.promote(Some(collision())));
                }
                outputs
            }
        }
    }

    fn confirm_rival(&mut self, session: Session) -> Vec<Output> {
        let limit = if session.hold.is_zero() { OPEN_HOLD } else { session.hold };
        if let Some(rival) = &mut self.rival {
            rival.session = Some(session);
        }
        vec![Output::Send(Origin::Theirs, Control::Keepalive), Output::Set(Timer::Rival, limit)]
    }

    pub(super) fn rival_malformed(&mut self, error: &WireError) -> Vec<Output> {
        self.rival_fails(error.notification(), Some(error.to_string()))
    }

    /// The attempt of ours goes on; but what is wrong with the call may be all there is to say.
    fn rival_fails(&mut self, notification: Notification, why: Option<String>) -> Vec<Output> {
        let mut outputs = self.drop_rival(Some(notification.clone()));
        outputs.push(Output::Down(Down::Ours(notification, why)));
        outputs.extend(self.alone());
        outputs
    }

    /// The call beside ours is lost, or given up.
    pub(super) fn lose_rival(&mut self, notification: Option<Notification>) -> Vec<Output> {
        let mut outputs = self.drop_rival(notification);
        outputs.extend(self.alone());
        outputs
    }

    /// There is no rival any more that ours would wait for.
    fn alone(&mut self) -> Vec<Output> {
        self.held = self.held.take().filter(|held| held.origin == Origin::Ours);
        self.release()
    }

    /// The end of the call beside ours, if there is one.
    pub(super) fn drop_rival(&mut self, notification: Option<Notification>) -> Vec<Output> {
        if self.rival.take().is_none() {
            return Vec::new();
        }
        let mut outputs = last(Origin::Theirs, notification);
        outputs.push(Output::Close(Origin::Theirs));
        outputs.push(Output::Clear(Timer::Rival));
        outputs
    }

    /// The end of the attempt of ours: the call beside it is all there is from now on.
    pub(super) fn promote(&mut self, notification: Option<Notification>) -> Vec<Output> {
        let Some(rival) = self.rival.take() else { return Vec::new() };
        let mut outputs = match self.state {
            State::Connect => Vec::new(),
            _ => last(self.origin, notification),
        };
        outputs.push(Output::Close(self.origin));
        outputs.push(Output::ClearAll);
        self.origin = Origin::Theirs;
        self.on_link = rival.on_link;
        let held = self.held.take().filter(|held| held.origin == Origin::Theirs);
        if let Some(Held { session, kept, .. }) = held {
            self.state = State::OpenSent;
            outputs.extend(self.confirm(session));
            if kept {
                outputs.extend(self.establish());
            }
            return outputs;
        }
        match &rival.session {
            None => {
                self.state = State::OpenSent;
                outputs.push(Output::Set(Timer::Hold, OPEN_HOLD));
            }
            Some(session) => {
                self.state = State::OpenConfirm;
                outputs.extend(session.hold_timer());
                outputs.extend(session.keepalive_timer());
            }
        }
        self.session = rival.session;
        outputs
    }

    /// Whether of two connections the one that we made is to stay.
    fn ours_stays(&self, session: &Session) -> bool {
        let ours = (self.config.router_id, self.config.asn);
        ours > (session.peer_router_id, session.peer_as)
    }
}

fn collision() -> Notification {
    Notification::cease(Cease::Collision, "")
}

fn refuse(cease: Cease) -> Vec<Output> {
    vec![Output::Refuse(Notification::cease(cease, ""))]
}

fn last(origin: Origin, notification: Option<Notification>) -> Vec<Output> {
    let said = notification.map(|last| Output::Send(origin, Control::Notification(last)));
    said.into_iter().collect()
}

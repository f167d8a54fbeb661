//! What a session is told, and what it asks for.

use std::fmt;
use std::time::Duration;

use super::config::Restart;
use super::negotiate::Session;
use crate::bgp::wire::{Cease, Control, Family, Message, Notification, WireError};

/// Who made a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// We did.
    Ours,
    /// The peer did.
    Theirs,
}

/// The states of RFC 4271; `Waiting` is its Active, `Draining` a planned stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Not started, or stopped for good.
    Idle,
    /// Waits to try again, or for the peer to call.
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
    /// Until the next attempt to connect, or the end of one; of a passive session, until it is said
    /// that nobody calls.
    Retry,
    /// Until the peer counts as lost.
    Hold,
    /// Until the next KEEPALIVE.
    Keepalive,
    /// Until a peer that takes nothing counts as lost (RFC 9687).
    SendHold,
    /// Until the next step of a planned stop.
    Drain,
    /// Until the end of a call beside an attempt of ours.
    Rival,
    /// Until a connection no longer waits for the one that is to stay.
    Grace,
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
    /// The peer has made a connection. It is to be accepted or refused.
    Called {
        /// No router is between us and the peer.
        on_link: bool,
    },
    /// The peer cannot call, and why; or it can again.
    Deaf(Option<String>),
    /// The peer said something.
    Received(Origin, Message),
    /// The peer said something unintelligible.
    Malformed(Origin, WireError),
    /// A connection is gone, and why.
    Closed(Origin, String),
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
    /// End for good and at once, for this reason.
    End(Cease),
    /// What is offered of graceful restart from now on. A session that promised more begins anew,
    /// without a NOTIFICATION: the peer keeps the routes until the next OPEN says what holds.
    Offer(Option<Restart>),
}

/// What is to be done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Make a connection.
    Connect,
    /// Take the call that has just come.
    Accept,
    /// Say this to whoever has just called, and close the connection.
    Refuse(Notification),
    /// Send a message.
    Send(Origin, Control),
    /// Close a connection, or give up the attempt, once what was sent is gone.
    Close(Origin),
    /// Start a timer anew.
    Set(Timer, Duration),
    /// Stop a timer.
    Clear(Timer),
    /// Stop all timers.
    ClearAll,
    /// Routes can be sent on this connection, all of them.
    Up(Origin, Session),
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
    /// It promised more than holds, and begins anew.
    Renewed,
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
            Down::Renewed => {
                f.write_str("begins anew: graceful restart holds for less than before")
            }
            Down::Stopped => f.write_str("stopped"),
        }
    }
}

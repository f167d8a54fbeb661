//! The bytes of BGP (RFC 4271): messages in, messages out.
//!
//! The only place that names `zettabgp`. It composes UPDATEs and reads single capabilities; all
//! framing, lengths and loops over foreign bytes are ours, because that crate hangs, panics or
//! overflows the stack on some of them (`tests/zettabgp.rs` shows each case,
//! docs/decisions/0010-zettabgp-behind-a-guard.md says what follows).
//!
//! No state. What always holds: no input, however long or malformed, makes a function here panic,
//! loop, or allocate more than a small multiple of one message (4,096 bytes).

mod error;
mod frame;
mod notification;
mod open;
mod received;
mod refresh;
mod update;

pub use error::WireError;
pub use frame::{Frame, HEADER, Kind, LONGEST, frame};
pub(super) use notification::code::{FSM as FSM_ERROR, OPEN as OPEN_ERROR};
pub(super) use notification::open as open_error;
pub use notification::{Cease, Notification};
pub use open::{Capabilities, GracefulRestart, Open};
pub use received::{Defect, Received};
pub use refresh::Refresh;
pub use update::{Community, Encoding, GRACEFUL_SHUTDOWN, LargeCommunity, NextHops, Path, TooLong};
pub use update::{announce, end_of_rib, withdraw};

use ipnet::IpNet;

/// Stands for a 4-byte AS number where only two bytes fit (RFC 6793).
pub const AS_TRANS: u16 = 23456;

/// What is announced: unicast prefixes of IPv4 or IPv6 (AFI 1 or 2, SAFI 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4 unicast.
    Ipv4,
    /// IPv6 unicast.
    Ipv6,
}

impl Family {
    /// Both.
    pub const ALL: [Family; 2] = [Family::Ipv4, Family::Ipv6];

    /// The family of a prefix.
    #[must_use]
    pub fn of(prefix: IpNet) -> Family {
        if prefix.addr().is_ipv4() { Family::Ipv4 } else { Family::Ipv6 }
    }

    /// Its address family number and subsequent one, if it is one of ours.
    fn from_numbers(afi: u16, safi: u8) -> Option<Family> {
        Family::ALL.into_iter().find(|family| (family.afi(), 1) == (afi, safi))
    }

    fn afi(self) -> u16 {
        match self {
            Family::Ipv4 => 1,
            Family::Ipv6 => 2,
        }
    }

    /// Bits of an address.
    fn bits(self) -> u8 {
        match self {
            Family::Ipv4 => 32,
            Family::Ipv6 => 128,
        }
    }
}

/// A received message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// What the peer is and can.
    Open(Open),
    /// Routes of the peer, already counted and forgotten.
    Update(Received),
    /// The peer ends the session.
    Notification(Notification),
    /// The peer lives.
    Keepalive,
    /// The peer asks for everything again, or marks such an answer.
    Refresh(Refresh),
}

/// Reads the body of a framed message. `as4` is what was negotiated: whether AS numbers in
/// AS_PATH have four bytes.
///
/// # Errors
/// What the sender is told. An UPDATE never fails: its defects are in [`Received`].
pub fn decode(kind: Kind, body: &[u8], as4: bool) -> Result<Message, WireError> {
    Ok(match kind {
        Kind::Open => Message::Open(Open::decode(body)?),
        Kind::Update => Message::Update(Received::check(body, as4)),
        Kind::Notification => Message::Notification(Notification::decode(body)),
        Kind::Keepalive => Message::Keepalive,
        Kind::Refresh => Message::Refresh(Refresh::decode(body)?),
    })
}

/// A message without routes, as we send it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// What we are and can.
    Open(Open),
    /// We live.
    Keepalive,
    /// We end the session.
    Notification(Notification),
}

impl Control {
    /// The whole message, header first.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Control::Open(open) => frame::message(Kind::Open, &open.encode()),
            Control::Keepalive => frame::message(Kind::Keepalive, &[]),
            Control::Notification(notification) => {
                frame::message(Kind::Notification, &notification.encode())
            }
        }
    }
}

/// Takes the first `count` bytes off `bytes`, if there are that many.
fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(count)?;
    *bytes = rest;
    Some(taken)
}

fn take_u8(bytes: &mut &[u8]) -> Option<u8> {
    take(bytes, 1).map(|taken| taken[0])
}

fn take_u16(bytes: &mut &[u8]) -> Option<u16> {
    take(bytes, 2).map(|taken| u16::from_be_bytes([taken[0], taken[1]]))
}

fn take_u32(bytes: &mut &[u8]) -> Option<u32> {
    take(bytes, 4).map(|taken| u32::from_be_bytes([taken[0], taken[1], taken[2], taken[3]]))
}

#[cfg(test)]
mod tests;

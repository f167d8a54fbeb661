//! What the state machines know of a frame, whichever protocol it is of.
//!
//! ARP and NDP say the same things: somebody has an address, asks for one, or wants to know whether it
//! may have one. [`Frame`] is that common part; the bytes are the business of `arp` and `ndp`.

use std::fmt;
use std::net::IpAddr;

use vipgate_planner::MacAddr;

use super::arp::{self, Arp};
use super::ndp::{self, Ndp};
use super::reason::DropReason;

/// The broadcast station.
pub const BROADCAST: MacAddr = MacAddr([0xff; 6]);
/// The hardware address nobody has.
pub const NO_MAC: MacAddr = MacAddr([0; 6]);

/// How an address is spoken about on a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// IPv4: the Address Resolution Protocol (RFC 826).
    Arp,
    /// IPv6: Neighbour Discovery (RFC 4861).
    Ndp,
}

impl Protocol {
    /// The protocol of an address.
    pub fn of(address: IpAddr) -> Protocol {
        if address.is_ipv4() { Protocol::Arp } else { Protocol::Ndp }
    }

    /// The EtherType of its frames.
    pub fn ether_type(self) -> u16 {
        match self {
            Protocol::Arp => arp::ETHERTYPE_ARP,
            Protocol::Ndp => ndp::ETHERTYPE_IPV6,
        }
    }

    /// Reads a frame, Ethernet header first.
    ///
    /// # Errors
    /// The first thing that is wrong with it, in the order of the fields.
    pub fn parse(self, bytes: &[u8]) -> Result<Frame, DropReason> {
        match self {
            Protocol::Arp => arp::parse(bytes).map(Frame::Arp),
            Protocol::Ndp => ndp::parse(bytes).map(Frame::Ndp),
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Arp => "ARP",
            Protocol::Ndp => "NDP",
        })
    }
}

/// A frame of one of the two protocols.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame {
    /// About IPv4.
    Arp(Arp),
    /// About IPv6.
    Ndp(Ndp),
}

impl From<Arp> for Frame {
    fn from(arp: Arp) -> Frame {
        Frame::Arp(arp)
    }
}

impl From<Ndp> for Frame {
    fn from(ndp: Ndp) -> Frame {
        Frame::Ndp(ndp)
    }
}

impl Frame {
    /// A question for `vip` that claims nothing.
    pub fn probe(mac: MacAddr, vip: IpAddr) -> Frame {
        match vip {
            IpAddr::V4(vip) => Arp::probe(mac, vip).into(),
            IpAddr::V6(vip) => Ndp::probe(mac, vip).into(),
        }
    }

    /// The frames that tell everybody that `mac` has `vip`.
    pub fn announcement(mac: MacAddr, vip: IpAddr) -> Vec<Frame> {
        match vip {
            IpAddr::V4(vip) => Arp::announcement(mac, vip).map(Frame::Arp).to_vec(),
            IpAddr::V6(vip) => vec![Ndp::announcement(mac, vip).into()],
        }
    }

    /// The answer of `mac` to this question.
    pub fn reply_from(&self, mac: MacAddr) -> Frame {
        match self {
            Frame::Arp(arp) => arp.reply_from(mac).into(),
            Frame::Ndp(ndp) => ndp.reply_from(mac).into(),
        }
    }

    /// Who speaks, as it says itself.
    pub fn sender(&self) -> MacAddr {
        match self {
            Frame::Arp(arp) => arp.sender_mac,
            Frame::Ndp(ndp) => ndp.sender_mac(),
        }
    }

    /// The address that the sender says it has; unspecified when it claims none.
    pub fn claims(&self) -> IpAddr {
        match self {
            Frame::Arp(arp) => arp.sender_ip.into(),
            Frame::Ndp(ndp) => ndp.claims().into(),
        }
    }

    /// The address that it asks for, if it asks.
    pub fn asks(&self) -> Option<IpAddr> {
        match self {
            Frame::Arp(arp) => arp.asks().map(IpAddr::V4),
            Frame::Ndp(ndp) => ndp.asks().map(IpAddr::V6),
        }
    }

    /// Whether this is somebody's probe: "I want to use the address that I ask for, has anyone got it?"
    pub fn is_probe(&self) -> bool {
        match self {
            Frame::Arp(arp) => arp.is_probe(),
            Frame::Ndp(ndp) => ndp.is_probe(),
        }
    }

    /// Whether a question was sent to `mac`, or to all who may have the address.
    pub fn reaches(&self, mac: MacAddr) -> bool {
        match self {
            Frame::Arp(arp) => arp.destination == mac || arp.destination == BROADCAST,
            Frame::Ndp(ndp) => ndp.destination == mac || ndp.destination == ndp.asked_group(),
        }
    }

    /// The frame as it goes on the wire; the driver pads it.
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Frame::Arp(arp) => arp.to_bytes().to_vec(),
            Frame::Ndp(ndp) => ndp.to_bytes(),
        }
    }
}

/// Whether no single station can have the address: multicast and broadcast have the lowest bit of
/// their first byte set.
pub(super) fn is_nobodys(mac: MacAddr) -> bool {
    mac == NO_MAC || mac.0[0] & 1 == 1
}

pub(super) fn expect<T: PartialEq>(
    found: T,
    wanted: T,
    reason: DropReason,
) -> Result<(), DropReason> {
    if found == wanted { Ok(()) } else { Err(reason) }
}

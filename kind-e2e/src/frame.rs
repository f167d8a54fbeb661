//! Captured frames, and the fields that assertions are made on.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use etherparse::{ArpOperation, NetSlice, SlicedPacket, TransportSlice};

use crate::Mac;

/// An Ethernet frame as it was on the wire.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    /// When it was read, after the start of the capture. Late by what the scheduler takes.
    pub at: Duration,
    /// The frame, from the destination address on, without check sequence.
    pub bytes: Vec<u8>,
}

/// What an ARP packet says (RFC 826).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArpOp {
    /// Who has the target address?
    Request,
    /// The sender has it.
    Reply,
    /// Something else, by number.
    Other(u16),
}

/// An ARP packet for IPv4 over Ethernet, with the addresses of the frame around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arp {
    /// Source of the frame.
    pub eth_src: Mac,
    /// Destination of the frame.
    pub eth_dst: Mac,
    /// Request or reply.
    pub op: ArpOp,
    /// Sender hardware address (`ar$sha`).
    pub sender_mac: Mac,
    /// Sender protocol address (`ar$spa`).
    pub sender_ip: Ipv4Addr,
    /// Target hardware address (`ar$tha`).
    pub target_mac: Mac,
    /// Target protocol address (`ar$tpa`).
    pub target_ip: Ipv4Addr,
}

/// A neighbour advertisement (RFC 4861, section 4.4), with the addresses of the frame around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advertised {
    /// Source of the frame.
    pub eth_src: Mac,
    /// Destination of the frame.
    pub eth_dst: Mac,
    /// Whether it answers a solicitation (S).
    pub solicited: bool,
    /// Whether it replaces what a neighbour has remembered (O).
    pub replaces: bool,
    /// The address.
    pub target: Ipv6Addr,
}

impl Frame {
    /// Source address. Zero for a frame too short to have one.
    #[must_use]
    pub fn eth_src(&self) -> Mac {
        self.mac_at(6)
    }

    /// Destination address. Zero for a frame too short to have one.
    #[must_use]
    pub fn eth_dst(&self) -> Mac {
        self.mac_at(0)
    }

    /// The headers, for what has no accessor here.
    #[must_use]
    pub fn headers(&self) -> Option<SlicedPacket<'_>> {
        SlicedPacket::from_ethernet(&self.bytes).ok()
    }

    /// The ARP packet in it, if it is one for IPv4 over Ethernet.
    #[must_use]
    pub fn arp(&self) -> Option<Arp> {
        let Some(NetSlice::Arp(slice)) = self.headers()?.net else { return None };
        let packet = slice.to_packet().try_eth_ipv4().ok()?;
        Some(Arp {
            eth_src: self.eth_src(),
            eth_dst: self.eth_dst(),
            op: match packet.operation {
                ArpOperation::REQUEST => ArpOp::Request,
                ArpOperation::REPLY => ArpOp::Reply,
                ArpOperation(other) => ArpOp::Other(other),
            },
            sender_mac: Mac(packet.sender_mac),
            sender_ip: packet.sender_ipv4.into(),
            target_mac: Mac(packet.target_mac),
            target_ip: packet.target_ipv4.into(),
        })
    }

    /// The neighbour advertisement in it, if it is one.
    #[must_use]
    pub fn advertised(&self) -> Option<Advertised> {
        let headers = self.headers()?;
        let Some(TransportSlice::Icmpv6(icmp)) = &headers.transport else { return None };
        let (flags, target) = (*icmp.slice().get(4)?, icmp.slice().get(8..24)?);
        (icmp.type_u8() == 136).then_some(Advertised {
            eth_src: self.eth_src(),
            eth_dst: self.eth_dst(),
            solicited: flags & 0x40 != 0,
            replaces: flags & 0x20 != 0,
            target: <[u8; 16]>::try_from(target).ok()?.into(),
        })
    }

    fn mac_at(&self, at: usize) -> Mac {
        let octets = self.bytes.get(at..at + 6).and_then(|octets| octets.try_into().ok());
        octets.map_or(Mac::ZERO, Mac)
    }
}

impl Arp {
    /// Whether sender and target address are the same: an announcement (RFC 5227, section 2.3),
    /// as request or as reply.
    #[must_use]
    pub fn is_announcement(&self) -> bool {
        self.sender_ip == self.target_ip
    }

    /// Whether it asks without claiming an address: a probe (RFC 5227, section 2.1).
    #[must_use]
    pub fn is_probe(&self) -> bool {
        self.op == ArpOp::Request && self.sender_ip.is_unspecified()
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.6} ", self.at.as_secs_f64())?;
        match self.arp() {
            Some(arp) => fmt::Debug::fmt(&arp, f),
            None => write!(f, "{} > {} {:02x?}", self.eth_src(), self.eth_dst(), self.bytes),
        }
    }
}

#[cfg(test)]
mod tests;

//! ARP for IPv4 over Ethernet (RFC 826): bytes to [`Arp`] and back.
//!
//! [`parse`] accepts any bytes and never reads past them. What it accepts, [`Arp::to_bytes`]
//! writes back bit for bit; padding after the packet is ignored.

use std::net::Ipv4Addr;

use vipgate_planner::MacAddr;

use super::frame::{BROADCAST, NO_MAC, expect, is_nobodys};
use super::reason::DropReason;

/// Length of an Ethernet header with an ARP packet, without padding, in bytes.
pub const FRAME_LEN: usize = ETHERNET_LEN + 28;
/// EtherType of ARP.
pub const ETHERTYPE_ARP: u16 = 0x0806;

const ETHERNET_LEN: usize = 14;
const HARDWARE_ETHERNET: u16 = 1;
const PROTOCOL_IPV4: u16 = 0x0800;
const MAC_LEN: u8 = 6;
const IPV4_LEN: u8 = 4;

/// What an ARP packet does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Asks who has the target address.
    Request,
    /// Says that the sender has the sender address.
    Reply,
}

/// An ARP packet in its Ethernet frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arp {
    /// Ethernet destination.
    pub destination: MacAddr,
    /// Ethernet source. Usually, but not necessarily, the sender of the packet.
    pub source: MacAddr,
    /// Request or reply.
    pub operation: Operation,
    /// Who claims to speak.
    pub sender_mac: MacAddr,
    /// The address the sender claims; unspecified in a probe.
    pub sender_ip: Ipv4Addr,
    /// Whom a reply is for; meaningless in a request.
    pub target_mac: MacAddr,
    /// The address asked for.
    pub target_ip: Ipv4Addr,
}

impl Arp {
    /// A question for `vip` that claims nothing (RFC 5227 section 1.1, "ARP Probe").
    pub fn probe(mac: MacAddr, vip: Ipv4Addr) -> Arp {
        Arp {
            destination: BROADCAST,
            source: mac,
            operation: Operation::Request,
            sender_mac: mac,
            sender_ip: Ipv4Addr::UNSPECIFIED,
            target_mac: NO_MAC,
            target_ip: vip,
        }
    }

    /// Both forms of a gratuitous announcement: there are stations that update their cache only
    /// on a request (RFC 5227 section 3), and others only on a reply.
    pub fn announcement(mac: MacAddr, vip: Ipv4Addr) -> [Arp; 2] {
        let request = Arp { sender_ip: vip, ..Arp::probe(mac, vip) };
        [request, Arp { operation: Operation::Reply, target_mac: BROADCAST, ..request }]
    }

    /// The answer of `mac` to this request, to its sender alone.
    pub fn reply_from(&self, mac: MacAddr) -> Arp {
        Arp {
            destination: self.sender_mac,
            source: mac,
            operation: Operation::Reply,
            sender_mac: mac,
            sender_ip: self.target_ip,
            target_mac: self.sender_mac,
            target_ip: self.sender_ip,
        }
    }

    /// The address that a request asks for.
    pub fn asks(&self) -> Option<Ipv4Addr> {
        (self.operation == Operation::Request).then_some(self.target_ip)
    }

    /// Whether this is somebody's probe: "I want to use the target address, has anyone got it?"
    pub fn is_probe(&self) -> bool {
        self.operation == Operation::Request && self.sender_ip.is_unspecified()
    }

    /// The frame as it goes on the wire; the driver pads it.
    pub fn to_bytes(&self) -> [u8; FRAME_LEN] {
        let operation: u16 = match self.operation {
            Operation::Request => 1,
            Operation::Reply => 2,
        };
        let mut bytes = [0; FRAME_LEN];
        let mut at = 0;
        let mut put = |field: &[u8]| {
            bytes[at..at + field.len()].copy_from_slice(field);
            at += field.len();
        };
        put(&self.destination.0);
        put(&self.source.0);
        put(&ETHERTYPE_ARP.to_be_bytes());
        put(&HARDWARE_ETHERNET.to_be_bytes());
        put(&PROTOCOL_IPV4.to_be_bytes());
        put(&[MAC_LEN, IPV4_LEN]);
        put(&operation.to_be_bytes());
        put(&self.sender_mac.0);
        put(&self.sender_ip.octets());
        put(&self.target_mac.0);
        put(&self.target_ip.octets());
        bytes
    }
}

/// Reads a frame, Ethernet header first.
///
/// # Errors
/// The first thing that is wrong with it, in the order of the fields.
pub fn parse(bytes: &[u8]) -> Result<Arp, DropReason> {
    let (bytes, _padding) = bytes.split_first_chunk::<FRAME_LEN>().ok_or(DropReason::Short)?;
    let mut fields = Fields(bytes);
    let destination = MacAddr(fields.take());
    let source = MacAddr(fields.take());
    expect(fields.take_u16(), ETHERTYPE_ARP, DropReason::EtherType)?;
    expect(fields.take_u16(), HARDWARE_ETHERNET, DropReason::HardwareType)?;
    expect(fields.take_u16(), PROTOCOL_IPV4, DropReason::ProtocolType)?;
    expect(fields.take(), [MAC_LEN], DropReason::HardwareLength)?;
    expect(fields.take(), [IPV4_LEN], DropReason::ProtocolLength)?;
    let operation = match fields.take_u16() {
        1 => Operation::Request,
        2 => Operation::Reply,
        _ => return Err(DropReason::Operation),
    };
    let sender_mac = MacAddr(fields.take());
    if is_nobodys(sender_mac) {
        return Err(DropReason::SenderMac);
    }
    Ok(Arp {
        destination,
        source,
        operation,
        sender_mac,
        sender_ip: fields.take::<4>().into(),
        target_mac: MacAddr(fields.take()),
        target_ip: fields.take::<4>().into(),
    })
}

/// The rest of a frame whose length was checked as a whole.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (field, rest) =
            self.0.split_first_chunk().expect("the fields add up to FRAME_LEN, which was checked");
        self.0 = rest;
        *field
    }

    fn take_u16(&mut self) -> u16 {
        u16::from_be_bytes(self.take())
    }
}

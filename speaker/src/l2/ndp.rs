//! Neighbour solicitations and advertisements over Ethernet (RFC 4861 sections 4.3, 4.4 and 7): bytes to
//! [`Ndp`] and back.
//!
//! [`parse`] accepts any bytes and never reads past them; it checks all that RFC 4861 section 7.1 says,
//! the hop limit of 255 (nothing came through a router) and the checksum among it. Options other than
//! link-layer addresses (the nonce of RFC 7527 and such) are skipped; extension headers are refused.

use std::net::Ipv6Addr;

use vipgate_planner::MacAddr;

use super::frame::{expect, is_nobodys};
use super::reason::DropReason;

/// EtherType of IPv6.
pub const ETHERTYPE_IPV6: u16 = 0x86dd;
/// Length of a message without options, with its headers, in bytes.
pub const LEAST_LEN: usize = ETHERNET_LEN + IPV6_LEN + MESSAGE_LEN;
/// All nodes of a link.
pub const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

const ETHERNET_LEN: usize = 14;
const IPV6_LEN: usize = 40;
/// ICMPv6 header, flags and target.
const MESSAGE_LEN: usize = 24;
const ICMPV6: u8 = 58;
const HOP_LIMIT: u8 = 255;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
const ROUTER: u8 = 0x80;
const SOLICITED: u8 = 0x40;
const OVERRIDE: u8 = 0x20;
const SOURCE_LINK_ADDRESS: u8 = 1;
const TARGET_LINK_ADDRESS: u8 = 2;

/// What a message does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// Asks who has the target.
    Solicitation,
    /// Says that the sender has the target.
    Advertisement {
        /// The sender is a router.
        router: bool,
        /// It answers a solicitation.
        solicited: bool,
        /// It replaces what a neighbour has remembered.
        replaces: bool,
    },
}

/// A neighbour solicitation or advertisement in its Ethernet frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ndp {
    /// Ethernet destination.
    pub destination: MacAddr,
    /// Ethernet source.
    pub source: MacAddr,
    /// IPv6 source; unspecified in a probe.
    pub sender_ip: Ipv6Addr,
    /// IPv6 destination.
    pub receiver_ip: Ipv6Addr,
    /// What it does.
    pub message: Message,
    /// The address asked for, or advertised.
    pub target: Ipv6Addr,
    /// The link-layer address that an option gives: the sender's in a solicitation, the target's in an
    /// advertisement. Both may lack it.
    pub link_address: Option<MacAddr>,
}

/// The group in which whoever has `address` is asked for it (RFC 4291 section 2.7.1).
pub fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = address.octets();
    Ipv6Addr::from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c])
}

/// The Ethernet address of a group (RFC 2464 section 7).
pub fn group_mac(group: Ipv6Addr) -> MacAddr {
    let [.., a, b, c, d] = group.octets();
    MacAddr([0x33, 0x33, a, b, c, d])
}

impl Ndp {
    /// A question for `vip` that claims nothing, as duplicate address detection asks (RFC 4862
    /// section 5.4.2).
    pub fn probe(mac: MacAddr, vip: Ipv6Addr) -> Ndp {
        let group = solicited_node(vip);
        Ndp {
            destination: group_mac(group),
            source: mac,
            sender_ip: Ipv6Addr::UNSPECIFIED,
            receiver_ip: group,
            message: Message::Solicitation,
            target: vip,
            link_address: None,
        }
    }

    /// An advertisement to all nodes that nobody asked for (RFC 4861 section 7.2.6).
    pub fn announcement(mac: MacAddr, vip: Ipv6Addr) -> Ndp {
        Ndp::advertisement(mac, vip, (group_mac(ALL_NODES), ALL_NODES), false)
    }

    /// The answer of `mac` to this solicitation. To a probe, which has no address to answer to, all
    /// nodes are told (RFC 4861 section 7.2.4).
    pub fn reply_from(&self, mac: MacAddr) -> Ndp {
        if self.is_probe() {
            return Ndp::announcement(mac, self.target);
        }
        Ndp::advertisement(mac, self.target, (self.sender_mac(), self.sender_ip), true)
    }

    fn advertisement(
        mac: MacAddr,
        vip: Ipv6Addr,
        (destination, receiver_ip): (MacAddr, Ipv6Addr),
        solicited: bool,
    ) -> Ndp {
        Ndp {
            destination,
            source: mac,
            sender_ip: vip,
            receiver_ip,
            message: Message::Advertisement { router: false, solicited, replaces: true },
            target: vip,
            link_address: Some(mac),
        }
    }

    /// Who speaks: as the option says, else as the frame does.
    pub fn sender_mac(&self) -> MacAddr {
        self.link_address.unwrap_or(self.source)
    }

    /// The address that the sender says it has.
    pub fn claims(&self) -> Ipv6Addr {
        match self.message {
            Message::Solicitation => self.sender_ip,
            Message::Advertisement { .. } => self.target,
        }
    }

    /// The address that a solicitation asks for.
    pub fn asks(&self) -> Option<Ipv6Addr> {
        (self.message == Message::Solicitation).then_some(self.target)
    }

    /// Whether this is a question of duplicate address detection.
    pub fn is_probe(&self) -> bool {
        self.message == Message::Solicitation && self.sender_ip.is_unspecified()
    }

    /// The Ethernet group in which the target is asked for.
    pub fn asked_group(&self) -> MacAddr {
        group_mac(solicited_node(self.target))
    }

    /// The frame as it goes on the wire.
    pub fn to_bytes(&self) -> Vec<u8> {
        let (kind, flags, option) = match self.message {
            Message::Solicitation => (SOLICITATION, 0, SOURCE_LINK_ADDRESS),
            Message::Advertisement { router, solicited, replaces } => {
                let flag = |set: bool, bit: u8| if set { bit } else { 0 };
                let flags =
                    flag(router, ROUTER) | flag(solicited, SOLICITED) | flag(replaces, OVERRIDE);
                (ADVERTISEMENT, flags, TARGET_LINK_ADDRESS)
            }
        };
        let mut icmp = vec![kind, 0, 0, 0, flags, 0, 0, 0];
        icmp.extend(self.target.octets());
        if let Some(mac) = self.link_address {
            icmp.extend([option, 1]);
            icmp.extend(mac.0);
        }
        let sum = checksum(self.sender_ip, self.receiver_ip, &icmp);
        icmp[2..4].copy_from_slice(&sum.to_be_bytes());

        let length = u16::try_from(icmp.len()).expect("at most 32 bytes");
        let mut bytes = Vec::with_capacity(ETHERNET_LEN + IPV6_LEN + icmp.len());
        bytes.extend(self.destination.0);
        bytes.extend(self.source.0);
        bytes.extend(ETHERTYPE_IPV6.to_be_bytes());
        bytes.extend([0x60, 0, 0, 0]);
        bytes.extend(length.to_be_bytes());
        bytes.extend([ICMPV6, HOP_LIMIT]);
        bytes.extend(self.sender_ip.octets());
        bytes.extend(self.receiver_ip.octets());
        bytes.extend(icmp);
        bytes
    }
}

/// Reads a frame, Ethernet header first.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn parse(bytes: &[u8]) -> Result<Ndp, DropReason> {
    let (head, rest) =
        bytes.split_first_chunk::<{ ETHERNET_LEN + IPV6_LEN }>().ok_or(DropReason::Short)?;
    let mut fields = Fields(head);
    let destination = MacAddr(fields.take());
    let source = MacAddr(fields.take());
    expect(u16::from_be_bytes(fields.take()), ETHERTYPE_IPV6, DropReason::EtherType)?;
    let [version, ..] = fields.take::<4>();
    expect(version >> 4, 6, DropReason::IpVersion)?;
    let length = usize::from(u16::from_be_bytes(fields.take()));
    expect(fields.take(), [ICMPV6], DropReason::NotNeighbour)?;
    expect(fields.take(), [HOP_LIMIT], DropReason::HopLimit)?;
    let sender_ip = Ipv6Addr::from(fields.take::<16>());
    let receiver_ip = Ipv6Addr::from(fields.take::<16>());

    // Behind the message there may be padding of the frame.
    let icmp = rest.get(..length).ok_or(DropReason::Short)?;
    let (message, options) = icmp.split_first_chunk::<MESSAGE_LEN>().ok_or(DropReason::Short)?;
    let mut fields = Fields(message);
    let [kind, code] = fields.take();
    let _checksum: [u8; 2] = fields.take();
    let [flags, ..] = fields.take::<4>();
    let target = Ipv6Addr::from(fields.take::<16>());
    let (message, option) = match kind {
        SOLICITATION => (Message::Solicitation, SOURCE_LINK_ADDRESS),
        ADVERTISEMENT => {
            let router = flags & ROUTER != 0;
            let (solicited, replaces) = (flags & SOLICITED != 0, flags & OVERRIDE != 0);
            (Message::Advertisement { router, solicited, replaces }, TARGET_LINK_ADDRESS)
        }
        _ => return Err(DropReason::NotNeighbour),
    };
    expect(code, 0, DropReason::Code)?;
    // The sum over a message that has its own checksum in it.
    expect(checksum(sender_ip, receiver_ip, icmp), 0, DropReason::Checksum)?;
    let link_address = link_address(options, option)?;
    let ndp = Ndp { destination, source, sender_ip, receiver_ip, message, target, link_address };
    if is_nobodys(ndp.sender_mac()) || is_nobodys(source) {
        return Err(DropReason::SenderMac);
    }
    ndp.is_consistent().then_some(ndp).ok_or(DropReason::Inconsistent)
}

impl Ndp {
    /// What RFC 4861 section 7.1 forbids although every field is well formed.
    fn is_consistent(&self) -> bool {
        let addresses = !self.target.is_multicast() && !self.sender_ip.is_multicast();
        addresses
            && match self.message {
                Message::Solicitation => {
                    !self.sender_ip.is_unspecified()
                        || (self.link_address.is_none()
                            && self.receiver_ip == solicited_node(self.target))
                }
                Message::Advertisement { solicited, .. } => {
                    !(solicited && self.receiver_ip.is_multicast())
                }
            }
    }
}

/// The address in the first option of this type. Other options are only walked over.
fn link_address(mut options: &[u8], wanted: u8) -> Result<Option<MacAddr>, DropReason> {
    let mut found = None;
    while let [kind, units, ..] = options {
        // Type and length, in units of eight bytes, are part of it.
        let length = usize::from(*units) * 8;
        if length == 0 || length > options.len() {
            return Err(DropReason::Options);
        }
        let (option, rest) = options.split_at(length);
        if *kind == wanted && found.is_none() {
            let mac = <[u8; 6]>::try_from(&option[2..]).map_err(|_| DropReason::Options)?;
            found = Some(MacAddr(mac));
        }
        options = rest;
    }
    if options.is_empty() { Ok(found) } else { Err(DropReason::Options) }
}

/// The checksum of an ICMPv6 message with the header that it stands for (RFC 8200 section 8.1); 0 over
/// a message that carries the right one.
fn checksum(sender: Ipv6Addr, receiver: Ipv6Addr, icmp: &[u8]) -> u16 {
    let words = |bytes: &[u8]| -> u64 {
        let pairs = bytes.chunks(2);
        pairs.map(|pair| u64::from(pair[0]) << 8 | u64::from(*pair.get(1).unwrap_or(&0))).sum()
    };
    let mut sum = words(&sender.octets()) + words(&receiver.octets()) + words(icmp);
    sum += icmp.len() as u64 + u64::from(ICMPV6);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// The rest of a part whose length was checked as a whole.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (field, rest) =
            self.0.split_first_chunk().expect("the fields add up to what was checked");
        self.0 = rest;
        *field
    }
}

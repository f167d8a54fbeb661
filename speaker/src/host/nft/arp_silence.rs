//! The table `arp vipgate`: the kernel neither answers for a VIP nor uses it as ARP sender.
//!
//! With a VIP on `lo` the kernel by default answers ARP for it on every interface, and sends ARP
//! requests with the VIP as sender when a packet from the VIP needs a neighbour. Both would
//! announce the VIP from nodes that do not own it. The table drops the one and rewrites the other;
//! the speaker's own replies leave through an AF_PACKET socket and do not pass it.
//!
//! ```text
//! table arp vipgate {
//!     set vips { type ipv4_addr; }
//!     chain out { type filter hook output priority filter; policy accept;
//!         arp operation reply arp saddr ip @vips drop
//!         oifname "eth0" arp operation request arp saddr ip @vips arp saddr ip set 192.0.2.7
//!         arp operation request arp saddr ip @vips arp saddr ip set 0.0.0.0
//!     }
//! }
//! ```
//!
//! A request's sender must be an address of the interface that it leaves by, hence one rule per
//! interface. An interface without an IPv4 address, or one that came a moment ago, falls through to
//! the last rule: sender 0.0.0.0 is what an ARP probe has (RFC 5227 section 2.1.1), hosts answer
//! it, and no cache learns anything from it.
//!
//! The table outlives the process on purpose: addresses that a dead process left on `lo` stay
//! silent until they expire.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use vipgate_planner::Link;

use super::expression::Expression::{Drop, Equal, InSet, Meta as LoadMeta, Payload, SetPayload};
use super::expression::{Field, Header, Meta, Register, Rule};
use super::ruleset::{Chain, ChainKind, Content, Family, Hook, Set, Table, Type};
use crate::host::Exposures;

const VIPS: &str = "vips";
/// `filter`.
const PRIORITY: i32 = 0;

/// ARP operation, after hardware type, protocol type and the two address lengths (RFC 826).
const OPERATION: Field = Field { header: Header::Network, offset: 6, len: 2 };
/// Sender protocol address, after the sender hardware address of 6 bytes.
const SENDER_IP: Field = Field { header: Header::Network, offset: 14, len: 4 };
const REQUEST: u16 = 1;
const REPLY: u16 = 2;

/// The address that ARP requests carry, per interface.
pub(super) type Senders = BTreeMap<String, Ipv4Addr>;

/// The first IPv4 address of each interface that speaks ARP.
pub(super) fn senders(links: &[Link]) -> Senders {
    let first_ipv4 = |link: &Link| {
        link.addresses.iter().find_map(|net| match net.addr() {
            IpAddr::V4(ip) => Some(ip),
            IpAddr::V6(_) => None,
        })
    };
    links
        .iter()
        .filter(|link| link.mac.is_some())
        .filter_map(|link| Some((link.name.clone(), first_ipv4(link)?)))
        .collect()
}

/// What the table holds.
pub(super) fn content(exposures: &Exposures, senders: &Senders) -> Content {
    let vips = exposures.keys().filter_map(|ip| match ip {
        IpAddr::V4(ip) => Some((ip.octets().to_vec(), Vec::new())),
        IpAddr::V6(_) => None,
    });
    let vips = Set { name: VIPS, keys: &[Type::Ipv4], values: &[], elements: vips.collect() };
    let out = Chain {
        name: "out",
        kind: ChainKind::Filter,
        hook: Hook::ArpOutput,
        priority: PRIORITY,
        rules: rules(senders),
    };
    let table = Table { family: Family::Arp, name: super::NAME };
    Content { table, sets: vec![vips], chains: vec![out] }
}

/// The rules of the chain, in their order.
pub(super) fn rules(senders: &Senders) -> Vec<Rule> {
    let mut silent_reply = from_a_vip(REPLY);
    silent_reply.push(Drop);
    let per_interface = senders.iter().map(|(name, sender)| {
        let load = LoadMeta(Meta::OutputInterfaceName, Register::FIRST);
        let mut rule = vec![load, Equal(super::interface_name(name))];
        rule.extend(from_a_vip(REQUEST));
        rule.push(SetPayload(SENDER_IP, sender.octets().to_vec()));
        rule
    });
    let mut otherwise = from_a_vip(REQUEST);
    otherwise.push(SetPayload(SENDER_IP, Ipv4Addr::UNSPECIFIED.octets().to_vec()));
    std::iter::once(silent_reply).chain(per_interface).chain([otherwise]).collect()
}

fn from_a_vip(operation: u16) -> Rule {
    vec![
        Payload(OPERATION, Register::FIRST),
        Equal(operation.to_be_bytes().to_vec()),
        Payload(SENDER_IP, Register::FIRST),
        InSet(VIPS),
    ]
}

//! Tests of the state machines, the codec and the filter: no socket, simulated time.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use vipgate_planner::MacAddr;

use super::arp::{Arp, Operation};
use super::frame::{BROADCAST, NO_MAC};
use super::ndp::{Message, Ndp, group_mac, solicited_node};
use super::responder::LinkState;

mod arp;
mod cbpf;
mod defence;
mod families;
mod filter;
mod limit;
mod ndp;
mod probe;
mod responder;

/// This host, on the link under test.
const OURS: MacAddr = MacAddr([0x02, 0, 0, 0, 0, 0x50]);
/// This host, on another link of the same segment.
const OUR_OTHER: MacAddr = MacAddr([0x02, 0, 0, 0, 0, 0x51]);
/// Stations that come before and after this host in the order of addresses.
const LOWER: MacAddr = MacAddr([0x02, 0, 0, 0, 0, 0x10]);
const HIGHER: MacAddr = MacAddr([0x02, 0, 0, 0, 0, 0x90]);
const VIP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 80);
const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 7);
const VIP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x80);
const CLIENT6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7);

fn link() -> LinkState {
    LinkState {
        mac: OURS,
        up: true,
        own_macs: Arc::new(BTreeSet::from([OURS, OUR_OTHER])),
        friends: Arc::default(),
    }
}

/// A request for the VIP as a client's kernel sends it.
fn request_from(mac: MacAddr) -> Arp {
    Arp {
        destination: BROADCAST,
        source: mac,
        operation: Operation::Request,
        sender_mac: mac,
        sender_ip: CLIENT,
        target_mac: NO_MAC,
        target_ip: VIP,
    }
}

/// A solicitation for the IPv6 VIP as a client's kernel sends it.
fn solicitation_from(mac: MacAddr) -> Ndp {
    let group = solicited_node(VIP6);
    Ndp {
        destination: group_mac(group),
        source: mac,
        sender_ip: CLIENT6,
        receiver_ip: group,
        message: Message::Solicitation,
        target: VIP6,
        link_address: Some(mac),
    }
}

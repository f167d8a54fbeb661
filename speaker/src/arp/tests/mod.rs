//! Tests of the state machines, the codec and the filter: no socket, simulated time.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;

use vipgate_planner::MacAddr;

use super::responder::LinkState;
use super::wire::{BROADCAST, Frame, NO_MAC, Operation};

mod cbpf;
mod defence;
mod filter;
mod limit;
mod probe;
mod responder;
mod wire;

/// This host, on the link under test.
const OURS: MacAddr = MacAddr([0x02, 0, 0, 0, 0, 0x50]);
/// This host, on another link of the same segment.
const OUR_OTHER: MacAddr = MacAddr([0x02, 0, 0, 0, 0, 0x51]);
/// Stations that come before and after this host in the order of addresses.
const LOWER: MacAddr = MacAddr([0x02, 0, 0, 0, 0, 0x10]);
const HIGHER: MacAddr = MacAddr([0x02, 0, 0, 0, 0, 0x90]);
const VIP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 80);
const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 7);

fn link() -> LinkState {
    LinkState {
        mac: OURS,
        up: true,
        own_macs: Arc::new(BTreeSet::from([OURS, OUR_OTHER])),
        friends: Arc::default(),
    }
}

/// A request for the VIP as a client's kernel sends it.
fn request_from(mac: MacAddr) -> Frame {
    Frame {
        destination: BROADCAST,
        source: mac,
        operation: Operation::Request,
        sender_mac: mac,
        sender_ip: CLIENT,
        target_mac: NO_MAC,
        target_ip: VIP,
    }
}

//! The pure parts: whose an address is, the link table, and the pace of repairs.

use std::net::IpAddr;
use std::time::Duration;

use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressMessage, AddressProtocol, CacheInfo,
};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkLayerType, LinkMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use tokio::time::Instant;
use vipgate_planner::MacAddr;

use super::address::TAG;
use super::links::LinkTable;
use super::repairs::{Repair, Repairs};

const LO: u32 = 1;
const ETH: u32 = 2;

fn lo() -> RouteNetlinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = LO;
    message.header.flags = LinkFlags::Up | LinkFlags::LowerUp | LinkFlags::Loopback;
    message.header.link_layer_type = LinkLayerType::Loopback;
    message.attributes =
        vec![LinkAttribute::IfName("lo".to_owned()), LinkAttribute::Address(vec![0; 6])];
    RouteNetlinkMessage::NewLink(message)
}

fn eth(flags: LinkFlags, attributes: Vec<LinkAttribute>) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = ETH;
    message.header.flags = flags;
    message.header.link_layer_type = LinkLayerType::Ether;
    message.attributes = attributes;
    message
}

fn named(name: &str) -> Vec<LinkAttribute> {
    vec![LinkAttribute::IfName(name.to_owned()), LinkAttribute::Address(vec![2, 0, 0, 0, 0, 1])]
}

fn address(index: u32, ip: &str, prefix: u8, attributes: &[AddressAttribute]) -> AddressMessage {
    let ip: IpAddr = ip.parse().unwrap();
    let mut message = AddressMessage::default();
    message.header.family = if ip.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    message.header.index = index;
    message.header.prefix_len = prefix;
    message.attributes = vec![AddressAttribute::Address(ip)];
    message.attributes.extend_from_slice(attributes);
    message
}

fn new(message: AddressMessage) -> RouteNetlinkMessage {
    RouteNetlinkMessage::NewAddress(message)
}

fn tag(tag: u8) -> AddressAttribute {
    AddressAttribute::Protocol(AddressProtocol::from(tag))
}

fn lives(seconds: u32) -> AddressAttribute {
    let mut info = CacheInfo::default();
    info.ifa_valid = seconds;
    AddressAttribute::CacheInfo(info)
}

const NO_PREFIX_ROUTE: AddressAttribute = AddressAttribute::Flags(AddressFlags::Noprefixroute);

fn ours(messages: &[RouteNetlinkMessage]) -> Vec<String> {
    LinkTable::from_dump(messages).ours().iter().map(ToString::to_string).collect()
}

#[test]
fn where_the_kernel_tags_addresses_only_the_tag_counts() {
    let dump = [
        lo(),
        new(address(LO, "127.0.0.1", 8, &[])),
        new(address(LO, "192.0.2.1", 32, &[NO_PREFIX_ROUTE, lives(6)])),
        new(address(LO, "192.0.2.2", 32, &[tag(TAG)])),
        new(address(LO, "192.0.2.3", 32, &[tag(TAG + 1)])),
        new(address(LO, "::1", 128, &[tag(1)])),
    ];
    assert_eq!(ours(&dump), ["192.0.2.2"]);
}

#[test]
fn an_older_kernel_leaves_the_looks() {
    let looks = [NO_PREFIX_ROUTE, lives(5)];
    let dump = [
        lo(),
        RouteNetlinkMessage::NewLink(eth(LinkFlags::Up, named("eth0"))),
        new(address(LO, "127.0.0.1", 8, &[])),
        new(address(LO, "192.0.2.1", 32, &looks)),
        new(address(LO, "2001:db8::1", 128, &looks)),
        // Not those: a prefix, too long a life, no lifetime, a prefix route, another link.
        new(address(LO, "192.0.2.2", 31, &looks)),
        new(address(LO, "192.0.2.4", 32, &[NO_PREFIX_ROUTE, lives(7)])),
        new(address(LO, "192.0.2.5", 32, &[NO_PREFIX_ROUTE, lives(u32::MAX)])),
        new(address(LO, "192.0.2.6", 32, &[lives(5)])),
        new(address(ETH, "192.0.2.7", 32, &looks)),
    ];
    assert_eq!(ours(&dump), ["192.0.2.1", "2001:db8::1"]);
    let table = LinkTable::from_dump(&dump);
    assert_eq!(table.foreign_holder("192.0.2.7".parse().unwrap()), Some("eth0"));
    assert_eq!(table.foreign_holder("192.0.2.4".parse().unwrap()), Some("lo"));
    assert_eq!(table.foreign_holder("192.0.2.1".parse().unwrap()), None);
}

#[test]
fn up_needs_the_administrator_and_a_carrier() {
    for (flags, up) in [
        (LinkFlags::Up | LinkFlags::LowerUp, true),
        (LinkFlags::Up, false),
        (LinkFlags::LowerUp, false),
    ] {
        let link = RouteNetlinkMessage::NewLink(eth(flags, named("eth0")));
        assert_eq!(LinkTable::from_dump(&[link]).snapshot()[0].up, up, "{flags:?}");
    }
}

#[test]
fn a_link_that_speaks_no_arp_has_no_mac() {
    let speaks = RouteNetlinkMessage::NewLink(eth(LinkFlags::Up, named("eth0")));
    let mut table = LinkTable::from_dump(&[lo(), speaks]);
    assert_eq!(table.snapshot()[0].mac, None, "lo");
    assert_eq!(table.snapshot()[1].mac, Some(MacAddr([2, 0, 0, 0, 0, 1])));
    let silenced = eth(LinkFlags::Up | LinkFlags::Noarp, named("eth0"));
    table.apply(&RouteNetlinkMessage::NewLink(silenced));
    assert_eq!(table.snapshot()[1].mac, None, "ip link set eth0 arp off");
}

/// Wireless drivers send events with hardly any attributes.
#[test]
fn what_an_event_leaves_out_has_not_changed() {
    let mut table =
        LinkTable::from_dump(&[RouteNetlinkMessage::NewLink(eth(LinkFlags::Up, named("wlan0")))]);
    let before = table.snapshot();
    table.apply(&RouteNetlinkMessage::NewLink(eth(LinkFlags::Up, Vec::new())));
    assert_eq!(table.snapshot(), before);
}

#[test]
fn a_bridge_that_loses_a_port_does_not_remove_the_link() {
    let mut table =
        LinkTable::from_dump(&[RouteNetlinkMessage::NewLink(eth(LinkFlags::Up, named("eth0")))]);
    let mut left = eth(LinkFlags::Up, named("eth0"));
    left.header.interface_family = AddressFamily::Bridge;
    table.apply(&RouteNetlinkMessage::DelLink(left.clone()));
    assert_eq!(table.snapshot().len(), 1);
    left.header.interface_family = AddressFamily::Unspec;
    table.apply(&RouteNetlinkMessage::DelLink(left));
    assert_eq!(table.snapshot(), []);
}

#[test]
fn the_own_address_of_a_point_to_point_link_is_the_local_one() {
    let link = RouteNetlinkMessage::NewLink(eth(LinkFlags::Up, named("ppp0")));
    let local = AddressAttribute::Local("192.0.2.1".parse().unwrap());
    let table = LinkTable::from_dump(&[link, new(address(ETH, "192.0.2.2", 32, &[local]))]);
    assert_eq!(table.snapshot()[0].addresses, ["192.0.2.1/32".parse().unwrap()]);
}

#[test]
fn primaries_come_first_and_a_promoted_one_joins_them() {
    let secondary = AddressAttribute::Flags(AddressFlags::Secondary);
    let link = RouteNetlinkMessage::NewLink(eth(LinkFlags::Up, named("eth0")));
    let mut table = LinkTable::from_dump(&[
        link,
        new(address(ETH, "2001:db8::1", 64, &[])),
        new(address(ETH, "192.0.2.2", 24, std::slice::from_ref(&secondary))),
        new(address(ETH, "192.0.2.3", 24, &[secondary])),
        new(address(ETH, "192.0.2.1", 24, &[])),
        new(address(ETH, "10.0.0.1", 8, &[])),
    ]);
    let order = |table: &LinkTable| -> Vec<String> {
        table.snapshot()[0].addresses.iter().map(|net| net.addr().to_string()).collect()
    };
    assert_eq!(order(&table), ["192.0.2.1", "10.0.0.1", "192.0.2.2", "192.0.2.3", "2001:db8::1"]);
    table.apply(&new(address(ETH, "192.0.2.1", 24, &[lives(60)])));
    table.apply(&new(address(ETH, "192.0.2.3", 24, &[])));
    assert_eq!(order(&table), ["192.0.2.1", "10.0.0.1", "192.0.2.3", "192.0.2.2", "2001:db8::1"]);
}

#[test]
fn repairs_come_in_a_burst_then_wait_and_refill() {
    let start = Instant::now();
    let mut repairs = Repairs::new(start);
    let at = |seconds| start + Duration::from_secs(seconds);
    for _ in 0..12 {
        assert_eq!(repairs.next(at(100)), Repair::Now);
    }
    assert_eq!(repairs.next(at(100)), Repair::Later { first: true });
    assert_eq!(repairs.next(at(104)), Repair::Later { first: false });
    assert_eq!(repairs.next(at(105)), Repair::Now);
    assert_eq!(repairs.next(at(105)), Repair::Later { first: true });
    // Two came meanwhile; twelve at most, however long it was quiet.
    assert_eq!(repairs.next(at(115)), Repair::Now);
    assert_eq!(repairs.next(at(115)), Repair::Now);
    assert_eq!(repairs.next(at(115)), Repair::Later { first: true });
    for _ in 0..12 {
        assert_eq!(repairs.next(at(10_000)), Repair::Now);
    }
    assert_eq!(repairs.next(at(10_000)), Repair::Later { first: true });
}

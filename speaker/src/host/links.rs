//! The network interfaces of this host and their addresses, folded from rtnetlink messages.
//!
//! Pure: a dump and the events after it are applied to [`LinkTable`] alike, and applying a message
//! twice changes nothing. So subscribing first, dumping then and applying what came meanwhile
//! yields the kernel's state; after an overrun (ENOBUFS) the same is done again.
//!
//! VIPs that this program put on `lo` are kept apart, and are not in what the table publishes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_route::address::{AddressFlags, AddressMessage};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkLayerType, LinkMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use vipgate_planner::{Link, MacAddr};

use super::address::{self, TagSupport};

/// Interfaces by kernel index.
#[derive(Debug, Default)]
pub(super) struct LinkTable {
    links: BTreeMap<u32, Entry>,
    tags: TagSupport,
}

#[derive(Debug, Default)]
struct Entry {
    name: String,
    up: bool,
    loopback: bool,
    mac: Option<MacAddr>,
    addresses: Vec<HostAddress>,
    /// Ours, on `lo`.
    vips: BTreeSet<IpAddr>,
}

#[derive(Debug)]
struct HostAddress {
    net: IpNet,
    /// IPv4: shares its prefix with an earlier address, which the kernel prefers as a source.
    secondary: bool,
}

impl HostAddress {
    /// The kernel's order of addresses, in which the first is the one to send from.
    fn rank(&self) -> (bool, bool) {
        (self.net.addr().is_ipv6(), self.secondary)
    }
}

impl Entry {
    /// Adds the address behind those of its rank, or updates it in its place, as a dump would show
    /// it. A secondary that becomes primary goes behind the primaries.
    fn put(&mut self, new: HostAddress) {
        if let Some(at) = self.addresses.iter().position(|known| known.net == new.net) {
            if self.addresses[at].rank() == new.rank() {
                self.addresses[at] = new;
                return;
            }
            self.addresses.remove(at);
        }
        let at = self.addresses.partition_point(|known| known.rank() <= new.rank());
        self.addresses.insert(at, new);
    }
}

impl LinkTable {
    /// The table as a full dump shows it.
    pub(super) fn from_dump(dump: &[RouteNetlinkMessage]) -> Self {
        let mut table = Self::default();
        // Whose an address is depends on whether the kernel tags addresses at all, and an untagged
        // one may come before the first tagged one.
        for message in dump {
            if let RouteNetlinkMessage::NewAddress(address) = message {
                table.tags.learn(address);
            }
        }
        dump.iter().for_each(|message| table.apply(message));
        table
    }

    /// Applies one message of a dump or one event. Other kinds change nothing.
    pub(super) fn apply(&mut self, message: &RouteNetlinkMessage) {
        match message {
            RouteNetlinkMessage::NewLink(link) if is_device(link) => self.new_link(link),
            RouteNetlinkMessage::DelLink(link) if is_device(link) => {
                self.links.remove(&link.header.index);
            }
            RouteNetlinkMessage::NewAddress(address) => self.new_address(address),
            RouteNetlinkMessage::DelAddress(address) => self.del_address(address),
            _ => {}
        }
    }

    /// The interfaces as the planner sees them, by index.
    pub(super) fn snapshot(&self) -> Vec<Link> {
        self.links
            .iter()
            .map(|(index, entry)| Link {
                index: *index,
                name: entry.name.clone(),
                up: entry.up,
                loopback: entry.loopback,
                mac: entry.mac,
                addresses: entry.addresses.iter().map(|address| address.net).collect(),
            })
            .collect()
    }

    /// The loopback interface and whether it is up.
    pub(super) fn loopback(&self) -> Option<(u32, bool)> {
        let (index, entry) = self.links.iter().find(|(_, entry)| entry.loopback)?;
        Some((*index, entry.up))
    }

    /// The interface on which something else than this program put `ip`.
    pub(super) fn foreign_holder(&self, ip: IpAddr) -> Option<&str> {
        let holds = |entry: &&Entry| entry.addresses.iter().any(|address| address.net.addr() == ip);
        self.links.values().find(holds).map(|entry| entry.name.as_str())
    }

    /// Addresses that this program, or an earlier run of it, put on `lo`.
    pub(super) fn ours(&self) -> BTreeSet<IpAddr> {
        self.links.values().flat_map(|entry| &entry.vips).copied().collect()
    }

    /// Whether `ip` is one of [`LinkTable::ours`].
    pub(super) fn is_ours(&self, ip: IpAddr) -> bool {
        self.links.values().any(|entry| entry.vips.contains(&ip))
    }

    fn new_link(&mut self, message: &LinkMessage) {
        let entry = self.links.entry(message.header.index).or_default();
        let flags = message.header.flags;
        entry.up = flags.contains(LinkFlags::Up | LinkFlags::LowerUp);
        entry.loopback = flags.contains(LinkFlags::Loopback);
        let speaks_arp = message.header.link_layer_type == LinkLayerType::Ether
            && !flags.contains(LinkFlags::Noarp);
        if !speaks_arp {
            entry.mac = None;
        }
        // Some events carry only a part of the attributes; what is missing has not changed.
        for attribute in &message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => entry.name.clone_from(name),
                LinkAttribute::Address(bytes) if speaks_arp => {
                    entry.mac = <[u8; 6]>::try_from(bytes.as_slice()).ok().map(MacAddr);
                }
                _ => {}
            }
        }
    }

    fn new_address(&mut self, message: &AddressMessage) {
        self.tags.learn(message);
        let Some(net) = address::net(message) else { return };
        let Some(entry) = self.links.get_mut(&message.header.index) else { return };
        if entry.loopback && address::is_ours(message, self.tags) {
            entry.vips.insert(net.addr());
            return;
        }
        let secondary =
            net.addr().is_ipv4() && address::flags(message).contains(AddressFlags::Secondary);
        entry.put(HostAddress { net, secondary });
    }

    fn del_address(&mut self, message: &AddressMessage) {
        let Some(net) = address::net(message) else { return };
        if let Some(entry) = self.links.get_mut(&message.header.index) {
            entry.addresses.retain(|known| known.net != net);
            if net.prefix_len() == net.max_prefix_len() {
                entry.vips.remove(&net.addr());
            }
        }
    }
}

/// A bridge reports its ports as links too, of family AF_BRIDGE: there "deleted" means that the
/// port left the bridge, not that the interface is gone.
fn is_device(message: &LinkMessage) -> bool {
    message.header.interface_family == AddressFamily::Unspec
}

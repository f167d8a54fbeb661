//! Where a peer is to send traffic: the addresses of this node on the link to it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use futures_util::TryStreamExt;
use ipnet::IpNet;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage};
use netlink_packet_route::link::{LinkAttribute, LinkMessage};

use crate::bgp::wire::NextHops;

/// What is on the link to a peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Surroundings {
    pub(super) next_hops: NextHops,
    /// The peer is on a network of this node: no router is between.
    pub(super) on_link: bool,
}

/// An address of this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Own {
    pub(super) interface: u32,
    pub(super) address: IpNet,
    /// Can be used, and for good: not tentative, not deprecated. VIPs are deprecated.
    pub(super) lasting: bool,
}

/// Looks at the addresses of this node, from the place of a connection between these two.
/// `device`: the interface or VRF that it is bound to, as others may have the same addresses.
pub(super) async fn look_around(
    local: IpAddr,
    peer: IpAddr,
    device: Option<&str>,
) -> io::Result<Surroundings> {
    let found = look(device).await?;
    Ok(surroundings(&found, local, peer))
}

/// The next hop of the connection's own family is its local address. That of the other family is
/// an address of the same interface, global rather than link-local.
pub(super) fn surroundings(own: &[Own], local: IpAddr, peer: IpAddr) -> Surroundings {
    let here = own.iter().find(|one| one.address.addr() == local).map(|one| one.interface);
    let beside = || own.iter().filter(|one| Some(one.interface) == here);
    let on_link = is_link_local(peer) || beside().any(|one| one.address.contains(&peer));
    let other = beside()
        .filter(|one| one.lasting && one.address.addr().is_ipv4() != local.is_ipv4())
        .map(|one| one.address.addr())
        .min_by_key(|address| is_link_local(*address));
    let mut next_hops = NextHops::default();
    for address in [Some(local), other].into_iter().flatten() {
        match address {
            IpAddr::V4(address) => next_hops.ipv4 = usable_v4(address),
            IpAddr::V6(address) => next_hops.ipv6 = usable_v6(address),
        }
    }
    Surroundings { next_hops, on_link }
}

fn usable_v4(address: Ipv4Addr) -> Option<Ipv4Addr> {
    (!address.is_unspecified()).then_some(address)
}

fn usable_v6(address: Ipv6Addr) -> Option<Ipv6Addr> {
    (!address.is_unspecified()).then_some(address)
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

/// The addresses of this node; those of a device, if one is given.
async fn look(device: Option<&str>) -> io::Result<Vec<Own>> {
    let (connection, handle, _) = rtnetlink::new_connection()?;
    let dump = async {
        let messages: Vec<AddressMessage> = handle.address().get().execute().try_collect().await?;
        let mut found: Vec<Own> = messages.iter().filter_map(own).collect();
        if let Some(device) = device {
            let links: Vec<LinkMessage> = handle.link().get().execute().try_collect().await?;
            let within = within(device, &links);
            found.retain(|one| within.contains(&one.interface));
        }
        Ok::<_, rtnetlink::Error>(found)
    };
    tokio::select! {
        found = dump => found.map_err(io::Error::other),
        () = connection => Err(io::Error::other("the netlink socket was closed")),
    }
}

/// The indices of a device and of those that it is the master of, as a VRF is.
fn within(device: &str, links: &[LinkMessage]) -> Vec<u32> {
    let has = |link: &LinkMessage, wanted: &LinkAttribute| link.attributes.contains(wanted);
    let name = LinkAttribute::IfName(device.to_owned());
    let Some(index) = links.iter().find(|link| has(link, &name)).map(|link| link.header.index)
    else {
        return Vec::new();
    };
    let master = LinkAttribute::Controller(index);
    let slaves = links.iter().filter(|link| has(link, &master)).map(|link| link.header.index);
    std::iter::once(index).chain(slaves).collect()
}

fn own(message: &AddressMessage) -> Option<Own> {
    let header = &message.header;
    let attributes = || message.attributes.iter();
    // On a point-to-point link IFA_ADDRESS is the other end.
    let local = attributes().find_map(|one| match one {
        AddressAttribute::Local(address) => Some(*address),
        _ => None,
    });
    let address = local.or_else(|| {
        attributes().find_map(|one| match one {
            AddressAttribute::Address(address) => Some(*address),
            _ => None,
        })
    })?;
    if !matches!(header.family, AddressFamily::Inet | AddressFamily::Inet6) {
        return None;
    }
    let passing = AddressHeaderFlags::Tentative | AddressHeaderFlags::Deprecated;
    Some(Own {
        interface: header.index,
        address: IpNet::new(address, header.prefix_len).ok()?,
        lasting: !header.flags.intersects(passing),
    })
}

#[cfg(test)]
mod tests;

//! From which interfaces of this node an address is announced.
//!
//! The L2Advertisements that select the pool decide; a pool that none selects is announced on L2
//! everywhere. Of those, the ones that take who has the address and this node ([`crate::candidacy`]) add
//! up. An advertisement that names interfaces means exactly them; one that does not means every
//! interface that is on the address's own subnet.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use vipgate_api::ObjectKey;
use vipgate_api::vipgate::L2AdvertisementSpec;

use crate::exclusion::{Exclusion, ExclusionReason};
use crate::node::{Link, Node};
use crate::plan::Announce;

/// Decides how an address becomes reachable from this node, by these advertisements of it; by its
/// subnet when there are none.
pub(crate) fn announce(
    address: IpAddr,
    taking: &[(&ObjectKey, &L2AdvertisementSpec)],
    node: &Node,
) -> Announce {
    if taking.is_empty() {
        return by_subnet(address, node).map_or_else(Announce::Nowhere, Announce::Layer2);
    }
    let (mut links, mut obstacles) = (BTreeSet::new(), Vec::new());
    for (key, spec) in taking {
        if spec.interfaces.is_empty() {
            match by_subnet(address, node) {
                Ok(found) => links.extend(found),
                Err(why) => obstacles.push(why),
            }
        }
        for name in &spec.interfaces {
            match by_name(name, node) {
                Ok(()) => drop(links.insert(name.clone())),
                Err(Exclusion { reason, message }) => {
                    let message = format!("L2Advertisement {key}: {message}");
                    obstacles.push(Exclusion { reason, message });
                }
            }
        }
    }
    match obstacles.first() {
        Some(first) if links.is_empty() => {
            let all: Vec<&str> = obstacles.iter().map(|why| why.message.as_str()).collect();
            Announce::Nowhere(Exclusion::new(first.reason, all.join("; ")))
        }
        _ => Announce::Layer2(links.into_iter().collect()),
    }
}

/// Whether an interface that an advertisement names can announce; what is wrong if not.
fn by_name(name: &str, node: &Node) -> Result<(), Exclusion> {
    let Some(link) = node.links.iter().find(|link| link.name == name) else {
        let have: Vec<&str> =
            node.links.iter().filter(|l| can_announce(l)).map(|l| l.name.as_str()).collect();
        let have = if have.is_empty() { "(none)".to_owned() } else { have.join(", ") };
        let message = format!("node {} has no interface {name}: it has {have}", node.name);
        return Err(Exclusion::new(ExclusionReason::NoInterface, message));
    };
    let (reason, what) = match link {
        Link { loopback: true, .. } => (ExclusionReason::NoInterface, "is the loopback"),
        Link { mac: None, .. } => (ExclusionReason::NoInterface, "speaks no ARP or NDP"),
        Link { up: false, .. } => (ExclusionReason::LinkDown, "is down or has no carrier"),
        _ => return Ok(()),
    };
    Err(Exclusion::new(reason, format!("{name} of node {} {what}", node.name)))
}

fn can_announce(link: &Link) -> bool {
    link.up && !link.loopback && link.mac.is_some()
}

/// Whether an address of the host says which subnet its link is on. Link-local ones are on every link.
fn is_subnet(net: IpNet) -> bool {
    match net.addr() {
        IpAddr::V4(_) => true,
        IpAddr::V6(address) => !address.is_unicast_link_local(),
    }
}

/// The interfaces that are on the subnet of the address, by name.
fn by_subnet(address: IpAddr, node: &Node) -> Result<Vec<String>, Exclusion> {
    let on_subnet =
        |link: &&Link| link.addresses.iter().any(|net| is_subnet(*net) && net.contains(&address));
    let able = || node.links.iter().filter(|link| can_announce(link));
    let mut found: Vec<String> = able().filter(on_subnet).map(|link| link.name.clone()).collect();
    if !found.is_empty() {
        found.sort_unstable();
        found.dedup();
        return Ok(found);
    }
    let down = node.links.iter().filter(on_subnet).find(|link| !link.loopback && !link.up);
    if let Some(link) = down {
        let message = format!("{} of node {} is down or has no carrier", link.name, node.name);
        return Err(Exclusion::new(ExclusionReason::LinkDown, message));
    }
    let have: Vec<String> = able()
        .flat_map(|link| link.addresses.iter().map(move |net| (link, net)))
        .filter(|(_, net)| is_subnet(**net) && net.addr().is_ipv4() == address.is_ipv4())
        .map(|(link, net)| format!("{net} on {}", link.name))
        .collect();
    let have = if have.is_empty() { "none".to_owned() } else { have.join(", ") };
    let message = format!(
        "no interface of node {} is on its subnet (there is {have}): take a pool from one of \
         these subnets, or name the interface in spec.interfaces of an L2Advertisement",
        node.name
    );
    Err(Exclusion::new(ExclusionReason::NoSubnet, message))
}

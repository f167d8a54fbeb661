//! From which interfaces of this node an address is announced.
//!
//! The L2Advertisements that select the pool decide; a pool that none selects is announced on L2
//! everywhere. Of those, the ones whose node selectors take this node add up. An advertisement
//! that names interfaces means exactly them; one that does not means every interface that is on
//! the address's own subnet.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use vipgate_api::selector::{Labels, matches};
use vipgate_api::vipgate::{IpAddressPool, L2Advertisement, L2AdvertisementSpec};
use vipgate_api::{ObjectKey, Stored};

use crate::node::{Link, Node};
use crate::plan::Announce;
use crate::world::Shelf;

/// Decides how an address of a pool becomes reachable from this node.
pub(crate) fn announce(
    address: IpAddr,
    pool: &str,
    pools: &Shelf<IpAddressPool>,
    advertisements: &Shelf<L2Advertisement>,
    node: &Node,
) -> Announce {
    if address.is_loopback() {
        return Announce::Loopback;
    }
    let labels = labels_of(pool, pools);
    let selecting: Vec<(&ObjectKey, &L2AdvertisementSpec)> = advertisements
        .iter()
        .map(|(key, stored)| (key, &stored.object.spec))
        .filter(|(_, spec)| selects(spec, pool, &labels))
        .collect();
    if selecting.is_empty() {
        return by_subnet(address, node).map_or_else(Announce::Nowhere, Announce::Layer2);
    }
    let taking: Vec<_> = selecting.iter().filter(|(_, spec)| takes(spec, node)).collect();
    if taking.is_empty() {
        let names: Vec<String> = selecting.iter().map(|(key, _)| key.to_string()).collect();
        return Announce::Nowhere(format!(
            "no L2Advertisement of pool {pool} takes node {}: give the node labels that the \
             nodeSelectors of {} match (standalone: --label)",
            node.name,
            names.join(", ")
        ));
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
                Err(why) => obstacles.push(format!("L2Advertisement {key}: {why}")),
            }
        }
    }
    if links.is_empty() {
        return Announce::Nowhere(obstacles.join("; "));
    }
    Announce::Layer2(links.into_iter().collect())
}

/// Labels of a pool. Of several with one name the first by namespace counts, as in allocation.
fn labels_of(pool: &str, pools: &Shelf<IpAddressPool>) -> Labels {
    let found: Option<&Stored<IpAddressPool>> =
        pools.iter().find_map(|(key, stored)| (key.name == pool).then_some(stored));
    found.and_then(|stored| stored.object.metadata.labels.clone()).unwrap_or_default()
}

fn selects(spec: &L2AdvertisementSpec, pool: &str, labels: &Labels) -> bool {
    let every = spec.ip_address_pools.is_empty() && spec.ip_address_pool_selectors.is_empty();
    every
        || spec.ip_address_pools.iter().any(|name| name == pool)
        || spec.ip_address_pool_selectors.iter().any(|selector| matches(selector, labels))
}

fn takes(spec: &L2AdvertisementSpec, node: &Node) -> bool {
    spec.node_selectors.is_empty()
        || spec.node_selectors.iter().any(|selector| matches(selector, &node.labels))
}

/// Whether an interface that an advertisement names can announce; what is wrong if not.
fn by_name(name: &str, node: &Node) -> Result<(), String> {
    let Some(link) = node.links.iter().find(|link| link.name == name) else {
        let have: Vec<&str> =
            node.links.iter().filter(|l| can_announce(l)).map(|l| l.name.as_str()).collect();
        let have = if have.is_empty() { "(none)".to_owned() } else { have.join(", ") };
        return Err(format!("node {} has no interface {name}: it has {have}", node.name));
    };
    let node = &node.name;
    match link {
        Link { loopback: true, .. } => Err(format!("{name} of node {node} is the loopback")),
        Link { mac: None, .. } => Err(format!("{name} of node {node} speaks no ARP or NDP")),
        Link { up: false, .. } => Err(format!("{name} of node {node} is down or has no carrier")),
        _ => Ok(()),
    }
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
fn by_subnet(address: IpAddr, node: &Node) -> Result<Vec<String>, String> {
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
        return Err(message);
    }
    let have: Vec<String> = able()
        .flat_map(|link| link.addresses.iter().map(move |net| (link, net)))
        .filter(|(_, net)| is_subnet(**net) && net.addr().is_ipv4() == address.is_ipv4())
        .map(|(link, net)| format!("{net} on {}", link.name))
        .collect();
    let have = if have.is_empty() { "none".to_owned() } else { have.join(", ") };
    Err(format!(
        "no interface of node {} is on its subnet (there is {have}): take a pool from one of \
         these subnets, or name the interface in spec.interfaces of an L2Advertisement",
        node.name
    ))
}

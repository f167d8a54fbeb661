//! What there is on this host, read once and changed in nothing: for `vipgate check` and `vipgate sysdump`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkMessage};
use tokio_util::task::TaskTracker;
use vipgate_planner::Link;

use super::links::LinkTable;
use super::rtnetlink as netlink;
use super::{HostError, NftError, nft};

/// The links of a host, and the VIPs that vipgate put there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Every link, without VIPs of ours in its addresses.
    pub links: Vec<Link>,
    /// VIPs on `lo`, of a process that runs or of one that crashed some seconds ago.
    pub vips: BTreeSet<IpAddr>,
    /// The MTU of each link, by name.
    pub mtus: BTreeMap<String, u32>,
}

/// Reads links and addresses. Needs no privilege.
///
/// # Errors
/// When rtnetlink cannot be used.
pub async fn look() -> Result<Seen, HostError> {
    let requests = netlink::requests(&TaskTracker::new()).map_err(HostError::unreadable)?;
    let dump = netlink::dump(&requests).await.map_err(HostError::unreadable)?;
    let table = LinkTable::from_dump(&dump);
    let mtus = dump.iter().filter_map(|message| match message {
        RouteNetlinkMessage::NewLink(link) => mtu(link),
        _ => None,
    });
    Ok(Seen { links: table.snapshot(), vips: table.ours(), mtus: mtus.collect() })
}

fn mtu(link: &LinkMessage) -> Option<(String, u32)> {
    let (mut name, mut mtu) = (None, None);
    for attribute in &link.attributes {
        match attribute {
            LinkAttribute::IfName(text) => name = Some(text.clone()),
            LinkAttribute::Mtu(bytes) => mtu = Some(*bytes),
            _ => {}
        }
    }
    name.zip(mtu)
}

/// Whether something else than vipgate rewrites destinations here (kube-proxy, Docker); and so whether
/// nftables can be asked at all.
///
/// # Errors
/// When the kernel lacks nftables, or this process may not ask.
pub fn destinations_are_rewritten() -> Result<bool, NftError> {
    nft::destinations_are_rewritten()
}

//! What a crash left on this host, taken away when somebody asks for it.
//!
//! After a crash VIPs go by themselves within [`LIFETIME`](super::LIFETIME), and the next start takes the
//! tables. This is for a host on which there will be no next start.

use std::net::IpAddr;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use netlink_packet_route::RouteNetlinkMessage;
use rustix::io::Errno;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use super::address::{self, Addresses, RENEWAL};
use super::links::LinkTable;
use super::nft::{Family, Tables};
use super::rtnetlink::{self as netlink, Event};
use super::{HostError, NftError, detour};

/// A living process renews its VIPs well within this time.
const SILENCE: Duration = RENEWAL.saturating_add(Duration::from_secs(1));

/// What was taken away.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cleaned {
    /// VIPs on `lo`.
    pub vips: Vec<IpAddr>,
    /// nftables tables, each as `nft` names it.
    pub tables: Vec<String>,
    /// Rules and routes for connections from clients' addresses, as `ip` has them: `ip rule` of a family.
    pub rules: Vec<String>,
}

/// Why nothing, or not all, was taken away.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CleanupError {
    /// It is not ours to clean up after.
    #[error(
        "a vipgate is running on this host, which renews {ip} on lo: stop it, then nothing is left \
         to clean up"
    )]
    Running {
        /// A VIP of it.
        ip: IpAddr,
    },
    /// An address.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The tables.
    #[error(transparent)]
    Nft(#[from] NftError),
    /// The rules and routes.
    #[error(
        "cannot remove the rules of `ip rule` with protocol 118 and their routes: {0}; look with `ip rule`"
    )]
    Rules(Errno),
}

/// Takes away the VIPs and tables that a crashed process left. While there are VIPs, waits for as long as
/// a living process would need to renew one, and then leaves all to that.
///
/// The tables of a living process without any VIP go, too, for the moment that it takes to put them
/// back; with no VIP on the host there is nothing that they keep from anybody.
///
/// # Errors
/// When a process lives, or without CAP_NET_ADMIN.
pub async fn cleanup() -> Result<Cleaned, CleanupError> {
    let tasks = TaskTracker::new();
    let mut events = netlink::events(&tasks).map_err(HostError::unreadable)?;
    let requests = netlink::requests(&tasks).map_err(HostError::unreadable)?;
    let dump = netlink::dump(&requests).await.map_err(HostError::unreadable)?;
    let links = LinkTable::from_dump(&dump);
    let mut cleaned = Cleaned::default();
    if !links.ours().is_empty() {
        if let Ok(ip) = timeout(SILENCE, renewed(&mut events, &links)).await {
            return Err(CleanupError::Running { ip });
        }
        let mut addresses = Addresses::new(requests.clone());
        let (lo, _) = links.loopback().ok_or(HostError::LoopbackDown)?;
        for ip in links.ours() {
            addresses.remove(lo, ip).await?;
            cleaned.vips.push(ip);
        }
    }
    cleaned.tables = Tables::clean_up()?;
    if let Some((lo, _)) = links.loopback() {
        for family in [Family::Ip, Family::Ip6] {
            match detour::remove(&requests, family, lo).await {
                Ok(true) => cleaned.rules.push(format!("ip {}", detour::flag(family))),
                Ok(false) => {}
                Err(errno) => return Err(CleanupError::Rules(errno)),
            }
        }
    }
    Ok(cleaned)
}

/// Waits until one of our VIPs is renewed.
async fn renewed(events: &mut BoxStream<'static, Event>, links: &LinkTable) -> IpAddr {
    loop {
        match events.next().await {
            Some(Event::Changed(RouteNetlinkMessage::NewAddress(message))) => {
                let ip = address::net(&message).map(|net| net.addr());
                if let Some(ip) = ip.filter(|ip| links.is_ours(*ip)) {
                    return ip;
                }
            }
            Some(_) => {}
            None => std::future::pending().await,
        }
    }
}

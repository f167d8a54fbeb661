//! The VIPs on `lo`.
//!
//! A VIP is a /32 or /128 that receives and never originates: IPv4 has `scope link`, so the kernel
//! does not pick it as a source; IPv6 has a preferred lifetime of 0, which ranks it below every
//! other address of sufficient scope (RFC 6724 rule 3); both have no prefix route. (The kernel does
//! use the VIP as source towards the VIP itself, as for every local address.)
//!
//! It lives for [`LIFETIME`] unless renewed, so the kernel removes it when the process dies,
//! however that happens. [`RENEWAL`] leaves room for three missed renewals. The renewing task runs
//! on a thread and runtime of its own (see the parent module), so a busy proxy cannot starve it;
//! a machine that cannot run one thread for 4.5 s does not serve anyway, and hands over.
//!
//! # Whose address is it?
//! Ours carry [`TAG`] in `IFA_PROTO` (newer iproute2 shows it as `proto`), so a start finds exactly
//! what an earlier run left. Linux reports that attribute since 5.18. On an older
//! kernel no address has one, and an address counts as ours if it looks the way only ours do: on
//! `lo`, a single address, no prefix route, and not more than [`LIFETIME`] to live.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use ipnet::IpNet;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressMessage, AddressProtocol, AddressScope, CacheInfo,
};
use rtnetlink::Handle;
use rustix::io::Errno;

use super::{HostError, VipOutcomes};

/// How long a VIP outlives the process.
pub const LIFETIME: Duration = Duration::from_secs(6);
/// How often its lifetime is renewed.
pub const RENEWAL: Duration = Duration::from_millis(1500);
/// Requests under way together.
const AT_ONCE: usize = 64;
/// `IFA_PROTO` of our addresses: `v`. The kernel has 1 to 3; no registry gives out the others.
pub const TAG: u8 = 0x76;

/// Puts VIPs on `lo` and takes them away. Owns the knowledge of which are there because of it.
#[derive(Debug)]
pub(super) struct Addresses {
    rtnetlink: Handle,
    /// When each was put or renewed last.
    held: BTreeMap<IpAddr, Instant>,
}

impl Addresses {
    pub(super) fn new(rtnetlink: Handle) -> Self {
        Self { rtnetlink, held: BTreeMap::new() }
    }

    /// The VIPs put and not removed. One of them may be gone for a moment, until it is put again.
    pub(super) fn held(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.held.keys().copied()
    }

    /// Whether `ip` was put and not removed.
    pub(super) fn holds(&self, ip: IpAddr) -> bool {
        self.held.contains_key(&ip)
    }

    /// Whether `ip` was renewed so lately that the next renewal does.
    pub(super) fn is_fresh(&self, ip: IpAddr) -> bool {
        self.held.get(&ip).is_some_and(|at| at.elapsed() < RENEWAL / 2)
    }

    /// Puts `ip` on `lo`, or renews its lifetime.
    pub(super) async fn put(&mut self, lo: u32, ip: IpAddr) -> Result<(), HostError> {
        put(&self.rtnetlink, lo, ip).await?;
        self.held.insert(ip, Instant::now());
        Ok(())
    }

    /// The same for many, without a way to the kernel and back for each.
    pub(super) async fn put_all(&mut self, lo: u32, ips: Vec<IpAddr>) -> VipOutcomes {
        let rtnetlink = &self.rtnetlink;
        let one = |ip| async move { (ip, put(rtnetlink, lo, ip).await) };
        let outcomes: VipOutcomes =
            stream::iter(ips).map(one).buffer_unordered(AT_ONCE).collect().await;
        let put = outcomes.iter().filter(|(_, outcome)| outcome.is_ok()).map(|(ip, _)| *ip);
        self.held.extend(put.map(|ip| (ip, Instant::now())));
        outcomes
    }

    /// Takes `ip` from `lo`. One that is gone already is fine.
    pub(super) async fn remove(&mut self, lo: u32, ip: IpAddr) -> Result<(), HostError> {
        match self.rtnetlink.address().del(message(lo, ip)).execute().await {
            Ok(()) => {}
            Err(error) if errno(&error) == Errno::ADDRNOTAVAIL => {}
            Err(error) => return Err(HostError::address(ip, errno(&error))),
        }
        self.held.remove(&ip);
        Ok(())
    }
}

async fn put(rtnetlink: &Handle, lo: u32, ip: IpAddr) -> Result<(), HostError> {
    let mut request = rtnetlink.address().add(lo, ip, host_prefix(ip)).replace();
    *request.message_mut() = message(lo, ip);
    request.execute().await.map_err(|error| HostError::address(ip, errno(&error)))
}

/// The request that describes `ip` as we want it.
fn message(lo: u32, ip: IpAddr) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.index = lo;
    message.header.prefix_len = host_prefix(ip);
    let lifetime = u32::try_from(LIFETIME.as_secs()).expect("a few seconds");
    let mut lifetimes = CacheInfo::default();
    lifetimes.ifa_valid = lifetime;
    let mut flags = AddressFlags::Noprefixroute;
    match ip {
        IpAddr::V4(_) => {
            message.header.family = AddressFamily::Inet;
            message.header.scope = AddressScope::Link;
            lifetimes.ifa_preferred = lifetime;
        }
        IpAddr::V6(_) => {
            message.header.family = AddressFamily::Inet6;
            // Duplicate address detection would ask on `lo`, where nobody is.
            flags |= AddressFlags::Nodad;
            lifetimes.ifa_preferred = 0;
        }
    }
    message.attributes = vec![
        AddressAttribute::Local(ip),
        AddressAttribute::Address(ip),
        AddressAttribute::Flags(flags),
        AddressAttribute::CacheInfo(lifetimes),
        AddressAttribute::Protocol(AddressProtocol::Other(TAG)),
    ];
    message
}

/// Whether the kernel reports `IFA_PROTO`, as far as it was seen.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum TagSupport {
    /// No address had one. Newer kernels put one on `::1` and on link-local addresses.
    #[default]
    NotSeen,
    /// An address had one, so ours have it too.
    Seen,
}

impl TagSupport {
    pub(super) fn learn(&mut self, message: &AddressMessage) {
        if tag(message).is_some() {
            *self = Self::Seen;
        }
    }
}

/// Whether an address on `lo` was put there by this program or an earlier run of it.
pub(super) fn is_ours(message: &AddressMessage, tags: TagSupport) -> bool {
    match (tag(message), tags) {
        (Some(tag), _) => tag == TAG,
        (None, TagSupport::Seen) => false,
        (None, TagSupport::NotSeen) => looks_like_ours(message),
    }
}

fn looks_like_ours(message: &AddressMessage) -> bool {
    let single = net(message).is_some_and(|net| net.prefix_len() == net.max_prefix_len());
    let short_lived = message.attributes.iter().any(|attribute| match attribute {
        AddressAttribute::CacheInfo(info) => u64::from(info.ifa_valid) <= LIFETIME.as_secs(),
        _ => false,
    });
    single && short_lived && flags(message).contains(AddressFlags::Noprefixroute)
}

fn tag(message: &AddressMessage) -> Option<u8> {
    message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Protocol(protocol) => Some(u8::from(*protocol)),
        _ => None,
    })
}

/// All flags; the header has room for the first eight only.
pub(super) fn flags(message: &AddressMessage) -> AddressFlags {
    let full = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Flags(flags) => Some(*flags),
        _ => None,
    });
    full.unwrap_or_else(|| AddressFlags::from_bits_retain(u32::from(message.header.flags.bits())))
}

/// The host's own address and its prefix length. `IFA_ADDRESS` is the peer's on a point-to-point
/// link; then `IFA_LOCAL` is there too.
pub(super) fn net(message: &AddressMessage) -> Option<IpNet> {
    let find =
        |pick: fn(&AddressAttribute) -> Option<IpAddr>| message.attributes.iter().find_map(pick);
    let local = find(|attribute| match attribute {
        AddressAttribute::Local(ip) => Some(*ip),
        _ => None,
    });
    let address = find(|attribute| match attribute {
        AddressAttribute::Address(ip) => Some(*ip),
        _ => None,
    });
    IpNet::new(local.or(address)?, message.header.prefix_len).ok()
}

fn host_prefix(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 32 } else { 128 }
}

pub(super) fn errno(error: &rtnetlink::Error) -> Errno {
    match error {
        rtnetlink::Error::NetlinkError(message) => {
            Errno::from_io_error(&message.to_io()).unwrap_or(Errno::IO)
        }
        _ => Errno::IO,
    }
}

//! Addresses that no route may forward to, whoever writes them into an EndpointSlice or Backend.
//!
//! Whoever may write endpoints would otherwise reach, through the node, what the node alone can
//! reach: its loopback daemons, its cloud metadata service, or a VIP of ours in a circle.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use crate::claim::Claims;

/// The metadata service of clouds over IPv6 (the IPv4 one is link-local).
const METADATA_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);

/// Why an address is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Refused {
    Loopback,
    LinkLocal,
    Metadata,
    Multicast,
    Unspecified,
    Broadcast,
    OwnVip,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Loopback => {
                "is a loopback address, which only a VIP in 127.0.0.0/8 may forward to"
            }
            Self::LinkLocal => "is link-local",
            Self::Metadata => "is a metadata service",
            Self::Multicast => "is a multicast address",
            Self::Unspecified => "is in the network of no host",
            Self::Broadcast => "is the broadcast address",
            Self::OwnVip => "is a VIP of ours, which would forward in a circle",
        })
    }
}

/// What speaks against forwarding to an address (in canonical form, that is, not IPv4-mapped).
/// `loopback_allowed` when the listener itself is on a loopback VIP.
pub(super) fn refused(address: IpAddr, loopback_allowed: bool, vips: &Claims) -> Option<Refused> {
    if vips.0.contains_key(&address) {
        return Some(Refused::OwnVip);
    }
    let refused = match address {
        _ if address.is_loopback() => (!loopback_allowed).then_some(Refused::Loopback)?,
        _ if address.is_multicast() => Refused::Multicast,
        // 0.0.0.0 is the host itself to Linux; the rest of 0/8 is nobody (RFC 6890).
        IpAddr::V4(v4) if v4.octets()[0] == 0 => Refused::Unspecified,
        IpAddr::V4(v4) if v4.is_link_local() => Refused::LinkLocal,
        IpAddr::V4(v4) if v4.is_broadcast() => Refused::Broadcast,
        IpAddr::V6(v6) if v6.is_unspecified() => Refused::Unspecified,
        IpAddr::V6(v6) if v6.is_unicast_link_local() => Refused::LinkLocal,
        IpAddr::V6(METADATA_V6) => Refused::Metadata,
        IpAddr::V4(_) | IpAddr::V6(_) => return None,
    };
    Some(refused)
}

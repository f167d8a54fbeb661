//! The BGP identifier of a node that was given none (RFC 6286: any number but zero, and another one
//! on each node).

use std::net::{IpAddr, Ipv4Addr, UdpSocket};

use vipgate_planner::Link;

/// An address behind every default route, and nobody's (RFC 7526).
const FAR: (Ipv4Addr, u16) = (Ipv4Addr::new(192, 88, 99, 1), 9);

/// The IPv4 address by which this node reaches the rest of the world; a number from the node's name where
/// there is none. No other address will do: those of bridges and of `kube-ipvs0` are the same on all nodes.
pub(super) fn derive(default: Option<Ipv4Addr>, links: &[Link], node: &str) -> Ipv4Addr {
    let nobodys = |address: &Ipv4Addr| {
        address.is_loopback() || address.is_link_local() || address.is_unspecified()
    };
    // Whatever the kernel would send from, a VIP is no name of a node.
    let is_own = |address: &Ipv4Addr| {
        let mut own = links.iter().flat_map(|link| &link.addresses);
        own.any(|net| net.addr() == IpAddr::V4(*address))
    };
    let default = default.filter(|address| is_own(address) && !nobodys(address));
    default.unwrap_or_else(|| Ipv4Addr::from(mixed(node).max(1)))
}

/// By which address this node would send to the rest of the world. Nothing is sent.
pub(super) fn towards_default() -> Option<Ipv4Addr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect(FAR).ok()?;
    match socket.local_addr().ok()?.ip() {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    }
}

/// A number from a text (FNV-1a): the same in every build.
pub(super) fn mixed(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(loopback: bool, addresses: &[&str]) -> Link {
        Link {
            index: 1,
            name: "eth0".to_owned(),
            up: true,
            loopback,
            mac: None,
            addresses: addresses.iter().map(|net| net.parse().unwrap()).collect(),
        }
    }

    #[test]
    fn the_default_route_goes_first_then_the_name() {
        let links = [
            link(true, &["127.0.0.1/8", "10.0.0.1/32"]),
            link(false, &["169.254.3.4/16", "192.0.2.7/24", "fd00::7/64"]),
            link(false, &["172.17.0.1/16"]),
        ];
        let at = |text: &str| Some(text.parse::<Ipv4Addr>().unwrap());
        let by_name = derive(None, &links, "node");
        for (default, found) in [
            (at("192.0.2.7"), at("192.0.2.7")),
            // Nodes that route have theirs on `lo`.
            (at("10.0.0.1"), at("10.0.0.1")),
            (at("198.51.100.9"), Some(by_name)),
            (at("127.0.0.1"), Some(by_name)),
            (at("169.254.3.4"), Some(by_name)),
        ] {
            assert_eq!(Some(derive(default, &links, "node")), found, "{default:?}");
        }
        let (one, other) = (derive(None, &links, "node-1"), derive(None, &links, "node-2"));
        assert_eq!(one, derive(None, &[], "node-1"), "the same each time");
        assert_ne!(one, other, "what all nodes have is no name of one");
        assert_ne!(derive(None, &[], ""), Ipv4Addr::UNSPECIFIED);
    }
}

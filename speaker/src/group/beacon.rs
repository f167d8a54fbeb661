//! How members find each other without a list: by multicast on the network of the group's address.
//!
//! A beacon is a sealed datagram that says where its sender is; who hears it calls there. It goes no
//! further than the link (TTL 1), to a group of the local scope (RFC 2365) or of the link (RFC 4291).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use socket2::{Domain, Socket, Type};

const GROUP_V4: Ipv4Addr = Ipv4Addr::new(239, 255, 79, 47);
const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x7947);

/// Where beacons of members go that are reached at an address like this one.
pub fn destination(of: SocketAddr) -> SocketAddr {
    let group = match of.ip() {
        IpAddr::V4(_) => IpAddr::from(GROUP_V4),
        IpAddr::V6(_) => IpAddr::from(GROUP_V6),
    };
    SocketAddr::new(group, of.port())
}

/// Sends beacons through the link of this member's address from now on, and gives the socket where those of
/// the others come.
///
/// # Errors
/// Those of joining the multicast group; `ENODEV` when no link has the address.
pub(super) fn open(sender: &UdpSocket, address: SocketAddr) -> io::Result<UdpSocket> {
    let to = destination(address);
    let socket = Socket::new(Domain::for_address(to), Type::DGRAM.nonblocking().cloexec(), None)?;
    // Several members on one host.
    socket.set_reuse_address(true)?;
    let from = socket2::SockRef::from(sender);
    match (to.ip(), address.ip()) {
        (IpAddr::V4(group), IpAddr::V4(own)) => {
            socket.bind(&to.into())?;
            socket.join_multicast_v4(&group, &own)?;
            from.set_multicast_if_v4(&own)?;
            from.set_multicast_ttl_v4(1)?;
        }
        (IpAddr::V6(group), IpAddr::V6(own)) => {
            let link = link_of(own)?;
            socket.set_only_v6(true)?;
            socket.bind(&to.into())?;
            socket.join_multicast_v6(&group, link)?;
            from.set_multicast_if_v6(link)?;
            from.set_multicast_hops_v6(1)?;
        }
        _ => unreachable!("the destination is of the address's family"),
    }
    Ok(socket.into())
}

/// The index of the link that has an IPv6 address.
fn link_of(address: Ipv6Addr) -> io::Result<u32> {
    let table = std::fs::read_to_string("/proc/net/if_inet6")?;
    let index = table.lines().find_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        let found = u128::from_str_radix(fields.next()?, 16).ok()?;
        let index = u32::from_str_radix(fields.next()?, 16).ok()?;
        (found == u128::from(address)).then_some(index)
    });
    index.ok_or_else(|| io::Error::from_raw_os_error(libc::ENODEV))
}

//! The UDP sockets of BFD (RFC 5881 sections 4 and 5, RFC 5883 section 5).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use socket2::{Domain, Protocol, SockAddr, SockFilter, Socket, Type};
use tokio::net::UdpSocket;

use super::Target;

/// Where packets come in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Port {
    pub(super) ipv4: bool,
    pub(super) number: u16,
    /// The device of a VRF.
    pub(super) vrf: Option<String>,
}

/// Where single hop packets go.
pub(super) const SINGLE_HOP: u16 = 3784;
/// Where multihop packets go.
pub(super) const MULTIHOP: u16 = 4784;
/// The source port of a session is one of these.
const SOURCE_PORTS: std::ops::RangeInclusive<u16> = 49152..=65535;
const TTL: u8 = 255;
/// Class selector 6.
const CLASS: u32 = 0xc0;

/// A socket that receives what comes to this port with at least this TTL. What has less is
/// dropped by the kernel.
///
/// `shared`: others of ours have the port, each bound to another device or to none. A socket that is not
/// shared takes the port from nobody.
pub(super) fn receiving(port: &Port, least_ttl: u8, shared: bool) -> io::Result<UdpSocket> {
    let ipv4 = port.ipv4;
    let (domain, any) = match ipv4 {
        true => (Domain::IPV4, IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        false => (Domain::IPV6, IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
    };
    let socket = open(domain)?;
    if let Some(vrf) = &port.vrf {
        socket.bind_device(Some(vrf.as_bytes()))?;
    }
    socket.set_reuse_port(shared)?;
    if !ipv4 {
        socket.set_only_v6(true)?;
    }
    socket.attach_filter(&filter(ipv4, least_ttl))?;
    socket.bind(&SockAddr::from(SocketAddr::new(any, port.number)))?;
    UdpSocket::from_std(socket.into())
}

/// Lets sockets that are bound to other devices have the port, too. The kernel prefers the one that is
/// bound to the device that a packet came in by.
pub(super) fn share(socket: &UdpSocket) -> io::Result<()> {
    socket2::SockRef::from(socket).set_reuse_port(true)
}

/// Changes the TTL asked for.
pub(super) fn require_ttl(socket: &UdpSocket, ipv4: bool, least_ttl: u8) -> io::Result<()> {
    socket2::SockRef::from(socket).attach_filter(&filter(ipv4, least_ttl))
}

/// A socket to send to this peer. The port of a session is its own, found from `hint` on.
///
/// Not one of the runtime's: nobody ever waits for it.
pub(super) fn sending(target: &Target, hint: u32) -> io::Result<std::net::UdpSocket> {
    let ipv4 = target.peer.is_ipv4();
    let socket = open(Domain::for_address(target.peer))?;
    if let Some(device) = target.device.as_ref().or(target.vrf.as_ref()) {
        socket.bind_device(Some(device.as_bytes()))?;
    }
    match ipv4 {
        true => {
            socket.set_ttl_v4(u32::from(TTL))?;
            socket.set_tos_v4(CLASS)?;
        }
        false => {
            socket.set_unicast_hops_v6(u32::from(TTL))?;
            socket.set_tclass_v6(CLASS)?;
        }
    }
    let unspecified = match ipv4 {
        true => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        false => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    bind(&socket, target.local.unwrap_or(unspecified), hint)?;
    let port = if target.multihop.is_some() { MULTIHOP } else { SINGLE_HOP };
    let mut peer = target.peer;
    peer.set_port(port);
    socket.connect(&SockAddr::from(peer))?;
    Ok(socket.into())
}

fn open(domain: Domain) -> io::Result<Socket> {
    Socket::new(domain, Type::DGRAM.nonblocking().cloexec(), Some(Protocol::UDP))
}

fn bind(socket: &Socket, local: IpAddr, hint: u32) -> io::Result<()> {
    let count = u32::from(SOURCE_PORTS.end() - SOURCE_PORTS.start()) + 1;
    let mut result = Ok(());
    for attempt in 0..64 {
        let offset = u16::try_from(hint.wrapping_add(attempt) % count).expect("at most 16383");
        let address = SocketAddr::new(local, SOURCE_PORTS.start() + offset);
        result = socket.bind(&SockAddr::from(address));
        match &result {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            _ => break,
        }
    }
    result
}

/// `linux/filter.h`: offsets from here on are relative to the network header.
const NETWORK_HEADER: u32 = 0xfff0_0000;
/// Load a byte; jump if greater or equal; return.
const LOAD: u16 = 0x30;
const AT_LEAST: u16 = 0x35;
const RETURN: u16 = 0x06;

/// Passes datagrams with at least this TTL.
fn filter(ipv4: bool, least_ttl: u8) -> [SockFilter; 4] {
    let place = if ipv4 { 8 } else { 7 };
    [
        SockFilter::new(LOAD, 0, 0, NETWORK_HEADER + place),
        SockFilter::new(AT_LEAST, 0, 1, u32::from(least_ttl)),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
        SockFilter::new(RETURN, 0, 0, 0),
    ]
}

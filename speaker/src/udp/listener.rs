//! The sockets of a port: one for each worker, bound before the address is on the host.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::io::Errno;
use rustix::net::sockopt;
use socket2::{Domain, Protocol, Socket, Type};

use super::batch;
use super::holder;
use crate::proxy::BindError;

/// What may wait to be read, or to be sent, on a socket of a listener: all its clients share it. The
/// kernel counts its own overhead as well.
const BUFFER: usize = 4 << 20;
/// The same for a session that goes on.
const SESSION_BUFFER: usize = 1 << 20;

/// Opens the sockets of a port, and says which port they have.
///
/// If a socket of somebody else has the port on all addresses and `may_redirect`, that is another
/// port of the same address, to which whoever calls has datagrams led.
pub(super) fn open(
    bind: SocketAddr,
    workers: usize,
    may_redirect: bool,
) -> Result<(Arc<[OwnedFd]>, u16), BindError> {
    let error = match open_all(bind, workers) {
        Ok(sockets) => return Ok((sockets, bind.port())),
        Err(error) => explained(bind, &error),
    };
    let BindError::InUse { holder: Some(holder), .. } = &error else { return Err(error) };
    // Nothing is led anywhere on the loopback: no privilege is needed there.
    if !may_redirect || !holder.listens_on.ip().is_unspecified() || bind.ip().is_loopback() {
        return Err(error);
    }
    let elsewhere = |port| open_all(SocketAddr::new(bind.ip(), port), workers);
    let Ok(sockets) = elsewhere(inner(bind)).or_else(|_| elsewhere(0)) else { return Err(error) };
    let Some(port) = sockets.first().and_then(port_of) else { return Err(error) };
    tracing::info!(%bind, served_at = port, "the port is in use by {holder}; served at another one");
    Ok((sockets, port))
}

/// The port to which datagrams for `bind` are led if it is free: the same after a restart, since who goes on
/// asking from one port is led where the first of its datagrams was (conntrack). Below those that the kernel
/// gives out.
fn inner(bind: SocketAddr) -> u16 {
    let octets = match bind.ip() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let bytes = octets.into_iter().chain(bind.port().to_be_bytes());
    let mixed = bytes.fold(0_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    20_000 + (mixed % 10_000) as u16
}

/// The first one is alone in its port, so it finds whoever has it, also those that would share it. Then
/// it lets the others in.
fn open_all(bind: SocketAddr, workers: usize) -> std::io::Result<Arc<[OwnedFd]>> {
    let first = socket(bind)?;
    first.bind(&bind.into())?;
    first.set_reuse_port(true)?;
    let first = OwnedFd::from(first);
    let at = SocketAddr::new(bind.ip(), port_of(&first).unwrap_or(bind.port()));
    let mut sockets = vec![first];
    while sockets.len() < workers {
        let next = socket(bind)?;
        next.set_reuse_port(true)?;
        next.bind(&at.into())?;
        sockets.push(next.into());
    }
    Ok(sockets.into())
}

fn socket(bind: SocketAddr) -> std::io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(bind), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    if bind.is_ipv4() {
        socket.set_freebind_v4(true)?;
    } else {
        socket.set_only_v6(true)?;
        socket.set_freebind_v6(true)?;
    }
    let own = socket.as_fd();
    widen(&socket, BUFFER);
    let _ = never_forbid_fragments(&socket, bind);
    // Without these it is slower, and less is known.
    let _ = batch::join(own);
    let _ = batch::note_overruns(own);
    Ok(socket)
}

/// Gives a socket buffers of this size, or as near to it as it may.
fn widen(socket: impl AsFd, size: usize) {
    let socket = socket.as_fd();
    // Beyond `net.core.rmem_max` and `wmem_max` with CAP_NET_ADMIN only.
    if sockopt::set_socket_recv_buffer_size_force(socket, size).is_err() {
        let _ = sockopt::set_socket_recv_buffer_size(socket, size);
    }
    if sockopt::set_socket_send_buffer_size_force(socket, size).is_err() {
        let _ = sockopt::set_socket_send_buffer_size(socket, size);
    }
}

/// Has datagrams that are too long for the way cut into fragments, here or by a router: what a client sent
/// in one piece is to arrive, also where the way to its endpoint takes less, and where the ICMP that
/// would say so is lost.
fn never_forbid_fragments(socket: impl AsFd, to: SocketAddr) -> Result<(), Errno> {
    match to {
        SocketAddr::V4(_) => {
            sockopt::set_ip_mtu_discover(socket, sockopt::Ipv4PathMtuDiscovery::DONT)
        }
        SocketAddr::V6(_) => {
            sockopt::set_ipv6_mtu_discover(socket, sockopt::Ipv6PathMtuDiscovery::DONT)
        }
    }
}

/// A socket that is connected to an endpoint: it gets what that sends and nothing else, and hears of ICMP
/// errors.
pub(super) fn dial(endpoint: SocketAddr) -> Result<OwnedFd, Errno> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, ipproto, socket_with};
    let family = match endpoint {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::DGRAM, flags, Some(ipproto::UDP))?;
    let _ = never_forbid_fragments(&socket, endpoint);
    connect(&socket, &endpoint)?;
    Ok(socket)
}

/// Makes the socket of a session ready for more than a question and an answer.
pub(super) fn equip(socket: &OwnedFd) {
    let _ = batch::join(socket.as_fd());
    let _ = batch::note_overruns(socket.as_fd());
    widen(socket, SESSION_BUFFER);
}

fn port_of(socket: &OwnedFd) -> Option<u16> {
    let address = rustix::net::getsockname(socket).ok()?;
    SocketAddr::try_from(address).ok().map(|address| address.port())
}

fn explained(bind: SocketAddr, error: &std::io::Error) -> BindError {
    match Errno::from_io_error(error).unwrap_or(Errno::IO) {
        Errno::ADDRINUSE => BindError::InUse { bind, holder: holder::of(bind) },
        Errno::ACCESS | Errno::PERM => BindError::Denied { bind },
        Errno::AFNOSUPPORT | Errno::PROTONOSUPPORT => BindError::NoFamily { bind },
        Errno::MFILE | Errno::NFILE => BindError::OutOfFiles { bind },
        error => BindError::Other { bind, error },
    }
}

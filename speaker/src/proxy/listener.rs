//! Listening sockets: one per address and port, bound before the address is on the host.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};
use vipgate_planner::ListenerId;

use super::holder::{self, Holder};

/// Why a listener does not listen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BindError {
    /// Another socket has the port, on this address or on all of them.
    #[error(
        "{bind} is in use by {}: stop it, bind it to another address, or choose another port",
        holder.as_ref().map_or_else(
            || format!("a process that cannot be seen from here (`ss -lntup sport = :{}`)", bind.port()),
            ToString::to_string
        )
    )]
    InUse {
        /// Where the listener wanted to be.
        bind: SocketAddr,
        /// Who is there, when /proc shows it.
        holder: Option<Holder>,
    },
    /// Another listener of the same plan has the address and port.
    #[error("{bind} is taken by {by}: one of the two needs another port or address")]
    SamePlan {
        /// Where both wanted to be.
        bind: SocketAddr,
        /// Who is there.
        by: Box<ListenerId>,
    },
    /// A port below `net.ipv4.ip_unprivileged_port_start`.
    #[error(
        "not allowed to listen on {bind}: give the process CAP_NET_BIND_SERVICE, or lower \
         net.ipv4.ip_unprivileged_port_start"
    )]
    Denied {
        /// Where the listener wanted to be.
        bind: SocketAddr,
    },
    /// The host has no IPv6.
    #[error(
        "this host does not speak the address family of {bind}: check net.ipv6.conf.all.disable_ipv6"
    )]
    NoFamily {
        /// Where the listener wanted to be.
        bind: SocketAddr,
    },
    /// No file is left for the socket.
    #[error("no open file is left for {bind}: raise the limit (`LimitNOFILE=`, `ulimit -n`)")]
    OutOfFiles {
        /// Where the listener wanted to be.
        bind: SocketAddr,
    },
    /// The engine is ending.
    #[error("{bind} is not opened: forwarding is being shut down")]
    Draining {
        /// Where the listener wanted to be.
        bind: SocketAddr,
    },
    /// Something else.
    #[error("cannot listen on {bind}: {error}")]
    Other {
        /// Where the listener wanted to be.
        bind: SocketAddr,
        /// What the kernel said.
        error: Errno,
    },
}

/// Opens a listening socket, and says which port it has. What can be is set here: accepted
/// connections inherit it.
///
/// If a socket of somebody else has the port on all addresses and `may_redirect`, that is another
/// port of the same address, to which whoever calls has connections led.
pub(super) fn listen(
    bind: SocketAddr,
    backlog: i32,
    may_redirect: bool,
) -> Result<(OwnedFd, u16), BindError> {
    let error = match open(bind, backlog) {
        Ok(socket) => return Ok((socket.into(), bind.port())),
        Err(error) => explained(bind, &error),
    };
    let BindError::InUse { holder: Some(holder), .. } = &error else { return Err(error) };
    // Nothing is led anywhere on the loopback: no privilege is needed there.
    if !may_redirect || !holder.listens_on.ip().is_unspecified() || bind.ip().is_loopback() {
        return Err(error);
    }
    let Some((socket, port)) = open_elsewhere(bind, backlog) else { return Err(error) };
    tracing::info!(%bind, served_at = port, "the port is in use by {holder}; served at another one");
    Ok((socket, port))
}

fn open_elsewhere(bind: SocketAddr, backlog: i32) -> Option<(OwnedFd, u16)> {
    let socket = open(SocketAddr::new(bind.ip(), 0), backlog).ok()?;
    let port = socket.local_addr().ok()?.as_socket()?.port();
    Some((socket.into(), port))
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

fn open(bind: SocketAddr, backlog: i32) -> std::io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(bind), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    if bind.is_ipv4() {
        socket.set_freebind_v4(true)?;
    } else {
        socket.set_only_v6(true)?;
        socket.set_freebind_v6(true)?;
    }
    socket.set_tcp_nodelay(true)?;
    // A client whose host is gone is noticed in the end, and an urgent byte stays in the stream.
    socket.set_keepalive(true)?;
    socket.set_out_of_band_inline(true)?;
    socket.bind(&bind.into())?;
    socket.listen(backlog)?;
    Ok(socket)
}

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
            || format!("a process that cannot be seen from here (`ss -ltnp sport = :{}`)", bind.port()),
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

/// Opens a listening socket. What can be is set here: accepted connections inherit it.
pub(super) fn listen(bind: SocketAddr, backlog: i32) -> Result<OwnedFd, BindError> {
    open(bind, backlog).map_err(|error| {
        let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
        match errno {
            Errno::ADDRINUSE => BindError::InUse { bind, holder: holder::of(bind) },
            Errno::ACCESS | Errno::PERM => BindError::Denied { bind },
            Errno::AFNOSUPPORT | Errno::PROTONOSUPPORT => BindError::NoFamily { bind },
            Errno::MFILE | Errno::NFILE => BindError::OutOfFiles { bind },
            error => BindError::Other { bind, error },
        }
    })
}

fn open(bind: SocketAddr, backlog: i32) -> std::io::Result<OwnedFd> {
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
    Ok(socket.into())
}

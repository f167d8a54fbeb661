//! TCP keepalive (tcp(7)): when a silent peer is asked whether it is still there.
//!
//! Set on a listening socket, accepted sockets inherit it, at no cost per connection.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, socket_with, sockopt};
use vipgate_planner::Keepalive;

/// What the kernel takes (`MAX_TCP_KEEPIDLE`, `MAX_TCP_KEEPINTVL`, `MAX_TCP_KEEPCNT`).
const LONGEST: Duration = Duration::from_secs(32_767);
const MOST_PROBES: u32 = 127;

/// Has the kernel ask like this, or as the host has it.
pub(super) fn set(socket: BorrowedFd<'_>, keepalive: Option<Keepalive>) -> Result<(), Errno> {
    let keepalive = keepalive.map_or_else(of_host, Ok)?;
    let bounded = |time: Duration| time.clamp(Duration::from_secs(1), LONGEST);
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, bounded(keepalive.idle))?;
    sockopt::set_tcp_keepintvl(socket, bounded(keepalive.interval))?;
    sockopt::set_tcp_keepcnt(socket, keepalive.probes.clamp(1, MOST_PROBES))
}

/// What a socket has that nothing was set of (`net.ipv4.tcp_keepalive_*`): the option cannot be taken back.
fn of_host() -> Result<Keepalive, Errno> {
    let flags = SocketFlags::CLOEXEC;
    let fresh = socket_with(AddressFamily::INET, SocketType::STREAM, flags, Some(ipproto::TCP))?;
    let fresh = fresh.as_fd();
    Ok(Keepalive {
        idle: sockopt::tcp_keepidle(fresh)?,
        interval: sockopt::tcp_keepintvl(fresh)?,
        probes: sockopt::tcp_keepcnt(fresh)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    fn of(socket: impl AsFd) -> (Duration, Duration, u32) {
        let socket = socket.as_fd();
        assert!(sockopt::socket_keepalive(socket).unwrap());
        (
            sockopt::tcp_keepidle(socket).unwrap(),
            sockopt::tcp_keepintvl(socket).unwrap(),
            sockopt::tcp_keepcnt(socket).unwrap(),
        )
    }

    #[test]
    fn accepted_sockets_inherit_it_and_it_can_be_taken_back() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let accepted = || {
            let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            of(listener.accept().unwrap().0)
        };
        let host = of_host().unwrap();
        let seconds = Duration::from_secs;
        let some = Keepalive { idle: seconds(30), interval: seconds(7), probes: 3 };
        set(listener.as_fd(), Some(some)).unwrap();
        assert_eq!(accepted(), (seconds(30), seconds(7), 3));
        set(listener.as_fd(), None).unwrap();
        assert_eq!(accepted(), (host.idle, host.interval, host.probes));
        let beyond = Keepalive { idle: seconds(1 << 40), interval: Duration::ZERO, probes: 1000 };
        set(listener.as_fd(), Some(beyond)).unwrap();
        assert_eq!(accepted(), (LONGEST, seconds(1), 127));
    }
}

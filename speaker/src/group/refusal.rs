//! What the kernel of a peer says when no process has the port: ICMP port unreachable (RFC 1122, 3.2.2.1).
//!
//! Such a host lives, and the process is gone. The word is not sealed: it counts only for a member that does
//! not answer, and that may still object ([`super::swim::GONE_FOR`]).

// The one file of `group` with unsafe code: no crate used reads a socket's queue of errors.
#![allow(unsafe_code)]

use std::io;
use std::mem::{size_of, zeroed};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};

use socket2::{SockAddr, SockAddrStorage};

/// Room for one control message with `struct sock_extended_err` and the address of who said it.
const CONTROL: usize = 128;

/// Makes the kernel keep what it is told about datagrams of this socket.
pub(super) fn listen(socket: &std::net::UdpSocket) -> io::Result<()> {
    let (level, name) = match socket.local_addr()? {
        SocketAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_RECVERR),
        SocketAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_RECVERR),
    };
    let on: libc::c_int = 1;
    let length = libc::socklen_t::try_from(size_of::<libc::c_int>()).expect("4 bytes");
    // SAFETY: `on` is a c_int of that length, and lives through the call.
    let result = unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const on).cast(), length)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Takes one error from the queue: where a datagram was sent that the port's host refused; nothing for
/// an error of another kind.
///
/// # Errors
/// `EWOULDBLOCK` when the queue is empty.
pub(super) fn next(socket: RawFd) -> io::Result<Option<SocketAddr>> {
    /// The kernel wants control messages at addresses that a `cmsghdr` could have.
    #[repr(align(8))]
    struct Control([u8; CONTROL]);
    let mut control = Control([0; CONTROL]);
    // The datagram itself is of no interest: it is cut off.
    let mut nothing = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
    let mut to = SockAddrStorage::zeroed();
    // SAFETY: a `msghdr` of zeros is one without buffers.
    let mut message: libc::msghdr = unsafe { zeroed() };
    message.msg_name = (&raw mut to).cast();
    message.msg_namelen = to.size_of();
    message.msg_iov = &raw mut nothing;
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    // Of another type in each libc.
    message.msg_controllen = CONTROL as _;
    // SAFETY: every pointer in `message` is to a buffer of the length beside it that outlives the call.
    let result =
        unsafe { libc::recvmsg(socket, &raw mut message, libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel wrote an address of this length into the storage.
    let to = unsafe { SockAddr::new(to, message.msg_namelen) }.as_socket();
    Ok(to.filter(|_| refuses(&message)))
}

/// Whether the error is that nobody has the port.
fn refuses(message: &libc::msghdr) -> bool {
    // SAFETY: `message` is as recvmsg left it, with its control buffer still there; the macros stay within it.
    let mut header = unsafe { libc::CMSG_FIRSTHDR(message) };
    while !header.is_null() {
        // SAFETY: not null, so a whole header within the buffer.
        let kind = unsafe { ((*header).cmsg_level, (*header).cmsg_type) };
        let is_error = kind == (libc::IPPROTO_IP, libc::IP_RECVERR)
            || kind == (libc::IPPROTO_IPV6, libc::IPV6_RECVERR);
        if is_error {
            // SAFETY: the kernel puts a `sock_extended_err` into a message of this type.
            let error: libc::sock_extended_err =
                unsafe { std::ptr::read_unaligned(libc::CMSG_DATA(header).cast()) };
            return i32::try_from(error.ee_errno) == Ok(libc::ECONNREFUSED);
        }
        // SAFETY: as above.
        header = unsafe { libc::CMSG_NXTHDR(message, header) };
    }
    false
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr, UdpSocket};
    use std::time::{Duration, Instant};

    use super::*;

    fn refused(loopback: std::net::IpAddr) {
        let socket = UdpSocket::bind((loopback, 0)).unwrap();
        listen(&socket).unwrap();
        assert_eq!(
            next(socket.as_raw_fd()).unwrap_err().kind(),
            io::ErrorKind::WouldBlock,
            "nothing was sent yet"
        );
        let closed = UdpSocket::bind((loopback, 0)).unwrap().local_addr().unwrap();
        socket.send_to(b"anybody?", closed).unwrap();
        let sent = Instant::now();
        let refused = loop {
            match next(socket.as_raw_fd()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    assert!(sent.elapsed() < Duration::from_secs(5), "no word of it");
                }
                other => break other.unwrap(),
            }
        };
        assert_eq!(refused, Some(closed));
    }

    #[test]
    fn a_port_without_a_process_is_named() {
        refused(Ipv4Addr::LOCALHOST.into());
        refused(Ipv6Addr::LOCALHOST.into());
    }
}

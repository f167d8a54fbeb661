//! The TCP socket of a session, with the options that BGP wants of it.

// The one file of `bgp` with unsafe code: no crate used can set TCP_MD5SIG, IP_MINTTL or
// IPV6_MINHOPCOUNT.
#![allow(unsafe_code)]

use std::io;
use std::mem::size_of;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

/// Class selector 6, routing protocols (RFC 4594).
const CLASS: u32 = 0xc0;
/// RFC 5082: what crossed a router has less.
const TTL: u8 = 255;
/// `linux/in6.h`.
const IPV6_MINHOPCOUNT: libc::c_int = 73;
/// `linux/tcp.h`: TCP_MD5SIG_MAXKEYLEN.
pub(super) const LONGEST_KEY: usize = 80;

/// A non-blocking socket for connections to `peer`, of which everything is sent with TTL 255.
pub(super) fn open(peer: SocketAddr) -> io::Result<Socket> {
    let domain = Domain::for_address(peer);
    let kind = Type::STREAM.nonblocking().cloexec();
    let socket = Socket::new(domain, kind, Some(Protocol::TCP))?;
    socket.set_tcp_nodelay(true)?;
    match peer {
        SocketAddr::V4(_) => {
            socket.set_ttl_v4(u32::from(TTL))?;
            socket.set_tos_v4(CLASS)?;
        }
        SocketAddr::V6(_) => {
            socket.set_unicast_hops_v6(u32::from(TTL))?;
            socket.set_tclass_v6(CLASS)?;
        }
    }
    Ok(socket)
}

/// Drops what comes with a lower TTL than 255: it crossed a router (GTSM, RFC 5082).
pub(super) fn require_one_hop(socket: &Socket, peer: SocketAddr) -> io::Result<()> {
    let least = libc::c_int::from(TTL);
    match peer {
        SocketAddr::V4(_) => set(socket, libc::IPPROTO_IP, libc::IP_MINTTL, &least),
        SocketAddr::V6(_) => set(socket, libc::IPPROTO_IPV6, IPV6_MINHOPCOUNT, &least),
    }
}

/// Signs what is sent to `peer`, and drops what comes from it unsigned (RFC 2385).
///
/// # Errors
/// `InvalidInput` for a key that is empty or longer than 80 bytes; ENOENT or ENOPROTOOPT on a
/// kernel without CONFIG_TCP_MD5SIG.
pub(super) fn sign(socket: &Socket, peer: SocketAddr, key: &[u8]) -> io::Result<()> {
    if key.is_empty() || key.len() > LONGEST_KEY {
        let why = "a TCP MD5 password has 1 to 80 bytes";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    let mut signature = Md5Signature {
        address: [0; ADDRESS],
        flags: 0,
        prefix_length: 0,
        key_length: u16::try_from(key.len()).expect("at most 80"),
        interface: 0,
        key: [0; LONGEST_KEY],
    };
    let address = SockAddr::from(peer);
    let length = address.len() as usize;
    // SAFETY: `SockAddr` keeps a `sockaddr_storage`, of which the first `len()` bytes are written.
    let bytes = unsafe { std::slice::from_raw_parts(address.as_ptr().cast::<u8>(), length) };
    signature.address[..length].copy_from_slice(bytes);
    signature.key[..key.len()].copy_from_slice(key);
    set(socket, libc::IPPROTO_TCP, libc::TCP_MD5SIG, &signature)
}

const ADDRESS: usize = size_of::<libc::sockaddr_storage>();

/// `struct tcp_md5sig` of `linux/tcp.h`.
#[repr(C, align(8))]
struct Md5Signature {
    address: [u8; ADDRESS],
    flags: u8,
    prefix_length: u8,
    key_length: u16,
    interface: libc::c_int,
    key: [u8; LONGEST_KEY],
}

fn set<T>(socket: &Socket, level: libc::c_int, name: libc::c_int, value: &T) -> io::Result<()> {
    let length = libc::socklen_t::try_from(size_of::<T>()).expect("a small struct");
    let pointer = std::ptr::from_ref(value).cast::<libc::c_void>();
    // SAFETY: the descriptor is open as long as `socket` lives; the kernel reads `length` bytes
    // from `pointer`, which are those of `value`: an integer, or a struct of bytes and integers
    // without padding, as the option asks for.
    let result = unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, pointer, length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

//! The TCP socket of a session, with the options that BGP wants of it.

// The one file of `bgp` with unsafe code: no crate used can set TCP_MD5SIG, IP_MINTTL or
// IPV6_MINHOPCOUNT.
#![allow(unsafe_code)]

use std::io;
use std::mem::size_of;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;

use socket2::{Domain, Protocol, SockAddr, SockFilter, Socket, Type};

/// Class selector 6, routing protocols (RFC 4594).
const CLASS: u32 = 0xc0;
/// RFC 5082: what crossed a router has less.
const TTL: u8 = 255;
/// Calls that wait; there are few peers.
const BACKLOG: i32 = 16;
/// `linux/in6.h`.
const IPV6_MINHOPCOUNT: libc::c_int = 73;
/// `linux/tcp.h`: TCP_MD5SIG_MAXKEYLEN.
pub(super) const LONGEST_KEY: usize = 80;

/// A non-blocking socket for connections to `peer`, of which everything is sent with TTL 255.
pub(super) fn open(peer: SocketAddr) -> io::Result<Socket> {
    let socket = plain(Domain::for_address(peer))?;
    prepare(&socket, peer.is_ipv4())?;
    Ok(socket)
}

fn plain(domain: Domain) -> io::Result<Socket> {
    let kind = Type::STREAM.nonblocking().cloexec();
    Socket::new(domain, kind, Some(Protocol::TCP))
}

/// What every connection has, whoever makes it.
pub(super) fn prepare(socket: &Socket, ipv4: bool) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    if ipv4 {
        socket.set_ttl_v4(u32::from(TTL))?;
        socket.set_tos_v4(CLASS)
    } else {
        socket.set_unicast_hops_v6(u32::from(TTL))?;
        socket.set_tclass_v6(CLASS)
    }
}

/// A listener on all addresses of a family, of a VRF if one is given. What was accepted shortly before does not hinder it;
/// another listener on the port does.
///
/// # Errors
/// `AddrInUse` when somebody else listens on the port.
pub(super) fn listen(ipv4: bool, vrf: Option<&str>, port: u16) -> io::Result<Socket> {
    let (domain, any) = match ipv4 {
        true => (Domain::IPV4, IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        false => (Domain::IPV6, IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
    };
    let socket = plain(domain)?;
    if let Some(vrf) = vrf {
        socket.bind_device(Some(vrf.as_bytes()))?;
    }
    if !ipv4 {
        socket.set_only_v6(true)?;
    }
    // Its answers to calls have a TTL of 255, too.
    prepare(&socket, ipv4)?;
    socket.set_reuse_address(true)?;
    socket.bind(&SockAddr::from(SocketAddr::new(any, port)))?;
    socket.listen(BACKLOG)?;
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

/// Lets a listener see what comes from these addresses with TTL 255 only, from the first SYN on: what is
/// set on an accepted connection would be too late for what came before. Addresses are of the listener's
/// family.
pub(super) fn require_one_hop_from(listener: &Socket, peers: &[IpAddr]) -> io::Result<()> {
    let mut program: Vec<SockFilter> = peers.iter().flat_map(|peer| one_hop_from(*peer)).collect();
    program.push(SockFilter::new(RETURN, 0, 0, u32::MAX));
    listener.attach_filter(&program)
}

/// `linux/filter.h`: offsets from here on are relative to the network header.
const NETWORK_HEADER: u32 = 0xfff0_0000;
/// Load a word or a byte; jump if equal, or if greater or equal; return.
const LOAD_WORD: u16 = 0x20;
const LOAD_BYTE: u16 = 0x30;
const EQUAL: u16 = 0x15;
const AT_LEAST: u16 = 0x35;
const RETURN: u16 = 0x06;

/// Drops a packet from this address with a lower TTL, passes it with that one, and goes on with others.
fn one_hop_from(peer: IpAddr) -> Vec<SockFilter> {
    let (source, ttl, words) = match peer {
        IpAddr::V4(peer) => (12, 8, vec![u32::from(peer)]),
        IpAddr::V6(peer) => {
            let bytes = peer.octets();
            let words = bytes.chunks_exact(4);
            let word = |word: &[u8]| u32::from_be_bytes([word[0], word[1], word[2], word[3]]);
            (8, 7, words.map(word).collect())
        }
    };
    let mut program = Vec::new();
    // Past the rest of the comparisons and the four steps that follow them.
    let mut rest = 2 * words.len() as u32 + 4;
    for (place, word) in (source..).step_by(4).zip(words) {
        rest -= 2;
        let past = u8::try_from(rest).expect("at most ten steps");
        program.push(SockFilter::new(LOAD_WORD, 0, 0, NETWORK_HEADER + place));
        program.push(SockFilter::new(EQUAL, 0, past, word));
    }
    program.extend([
        SockFilter::new(LOAD_BYTE, 0, 0, NETWORK_HEADER + ttl),
        SockFilter::new(AT_LEAST, 0, 1, u32::from(TTL)),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
        SockFilter::new(RETURN, 0, 0, 0),
    ]);
    program
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
    set_key(socket, peer, key)
}

/// Signs no more: the key of this peer is forgotten.
pub(super) fn unsign(socket: &Socket, peer: SocketAddr) -> io::Result<()> {
    set_key(socket, peer, &[])
}

/// An empty key takes it away.
fn set_key(socket: &Socket, peer: SocketAddr, key: &[u8]) -> io::Result<()> {
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

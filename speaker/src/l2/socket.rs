//! The packet socket of one link: whole Ethernet frames of one protocol in and out. BFD's echo function uses
//! it as well.
//!
//! Always true: no frame reaches the reader that the filter in force, or one before it, did not
//! pass; a new socket passes nothing. The kernel's own ARP and NDP, its netfilter included, is not
//! involved in what is sent here.

// The one file of `l2` with unsafe code: no crate used has a safe constructor for the address of a
// packet socket (`struct sockaddr_ll`), nor a safe way to wait for a descriptor of one's own.
#![allow(unsafe_code)]

use std::io::{self, Read};
use std::mem::size_of;
use std::os::fd::{AsRawFd, RawFd};

use socket2::{Domain, SockAddr, SockAddrStorage, SockFilter, Socket, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::filter::{self, Instruction};
use super::frame::Protocol;

/// What to wait for. That the link went down is an error condition without anything to read, which
/// would go unnoticed if only frames were waited for.
pub const READY: Interest = Interest::READABLE.add(Interest::ERROR);

/// A non-blocking packet socket that is bound to one link.
#[derive(Debug)]
pub struct PacketSocket {
    socket: Socket,
    index: u32,
}

impl PacketSocket {
    /// Opens the socket for a protocol on the link with this kernel index.
    ///
    /// # Errors
    /// `EPERM` without CAP_NET_RAW in the network namespace; `ENODEV` if there is no such link.
    pub fn open(index: u32, protocol: Protocol) -> io::Result<PacketSocket> {
        PacketSocket::of_type(index, protocol.ether_type())
    }

    /// The same for frames of any EtherType.
    pub(crate) fn of_type(index: u32, ether_type: u16) -> io::Result<PacketSocket> {
        // With protocol 0 it receives nothing until it is bound, and then the filter is there.
        let socket = Socket::new(
            Domain::PACKET,
            Type::RAW.nonblocking().cloexec(),
            Some(socket2::Protocol::from(0)),
        )?;
        let socket = PacketSocket { socket, index };
        socket.set_filter(&filter::drop_all())?;
        socket.socket.bind(&address(index, ether_type)?)?;
        Ok(socket)
    }

    /// Replaces the filter, in one step. Frames that were queued under the old one stay.
    ///
    /// # Errors
    /// Those of `SO_ATTACH_FILTER`; `ENOMEM` when the socket's option memory is used up.
    pub fn set_filter(&self, program: &[Instruction]) -> io::Result<()> {
        let program: Vec<SockFilter> =
            program.iter().map(|i| SockFilter::new(i.code, i.jt, i.jf, i.k)).collect();
        self.socket.attach_filter(&program)
    }

    /// Reads one frame, Ethernet header first, as far as `buffer` and the filter's snap length go.
    ///
    /// # Errors
    /// `EWOULDBLOCK` when there is none; `ENETDOWN` once after the link went down or vanished.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        (&self.socket).read(buffer)
    }

    /// Sends one frame, Ethernet header first.
    ///
    /// # Errors
    /// `ENETDOWN` while the link is down, `ENXIO` when it has vanished, `ENOBUFS` or
    /// `EWOULDBLOCK` when its queue is full.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        self.socket.send(frame).map(drop)
    }

    /// Makes the socket one that can be waited for. Must be called on a runtime.
    ///
    /// # Errors
    /// When the runtime's poll instance has no room.
    pub fn into_async(self) -> io::Result<AsyncFd<PacketSocket>> {
        // SAFETY: `as_raw_fd` always returns the descriptor that `self.socket` owns. It stays open
        // until `self` is dropped: no method closes or replaces it, and `AsyncFd` gives the
        // descriptor back to the poll instance before it drops `self`.
        Ok(unsafe { AsyncFd::register_with_interest(self, READY) }?)
    }

    /// Whether the link still exists. Down and vanished look the same to a reader.
    pub fn link_exists(&self) -> bool {
        rustix::net::netdevice::index_to_name_inlined(&self.socket, self.index).is_ok()
    }
}

impl AsRawFd for PacketSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

fn address(index: u32, ether_type: u16) -> io::Result<SockAddr> {
    let no_such_link = |_| io::Error::from(rustix::io::Errno::NODEV);
    let family = u16::try_from(libc::AF_PACKET).expect("the constant 17");
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: `sockaddr_ll` is a plain C struct of integers, smaller than `sockaddr_storage` and
    // not more strictly aligned, for which every bit pattern is valid; `storage` is zeroed.
    let link = unsafe { storage.view_as::<libc::sockaddr_ll>() };
    link.sll_family = family;
    link.sll_protocol = ether_type.to_be();
    link.sll_ifindex = i32::try_from(index).map_err(no_such_link)?;
    let length = libc::socklen_t::try_from(size_of::<libc::sockaddr_ll>()).expect("20 bytes");
    // SAFETY: the first `length` bytes of `storage` are the `sockaddr_ll` that was just written,
    // and its family says so.
    Ok(unsafe { SockAddr::new(storage, length) })
}

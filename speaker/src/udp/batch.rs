//! Datagrams by the batch: recvmmsg(2) and sendmmsg(2), where the kernel may hand over a run of
//! datagrams as one piece (UDP GRO), and takes such a piece to be cut into datagrams again (UDP GSO;
//! udp(7), `UDP_GRO` and `UDP_SEGMENT`).
//!
//! Datagrams that came one by one, of one length and for one receiver, are given to the kernel as such a piece, too: the way
//! through the host's network then costs once what it would cost for each.
//!
//! Always holds: a piece has a buffer that no datagram is too long for; what is sent is a piece as it
//! came, whole, with its datagrams where they were.
#![allow(unsafe_code)]

use std::mem;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use rustix::io::Errno;

/// Pieces in a batch.
pub(super) const CAPACITY: usize = 32;
/// Longer than a datagram can be, or what the kernel joins.
const BUFFER: usize = 64 * 1024;
/// Longer datagrams are not grouped: what a packet of Ethernet has room for, with headers of IPv6 and UDP. The kernel
/// cuts nothing that would have to be fragmented.
const GROUPED: usize = 1500 - 40 - 8;
/// For how many calls nothing is grouped after a way did not take it. It is not known which other ways would.
const REST: u32 = 256;
/// The tag of what goes to nobody.
pub(super) const DISCARD: u32 = u32::MAX;

/// A datagram, or a run of them that came as one piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// Who sent it, or is to get it.
    pub(super) peer: SocketAddr,
    /// For whoever handles it.
    pub(super) tag: u32,
    /// Bytes.
    pub(super) len: usize,
    /// Bytes of each datagram but the last, which may be shorter; 0 if it is one datagram.
    pub(super) segment: usize,
    /// Datagrams that the socket had to drop before this one, ever (`SO_RXQ_OVFL`).
    pub(super) overrun: u32,
}

impl Piece {
    /// How many datagrams it is.
    pub(super) fn datagrams(&self) -> u64 {
        match self.segment {
            0 => 1,
            segment => self.len.div_ceil(segment) as u64,
        }
    }
}

/// Whether datagrams go to the peer of each piece, or where the socket is connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum To {
    /// To whom the socket is connected.
    Connected,
    /// To each one's peer.
    Peer,
}

/// Pieces with their bytes. Has no memory before it first receives.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// A buffer for each piece.
    bytes: Box<[u8]>,
    pieces: Vec<Piece>,
}

/// Where the kernel puts an address.
#[repr(C)]
#[derive(Clone, Copy)]
union Name {
    family: libc::sa_family_t,
    four: libc::sockaddr_in,
    six: libc::sockaddr_in6,
}

/// Room for two control messages of an int.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Control([u8; 48]);

const NO_CONTROL: Control = Control([0; 48]);

impl Batch {
    pub(super) fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    pub(super) fn piece_mut(&mut self, place: usize) -> &mut Piece {
        &mut self.pieces[place]
    }

    pub(super) fn is_full(&self) -> bool {
        self.pieces.len() == CAPACITY
    }

    pub(super) fn clear(&mut self) {
        self.pieces.clear();
    }

    /// The bytes of a piece.
    #[cfg(test)]
    pub(super) fn bytes(&self, place: usize) -> &[u8] {
        &self.bytes[place * BUFFER..][..self.pieces[place].len]
    }

    /// Appends what a socket has, at most `N` pieces and as many as there is room for. A datagram that
    /// was cut off, which cannot be, would be one to discard.
    ///
    /// # Errors
    /// EAGAIN when it has nothing; what an ICMP error did to a connected socket.
    pub(super) fn receive<const N: usize>(&mut self, socket: BorrowedFd<'_>) -> Result<(), Errno> {
        if self.bytes.is_empty() {
            self.bytes = vec![0; CAPACITY * BUFFER].into_boxed_slice();
        }
        let first = self.pieces.len();
        let room = N.min(CAPACITY - first);
        let mut names = [const { no_name() }; N];
        let mut controls = [NO_CONTROL; N];
        let mut parts = [libc::iovec { iov_base: ptr::null_mut(), iov_len: BUFFER }; N];
        // SAFETY: a header of zeros is one that refers to nothing.
        let mut headers: [libc::mmsghdr; N] = unsafe { mem::zeroed() };
        let buffers = self.bytes[first * BUFFER..].as_mut_ptr();
        for place in 0..room {
            // SAFETY: there are buffers for CAPACITY pieces, so this one ends inside the allocation.
            parts[place].iov_base = unsafe { buffers.add(place * BUFFER) }.cast();
            let header = &mut headers[place].msg_hdr;
            header.msg_name = (&raw mut names[place]).cast();
            header.msg_namelen = size_of::<Name>() as libc::socklen_t;
            header.msg_iov = &raw mut parts[place];
            header.msg_iovlen = 1;
            header.msg_control = (&raw mut controls[place]).cast();
            header.msg_controllen = size_of::<Control>() as _;
        }
        // SAFETY: the first `room` headers are complete; name, part, buffer and control of each are
        // its own, live until the end of this function, and are as long as it says.
        let received = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr(),
                room as libc::c_uint,
                0,
                ptr::null_mut(),
            )
        };
        let received = usize::try_from(received).map_err(|_| last_error())?;
        for (place, header) in headers[..received].iter().enumerate() {
            let (segment, overrun) = notes(&header.msg_hdr);
            let len = header.msg_len as usize;
            let whole = header.msg_hdr.msg_flags & libc::MSG_TRUNC == 0;
            let segment = if segment < len { segment } else { 0 };
            let (peer, tag) = match address(&names[place]) {
                Some(peer) if whole => (peer, 0),
                _ => (SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0).into(), DISCARD),
            };
            self.pieces.push(Piece { peer, tag, len, segment, overrun });
        }
        Ok(())
    }

    /// Sends pieces in their order. Returns how many were sent, and what the kernel says of the next one
    /// if that was not all.
    ///
    /// Where the kernel or the way does not take a piece of several datagrams, they are sent one by one.
    pub(super) fn send(
        &self,
        socket: BorrowedFd<'_>,
        pieces: Range<usize>,
        to: To,
        offload: &mut Offload,
    ) -> (usize, Option<Errno>) {
        let mut next = pieces.start;
        offload.rest = offload.rest.saturating_sub(1);
        while next < pieces.end {
            let first = &self.pieces[next];
            let whole = first.segment == 0 || offload.cuts;
            let sent = if whole {
                self.send_whole(socket, next..pieces.end, to, offload)
            } else {
                self.send_cut(socket, next, to).map(|()| Sent { pieces: 1, groups: 0 })
            };
            match sent {
                Ok(sent) => {
                    offload.count(&self.pieces[next..next + sent.pieces], sent.groups);
                    next += sent.pieces;
                }
                Err(Errno::INTR) => {}
                // The same, of datagrams that came one by one: that is how they go, then.
                Err(error @ (Errno::IO | Errno::INVAL | Errno::MSGSIZE))
                    if offload.groups() && self.begins_group(next..pieces.end, to) =>
                {
                    offload.refused(error);
                    offload.rest = REST;
                }
                // A device without checksums (EIO); datagrams that are longer than the way takes
                // (EINVAL), or headers that leave less room than there was (EMSGSIZE).
                Err(error @ (Errno::IO | Errno::INVAL | Errno::MSGSIZE))
                    if first.segment > 0 && whole =>
                {
                    offload.refused(error);
                    match self.send_cut(socket, next, to) {
                        Ok(()) => next += 1,
                        Err(error) => return (next - pieces.start, Some(error)),
                    }
                }
                Err(error) => return (next - pieces.start, Some(error)),
            }
        }
        (next - pieces.start, None)
    }

    /// Sends pieces by one call, up to the first that has to be cut here. How many it took.
    fn send_whole(
        &self,
        socket: BorrowedFd<'_>,
        pieces: Range<usize>,
        to: To,
        offload: &Offload,
    ) -> Result<Sent, Errno> {
        let pieces = self.pieces[pieces.clone()].iter().zip(pieces);
        let pieces = pieces.take_while(|(piece, _)| piece.segment == 0 || offload.cuts);
        send(
            socket,
            pieces.map(|(piece, place)| {
                let bytes = &self.bytes[place * BUFFER..][..piece.len];
                (bytes, (to == To::Peer).then_some(piece.peer), piece.segment)
            }),
            offload.groups(),
        )
    }

    /// Whether the first of these goes in a group, where there are any.
    fn begins_group(&self, pieces: Range<usize>, to: To) -> bool {
        let [first, second, ..] = &self.pieces[pieces] else { return false };
        let same = to == To::Connected || first.peer == second.peer;
        let alone = first.segment == 0 && second.segment == 0;
        same && alone && first.len == second.len && may_be_grouped(first.len)
    }

    /// Sends the datagrams of one piece one by one.
    fn send_cut(&self, socket: BorrowedFd<'_>, place: usize, to: To) -> Result<(), Errno> {
        let piece = &self.pieces[place];
        let bytes = &self.bytes[place * BUFFER..][..piece.len];
        let peer = (to == To::Peer).then_some(piece.peer);
        let mut done = 0;
        while done < bytes.len() {
            let left = bytes[done..].chunks(piece.segment);
            match send(socket, left.map(|bytes| (bytes, peer, 0)), false) {
                Ok(sent) => done += sent.pieces * piece.segment,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Whether the kernel cuts pieces, and how often it joined and cut.
#[derive(Clone, Debug, Default)]
pub(super) struct Offload {
    /// Whether it takes pieces of several datagrams.
    pub(super) cuts: bool,
    /// Pieces of several datagrams that it took, groups that were made here among them.
    pub(super) cut: u64,
    /// Such that it did not take.
    pub(super) refusals: u64,
    /// For how many calls more nothing is grouped.
    pub(super) rest: u32,
}

impl Offload {
    fn groups(&self) -> bool {
        self.cuts && self.rest == 0
    }

    fn count(&mut self, sent: &[Piece], groups: usize) {
        self.cut += groups as u64;
        if self.cuts {
            self.cut += sent.iter().filter(|piece| piece.segment > 0).count() as u64;
        }
    }

    fn refused(&mut self, error: Errno) {
        self.refusals += 1;
        tracing::trace!(%error, "the way takes no piece of several datagrams");
    }
}

/// What one call took.
struct Sent {
    pieces: usize,
    /// Of several pieces each.
    groups: usize,
}

fn may_be_grouped(len: usize) -> bool {
    (1..=GROUPED).contains(&len)
}

/// Sends these datagrams (or pieces, with the length of their datagrams) by one call, at most
/// [`CAPACITY`]. How many were sent; the error is about the first, or the group that it begins.
///
/// `group`: datagrams of one length and for one receiver, one behind the other, go as a piece.
fn send<'a>(
    socket: BorrowedFd<'_>,
    pieces: impl Iterator<Item = (&'a [u8], Option<SocketAddr>, usize)>,
    group: bool,
) -> Result<Sent, Errno> {
    let mut names = [const { no_name() }; CAPACITY];
    let mut controls = [NO_CONTROL; CAPACITY];
    let mut parts = [libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 }; CAPACITY];
    // SAFETY: a header of zeros is one that refers to nothing.
    let mut headers: [libc::mmsghdr; CAPACITY] = unsafe { mem::zeroed() };
    // Of each header.
    let mut lengths = [0; CAPACITY];
    let (mut count, mut taken) = (0, 0);
    let mut open = None;
    for (bytes, peer, segment) in pieces.take(CAPACITY) {
        // The kernel only reads there.
        parts[taken] =
            libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
        taken += 1;
        if segment == 0 && open == Some((bytes.len(), peer)) {
            lengths[count - 1] += 1;
            continue;
        }
        let header = &mut headers[count].msg_hdr;
        if let Some(peer) = peer {
            header.msg_namelen = write_address(&mut names[count], peer);
            header.msg_name = (&raw mut names[count]).cast();
        }
        if segment > 0 {
            header.msg_control = (&raw mut controls[count]).cast();
            write_segment(header, u16::try_from(segment).unwrap_or(u16::MAX));
        }
        let may_go_on = group && segment == 0 && may_be_grouped(bytes.len());
        open = may_go_on.then_some((bytes.len(), peer));
        lengths[count] = 1;
        count += 1;
    }
    let (first, mut begin) = (parts.as_mut_ptr(), 0);
    for place in 0..count {
        let header = &mut headers[place].msg_hdr;
        header.msg_iov = first.wrapping_add(begin);
        header.msg_iovlen = lengths[place] as _;
        if lengths[place] > 1 {
            header.msg_control = (&raw mut controls[place]).cast();
            write_segment(header, u16::try_from(parts[begin].iov_len).unwrap_or(u16::MAX));
        }
        begin += lengths[place];
    }
    // SAFETY: the first `count` headers are complete; their parts are the first `taken` ones, in turn; what they refer
    // to lives until the end of this function, or longer, and is as long as they say.
    let sent = unsafe {
        libc::sendmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), count as libc::c_uint, 0)
    };
    let sent = usize::try_from(sent).map_err(|_| last_error())?;
    let sent = &lengths[..sent];
    Ok(Sent { pieces: sent.iter().sum(), groups: sent.iter().filter(|n| **n > 1).count() })
}

/// Puts the length of datagrams into the control buffer of a header, which has room for it.
fn write_segment(header: &mut libc::msghdr, segment: u16) {
    // SAFETY: the buffer has room for an int and is aligned for a cmsghdr, so the first header and
    // its data are inside it.
    unsafe {
        header.msg_controllen = libc::CMSG_SPACE(size_of::<u16>() as u32) as _;
        let control = libc::CMSG_FIRSTHDR(header);
        (*control).cmsg_level = libc::SOL_UDP;
        (*control).cmsg_type = libc::UDP_SEGMENT;
        (*control).cmsg_len = libc::CMSG_LEN(size_of::<u16>() as u32) as _;
        ptr::write_unaligned(libc::CMSG_DATA(control).cast(), segment);
    }
}

/// What the kernel noted about a piece: the length of its datagrams, if they are several, and how many
/// were dropped before.
fn notes(header: &libc::msghdr) -> (usize, u32) {
    let (mut segment, mut overrun) = (0, 0);
    // SAFETY: the kernel filled the control buffer as far as `msg_controllen` says, which the macros
    // do not go beyond; both notes are an int.
    unsafe {
        let mut control = libc::CMSG_FIRSTHDR(header);
        while let Some(note) = control.as_ref() {
            let value = || ptr::read_unaligned(libc::CMSG_DATA(control).cast::<u32>());
            match (note.cmsg_level, note.cmsg_type) {
                (libc::SOL_UDP, libc::UDP_GRO) => segment = value() as usize,
                (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) => overrun = value(),
                _ => {}
            }
            control = libc::CMSG_NXTHDR(header, control);
        }
    }
    (segment, overrun)
}

const fn no_name() -> Name {
    // SAFETY: zeros are a valid address of each of the kinds.
    unsafe { mem::zeroed() }
}

fn address(name: &Name) -> Option<SocketAddr> {
    // SAFETY: all fields begin with the family, and each byte was zero or written by the kernel.
    match i32::from(unsafe { name.family }) {
        libc::AF_INET => {
            // SAFETY: as above.
            let four = unsafe { name.four };
            let ip = Ipv4Addr::from(four.sin_addr.s_addr.to_ne_bytes());
            Some(SocketAddrV4::new(ip, u16::from_be(four.sin_port)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let six = unsafe { name.six };
            let ip = Ipv6Addr::from(six.sin6_addr.s6_addr);
            // A flow label is of a packet, not of who sent it.
            let port = u16::from_be(six.sin6_port);
            Some(SocketAddrV6::new(ip, port, 0, six.sin6_scope_id).into())
        }
        _ => None,
    }
}

fn write_address(name: &mut Name, address: SocketAddr) -> libc::socklen_t {
    let len = match address {
        SocketAddr::V4(address) => {
            name.four = libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: address.port().to_be(),
                sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(address.ip().octets()) },
                sin_zero: [0; 8],
            };
            size_of::<libc::sockaddr_in>()
        }
        SocketAddr::V6(address) => {
            name.six = libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as libc::sa_family_t,
                sin6_port: address.port().to_be(),
                sin6_flowinfo: 0,
                sin6_addr: libc::in6_addr { s6_addr: address.ip().octets() },
                sin6_scope_id: address.scope_id(),
            };
            size_of::<libc::sockaddr_in6>()
        }
    };
    len as libc::socklen_t
}

/// Has a socket receive runs of datagrams as one piece, where the kernel can (5.0).
pub(super) fn join(socket: BorrowedFd<'_>) -> Result<(), Errno> {
    set(socket, libc::SOL_UDP, libc::UDP_GRO, 1)
}

/// Has a socket tell how many datagrams it had to drop.
pub(super) fn note_overruns(socket: BorrowedFd<'_>) -> Result<(), Errno> {
    set(socket, libc::SOL_SOCKET, libc::SO_RXQ_OVFL, 1)
}

/// Whether the kernel cuts pieces into datagrams (4.18).
pub(super) fn can_cut(socket: BorrowedFd<'_>) -> bool {
    set(socket, libc::SOL_UDP, libc::UDP_SEGMENT, 0).is_ok()
}

fn set(
    socket: BorrowedFd<'_>,
    level: libc::c_int,
    option: libc::c_int,
    value: libc::c_int,
) -> Result<(), Errno> {
    let size = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the value is an int that lives through the call, and its size is given.
    let done = unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const value).cast(), size)
    };
    if done == 0 { Ok(()) } else { Err(last_error()) }
}

fn last_error() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

#[cfg(test)]
mod tests;

//! Senders that leave it to the kernel to cut runs into datagrams, and receivers that have them joined.
#![allow(unsafe_code)]

use std::net::UdpSocket;
use std::os::fd::AsRawFd;

/// Has the kernel cut what is sent on this socket into datagrams of this length (udp(7), `UDP_SEGMENT`).
/// Whether it can.
pub(crate) fn cut(socket: &UdpSocket, length: usize) -> bool {
    set(socket, libc::UDP_SEGMENT, length as libc::c_int)
}

/// Has a socket receive runs of datagrams as one piece (udp(7), `UDP_GRO`). Whether it can.
pub(crate) fn join(socket: &UdpSocket) -> bool {
    set(socket, libc::UDP_GRO, 1)
}

fn set(socket: &UdpSocket, option: libc::c_int, value: libc::c_int) -> bool {
    let size = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the option is an int, which lives through the call, and its size is given.
    let done = unsafe {
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_UDP, option, (&raw const value).cast(), size)
    };
    done == 0
}

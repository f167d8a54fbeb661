//! The few socket options that forwarding needs and no binding offers as one safe call.
#![allow(unsafe_code)]

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;
use rustix::ioctl::{self, Getter, Opcode};
use rustix::net::sockopt::set_socket_linger;

/// `SIOCOUTQ` of `linux/sockios.h` (the same number as `TIOCOUTQ`).
const SIOCOUTQ: Opcode = libc::TIOCOUTQ as Opcode;

/// Bytes that were written and that the peer has not acknowledged yet (tcp(7), `SIOCOUTQ`).
pub(super) fn unacknowledged(socket: BorrowedFd<'_>) -> Result<usize, Errno> {
    // SAFETY: on a TCP socket SIOCOUTQ writes one C int through its argument and nothing else,
    // which is what `Getter<_, c_int>` provides.
    let bytes = unsafe { ioctl::ioctl(socket, Getter::<SIOCOUTQ, libc::c_int>::new()) }?;
    Ok(usize::try_from(bytes).unwrap_or(0))
}

/// Closes with a reset instead of an orderly end, whatever is still queued.
pub(super) fn reset(socket: OwnedFd) {
    // Fails only on something that is no socket. The close then is an orderly one.
    let _ = set_socket_linger(socket.as_fd(), Some(Duration::ZERO));
}

//! The last words to a client, so that they arrive.
//!
//! Closing a socket with unread bytes, or bytes that come later, makes the kernel send a reset, which
//! may overtake what was written. So the end is sent first, and what the client still sends is thrown
//! away until it ends, too, or for a moment.

use std::borrow::Cow;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{RecvFlags, Shutdown, recv, shutdown};

use super::pump::write_some;
use super::stats::ResetReason;

/// How long a client may go on sending.
const PATIENCE: Duration = Duration::from_secs(1);
/// Reads per turn; who sends faster than these is closed.
const READS_PER_TURN: usize = 64;

/// See the module.
#[derive(Debug)]
pub(super) struct Farewell {
    words: Cow<'static, [u8]>,
    written: usize,
    ended: bool,
    /// Why it is not served.
    pub(super) reason: ResetReason,
    pub(super) deadline: Instant,
}

impl Farewell {
    /// Begins to say these words.
    pub(super) fn new(words: Cow<'static, [u8]>, reason: ResetReason, now: Instant) -> Self {
        Self { words, written: 0, ended: false, reason, deadline: now + PATIENCE }
    }

    /// Goes on after an event of the client's socket. Whether it is time to close.
    pub(super) fn run(&mut self, client: BorrowedFd<'_>, buffer: &mut [u8]) -> bool {
        if !self.ended {
            match write_some(client, &self.words[self.written..]) {
                Ok(taken) => self.written += taken,
                Err(_) => return true,
            }
            if self.written == self.words.len() {
                self.ended = true;
                if shutdown(client, Shutdown::Write).is_err() {
                    return true;
                }
            }
        }
        for _ in 0..READS_PER_TURN {
            // With TRUNC, TCP drops the bytes instead of copying them (tcp(7)).
            match recv(client, &mut *buffer, RecvFlags::TRUNC) {
                Ok((_, 0)) => return self.ended,
                Ok(_) | Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return false,
                Err(_) => return true,
            }
        }
        true
    }
}

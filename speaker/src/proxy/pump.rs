//! One direction of a connection: bytes from one socket to the other.
//!
//! There is no buffer per connection. Bytes are read into the worker's shared buffer and written at
//! once; only what a short write left over is kept, on the heap, in its exact size. While there
//! are leftovers nothing more is read, so a receiver that stalls stops its sender.
//!
//! The sockets are watched edge-triggered, so a pump remembers what an edge said until a system
//! call shows that it is no longer so. A read that did not fill the buffer means that the socket
//! is empty, except when the edge announced something behind the bytes (an end, an error, an
//! urgent mark): no second edge would come for that, so then it reads on.

use std::os::fd::BorrowedFd;

use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown};

/// Reads per turn; then the other connections of the worker come first.
const READS_PER_TURN: usize = 8;

/// Events after which a short read does not mean that the socket is empty.
const MORE_BEHIND: EventFlags =
    EventFlags::RDHUP.union(EventFlags::HUP).union(EventFlags::ERR).union(EventFlags::PRI);

/// How a turn of a pump ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Nothing to do until the next event of either socket.
    Waiting,
    /// The turn's budget is used up; there may be more.
    More,
    /// The source ended, everything was written, and the end was passed on.
    Finished,
    /// The source failed; all that it had sent is written or in the leftovers.
    SourceFailed,
    /// The sink failed.
    SinkFailed,
}

/// The state of one direction.
#[derive(Debug, Default)]
pub(super) struct Pump {
    leftover: Option<Box<Leftover>>,
    /// The source has, or may have, something to read.
    readable: bool,
    /// Something is behind the bytes: read until the end, the error or `EAGAIN`.
    more_behind: bool,
    /// The sink took less than it was given, and has not said since that it has room.
    sink_full: bool,
    /// The end of the source has been passed on.
    finished: bool,
    /// The source is known to have failed: what looks like an orderly end is none.
    source_failed: bool,
}

/// What a short write left over. Rare, and boxed twice, so that a pump without one is small.
#[derive(Debug)]
struct Leftover {
    bytes: Box<[u8]>,
    /// Of these so many have been written since.
    written: usize,
}

impl Pump {
    /// Notes an event of the source.
    pub(super) fn source_event(&mut self, flags: EventFlags) {
        if flags.intersects(MORE_BEHIND) {
            self.more_behind = true;
            self.readable = true;
        } else if flags.contains(EventFlags::IN) {
            self.readable = true;
        }
    }

    /// Notes an event of the sink.
    pub(super) fn sink_event(&mut self, flags: EventFlags) {
        if flags.intersects(EventFlags::OUT | EventFlags::HUP | EventFlags::ERR) {
            self.sink_full = false;
        }
    }

    /// Notes that the source failed (in a way that its next read may no longer tell).
    pub(super) fn source_failed(&mut self) {
        self.source_failed = true;
        self.more_behind = true;
        self.readable = true;
    }

    /// Whether bytes that were read are still to be written.
    pub(super) fn has_leftover(&self) -> bool {
        self.leftover.is_some()
    }

    /// Whether the source has, or may have, something to read.
    pub(super) fn may_read(&self) -> bool {
        self.readable
    }

    /// Moves what can be moved now. Adds the bytes that were read to `moved`.
    pub(super) fn run(
        &mut self,
        source: BorrowedFd<'_>,
        sink: BorrowedFd<'_>,
        buffer: &mut [u8],
        moved: &mut u64,
    ) -> Progress {
        if self.finished {
            return Progress::Finished;
        }
        if self.leftover.is_some() {
            if self.sink_full {
                return Progress::Waiting;
            }
            match self.flush(sink) {
                Ok(true) => {}
                Ok(false) => return Progress::Waiting,
                Err(_) => return Progress::SinkFailed,
            }
        }
        for _ in 0..READS_PER_TURN {
            if !self.readable {
                return Progress::Waiting;
            }
            match recv(source, &mut *buffer, RecvFlags::empty()) {
                Ok((_, 0)) if self.source_failed => return Progress::SourceFailed,
                Ok((_, 0)) => return self.pass_end(sink),
                Ok((_, read)) => {
                    *moved += read as u64;
                    self.readable = read == buffer.len() || self.more_behind;
                    match self.write(sink, &buffer[..read]) {
                        Ok(true) => {}
                        Ok(false) => return Progress::Waiting,
                        Err(_) => return Progress::SinkFailed,
                    }
                }
                Err(Errno::AGAIN) => {
                    self.readable = false;
                    self.more_behind = false;
                    return Progress::Waiting;
                }
                Err(Errno::INTR) => {}
                Err(_) => return Progress::SourceFailed,
            }
        }
        if self.readable { Progress::More } else { Progress::Waiting }
    }

    /// Passes the end of the source on (half-close).
    fn pass_end(&mut self, sink: BorrowedFd<'_>) -> Progress {
        self.finished = true;
        // Fails only when the sink is no longer connected.
        match shutdown(sink, Shutdown::Write) {
            Ok(()) => Progress::Finished,
            Err(_) => Progress::SinkFailed,
        }
    }

    /// Writes, and keeps what was not taken. `false`: the sink is full.
    fn write(&mut self, sink: BorrowedFd<'_>, bytes: &[u8]) -> Result<bool, Errno> {
        let taken = write_some(sink, bytes)?;
        if taken == bytes.len() {
            return Ok(true);
        }
        self.leftover = Some(Box::new(Leftover { bytes: bytes[taken..].into(), written: 0 }));
        self.sink_full = true;
        Ok(false)
    }

    /// Writes leftovers. `false`: the sink is full again.
    fn flush(&mut self, sink: BorrowedFd<'_>) -> Result<bool, Errno> {
        let Some(leftover) = &mut self.leftover else { return Ok(true) };
        let rest = &leftover.bytes[leftover.written..];
        let taken = write_some(sink, rest)?;
        if taken == rest.len() {
            self.leftover = None;
            return Ok(true);
        }
        leftover.written += taken;
        self.sink_full = true;
        Ok(false)
    }
}

/// Writes what the socket takes. Less than all means that it is full, and that the kernel will
/// raise an edge when it is not (it notes the need for one before it returns short).
pub(super) fn write_some(sink: BorrowedFd<'_>, bytes: &[u8]) -> Result<usize, Errno> {
    loop {
        match send(sink, bytes, SendFlags::NOSIGNAL) {
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Ok(0),
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests;

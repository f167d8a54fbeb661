//! One direction of a connection: bytes from one socket to the other.
//!
//! There is no buffer per connection. Bytes are read into the worker's shared buffer and written at
//! once; only what a short write left over is kept, on the heap, in its exact size. While there
//! are leftovers nothing more is read, so a receiver that stalls stops its sender.
//!
//! A direction that moves much is given a pipe (see [`pipe`](super::pipe)) and splices: the bytes are not copied any more.
//! That costs a system call more per piece, which small pieces are not worth, so it takes a few full buffers in a row
//! to get there, and as many small pieces to leave it again.
//!
//! ```text
//!   copying ── BULK full reads in a row ──> splicing ── a pause: the pipe goes back ──> splicing, without a pipe
//!      ^                                       │
//!      └──────── BULK small pieces ────────────┘          (an urgent byte, or no pipe to be had: copying)
//! ```
//!
//! The sockets are watched edge-triggered, so a pump remembers what an edge said until a system
//! call shows that it is no longer so. A read that did not fill the buffer means that the socket
//! is empty, except when the edge announced something behind the bytes (an end, an error, an
//! urgent mark): no second edge would come for that, so then it reads on.

use std::os::fd::BorrowedFd;

use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown};
use rustix::pipe::{SpliceFlags, splice};

use super::pipe::{Pipe, Pipes};

/// Reads per turn; then the other connections of the worker come first.
const READS_PER_TURN: usize = 8;
/// The same for fillings and emptyings of a pipe.
const SPLICES_PER_TURN: usize = 8;
/// So many reads in a row of at least `FULL` bytes are worth a pipe; so many pieces in a row of less than `SMALL` are
/// not.
const BULK: u8 = 3;
const FULL: usize = 32 * 1024;
const SMALL: usize = 16 * 1024;
/// Instead of a count: an urgent byte is there or was, and splice(2) does not get past one.
const NEVER: u8 = u8::MAX;
const SPLICE: SpliceFlags = SpliceFlags::MOVE.union(SpliceFlags::NONBLOCK);

/// Events after which a short read does not mean that the socket is empty.
pub(super) const MORE_BEHIND: EventFlags =
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
    held: Option<Box<Held>>,
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
    /// Full reads lately, up to [`BULK`]; or [`NEVER`].
    bulk: u8,
}

/// What a direction holds while something goes on. Boxed, so that an idle one is small.
#[derive(Debug)]
enum Held {
    /// What a short write left over; of these so many bytes have been written since.
    Leftover {
        bytes: Box<[u8]>,
        written: usize,
    },
    Pipe(Pipe),
}

impl Pump {
    /// Notes an event of the source.
    pub(super) fn source_event(&mut self, flags: EventFlags) {
        if flags.intersects(MORE_BEHIND) {
            self.more_behind = true;
            self.readable = true;
            if flags.contains(EventFlags::PRI) {
                self.bulk = NEVER;
            }
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
        match self.held.as_deref() {
            None => false,
            Some(Held::Leftover { .. }) => true,
            Some(Held::Pipe(pipe)) => pipe.held > 0,
        }
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
        pipes: &mut Pipes,
        moved: &mut u64,
    ) -> Progress {
        if self.finished {
            return Progress::Finished;
        }
        match self.held.as_deref() {
            Some(Held::Leftover { .. }) if self.sink_full => return Progress::Waiting,
            Some(Held::Leftover { .. }) => match self.flush(sink) {
                Ok(true) => {}
                Ok(false) => return Progress::Waiting,
                Err(_) => return Progress::SinkFailed,
            },
            Some(Held::Pipe(_)) => match self.splice(source, sink, pipes, moved) {
                Progress::More if self.held.is_none() => {}
                progress => return progress,
            },
            None => {}
        }
        for _ in 0..READS_PER_TURN {
            if !self.readable {
                return Progress::Waiting;
            }
            if self.bulk == BULK && self.take_pipe(pipes) {
                match self.splice(source, sink, pipes, moved) {
                    Progress::More if self.held.is_none() => {}
                    progress => return progress,
                }
            }
            match recv(source, &mut *buffer, RecvFlags::empty()) {
                Ok((_, 0)) if self.source_failed => return Progress::SourceFailed,
                Ok((_, 0)) => return self.pass_end(sink),
                Ok((_, read)) => {
                    *moved += read as u64;
                    self.readable = read == buffer.len() || self.more_behind;
                    self.note_copied(read);
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

    /// Counts full reads; a single one that is not full shows that there is not much.
    fn note_copied(&mut self, read: usize) {
        if self.bulk != NEVER {
            self.bulk = if read >= FULL { BULK.min(self.bulk + 1) } else { 0 };
        }
    }

    /// Counts down by small pieces; a single one that is not small shows that there is still much.
    fn note_spliced(&mut self, read: usize) {
        if self.bulk != NEVER {
            self.bulk = if read >= SMALL { BULK } else { self.bulk.saturating_sub(1) };
        }
    }

    fn is_splicing(&self) -> bool {
        (1..=BULK).contains(&self.bulk)
    }

    /// Whether there is a pipe to be had; without one it is asked for again after as many full reads.
    fn take_pipe(&mut self, pipes: &mut Pipes) -> bool {
        self.held = pipes.take().map(|pipe| Box::new(Held::Pipe(pipe)));
        if self.held.is_none() {
            self.bulk = 0;
        }
        self.held.is_some()
    }

    /// Splices until there is nothing to do, or the turn is over. [`Progress::More`] without a pipe: to be copied.
    fn splice(
        &mut self,
        source: BorrowedFd<'_>,
        sink: BorrowedFd<'_>,
        pipes: &mut Pipes,
        moved: &mut u64,
    ) -> Progress {
        let mut steps = 0..SPLICES_PER_TURN;
        let progress = loop {
            if steps.next().is_none() {
                break Progress::More;
            }
            if let Some(progress) = self.splice_once(source, sink, moved) {
                break progress;
            }
        };
        if progress != Progress::More || !self.is_splicing() {
            // One with something in it stays here, and goes with the connection if that is over.
            let empty =
                |held: &mut Box<Held>| matches!(&**held, Held::Pipe(pipe) if pipe.held == 0);
            if let Some(Held::Pipe(pipe)) = self.held.take_if(empty).map(|held| *held) {
                pipes.give_back(pipe);
            }
        }
        progress
    }

    /// Fills the pipe if it is empty, or else empties it: of one that is neither `EAGAIN` would not tell
    /// which of the two it is about. `None`: there may be more to do.
    fn splice_once(
        &mut self,
        source: BorrowedFd<'_>,
        sink: BorrowedFd<'_>,
        moved: &mut u64,
    ) -> Option<Progress> {
        let is_splicing = self.is_splicing();
        let Some(Held::Pipe(pipe)) = self.held.as_deref_mut() else { return Some(Progress::More) };
        if pipe.held > 0 {
            if self.sink_full {
                return Some(Progress::Waiting);
            }
            match splice(&pipe.read, None, sink, None, pipe.held, SPLICE) {
                Ok(written) => pipe.held -= written,
                // The kernel notes the need for an edge before it says so.
                Err(Errno::AGAIN) => self.sink_full = true,
                Err(Errno::INTR) => {}
                Err(_) => return Some(Progress::SinkFailed),
            }
            return None;
        }
        if !is_splicing {
            return Some(Progress::More);
        }
        if !self.readable {
            return Some(Progress::Waiting);
        }
        match splice(source, None, &pipe.write, None, pipe.room, SPLICE) {
            // The end, or an urgent byte and then the end: reading tells.
            Ok(0) => {
                self.bulk = 0;
                Some(Progress::More)
            }
            Ok(read) => {
                pipe.held = read;
                *moved += read as u64;
                self.note_spliced(read);
                None
            }
            Err(Errno::AGAIN) => {
                self.readable = false;
                self.more_behind = false;
                Some(Progress::Waiting)
            }
            Err(Errno::INTR) => None,
            Err(_) => Some(Progress::SourceFailed),
        }
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
        self.held = Some(Box::new(Held::Leftover { bytes: bytes[taken..].into(), written: 0 }));
        self.sink_full = true;
        Ok(false)
    }

    /// Writes leftovers. `false`: the sink is full again.
    fn flush(&mut self, sink: BorrowedFd<'_>) -> Result<bool, Errno> {
        let Some(Held::Leftover { bytes, written }) = self.held.as_deref_mut() else {
            return Ok(true);
        };
        let rest = &bytes[*written..];
        let taken = write_some(sink, rest)?;
        if taken == rest.len() {
            self.held = None;
            return Ok(true);
        }
        *written += taken;
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

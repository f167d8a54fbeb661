//! Pipes for `splice(2)`: bytes go from socket to socket as references to pages, without a copy.
//!
//! A pipe is two files and, with a mebibyte of room, may hold much memory, so there are few of them. A direction has
//! one only while it moves much (see [`pump`](super::pump)), and gives it back as soon as it is empty. The kernel, too,
//! bounds what one user's pipes may have together (`fs.pipe-user-pages-soft`, 64 MiB unless changed) and makes those
//! beyond it too small to be worth anything; a direction that gets none goes on copying.
//!
//! What always holds: a pipe that is in the pool is empty; one with bytes in it belongs to the direction whose bytes
//! they are, and is closed with it.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use rustix::pipe::{PipeFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe_with};

/// Room that is asked for: with the 64 KiB of a pipe as it comes, bulk is half as fast.
const ROOM: usize = 1 << 20;
/// A pipe with less room is not used.
const LEAST_ROOM: usize = 64 * 1024;
/// Pipes of all workers, at most, and how many open files there have to be for each.
const MOST: usize = 48;
const FILES_FOR_EACH: usize = 100;
/// Empty ones that a worker keeps.
const KEPT: usize = 8;

/// The pipes that one worker has to give away.
#[derive(Debug)]
pub(super) struct Pipes {
    idle: Vec<Pipe>,
    /// How many there are, of all workers, and how many there may be.
    made: Arc<AtomicUsize>,
    most: usize,
}

/// How many pipes all workers may have where so many files may be open.
pub(super) fn most(files: usize) -> usize {
    MOST.min(files / FILES_FOR_EACH)
}

/// A pipe with what is in it.
#[derive(Debug)]
pub(super) struct Pipe {
    pub(super) read: OwnedFd,
    pub(super) write: OwnedFd,
    /// What one call may put into it.
    pub(super) room: usize,
    /// Bytes in it.
    pub(super) held: usize,
    made: Arc<AtomicUsize>,
}

impl Pipes {
    /// None yet; `made` counts those of all workers, of which there are at most so many.
    pub(super) fn new(made: Arc<AtomicUsize>, most: usize) -> Self {
        Self { idle: Vec::new(), made, most }
    }

    /// An empty pipe, unless there are too many, or no file or room is left for it.
    pub(super) fn take(&mut self) -> Option<Pipe> {
        self.idle.pop().or_else(|| {
            // Counted first, so that all workers together never have more.
            if self.made.fetch_add(1, Relaxed) >= self.most {
                self.made.fetch_sub(1, Relaxed);
                return None;
            }
            make(&self.made)
        })
    }

    /// Takes a pipe back; closes it where others may need one and cannot make it.
    pub(super) fn give_back(&mut self, pipe: Pipe) {
        let is_spare = self.made.load(Relaxed) < self.most && self.idle.len() < KEPT;
        if pipe.held == 0 && is_spare {
            self.idle.push(pipe);
        }
    }
}

/// Makes a pipe, which is counted already.
fn make(made: &Arc<AtomicUsize>) -> Option<Pipe> {
    let Ok((read, write)) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK) else {
        made.fetch_sub(1, Relaxed);
        return None;
    };
    // Refused beyond the user's share: then it has what it came with.
    let room = fcntl_setpipe_size(&write, ROOM).or_else(|_| fcntl_getpipe_size(&write));
    let pipe = Pipe { read, write, room: room.unwrap_or(0), held: 0, made: Arc::clone(made) };
    (pipe.room >= LEAST_ROOM).then_some(pipe)
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.made.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_never_more_than_the_limit_and_those_given_back_are_used_again() {
        let made = Arc::new(AtomicUsize::new(0));
        let (mut one, mut other) = (Pipes::new(made.clone(), MOST), Pipes::new(made.clone(), MOST));
        let mut taken: Vec<Pipe> = std::iter::from_fn(|| one.take()).collect();
        assert_eq!(taken.len(), MOST);
        assert!(other.take().is_none());
        let last = taken.pop().unwrap();
        let room = last.room;
        assert!(room >= LEAST_ROOM);
        one.give_back(last);
        let theirs = other.take().expect("it was closed, as others may need one");
        drop(taken);
        other.give_back(theirs);
        assert_eq!((one.idle.len(), other.idle.len()), (0, 1));
        assert!(other.take().is_some() && other.idle.is_empty(), "it is used again");
        drop((one, other));
        assert_eq!(made.load(Relaxed), 0);
    }

    #[test]
    fn where_files_are_few_pipes_are_fewer() {
        assert_eq!([most(0), most(300), most(1024), most(1 << 20)], [0, 3, 10, MOST]);
    }

    #[test]
    fn one_that_is_not_empty_is_closed() {
        let made = Arc::new(AtomicUsize::new(0));
        let mut pipes = Pipes::new(made.clone(), 2);
        let mut pipe = pipes.take().unwrap();
        pipe.held = 1;
        pipes.give_back(pipe);
        assert_eq!((pipes.idle.len(), made.load(Relaxed)), (0, 0));
    }
}

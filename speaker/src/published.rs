//! What a handle gives to threads that loop: the newest version of something, and a way to wake them for it.
//!
//! A reader looks at a number as often as it likes and takes the version only when it is another one. Whoever
//! looks after [`Published::publish`] returned sees what was published.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use rustix::event::{EventfdFlags, eventfd};

/// See the module.
#[derive(Debug)]
pub(crate) struct Published<T> {
    newest: ArcSwap<T>,
    /// Number of the newest; written after it.
    number: AtomicU64,
    /// One per reader.
    wakers: Vec<OwnedFd>,
}

impl<T: Default> Published<T> {
    /// With a version of its own for so many readers; its number is 0.
    ///
    /// # Errors
    /// When the operating system has no file to give.
    pub(crate) fn new(readers: usize) -> io::Result<Self> {
        let waker = |_| eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK);
        let wakers = (0..readers).map(waker).collect::<Result<_, _>>()?;
        Ok(Self { newest: ArcSwap::default(), number: AtomicU64::new(0), wakers })
    }
}

impl<T> Published<T> {
    /// Gives all readers a new version, and wakes them.
    pub(crate) fn publish(&self, version: T) {
        self.newest.store(Arc::new(version));
        self.number.fetch_add(1, Ordering::Release);
        (0..self.wakers.len()).for_each(|reader| self.wake(reader));
    }

    /// Wakes a reader, for whatever else there may be for it.
    pub(crate) fn wake(&self, reader: usize) {
        // Fails only when the counter is about to overflow: then the reader is awake anyway.
        let _ = rustix::io::write(&self.wakers[reader], &1_u64.to_ne_bytes());
    }

    /// The newest version with its number, if it is another than the one of this number.
    pub(crate) fn newer(&self, than: u64) -> Option<(u64, Arc<T>)> {
        let number = self.number.load(Ordering::Acquire);
        (number != than).then(|| (number, self.newest.load_full()))
    }

    /// What becomes readable when a version is published for a reader.
    pub(crate) fn waker(&self, reader: usize) -> &OwnedFd {
        &self.wakers[reader]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_taken_once_and_wakes_everybody() {
        let published = Published::<u8>::new(2).unwrap();
        assert!(published.newer(0).is_none());
        let mut counter = [0; 8];
        let mut woken = |reader| rustix::io::read(published.waker(reader), &mut counter).is_ok();
        assert!(!woken(0) && !woken(1));
        published.publish(5);
        published.publish(6);
        assert!(woken(0) && woken(1) && !woken(0));
        published.wake(1);
        assert!(woken(1) && !woken(0));
        let (number, version) = published.newer(0).unwrap();
        assert_eq!(*version, 6);
        assert!(published.newer(number).is_none());
    }
}

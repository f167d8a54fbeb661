//! Deadlines of connections. Nothing ticks: with no deadline armed, the worker sleeps for good.
//!
//! A deadline is not taken back when it is no longer needed (most connects succeed long before
//! theirs); it is recognised as stale when it reaches the front, so arming costs one push and
//! disarming nothing. Stale ones in front are dropped before the worker goes to sleep, so they
//! never wake it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

use super::token::ConnectionId;

/// The armed deadlines of one worker.
#[derive(Debug, Default)]
pub(super) struct Timers {
    heap: BinaryHeap<Reverse<(Instant, ConnectionId)>>,
}

impl Timers {
    /// Arms a deadline.
    pub(super) fn arm(&mut self, at: Instant, id: ConnectionId) {
        self.heap.push(Reverse((at, id)));
    }

    /// The earliest deadline that still matters; drops stale ones on the way.
    pub(super) fn next(
        &mut self,
        armed: impl Fn(ConnectionId) -> Option<Instant>,
    ) -> Option<Instant> {
        while let Some(Reverse((at, id))) = self.heap.peek() {
            if armed(*id) == Some(*at) {
                return Some(*at);
            }
            self.heap.pop();
        }
        None
    }

    /// Takes one deadline that is due.
    pub(super) fn due(&mut self, now: Instant) -> Option<(Instant, ConnectionId)> {
        let Reverse((at, _)) = self.heap.peek()?;
        if *at > now {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry)
    }
}

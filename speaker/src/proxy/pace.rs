//! How often the first bytes of a client are looked at.
//!
//! They stay in the socket, so every look copies all that there is, and reads it from the beginning. A
//! client that sends them one by one and could have each looked at would cost us the square of what it
//! sends. So only the first looks are free; then there are pauses, during which bytes gather. In five
//! seconds there are about a hundred looks, whatever a client sends, and none of those that mean well
//! waits for longer than the last pause.

use std::time::{Duration, Instant};

/// Looks at once, after whatever comes. Greetings that come in more pieces are rare.
const FREE: u32 = 8;
/// How much longer each pause is than the one before, and the longest.
const PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Pace {
    looks: u32,
    /// The last look.
    last: Option<Instant>,
    /// The next one, while there is a pause and something has come.
    next: Option<Instant>,
}

/// Whether it is time to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    Now,
    /// At this time, which was not said before.
    At(Instant),
    /// At the time that was said.
    Later,
}

impl Pace {
    /// Something may have come.
    pub(super) fn turn(&mut self, now: Instant) -> Turn {
        let known = self.next.is_some();
        let at = self.next.or_else(|| Some(self.last? + self.pause()));
        match at.filter(|at| *at > now) {
            None => {
                *self = Self { looks: self.looks.saturating_add(1), last: Some(now), next: None };
                Turn::Now
            }
            Some(_) if known => Turn::Later,
            Some(at) => {
                self.next = Some(at);
                Turn::At(at)
            }
        }
    }

    /// When it is time to look, if something waits for that.
    pub(super) fn next(&self) -> Option<Instant> {
        self.next
    }

    fn pause(&self) -> Duration {
        LONGEST_PAUSE.min(PAUSE * self.looks.saturating_sub(FREE - 1))
    }
}

#[cfg(test)]
mod tests;

//! Clients that have not said yet what they want, so that they can be bounded: whoever floods a port
//! with half-open handshakes takes neither the memory nor the files of others.

use std::collections::VecDeque;

use super::token::ConnectionId;

/// Those of one worker, oldest first. Which of them have decided meanwhile shows only when it matters.
#[derive(Debug, Default)]
pub(super) struct Undecided(VecDeque<ConnectionId>);

impl Undecided {
    /// Adds one. Returns those to be ended, so that there are at most twice as many as `limit`.
    pub(super) fn push(
        &mut self,
        id: ConnectionId,
        limit: usize,
        is_undecided: impl Fn(ConnectionId) -> bool,
    ) -> Vec<ConnectionId> {
        self.0.push_back(id);
        // Doubled, so that looking at all of them costs each of them a step or two.
        if self.0.len() <= 2 * limit {
            return Vec::new();
        }
        self.0.retain(|id| is_undecided(*id));
        let surplus = self.0.len().saturating_sub(limit);
        self.0.drain(..surplus).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_those_that_are_still_undecided_count_and_the_oldest_go() {
        let mut undecided = Undecided::default();
        let id = |slot| ConnectionId::new(slot, 0);
        let even = |id: ConnectionId| id.slot.is_multiple_of(2);
        for slot in 0..20 {
            assert_eq!(undecided.push(id(slot), 10, even), []);
        }
        // Ten of the twenty and one more, which makes one too many.
        assert_eq!(undecided.push(id(20), 10, even), [id(0)]);
        for slot in 21..31 {
            assert_eq!(undecided.push(id(slot), 10, even), []);
        }
        let ended = undecided.push(id(31), 10, |_| true);
        assert_eq!(ended.first(), Some(&id(2)));
        assert_eq!(ended.len(), 11);
    }
}

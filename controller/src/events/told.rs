//! Which events were handed in, so that what happens again is told as a repetition (a series) of the first.
//!
//! What always holds: no more than [`MOST`] are remembered, and none for longer than [`FOR`]. What is
//! forgotten is told as a new one.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

/// A series ends when nothing happened for so long, as those of Kubernetes' own programs do.
const FOR: Duration = Duration::from_secs(360);
/// So many are remembered; of some hundred bytes each.
const MOST: usize = 8192;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Told {
    by_key: HashMap<u64, Series>,
    /// When each was told of, and again; the oldest first.
    order: VecDeque<(Instant, u64)>,
}

/// An event that was handed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Series {
    /// Name of the object.
    pub(super) name: String,
    /// How often it was told.
    pub(super) count: i32,
    at: Instant,
}

impl Told {
    /// The event that one with this key repeats.
    pub(super) fn before(&mut self, key: u64, now: Instant) -> Option<Series> {
        while let Some((at, oldest)) = self.order.front().copied() {
            if at + FOR > now && self.order.len() <= MOST {
                break;
            }
            self.order.pop_front();
            if self.by_key.get(&oldest).is_some_and(|series| series.at == at) {
                self.by_key.remove(&oldest);
            }
        }
        self.by_key.get(&key).cloned()
    }

    /// An event of this name was handed in, so often by now.
    pub(super) fn note(&mut self, key: u64, name: String, count: i32, now: Instant) {
        self.by_key.insert(key, Series { name, count, at: now });
        self.order.push_back((now, key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_again_is_a_repetition_for_a_while() {
        let (mut told, start) = (Told::default(), Instant::now());
        assert_eq!(told.before(1, start), None);
        told.note(1, "one".to_owned(), 1, start);
        let later = start + FOR - Duration::from_secs(1);
        assert_eq!(told.before(1, later).map(|series| series.count), Some(1));
        told.note(1, "one".to_owned(), 2, later);
        assert_eq!(told.before(1, start + FOR).map(|series| series.count), Some(2));
        assert_eq!(told.before(2, start + FOR), None);
        assert_eq!(told.before(1, later + FOR), None);
        assert!(told.by_key.is_empty() && told.order.is_empty());
    }

    #[test]
    fn no_more_are_remembered_than_there_is_room_for() {
        let (mut told, now) = (Told::default(), Instant::now());
        for number in 0..3 * MOST as u64 {
            assert_eq!(told.before(number, now), None);
            told.note(number, String::new(), 1, now);
        }
        assert!(told.by_key.len() <= MOST + 1 && told.order.len() <= MOST + 1);
        // The latest are.
        assert!(told.before(3 * MOST as u64 - 1, now).is_some());
    }
}

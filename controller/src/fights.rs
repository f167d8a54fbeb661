//! Other controllers that write what we write.
//!
//! Something that we wrote, and that somebody turned back or took away although we have nothing new to
//! say, is a reversal. At the third in a minute writing stops for that object, for five minutes or until there
//! is something new to say: two controllers that correct each other thousands of times a minute take
//! the API server down with them.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use serde_json::Value;
use vipgate_api::ObjectRef;

use crate::hash::mark;

const WINDOW: Duration = Duration::from_secs(60);
/// So many reversals are a fight.
const FIGHT: usize = 3;
/// How long a fight stops the writing.
pub const PAUSE: Duration = Duration::from_secs(300);

/// See the module.
#[derive(Debug, Default)]
pub struct Fights(BTreeMap<ObjectRef, Contest>);

#[derive(Debug)]
struct Contest {
    /// What we want to say, by its hash; `None` when that is nothing.
    wanted: Option<u64>,
    /// It stood there once: that it does not any more is somebody's work.
    stood: bool,
    reversals: VecDeque<Instant>,
    paused_until: Option<Instant>,
    /// Since when the object is not there.
    gone: Option<Instant>,
}

/// Whether to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Yes.
    Write,
    /// No, and that is new: this is a fight. Once it may be said, then no more.
    Begins,
    /// No: it is still one, until then.
    Paused(Instant),
}

impl Fights {
    /// Whether something that is not as we want it may be written.
    pub fn judge(&mut self, object: &ObjectRef, wanted: &Value, now: Instant) -> Verdict {
        let wanted = hash_of(wanted);
        let Some(contest) = self.0.get_mut(object).filter(|contest| contest.wanted == wanted)
        else {
            let contest = Contest {
                wanted,
                stood: false,
                reversals: VecDeque::new(),
                paused_until: None,
                gone: None,
            };
            self.0.insert(object.clone(), contest);
            return Verdict::Write;
        };
        if let Some(until) = contest.paused_until {
            if now < until {
                return Verdict::Paused(until);
            }
            contest.paused_until = None;
            contest.reversals.clear();
            contest.stood = false;
        }
        if std::mem::take(&mut contest.stood) {
            contest.reversals.push_back(now);
        }
        while contest.reversals.front().is_some_and(|first| *first + WINDOW < now) {
            contest.reversals.pop_front();
        }
        if contest.reversals.len() < FIGHT {
            return Verdict::Write;
        }
        contest.paused_until = Some(now + PAUSE);
        Verdict::Begins
    }

    /// What was last judged has been written.
    pub fn wrote(&mut self, object: &ObjectRef) {
        if let Some(contest) = self.0.get_mut(object) {
            contest.stood = true;
            contest.gone = None;
        }
    }

    /// An object is gone, and what was said about it with it.
    pub fn forget(&mut self, object: &ObjectRef) {
        self.0.remove(object);
    }

    /// An object is gone that we make ourselves. If we wanted that, all is well; else it is somebody's
    /// work, and remembered for as long as it can count.
    pub fn gone(&mut self, object: &ObjectRef, now: Instant) {
        self.0.retain(|_, contest| contest.gone.is_none_or(|since| now < since + PAUSE));
        match self.0.get_mut(object) {
            Some(contest) if contest.wanted.is_none() => drop(self.0.remove(object)),
            Some(contest) => contest.gone = Some(now),
            None => {}
        }
    }

    /// When the next pause is over.
    pub fn due(&self, now: Instant) -> Option<Instant> {
        let pauses = self.0.values().filter_map(|contest| contest.paused_until);
        pauses.filter(|until| *until > now).min()
    }
}

/// What is wanted of ten thousand objects is much; whether it is the same as before is asked, no more.
fn hash_of(wanted: &Value) -> Option<u64> {
    (!wanted.is_null()).then(|| mark(wanted))
}

/// Who else writes an object, as its `metadata.managedFields` say: of the other field managers the
/// one that wrote last, of those of the status if there are any.
pub fn rival<'a>(managers: &'a [ManagedFieldsEntry], me: &str) -> Option<&'a str> {
    let others = managers.iter().filter(|entry| entry.manager.as_deref() != Some(me));
    let last = others.max_by_key(|entry| {
        let of_status = entry.subresource.as_deref() == Some("status");
        (of_status, entry.time.as_ref().map(|time| time.0))
    });
    last?.manager.as_deref()
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use vipgate_api::{Kind, ObjectKey};

    use super::*;

    fn object() -> ObjectRef {
        ObjectRef { kind: Kind::Gateway, key: ObjectKey::new("default", "web") }
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Judges, and writes if that is allowed.
    fn write(fights: &mut Fights, wanted: &Value, now: Instant) -> Verdict {
        let verdict = fights.judge(&object(), wanted, now);
        if verdict == Verdict::Write {
            fights.wrote(&object());
        }
        verdict
    }

    #[test]
    fn the_third_reversal_in_a_minute_stops_the_writing_until_there_is_news() {
        let (mut fights, start) = (Fights::default(), Instant::now());
        let one = json!({"say": 1});
        for second in 0..3 {
            assert_eq!(write(&mut fights, &one, start + seconds(second)), Verdict::Write);
        }
        let then = start + seconds(5);
        assert_eq!(write(&mut fights, &one, then), Verdict::Begins);
        assert_eq!(write(&mut fights, &one, then), Verdict::Paused(then + PAUSE));
        assert_eq!(fights.due(then), Some(then + PAUSE));
        assert_eq!(write(&mut fights, &json!({"say": 2}), then), Verdict::Write);
    }

    #[test]
    fn a_pause_ends_and_slow_reversals_are_no_fight() {
        let (mut fights, start) = (Fights::default(), Instant::now());
        let one = json!({"say": 1});
        for minute in 0..20 {
            assert_eq!(write(&mut fights, &one, start + seconds(61 * minute)), Verdict::Write);
        }
        let mut then = start + seconds(10_000);
        while write(&mut fights, &one, then) == Verdict::Write {
            then += Duration::from_millis(10);
        }
        assert_eq!(write(&mut fights, &one, then + PAUSE), Verdict::Write);
        assert_eq!(fights.due(then + PAUSE), None);
    }

    #[test]
    fn what_is_taken_away_again_and_again_is_a_fight_too() {
        let (mut fights, start) = (Fights::default(), Instant::now());
        let body = json!({"kind": "Service"});
        for second in 0..3 {
            let now = start + seconds(second);
            assert_eq!(write(&mut fights, &body, now), Verdict::Write);
            fights.gone(&object(), now);
        }
        assert_eq!(write(&mut fights, &body, start + seconds(3)), Verdict::Begins);
        // What we took away ourselves is none.
        let mut fights = Fights::default();
        for second in 0..9 {
            let now = start + seconds(second);
            assert_eq!(write(&mut fights, &body, now), Verdict::Write);
            assert_eq!(write(&mut fights, &Value::Null, now), Verdict::Write);
            fights.gone(&object(), now);
        }
        // What is gone for good is not remembered for ever.
        assert_eq!(write(&mut fights, &body, start), Verdict::Write);
        fights.gone(&object(), start);
        let another = ObjectRef { kind: Kind::Service, ..object() };
        fights.gone(&another, start + PAUSE);
        assert!(fights.0.is_empty());
    }

    #[test]
    fn a_write_that_does_not_succeed_and_is_tried_again_is_no_reversal() {
        let (mut fights, now) = (Fights::default(), Instant::now());
        for _ in 0..100 {
            assert_eq!(fights.judge(&object(), &json!(1), now), Verdict::Write);
        }
    }

    #[test]
    fn the_rival_is_who_wrote_the_status_last() {
        let entry = |manager: &str, subresource: Option<&str>, second: i64| ManagedFieldsEntry {
            manager: Some(manager.to_owned()),
            subresource: subresource.map(str::to_owned),
            time: jiff::Timestamp::from_second(second)
                .ok()
                .map(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time),
            ..ManagedFieldsEntry::default()
        };
        let mut managers = vec![entry("me", Some("status"), 9), entry("kubectl", None, 8)];
        assert_eq!(rival(&managers, "me"), Some("kubectl"));
        managers.push(entry("old", Some("status"), 1));
        managers.push(entry("other", Some("status"), 2));
        assert_eq!(rival(&managers, "me"), Some("other"));
        assert_eq!(rival(&managers[..1], "me"), None);
    }
}

//! Other controllers that write what we write.
//!
//! A status that we wrote, and that somebody turned back although nothing else changed, is a reversal.
//! After three in a minute writing stops for that object, for five minutes or until there is something
//! new to say: two controllers that correct each other thousands of times a minute take the API server
//! down with them.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use serde_json::Value;
use vipgate_api::ObjectRef;

const WINDOW: Duration = Duration::from_secs(60);
const MOST: usize = 3;
const PAUSE: Duration = Duration::from_secs(300);

/// See the module.
#[derive(Debug, Default)]
pub struct Fights(BTreeMap<ObjectRef, Fight>);

#[derive(Debug)]
struct Fight {
    /// What we wanted to say the last time.
    wanted: Value,
    reversals: VecDeque<Instant>,
    paused_until: Option<Instant>,
}

impl Fights {
    /// Whether a status that differs from what we want may be written.
    pub fn may_write(&mut self, object: &ObjectRef, wanted: &Value, now: Instant) -> bool {
        let Some(fight) = self.0.get_mut(object).filter(|fight| fight.wanted == *wanted) else {
            let wanted = wanted.clone();
            let fight = Fight { wanted, reversals: VecDeque::new(), paused_until: None };
            self.0.insert(object.clone(), fight);
            return true;
        };
        if let Some(until) = fight.paused_until {
            if now < until {
                return false;
            }
            fight.paused_until = None;
            fight.reversals.clear();
        }
        fight.reversals.push_back(now);
        while fight.reversals.front().is_some_and(|first| *first + WINDOW < now) {
            fight.reversals.pop_front();
        }
        if fight.reversals.len() > MOST {
            tracing::error!(
                %object,
                "somebody else writes the status of this object as we do, and differently: writing \
                 stops for {} s; look for a second controller in its metadata.managedFields \
                 (kubectl get --show-managed-fields)",
                PAUSE.as_secs()
            );
            fight.paused_until = Some(now + PAUSE);
            return false;
        }
        true
    }

    /// When the next pause is over.
    pub fn due(&self) -> Option<Instant> {
        self.0.values().filter_map(|fight| fight.paused_until).min()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use vipgate_api::{Kind, ObjectKey};

    use super::*;

    fn object() -> ObjectRef {
        ObjectRef { kind: Kind::Gateway, key: ObjectKey::new("default", "web") }
    }

    #[test]
    fn the_fourth_reversal_in_a_minute_stops_the_writing_until_there_is_news() {
        let (mut fights, start) = (Fights::default(), Instant::now());
        let one = json!({"say": 1});
        for second in 0..4 {
            assert!(fights.may_write(&object(), &one, start + Duration::from_secs(second)));
        }
        let then = start + Duration::from_secs(5);
        assert!(!fights.may_write(&object(), &one, then));
        assert_eq!(fights.due(), Some(then + PAUSE));
        assert!(fights.may_write(&object(), &json!({"say": 2}), then));
    }

    #[test]
    fn a_pause_ends_and_slow_reversals_are_no_fight() {
        let (mut fights, start) = (Fights::default(), Instant::now());
        let one = json!({"say": 1});
        for minute in 0..20 {
            assert!(fights.may_write(&object(), &one, start + Duration::from_secs(61 * minute)));
        }
        let mut then = start + Duration::from_secs(10_000);
        while fights.may_write(&object(), &one, then) {
            then += Duration::from_millis(10);
        }
        assert!(fights.may_write(&object(), &one, then + PAUSE));
    }
}

//! Events (`events.k8s.io/v1`): one for each transition of a condition, with its reason. There are no
//! others, so every reason that an event can have is in `docs/reasons.md`.
//!
//! Telling never delays writing: events wait in a queue of their own, and what does not fit is lost
//! and counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use tokio::sync::mpsc;
use tokio::time::timeout;
use vipgate_api::{Condition, ObjectRef};

use crate::merge::Transition;
use crate::watch::Seen;

/// Events that may wait.
const WAITING: usize = 8192;
/// How long an answer is waited for.
const ANSWER: Duration = Duration::from_secs(10);
/// Longest `note` that the API server takes, with room for what it counts differently.
const LONGEST: usize = 1000;

/// Where events are dropped off. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Teller {
    queue: mpsc::Sender<(ObjectReference, Event)>,
    lost: Arc<AtomicU64>,
}

/// Who hands them in.
pub struct Messenger {
    queue: mpsc::Receiver<(ObjectReference, Event)>,
    recorder: Recorder,
    lost: Arc<AtomicU64>,
}

/// A teller, and the messenger that has to [run](Messenger::run) for it; `instance` is the name of
/// this replica.
pub fn teller(client: Client, instance: &str) -> (Teller, Messenger) {
    let (sender, receiver) = mpsc::channel(WAITING);
    let lost = Arc::new(AtomicU64::new(0));
    let reporter = Reporter {
        controller: vipgate_api::CONTROLLER_NAME.to_owned(),
        instance: Some(instance.to_owned()),
    };
    let recorder = Recorder::new(client, reporter);
    let messenger = Messenger { queue: receiver, recorder, lost: Arc::clone(&lost) };
    (Teller { queue: sender, lost }, messenger)
}

impl Teller {
    /// Tells of transitions of an object that was seen so.
    pub fn tell(&self, object: &ObjectRef, seen: &Seen, what: &[Transition]) {
        for transition in what {
            let about = reference(object, seen, transition);
            if self.queue.try_send((about, event(transition))).is_err() {
                self.lost.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

impl Messenger {
    /// Hands in what there is, for as long as there are tellers, and then what is left.
    pub async fn run(mut self) {
        while let Some((object, event)) = self.queue.recv().await {
            match timeout(ANSWER, self.recorder.publish(&event, &object)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(%error, "an event is lost"),
                Err(_) => tracing::debug!("an event is lost: no answer in time"),
            }
            let lost = self.lost.swap(0, Ordering::Relaxed);
            if lost > 0 {
                tracing::warn!(lost, "events are lost: there were too many at once");
            }
        }
    }
}

/// What an event is about. `kubectl describe` asks for events with the object's uid. The field keeps
/// events of one reason apart, which the recorder would take for repetitions.
fn reference(object: &ObjectRef, seen: &Seen, transition: &Transition) -> ObjectReference {
    ObjectReference {
        api_version: Some(object.kind.api_version_in(seen.version)),
        kind: Some(object.kind.name().to_owned()),
        name: Some(object.key.name.clone()),
        namespace: Some(object.key.namespace.clone()).filter(|namespace| !namespace.is_empty()),
        uid: seen.uid.clone(),
        field_path: transition.of.field(),
        ..ObjectReference::default()
    }
}

fn event(transition: &Transition) -> Event {
    let Transition { of, condition } = transition;
    let Condition { kind, status, reason, message } = condition;
    let mut note = format!("{kind}={status}{of}: {message}");
    note.truncate(note.floor_char_boundary(LONGEST));
    Event {
        type_: if transition.is_bad() { EventType::Warning } else { EventType::Normal },
        reason: reason.to_string(),
        note: Some(note),
        action: kind.to_string(),
        secondary: None,
    }
}

#[cfg(test)]
mod tests {
    use vipgate_api::{ConditionStatus, ConditionType, Kind, ObjectKey, Reason};

    use super::*;
    use crate::merge::Part;

    fn is_warning(kind: ConditionType, status: ConditionStatus, reason: Reason) -> bool {
        let condition = Condition { kind, status, reason, message: "m".repeat(5000) };
        let event = event(&Transition { of: Part::Whole, condition });
        assert!(event.note.is_some_and(|note| note.len() <= LONGEST));
        event.type_ == EventType::Warning
    }

    #[test]
    fn only_what_needs_somebody_is_a_warning() {
        use ConditionStatus::{False, True, Unknown};
        use ConditionType::{Accepted, Conflicted, Contested, PartiallyInvalid, Programmed};
        assert!(!is_warning(Programmed, True, Reason::Programmed));
        assert!(!is_warning(Programmed, False, Reason::Pending));
        assert!(!is_warning(Accepted, Unknown, Reason::Pending));
        assert!(!is_warning(Conflicted, False, Reason::NoConflicts));
        assert!(is_warning(Programmed, False, Reason::AddressNotAssigned));
        assert!(is_warning(Accepted, True, Reason::ListenersNotValid));
        assert!(is_warning(PartiallyInvalid, True, Reason::UnsupportedValue));
        assert!(is_warning(Contested, True, Reason::OtherWriter));
    }

    #[test]
    fn an_event_names_the_object_by_its_uid_and_the_part_of_it() {
        let object = ObjectRef::new(Kind::Gateway, ObjectKey::new("default", "web"));
        let seen = Seen { version: "v1", uid: Some("uid-1".to_owned()), ..Seen::default() };
        let condition = Condition::holds(ConditionType::Programmed, Reason::Programmed, "m");
        let of = Part::Listener("tcp".to_owned());
        let transition = Transition { of, condition };
        let about = reference(&object, &seen, &transition);
        assert_eq!(about.uid.as_deref(), Some("uid-1"));
        assert_eq!(about.field_path.as_deref(), Some("status.listeners{tcp}"));
        let note = event(&transition).note.unwrap();
        assert_eq!(note, "Programmed=True for listener tcp: m");
    }
}

//! Events (`events.k8s.io/v1`): of the controller one for each transition of a condition, with its reason;
//! of speakers what becomes of BGP sessions. Every reason that an event can have is in `docs/reasons.md`.
//!
//! Telling never delays writing: events wait in a queue of their own, and what does not fit is lost
//! and counted.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use tokio::sync::mpsc;
use tokio::time::timeout;
use vipgate_api::{Condition, ObjectRef, Reason};

use crate::merge::Transition;
use crate::watch::Seen;

/// Events that may wait.
const WAITING: usize = 8192;
/// How long an answer is waited for.
const ANSWER: Duration = Duration::from_secs(10);
/// Longest `note` that the API server takes, with room for what it counts differently.
const LONGEST: usize = 1000;
/// Texts of news of which repetitions are known.
const REMEMBERED: usize = 64;

/// Where events are dropped off. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Teller {
    queue: mpsc::Sender<Letter>,
    lost: Arc<AtomicU64>,
}

/// Who hands them in.
pub struct Messenger {
    queue: mpsc::Receiver<Letter>,
    recorder: Recorder,
    /// A recorder takes events of one reason for repetitions of the first, whatever they say.
    of_news: BTreeMap<String, Recorder>,
    client: Client,
    reporter: Reporter,
    lost: Arc<AtomicU64>,
}

/// What is to be told of an object that is none of its conditions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// For programs.
    pub reason: Reason,
    /// Whether somebody has to do something.
    pub is_bad: bool,
    /// For people. The same text again is a repetition.
    pub note: String,
}

struct Letter {
    about: ObjectReference,
    event: Event,
    is_news: bool,
}

/// A teller, and the messenger that has to [run](Messenger::run) for it; `controller` is what tells, and
/// `instance` the name of this one.
pub fn teller(client: Client, controller: &str, instance: &str) -> (Teller, Messenger) {
    let (sender, receiver) = mpsc::channel(WAITING);
    let lost = Arc::new(AtomicU64::new(0));
    let reporter =
        Reporter { controller: controller.to_owned(), instance: Some(instance.to_owned()) };
    let messenger = Messenger {
        queue: receiver,
        recorder: Recorder::new(client.clone(), reporter.clone()),
        of_news: BTreeMap::new(),
        client,
        reporter,
        lost: Arc::clone(&lost),
    };
    (Teller { queue: sender, lost }, messenger)
}

impl Teller {
    /// Tells of transitions of an object that was seen so.
    pub fn tell(&self, object: &ObjectRef, seen: &Seen, what: &[Transition]) {
        for transition in what {
            let field_path = transition.of.field();
            let about = ObjectReference { field_path, ..reference(object, seen) };
            self.post(Letter { about, event: event(transition), is_news: false });
        }
    }

    /// Tells news of an object that was seen so.
    pub fn news(&self, object: &ObjectRef, seen: &Seen, news: &News) {
        let about = reference(object, seen);
        let event = written(news.is_bad, news.reason, news.note.clone(), "Session");
        self.post(Letter { about, event, is_news: true });
    }

    fn post(&self, letter: Letter) {
        if self.queue.try_send(letter).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Messenger {
    /// Hands in what there is, for as long as there are tellers, and then what is left.
    pub async fn run(mut self) {
        while let Some(Letter { about, event, is_news }) = self.queue.recv().await {
            let recorder = match &event.note {
                Some(note) if is_news => self.of_news(note),
                _ => self.recorder.clone(),
            };
            match timeout(ANSWER, recorder.publish(&event, &about)).await {
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

    /// Whoever knows of the repetitions of a text.
    fn of_news(&mut self, note: &str) -> Recorder {
        if self.of_news.len() >= REMEMBERED && !self.of_news.contains_key(note) {
            self.of_news.clear();
        }
        let (client, reporter) = (&self.client, &self.reporter);
        let recorder = || Recorder::new(client.clone(), reporter.clone());
        self.of_news.entry(note.to_owned()).or_insert_with(recorder).clone()
    }
}

/// What an event is about. `kubectl describe` asks for events with the object's uid. The field of a
/// transition keeps events of one reason apart, which the recorder would take for repetitions.
fn reference(object: &ObjectRef, seen: &Seen) -> ObjectReference {
    ObjectReference {
        api_version: Some(object.kind.api_version_in(seen.version)),
        kind: Some(object.kind.name().to_owned()),
        name: Some(object.key.name.clone()),
        namespace: Some(object.key.namespace.clone()).filter(|namespace| !namespace.is_empty()),
        uid: seen.uid.clone(),
        ..ObjectReference::default()
    }
}

fn event(transition: &Transition) -> Event {
    let Transition { of, condition } = transition;
    let Condition { kind, status, reason, message } = condition;
    let note = format!("{kind}={status}{of}: {message}");
    written(transition.is_bad(), *reason, note, &kind.to_string())
}

fn written(is_bad: bool, reason: Reason, mut note: String, action: &str) -> Event {
    note.truncate(note.floor_char_boundary(LONGEST));
    Event {
        type_: if is_bad { EventType::Warning } else { EventType::Normal },
        reason: reason.to_string(),
        note: Some(note),
        action: action.to_owned(),
        secondary: None,
    }
}

#[cfg(test)]
mod tests {
    use vipgate_api::{ConditionStatus, ConditionType, Kind, ObjectKey};

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
        let (queue, mut posted) = mpsc::channel(2);
        let teller = Teller { queue, lost: Arc::default() };
        teller.tell(&object, &seen, std::slice::from_ref(&transition));
        let about = posted.try_recv().unwrap().about;
        assert_eq!(about.uid.as_deref(), Some("uid-1"));
        assert_eq!(about.field_path.as_deref(), Some("status.listeners{tcp}"));
        let note = event(&transition).note.unwrap();
        assert_eq!(note, "Programmed=True for listener tcp: m");
    }
}

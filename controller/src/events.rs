//! Events (`events.k8s.io/v1`): one for each transition of a condition, with its reason.
//!
//! Telling never delays writing: events wait in a queue of their own, and what does not fit is lost
//! and counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use tokio::sync::mpsc;
use vipgate_api::{ConditionType, ObjectRef, Reason};

use crate::merge::Transition;

/// Events that may wait.
const WAITING: usize = 8192;
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
    /// Tells of transitions of an object, which has this `apiVersion` version.
    pub fn tell(&self, object: &ObjectRef, version: &str, what: &[Transition]) {
        for transition in what {
            if self.queue.try_send((reference(object, version), event(transition))).is_err() {
                self.lost.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

impl Messenger {
    /// Hands in what there is, for as long as there are tellers.
    pub async fn run(mut self) {
        while let Some((object, event)) = self.queue.recv().await {
            if let Err(error) = self.recorder.publish(&event, &object).await {
                tracing::debug!(%error, "an event is lost");
            }
            let lost = self.lost.swap(0, Ordering::Relaxed);
            if lost > 0 {
                tracing::warn!(lost, "events are lost: there were too many at once");
            }
        }
    }
}

fn reference(object: &ObjectRef, version: &str) -> ObjectReference {
    ObjectReference {
        api_version: Some(object.kind.api_version_in(version)),
        kind: Some(object.kind.name().to_owned()),
        name: Some(object.key.name.clone()),
        namespace: Some(object.key.namespace.clone()).filter(|namespace| !namespace.is_empty()),
        ..ObjectReference::default()
    }
}

fn event(transition: &Transition) -> Event {
    let Transition { kind, status, reason, message, of } = transition;
    let subject = if of.is_empty() { String::new() } else { format!(" for {of}") };
    let mut note = format!("{kind}={status}{subject}: {message}");
    note.truncate(note.floor_char_boundary(LONGEST));
    Event {
        type_: if is_bad(transition) { EventType::Warning } else { EventType::Normal },
        reason: reason.clone(),
        note: Some(note),
        action: kind.clone(),
        secondary: None,
    }
}

/// Whether somebody has to do something. What is under way is no bad news.
fn is_bad(transition: &Transition) -> bool {
    let is_negative = ConditionType::ALL
        .iter()
        .any(|kind| kind.to_string() == transition.kind && kind.is_negative());
    match transition.status.as_str() {
        "True" => is_negative || transition.reason == Reason::ListenersNotValid.to_string(),
        "False" => !is_negative && transition.reason != Reason::Pending.to_string(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_warning(kind: &str, status: &str, reason: &str) -> bool {
        let [kind, status, reason] = [kind, status, reason].map(str::to_owned);
        let message = "m".repeat(5000);
        let event = event(&Transition { of: String::new(), kind, status, reason, message });
        assert!(event.note.is_some_and(|note| note.len() <= LONGEST));
        event.type_ == EventType::Warning
    }

    #[test]
    fn only_what_needs_somebody_is_a_warning() {
        assert!(!is_warning("Programmed", "True", "Programmed"));
        assert!(!is_warning("Programmed", "False", "Pending"));
        assert!(!is_warning("Accepted", "Unknown", "Pending"));
        assert!(!is_warning("Conflicted", "False", "NoConflicts"));
        assert!(is_warning("Programmed", "False", "AddressNotAssigned"));
        assert!(is_warning("Accepted", "True", "ListenersNotValid"));
        assert!(is_warning("PartiallyInvalid", "True", "UnsupportedValue"));
        assert!(is_warning("vipgate.dev/Contested", "True", "OtherWriter"));
    }
}

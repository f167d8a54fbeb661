//! Events (`events.k8s.io/v1`): of the controller one for each transition of a condition, with its reason;
//! of speakers what becomes of BGP sessions. Every reason that an event can have is in `docs/reasons.md`.
//!
//! Telling never delays writing: events wait in a queue of their own, for as long as there are many statuses to
//! write (a minute at most), and what does not fit is lost and counted.

mod told;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;
use tokio::sync::{mpsc, watch};
use tokio::time::{timeout, timeout_at};
use vipgate_api::{Condition, ObjectRef, Reason};

use crate::hash::mark;
use crate::merge::Transition;
use crate::watch::Seen;
use told::Told;

/// Events that may wait.
const WAITING: usize = 8192;
/// How long an answer is waited for.
const ANSWER: Duration = Duration::from_secs(10);
/// How long events wait for statuses, from when they began to.
const HELD: Duration = Duration::from_secs(60);
/// Longest `note` that the API server takes, with room for what it counts differently.
const LONGEST: usize = 1000;

/// Where events are dropped off. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Teller {
    queue: mpsc::Sender<Letter>,
    lost: Arc<AtomicU64>,
    /// There are many statuses to write: until when events wait for them at most.
    held: Arc<watch::Sender<Option<Instant>>>,
}

/// Who hands them in.
pub struct Messenger {
    queue: mpsc::Receiver<Letter>,
    held: watch::Receiver<Option<Instant>>,
    told: Told,
    client: Client,
    controller: String,
    instance: String,
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
    is_bad: bool,
    reason: String,
    note: String,
    action: String,
    /// Another text is another event, and no repetition.
    is_news: bool,
}

/// A teller, and the messenger that has to [run](Messenger::run) for it; `controller` is what tells, and
/// `instance` the name of this one.
pub fn teller(client: Client, controller: &str, instance: &str) -> (Teller, Messenger) {
    let (sender, receiver) = mpsc::channel(WAITING);
    let lost = Arc::new(AtomicU64::new(0));
    let (hold, held) = watch::channel(None);
    let messenger = Messenger {
        queue: receiver,
        held,
        told: Told::default(),
        client,
        controller: controller.to_owned(),
        instance: instance.to_owned(),
        lost: Arc::clone(&lost),
    };
    (Teller { queue: sender, lost, held: Arc::new(hold) }, messenger)
}

impl Teller {
    /// Tells of transitions of an object that was seen so.
    pub fn tell(&self, object: &ObjectRef, seen: &Seen, what: &[Transition]) {
        for transition in what {
            let field_path = transition.of.field();
            let about = ObjectReference { field_path, ..reference(object, seen) };
            self.post(letter(about, transition));
        }
    }

    /// Tells news of an object that was seen so.
    pub fn news(&self, object: &ObjectRef, seen: &Seen, news: &News) {
        let about = reference(object, seen);
        let written = written(about, news.is_bad, news.reason, news.note.clone(), "Session");
        self.post(Letter { is_news: true, ..written });
    }

    /// Says whether there are so many statuses to write that events have to wait. To say so again makes them
    /// wait no longer.
    pub fn hold(&self, held: bool) {
        self.held.send_if_modified(|until| {
            let is_news = until.is_some() != held;
            if is_news {
                *until = held.then(|| Instant::now() + HELD);
            }
            is_news
        });
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
        while let Some(letter) = self.queue.recv().await {
            let_go(&mut self.held).await;
            match timeout(ANSWER, self.hand_in(&letter)).await {
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

    /// As a new event, or as a repetition of one that was handed in before.
    async fn hand_in(&mut self, letter: &Letter) -> kube::Result<()> {
        let (now, time) = (Instant::now(), MicroTime(Timestamp::now()));
        let Letter { about, is_bad, reason, note, action, is_news } = letter;
        let namespace = about.namespace.as_deref().unwrap_or("default");
        let api: Api<Event> = Api::namespaced(self.client.clone(), namespace);
        let text = is_news.then_some(note);
        let of = (&about.kind, namespace, &about.name, &about.uid, &about.field_path);
        let key = mark((of, is_bad, reason, action, text));
        if let Some(series) = self.told.before(key, now) {
            let count = series.count.saturating_add(1);
            let patch = json!({"series": {"count": count, "lastObservedTime": time}});
            let patch = Patch::Merge(&patch);
            match api.patch(&series.name, &PatchParams::default(), &patch).await {
                // Events do not live for long.
                Err(kube::Error::Api(refusal)) if refusal.code == 404 => {}
                Err(error) => return Err(error),
                Ok(_) => {
                    self.told.note(key, series.name, count, now);
                    return Ok(());
                }
            }
        }
        let stem = about.name.as_deref().unwrap_or(&self.controller);
        let name = format!("{stem}.{:x}", time.0.as_nanosecond());
        let event = Event {
            metadata: ObjectMeta {
                namespace: Some(namespace.to_owned()),
                name: Some(name.clone()),
                ..ObjectMeta::default()
            },
            event_time: Some(time),
            type_: Some(if *is_bad { "Warning" } else { "Normal" }.to_owned()),
            reason: Some(reason.clone()),
            note: Some(note.clone()),
            action: Some(action.clone()),
            regarding: Some(about.clone()),
            reporting_controller: Some(self.controller.clone()),
            reporting_instance: Some(self.instance.clone()),
            ..Event::default()
        };
        api.create(&PostParams::default(), &event).await?;
        self.told.note(key, name, 1, now);
        Ok(())
    }
}

/// Waits while events are held. One moment ends that for all of them, however many there are.
async fn let_go(held: &mut watch::Receiver<Option<Instant>>) {
    let until = *held.borrow();
    if let Some(until) = until {
        // Without a teller nobody writes any more, either.
        drop(timeout_at(until.into(), held.wait_for(Option::is_none)).await);
    }
}

/// What an event is about. `kubectl describe` asks for events with the object's uid. The field of a
/// transition keeps events of one reason apart, which would be taken for repetitions.
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

fn letter(about: ObjectReference, transition: &Transition) -> Letter {
    let Transition { of, condition } = transition;
    let Condition { kind, status, reason, message } = condition;
    let note = format!("{kind}={status}{of}: {message}");
    written(about, transition.is_bad(), *reason, note, &kind.to_string())
}

fn written(
    about: ObjectReference,
    is_bad: bool,
    reason: Reason,
    mut note: String,
    action: &str,
) -> Letter {
    note.truncate(note.floor_char_boundary(LONGEST));
    let (reason, action) = (reason.to_string(), action.to_owned());
    Letter { about, is_bad, reason, note, action, is_news: false }
}

#[cfg(test)]
mod tests {
    use vipgate_api::{ConditionStatus, ConditionType, Kind, ObjectKey};

    use super::*;
    use crate::merge::Part;

    fn teller_alone() -> (Teller, mpsc::Receiver<Letter>) {
        let (queue, posted) = mpsc::channel(2);
        let held = Arc::new(watch::Sender::new(None));
        (Teller { queue, lost: Arc::default(), held }, posted)
    }

    fn is_warning(kind: ConditionType, status: ConditionStatus, reason: Reason) -> bool {
        let condition = Condition { kind, status, reason, message: "m".repeat(5000) };
        let letter = letter(ObjectReference::default(), &Transition { of: Part::Whole, condition });
        assert!(letter.note.len() <= LONGEST);
        letter.is_bad
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
        let (teller, mut posted) = teller_alone();
        teller.tell(&object, &seen, std::slice::from_ref(&transition));
        let Letter { about, note, .. } = posted.try_recv().unwrap();
        assert_eq!(about.uid.as_deref(), Some("uid-1"));
        assert_eq!(about.field_path.as_deref(), Some("status.listeners{tcp}"));
        assert_eq!(note, "Programmed=True for listener tcp: m");
    }

    #[tokio::test]
    async fn events_wait_until_one_moment_or_until_they_are_let_go() {
        let (teller, _posted) = teller_alone();
        let mut held = teller.held.subscribe();
        teller.hold(true);
        let until = *held.borrow();
        assert!(until.is_some_and(|until| until <= Instant::now() + HELD));
        teller.hold(true);
        assert_eq!(*held.borrow(), until);
        // Whoever waited anew would wait for the rest of a minute.
        timeout(ANSWER, async { tokio::join!(let_go(&mut held), async { teller.hold(false) }) })
            .await
            .unwrap();
        timeout(ANSWER, let_go(&mut held)).await.unwrap();
        teller.held.send_replace(Some(Instant::now()));
        for _ in 0..3 {
            timeout(ANSWER, let_go(&mut held)).await.unwrap();
        }
        assert!(held.borrow().is_some());
    }
}

//! What the cluster said last, kept in a file that outlives the process: a speaker that starts while the
//! API server is away serves that.
//!
//! ```text
//!   events ──> LastGood ── at most every few seconds ──> <state>.objects
//!                  ^                                           │
//!                  └──────────── at the next start ────────────┘
//! ```
//!
//! Guarantees: nothing is written before enough was known to serve, so half a world never replaces a whole
//! one; nobody but the owner may read the file, which has private keys in it; it is replaced as a whole.
//! Caveat: what a crash finds may be [`BETWEEN_WRITES`] old.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use vipgate_api::k8s::ObjectMeta;
use vipgate_api::vipgate::{Speaker, SpeakerStatus};
use vipgate_api::{Age, Kind, Object, ObjectKey, ObjectRef};
use vipgate_controller::group_key;
use vipgate_controller::watch::Event;

use super::{copies, passwords};
use crate::run::state;

/// The least time from one write to the next.
const BETWEEN_WRITES: Duration = Duration::from_secs(3);
/// How long the API server may take to tell everything before what was known is served.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
const VERSION: u32 = 1;

/// See the module.
#[derive(Debug)]
pub(super) struct LastGood {
    path: PathBuf,
    /// Kinds that the API server serves.
    served: BTreeSet<Kind>,
    objects: BTreeMap<ObjectRef, (Object, Age)>,
    /// When what was known before the start is to be served, until that was done or is not needed.
    recall_at: Option<Instant>,
    /// When the file is to be written, if something changed.
    write_at: Option<Instant>,
    written: Option<Instant>,
    writing: Option<JoinHandle<()>>,
}

#[derive(Serialize, Deserialize)]
struct Document {
    version: u32,
    served: BTreeSet<Kind>,
    objects: Vec<(Kind, Value)>,
}

impl LastGood {
    /// Reads the file beside the state file. One that cannot be read is named, and as good as none.
    pub(super) fn open(state: &Path) -> Self {
        let path = state::beside(state, "objects");
        let document = match std::fs::read(&path) {
            Ok(text) => parse(&text).inspect_err(|error| {
                tracing::warn!(file = %path.display(), error,
                    "what the cluster said before the restart cannot be read");
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(String::new()),
            Err(error) => {
                tracing::warn!(file = %path.display(), %error, "cannot be read");
                Err(String::new())
            }
        };
        let (served, objects) = document.unwrap_or_default();
        let recall_at = (!objects.is_empty()).then(|| Instant::now() + ANSWER_WITHIN);
        let (write_at, written, writing) = (None, None, None);
        Self { path, served, objects, recall_at, write_at, written, writing }
    }

    /// The objects, by kind.
    pub(super) fn keys(&self) -> BTreeMap<Kind, BTreeSet<ObjectKey>> {
        let mut keys: BTreeMap<Kind, BTreeSet<ObjectKey>> = BTreeMap::new();
        for object in self.objects.keys() {
            keys.entry(object.kind).or_default().insert(object.key.clone());
        }
        keys
    }

    /// Takes in what the cluster says.
    pub(super) fn take(&mut self, event: &Event) {
        let changed = match event {
            Event::Applied(object, age, _) => match needed(object) {
                Some(object) => {
                    let reference = object.reference();
                    let known = self.objects.get(&reference);
                    let is_news = known.is_none_or(|(known, _)| *known != object);
                    if is_news {
                        self.objects.insert(reference, (object, age.clone()));
                    }
                    is_news
                }
                None => self.objects.remove(&object.reference()).is_some(),
            },
            Event::Deleted(object) => self.objects.remove(object).is_some(),
            Event::Served(served) => {
                let served: BTreeSet<Kind> = served.versions.keys().copied().collect();
                let is_news = self.served != served;
                self.served = served;
                is_news
            }
            Event::Away(Some(_)) => {
                self.recall_at = self.recall_at.map(|_| Instant::now());
                false
            }
            _ => false,
        };
        if changed && self.write_at.is_none() {
            let next = self.written.map_or_else(Instant::now, |written| written + BETWEEN_WRITES);
            self.write_at = Some(next.max(Instant::now()));
        }
    }

    /// When [`LastGood::recall`] is due.
    pub(super) fn recall_at(&self) -> Option<Instant> {
        self.recall_at
    }

    /// What was known before the start, of kinds of which not everything was told since; once, when it is
    /// time. The kinds, then their objects.
    pub(super) fn recall(&mut self, told: &BTreeSet<Kind>) -> Option<(BTreeSet<Kind>, Vec<Event>)> {
        self.recall_at.take_if(|at| *at <= Instant::now())?;
        let missing = |kind: &Kind| !told.contains(kind);
        let kinds = self.served.iter().copied().filter(missing).collect();
        let objects = self.objects.iter().filter(|(object, _)| missing(&object.kind));
        let event = |(object, age): &(Object, Age)| {
            Event::Applied(object.clone(), age.clone(), Arc::default())
        };
        Some((kinds, objects.map(|(_, stored)| event(stored)).collect()))
    }

    /// Nothing is to be recalled any more: the API server has told everything.
    pub(super) fn is_outdated(&mut self) {
        self.recall_at = None;
    }

    /// When [`LastGood::write`] is due.
    pub(super) fn write_at(&self) -> Option<Instant> {
        self.write_at
    }

    /// Writes the file, when it is time, on a thread where that may block.
    pub(super) fn write(&mut self) {
        let now = Instant::now();
        if self.write_at.is_none_or(|at| now < at) {
            return;
        }
        if self.writing.as_ref().is_some_and(|writing| !writing.is_finished()) {
            self.write_at = Some(now + BETWEEN_WRITES);
            return;
        }
        (self.write_at, self.written) = (None, Some(now));
        let (path, served) = (self.path.clone(), self.served.clone());
        let objects: Vec<Object> =
            self.objects.values().map(|(object, _)| object.clone()).collect();
        self.writing = Some(tokio::task::spawn_blocking(move || {
            if let Err(error) = state::replace(&path, &text(served, &objects)) {
                tracing::warn!(file = %path.display(), %error,
                    "what the cluster says cannot be kept: a start without API server serves nothing, or \
                     what it said earlier");
            }
        }));
    }
}

/// What a start needs of an object: of other speakers where they are, of Secrets those that are read.
fn needed(object: &Object) -> Option<Object> {
    match object {
        Object::Speaker(speaker) => {
            let metadata =
                ObjectMeta { name: speaker.metadata.name.clone(), ..ObjectMeta::default() };
            let group_address = speaker.status.group_address.clone();
            let status = SpeakerStatus { group_address, ..SpeakerStatus::default() };
            Some(Object::Speaker(Arc::new(Speaker { metadata, status })))
        }
        Object::Secret(secret) => {
            let is_read = copies::is_copy(&**secret)
                || passwords::is_password(secret)
                || group_key::text_of(secret).is_some();
            is_read.then(|| object.clone())
        }
        _ => Some(object.clone()),
    }
}

fn text(served: BTreeSet<Kind>, objects: &[Object]) -> Vec<u8> {
    let form = |object: &Object| (object.kind(), object.to_json(object.kind().versions()[0]));
    let objects = objects.iter().map(form).collect();
    let document = Document { version: VERSION, served, objects };
    serde_json::to_vec(&document).expect("objects are plain data")
}

type Known = (BTreeSet<Kind>, BTreeMap<ObjectRef, (Object, Age)>);

fn parse(text: &[u8]) -> Result<Known, String> {
    let document: Document = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    if document.version != VERSION {
        return Err(format!("it is of version {}, not {VERSION}", document.version));
    }
    let mut objects = BTreeMap::new();
    for (kind, json) in document.objects {
        let object = Object::from_json(kind, json).map_err(|error| error.to_string())?;
        let created = object.metadata().creation_timestamp.as_ref().map(|time| time.0);
        let age = Age { created, place: (String::new(), 0) };
        objects.insert(object.reference(), (object, age));
    }
    Ok((document.served, objects))
}

#[cfg(test)]
mod tests;

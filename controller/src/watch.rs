//! Watches: from the API server to objects, one kind at a time.
//!
//! ```text
//!   discovery ──> what is served ──> one task per served kind ──┐
//!                                    (list, watch, relist)      ├──> events, in order per kind
//!                                                               ┘
//! ```
//!
//! Guarantees:
//! * A kind that comes is watched within a second, one that goes is forgotten; neither disturbs
//!   another kind. No kind is required.
//! * A relist deletes what a *complete* list no longer has. When a kind that had objects lists none,
//!   that is believed only when a second list agrees: an API server that restarts may answer before
//!   it knows everything.
//! * An object that cannot be read keeps its last good version, and is named.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use kube::api::{ApiResource, DynamicObject, ListParams};
use kube::core::GroupVersionKind;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use serde_json::Value;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use vipgate_api::{Age, Kind, Object, ObjectKey, ObjectRef};

use crate::discovery::{self, Served};

/// Events that may wait for their reader.
const WAITING: usize = 4096;
/// Between the two lists that have to agree on "there are none".
const SECOND_LOOK: Duration = Duration::from_secs(2);

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// An object is there, in this version.
    Applied(Object, Age, Arc<Seen>),
    /// An object is gone.
    Deleted(ObjectRef),
    /// Everything that there is of this kind was told.
    Synced(Kind),
    /// An object that cannot be read; the text says why. What was known of it stays.
    Unreadable(ObjectRef, String),
    /// What the API server serves has changed. Kinds that are not served are complete: there is
    /// nothing of them.
    Served(Served),
    /// A kind cannot be watched; the text says why and what to do. Tried again by itself.
    Trouble(Kind, String),
}

/// What an object looked like when it was read, beyond what our types hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    /// The version that it was read in.
    pub version: &'static str,
    /// `metadata.resourceVersion`.
    pub resource_version: String,
    /// `status`, as it is.
    pub status: Option<Value>,
}

/// What to watch.
#[derive(Clone, Debug)]
pub struct Scope {
    /// These kinds, everywhere.
    pub kinds: Vec<Kind>,
    /// Secrets only in this namespace; everywhere when `None`.
    pub secrets_in: Option<String>,
}

/// Starts to watch. Ends with the token, or when nobody reads.
pub fn start(
    client: &Client,
    scope: Scope,
    tracker: &TaskTracker,
    stopped: CancellationToken,
) -> mpsc::Receiver<Event> {
    let (events, out) = mpsc::channel(WAITING);
    let (served_in, served) = watch::channel(Served::default());
    let asking = discovery::follow(client.clone(), scope.kinds.clone(), served_in);
    let watching = Watches {
        client: client.clone(),
        scope,
        tracker: tracker.clone(),
        events,
        running: BTreeMap::new(),
        known: BTreeMap::new(),
    };
    let token = stopped.clone();
    tracker.spawn(async move {
        tokio::select! {
            () = asking => {}
            () = token.cancelled() => {}
        }
    });
    tracker.spawn(async move {
        tokio::select! {
            () = watching.follow(served) => {}
            () = stopped.cancelled() => {}
        }
    });
    out
}

/// The tasks, one for each kind.
struct Watches {
    client: Client,
    scope: Scope,
    tracker: TaskTracker,
    events: mpsc::Sender<Event>,
    running: BTreeMap<Kind, (&'static str, Running)>,
    known: BTreeMap<Kind, Known>,
}

/// The objects of a kind that were told and not taken back. Outlives the watch of one version.
type Known = Arc<Mutex<BTreeSet<ObjectKey>>>;

/// Ends its task when it is dropped.
struct Running(CancellationToken);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

impl Watches {
    async fn follow(mut self, mut served: watch::Receiver<Served>) {
        while served.changed().await.is_ok() {
            let mut now = served.borrow_and_update().clone();
            for kind in self.scope.kinds.clone() {
                let before = self.running.get(&kind).map(|(version, _)| *version);
                match (before, now.versions.get(&kind).copied()) {
                    (before, after) if before == after => {}
                    (_, Some(version)) => {
                        tracing::info!(%kind, version, "watching");
                        self.running.remove(&kind);
                        self.start(kind, version);
                    }
                    (Some(version), None) => {
                        if !discovery::is_gone(&self.client, kind).await {
                            // The watch goes on by itself when the server is all there again.
                            now.versions.insert(kind, version);
                            continue;
                        }
                        tracing::info!(%kind, "no longer served; it counts as having none");
                        self.running.remove(&kind);
                        let known = std::mem::take(&mut *self.known(kind));
                        for key in known {
                            let gone = Event::Deleted(ObjectRef { kind, key });
                            if self.events.send(gone).await.is_err() {
                                return;
                            }
                        }
                    }
                    (None, None) => {}
                }
            }
            if self.events.send(Event::Served(now)).await.is_err() {
                return;
            }
        }
    }

    fn start(&mut self, kind: Kind, version: &'static str) {
        let token = CancellationToken::new();
        self.running.insert(kind, (version, Running(token.clone())));
        let one = One {
            kind,
            version,
            api: self.api(kind, version),
            events: self.events.clone(),
            known: Arc::clone(self.known.entry(kind).or_default()),
        };
        self.tracker.spawn(async move {
            tokio::select! {
                () = one.run() => {}
                () = token.cancelled() => {}
            }
        });
    }

    fn known(&mut self, kind: Kind) -> MutexGuard<'_, BTreeSet<ObjectKey>> {
        lock(self.known.entry(kind).or_default())
    }

    fn api(&self, kind: Kind, version: &str) -> Api<DynamicObject> {
        let gvk = GroupVersionKind::gvk(kind.group(), version, kind.name());
        let resource = ApiResource::from_gvk_with_plural(&gvk, &kind.plural());
        match &self.scope.secrets_in {
            Some(namespace) if kind == Kind::Secret => {
                Api::namespaced_with(self.client.clone(), namespace, &resource)
            }
            _ => Api::all_with(self.client.clone(), &resource),
        }
    }
}

/// The watch of one kind.
struct One {
    kind: Kind,
    version: &'static str,
    api: Api<DynamicObject>,
    events: mpsc::Sender<Event>,
    known: Known,
}

impl One {
    async fn run(mut self) {
        let mut stream =
            watcher(self.api.clone(), watcher::Config::default()).default_backoff().boxed();
        let mut listed = BTreeSet::new();
        let mut said = String::new();
        while let Some(event) = stream.next().await {
            let outcome = match event {
                Ok(event) => {
                    said.clear();
                    self.take(event, &mut listed).await
                }
                Err(error) => {
                    let text = self.in_words(&error);
                    if text == said {
                        Ok(())
                    } else {
                        tracing::warn!(kind = %self.kind, "{text}");
                        said.clone_from(&text);
                        self.events.send(Event::Trouble(self.kind, text)).await
                    }
                }
            };
            if outcome.is_err() {
                return;
            }
        }
    }

    async fn take(
        &mut self,
        event: watcher::Event<DynamicObject>,
        listed: &mut BTreeSet<ObjectKey>,
    ) -> Result<(), mpsc::error::SendError<Event>> {
        match event {
            watcher::Event::Init => listed.clear(),
            watcher::Event::InitApply(object) => {
                listed.insert(ObjectKey::of(&object.metadata));
                self.apply(object).await?;
            }
            watcher::Event::InitDone => {
                if !listed.is_empty() || lock(&self.known).is_empty() || self.none_indeed().await {
                    let gone: Vec<_> = lock(&self.known).difference(listed).cloned().collect();
                    for key in gone {
                        self.delete(key).await?;
                    }
                } else {
                    tracing::warn!(kind = %self.kind, "an empty list that a second one did not \
                        confirm; what was known stays");
                }
                self.events.send(Event::Synced(self.kind)).await?;
            }
            watcher::Event::Apply(object) => self.apply(object).await?,
            watcher::Event::Delete(object) => {
                self.delete(ObjectKey::of(&object.metadata)).await?;
            }
        }
        Ok(())
    }

    /// Whether a second look agrees that there are no objects of this kind.
    async fn none_indeed(&self) -> bool {
        tokio::time::sleep(SECOND_LOOK).await;
        // No resourceVersion: the newest that the storage has, not the server's cache.
        match self.api.list(&ListParams::default().limit(1)).await {
            Ok(list) => list.items.is_empty(),
            Err(_) => false,
        }
    }

    async fn apply(&mut self, object: DynamicObject) -> Result<(), mpsc::error::SendError<Event>> {
        let key = ObjectKey::of(&object.metadata);
        let event = match self.read(object) {
            Ok((object, age, seen)) => {
                lock(&self.known).insert(key);
                Event::Applied(object, age, Arc::new(seen))
            }
            Err(why) => {
                let reference = ObjectRef { kind: self.kind, key };
                tracing::warn!(object = %reference, why, "cannot be read; what was known stays");
                Event::Unreadable(reference, why)
            }
        };
        self.events.send(event).await
    }

    async fn delete(&mut self, key: ObjectKey) -> Result<(), mpsc::error::SendError<Event>> {
        lock(&self.known).remove(&key);
        self.events.send(Event::Deleted(ObjectRef { kind: self.kind, key })).await
    }

    fn read(&self, object: DynamicObject) -> Result<(Object, Age, Seen), String> {
        let mut json = serde_json::to_value(object).map_err(|error| error.to_string())?;
        let status = match (self.kind, &json["status"]) {
            (_, Value::Null) => None,
            // Part of the object itself.
            (Kind::Speaker, _) => None,
            (_, status) => Some(status.clone()),
        };
        if let Some(metadata) = json.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("managedFields");
        }
        let object = Object::from_json(self.kind, json).map_err(|error| error.to_string())?;
        let metadata = object.metadata();
        let seen = Seen {
            version: self.version,
            resource_version: metadata.resource_version.clone().unwrap_or_default(),
            status,
        };
        let created = metadata.creation_timestamp.as_ref().map(|time| time.0);
        let age = Age { created, place: (String::new(), 0) };
        Ok((object, age, seen))
    }

    /// What is wrong with a watch, and what to do about it.
    fn in_words(&self, error: &watcher::Error) -> String {
        let (kind, plural, group) = (self.kind, self.kind.plural(), self.kind.group());
        let cause = match error {
            watcher::Error::InitialListFailed(kube::Error::Api(status))
            | watcher::Error::WatchStartFailed(kube::Error::Api(status))
            | watcher::Error::WatchError(status) => Some(status),
            _ => None,
        };
        match cause {
            Some(status) if status.code == 403 => {
                let verb = match error {
                    watcher::Error::InitialListFailed(_) => "list",
                    _ => "watch",
                };
                format!(
                    "may not {verb} {kind}: give this ServiceAccount the verbs get, list and watch \
                     on {plural} of API group {group:?} ({})",
                    status.message
                )
            }
            Some(status) => format!("{kind} cannot be watched: {}", status.message),
            None => format!("{kind} cannot be watched: {error}"),
        }
    }
}

/// Sets are changed by one call each, so one whose holder panicked is whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

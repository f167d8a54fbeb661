//! Watches: from the API server to objects, one kind at a time.
//!
//! ```text
//!   discovery ──> what is served ──> one task per served kind ──┐
//!       ^                            (list, watch, relist)      ├──> events, in order per kind
//!       └── "my kind is not there" ──────────┘                  ┘
//! ```
//!
//! Guarantees:
//! * A kind that comes is watched within a second, one that goes is forgotten; neither disturbs
//!   another kind. No kind is required.
//! * What the API server does not answer changes nothing: objects are there until it says that they
//!   are not. A relist deletes what a *complete* list no longer has. When a kind that had objects
//!   lists none, that is believed only when a second list, of the newest data, agrees: an API server
//!   that restarts may answer before it knows everything.
//! * An object that cannot be read keeps its last good version, and is named.
//! * A kind that may not be read is named, with the verb that is missing, and tried again.
//!
//! Caveats: events of different kinds have no order. A relist tells of every object again. A ConfigMap
//! comes without its content where all of them are watched ([`crate::bundles`]).

mod kept;
mod kind;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kube::api::{ApiResource, DynamicObject};
use kube::core::{GroupVersionKind, PartialObjectMeta};
use kube::runtime::watcher;
use kube::{Api, Client};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use vipgate_api::{Age, Kind, Object, ObjectKey, ObjectRef};

use crate::classless::writer_of_addresses;
use crate::copies::{BUNDLE, BUNDLE_LABEL};
use crate::discovery::{Follower, Picture, Served};
use crate::former::wrote_accepted;
use crate::writer::MANAGER;
pub use kept::Kept;
pub(crate) use kept::is_told_of;
use kind::KindWatch;

/// Events that may wait for their reader; then the watches wait.
const WAITING: usize = 4096;
/// The only Secrets of others that matter: certificates. Our copies of them are of this type, too.
const CERTIFICATES: &str = "type=kubernetes.io/tls";
/// How long one watch goes on before it is opened anew, in seconds. A server that vanished without a
/// word (no FIN, no RST) is noticed within it.
pub(crate) const WATCH_SECONDS: u32 = 60;

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// An object is there, in this version.
    Applied(Object, Age, Arc<Seen>),
    /// An object is gone.
    Deleted(ObjectRef),
    /// Everything that there is of this kind was told.
    Synced(Kind),
    /// An object that is there and cannot be read; the text says why. What was known of it stays.
    Unreadable(ObjectRef, String, Arc<Seen>),
    /// What the API server serves has changed. Kinds that are not served are complete: there is
    /// nothing of them.
    Served(Served),
    /// The API server refuses a kind, again and again; the text says why and what to do.
    Trouble(Kind, String),
    /// It does not refuse it any more.
    Well(Kind),
    /// The API server does not answer, and why; or it answers again.
    Away(Option<String>),
}

/// What an object looked like when it was read, beyond what our types hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    /// The version that it was read in.
    pub version: &'static str,
    /// `metadata.resourceVersion`.
    pub resource_version: String,
    /// `metadata.uid`.
    pub uid: Option<String>,
    /// `status`, as it is; of kinds that the controller says something of.
    pub status: Option<Kept>,
    /// Of a Service: the other field manager that wrote its addresses.
    pub balancer: Option<String>,
    /// The condition Accepted in its status is as the controller wrote it last, and nobody since.
    pub accepted_by_us: bool,
}

impl Seen {
    /// Of an object of a kind as it came in this version.
    pub fn of(object: &DynamicObject, kind: Kind, version: &'static str) -> Self {
        let managers = object.metadata.managed_fields.as_deref().unwrap_or_default();
        let status =
            object.data.get("status").filter(|status| !status.is_null() && is_told_of(kind));
        Self {
            version,
            resource_version: object.metadata.resource_version.clone().unwrap_or_default(),
            uid: object.metadata.uid.clone(),
            status: status.map(Kept::of),
            balancer: writer_of_addresses(managers).map(str::to_owned),
            accepted_by_us: wrote_accepted(managers, MANAGER),
        }
    }
}

/// What to watch.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// These kinds, everywhere.
    pub kinds: Vec<Kind>,
    /// Secrets, and ConfigMaps that are copies, only in this namespace, which is ours. When `None`
    /// everywhere, but only Secrets of type `kubernetes.io/tls` (people's passwords and tokens are nobody's
    /// business here), and of ConfigMaps no more than that they are there.
    pub secrets_in: Option<String>,
    /// Of ServiceAccounts only those with this label; all when `None`. There is one for every
    /// namespace and program.
    pub accounts_with: Option<&'static str>,
    /// Objects that were known before the start: of those that are gone by now the end is told.
    pub former: BTreeMap<Kind, BTreeSet<ObjectKey>>,
}

impl Scope {
    fn api(&self, client: &Client, kind: Kind, version: &str) -> Api<DynamicObject> {
        let resource = resource(kind, version);
        match &self.secrets_in {
            Some(namespace) if matches!(kind, Kind::Secret | Kind::ConfigMap) => {
                Api::namespaced_with(client.clone(), namespace, &resource)
            }
            _ => Api::all_with(client.clone(), &resource),
        }
    }

    fn config(&self, kind: Kind) -> watcher::Config {
        let all = watcher::Config::default().timeout(WATCH_SECONDS);
        match (kind, self.accounts_with) {
            (Kind::Secret, _) if self.secrets_in.is_none() => all.fields(CERTIFICATES),
            (Kind::ConfigMap, _) if self.secrets_in.is_some() => {
                all.labels(&format!("{BUNDLE_LABEL}={BUNDLE}"))
            }
            (Kind::ServiceAccount, Some(label)) => all.labels(label),
            _ => all,
        }
    }

    /// Where no more than the metadata of a kind are asked for: the objects without their content.
    fn metadata(
        &self,
        client: &Client,
        kind: Kind,
        version: &str,
    ) -> Option<Api<PartialObjectMeta<DynamicObject>>> {
        let all = kind == Kind::ConfigMap && self.secrets_in.is_none();
        all.then(|| Api::all_with(client.clone(), &resource(kind, version)))
    }
}

fn resource(kind: Kind, version: &str) -> ApiResource {
    let gvk = GroupVersionKind::gvk(kind.group(), version, kind.name());
    ApiResource::from_gvk_with_plural(&gvk, &kind.plural())
}

/// Starts to watch. Ends with the token, or when nobody reads.
pub fn start(
    client: &Client,
    scope: Scope,
    tracker: &TaskTracker,
    stopped: CancellationToken,
) -> mpsc::Receiver<Event> {
    let (events, out) = mpsc::channel(WAITING);
    let (pictures, picture) = watch::channel(Picture::default());
    let doubts = Arc::new(Notify::new());
    let follower =
        Follower::new(client.clone(), scope.kinds.clone(), pictures, Arc::clone(&doubts));
    let known = (scope.former.iter())
        .map(|(kind, keys)| (*kind, Arc::new(Mutex::new(keys.clone()))))
        .collect();
    let watches = Watches {
        client: client.clone(),
        scope,
        tracker: tracker.clone(),
        events,
        doubts,
        running: BTreeMap::new(),
        known,
        told: Picture::default(),
    };
    let token = stopped.clone();
    tracker.spawn(async move {
        tokio::select! {
            () = follower.run() => {}
            () = token.cancelled() => {}
        }
    });
    tracker.spawn(async move {
        tokio::select! {
            _ = watches.follow(picture) => {}
            () = stopped.cancelled() => {}
        }
    });
    out
}

/// Nobody reads any more.
type Unread = mpsc::error::SendError<Event>;

/// The objects of a kind that were told and not taken back. Outlives the watch of one version.
type Known = Arc<Mutex<BTreeSet<ObjectKey>>>;

/// The tasks, one for each kind.
struct Watches {
    client: Client,
    scope: Scope,
    tracker: TaskTracker,
    events: mpsc::Sender<Event>,
    doubts: Arc<Notify>,
    running: BTreeMap<Kind, Running>,
    known: BTreeMap<Kind, Known>,
    told: Picture,
}

/// The task of a kind; ends when this is dropped.
struct Running {
    version: &'static str,
    token: CancellationToken,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.token.cancel();
    }
}

impl Running {
    /// Ends it; when this returns it says nothing any more.
    async fn end(mut self) {
        self.token.cancel();
        if let Err(error) = (&mut self.task).await {
            tracing::error!(%error, "a watch ended badly");
        }
    }
}

impl Watches {
    async fn follow(mut self, mut pictures: watch::Receiver<Picture>) -> Result<(), Unread> {
        loop {
            let now = pictures.borrow_and_update().clone();
            if now.away != self.told.away {
                self.events.send(Event::Away(now.away.clone())).await?;
            }
            if let Some(served) = &now.served
                && now.served != self.told.served
            {
                for kind in self.scope.kinds.clone() {
                    self.serve(kind, served.versions.get(&kind).copied()).await?;
                }
                self.events.send(Event::Served(served.clone())).await?;
            }
            self.told = now;
            if pictures.changed().await.is_err() {
                return Ok(());
            }
        }
    }

    /// Sees to it that a kind is watched in this version, or not at all.
    async fn serve(&mut self, kind: Kind, version: Option<&'static str>) -> Result<(), Unread> {
        let before = self.running.get(&kind).map(|running| running.version);
        if before == version && (before.is_some() || self.told.served.is_some()) {
            return Ok(());
        }
        if let Some(running) = self.running.remove(&kind) {
            running.end().await;
        }
        match version {
            Some(version) => {
                tracing::info!(%kind, version, "watching");
                let running = self.start(kind, version);
                self.running.insert(kind, running);
            }
            None => {
                let since = if before.is_none() { "not served" } else { "no longer served" };
                tracing::info!(%kind, "{since} by this cluster; it counts as having none");
                let known = std::mem::take(&mut *lock(self.known.entry(kind).or_default()));
                for key in known {
                    self.events.send(Event::Deleted(ObjectRef { kind, key })).await?;
                }
            }
        }
        Ok(())
    }

    fn start(&mut self, kind: Kind, version: &'static str) -> Running {
        let token = CancellationToken::new();
        let watch = KindWatch::new(
            kind,
            version,
            self.scope.api(&self.client, kind, version),
            self.scope.config(kind),
            self.events.clone(),
            Arc::clone(self.known.entry(kind).or_default()),
            Arc::clone(&self.doubts),
        );
        let watch = watch.of_metadata(self.scope.metadata(&self.client, kind, version));
        let ended = token.clone();
        let task = self.tracker.spawn(async move {
            tokio::select! {
                _ = watch.run() => {}
                () = ended.cancelled() => {}
            }
        });
        Running { version, token, task }
    }
}

/// Sets are changed by one call each, so one whose holder panicked is whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! The watch of one kind in one version.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use kube::Api;
use kube::api::{DynamicObject, ListParams};
use kube::core::{PartialObjectMeta, Status};
use kube::runtime::watcher;
use serde_json::Value;
use tokio::sync::{Notify, mpsc};
use tokio::time::{sleep, timeout};
use vipgate_api::{Age, Kind, Object, ObjectKey, ObjectRef};

use super::kept::is_without_status;
use super::{Event, Known, Seen, Unread, lock};
use crate::backoff::Backoff;
use crate::words::{refusal, with_causes};

/// Between the two lists that have to agree on "there are none".
const SECOND_LOOK: Duration = Duration::from_secs(1);
/// Refusals in a row before they are trouble: an API server that starts refuses what it does not know
/// yet, for a second or two.
const PATIENCE: u32 = 4;
/// What `kubectl apply` writes down of an object.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// A watch that was not refused for so long is well, though nothing happens.
const QUIET: Duration = Duration::from_secs(5);

/// See the module.
pub(super) struct KindWatch {
    kind: Kind,
    version: &'static str,
    api: Api<DynamicObject>,
    config: watcher::Config,
    /// The same objects without their content, where nothing more is asked for.
    metadata: Option<Api<PartialObjectMeta<DynamicObject>>>,
    events: mpsc::Sender<Event>,
    known: Known,
    /// Has discovery asked again.
    doubts: Arc<Notify>,
    /// How often in a row the API server refused.
    refused: u32,
    /// What was said of it.
    trouble: Option<String>,
}

/// What to do after an event.
enum Next {
    GoOn,
    /// What was listed cannot be right.
    ListAgain,
}

impl KindWatch {
    pub(super) fn new(
        kind: Kind,
        version: &'static str,
        api: Api<DynamicObject>,
        config: watcher::Config,
        events: mpsc::Sender<Event>,
        known: Known,
        doubts: Arc<Notify>,
    ) -> Self {
        let (metadata, refused, trouble) = (None, 0, None);
        Self { kind, version, api, config, metadata, events, known, doubts, refused, trouble }
    }

    /// The same, of objects without their content if these are given.
    pub(super) fn of_metadata(
        self,
        metadata: Option<Api<PartialObjectMeta<DynamicObject>>>,
    ) -> Self {
        Self { metadata, ..self }
    }

    /// Goes on until nobody reads.
    pub(super) async fn run(mut self) -> Result<(), Unread> {
        let mut backoff = Backoff::default();
        loop {
            let config = self.config.clone();
            let mut stream = match &self.metadata {
                Some(api) => watcher(api.clone(), config).map_ok(without_content).boxed(),
                None => watcher(self.api.clone(), config).boxed(),
            };
            self.follow(&mut stream, &mut backoff).await?;
            sleep(backoff.wait()).await;
        }
    }

    /// Until everything has to be listed again.
    async fn follow(
        &mut self,
        stream: &mut BoxStream<'static, watcher::Result<watcher::Event<DynamicObject>>>,
        backoff: &mut Backoff,
    ) -> Result<(), Unread> {
        let mut listed = BTreeSet::new();
        loop {
            let event = match timeout(QUIET, stream.next()).await {
                Ok(Some(event)) => event,
                Ok(None) => return Ok(()),
                Err(_) => {
                    self.well().await?;
                    continue;
                }
            };
            match event {
                // Comes before the first question.
                Ok(watcher::Event::Init) => listed.clear(),
                Ok(event) => {
                    backoff.reset();
                    self.well().await?;
                    if let Next::ListAgain = self.take(event, &mut listed).await? {
                        return Ok(());
                    }
                }
                Err(error) => {
                    self.failed(&error).await?;
                    sleep(backoff.wait()).await;
                }
            }
        }
    }

    async fn take(
        &mut self,
        event: watcher::Event<DynamicObject>,
        listed: &mut BTreeSet<ObjectKey>,
    ) -> Result<Next, Unread> {
        match event {
            watcher::Event::Init => {}
            watcher::Event::InitApply(object) => {
                listed.insert(ObjectKey::of(&object.metadata));
                self.apply(object).await?;
            }
            watcher::Event::InitDone => return self.listed(listed).await,
            watcher::Event::Apply(object) => self.apply(object).await?,
            watcher::Event::Delete(object) => {
                self.delete(ObjectKey::of(&object.metadata)).await?;
            }
        }
        Ok(Next::GoOn)
    }

    /// A list is complete: what is not in it is gone.
    async fn listed(&mut self, listed: &BTreeSet<ObjectKey>) -> Result<Next, Unread> {
        let gone: Vec<_> = lock(&self.known).difference(listed).cloned().collect();
        if listed.is_empty() && !gone.is_empty() && !self.none_indeed().await {
            tracing::warn!(kind = %self.kind, "an empty list that a second one did not confirm; \
                what was known stays");
            return Ok(Next::ListAgain);
        }
        for key in gone {
            self.delete(key).await?;
        }
        self.events.send(Event::Synced(self.kind)).await?;
        Ok(Next::GoOn)
    }

    /// Whether a second look agrees that there are no objects of this kind.
    async fn none_indeed(&self) -> bool {
        sleep(SECOND_LOOK).await;
        // No resourceVersion: the newest that the storage has, not the server's cache.
        let mut one = ListParams::default().limit(1);
        one.field_selector.clone_from(&self.config.field_selector);
        one.label_selector.clone_from(&self.config.label_selector);
        match self.api.list(&one).await {
            Ok(list) => list.items.is_empty(),
            Err(_) => false,
        }
    }

    async fn apply(&mut self, object: DynamicObject) -> Result<(), Unread> {
        let key = ObjectKey::of(&object.metadata);
        // Readable or not, it is there, and its end has to be told.
        lock(&self.known).insert(key.clone());
        let seen = Arc::new(Seen::of(&object, self.kind, self.version));
        let event = match self.read(object) {
            Ok((object, age)) => Event::Applied(object, age, seen),
            Err(why) => {
                let reference = ObjectRef { kind: self.kind, key };
                tracing::warn!(object = %reference, why, "cannot be read; what was known stays");
                Event::Unreadable(reference, why, seen)
            }
        };
        self.events.send(event).await
    }

    async fn delete(&mut self, key: ObjectKey) -> Result<(), Unread> {
        let gone = Event::Deleted(ObjectRef { kind: self.kind, key: key.clone() });
        self.events.send(gone).await?;
        // Only now: whoever is ended while it waits has not said it.
        lock(&self.known).remove(&key);
        Ok(())
    }

    fn read(&self, object: DynamicObject) -> Result<(Object, Age), String> {
        let DynamicObject { mut metadata, mut data, .. } = object;
        // Who wrote which field says nothing here, and is half of what an object weighs.
        metadata.managed_fields = None;
        if is_without_status(self.kind) {
            // That it has another status is no reason to plan anew.
            metadata.resource_version = None;
        }
        let annotations = metadata.annotations.as_mut();
        // All of it once more, as `kubectl apply` leaves it.
        annotations.and_then(|annotations| annotations.remove(LAST_APPLIED));
        let created = metadata.creation_timestamp.as_ref().map(|time| time.0);
        let age = Age { created, place: (String::new(), 0) };
        let metadata = serde_json::to_value(metadata).map_err(|error| error.to_string())?;
        match data.as_object_mut() {
            Some(fields) => drop(fields.insert("metadata".to_owned(), metadata)),
            None => data = Value::Object([("metadata".to_owned(), metadata)].into_iter().collect()),
        }
        let object = Object::from_json(self.kind, data).map_err(|error| error.to_string())?;
        Ok((object, age))
    }

    async fn failed(&mut self, error: &watcher::Error) -> Result<(), Unread> {
        let Some((verb, status)) = refusal(error) else {
            tracing::debug!(kind = %self.kind, error = with_causes(error), "the watch broke off");
            self.doubts.notify_one();
            return Ok(());
        };
        match status.code {
            // Our place in the history is forgotten; everything is listed again.
            410 => {
                tracing::debug!(kind = %self.kind, "the watch is too old");
                Ok(())
            }
            404 => {
                tracing::debug!(kind = %self.kind, version = self.version, "not served (404)");
                self.doubts.notify_one();
                Ok(())
            }
            _ => {
                self.refused = self.refused.saturating_add(1);
                if self.refused < PATIENCE {
                    tracing::debug!(kind = %self.kind, error = status.message, "refused");
                    return Ok(());
                }
                self.tell(self.in_words(verb, status)).await
            }
        }
    }

    async fn tell(&mut self, text: String) -> Result<(), Unread> {
        if self.trouble.as_ref() == Some(&text) {
            return Ok(());
        }
        tracing::warn!(kind = %self.kind, "{text}");
        self.trouble = Some(text.clone());
        self.events.send(Event::Trouble(self.kind, text)).await
    }

    async fn well(&mut self) -> Result<(), Unread> {
        self.refused = 0;
        if self.trouble.take().is_some() {
            tracing::info!(kind = %self.kind, "can be watched again");
            self.events.send(Event::Well(self.kind)).await?;
        }
        Ok(())
    }

    /// What is wrong with a watch, and what to do about it.
    fn in_words(&self, verb: &str, status: &Status) -> String {
        let (kind, plural, group) = (self.kind, self.kind.plural(), self.kind.group());
        match status.code {
            403 => format!(
                "may not {verb} {kind}: give this ServiceAccount the verbs get, list and watch on \
                 {plural} of API group {group:?} ({})",
                status.message
            ),
            code => format!(
                "cannot {verb} {kind}, the API server answers {code}: {}; its log may say more",
                status.message
            ),
        }
    }
}

fn without_content(
    event: watcher::Event<PartialObjectMeta<DynamicObject>>,
) -> watcher::Event<DynamicObject> {
    let object = |partial: PartialObjectMeta<DynamicObject>| DynamicObject {
        types: None,
        metadata: partial.metadata,
        data: Value::Null,
    };
    match event {
        watcher::Event::Init => watcher::Event::Init,
        watcher::Event::InitApply(partial) => watcher::Event::InitApply(object(partial)),
        watcher::Event::InitDone => watcher::Event::InitDone,
        watcher::Event::Apply(partial) => watcher::Event::Apply(object(partial)),
        watcher::Event::Delete(partial) => watcher::Event::Delete(object(partial)),
    }
}

#[cfg(test)]
mod tests;

//! Writes: each made from one version of an object, allowed only while this replica leads.
//!
//! Guarantees:
//! * Every write carries the `resourceVersion` that it was computed from. When the object has changed
//!   since, nothing is written: the watch brings the newer one, and everything is worked out again.
//! * The gate is asked right before each request.

use std::collections::BTreeSet;
use std::time::Duration;

use kube::api::{
    ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams, Preconditions,
};
use kube::core::GroupVersionKind;
use kube::{Api, Client};
use serde_json::{Value, json};
use vipgate_api::{Kind, ObjectRef};

use crate::fights::rival;
use crate::ip_mode::IpMode;
use crate::leader::Gate;

/// Name of the field manager of everything that the controller writes.
pub const MANAGER: &str = "vipgate-controller";

/// How long an answer is waited for.
const ANSWER: Duration = Duration::from_secs(10);

/// What became of a write.
#[derive(Debug)]
pub enum Written {
    /// It is done; the object as it is now.
    Done(Box<DynamicObject>),
    /// It is done, and the object is gone.
    Gone,
    /// The object is another one by now, or is not there any more; the watch will tell.
    Overtaken,
    /// Not allowed: this replica does not lead any more.
    Closed,
    /// It failed; to be tried again. The text says what to check.
    Failed(String),
}

/// Why an object was not read; the texts say what to check.
#[derive(Debug)]
pub enum Unread {
    /// The API server refuses it.
    Refused(String),
    /// There was no answer, or none that could be understood.
    Unanswered(String),
}

/// Writes objects of all kinds.
#[derive(Clone)]
pub struct Writer {
    client: Client,
    gate: Gate,
}

impl Writer {
    /// A writer behind a gate.
    pub fn new(client: Client, gate: Gate) -> Self {
        Self { client, gate }
    }

    /// Whether writing is allowed now.
    pub fn is_open(&self) -> bool {
        self.gate.is_open()
    }

    /// Objects of a kind in a version; in a namespace unless this is empty.
    pub fn api(&self, kind: Kind, version: &str, namespace: &str) -> Api<DynamicObject> {
        let gvk = GroupVersionKind::gvk(kind.group(), version, kind.name());
        let resource = ApiResource::from_gvk_with_plural(&gvk, &kind.plural());
        match namespace {
            "" => Api::all_with(self.client.clone(), &resource),
            namespace => Api::namespaced_with(self.client.clone(), namespace, &resource),
        }
    }

    /// Reads an object; `None` when it is not there.
    ///
    /// # Errors
    /// When the API server does not tell.
    pub async fn read(
        &self,
        object: &ObjectRef,
        version: &str,
    ) -> Result<Option<DynamicObject>, Unread> {
        let api = self.api(object.kind, version, &object.key.namespace);
        match tokio::time::timeout(ANSWER, api.get_opt(&object.key.name)).await {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(kube::Error::Api(refusal))) => Err(Unread::Refused(format!(
                "may not get {object}, or cannot now: {}",
                refusal.message
            ))),
            Ok(Err(error)) => Err(Unread::Unanswered(format!("cannot get {object}: {error}"))),
            Err(_) => {
                let why = format!("cannot get {object}: no answer from the API server");
                Err(Unread::Unanswered(why))
            }
        }
    }

    /// Replaces the status of an object. `status` has to be worked out from the version that is
    /// named, so that what others wrote is in it.
    pub async fn status(
        &self,
        object: &ObjectRef,
        version: &str,
        resource_version: &str,
        status: &Value,
    ) -> Written {
        self.put_status(object, version, resource_version, status, false).await
    }

    /// What the API server would make of a status; nothing is written.
    pub async fn try_status(
        &self,
        object: &ObjectRef,
        version: &str,
        resource_version: &str,
        status: &Value,
    ) -> Written {
        self.put_status(object, version, resource_version, status, true).await
    }

    async fn put_status(
        &self,
        object: &ObjectRef,
        version: &str,
        resource_version: &str,
        status: &Value,
        dry_run: bool,
    ) -> Written {
        if !self.gate.is_open() {
            return Written::Closed;
        }
        // As a patch that puts the old resourceVersion back: refused with 409 when it is not the
        // present one. Unlike a PUT it needs nothing of the object but that.
        let patch = json!([
            {"op": "replace", "path": "/metadata/resourceVersion", "value": resource_version},
            {"op": "add", "path": "/status", "value": status},
        ]);
        let patch = match serde_json::from_value(patch) {
            Ok(patch) => Patch::<()>::Json(patch),
            Err(error) => return Written::Failed(error.to_string()),
        };
        let field_manager = Some(MANAGER.to_owned());
        let params = PatchParams { dry_run, field_manager, ..Default::default() };
        let api = self.api(object.kind, version, &object.key.namespace);
        let request = api.patch_status(&object.key.name, &params, &patch);
        answer(request, object, "update the status of").await
    }

    /// The API groups that are served.
    ///
    /// # Errors
    /// When the API server does not tell.
    pub async fn groups(&self) -> kube::Result<BTreeSet<String>> {
        let list = self.client.list_api_groups().await?;
        Ok(list.groups.into_iter().map(|group| group.name).collect())
    }

    /// What the version of the API server tells of `ipMode`; that it is open, when it tells none.
    pub async fn ip_mode(&self) -> IpMode {
        match self.client.apiserver_version().await {
            Ok(version) => IpMode::of_version(&version.major, &version.minor),
            Err(error) => {
                tracing::debug!(%error, "the version of the API server cannot be read");
                IpMode::Unsure
            }
        }
    }

    /// Who else writes an object, if that can be learned.
    pub async fn rival(&self, object: &ObjectRef, version: &str) -> Option<String> {
        let api = self.api(object.kind, version, &object.key.namespace);
        let now = api.get_metadata(&object.key.name).await.ok()?;
        let managers = now.metadata.managed_fields.unwrap_or_default();
        rival(&managers, MANAGER).map(str::to_owned)
    }

    /// Changes fields of an object, as a JSON merge patch (RFC 7396).
    pub async fn merge(
        &self,
        object: &ObjectRef,
        version: &str,
        resource_version: &str,
        mut change: Value,
    ) -> Written {
        if !self.gate.is_open() {
            return Written::Closed;
        }
        change["metadata"]["resourceVersion"] = resource_version.into();
        let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..Default::default() };
        let api = self.api(object.kind, version, &object.key.namespace);
        let patch = Patch::Merge(&change);
        answer(api.patch(&object.key.name, &params, &patch), object, "patch").await
    }

    /// Creates an object. That it exists is [`Written::Overtaken`].
    pub async fn create(&self, object: &ObjectRef, version: &str, body: Value) -> Written {
        if !self.gate.is_open() {
            return Written::Closed;
        }
        let api = self.api(object.kind, version, &object.key.namespace);
        let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..Default::default() };
        match serde_json::from_value(body) {
            Ok(body) => answer(api.create(&params, &body), object, "create").await,
            Err(error) => Written::Failed(error.to_string()),
        }
    }

    /// Deletes an object, if it is still the one that was seen.
    pub async fn delete(
        &self,
        object: &ObjectRef,
        version: &str,
        resource_version: &str,
    ) -> Written {
        if !self.gate.is_open() {
            return Written::Closed;
        }
        let preconditions =
            Preconditions { resource_version: Some(resource_version.to_owned()), uid: None };
        let params = DeleteParams { preconditions: Some(preconditions), ..Default::default() };
        let api = self.api(object.kind, version, &object.key.namespace);
        let request = async {
            match api.delete(&object.key.name, &params).await {
                // The object as it was, or a word about it: nothing to remember.
                Ok(_) => Ok(None),
                Err(kube::Error::Api(refusal)) if refusal.code == 404 => Ok(None),
                Err(error) => Err(error),
            }
        };
        answer_or_nothing(request, object, "delete").await
    }
}

async fn answer(
    request: impl Future<Output = kube::Result<DynamicObject>>,
    object: &ObjectRef,
    verb: &str,
) -> Written {
    answer_or_nothing(async { request.await.map(Some) }, object, verb).await
}

/// What an answer means. One that does not come in time is a failure: the write may have been made
/// or not, and the next one is worked out from what the watch tells.
async fn answer_or_nothing(
    request: impl Future<Output = kube::Result<Option<DynamicObject>>>,
    object: &ObjectRef,
    verb: &str,
) -> Written {
    let Ok(answer) = tokio::time::timeout(ANSWER, request).await else {
        return Written::Failed(format!("cannot {verb} {object}: no answer from the API server"));
    };
    match answer {
        Ok(Some(object)) => Written::Done(Box::new(object)),
        Ok(None) => Written::Gone,
        Err(kube::Error::Api(refusal)) if matches!(refusal.code, 404 | 409) => Written::Overtaken,
        Err(kube::Error::Api(refusal)) if refusal.code == 403 => Written::Failed(format!(
            "may not {verb} {object}: give this ServiceAccount the right ({})",
            refusal.message
        )),
        Err(kube::Error::Api(refusal)) => {
            Written::Failed(format!("cannot {verb} {object}: {}", refusal.message))
        }
        Err(error) => Written::Failed(format!("cannot {verb} {object}: {error}")),
    }
}

//! Writes: each made from one version of an object, allowed only while this replica leads.
//!
//! Guarantees:
//! * Every write carries the `resourceVersion` that it was computed from. When the object has changed
//!   since, nothing is written: the watch brings the newer one, and everything is worked out again.
//! * The gate is asked right before each request.

use kube::api::{
    ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams, Preconditions,
};
use kube::core::GroupVersionKind;
use kube::{Api, Client};
use serde_json::{Value, json};
use vipgate_api::{Kind, ObjectRef};

use crate::leader::Gate;

/// Name of the field manager of everything that the controller writes.
pub const MANAGER: &str = "vipgate-controller";

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

    /// Replaces the fields of a status that are in `status`.
    pub async fn status(
        &self,
        object: &ObjectRef,
        version: &str,
        resource_version: &str,
        status: &Value,
    ) -> Written {
        if !self.gate.is_open() {
            return Written::Closed;
        }
        let body = json!({"metadata": {"resourceVersion": resource_version}, "status": status});
        let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..Default::default() };
        let api = self.api(object.kind, version, &object.key.namespace);
        let outcome = api.patch_status(&object.key.name, &params, &Patch::Merge(&body)).await;
        self.outcome(outcome, object, "update the status of")
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
        let outcome = api.patch(&object.key.name, &params, &Patch::Merge(&change)).await;
        self.outcome(outcome, object, "patch")
    }

    /// Creates an object. That it exists is [`Written::Overtaken`].
    pub async fn create(&self, object: &ObjectRef, version: &str, body: Value) -> Written {
        if !self.gate.is_open() {
            return Written::Closed;
        }
        let api = self.api(object.kind, version, &object.key.namespace);
        let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..Default::default() };
        let outcome = match serde_json::from_value(body) {
            Ok(body) => api.create(&params, &body).await,
            Err(error) => return Written::Failed(error.to_string()),
        };
        self.outcome(outcome, object, "create")
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
        match api.delete(&object.key.name, &params).await {
            Ok(_) => Written::Gone,
            Err(kube::Error::Api(refusal)) if refusal.code == 404 => Written::Gone,
            Err(error) => self.outcome(Err(error), object, "delete"),
        }
    }

    fn outcome(
        &self,
        outcome: kube::Result<DynamicObject>,
        object: &ObjectRef,
        verb: &str,
    ) -> Written {
        match outcome {
            Ok(object) => Written::Done(Box::new(object)),
            Err(kube::Error::Api(refusal)) if matches!(refusal.code, 404 | 409) => {
                Written::Overtaken
            }
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
}

//! Copies of certificates for the speakers (docs/decisions/0008).
//!
//! Copied is what the planner says is in use: a listener refers to it, a ReferenceGrant allows that
//! where one is needed, and certificate and key are good. Only the two entries that this takes are
//! copied. A copy out of use is deleted.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use vipgate_api::k8s::Secret;
use vipgate_api::{Kind, ObjectKey, ObjectRef, Resource};
use vipgate_planner::World;

use crate::change::Change;
use crate::hash::short_hash;

/// Annotation of a copy: the namespace of the Secret that it is a copy of.
pub const SOURCE_NAMESPACE: &str = "vipgate.dev/source-namespace";
/// Annotation of a copy: the name of the Secret that it is a copy of.
pub const SOURCE_NAME: &str = "vipgate.dev/source-name";

/// Names of copies begin so.
const PREFIX: &str = "vipgate-tls-";
/// What of a Secret is copied.
const ENTRIES: [&str; 2] = ["tls.crt", "tls.key"];
const TYPE: &str = "kubernetes.io/tls";

/// What is to be changed in the namespace `install` so that it has copies of the Secrets in use
/// ([`Planner::secrets_in_use`](vipgate_planner::Planner::secrets_in_use)).
pub fn changes(world: &World, in_use: &BTreeSet<ObjectKey>, install: &str) -> Vec<Change> {
    let mut wanted: BTreeMap<ObjectKey, (&ObjectKey, &Secret)> = BTreeMap::new();
    for source in in_use {
        if let Some(secret) = world.secrets.get(source) {
            wanted.insert(name_of_copy(source, install), (source, &secret.object));
        }
    }
    let mut changes = Vec::new();
    let there = world.secrets.values().map(|stored| &*stored.object);
    for copy in there.filter(|secret| is_copy(secret, install)) {
        let key = copy.key();
        let object = ObjectRef { kind: Kind::Secret, key: key.clone() };
        match wanted.remove(&key) {
            None => changes.push(Change::Delete(object)),
            Some((source, secret)) => {
                if let Some(change) = correction(copy, source, secret) {
                    changes.push(Change::Merge(object, change));
                }
            }
        }
    }
    changes.extend(wanted.into_iter().map(|(key, (source, secret))| create(key, source, secret)));
    changes
}

fn name_of_copy(source: &ObjectKey, install: &str) -> ObjectKey {
    let hash = short_hash([&source.namespace, &source.name], 32);
    ObjectKey::new(install, format!("{PREFIX}{hash}"))
}

fn is_copy(secret: &Secret, install: &str) -> bool {
    let metadata = &secret.metadata;
    let annotations = metadata.annotations.as_ref();
    metadata.namespace.as_deref() == Some(install)
        && metadata.name.as_deref().is_some_and(|name| name.starts_with(PREFIX))
        && annotations.is_some_and(|all| all.contains_key(SOURCE_NAME))
}

fn create(key: ObjectKey, source: &ObjectKey, secret: &Secret) -> Change {
    let body = json!({
        "apiVersion": Kind::Secret.api_version(),
        "kind": Kind::Secret.name(),
        "metadata": {
            "name": key.name,
            "namespace": key.namespace,
            "labels": {"app.kubernetes.io/managed-by": "vipgate"},
            "annotations": annotations(source),
        },
        "type": TYPE,
        "data": data(secret),
    });
    Change::Create(ObjectRef { kind: Kind::Secret, key }, body)
}

fn correction(copy: &Secret, source: &ObjectKey, secret: &Secret) -> Option<Value> {
    let said = copy.metadata.annotations.as_ref();
    let is_said = |name: &str, value: &str| {
        said.and_then(|said| said.get(name)).is_some_and(|said| said == value)
    };
    let (wanted, has) = (data(secret), json!(copy.data));
    if is_said(SOURCE_NAMESPACE, &source.namespace)
        && is_said(SOURCE_NAME, &source.name)
        && has == wanted
    {
        return None;
    }
    let mut change = wanted;
    // What else is in there does not belong there.
    for extra in copy.data.iter().flatten().map(|(name, _)| name) {
        if !ENTRIES.contains(&extra.as_str()) {
            change[extra] = Value::Null;
        }
    }
    Some(json!({"metadata": {"annotations": annotations(source)}, "data": change}))
}

fn annotations(source: &ObjectKey) -> Value {
    json!({SOURCE_NAMESPACE: source.namespace, SOURCE_NAME: source.name})
}

fn data(secret: &Secret) -> Value {
    let entry = |name: &str| secret.data.as_ref().and_then(|data| data.get(name));
    let entries = ENTRIES.iter().filter_map(|name| Some(((*name).to_owned(), json!(entry(name)?))));
    Value::Object(entries.collect())
}

#[cfg(test)]
mod tests;

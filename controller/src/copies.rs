//! Copies of certificates for the speakers: of Secrets (docs/decisions/0008), and of ConfigMaps with
//! certificates of authorities (docs/decisions/0018).
//!
//! Copied is what the planner says is in use: a Gateway, a listener or a policy refers to it, a
//! ReferenceGrant allows that where one is needed, and what is in it is good. Only the entries that this
//! takes are copied. A copy out of use is deleted.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use vipgate_api::k8s::{ConfigMap, ObjectMeta, Secret};
use vipgate_api::{ObjectKey, ObjectRef, Resource};
use vipgate_planner::world::Shelf;

use crate::change::Change;
use crate::hash::short_hash;

/// Annotation of a copy: the namespace of the object that it is a copy of.
pub const SOURCE_NAMESPACE: &str = "vipgate.dev/source-namespace";
/// Annotation of a copy: the name of the object that it is a copy of.
pub const SOURCE_NAME: &str = "vipgate.dev/source-name";
/// Label of the copies of ConfigMaps, by which speakers find them among the others of the namespace.
pub const BUNDLE_LABEL: &str = "vipgate.dev/copy";
/// Its value.
pub const BUNDLE: &str = "ca-bundle";

const MANAGED_BY: &str = "app.kubernetes.io/managed-by";

/// A kind of objects that are copied.
pub trait Copied: Resource {
    /// Names of copies begin so.
    const PREFIX: &'static str;
    /// What of an object is copied.
    const ENTRIES: &'static [&'static str];
    /// `type`, of kinds that have one.
    const TYPE: Option<&'static str>;
    /// The labels of a copy.
    const LABELS: &'static [(&'static str, &'static str)];

    /// `data`, each entry as JSON has it.
    fn data(&self) -> Map<String, Value>;
}

impl Copied for Secret {
    const PREFIX: &'static str = "vipgate-tls-";
    const ENTRIES: &'static [&'static str] = &["tls.crt", "tls.key"];
    const TYPE: Option<&'static str> = Some("kubernetes.io/tls");
    const LABELS: &'static [(&'static str, &'static str)] = &[(MANAGED_BY, "vipgate")];

    fn data(&self) -> Map<String, Value> {
        let entries = self.data.iter().flatten();
        entries.map(|(name, value)| (name.clone(), json!(value))).collect()
    }
}

impl Copied for ConfigMap {
    const PREFIX: &'static str = "vipgate-ca-";
    const ENTRIES: &'static [&'static str] = &["ca.crt"];
    const TYPE: Option<&'static str> = None;
    const LABELS: &'static [(&'static str, &'static str)] =
        &[(MANAGED_BY, "vipgate"), (BUNDLE_LABEL, BUNDLE)];

    fn data(&self) -> Map<String, Value> {
        let entries = self.data.iter().flatten();
        entries.map(|(name, value)| (name.clone(), json!(value))).collect()
    }
}

/// What is to be changed in the namespace `install` so that it has copies of the objects in use
/// ([`Planner::secrets_in_use`](vipgate_planner::Planner::secrets_in_use),
/// [`Planner::config_maps_in_use`](vipgate_planner::Planner::config_maps_in_use)).
pub fn changes<T: Copied>(
    objects: &Shelf<T>,
    in_use: &BTreeSet<ObjectKey>,
    install: &str,
) -> Vec<Change> {
    let mut wanted: BTreeMap<ObjectKey, (&ObjectKey, &T)> = BTreeMap::new();
    for source in in_use {
        if let Some(stored) = objects.get(source) {
            wanted.insert(name_of_copy::<T>(source, install), (source, &stored.object));
        }
    }
    let mut changes = Vec::new();
    let there = objects.values().map(|stored| &*stored.object);
    for copy in there.filter(|object| is_copy::<T>(object.metadata(), install)) {
        let key = copy.key();
        let object = ObjectRef { kind: T::KIND, key: key.clone() };
        match wanted.remove(&key) {
            None => changes.push(Change::Delete(object)),
            Some((source, original)) => {
                if let Some(change) = correction(copy, source, original) {
                    changes.push(Change::Merge(object, change));
                }
            }
        }
    }
    changes.extend(wanted.into_iter().map(|(key, (source, object))| create(key, source, object)));
    changes
}

fn name_of_copy<T: Copied>(source: &ObjectKey, install: &str) -> ObjectKey {
    let hash = short_hash([&source.namespace, &source.name], 32);
    ObjectKey::new(install, format!("{}{hash}", T::PREFIX))
}

/// Whether an object of this kind is a copy in the namespace `install`.
pub fn is_copy<T: Copied>(metadata: &ObjectMeta, install: &str) -> bool {
    metadata.namespace.as_deref() == Some(install)
        && metadata.name.as_deref().is_some_and(|name| name.starts_with(T::PREFIX))
        && metadata.annotations.as_ref().is_some_and(|all| all.contains_key(SOURCE_NAME))
}

fn create<T: Copied>(key: ObjectKey, source: &ObjectKey, original: &T) -> Change {
    let mut body = json!({
        "apiVersion": T::KIND.api_version(),
        "kind": T::KIND.name(),
        "metadata": {
            "name": key.name,
            "namespace": key.namespace,
            "labels": labels::<T>(),
            "annotations": annotations(source),
        },
        "data": data(original),
    });
    if let Some(kind) = T::TYPE {
        body["type"] = kind.into();
    }
    Change::Create(ObjectRef { kind: T::KIND, key }, body)
}

fn correction<T: Copied>(copy: &T, source: &ObjectKey, original: &T) -> Option<Value> {
    let metadata = copy.metadata();
    let has = |all: &Option<BTreeMap<String, String>>, name: &str, value: &str| {
        all.as_ref().and_then(|all| all.get(name)).is_some_and(|said| said == value)
    };
    let (wanted, is) = (data(original), copy.data());
    if has(&metadata.annotations, SOURCE_NAMESPACE, &source.namespace)
        && has(&metadata.annotations, SOURCE_NAME, &source.name)
        && T::LABELS.iter().all(|(name, value)| has(&metadata.labels, name, value))
        && is == wanted
    {
        return None;
    }
    let mut change = wanted;
    // What else is in there does not belong there.
    for extra in is.keys().filter(|name| !T::ENTRIES.contains(&name.as_str())) {
        change.insert(extra.clone(), Value::Null);
    }
    let metadata = json!({"labels": labels::<T>(), "annotations": annotations(source)});
    Some(json!({"metadata": metadata, "data": change}))
}

fn labels<T: Copied>() -> Value {
    let labels = T::LABELS.iter().map(|(name, value)| ((*name).to_owned(), json!(value)));
    Value::Object(labels.collect())
}

fn annotations(source: &ObjectKey) -> Value {
    json!({SOURCE_NAMESPACE: source.namespace, SOURCE_NAME: source.name})
}

fn data<T: Copied>(object: &T) -> Map<String, Value> {
    let mut data = object.data();
    data.retain(|name, _| T::ENTRIES.contains(&name.as_str()));
    data
}

#[cfg(test)]
mod tests;

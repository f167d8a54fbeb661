//! The volumes of a pod, as directories.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use base64::prelude::{BASE64_STANDARD, Engine};
use serde_json::Value;

use super::super::api::{Api, is_not_found};
use super::spec::list;
use crate::Result;

/// The files of a volume, by their path in it.
type Files = BTreeMap<String, Vec<u8>>;

/// Writes the volumes of `pod` below `directory`, as they are now, and returns where each is.
///
/// # Errors
/// When a Secret or ConfigMap is not there (yet), or a volume is of a kind that the lab does not
/// know.
pub(super) fn write(api: &Api, pod: &Value, directory: &Path) -> Result<BTreeMap<String, PathBuf>> {
    let namespace = pod["metadata"]["namespace"].as_str().context("a pod has a namespace")?;
    let mut places = BTreeMap::new();
    for volume in list(&pod["spec"]["volumes"]) {
        let name = volume["name"].as_str().context("a volume has a name")?;
        let place = directory.join(name);
        let files = read(api, namespace, volume).with_context(|| format!("volume {name}"))?;
        std::fs::create_dir_all(&place)?;
        for (path, content) in files {
            let path = place.join(path);
            std::fs::create_dir_all(path.parent().unwrap_or(&place))?;
            std::fs::write(path, content)?;
        }
        places.insert(name.to_owned(), place);
    }
    Ok(places)
}

fn read(api: &Api, namespace: &str, volume: &Value) -> Result<Files> {
    // A projected volume is what each pod gets by itself, for the API; nothing of it is here.
    if !volume["emptyDir"].is_null() || !volume["projected"].is_null() {
        return Ok(Files::new());
    }
    let (source, collection, name) = match (&volume["secret"], &volume["configMap"]) {
        (Value::Null, Value::Null) => bail!("the lab knows no volume such as {volume}"),
        (Value::Null, map) => (map, "configmaps", &map["name"]),
        (secret, _) => (secret, "secrets", &secret["secretName"]),
    };
    let name = name.as_str().context("it names nothing")?;
    let object = match api.get(&format!("/api/v1/namespaces/{namespace}/{collection}/{name}")) {
        Err(error) if is_not_found(&error) && source["optional"] == true => Value::Null,
        other => other?,
    };
    chosen(contents(&object)?, list(&source["items"]))
}

/// What a Secret or ConfigMap has. `data` of a Secret is in base64, as `binaryData` of the other.
fn contents(object: &Value) -> Result<Files> {
    let mut files = Files::new();
    let secret = object["kind"] == "Secret";
    for (field, encoded) in [("data", secret), ("binaryData", true)] {
        for (key, value) in object[field].as_object().into_iter().flatten() {
            let text = value.as_str().context("values are text")?;
            let content = if encoded { BASE64_STANDARD.decode(text)? } else { text.into() };
            files.insert(key.clone(), content);
        }
    }
    Ok(files)
}

/// All of them, or the `items` under their paths.
fn chosen(files: Files, items: &[Value]) -> Result<Files> {
    if items.is_empty() {
        return Ok(files);
    }
    let mut chosen = Files::new();
    for item in items {
        let (key, path) = (item["key"].as_str(), item["path"].as_str());
        let (key, path) = key.zip(path).context("an item has key and path")?;
        ensure!(!path.split('/').any(|part| part == ".."), "{path} leads out of the volume");
        let content = files.get(key).cloned().with_context(|| format!("there is no key {key}"))?;
        chosen.insert(path.to_owned(), content);
    }
    Ok(chosen)
}

#[cfg(test)]
mod tests;

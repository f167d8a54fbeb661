//! The CRDs of Gateway API, of the release and channel a test is about.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::Value;

use super::{Cluster, go};
use crate::{Result, eventually};

const MODULE: &str = "sigs.k8s.io/gateway-api";
const SERVED_TIMEOUT: Duration = Duration::from_secs(20);

/// What a release calls stable, or that and what it tries out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// The fields and kinds that will stay.
    Standard,
    /// Those, and more.
    Experimental,
}

pub(super) fn install(cluster: &Cluster, version: &str, channel: Channel) -> Result<()> {
    let files = manifests(&module(version)?, channel)
        .with_context(|| format!("the CRDs of Gateway API {version}"))?;
    let paths = files.iter().map(|file| file.to_str().context("paths of Go modules are text"));
    let paths: Vec<&str> = paths.collect::<Result<_>>()?;
    let named = paths.iter().flat_map(|path| ["--filename", path]);
    cluster.kubectl(["apply", "--server-side"].into_iter().chain(named))?;
    let established = ["--for=condition=Established", "--timeout=20s", "--all"];
    cluster.kubectl(["wait", "customresourcedefinition"].into_iter().chain(established))?;
    // A moment later they are.
    let kinds: Vec<_> = files.iter().filter_map(|file| crd_name(file)).collect();
    let kinds = kinds.join(",");
    eventually(SERVED_TIMEOUT, || cluster.kubectl(["get", &kinds, "--all-namespaces"]))?;
    Ok(())
}

/// The directory of the module, fetched where it is not in Go's cache.
pub(super) fn module(version: &str) -> Result<PathBuf> {
    // Not in the directory of some module, which might say otherwise.
    let elsewhere = std::env::temp_dir();
    go::require(&elsewhere).context("the CRDs of Gateway API come as a Go module")?;
    let query = format!("{MODULE}@v{}", version.trim_start_matches('v'));
    let printed = go::output(&elsewhere, &["mod", "download", "-json", &query])?;
    let answer: Value = serde_json::from_str(&printed)?;
    let directory = answer["Dir"].as_str().with_context(|| format!("{query}: {printed}"))?;
    Ok(PathBuf::from(directory))
}

fn manifests(module: &Path, channel: Channel) -> Result<Vec<PathBuf>> {
    let channel = match channel {
        Channel::Standard => "standard",
        Channel::Experimental => "experimental",
    };
    let directory = module.join("config/crd").join(channel);
    let listed = std::fs::read_dir(&directory).with_context(|| directory.display().to_string())?;
    let mut files: Vec<PathBuf> =
        listed.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    // Besides them there is a file for kustomize.
    files.retain(|file| crd_name(file).is_some() || is_policy(file));
    ensure!(!files.is_empty(), "there are none in {}", directory.display());
    files.sort();
    Ok(files)
}

/// `gateway.networking.k8s.io_tcproutes.yaml` has the CRD `tcproutes.gateway.networking.k8s.io`.
fn crd_name(file: &Path) -> Option<String> {
    let (group, plural) = file.file_name()?.to_str()?.strip_suffix(".yaml")?.split_once('_')?;
    (!is_policy(file)).then(|| format!("{plural}.{group}"))
}

/// The admission policy that comes with the CRDs since 1.5.
fn is_policy(file: &Path) -> bool {
    file.file_name().is_some_and(|name| name.to_string_lossy().contains("_vap_"))
}

#[cfg(test)]
mod tests;

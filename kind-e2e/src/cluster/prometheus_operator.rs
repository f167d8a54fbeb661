//! The CRDs of the Prometheus operator, from its Go module: what a chart's monitors and rules are checked by.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use serde_json::Value;

use super::{Cluster, go};
use crate::{Result, eventually};

const MODULE: &str = "github.com/prometheus-operator/prometheus-operator@v0.85.0";
const KINDS: [&str; 3] = ["podmonitors", "servicemonitors", "prometheusrules"];
const SERVED_TIMEOUT: Duration = Duration::from_secs(20);

/// The directory of the module, fetched where it is not in Go's cache.
pub(super) fn module() -> Result<PathBuf> {
    // Not in the directory of some module, which might say otherwise.
    let elsewhere = std::env::temp_dir();
    go::require(&elsewhere).context("the CRDs of the Prometheus operator come as a Go module")?;
    let printed = go::output(&elsewhere, &["mod", "download", "-json", MODULE])?;
    let answer: Value = serde_json::from_str(&printed)?;
    Ok(PathBuf::from(answer["Dir"].as_str().with_context(|| format!("{MODULE}: {printed}"))?))
}

pub(super) fn install(cluster: &Cluster) -> Result<()> {
    let directory = module()?.join("example/prometheus-operator-crd");
    for kind in KINDS {
        let file = directory.join(format!("monitoring.coreos.com_{kind}.yaml"));
        let file = file.to_str().context("paths of Go modules are text")?;
        cluster.kubectl(["apply", "--server-side", "--filename", file])?;
        let name = format!("{kind}.monitoring.coreos.com");
        eventually(SERVED_TIMEOUT, || cluster.kubectl(["get", &name, "--all-namespaces"]))?;
    }
    Ok(())
}

//! What the lab has built of Go modules: the programs of others that it runs unchanged.

use std::path::PathBuf;
use std::sync::OnceLock;

use anyhow::{anyhow, bail};

use super::build::{self, Recipe};
use crate::Result;

/// etcd, the parts of Kubernetes, and kubectl: one file that is called by many names.
pub(super) const CONTROL_PLANE: Recipe = Recipe {
    name: "controlplane",
    what: "a Kubernetes control plane",
    costs: "5 to 30 minutes, 1 GB to fetch and 3 GB of disk",
    version_of: Some(("k8s.io/kubernetes", kubernetes_version)),
    packages: &["."],
    tests: None,
    links: &["etcd", "kube-apiserver", "kube-controller-manager", "kube-proxy", "kubectl"],
};

/// The conformance tests of Gateway API, and the server that they have as backend.
pub(super) const CONFORMANCE: Recipe = Recipe {
    name: "conformance",
    what: "the conformance tests of Gateway API",
    costs: "1 to 5 minutes and 1 GB of disk",
    version_of: None,
    packages: &["sigs.k8s.io/gateway-api/conformance/echo-basic"],
    tests: Some("conformance.test"),
    links: &[],
};

/// CoreDNS, which they have as a backend for UDP.
pub(super) const COREDNS: Recipe = Recipe {
    name: "coredns",
    what: "CoreDNS",
    costs: "1 to 5 minutes and 300 MB of disk",
    version_of: None,
    packages: &["."],
    tests: None,
    links: &[],
};

/// Helm, which renders the chart.
pub(super) const HELM: Recipe = Recipe {
    name: "helm",
    what: "Helm",
    costs: "1 to 10 minutes and 1 GB of disk",
    version_of: Some(("helm.sh/helm/v4", helm_version)),
    packages: &["helm.sh/helm/v4/cmd/helm"],
    tests: None,
    links: &[],
};

/// WireGuard in user space, by the authors of WireGuard.
pub(super) const WIREGUARD: Recipe = Recipe {
    name: "wireguard",
    what: "WireGuard in user space",
    costs: "a minute and 100 MB of disk",
    version_of: None,
    packages: &["."],
    tests: None,
    links: &[],
};

/// The program `name` of [`CONFORMANCE`].
pub(super) fn conformance(name: &str) -> Result<PathBuf> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    once(&BUILT, &CONFORMANCE).map(|directory| directory.join(name))
}

/// CoreDNS.
pub(super) fn coredns() -> Result<PathBuf> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    once(&BUILT, &COREDNS).map(|directory| directory.join("coredns"))
}

/// Helm.
pub(super) fn helm() -> Result<PathBuf> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    once(&BUILT, &HELM).map(|directory| directory.join("helm"))
}

/// WireGuard.
pub(super) fn wireguard() -> Result<PathBuf> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    once(&BUILT, &WIREGUARD).map(|directory| directory.join("wireguard"))
}

/// Once in this process: a build that failed is not tried again by each test.
fn once(
    cell: &'static OnceLock<Result<PathBuf, String>>,
    recipe: &Recipe,
) -> Result<&'static PathBuf> {
    cell.get_or_init(|| build::built(recipe).map_err(|error| format!("{error:#}")))
        .as_ref()
        .map_err(|error| anyhow!("{error}"))
}

/// Kubernetes learns its own version from the linker.
fn kubernetes_version(version: &str) -> Result<String> {
    let package = "k8s.io/component-base/version";
    let mut parts = version.trim_start_matches('v').split('.');
    let (Some(major), Some(minor)) = (parts.next(), parts.next()) else {
        bail!("k8s.io/kubernetes {version} in go.mod is not a release");
    };
    Ok(format!(
        "-X {package}.gitVersion={version} -X {package}.gitMajor={major} \
         -X {package}.gitMinor={minor} -X {package}.gitTreeState=clean"
    ))
}

/// So does Helm, and a chart may ask for one.
fn helm_version(version: &str) -> Result<String> {
    Ok(format!("-X helm.sh/helm/v4/internal/version.version={version}"))
}

#[cfg(test)]
mod tests;

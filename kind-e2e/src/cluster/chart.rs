//! The chart of vipgate: linted and rendered by the real Helm, and installed on a cluster as far as
//! a lab goes.
//!
//! What always holds:
//! * Whoever installs it has the chart's own CRDs, accounts and rights in the API, and
//!   kubeconfigs of these accounts; nothing is added to them.
//! * Its workloads are checked by the API server and not created: nobody would run them. A test
//!   starts them itself, with the arguments and variables of their containers ([`Chart::program`]).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};

use super::{Cluster, helm, is_not_found, pods};
use crate::{Program, Result, eventually};

/// Where the chart is.
const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/vipgate");
/// A name of the release, as `helm install` has one.
const RELEASE: &str = "vipgate";
/// The oldest that the chart allows.
const OLDEST_KUBERNETES: &str = "1.33.0";
const GATEWAY_CLASS: &str = "gateway.networking.k8s.io/v1/GatewayClass";
const HELM_TIMEOUT: Duration = Duration::from_secs(60);
const SERVED_TIMEOUT: Duration = Duration::from_secs(20);

/// Has Helm look for mistakes in the chart, warnings included; `settings` are as of `helm --set`.
///
/// # Errors
/// When it finds some, or Helm cannot be built.
pub fn lint_chart(settings: &[&str]) -> Result<()> {
    let options = ["lint", CHART, "--strict", "--kube-version", OLDEST_KUBERNETES];
    run(options.into_iter().chain(set(settings))).map(|_| ())
}

/// The manifests that `helm install` would send, without hooks and with the CRDs; `settings` are as
/// of `helm --set`. As on a cluster that serves the Gateway API.
///
/// # Errors
/// When the chart is wrong, or does not take a setting, or Helm cannot be built.
pub fn render_chart(namespace: &str, settings: &[&str]) -> Result<String> {
    render(namespace, OLDEST_KUBERNETES, true, settings)
}

/// What `helm template` prints of the chart with these arguments, such as `--values` and
/// `--api-versions`; hooks included, and as on a cluster that serves nothing but Kubernetes unless they
/// say otherwise.
///
/// # Errors
/// When the chart is wrong, or does not take a value, or Helm cannot be built.
pub fn template_chart(namespace: &str, arguments: &[&str]) -> Result<String> {
    let place = ["template", RELEASE, CHART, "--namespace", namespace];
    let versions = ["--kube-version", OLDEST_KUBERNETES];
    run(place.into_iter().chain(versions).chain(arguments.iter().copied()))
}

fn render(
    namespace: &str,
    kubernetes: &str,
    gateway_api: bool,
    settings: &[&str],
) -> Result<String> {
    let place = ["template", RELEASE, CHART, "--no-hooks", "--namespace", namespace];
    let versions = ["--kube-version", kubernetes];
    let served = ["--api-versions", GATEWAY_CLASS];
    let served = served.into_iter().take(if gateway_api { 2 } else { 0 });
    run(place.into_iter().chain(versions).chain(served).chain(set(settings)))
}

/// `--set` before each.
fn set<'a>(settings: &'a [&str]) -> impl Iterator<Item = &'a str> {
    settings.iter().flat_map(|setting| ["--set", *setting])
}

/// Where Helm keeps what is the user's own; here it shall not look there.
const HOMES: [&str; 3] = ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"];

/// What Helm prints.
fn run<'a>(arguments: impl Iterator<Item = &'a str>) -> Result<String> {
    let home = tempfile::tempdir()?;
    let mut command = Command::new(helm()?);
    command.args(arguments);
    for variable in HOMES {
        command.env(variable, home.path());
    }
    let output = command.env_remove("KUBECONFIG").output().context("cannot run Helm")?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        bail!("helm: {}\n{printed}{}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(printed)
}

/// Helm on the cluster's node, as one who may do everything.
pub(super) fn helm_on<'a>(
    cluster: &Cluster,
    arguments: impl IntoIterator<Item = &'a str>,
) -> Result<String> {
    let mut program = Program::new(helm()?).args(arguments).env("KUBECONFIG", cluster.kubeconfig());
    for variable in HOMES {
        program = program.env(variable, cluster.directory().join("helm"));
    }
    cluster.node().run_within(HELM_TIMEOUT, program)
}

/// The chart on a cluster. There is nothing to drop: what it installed goes with the cluster.
#[derive(Debug)]
pub struct Chart {
    namespace: String,
    /// By the name of the ServiceAccount.
    kubeconfigs: BTreeMap<String, PathBuf>,
    workloads: Vec<Value>,
    directory: PathBuf,
}

impl Chart {
    pub(super) fn install(cluster: &Cluster, namespace: &str, settings: &[&str]) -> Result<Self> {
        let rendered = render(namespace, &version(cluster)?, has_gateway_api(cluster)?, settings)?;
        let (workloads, others): (Vec<_>, Vec<_>) =
            documents(&rendered).partition(|document| kind_of(document).is_some_and(runs));
        ensure!(!workloads.is_empty() && !others.is_empty(), "the chart has no {rendered}");
        let namespaces =
            format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {namespace}}}\n");
        let all = [&[&*namespaces], &*others].concat().join("\n---\n");
        send(cluster, &all, &[])?;
        wait_until_served(cluster)?;
        // As they would be stored, with what is not valid or not known refused.
        let checked =
            send(cluster, &workloads.join("\n---\n"), &["--dry-run=server", "--output=json"])?;
        Ok(Self {
            namespace: namespace.to_owned(),
            kubeconfigs: kubeconfigs(cluster, namespace)?,
            workloads: items(serde_json::from_str(&checked)?),
            directory: cluster.directory().to_owned(),
        })
    }

    /// The same on a cluster that was [started from](Cluster::start_from) what this one's cluster stored.
    ///
    /// # Errors
    /// When the accounts of the chart are not there.
    pub fn on(&self, cluster: &Cluster) -> Result<Self> {
        Ok(Self {
            namespace: self.namespace.clone(),
            kubeconfigs: kubeconfigs(cluster, &self.namespace)?,
            workloads: self.workloads.clone(),
            directory: cluster.directory().to_owned(),
        })
    }

    /// The namespace it is installed in.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The ServiceAccounts of the chart.
    pub fn accounts(&self) -> impl Iterator<Item = &str> {
        self.kubeconfigs.keys().map(String::as_str)
    }

    /// A kubeconfig with a token of this ServiceAccount, and so with its rights.
    ///
    /// # Errors
    /// When the chart has no such account.
    pub fn kubeconfig(&self, account: &str) -> Result<&Path> {
        let found = self.kubeconfigs.get(account);
        Ok(found.with_context(|| format!("the chart has no ServiceAccount {account}"))?)
    }

    /// `binary` as the container of this Deployment or DaemonSet runs it, in a pod called `pod` on the
    /// node `node`, which has the address `host`: with its arguments, its variables, and a
    /// kubeconfig of its ServiceAccount.
    ///
    /// # Errors
    /// When the chart has no such workload.
    pub fn program(
        &self,
        workload: &str,
        binary: &str,
        pod: &str,
        (node, host): (&str, IpAddr),
    ) -> Result<Program> {
        let named = |one: &&Value| one["metadata"]["name"] == workload;
        let found = self.workloads.iter().find(named);
        let found = found.with_context(|| format!("the chart has no workload {workload}"))?;
        let mut template = found["spec"]["template"].clone();
        template["metadata"]["name"] = json!(pod);
        template["metadata"]["namespace"] = json!(self.namespace);
        template["spec"]["nodeName"] = json!(node);
        let program = pods::only_program(&template, binary, host, &self.directory.join(pod))?;
        let account = template["spec"]["serviceAccountName"].as_str();
        let account = account.with_context(|| format!("{workload} has no ServiceAccount"))?;
        Ok(program.env("KUBECONFIG", self.kubeconfig(account)?))
    }
}

/// Applies manifests as Helm does; fields that no version knows are refused.
fn send(cluster: &Cluster, manifests: &str, more: &[&str]) -> Result<String> {
    let file = cluster.directory().join("chart.yaml");
    std::fs::write(&file, manifests)?;
    let file = file.to_str().context("paths of the lab are text")?;
    let apply = ["apply", "--server-side", "--field-manager=helm", "--validate=strict", "-f", file];
    cluster.kubectl(apply.into_iter().chain(more.iter().copied()))
}

/// Such as `1.36.3`.
fn version(cluster: &Cluster) -> Result<String> {
    let version = cluster.api().get("/version")?;
    let version = version["gitVersion"].as_str().context("a version")?;
    Ok(version.trim_start_matches('v').to_owned())
}

fn has_gateway_api(cluster: &Cluster) -> Result<bool> {
    match cluster.api().get("/apis/gateway.networking.k8s.io/v1") {
        Ok(_) => Ok(true),
        Err(error) if is_not_found(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

/// A moment after CRDs were taken, their objects can be written.
fn wait_until_served(cluster: &Cluster) -> Result<()> {
    let crds = cluster.api().get("/apis/apiextensions.k8s.io/v1/customresourcedefinitions")?;
    let specs = items(crds).into_iter().map(|mut crd| crd["spec"].take());
    for spec in specs.filter(|spec| spec["group"] == "vipgate.dev") {
        for version in pods::list(&spec["versions"]) {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let (version, plural) = (text(&version["name"]), text(&spec["names"]["plural"]));
            let path = format!("/apis/vipgate.dev/{version}/{plural}");
            eventually(SERVED_TIMEOUT, || cluster.api().get(&path))?;
        }
    }
    Ok(())
}

/// Whether an object of this kind has pods.
fn runs(kind: &str) -> bool {
    matches!(kind, "Deployment" | "DaemonSet")
}

/// Of each ServiceAccount that the chart made.
fn kubeconfigs(cluster: &Cluster, namespace: &str) -> Result<BTreeMap<String, PathBuf>> {
    let ours = format!("labelSelector=app.kubernetes.io/instance={RELEASE}");
    let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts?{ours}");
    let accounts = items(cluster.api().get(&path)?);
    let named = accounts.iter().filter_map(|account| account["metadata"]["name"].as_str());
    named.map(|name| Ok((name.to_owned(), cluster.kubeconfig_of(namespace, name)?))).collect()
}

/// Those of a list, or the one object there is.
fn items(mut list: Value) -> Vec<Value> {
    match list.get_mut("items").map(Value::take) {
        Some(Value::Array(items)) => items,
        _ => vec![list],
    }
}

/// The documents of a rendered chart that have something in them.
fn documents(rendered: &str) -> impl Iterator<Item = &str> {
    rendered.split("\n---\n").filter(|document| kind_of(document).is_some())
}

fn kind_of(document: &str) -> Option<&str> {
    document.lines().find_map(|line| line.strip_prefix("kind: ")).map(str::trim)
}

//! A Kubernetes cluster: the real etcd, kube-apiserver and kube-controller-manager on a node of
//! the lab, and kubectl to talk to them; on other nodes, as workers, kube-proxy and pods.
//!
//! What is real: the API with its validation, admission, RBAC, watches and storage, the
//! controllers for namespaces, service accounts, garbage, Deployments, ReplicaSets and
//! EndpointSlices, and kube-proxy. In place of scheduler and kubelets there is a [`PodPlayer`].
//!
//! The programs are those of the directory `KUBEBUILDER_ASSETS`, else those on `PATH`, else they
//! are built once, which takes long ([`prepare`]).
//!
//! What always holds:
//! * A cluster has its node for itself: clusters of any number of tests do not collide.
//! * Its data and keys are in a directory of its own, which goes away with the handle.
//! * The data outlives the API server ([`Cluster::restart_api_server`]), not the handle.

mod api;
mod build;
mod chart;
mod credentials;
mod gateway_api;
mod go;
mod kube_proxy;
mod options;
mod pods;
mod programs;
mod prometheus_operator;
mod recipes;
mod snapshot;
mod worker;

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{Node, Process, Program, Result, eventually};
pub use api::{Api, Patch, Refusal, Watch, is_not_found};
pub use chart::{Chart, lint_chart, render_chart, template_chart};
use credentials::Credentials;
pub use gateway_api::Channel;
pub use kube_proxy::ProxyMode;
use options::Places;
pub use pods::{EmptyPod, Images, PodPlayer};
use programs::Programs;
pub use snapshot::Snapshot;
pub use worker::Worker;

/// Some seconds where nothing else runs; all cores may be busy with other tests.
const START_TIMEOUT: Duration = Duration::from_secs(90);
/// The API server closes its watches and answers what is under way before it ends.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);
/// For one that hangs. The CRDs of Gateway API, or hundreds of objects, take half a minute where twenty
/// programs share a core; nothing is measured by it.
const KUBECTL_TIMEOUT: Duration = Duration::from_secs(120);
/// What kubectl asks an API server for, to hear whether it is ready.
const READYZ: [&str; 2] = ["get", "--raw=/readyz"];

/// A running cluster. It ends, and its data goes away, when it is dropped.
#[derive(Debug)]
pub struct Cluster {
    // The order of dropping: clients before servers, the node and the directory last.
    api: Arc<Api>,
    controller_manager: Process,
    api_server: Process,
    etcd: Process,
    programs: &'static Programs,
    places: Places,
    kubeconfig: PathBuf,
    proxy_kubeconfig: PathBuf,
    workers: AtomicU8,
    node: Node,
    directory: TempDir,
}

/// Sees to it that there are the programs of a control plane: looks for them, or builds them. The
/// first build takes a quarter of an hour or more and says on standard error how far it is; every
/// later call, of any process, finds its result. [`Cluster::start`] does the same.
///
/// # Errors
/// When some programs are missing or too old, or Go is, or the build fails; it says what to do.
pub fn prepare() -> Result<()> {
    Programs::get().map(|_| ())
}

/// The program of the official conformance tests of Gateway API (`kind-e2e/conformance/`), built once.
///
/// # Errors
/// When Go is missing or the build fails.
pub fn conformance_suite() -> Result<PathBuf> {
    recipes::conformance("conformance.test")
}

/// Fetches a release of Gateway API, such as `1.6.1`, if it is not in Go's cache: ahead of
/// [`Cluster::install_gateway_api`], which may be called where there is no network.
///
/// # Errors
/// When Go is missing, or there is no such release.
pub fn fetch_gateway_api(version: &str) -> Result<()> {
    gateway_api::module(version).map(|_| ())
}

/// Fetches the CRDs of the Prometheus operator, if they are not in Go's cache: ahead of
/// [`Cluster::install_prometheus_operator`], which may be called where there is no network.
///
/// # Errors
/// When Go is missing, or the module cannot be fetched.
pub fn fetch_prometheus_operator() -> Result<()> {
    prometheus_operator::module().map(|_| ())
}

/// The Helm that renders the chart (`kind-e2e/helm/`), built once.
///
/// # Errors
/// When Go is missing or the build fails.
pub fn helm() -> Result<PathBuf> {
    recipes::helm()
}

/// The WireGuard in user space that [`servers::wireguard`](crate::servers::wireguard) runs
/// (`kind-e2e/wireguard/`), built once.
///
/// # Errors
/// When Go is missing or the build fails.
pub fn wireguard() -> Result<PathBuf> {
    recipes::wireguard()
}

impl Cluster {
    /// Starts a cluster on `node`, which is then its control plane and nothing else. `address` is
    /// one the node has, and by which other nodes reach it; not of `lo`. When this returns, the
    /// API is ready and the controllers work.
    ///
    /// # Errors
    /// As [`prepare`]; and when a program does not come up, with what it logged.
    pub fn start(node: Node, address: Ipv4Addr) -> Result<Self> {
        Self::start_with(node, address, None)
    }

    /// The same, with all the objects that another cluster had when it [ended](Self::into_snapshot).
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_from(snapshot: &Snapshot, node: Node, address: Ipv4Addr) -> Result<Self> {
        Self::start_with(node, address, Some(snapshot))
    }

    fn start_with(node: Node, address: Ipv4Addr, stored: Option<&Snapshot>) -> Result<Self> {
        let programs = Programs::get()?;
        let directory = tempfile::Builder::new().prefix("vglab-cluster-").tempdir()?;
        let places = Places::new(directory.path(), address);
        if let Some(stored) = stored {
            stored.write(&places.etcd())?;
        }
        let credentials = Credentials::create(&places)?;
        let etcd = node.spawn(options::etcd(programs, &places))?;
        let api_server = node.spawn(options::api_server(programs, &places))?;
        serving(&api_server)?;
        let kubeconfig = credentials.admin_kubeconfig(&places)?;
        let kubectl = |arguments: Vec<String>| {
            let arguments = arguments.iter().map(String::as_str);
            kubectl_as(programs, directory.path(), &kubeconfig, arguments)
        };
        // The controllers wait 10 s for it, and then end.
        ready(&api_server, || {
            node.run_within(KUBECTL_TIMEOUT, kubectl(READYZ.map(str::to_owned).to_vec()))
        })?;
        let controllers = credentials.controllers_kubeconfig(&places)?;
        let controller_manager =
            node.spawn(options::controller_manager(programs, &places, &controllers))?;
        let proxy_kubeconfig = credentials.proxy_kubeconfig(&places)?;
        let api = Arc::new(Api::start(&node, kubectl, directory.path())?);
        let cluster = Self {
            api,
            controller_manager,
            api_server,
            etcd,
            programs,
            places,
            kubeconfig,
            proxy_kubeconfig,
            workers: AtomicU8::new(1),
            node,
            directory,
        };
        cluster.wait_for_controllers()?;
        Ok(cluster)
    }

    /// Ends it, and keeps what it stored, for [`start_from`](Self::start_from).
    ///
    /// # Errors
    /// When a program does not end.
    pub fn into_snapshot(mut self) -> Result<Snapshot> {
        self.controller_manager.terminate(STOP_TIMEOUT)?;
        // For whoever starts from it to see that the controllers work.
        self.api.delete("/api/v1/namespaces/default/serviceaccounts/default", &json!({}))?;
        self.api_server.terminate(STOP_TIMEOUT)?;
        self.etcd.terminate(STOP_TIMEOUT)?;
        Snapshot::read(&self.places.etcd())
    }

    /// The machine it runs on.
    #[must_use]
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Where the API is served, for every node that reaches the cluster's.
    #[must_use]
    pub fn url(&self) -> String {
        self.places.url()
    }

    /// The kubeconfig of one who may do everything.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// A kubeconfig of a service account, with the rights this has in the cluster; valid for a
    /// day.
    ///
    /// # Errors
    /// When there is no such account.
    pub fn kubeconfig_of(&self, namespace: &str, account: &str) -> Result<PathBuf> {
        let request = json!({
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": 24 * 60 * 60},
        });
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token");
        let granted = self.api.create(&path, &request)?;
        let token = granted["status"]["token"].as_str().context("a token")?;
        credentials::kubeconfig(&self.places, &format!("{namespace}-{account}"), token)
    }

    /// Runs kubectl as one who may do everything, and returns what it printed.
    ///
    /// # Errors
    /// When it fails or does not end within two minutes; with what it printed.
    pub fn kubectl<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Result<String> {
        self.node.run_within(KUBECTL_TIMEOUT, self.kubectl_as(&self.kubeconfig, arguments))
    }

    /// The kubectl that is run.
    #[must_use]
    pub fn kubectl_program(&self) -> &Path {
        self.programs.kubectl()
    }

    /// kubectl with another [kubeconfig](Self::kubeconfig_of), to be run on any node that reaches
    /// the cluster's.
    pub fn kubectl_as<'a>(
        &self,
        kubeconfig: &Path,
        arguments: impl IntoIterator<Item = &'a str>,
    ) -> Program {
        kubectl_as(self.programs, self.directory.path(), kubeconfig, arguments)
    }

    /// The API, for what would take too long with [`kubectl`](Self::kubectl).
    #[must_use]
    pub fn api(&self) -> &Arc<Api> {
        &self.api
    }

    /// Makes a machine of the lab a worker: there is a Node object, ready, of this name and with
    /// this `address`, which the machine has; and it forwards. Nothing else runs there yet.
    ///
    /// # Errors
    /// When there is a Node of that name.
    pub fn add_worker(&self, node: &Node, name: &str, address: Ipv4Addr) -> Result<Worker> {
        let number = self.workers.fetch_add(1, Ordering::Relaxed);
        Worker::create(self, node, name, number, address)
    }

    /// Starts kube-proxy on a worker. When it returns, Services answer there.
    ///
    /// # Errors
    /// When it does not come up, with what it logged.
    pub fn kube_proxy(&self, worker: &Worker, mode: ProxyMode) -> Result<Process> {
        kube_proxy::start(self, worker, mode)
    }

    /// Plays the pods of the cluster on these workers, which then reach each other's pods.
    ///
    /// # Errors
    /// Without workers, or when one does not reach another.
    pub fn play_pods(&self, workers: &[Worker], images: Images) -> Result<PodPlayer> {
        PodPlayer::start(self, workers, images)
    }

    /// The network of a pod on this worker, for clients.
    ///
    /// # Errors
    /// When the kernel refuses it.
    pub fn empty_pod(&self, worker: &Worker) -> Result<EmptyPod> {
        EmptyPod::create(worker)
    }

    /// Applies a manifest (server-side): YAML or JSON, any number of objects.
    ///
    /// # Errors
    /// When the API server refuses an object; with its reason.
    pub fn apply(&self, manifest: &str) -> Result<()> {
        let mut file = tempfile::Builder::new().suffix(".yaml").tempfile_in(&self.directory)?;
        std::io::Write::write_all(&mut file, manifest.as_bytes())?;
        let path = file.path().to_str().context("paths of the lab are text")?;
        self.kubectl(["apply", "--server-side", "--filename", path]).map(|_| ())
    }

    /// What `kubectl get` with these arguments shows, as JSON: an object, or a list of them.
    ///
    /// # Errors
    /// When it does not exist.
    pub fn get<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Result<Value> {
        let arguments = ["get", "--output=json"].into_iter().chain(arguments);
        Ok(serde_json::from_str(&self.kubectl(arguments)?)?)
    }

    /// Installs the CRDs of a release of Gateway API, such as `1.6.1`, from its Go module. When it
    /// returns they are served.
    ///
    /// # Errors
    /// When there is no Go, or no such release or channel, or the API server refuses a CRD.
    pub fn install_gateway_api(&self, version: &str, channel: Channel) -> Result<()> {
        gateway_api::install(self, version, channel)
    }

    /// Installs the CRDs of the Prometheus operator that a chart may have objects of: monitors and rules.
    /// When it returns they are served. There is nobody who obeys them.
    ///
    /// # Errors
    /// When there is no Go, or the API server refuses a CRD.
    pub fn install_prometheus_operator(&self) -> Result<()> {
        prometheus_operator::install(self)
    }

    /// Installs the chart of vipgate in a namespace, which is made where it is not there: CRDs,
    /// ServiceAccounts, rights; no workloads, see [`Chart`]. `settings` are as of `helm --set`. Again, it is as an upgrade.
    ///
    /// # Errors
    /// When Helm cannot be built, or does not take a setting, or the API server refuses an object.
    pub fn install_chart(&self, namespace: &str, settings: &[&str]) -> Result<Chart> {
        Chart::install(self, namespace, settings).context("the chart cannot be installed")
    }

    /// Runs Helm as one who may do everything, and returns what it printed.
    ///
    /// # Errors
    /// When Helm cannot be built, or it fails or does not end within a minute; with what it printed.
    pub fn helm<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Result<String> {
        chart::helm_on(self, arguments)
    }

    /// The API server, to stop, kill or signal it.
    pub fn api_server(&mut self) -> &mut Process {
        &mut self.api_server
    }

    /// Starts the API server again, after asking it to end if it runs. When this returns it is
    /// ready and serves the data it had, under the same address and certificate.
    ///
    /// # Errors
    /// When it does not end, or does not come up; with what it logged.
    pub fn restart_api_server(&mut self) -> Result<()> {
        self.api_server.terminate(STOP_TIMEOUT)?;
        self.api_server = self.node.spawn(options::api_server(self.programs, &self.places))?;
        serving(&self.api_server)?;
        self.wait_ready()
    }

    /// The process ids of all there is.
    #[must_use]
    pub fn pids(&self) -> [u32; 3] {
        [self.etcd.pid(), self.api_server.pid(), self.controller_manager.pid()]
    }

    /// Its data, keys and kubeconfigs.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    fn wait_ready(&self) -> Result<()> {
        ready(&self.api_server, || self.kubectl(READYZ))
    }

    /// The first thing they do in a new cluster, and the first that a pod waits for.
    fn wait_for_controllers(&self) -> Result<()> {
        let account = ["wait", "--for=create", "serviceaccount/default", "--timeout=60s"];
        let program = self.kubectl_as(&self.kubeconfig, account);
        self.node.run_within(START_TIMEOUT, program).map(|_| ()).with_context(|| {
            format!("the controllers do not work\n{}", self.controller_manager.tail())
        })
    }
}

fn kubectl_as<'a>(
    programs: &Programs,
    directory: &Path,
    kubeconfig: &Path,
    arguments: impl IntoIterator<Item = &'a str>,
) -> Program {
    Program::new(programs.kubectl())
        .arg("--kubeconfig")
        .arg(kubeconfig)
        .args(arguments)
        // What it finds in the cache or configuration of whoever runs the test is of other
        // clusters.
        .env("KUBECACHEDIR", directory.join("kubectl-cache"))
        .env("KUBERC", "off")
}

/// Waits until it says that it is ready.
fn ready(api_server: &Process, ask: impl Fn() -> Result<String>) -> Result<()> {
    eventually(START_TIMEOUT, || {
        ensure!(!api_server.has_ended(), "it has ended");
        ask()
    })
    .map(|_| ())
    .with_context(|| format!("the API server is not ready\n{}", api_server.tail()))
}

/// Listens with its certificate; not yet [ready](Cluster::wait_ready).
fn serving(api_server: &Process) -> Result<()> {
    api_server.wait_for_line("Serving securely on", START_TIMEOUT).map(|_| ())
}

//! A Kubernetes cluster without machines for pods: the real etcd, kube-apiserver and
//! kube-controller-manager on a node of the lab, and kubectl to talk to them.
//!
//! What is real: the API with its validation, admission, RBAC, watches and storage, and the
//! controllers for namespaces, service accounts, garbage, Deployments, ReplicaSets and
//! EndpointSlices. What is not there: a scheduler, kubelets, kube-proxy, a network for pods.
//!
//! The programs are those of the directory `KUBEBUILDER_ASSETS`, else those on `PATH`, else they
//! are built once, which takes long ([`prepare`]).
//!
//! What always holds:
//! * A cluster has its node for itself: clusters of any number of tests do not collide.
//! * Its data and keys are in a directory of its own, which goes away with the handle.
//! * The data outlives the API server ([`Cluster::restart_api_server`]), not the handle.

mod build;
mod credentials;
mod gateway_api;
mod go;
mod options;
mod programs;

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::{Node, Process, Program, Result, eventually};
use credentials::Credentials;
pub use gateway_api::Channel;
use options::Places;
use programs::Programs;

/// Some seconds where nothing else runs; all cores may be busy with other tests.
const START_TIMEOUT: Duration = Duration::from_secs(90);
/// The API server closes its watches and answers what is under way before it ends.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);
const KUBECTL_TIMEOUT: Duration = Duration::from_secs(30);

/// A running cluster. It ends, and its data goes away, when it is dropped.
#[derive(Debug)]
pub struct Cluster {
    // The order of dropping: clients before servers, the node and the directory last.
    controller_manager: Process,
    api_server: Process,
    etcd: Process,
    programs: &'static Programs,
    places: Places,
    kubeconfig: PathBuf,
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

impl Cluster {
    /// Starts a cluster on `node`, which is then its control plane and nothing else. `address` is
    /// one the node has, and by which other nodes reach it; not of `lo`. When this returns, the
    /// API is ready and the controllers work.
    ///
    /// # Errors
    /// As [`prepare`]; and when a program does not come up, with what it logged.
    pub fn start(node: Node, address: Ipv4Addr) -> Result<Self> {
        let programs = Programs::get()?;
        let directory = tempfile::Builder::new().prefix("vglab-cluster-").tempdir()?;
        let places = Places::new(directory.path(), address);
        let credentials = Credentials::create(&places)?;
        let etcd = node.spawn(options::etcd(programs, &places))?;
        let api_server = node.spawn(options::api_server(programs, &places))?;
        serving(&api_server)?;
        let kubeconfig = credentials.admin_kubeconfig(&places)?;
        let controllers = credentials.controllers_kubeconfig(&places)?;
        let controller_manager =
            node.spawn(options::controller_manager(programs, &places, &controllers))?;
        let cluster = Self {
            controller_manager,
            api_server,
            etcd,
            programs,
            places,
            kubeconfig,
            node,
            directory,
        };
        cluster.wait_ready()?;
        cluster.wait_for_controllers()?;
        Ok(cluster)
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
        let token = self.kubectl(
            ["create", "token", account, "--duration=24h"]
                .into_iter()
                .chain(["--namespace", namespace]),
        )?;
        credentials::kubeconfig(&self.places, &format!("{namespace}-{account}"), token.trim())
    }

    /// Runs kubectl as one who may do everything, and returns what it printed.
    ///
    /// # Errors
    /// When it fails or does not end within 30 s; with what it printed.
    pub fn kubectl<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Result<String> {
        self.node.run_within(KUBECTL_TIMEOUT, self.kubectl_as(&self.kubeconfig, arguments))
    }

    /// kubectl with another [kubeconfig](Self::kubeconfig_of), to be run on any node that reaches
    /// the cluster's.
    pub fn kubectl_as<'a>(
        &self,
        kubeconfig: &Path,
        arguments: impl IntoIterator<Item = &'a str>,
    ) -> Program {
        Program::new(self.programs.kubectl())
            .arg("--kubeconfig")
            .arg(kubeconfig)
            .args(arguments)
            // What it finds in the cache or configuration of whoever runs the test is of other
            // clusters.
            .env("KUBECACHEDIR", self.directory.path().join("kubectl-cache"))
            .env("KUBERC", "off")
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
        eventually(START_TIMEOUT, || {
            ensure!(!self.api_server.has_ended(), "it has ended");
            self.kubectl(["get", "--raw=/readyz"])
        })
        .map(|_| ())
        .with_context(|| format!("the API server is not ready\n{}", self.api_server.tail()))
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

/// Listens with its certificate; not yet [ready](Cluster::wait_ready).
fn serving(api_server: &Process) -> Result<()> {
    api_server.wait_for_line("Serving securely on", START_TIMEOUT).map(|_| ())
}

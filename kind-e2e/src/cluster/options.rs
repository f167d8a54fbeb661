//! How the programs of a control plane are called. Everything is as an installer of clusters would
//! have it, except for what makes a short-lived one start quickly.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use super::programs::Programs;
use crate::Program;

/// Of the node alone, so no two clusters want the same.
const ETCD: &str = "http://127.0.0.1:2379";
const ETCD_PEERS: &str = "http://127.0.0.1:2380";
const PORT: u16 = 6443;
/// Both families, as Services may want both.
pub(super) const SERVICE_RANGES: &str = "10.96.0.0/16,fd00:10:96::/112";
/// Those whose work a test can see; those for nodes and volumes would wait for what never comes.
const CONTROLLERS: [&str; 9] = [
    "clusterrole-aggregation-controller",
    "deployment-controller",
    "endpointslice-controller",
    "garbage-collector-controller",
    "namespace-controller",
    "replicaset-controller",
    "root-ca-certificate-publisher-controller",
    "serviceaccount-controller",
    "serviceaccount-token-controller",
];

/// Where a cluster keeps its files and is reached.
#[derive(Debug)]
pub(super) struct Places {
    directory: PathBuf,
    address: Ipv4Addr,
}

impl Places {
    pub(super) fn new(directory: &Path, address: Ipv4Addr) -> Self {
        Self { directory: directory.to_owned(), address }
    }

    pub(super) fn url(&self) -> String {
        format!("https://{}:{PORT}", self.address)
    }

    /// A file or directory of the cluster.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// The data.
    pub(super) fn etcd(&self) -> PathBuf {
        self.file("etcd")
    }

    /// The API server's certificate, followed by that of the authority it made for it: what
    /// clients trust. It exists once the API server serves, and stays.
    pub(super) fn authority(&self) -> PathBuf {
        self.certificates().join("apiserver.crt")
    }

    pub(super) fn tokens(&self) -> PathBuf {
        self.file("tokens.csv")
    }

    /// Signs the tokens of service accounts.
    pub(super) fn account_key(&self) -> PathBuf {
        self.file("service-accounts.key")
    }

    fn certificates(&self) -> PathBuf {
        self.file("certificates")
    }
}

pub(super) fn etcd(programs: &Programs, places: &Places) -> Program {
    Program::new(programs.etcd()).args(flag("data-dir", places.etcd())).args([
        format!("--listen-client-urls={ETCD}"),
        format!("--advertise-client-urls={ETCD}"),
        format!("--listen-peer-urls={ETCD_PEERS}"),
        format!("--initial-advertise-peer-urls={ETCD_PEERS}"),
        format!("--initial-cluster=default={ETCD_PEERS}"),
        // The data has to outlive processes, not the machine.
        "--unsafe-no-fsync".to_owned(),
        // An election of one: nobody else has to be waited for.
        "--heartbeat-interval=20".to_owned(),
        "--election-timeout=200".to_owned(),
        "--log-level=warn".to_owned(),
    ])
}

pub(super) fn api_server(programs: &Programs, places: &Places) -> Program {
    Program::new(programs.api_server())
        .args([
            format!("--etcd-servers={ETCD}"),
            "--bind-address=::".to_owned(),
            format!("--secure-port={PORT}"),
            format!("--advertise-address={}", places.address),
            format!("--service-cluster-ip-range={SERVICE_RANGES}"),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            "--authorization-mode=RBAC".to_owned(),
            "--allow-privileged".to_owned(),
            // As on OpenShift: who makes an owner wait for its object must have a right on the owner.
            "--enable-admission-plugins=OwnerReferencesPermissionEnforcement".to_owned(),
            // A new Node is ready when it says so: nobody here would take the taint away.
            "--disable-admission-plugins=TaintNodesByCondition".to_owned(),
            // Without it, a stop waits up to a minute for clients that keep their watches.
            "--shutdown-watch-termination-grace-period=1s".to_owned(),
        ])
        .args(flag("cert-dir", places.certificates()))
        .args(flag("token-auth-file", places.tokens()))
        .args(flag("service-account-key-file", places.account_key()))
        .args(flag("service-account-signing-key-file", places.account_key()))
}

pub(super) fn controller_manager(
    programs: &Programs,
    places: &Places,
    kubeconfig: &Path,
) -> Program {
    Program::new(programs.controller_manager())
        .args(flag("kubeconfig", kubeconfig))
        .args(flag("service-account-private-key-file", places.account_key()))
        .args(flag("root-ca-file", places.authority()))
        .args([
            format!("--controllers={}", CONTROLLERS.join(",")),
            "--leader-elect=false".to_owned(),
            // Nobody asks it anything.
            "--secure-port=0".to_owned(),
            // It shall not be what a test of many objects waits for.
            "--kube-api-qps=500".to_owned(),
            "--kube-api-burst=1000".to_owned(),
        ])
}

fn flag(name: &str, value: impl AsRef<Path>) -> [std::ffi::OsString; 2] {
    [format!("--{name}").into(), value.as_ref().into()]
}

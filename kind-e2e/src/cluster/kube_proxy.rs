//! kube-proxy on a worker: what makes Services answer there.

use std::ffi::OsString;
use std::time::Duration;

use anyhow::Context;
use serde_json::{Value, json};

use super::{Cluster, Worker, options};
use crate::{Process, Program, Result};

/// Of all workers.
const PODS: &str = "10.244.0.0/16,fd00:10:244::/48";
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// How kube-proxy tells the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyMode {
    /// By nftables.
    Nftables,
    /// By iptables, as most clusters still do; the programs `iptables` and `ip6tables` are needed.
    Iptables,
}

/// Starts it; when this returns, its first rules are in the kernel.
pub(super) fn start(cluster: &Cluster, worker: &Worker, mode: ProxyMode) -> Result<Process> {
    worker.route_services(options::SERVICE_RANGES)?;
    let config = cluster.places.file(&format!("kube-proxy-{}.json", worker.name()));
    std::fs::write(&config, configuration(cluster, worker, mode).to_string())?;
    let program = Program::new(cluster.programs.kube_proxy()?)
        .arg(format!("--config={}", config.display()))
        .arg("--v=2")
        // It calls `nft` or `iptables` itself.
        .env("PATH", with_sbin());
    let process = Process::spawn(worker.namespace().clone(), program)?;
    process
        .wait_for_line("SyncProxyRules complete", START_TIMEOUT)
        .with_context(|| format!("kube-proxy on {}", worker.name()))?;
    Ok(process)
}

/// Those directories are not on the `PATH` of ordinary users.
fn with_sbin() -> OsString {
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/local/sbin:/usr/sbin:/sbin");
    path
}

fn configuration(cluster: &Cluster, worker: &Worker, mode: ProxyMode) -> Value {
    let mode = match mode {
        ProxyMode::Nftables => "nftables",
        ProxyMode::Iptables => "iptables",
    };
    // Often: by default it is for clusters of thousands of Services.
    let sync = json!({"minSyncPeriod": "100ms", "syncPeriod": "30s"});
    json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": cluster.proxy_kubeconfig},
        "hostnameOverride": worker.name(),
        "mode": mode,
        "clusterCIDR": PODS,
        "nftables": sync,
        "iptables": sync,
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
        // Limits of conntrack and of memory are the host's.
        "conntrack": {
            "maxPerCore": 0,
            "tcpEstablishedTimeout": "0s",
            "tcpCloseWaitTimeout": "0s",
            "udpTimeout": "0s",
            "udpStreamTimeout": "0s",
        },
        "oomScoreAdj": 0,
    })
}

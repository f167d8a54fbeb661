//! kube-proxy on a worker: what makes Services answer there.

use std::time::Duration;

use anyhow::Context;

use super::{Cluster, Worker};
use crate::{Process, Program, Result};

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
    let mode = match mode {
        ProxyMode::Nftables => "nftables",
        ProxyMode::Iptables => "iptables",
    };
    let program = Program::new(cluster.programs.kube_proxy()?)
        .arg(format!("--kubeconfig={}", cluster.proxy_kubeconfig.display()))
        .arg(format!("--hostname-override={}", worker.name()))
        .arg(format!("--proxy-mode={mode}"))
        .args([
            "--cluster-cidr=10.244.0.0/16,fd00:10:244::/48",
            "--healthz-bind-address=127.0.0.1:10256",
            "--metrics-bind-address=127.0.0.1:10249",
            // Limits of conntrack are the host's.
            "--conntrack-max-per-core=0",
            "--conntrack-tcp-timeout-established=0",
            "--conntrack-tcp-timeout-close-wait=0",
            // Seconds by default, for the sake of clusters of thousands of Services.
            "--iptables-min-sync-period=100ms",
            "--nftables-min-sync-period=100ms",
            "--v=2",
        ]);
    let process = Process::spawn(worker.namespace().clone(), program)?;
    process
        .wait_for_line("SyncProxyRules complete", START_TIMEOUT)
        .with_context(|| format!("kube-proxy on {}", worker.name()))?;
    Ok(process)
}

//! Worker nodes: a machine of the lab that is a Node of the cluster.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use super::Cluster;
use crate::namespace::Namespace;
use crate::{Node, Result, eventually};

const LINK_LOCAL_TIMEOUT: Duration = Duration::from_secs(5);

/// A machine that pods can run on. There is no kubelet: [`PodPlayer`](super::PodPlayer) does a
/// part of its work, and the Node object stays as it was made until a test changes it.
#[derive(Clone, Debug)]
pub struct Worker {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    name: String,
    number: u8,
    address: Ipv4Addr,
    namespace: Arc<Namespace>,
    pods: AtomicU16,
}

impl Worker {
    pub(super) fn create(
        cluster: &Cluster,
        node: &Node,
        name: &str,
        number: u8,
        address: Ipv4Addr,
    ) -> Result<Self> {
        ensure!(number < u8::MAX, "a cluster has at most 254 workers");
        let namespace = Arc::clone(&node.namespace);
        namespace.sysctl("net.ipv4.ip_forward", "1")?;
        if ipv6() {
            namespace.sysctl("net.ipv6.conf.all.forwarding", "1")?;
        }
        let name = name.to_owned();
        let shared = Shared { name, number, address, namespace, pods: AtomicU16::new(0) };
        let worker = Self { shared: Arc::new(shared) };
        cluster
            .api()
            .create("/api/v1/nodes", &worker.object())
            .with_context(|| format!("cannot make a Node of {}", node.name()))?;
        Ok(worker)
    }

    /// Its name in the cluster.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// The address it has in the cluster.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        self.shared.address
    }

    /// The addresses of its pods, such as `10.244.1.0/24` and `fd00:10:244:1::/64`.
    #[must_use]
    pub fn pod_ranges(&self) -> [String; 2] {
        let number = self.shared.number;
        [format!("10.244.{number}.0/24"), format!("fd00:10:244:{number:x}::/64")]
    }

    /// What the pods have as next hop, of both families.
    pub(super) fn gateways(&self) -> [IpAddr; 2] {
        self.addresses(1)
    }

    /// A number for a pod, and the addresses that go with it. Numbers come again only after all
    /// others, so that what remembers an address does not meet another pod there.
    pub(super) fn next_pod(&self) -> (u16, [IpAddr; 2]) {
        let number = self.shared.pods.fetch_add(1, Ordering::Relaxed);
        let host = u8::try_from(2 + number % 253).expect("it is at most 254");
        (number, self.addresses(host))
    }

    pub(super) fn namespace(&self) -> &Arc<Namespace> {
        &self.shared.namespace
    }

    /// Leads what goes to the pods of this worker, from another machine, to it. For IPv6 the next
    /// hop is its link-local address: it needs no other.
    pub(super) fn route_from(&self, namespace: &Namespace) -> Result<()> {
        let [four, six] = self.pod_ranges();
        let address = self.address().to_string();
        namespace.ip(&format!("route replace {four} via {address}"))?;
        if !ipv6() {
            return Ok(());
        }
        let there = namespace.ip_json(&["route", "get", &address])?;
        let device = there[0]["dev"].as_str().context("a route has a device")?;
        namespace.ip(&format!("route replace {six} via {} dev {device}", self.link_local()?))
    }

    /// Has the kernel take connections to these ranges for something that can be reached: what is
    /// done to them comes after the look for a route. Other machines have a default route.
    pub(super) fn route_services(&self, ranges: &str) -> Result<()> {
        let device = self.device()?;
        let ranges = ranges.split(',').filter(|range| ipv6() || !range.contains(':'));
        let routes: String =
            ranges.map(|range| format!("route replace {range} dev {device}\n")).collect();
        self.namespace().ip(&routes)
    }

    /// The interface with its address.
    fn device(&self) -> Result<String> {
        let address = self.address().to_string();
        let here = self.namespace().ip_json(&["address", "show", "to", &address])?;
        let device = values(&here).find_map(|link| link["ifname"].as_str());
        let device = device
            .with_context(|| format!("{} does not have the address {address}", self.name()))?;
        Ok(device.to_owned())
    }

    /// Of that interface.
    fn link_local(&self) -> Result<String> {
        let device = self.device()?;
        let show = ["-6", "address", "show", "dev", &device, "scope", "link"];
        // It comes a moment after the carrier.
        eventually(LINK_LOCAL_TIMEOUT, || {
            let found = self.namespace().ip_json(&show)?;
            let found = values(&found).flat_map(|link| values(&link["addr_info"]));
            let found = found.filter_map(|address| address["local"].as_str()).next();
            Ok(found.with_context(|| format!("{device} has no link-local address"))?.to_owned())
        })
    }

    fn addresses(&self, host: u8) -> [IpAddr; 2] {
        let number = self.shared.number;
        let six = [0xfd00, 0x10, 0x244, number.into(), 0, 0, 0, host.into()];
        [Ipv4Addr::new(10, 244, number, host).into(), Ipv6Addr::from(six).into()]
    }

    /// As a kubelet registers it, with what it would report soon after.
    fn object(&self) -> Value {
        let conditions: Vec<_> = [
            ("Ready", "True", "KubeletReady"),
            ("MemoryPressure", "False", "EnoughMemory"),
        ]
        .iter()
        .map(|(kind, status, reason)| json!({"type": kind, "status": status, "reason": reason}))
        .collect();
        let room = json!({"cpu": "8", "memory": "16Gi", "pods": "250"});
        json!({
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": self.name(), "labels": {
                "kubernetes.io/hostname": self.name(),
                "kubernetes.io/os": "linux",
            }},
            "spec": {"podCIDR": self.pod_ranges()[0], "podCIDRs": self.pod_ranges()},
            "status": {
                "addresses": [
                    {"type": "InternalIP", "address": self.address().to_string()},
                    {"type": "Hostname", "address": self.name()},
                ],
                "allocatable": room,
                "capacity": room,
                "conditions": conditions,
                "nodeInfo": node_info(),
            },
        })
    }
}

/// Those of a list. `ip` has empty objects in it for what it does not show.
fn values(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

/// All of it is required; none of it is looked at.
fn node_info() -> Value {
    let names = [
        "architecture",
        "bootID",
        "containerRuntimeVersion",
        "kernelVersion",
        "kubeProxyVersion",
        "kubeletVersion",
        "machineID",
        "operatingSystem",
        "osImage",
        "systemUUID",
    ];
    names
        .iter()
        .map(|name| ((*name).to_owned(), json!("lab")))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// Whether the kernel has it.
pub(super) fn ipv6() -> bool {
    std::path::Path::new("/proc/sys/net/ipv6").exists()
}

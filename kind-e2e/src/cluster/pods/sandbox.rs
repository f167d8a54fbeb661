//! The network of a pod: a namespace of its own, and a cable to its worker.

use std::net::IpAddr;
use std::sync::Arc;

use super::super::worker::{self, Worker};
use crate::namespace::Namespace;
use crate::{Process, Program, Result};

/// A pod's network. It goes away when it and the processes in it are dropped.
///
/// As many CNI plugins have it: no bridge, the worker has a route to each pod, and its end of
/// each cable has the same address, which is the pod's next hop.
#[derive(Debug)]
pub(super) struct Sandbox {
    namespace: Arc<Namespace>,
    addresses: Vec<IpAddr>,
}

impl Sandbox {
    pub(super) fn create(worker: &Worker) -> Result<Self> {
        let (number, addresses) = worker.next_pod();
        let host = worker.namespace();
        let namespace = Namespace::create(format!("{}-p{number}", host.name()))?;
        let device = format!("pod{number}");
        let (mut outside, mut inside) = (String::new(), String::from("link set eth0 up\n"));
        outside +=
            &format!("link add {device} type veth peer name eth0 netns {}\n", namespace.name());
        outside += &format!("link set {device} up\n");
        let families = if worker::ipv6() { 2 } else { 1 };
        for (address, gateway) in addresses.iter().zip(worker.gateways()).take(families) {
            let (bits, nodad) = if address.is_ipv6() { (128, " nodad") } else { (32, "") };
            outside += &format!("address add {gateway}/{bits} dev {device}{nodad}\n");
            outside += &format!("route replace {address}/{bits} dev {device}\n");
            inside += &format!("address add {address}/{bits} dev eth0{nodad}\n");
            inside += &format!("route add default via {gateway} dev eth0 onlink\n");
        }
        host.ip(&outside)?;
        namespace.ip(&inside)?;
        let addresses = addresses.into_iter().take(families).collect();
        Ok(Self { namespace: Arc::new(namespace), addresses })
    }

    /// Runs `work` on a fresh thread in this network.
    pub(super) fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.namespace.enter(work)
    }

    /// IPv4 first.
    pub(super) fn addresses(&self) -> &[IpAddr] {
        &self.addresses
    }

    pub(super) fn spawn(&self, program: Program) -> Result<Process> {
        Process::spawn(Arc::clone(&self.namespace), program)
    }
}

//! Machines.

use std::ffi::OsStr;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, ensure};

use crate::namespace::Namespace;
use crate::{Bridge, Capture, Link, Process, Program, Result};

/// Enough for a one-shot command; [`Node::run_within`] takes another.
const RUN_TIMEOUT: Duration = Duration::from_secs(10);

/// A machine: a network namespace. Files, users and processes are those of the host.
#[derive(Debug)]
pub struct Node {
    name: String,
    number: u16,
    links: AtomicU8,
    /// Held: a scenario that keeps only its nodes keeps its network.
    bridges: Mutex<Vec<Arc<Namespace>>>,
    pub(crate) namespace: Arc<Namespace>,
}

impl Node {
    pub(crate) fn create(name: &str, number: u16, namespace: Namespace) -> Result<Self> {
        if std::path::Path::new("/proc/sys/net/ipv6").exists() {
            // Link-local addresses usable at once, and no traffic the scenario did not ask for.
            namespace.sysctl("net.ipv6.conf.default.accept_dad", "0")?;
            namespace.sysctl("net.ipv6.conf.default.router_solicitations", "0")?;
            // A router that advertises itself (FRR does, for RFC 8950) would add an address, and the node call
            // from that one.
            namespace.sysctl("net.ipv6.conf.default.autoconf", "0")?;
        }
        Ok(Self {
            name: name.to_owned(),
            number,
            links: AtomicU8::new(0),
            bridges: Mutex::default(),
            namespace: Arc::new(namespace),
        })
    }

    /// Its name in the lab.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its place among the nodes of this process, from 1; part of its Ethernet addresses.
    pub(crate) fn number(&self) -> u16 {
        self.number
    }

    /// The name of its namespace, for `ip -n` and `ip netns exec`.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.namespace.name()
    }

    /// Connects the node to `bridge` by its next interface (`eth0`, `eth1` …), with an address
    /// such as `10.77.0.1/24` or `fd77::1/64`. When it returns, frames pass.
    ///
    /// # Errors
    /// When `address` is not of that form.
    pub fn join(&self, bridge: &Bridge, address: &str) -> Result<Link> {
        let link = self.plug(bridge)?;
        link.add_address(address)?;
        Ok(link)
    }

    /// Like [`join`](Self::join), without an address.
    ///
    /// # Errors
    /// When the kernel refuses the interface.
    pub fn plug(&self, bridge: &Bridge) -> Result<Link> {
        let number = self.links.fetch_add(1, Ordering::Relaxed);
        let mut bridges = self.bridges.lock().expect("no holder of the lock panics");
        bridges.push(Arc::clone(&bridge.namespace));
        Link::create(self, bridge, number)
            .with_context(|| format!("cannot connect {} to {}", self.name, bridge.namespace()))
    }

    /// Sets the default route of the gateway's address family.
    ///
    /// # Errors
    /// When no link of the node leads to `gateway`.
    pub fn default_route(&self, gateway: &str) -> Result<()> {
        self.namespace.ip(&format!("route replace default via {gateway}"))
    }

    /// Sets a sysctl of this node, such as `net.ipv4.ip_forward`.
    ///
    /// # Errors
    /// When it does not exist, or is not one of a network namespace.
    pub fn sysctl(&self, name: &str, value: &str) -> Result<()> {
        ensure!(name.starts_with("net."), "{name} would change the host, not the node");
        self.namespace.sysctl(name, value)
    }

    /// Starts a program on the node. It ends with the returned handle, and with this process.
    ///
    /// # Errors
    /// When the program does not exist.
    pub fn spawn(&self, program: impl Into<Program>) -> Result<Process> {
        Process::spawn(Arc::clone(&self.namespace), program.into())
            .with_context(|| format!("on {}", self.name))
    }

    /// Runs a command on the node to its end, at most 10 s, and returns its standard output.
    ///
    /// # Errors
    /// When it fails or does not end; with what it printed.
    pub fn run<S: AsRef<OsStr>>(
        &self,
        command: &str,
        arguments: impl IntoIterator<Item = S>,
    ) -> Result<String> {
        self.run_within(RUN_TIMEOUT, Program::new(command).args(arguments))
    }

    /// Runs a program on the node to its end, at most `timeout` (times the patience).
    ///
    /// # Errors
    /// When it fails or does not end; with what it printed.
    pub fn run_within(&self, timeout: Duration, program: impl Into<Program>) -> Result<String> {
        let mut process = self.spawn(program)?;
        let ended = process.wait(timeout).with_context(|| format!("on {}", self.name))?;
        ensure!(
            ended.success(),
            "on {}: {} ended with {ended}\n{}",
            self.name,
            process.name(),
            process.tail()
        );
        Ok(process.output().stdout_text())
    }

    /// Runs `work` on a fresh thread inside the node, so that the sockets it opens are the
    /// node's. They stay so when they are handed out.
    ///
    /// # Panics
    /// When `work` panics.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.namespace.enter(work)
    }

    /// Captures the frames of `interface` that match `filter` (pcap-filter(7); empty for all).
    /// When it returns, no later frame is missed.
    ///
    /// # Errors
    /// When tcpdump, which compiles filters other than `arp`, is missing or refuses it.
    pub fn capture(&self, interface: &str, filter: &str) -> Result<Capture> {
        Capture::start(self, interface, filter)
    }
}

//! Cables: a veth pair from a node to a port of a bridge, and the ways they fail.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, ensure};
use ipnet::IpNet;

use crate::bridge::DEVICE;
use crate::namespace::Namespace;
use crate::{Bridge, Mac, Node, Result, eventually};

/// The kernel reports carrier of a veth at once; a loaded machine may take its time.
const CARRIER_TIMEOUT: Duration = Duration::from_secs(5);

/// A cable between a node and a bridge.
#[derive(Debug)]
pub struct Link {
    node: Arc<Namespace>,
    bridge: Arc<Namespace>,
    name: String,
    port: String,
    mac: Mac,
    addresses: Mutex<Vec<IpNet>>,
}

impl Link {
    pub(crate) fn create(node: &Node, bridge: &Bridge, number: u8) -> Result<Self> {
        let name = format!("eth{number}");
        let link = Self {
            port: format!("{}-{name}", node.name()),
            mac: Mac::of_link(node.number(), number),
            node: Arc::clone(&node.namespace),
            bridge: Arc::clone(&bridge.namespace),
            addresses: Mutex::default(),
            name,
        };
        let Self { name, port, mac, .. } = &link;
        link.node.ip(&format!(
            "link add {name} address {mac} type veth peer name {port} netns {}\n\
             link set {name} up",
            link.bridge.name()
        ))?;
        link.restore()?;
        Ok(link)
    }

    /// The interface on the node: `eth0`, `eth1` … in the order they were joined.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The Ethernet address of the node on this link.
    #[must_use]
    pub fn mac(&self) -> Mac {
        self.mac
    }

    /// The first address the node got on this link.
    ///
    /// # Panics
    /// When it got none.
    #[must_use]
    pub fn ip(&self) -> IpAddr {
        let addresses = self.addresses.lock().expect("no holder panics");
        addresses.first().expect("the node was joined with an address").addr()
    }

    /// Gives the node one more address, usable at once (IPv6 without duplicate detection).
    ///
    /// # Errors
    /// When `address` is not of the form `10.77.0.1/24` or `fd77::1/64`, or is there already.
    pub fn add_address(&self, address: &str) -> Result<()> {
        let address: IpNet =
            address.parse().with_context(|| format!("{address:?} is not ADDRESS/PREFIX"))?;
        self.node.ip(&format!("address add {}", self.on_device(address)))?;
        self.addresses.lock().expect("no holder panics").push(address);
        Ok(())
    }

    /// Pulls the cable: the node's interface stays up but loses its carrier.
    ///
    /// # Errors
    /// When the kernel does not report it within 5 s.
    pub fn cut(&self) -> Result<()> {
        self.bridge.ip(&format!("link set {} down", self.port))?;
        eventually(CARRIER_TIMEOUT, || {
            let state = operstate(&self.node, &self.name)?;
            ensure!(state != "UP", "{} of {} still has carrier", self.name, self.node.name());
            Ok(())
        })
    }

    /// The cable looks well and carries nothing, as behind a dead switch: the carrier stays.
    ///
    /// # Errors
    /// When the port is gone.
    pub fn cut_silently(&self) -> Result<()> {
        self.bridge.ip(&format!("link set {} nomaster", self.port))
    }

    /// Sets the node's interface down, as `ip link set eth0 down` there. The kernel forgets the
    /// routes through it, and its IPv6 addresses.
    ///
    /// # Errors
    /// When the interface is gone.
    pub fn down(&self) -> Result<()> {
        self.node.ip(&format!("link set {} down", self.name))
    }

    /// Undoes any of [`cut`](Self::cut), [`cut_silently`](Self::cut_silently) and
    /// [`down`](Self::down), puts back the addresses the kernel forgot (routes, such as the
    /// default route, are the scenario's), and returns when frames pass.
    ///
    /// # Errors
    /// When they do not within 5 s.
    pub fn restore(&self) -> Result<()> {
        let Self { name, port, .. } = self;
        self.bridge.ip(&format!("link set {port} master {DEVICE}\nlink set {port} up"))?;
        self.node.ip(&format!("link set {name} up"))?;
        for address in self.addresses.lock().expect("no holder panics").iter() {
            self.node.ip(&format!("address replace {}", self.on_device(*address)))?;
        }
        eventually(CARRIER_TIMEOUT, || {
            let state = operstate(&self.node, name)?;
            ensure!(state == "UP", "{name} of {} is {state}", self.node.name());
            let info = self.bridge.ip_json(&["link", "show", "dev", port])?;
            let state = &info[0]["linkinfo"]["info_slave_data"]["state"];
            ensure!(state == "forwarding", "port {port} of the bridge is {state}");
            Ok(())
        })
    }

    fn on_device(&self, address: IpNet) -> String {
        let nodad = if address.addr().is_ipv6() { " nodad" } else { "" };
        format!("{address} dev {}{nodad}", self.name)
    }
}

fn operstate(namespace: &Namespace, device: &str) -> Result<String> {
    let info = namespace.ip_json(&["link", "show", "dev", device])?;
    Ok(info[0]["operstate"].as_str().unwrap_or("unknown").to_owned())
}

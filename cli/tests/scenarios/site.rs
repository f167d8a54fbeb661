//! The usual site: a client, the node that runs vipgate, and servers, on one bridge.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use vipgate_lab::{Bridge, Lab, Link, Node, Process, Program, Result, eventually, patience};

/// The binary under test.
pub(crate) const VIPGATE: &str = env!("CARGO_BIN_EXE_vipgate");
/// The first address of the pool.
pub(crate) const VIP: &str = "10.77.0.200";
/// The same of IPv6.
pub(crate) const VIP6: &str = "fd77::200";
/// Long enough for a probe, a plan and a slow machine.
pub(crate) const SOON: Duration = Duration::from_secs(10);

/// Machines, and a directory of manifests.
pub(crate) struct Site {
    pub(crate) client: Node,
    pub(crate) node: Node,
    pub(crate) servers: Node,
    pub(crate) on_client: Link,
    pub(crate) on_node: Link,
    pub(crate) on_servers: Link,
    _lan: Bridge,
    pub(crate) lab: Lab,
    pub(crate) manifests: PathBuf,
    scratch: TempDir,
}

impl Site {
    pub(crate) fn new(name: &str) -> Self {
        Self::build(name).expect("a lab can be built")
    }

    fn build(name: &str) -> Result<Self> {
        let lab = Lab::new(name)?;
        let lan = lab.bridge("lan")?;
        let (client, node, servers) =
            (lab.node("client")?, lab.node("node")?, lab.node("servers")?);
        let on_client = client.join(&lan, "10.77.0.10/24")?;
        let on_node = node.join(&lan, "10.77.0.1/24")?;
        let on_servers = servers.join(&lan, "10.77.0.2/24")?;
        let scratch = tempfile::tempdir()?;
        let manifests = scratch.path().join("manifests");
        fs::create_dir(&manifests)?;
        Ok(Self {
            client,
            node,
            servers,
            on_client,
            on_node,
            on_servers,
            _lan: lan,
            lab,
            manifests,
            scratch,
        })
    }

    /// Writes a manifest as editors do: beside it, then renamed over it.
    pub(crate) fn write(&self, file: &str, text: &str) {
        let new = self.scratch.path().join("new");
        fs::write(&new, text).unwrap();
        fs::rename(&new, self.manifests.join(file)).unwrap();
    }

    /// Class, a pool of three addresses from [`VIP`] on, one Gateway `web` with a listener `tcp` on
    /// port 80, a route `web` to the Backend `web`, and the Backend with these endpoints.
    pub(crate) fn write_web(&self, endpoints: &[&str]) {
        self.write("pool.yaml", &pool("10.77.0.200-10.77.0.202"));
        self.write("gateway.yaml", &gateway("web", &[("tcp", 80)]));
        self.write("route.yaml", &route("web", "web", "tcp", "web"));
        self.write("backend.yaml", &backend("web", endpoints));
    }

    /// Starts vipgate on the node.
    pub(crate) fn start(&self) -> Vipgate {
        self.start_with(&self.manifests, &[])
    }

    /// Starts vipgate on the node, on another directory or with more arguments.
    pub(crate) fn start_with(&self, directory: &Path, arguments: &[&str]) -> Vipgate {
        let admin = self.scratch.path().join("admin.sock");
        let program = Program::new(VIPGATE)
            .args(["run", "--node", "node", "--state"])
            .arg(self.scratch.path().join("state.json"))
            .arg("--admin")
            .arg(&admin)
            .args(arguments)
            .arg(directory);
        let process = self.node.spawn(program).expect("vipgate starts");
        Vipgate { process, admin }
    }

    /// Asks a running vipgate until nothing is wrong with it and it has VIPs.
    pub(crate) fn healthy(&self, vipgate: &Vipgate) -> Value {
        eventually(SOON, || {
            let report = vipgate.report(&self.node)?;
            anyhow::ensure!(report["problems"] == Value::Array(vec![]), "{}", report["problems"]);
            anyhow::ensure!(report["vips"][0] != Value::Null, "no VIP yet");
            Ok(report)
        })
        .expect("vipgate becomes healthy")
    }

    /// Gives the servers' machine an address and starts a greeting echo server on it.
    pub(crate) fn echo(&self, address: &str) -> vipgate_lab::servers::Echo {
        let address: SocketAddr = address.parse().unwrap();
        self.server_address(address.ip());
        vipgate_lab::servers::echo(&self.servers, address, &address.to_string()).unwrap()
    }

    /// Gives the servers' machine an address, if it has not got it.
    pub(crate) fn server_address(&self, address: IpAddr) {
        let _ = self.on_servers.add_address(&format!("{address}/24"));
    }

    /// A connection from the client.
    pub(crate) fn connect(&self, to: &str) -> std::io::Result<TcpStream> {
        let to: SocketAddr = to.parse().expect("an address and a port");
        let stream = self
            .client
            .enter(|| TcpStream::connect_timeout(&to, patience(Duration::from_secs(3))))?;
        stream.set_read_timeout(Some(patience(Duration::from_secs(5))))?;
        Ok(stream)
    }

    /// The line that the server behind an address says first.
    pub(crate) fn greeting(&self, to: &str) -> std::io::Result<String> {
        greeting_of(self.connect(to)?)
    }

    /// Whether a VIP is an address of the node.
    pub(crate) fn has_address(&self, vip: &str) -> bool {
        let addresses = self.node.run("ip", ["-4", "-o", "addr", "show"]).unwrap();
        addresses.contains(&format!(" {vip}/32 "))
    }

    /// How many ARP replies one request for an address gets, and from whom.
    pub(crate) fn who_has(&self, address: &str) -> Vec<String> {
        let program = Program::new("arping").args(["-I", "eth0", "-c", "1", "-w", "1", address]);
        let capture = self.client.capture("eth0", "arp").unwrap();
        let _ = self.client.run_within(SOON, program);
        std::thread::sleep(Duration::from_millis(300));
        let frames = capture.stop().unwrap();
        let replies = frames.iter().filter_map(|frame| frame.arp()).filter(|arp| {
            arp.op == vipgate_lab::ArpOp::Reply
                && arp.sender_ip.to_string() == address
                && arp.eth_dst == self.on_client.mac()
        });
        replies.map(|arp| arp.sender_mac.to_string()).collect()
    }
}

/// The line that comes first on a connection.
pub(crate) fn greeting_of(connection: TcpStream) -> std::io::Result<String> {
    let mut line = String::new();
    BufReader::new(connection).read_line(&mut line)?;
    Ok(line.trim_end().to_owned())
}

/// A running vipgate.
pub(crate) struct Vipgate {
    pub(crate) process: Process,
    pub(crate) admin: PathBuf,
}

impl Vipgate {
    /// What `vipgate status` says, for programs.
    pub(crate) fn report(&self, node: &Node) -> Result<Value> {
        Ok(serde_json::from_str(&self.status(node, &["-o", "report"])?)?)
    }

    /// `vipgate status`; an error when it exits with another code than 0.
    pub(crate) fn status(&self, node: &Node, arguments: &[&str]) -> Result<String> {
        let program =
            Program::new(VIPGATE).args(["status", "--admin"]).arg(&self.admin).args(arguments);
        node.run_within(SOON, program)
    }
}

pub(crate) fn pool(addresses: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\n\
         kind: GatewayClass\n\
         metadata: {{name: vipgate}}\n\
         spec: {{controllerName: vipgate.dev/gateway-controller}}\n\
         ---\n\
         apiVersion: vipgate.dev/v1alpha1\n\
         kind: IPAddressPool\n\
         metadata: {{name: lan, namespace: vipgate-system}}\n\
         spec: {{addresses: [{addresses}]}}\n"
    )
}

pub(crate) fn gateway(name: &str, listeners: &[(&str, u16)]) -> String {
    let listeners = listeners
        .iter()
        .map(|(name, port)| format!("  - {{name: {name}, protocol: TCP, port: {port}}}\n"))
        .collect::<String>();
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\n\
         kind: Gateway\n\
         metadata: {{name: {name}, namespace: default}}\n\
         spec:\n  gatewayClassName: vipgate\n  listeners:\n{listeners}"
    )
}

pub(crate) fn route(name: &str, gateway: &str, listener: &str, backend: &str) -> String {
    weighted_route(name, gateway, listener, &[(backend, 1)])
}

pub(crate) fn weighted_route(
    name: &str,
    gateway: &str,
    listener: &str,
    backends: &[(&str, u32)],
) -> String {
    let backends = backends
        .iter()
        .map(|(name, weight)| {
            format!("    - {{group: vipgate.dev, kind: Backend, name: {name}, weight: {weight}}}\n")
        })
        .collect::<String>();
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\n\
         kind: TCPRoute\n\
         metadata: {{name: {name}, namespace: default}}\n\
         spec:\n  parentRefs: [{{name: {gateway}, sectionName: {listener}}}]\n  \
         rules:\n  - backendRefs:\n{backends}"
    )
}

pub(crate) fn backend(name: &str, endpoints: &[&str]) -> String {
    let endpoints = endpoints
        .iter()
        .map(|endpoint| {
            let (address, port) = endpoint.rsplit_once(':').expect("address:port");
            format!("  - {{address: \"{address}\", port: {port}}}\n")
        })
        .collect::<String>();
    format!(
        "apiVersion: vipgate.dev/v1alpha1\n\
         kind: Backend\n\
         metadata: {{name: {name}, namespace: default}}\n\
         spec:\n  endpoints:\n{endpoints}"
    )
}

//! The usual cluster: a control plane, a node with a speaker, servers and a client, on one bridge.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use vipgate_lab::cluster::{Channel, Chart, Cluster, Patch, Snapshot};
use vipgate_lab::servers::Echo;
use vipgate_lab::{
    ArpOp, Bridge, Lab, Link, Mac, Node, Process, Program, Result, eventually, patience,
};

const VIPGATE: &str = env!("CARGO_BIN_EXE_vipgate");
/// Long enough for a probe, a plan, some writes and a slow machine.
pub(crate) const SOON: Duration = Duration::from_secs(20);
/// Where vipgate is installed.
pub(crate) const NAMESPACE: &str = "vipgate-system";
/// The first address of the pool.
pub(crate) const VIP: &str = "10.77.0.200";
/// The first IPv6 address of a pool of both families.
pub(crate) const VIP6: &str = "fd77::200";

/// Machines around an API server.
pub(crate) struct Site {
    pub(crate) cluster: Cluster,
    chart: OnceLock<Chart>,
    pub(crate) client: Node,
    pub(crate) worker: Node,
    pub(crate) controllers: Node,
    pub(crate) servers: Node,
    pub(crate) cables: Cables,
    pub(crate) lan: Bridge,
    pub(crate) lab: Lab,
}

/// Those of the machines.
pub(crate) struct Cables {
    pub(crate) worker: Link,
    servers: Link,
    client: Link,
    _others: [Link; 2],
}

impl Site {
    /// With the CRDs of the newest Gateway API, and the chart.
    pub(crate) fn new(name: &str) -> Self {
        // Installed once, by the first of the tests.
        static INSTALLED: OnceLock<(Snapshot, Chart)> = OnceLock::new();
        let (stored, chart) = INSTALLED.get_or_init(|| {
            let site = Self::bare("install").expect("a cluster can be built");
            let installed = site.cluster.install_gateway_api("1.6.1", Channel::Standard);
            installed.expect("CRDs are accepted");
            site.install_chart();
            let chart = site.chart.into_inner().expect("the chart was installed");
            (site.cluster.into_snapshot().expect("a cluster ends"), chart)
        });
        let start = |node, address| Cluster::start_from(stored, node, address);
        let site = Self::with(name, start).expect("a cluster can be built");
        let chart = chart.on(&site.cluster).expect("the chart is there");
        site.chart.get_or_init(|| chart);
        site
    }

    /// Without any CRD.
    pub(crate) fn bare(name: &str) -> Result<Self> {
        Self::with(name, Cluster::start)
    }

    fn with(name: &str, start: impl Fn(Node, Ipv4Addr) -> Result<Cluster>) -> Result<Self> {
        let lab = Lab::new(name)?;
        let lan = lab.bridge("lan")?;
        let node = |name: &str, address: &str| -> Result<(Node, Link)> {
            let node = lab.node(name)?;
            let cable = node.join(&lan, &format!("{address}/24"))?;
            Ok((node, cable))
        };
        let (plane, on_plane) = node("cp", "10.77.0.1")?;
        let (worker, on_worker) = node("worker", "10.77.0.2")?;
        let (controllers, on_controllers) = node("ctl", "10.77.0.3")?;
        let (servers, on_servers) = node("servers", "10.77.0.4")?;
        let (client, on_client) = node("client", "10.77.0.5")?;
        let cluster = start(plane, "10.77.0.1".parse()?)?;
        Ok(Self {
            cluster,
            chart: OnceLock::new(),
            client,
            worker,
            controllers,
            servers,
            cables: Cables {
                worker: on_worker,
                servers: on_servers,
                client: on_client,
                _others: [on_plane, on_controllers],
            },
            lan,
            lab,
        })
    }

    /// The chart, as `helm install` and `helm upgrade` do it; see [`Chart`].
    pub(crate) fn install_chart(&self) {
        let chart = self.cluster.install_chart(NAMESPACE, &[]).expect("the chart is accepted");
        // As a controller would; many tests have none.
        let _ = self.cluster.apply(GROUP_KEY);
        // After an upgrade accounts and workloads are the same.
        self.chart.get_or_init(|| chart);
    }

    /// The chart that was installed.
    pub(crate) fn chart(&self) -> &Chart {
        self.chart.get().expect("the chart is installed first")
    }

    /// A controller of this name, as the chart runs it.
    pub(crate) fn controller(&self, name: &str) -> Process {
        self.controller_of(self.chart(), name)
    }

    /// A controller as a chart with other settings runs it.
    pub(crate) fn controller_of(&self, chart: &Chart, name: &str) -> Process {
        self.controller_that_logs(chart, name, "info,kube=warn")
    }

    /// A controller that logs what `log` says (`VIPGATE_LOG`).
    pub(crate) fn controller_that_logs(&self, chart: &Chart, name: &str, log: &str) -> Process {
        // A Speaker counts while there is its Node.
        self.has_node("worker");
        let node = ("ctl", "10.77.0.3".parse().unwrap());
        let program = chart.program("vipgate-controller", VIPGATE, name, node).unwrap();
        self.controllers.spawn(program.env("VIPGATE_LOG", log)).unwrap()
    }

    /// Sees to it that the cluster has a Node of this name.
    pub(crate) fn has_node(&self, name: &str) {
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}});
        // It may be there: as a worker with pods, or of a test's own making.
        drop(self.cluster.api().create("/api/v1/nodes", &node));
    }

    /// The speaker of the node `worker`, as the chart runs it.
    pub(crate) fn speaker(&self) -> Process {
        self.speaker_on(&self.worker, "worker", "10.77.0.2")
    }

    /// The speaker of another node, which has this address.
    pub(crate) fn speaker_on(&self, machine: &Node, node: &str, address: &str) -> Process {
        let pod = format!("speaker-{node}");
        machine.spawn(self.speaker_program(&pod, node, address)).unwrap()
    }

    /// The same, not yet started, in a pod of this name, which its state and admin socket have too.
    pub(crate) fn speaker_program(&self, pod: &str, node: &str, address: &str) -> Program {
        let at = (node, address.parse().unwrap());
        let program = self.chart().program("vipgate-speaker", VIPGATE, pod, at).unwrap();
        program
            .args(["--drain-timeout", "1", "--state"])
            .arg(self.cluster.directory().join(format!("{pod}.json")))
            .arg("--admin")
            .arg(self.cluster.directory().join(format!("{pod}.sock")))
            .env("VIPGATE_LOG", "info,kube=warn")
    }

    fn admin(&self) -> std::path::PathBuf {
        self.cluster.directory().join("speaker-worker.sock")
    }

    /// What `vipgate status` says of the speaker of `worker`.
    pub(crate) fn status(&self) -> Result<Value> {
        let program = Program::new(VIPGATE)
            .args(["status", "--output", "report", "--admin"])
            .arg(self.admin());
        Ok(serde_json::from_str(&self.worker.run_within(SOON, program)?)?)
    }

    /// Runs vipgate as somebody with a kubeconfig does.
    pub(crate) fn vipgate(&self, arguments: &[&str]) -> Result<String> {
        let kubeconfig = self.cluster.kubeconfig();
        let program = Program::new(VIPGATE).args(arguments).arg("--kubeconfig").arg(kubeconfig);
        self.client.run_within(SOON, program)
    }

    /// What `vipgate why` says, whether or not a link is broken.
    pub(crate) fn why(&self, arguments: &[&str]) -> Result<String> {
        let program = Program::new(VIPGATE).arg("why").args(arguments).arg("--kubeconfig");
        let mut process = self.client.spawn(program.arg(self.cluster.kubeconfig()))?;
        process.wait(SOON)?;
        Ok(process.output().stdout_text())
    }

    /// Says as the speaker of a node that these are its VIPs, and that it serves every Gateway as it
    /// is now.
    pub(crate) fn says(&self, node: &str, vips: Value) {
        self.apply(&format!(
            "apiVersion: vipgate.dev/v1alpha1\nkind: Speaker\nmetadata: {{name: {node}}}\n"
        ));
        let gateways = self.cluster.get(["gateways", "--all-namespaces"]).unwrap();
        let plan: Vec<Value> = (gateways["items"].as_array().into_iter().flatten())
            .map(|gateway| {
                let metadata = &gateway["metadata"];
                json!({"kind": "Gateway", "namespace": metadata["namespace"],
                    "name": metadata["name"], "generation": metadata["generation"],
                    "uid": metadata["uid"]})
            })
            .collect();
        let patch = json!({"status": {"vips": vips, "plan": plan}});
        let status = format!("/apis/vipgate.dev/v1alpha1/speakers/{node}/status");
        self.cluster.api().patch(&status, Patch::Merge, &patch).unwrap();
    }

    pub(crate) fn apply(&self, manifest: &str) {
        self.cluster.apply(manifest).unwrap();
    }

    /// Class and a pool of eight addresses from [`VIP`] on.
    pub(crate) fn apply_pool(&self) {
        self.apply(CLASS);
        self.apply(&pool("10.77.0.200-10.77.0.207"));
    }

    /// Gives the worker, the servers and the client IPv6 addresses as well, `fd77::2`, `fd77::4` and
    /// `fd77::5`, and makes class and pool as [`Site::apply_pool`] does, of both families: [`VIP6`] is
    /// the first.
    pub(crate) fn apply_dual_pool(&self) {
        let Cables { worker, servers, client, .. } = &self.cables;
        for (cable, address) in
            [(worker, "fd77::2/64"), (servers, "fd77::4/64"), (client, "fd77::5/64")]
        {
            cable.add_address(address).unwrap();
        }
        self.apply(CLASS);
        self.apply(&pool("10.77.0.200-10.77.0.207, 'fd77::200-fd77::207'"));
    }

    /// A server that says `name` first.
    pub(crate) fn echo(&self, port: u16, name: &str) -> Echo {
        let address = SocketAddr::new("10.77.0.4".parse().unwrap(), port);
        vipgate_lab::servers::echo(&self.servers, address, name).unwrap()
    }

    /// An object as JSON.
    pub(crate) fn get(&self, kind: &str, name: &str) -> Result<Value> {
        self.cluster.get([kind, name])
    }

    /// Waits until a condition of an object has this status and reason; returns the object.
    pub(crate) fn condition(&self, kind: &str, name: &str, condition: &str, is: &str) -> Value {
        eventually(SOON, || {
            let object = self.get(kind, name)?;
            let conditions = &object["status"]["conditions"];
            let found = said(conditions, condition).context(condition.to_owned())?;
            ensure!(found == is, "{kind} {name}: {condition}={found}: {conditions}");
            Ok(object)
        })
        .unwrap()
    }

    /// Who answers the client when it asks for an address by ARP, twice.
    pub(crate) fn who_has(&self, address: &str) -> BTreeSet<Mac> {
        let capture = self.client.capture("eth0", "arp").unwrap();
        let program = Program::new("arping").args(["-I", "eth0", "-c", "2", "-w", "2", address]);
        // It fails when nobody answers.
        let _ = self.client.run_within(SOON, program);
        let frames = capture.stop().unwrap();
        let asked = |arp: &vipgate_lab::Arp| arp.op == ArpOp::Request;
        let arps = frames.iter().filter_map(|frame| frame.arp());
        let (requests, others): (Vec<_>, Vec<_>) = arps.partition(asked);
        let of_ours = |arp: &&vipgate_lab::Arp| arp.target_ip.to_string() == address;
        assert!(requests.iter().any(|arp| of_ours(&arp)), "nobody asked for {address}");
        let answers = others.iter().filter(|arp| arp.op == ArpOp::Reply);
        let answers = answers.filter(|arp| arp.sender_ip.to_string() == address);
        answers.map(|arp| arp.sender_mac).collect()
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

    /// The same, from one who does not wait for long.
    pub(crate) fn greeting_within(&self, to: &str, within: Duration) -> std::io::Result<String> {
        let to: SocketAddr = to.parse().expect("an address and a port");
        let stream = self.client.enter(|| TcpStream::connect_timeout(&to, within))?;
        stream.set_read_timeout(Some(within * 5))?;
        greeting_of(stream)
    }
}

/// The line that comes first on a connection.
pub(crate) fn greeting_of(stream: TcpStream) -> std::io::Result<String> {
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    Ok(line.trim_end().to_owned())
}

/// `True/Programmed` of a condition.
pub(crate) fn said(conditions: &Value, kind: &str) -> Option<String> {
    let found = conditions.as_array()?.iter().find(|condition| condition["type"] == kind)?;
    let text = |field: &str| found[field].as_str().unwrap_or("?").to_owned();
    Some(format!("{}/{}", text("status"), text("reason")))
}

const GROUP_KEY: &str = "apiVersion: v1\nkind: Secret\nmetadata: {name: vipgate-group, \
    namespace: vipgate-system}\ntype: vipgate.dev/group-key\n\
    stringData: {keys: MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=}\n";

pub(crate) const CLASS: &str = "apiVersion: gateway.networking.k8s.io/v1\nkind: GatewayClass\n\
    metadata: {name: vipgate}\nspec: {controllerName: vipgate.dev/gateway-controller}\n";

pub(crate) fn pool(addresses: &str) -> String {
    format!(
        "apiVersion: vipgate.dev/v1alpha1\nkind: IPAddressPool\n\
         metadata: {{name: pool, namespace: vipgate-system}}\nspec: {{addresses: [{addresses}]}}\n"
    )
}

pub(crate) fn gateway(name: &str, listeners: &[(&str, u16)]) -> String {
    let listeners: Vec<String> = listeners
        .iter()
        .map(|(name, port)| format!("{{name: {name}, protocol: TCP, port: {port}}}"))
        .collect();
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {{name: {name}}}\n\
         spec: {{gatewayClassName: vipgate, listeners: [{}]}}\n",
        listeners.join(", ")
    )
}

pub(crate) fn route(version: &str, name: &str, gateway: &str, backend: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/{version}\nkind: TCPRoute\nmetadata: {{name: {name}}}\n\
         spec:\n  parentRefs: [{{name: {gateway}}}]\n  rules:\n  - backendRefs: \
         [{{group: vipgate.dev, kind: Backend, name: {backend}}}]\n"
    )
}

pub(crate) fn backend(name: &str, port: u16) -> String {
    format!(
        "apiVersion: vipgate.dev/v1alpha1\nkind: Backend\nmetadata: {{name: {name}}}\n\
         spec: {{endpoints: [{{address: 10.77.0.4, port: {port}}}]}}\n"
    )
}

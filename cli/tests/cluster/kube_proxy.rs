//! Services through the kernel: the controller gives the address, the speaker announces it, and the
//! real kube-proxy leads to real pods. And a Gateway, whose address kube-proxy leaves alone.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use vipgate_lab::cluster::{Images, PodPlayer, ProxyMode};
use vipgate_lab::{ArpOp, Node, Process, Result, eventually};

use crate::site::{SOON, Site, VIP, backend, gateway, greeting_of, route};

pub(crate) const ECHO: &str = "apiVersion: apps/v1
kind: Deployment
metadata: {name: echo}
spec:
  replicas: 2
  selector: {matchLabels: {app: echo}}
  template:
    metadata: {labels: {app: echo}}
    spec:
      containers:
      - name: echo
        image: gateway-api/echo-basic
        ports: [{containerPort: 3000}]
        env:
        - {name: POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
        - {name: NAMESPACE, valueFrom: {fieldRef: {fieldPath: metadata.namespace}}}
        - {name: TCP_ECHO_SERVER, value: '1'}
---
apiVersion: v1
kind: Service
metadata: {name: echo}
spec:
  type: LoadBalancer
  loadBalancerClass: vipgate.dev/service
  selector: {app: echo}
  ports: [{port: 80, targetPort: 3000}]
";
/// Not ours; it leads to the pods of the other one.
const FOREIGN: &str = "apiVersion: v1
kind: Service
metadata: {name: foreign}
spec:
  type: LoadBalancer
  loadBalancerClass: example.com/other
  allocateLoadBalancerNodePorts: false
  selector: {app: echo}
  ports: [{name: own, port: 9999, targetPort: 3000}]
";
const STOLEN_PORT: &str = ", {name: stolen, port: 80, targetPort: 3000}]\n";

/// What runs on the two workers. The order is that of dropping.
pub(crate) struct Running {
    _proxies: [Process; 2],
    _pods: PodPlayer,
}

/// Pods and kube-proxies on two nodes: in this mode where the speaker runs, in the other one on the
/// node `servers`.
pub(crate) fn run(site: &Site, mode: ProxyMode) -> Result<Running> {
    let other = match mode {
        ProxyMode::Nftables => ProxyMode::Iptables,
        ProxyMode::Iptables => ProxyMode::Nftables,
    };
    let workers = [
        site.cluster.add_worker(&site.worker, "worker", "10.77.0.2".parse()?)?,
        site.cluster.add_worker(&site.servers, "servers", "10.77.0.4".parse()?)?,
    ];
    let proxies =
        [site.cluster.kube_proxy(&workers[0], mode)?, site.cluster.kube_proxy(&workers[1], other)?];
    let pods = site.cluster.play_pods(&workers, Images::of_conformance()?)?;
    Ok(Running { _proxies: proxies, _pods: pods })
}

/// The pod that answers on a connection to `to`.
pub(crate) fn who_answers(site: &Site, to: &str) -> Result<String> {
    let connection = site.connect(to)?;
    let mut lines = BufReader::new(&connection).lines();
    let greeting = lines.next().context("no greeting")??;
    ensure!(greeting == "Gateway API Test TCP Server", "{greeting}");
    pod_of(&connection, &mut lines)
}

fn pod_of(
    mut connection: impl Write,
    lines: &mut impl Iterator<Item = std::io::Result<String>>,
) -> Result<String> {
    connection.write_all(b"TEST\n")?;
    let answer: Value = serde_json::from_str(&lines.next().context("no answer")??)?;
    Ok(answer["pod"].as_str().context("a name")?.to_owned())
}

/// The rules of kube-proxy on a node.
fn rules(node: &Node, mode: ProxyMode) -> Result<String> {
    match mode {
        ProxyMode::Nftables => node.run("nft", ["list", "table", "ip", "kube-proxy"]),
        ProxyMode::Iptables => node.run("iptables-save", [""; 0]),
    }
}

/// How the rules name a port of the VIP.
fn rule(mode: ProxyMode, port: u16) -> String {
    match mode {
        ProxyMode::Nftables => format!("{VIP} . tcp . {port} "),
        ProxyMode::Iptables => format!("--dport {port} "),
    }
}

fn captured(site: &Site, mode: ProxyMode, port: u16) -> Result<bool> {
    let (rules, rule) = (rules(&site.worker, mode)?, rule(mode, port));
    Ok(rules.lines().any(|line| line.contains(VIP) && line.contains(&rule)))
}

fn a_service_leads_to_pods_and_a_gateway_to_its_listener(mode: ProxyMode, name: &str) {
    let site = Site::new(name);
    site.apply_pool();
    let _running = run(&site, mode).unwrap();
    let _controller = site.controller("one");
    let mut speaker = site.speaker();

    // The Service: an address, announced by the one node, that leads to the pods of both.
    site.apply(ECHO);
    let shown = json!([{"ip": VIP, "ipMode": "VIP"}]);
    eventually(SOON, || {
        let service = site.get("service", "echo")?;
        ensure!(service["status"]["loadBalancer"]["ingress"] == shown, "{}", service["status"]);
        Ok(())
    })
    .unwrap();
    let arp = site.client.capture("eth0", "arp").unwrap();
    let mut seen = BTreeSet::new();
    eventually(SOON, || {
        seen.insert(who_answers(&site, "10.77.0.200:80")?);
        ensure!(seen.len() == 2, "only {seen:?}");
        Ok(())
    })
    .unwrap();
    assert!(captured(&site, mode, 80).unwrap(), "{}", rules(&site.worker, mode).unwrap());
    let frames = arp.stop().unwrap();
    let arps = frames.iter().filter_map(|frame| frame.arp());
    let told: BTreeSet<_> = arps
        .filter(|arp| arp.op == ArpOp::Reply && arp.sender_ip.to_string() == VIP)
        .map(|arp| arp.sender_mac)
        .collect();
    assert_eq!(told, BTreeSet::from([site.cables.worker.mac()]));

    // Nothing of ours is on the way: what is open stays open when the speaker dies.
    let open = site.connect("10.77.0.200:80").unwrap();
    let mut lines = BufReader::new(&open).lines();
    lines.next().unwrap().unwrap();
    let pod = pod_of(&open, &mut lines).unwrap();
    speaker.kill();
    for _ in 0..10 {
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(pod_of(&open, &mut lines).unwrap(), pod);
    }
    let mut speaker = site.speaker();
    eventually(SOON, || who_answers(&site, "10.77.0.200:80")).unwrap();

    // Deleted, it is given back.
    site.cluster.kubectl(["delete", "service", "echo"]).unwrap();
    eventually(SOON, || {
        ensure!(site.get("vip", VIP).is_err(), "the claim is still there");
        ensure!(!captured(&site, mode, 80)?, "kube-proxy has it still");
        ensure!(site.connect("10.77.0.200:80").is_err(), "the VIP still answers");
        Ok(())
    })
    .unwrap();

    // The Gateway gets the same address, and shows it in a Service beside it.
    let _echo = site.echo(7000, "listener");
    site.apply(&gateway("web", &[("tcp", 80)]));
    site.apply(&route("v1", "web", "web", "web"));
    site.apply(&backend("web", 7000));
    let shown = json!([{"ip": VIP, "ipMode": "Proxy"}]);
    eventually(SOON, || {
        let service = site.get("service", "vipgate-web")?;
        ensure!(service["status"]["loadBalancer"]["ingress"] == shown, "{}", service["status"]);
        Ok(())
    })
    .unwrap();
    // kube-proxy has heard of that one when it has heard of this one; which it does capture.
    site.apply(FOREIGN);
    let status = json!({"status": {"loadBalancer": {"ingress": [{"ip": VIP}]}}}).to_string();
    let patch = ["patch", "service", "foreign", "--subresource=status", "--type=merge", "--patch"];
    site.cluster.kubectl(patch.into_iter().chain([&*status])).unwrap();
    eventually(SOON, || {
        ensure!(captured(&site, mode, 9999)?, "{}", rules(&site.worker, mode)?);
        Ok(())
    })
    .unwrap();
    assert!(!captured(&site, mode, 80).unwrap(), "{}", rules(&site.worker, mode).unwrap());
    assert_eq!(site.greeting("10.77.0.200:80").unwrap(), "listener");

    // A port that no listener has is the other one's; a port that one has stays with it.
    site.apply(&FOREIGN.replace("]\n", STOLEN_PORT));
    eventually(SOON, || {
        ensure!(captured(&site, mode, 80)?, "{}", rules(&site.worker, mode)?);
        who_answers(&site, "10.77.0.200:9999")
    })
    .unwrap();
    // A port without endpoints is refused, whoever it belongs to (docs/host.md); kube-proxy hears of them
    // a moment later.
    eventually(SOON, || site.greeting("10.77.0.200:80").context("refused")).unwrap();
    for _ in 0..5 {
        assert_eq!(site.greeting("10.77.0.200:80").unwrap(), "listener");
        let here = site.worker.enter(|| TcpStream::connect("10.77.0.200:80")).unwrap();
        assert_eq!(greeting_of(here).unwrap(), "listener");
    }

    // Control: where nothing of vipgate is, kube-proxy leads it to the pods.
    speaker.terminate(SOON).unwrap();
    site.worker.run("ip", ["addr", "add", "10.77.0.200/32", "dev", "lo"]).unwrap();
    eventually(SOON, || who_answers(&site, "10.77.0.200:80")).unwrap();
}

/// MetalLB: "type=LoadBalancer should work for ExternalTrafficPolicy=Cluster".
#[test]
fn through_kube_proxy_with_nftables() {
    a_service_leads_to_pods_and_a_gateway_to_its_listener(ProxyMode::Nftables, "nftables");
}

#[test]
fn through_kube_proxy_with_iptables() {
    a_service_leads_to_pods_and_a_gateway_to_its_listener(ProxyMode::Iptables, "iptables");
}

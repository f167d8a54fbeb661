//! A cluster of the lab: the real API, what it refuses, what it keeps, and what is left of it.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use vipgate_lab::cluster::{Channel, Cluster};
use vipgate_lab::{Bridge, Lab, Link, eventually};

const LONG: Duration = Duration::from_secs(30);
const ADDRESS: &str = "10.77.0.1";

/// A cluster, and the network it is reached by.
struct Site {
    lab: Lab,
    lan: Bridge,
    _cable: Link,
    cluster: Cluster,
}

fn site(name: &str) -> Result<Site> {
    let lab = Lab::new(name)?;
    let lan = lab.bridge("lan")?;
    let node = lab.node("cp")?;
    let cable = node.join(&lan, &format!("{ADDRESS}/24"))?;
    let cluster = Cluster::start(node, ADDRESS.parse()?)?;
    Ok(Site { lab, lan, _cable: cable, cluster })
}

fn gateway(name: &str, listener: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\n\
         kind: Gateway\n\
         metadata: {{name: {name}, namespace: games}}\n\
         spec: {{gatewayClassName: vipgate, listeners: [{listener}]}}\n"
    )
}

const NAMESPACE: &str = "apiVersion: v1\nkind: Namespace\nmetadata: {name: games}\n";

#[test]
fn gateways_are_validated_stored_and_outlive_the_api_server() -> Result<()> {
    let Site { mut cluster, .. } = site("gateways")?;
    cluster.install_gateway_api("1.6.1", Channel::Standard)?;
    cluster.apply(NAMESPACE)?;
    cluster.apply(&gateway("good", "{name: a, protocol: TCP, port: 25565}"))?;

    // Of the schema, and of CEL.
    let refused = |listener: &str| {
        let applied = cluster.apply(&gateway("bad", listener));
        applied.err().map(|error| format!("{error:#}")).context("it was not refused")
    };
    let error = refused("{name: a, protocol: TCP, port: 65536}")?;
    assert!(error.contains("should be less than or equal to 65535"), "{error}");
    let error = refused("{name: a, protocol: TCP, port: 1, hostname: games.example}")?;
    assert!(error.contains("hostname must not be specified for protocols"), "{error}");
    assert!(cluster.get(["gateway", "bad", "--namespace=games"]).is_err());

    let before = cluster.get(["gateway", "good", "--namespace=games"])?;
    assert_eq!(before["spec"]["listeners"][0]["port"], 25565);
    let old = cluster.api_server().pid();
    cluster.restart_api_server()?;
    assert_ne!(cluster.api_server().pid(), old);
    assert_eq!(cluster.get(["gateway", "good", "--namespace=games"])?, before);

    // After a crash as well.
    cluster.api_server().kill();
    assert!(cluster.get(["gateway", "good", "--namespace=games"]).is_err());
    cluster.restart_api_server()?;
    assert_eq!(cluster.get(["gateway", "good", "--namespace=games"])?, before);
    Ok(())
}

#[test]
fn every_release_and_channel_has_its_kinds() -> Result<()> {
    let Site { cluster, .. } = site("releases")?;
    let served = |kind: &str| cluster.kubectl(["get", kind, "--all-namespaces"]).is_ok();
    cluster.install_gateway_api("1.2.1", Channel::Standard)?;
    assert!(served("gateways.v1.gateway.networking.k8s.io"));
    assert!(!served("tcproutes.gateway.networking.k8s.io"));
    cluster.install_gateway_api("1.4.1", Channel::Experimental)?;
    assert!(served("tcproutes.v1alpha2.gateway.networking.k8s.io"));
    assert!(served("xlistenersets.gateway.networking.x-k8s.io"));
    cluster.install_gateway_api("1.5.1", Channel::Experimental)?;
    assert!(served("listenersets.v1.gateway.networking.k8s.io"));
    assert!(!served("tcproutes.v1.gateway.networking.k8s.io"));
    cluster.install_gateway_api("1.6.1", Channel::Experimental)?;
    assert!(served("tcproutes.v1.gateway.networking.k8s.io"));
    let crd = cluster.get(["crd", "tcproutes.gateway.networking.k8s.io"])?;
    let annotations = &crd["metadata"]["annotations"];
    assert_eq!(annotations["gateway.networking.k8s.io/bundle-version"], "v1.6.1");
    assert_eq!(annotations["gateway.networking.k8s.io/channel"], "experimental");

    let error = cluster.install_gateway_api("0.0.99", Channel::Standard).unwrap_err();
    assert!(format!("{error:#}").contains("gateway-api@v0.0.99"), "{error:#}");
    Ok(())
}

#[test]
fn the_controllers_make_pods_slices_and_dual_stack_services() -> Result<()> {
    let Site { cluster, .. } = site("workload")?;
    cluster.apply(
        "apiVersion: apps/v1
kind: Deployment
metadata: {name: echo}
spec:
  replicas: 2
  selector: {matchLabels: {app: echo}}
  template:
    metadata: {labels: {app: echo}}
    spec: {containers: [{name: echo, image: none}]}
---
apiVersion: v1
kind: Service
metadata: {name: echo}
spec:
  type: LoadBalancer
  loadBalancerClass: vipgate.dev/service
  ipFamilyPolicy: RequireDualStack
  selector: {app: echo}
  ports: [{port: 80, targetPort: 3000}]
",
    )?;
    let items = |kind: &str| -> Result<Vec<Value>> {
        let list = cluster.get([kind, "--selector=app=echo"])?;
        Ok(list["items"].as_array().context("a list")?.clone())
    };
    eventually(LONG, || {
        ensure!(items("pods")?.len() == 2, "not two pods yet");
        Ok(())
    })?;
    let service = cluster.get(["service", "echo"])?;
    assert_eq!(service["spec"]["ipFamilies"], serde_json::json!(["IPv4", "IPv6"]));
    eventually(LONG, || {
        let slices =
            cluster.get(["endpointslices", "--selector=kubernetes.io/service-name=echo"])?;
        let slices = slices["items"].as_array().context("a list")?.len();
        ensure!(slices == 2, "{slices} slices");
        Ok(())
    })?;
    cluster.kubectl(["delete", "deployment/echo", "--cascade=foreground", "--timeout=25s"])?;
    eventually(LONG, || {
        ensure!(items("pods")?.is_empty(), "there are pods left");
        Ok(())
    })
}

#[test]
fn accounts_have_their_rights_from_every_node() -> Result<()> {
    let Site { lab, lan, cluster, .. } = site("accounts")?;
    cluster.apply(&format!(
        "{NAMESPACE}---
apiVersion: v1
kind: ServiceAccount
metadata: {{name: speaker, namespace: games}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {{name: speaker, namespace: games}}
rules: [{{apiGroups: [''], resources: [configmaps], verbs: [list]}}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: speaker, namespace: games}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: speaker}}
subjects: [{{kind: ServiceAccount, name: speaker, namespace: games}}]
"
    ))?;
    let worker = lab.node("worker")?;
    let _cable = worker.join(&lan, "10.77.0.2/24")?;
    let kubeconfig = cluster.kubeconfig_of("games", "speaker")?;
    let kubectl = |kind: &str| {
        let program = cluster.kubectl_as(&kubeconfig, ["get", kind, "--namespace=games"]);
        worker.run_within(LONG, program)
    };
    kubectl("configmaps")?;
    let error = format!("{:#}", kubectl("secrets").unwrap_err());
    assert!(error.contains("system:serviceaccount:games:speaker\" cannot list"), "{error}");
    Ok(())
}

#[test]
fn nothing_is_left_of_a_cluster_and_two_do_not_meet() -> Result<()> {
    let first = site("first")?;
    let second = site("second")?;
    first.cluster.apply(NAMESPACE)?;
    assert!(second.cluster.get(["namespace", "games"]).is_err());

    let pids = first.cluster.pids();
    let directory = first.cluster.directory().to_owned();
    let namespace = Path::new("/run/netns").join(first.cluster.node().namespace());
    let exists = |pid: &u32| Path::new("/proc").join(pid.to_string()).exists();
    assert!(pids.iter().all(exists) && directory.exists() && namespace.exists());
    drop(first);
    assert!(!pids.iter().any(exists) && !directory.exists() && !namespace.exists());
    second.cluster.apply(NAMESPACE)
}

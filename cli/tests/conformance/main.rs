//! The official conformance tests of Gateway API, unmodified, against the real controller and speaker
//! of the lab: the TCPRoute tests each time, all of the profile with `make conformance`.

#![allow(clippy::unwrap_used, reason = "a test's helpers panic like the test itself")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use vipgate_lab::cluster::{Channel, Cluster, Images, PodPlayer, conformance_suite};
use vipgate_lab::{Bridge, Lab, Link, Node, Process, Program, Result};

const VIPGATE: &str = env!("CARGO_BIN_EXE_vipgate");
/// The release that the tests are of (`kind-e2e/conformance/go.mod`).
const RELEASE: &str = "1.6.3";

const TCP_ROUTE_TESTS: &str = "TCPRouteInvalidBackendRefNonexistent,\
    TCPRouteInvalidCrossNamespaceBackendRef,TCPRouteInvalidNonTCPListener,\
    TCPRouteMultipleRoutesAttachment,TCPRouteParentRefAttachAll,\
    TCPRouteParentRefPortAndSectionName,TCPRouteReferenceGrant,TCPRouteWeightedRouting";

const OBJECTS: &str = "\
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: vipgate}
spec: {controllerName: vipgate.dev/gateway-controller}
---
apiVersion: vipgate.dev/v1alpha1
kind: IPAddressPool
metadata: {name: pool, namespace: vipgate-system}
spec: {addresses: [10.77.1.1-10.77.1.254]}
---
apiVersion: vipgate.dev/v1alpha1
kind: IPAddressPool
metadata: {name: asked, namespace: vipgate-system}
spec: {addresses: [10.77.2.1-10.77.2.9], autoAssign: false}
";

/// A cluster with vipgate in it, and pods.
struct Site {
    client: Node,
    cluster: Cluster,
    _pods: PodPlayer,
    _vipgate: [Process; 2],
    _cables: [Link; 3],
    _lan: Bridge,
    _lab: Lab,
}

fn site() -> Result<Site> {
    let suite = Lab::new("conform")?;
    let lan = suite.bridge("lan")?;
    let (plane, worker, client) = (suite.node("cp")?, suite.node("worker")?, suite.node("client")?);
    let cables = [
        plane.join(&lan, "10.77.0.1/16")?,
        worker.join(&lan, "10.77.0.2/16")?,
        client.join(&lan, "10.77.0.3/16")?,
    ];
    let cluster = Cluster::start(plane, "10.77.0.1".parse()?)?;
    cluster.install_gateway_api(RELEASE, Channel::Standard)?;
    cluster.apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: vipgate-system}\n")?;
    cluster.apply(&client.run(VIPGATE, ["crds"])?)?;
    let crds = ["wait", "customresourcedefinition", "--all", "--for=condition=Established"];
    cluster.kubectl(crds)?;
    let node = cluster.add_worker(&worker, "worker", "10.77.0.2".parse()?)?;
    let pods = cluster.play_pods(&[node], Images::of_conformance()?)?;
    let program = |arguments: &[&str]| {
        Program::new(VIPGATE)
            .args(arguments.iter().copied())
            .arg("--kubeconfig")
            .arg(cluster.kubeconfig())
    };
    let vipgate = [
        client.spawn(program(&["controller", "--identity", "one"]))?,
        worker.spawn(program(&["speaker", "--node", "worker", "--drain-timeout", "1"]))?,
    ];
    vipgate_lab::eventually(Duration::from_secs(20), || cluster.apply(OBJECTS))?;
    Ok(Site {
        client,
        cluster,
        _pods: pods,
        _vipgate: vipgate,
        _cables: cables,
        _lan: lan,
        _lab: suite,
    })
}

/// Runs the tests; all of them when `only` is empty. What they print goes on; the answer is whether
/// all passed.
fn run(only: &str, report: Option<&Path>) -> Result<()> {
    let suite = conformance_suite()?;
    let site = site()?;
    let mut program = Program::new(suite)
        .args(["-test.v", "-test.timeout=40m", "-test.run=TestConformance"])
        .args(["-gateway-class=vipgate", "-conformance-profiles=GATEWAY-TCP"])
        .args(["-usable-address=10.77.2.5", "-unusable-address=192.0.2.5"])
        .args(["-disable-parallel-tests", "-organization=vipgate", "-project=vipgate"])
        .args(["-url=https://vipgate.dev", "-contact=https://vipgate.dev"])
        .arg(format!("-version={}", env!("CARGO_PKG_VERSION")))
        .arg(format!("-only={only}"))
        .env("KUBECONFIG", site.cluster.kubeconfig());
    if let Some(report) = report {
        program = program.arg(format!("-report-output={}", report.display()));
    }
    let printed = site.client.run_within(Duration::from_secs(2400), program)?;
    let table = printed.find("| result").map_or("", |start| &printed[start..]);
    println!("{table}");
    Ok(())
}

#[test]
fn the_tcp_route_tests_pass() -> Result<()> {
    run(TCP_ROUTE_TESTS, None)
}

/// `VIPGATE_CONFORMANCE_REPORT` names the file for the report.
#[test]
#[ignore = "the whole profile takes long: make conformance"]
fn the_whole_profile_passes() -> Result<()> {
    let report = std::env::var_os("VIPGATE_CONFORMANCE_REPORT").map(PathBuf::from);
    run("", report.as_deref())
}

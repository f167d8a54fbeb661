//! The official conformance tests of Gateway API, unmodified, against the real controller and speaker
//! of the lab: the TCPRoute tests each time, all of the profile with `make conformance`.

#![allow(clippy::unwrap_used, reason = "a test's helpers panic like the test itself")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{bail, ensure};
use vipgate_lab::cluster::{Channel, Cluster, Images, PodPlayer, conformance_suite};
use vipgate_lab::{Bridge, Lab, Link, Node, Process, Program, Result};

const VIPGATE: &str = env!("CARGO_BIN_EXE_vipgate");
/// The release that the tests are of (`kind-e2e/conformance/go.mod`).
const RELEASE: &str = "1.6.3";

const TCP_ROUTE_TESTS: &str = "TCPRouteInvalidBackendRefNonexistent,\
    TCPRouteInvalidCrossNamespaceBackendRef,TCPRouteInvalidNonTCPListener,\
    TCPRouteMultipleRoutesAttachment,TCPRouteParentRefAttachAll,\
    TCPRouteParentRefPortAndSectionName,TCPRouteReferenceGrant,TCPRouteWeightedRouting";

/// Besides the chart.
const POOLS: &str = "\
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
    let chart = cluster.install_chart("vipgate-system", &[])?;
    cluster.apply(POOLS)?;
    let node = cluster.add_worker(&worker, "worker", "10.77.0.2".parse()?)?;
    let pods = cluster.play_pods(&[node], Images::of_conformance()?)?;
    let program = |workload: &str, node: &str, address: &str| -> Result<Program> {
        chart.program(workload, VIPGATE, workload, (node, address.parse()?))
    };
    let admin = cluster.directory().join("speaker.sock");
    let speaker = program("vipgate-speaker", "worker", "10.77.0.2")?;
    let speaker = speaker.args(["--drain-timeout", "1", "--admin"]).arg(admin);
    let speaker = speaker.arg("--state").arg(cluster.directory().join("speaker.json"));
    let controller = program("vipgate-controller", "client", "10.77.0.3")?;
    let vipgate = [client.spawn(controller)?, worker.spawn(speaker)?];
    // The suite takes the features from there, once.
    vipgate_lab::eventually(Duration::from_secs(20), || {
        let class = cluster.get(["gatewayclass", "vipgate"])?;
        let features = class["status"]["supportedFeatures"].as_array();
        ensure!(features.is_some_and(|all| !all.is_empty()), "{class}");
        Ok(())
    })?;
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

/// Runs the tests, all of them when `only` is empty, and prints what came of each. The report, which
/// is written whether they pass or not, gets the name that the Gateway API has for it.
fn run(only: &str, reports: Option<&Path>) -> Result<()> {
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
    if let Some(directory) = reports {
        let report = directory.join(format!("standard-v{RELEASE}-default-report.yaml"));
        program = program.arg(format!("-report-output={}", report.display()));
    }
    let mut process = site.client.spawn(program)?;
    let ended = process.wait(Duration::from_secs(2400))?;
    let printed = process.output().stdout_text();
    let Some(start) = printed.find("| result") else {
        bail!("there is no table of results\n{}", process.tail());
    };
    if !ended.success() {
        println!("{}", &printed[..start]);
    }
    println!("{}", &printed[start..]);
    ensure!(ended.success(), "the conformance tests: {ended}; what failed and why is above");
    Ok(())
}

#[test]
fn the_tcp_route_tests_pass() -> Result<()> {
    run(TCP_ROUTE_TESTS, None)
}

/// `VIPGATE_CONFORMANCE_REPORTS` names the directory for the report.
#[test]
#[ignore = "the whole profile takes long: make conformance"]
fn long_the_whole_profile_passes() -> Result<()> {
    let reports = std::env::var_os("VIPGATE_CONFORMANCE_REPORTS").map(PathBuf::from);
    run("", reports.as_deref())
}

//! The official conformance tests of Gateway API, unmodified, against the real controller and speaker
//! of the lab: those of the routes each time, all of the profiles with `make conformance`.

#![allow(clippy::unwrap_used, reason = "a test's helpers panic like the test itself")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};
use vipgate_lab::cluster::{Channel, Cluster, Images, PodPlayer, conformance_suite};
use vipgate_lab::{Bridge, Lab, Link, Node, Process, Program, Result};

const VIPGATE: &str = env!("CARGO_BIN_EXE_vipgate");
/// The release that the tests are of (`kind-e2e/conformance/go.mod`).
const RELEASE: &str = "1.6.3";

/// A profile of that release.
struct Profile {
    name: &'static str,
    /// How many of its core and extended tests concern us.
    core: u64,
    extended: u64,
    /// The kind of route that it is about, and all tests that need it.
    route: &'static str,
    tests: &'static [&'static str],
}

const PROFILES: [Profile; 3] = [
    Profile {
        name: "GATEWAY-TCP",
        core: 18,
        extended: 11,
        route: "TCPRoute",
        tests: &[
            "TCPRouteInvalidBackendRefNonexistent",
            "TCPRouteInvalidCrossNamespaceBackendRef",
            "TCPRouteInvalidNonTCPListener",
            "TCPRouteMultipleRoutesAttachment",
            "TCPRouteParentRefAttachAll",
            "TCPRouteParentRefPortAndSectionName",
            "TCPRouteReferenceGrant",
            "TCPRouteWeightedRouting",
        ],
    },
    Profile {
        name: "GATEWAY-TLS",
        core: 19,
        extended: 16,
        route: "TLSRoute",
        tests: &[
            "ListenerSetAllowedRoutesSupportedKinds",
            "TLSRouteHostnameIntersection",
            "TLSRouteInvalidBackendRefNonexistent",
            "TLSRouteInvalidBackendRefUnknownKind",
            "TLSRouteInvalidNoMatchingListener",
            "TLSRouteInvalidNoMatchingListenerHostname",
            "TLSRouteInvalidReferenceGrant",
            "TLSRouteListenerMixedTerminationNotSupported",
            "TLSRouteListenerPassthroughSupportedKinds",
            "TLSRouteListenerTerminateNotSupported",
            "TLSRouteListenerTerminateSupportedKinds",
            "TLSRouteMixedTerminationSameNamespace",
            "TLSRouteSimpleSameNamespace",
            "TLSRouteTerminateSimpleSameNamespace",
        ],
    },
    Profile {
        name: "GATEWAY-UDP",
        core: 19,
        extended: 11,
        route: "UDPRoute",
        tests: &[
            "UDPRoute",
            "UDPRouteInvalidBackendRefNonexistent",
            "UDPRouteInvalidCrossNamespaceBackendRef",
            "UDPRouteMultipleRoutesAttachment",
            "UDPRouteNotAllowedByListeners",
            "UDPRouteParentRefAttachAllListeners",
            "UDPRouteParentRefPortAndSectionName",
            "UDPRouteReferenceGrant",
            "UDPRouteWeightedRouting",
        ],
    },
];

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

/// What a run left.
struct Outcome {
    /// The lines of the table.
    results: Vec<TestResult>,
    /// The report, as the suite wrote it.
    report: Value,
}

/// What came of one test.
struct TestResult {
    name: String,
    passed: bool,
    features: Vec<String>,
}

/// Runs the tests, all of them when `only` is empty, and prints what came of each. The report, which
/// is written whether they pass or not, gets the name that the Gateway API has for it.
///
/// That the suite ends well says no more than that no test failed: one that did not run is no
/// failure. What has to have passed is for the caller to ask of the outcome.
fn run(only: &[&str], reports: Option<&Path>) -> Result<Outcome> {
    let suite = conformance_suite()?;
    let site = site()?;
    let directory = reports.unwrap_or_else(|| site.cluster.directory());
    let report = directory.join(format!("standard-v{RELEASE}-default-report.yaml"));
    let profiles = PROFILES.map(|profile| profile.name).join(",");
    let program = Program::new(suite)
        .args(["-test.v", "-test.timeout=40m", "-test.run=TestConformance"])
        .arg("-gateway-class=vipgate")
        .arg(format!("-conformance-profiles={profiles}"))
        .args(["-usable-address=10.77.2.5", "-unusable-address=192.0.2.5"])
        .args(["-disable-parallel-tests", "-organization=vipgate", "-project=vipgate"])
        .args(["-url=https://vipgate.dev", "-contact=https://vipgate.dev"])
        .arg(format!("-version={}", env!("CARGO_PKG_VERSION")))
        .arg(format!("-only={}", only.join(",")))
        .arg(format!("-report-output={}", report.display()))
        .env("KUBECONFIG", site.cluster.kubeconfig());
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
    Ok(Outcome { results: table(&printed[start..])?, report: read(&report)? })
}

fn read(report: &Path) -> Result<Value> {
    let text = std::fs::read_to_string(report)
        .with_context(|| format!("the suite left no report {}", report.display()))?;
    serde_saphyr::from_str(&text).with_context(|| format!("{} is no YAML", report.display()))
}

/// The table that `conformance_test.go` prints: a line for each test that concerns us.
fn table(printed: &str) -> Result<Vec<TestResult>> {
    let lines = printed.lines().skip(2).take_while(|line| line.starts_with('|'));
    lines
        .map(|line| {
            let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
            let [verdict, _, name, features] = cells[..] else {
                bail!("a line of the table that is not understood: {line}");
            };
            Ok(TestResult {
                name: name.to_owned(),
                passed: verdict == "pass",
                features: features.split(", ").map(str::to_owned).collect(),
            })
        })
        .collect()
}

fn names<'a>(results: impl Iterator<Item = &'a TestResult>) -> BTreeSet<&'a str> {
    results.map(|result| &*result.name).collect()
}

/// That exactly the tests of routes passed, of all tests that need a kind of route and in all.
fn only_those_of_routes_passed(outcome: &Outcome) -> Result<()> {
    let results = outcome.results.iter();
    let mut expected = BTreeSet::new();
    for Profile { route, tests, .. } in &PROFILES {
        let tests = BTreeSet::from_iter(tests.iter().copied());
        let needing = names(results.clone().filter(|one| one.features.iter().any(|f| f == route)));
        ensure!(
            needing == tests,
            "the release has other tests of {route} than those that are asked for here.\n\
             It has: {needing:?}\nAsked for: {tests:?}"
        );
        expected.extend(tests);
    }
    let passed = names(results.filter(|result| result.passed));
    ensure!(passed == expected, "to pass: {expected:?}\npassed: {passed:?}");
    Ok(())
}

/// That a report tells of the tests of the profiles as passed, and of no other that concerns us.
fn all_passed(report: &Value) -> Result<()> {
    let version = &report["gatewayAPIVersion"];
    ensure!(*version == format!("v{RELEASE}"), "a report on Gateway API {version}");
    let profiles = report["profiles"].as_array().map(Vec::as_slice).unwrap_or_default();
    ensure!(profiles.len() == PROFILES.len(), "a report on {} profiles", profiles.len());
    for Profile { name, core, extended, .. } in PROFILES {
        let reported = profiles.iter().find(|profile| profile["name"] == name);
        let reported = reported.with_context(|| format!("nothing about the profile {name}"))?;
        for (level, expected) in [("core", core), ("extended", extended)] {
            let level_report = &reported[level];
            let wanted = json!({"Passed": expected, "Failed": 0, "Skipped": 0});
            ensure!(
                level_report["statistics"] == wanted && level_report["result"] == "success",
                "{name}, {level}: {expected} tests are to pass, and none to fail or to be skipped; \
                 the report says {level_report}"
            );
        }
    }
    Ok(())
}

#[test]
fn the_tests_of_routes_pass() -> Result<()> {
    let tests: BTreeSet<&str> = PROFILES.iter().flat_map(|p| p.tests).copied().collect();
    let outcome = run(&Vec::from_iter(tests), None)?;
    only_those_of_routes_passed(&outcome)
}

/// `VIPGATE_CONFORMANCE_REPORTS` names the directory for the report.
#[test]
#[ignore = "the whole profiles take long: make conformance"]
fn long_the_whole_profiles_pass() -> Result<()> {
    let reports = std::env::var_os("VIPGATE_CONFORMANCE_REPORTS").map(PathBuf::from);
    let outcome = run(&[], reports.as_deref())?;
    all_passed(&outcome.report)?;
    let failed = names(outcome.results.iter().filter(|result| !result.passed));
    ensure!(failed.is_empty(), "of the table did not pass: {failed:?}");
    Ok(())
}

/// The report that is kept, and what would be wrong with it.
#[test]
fn a_report_counts_when_it_tells_of_every_test_and_only_then() -> Result<()> {
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/conformance");
    let kept = read(&kept.join(format!("standard-v{RELEASE}-default-report.yaml")))?;
    all_passed(&kept)?;
    let refused = |change: &dyn Fn(&mut Value), says: &str| {
        let mut changed = kept.clone();
        change(&mut changed);
        let error = all_passed(&changed).expect_err(says).to_string();
        assert!(error.contains(says), "{error}");
    };
    refused(
        &|report| report["profiles"][0]["core"]["statistics"]["Skipped"] = 1.into(),
        "GATEWAY-TCP, core: 18",
    );
    refused(
        &|report| report["profiles"][0]["extended"]["statistics"]["Passed"] = 10.into(),
        "GATEWAY-TCP, extended: 11",
    );
    refused(&|report| report["profiles"][0]["extended"] = Value::Null, "GATEWAY-TCP, extended: 11");
    refused(&|report| report["profiles"] = json!([]), "0 profiles");
    refused(&|report| report["gatewayAPIVersion"] = "v1.6.1".into(), "v1.6.1");
    Ok(())
}

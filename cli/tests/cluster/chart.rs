//! The chart by Helm itself, workloads included; there is nobody who runs them.

use std::path::Path;

use anyhow::ensure;
use serde_json::Value;
use vipgate_lab::cluster::{Channel, template_chart};
use vipgate_lab::eventually;

use crate::site::{NAMESPACE, SOON, Site, gateway, pool};

const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/vipgate");
/// Chart 0.1.0, but for its CRDs: those were in `crds/`, the class was a template, and it made no pools.
const PREVIOUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cluster/previous-chart");
/// The values that say everything.
const EVERYTHING: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/tests/values/everything.yaml");

fn helm(site: &Site, command: &[&str]) -> String {
    let arguments = command.iter().copied().chain(["--namespace", NAMESPACE]);
    site.cluster.helm(arguments).unwrap()
}

/// Whether there is an object of this name, in the namespace of the installation where its kind is in one.
pub(crate) fn exists(site: &Site, kind: &str, name: &str) -> bool {
    site.cluster.get([kind, name, "--namespace", NAMESPACE]).is_ok()
}

#[test]
fn helm_installs_upgrades_and_uninstalls_it_and_claims_stay() {
    let site = Site::bare("helm").unwrap();
    let said = helm(&site, &["install", "vipgate", CHART, "--create-namespace"]);
    assert!(said.contains("This cluster has no Gateway API"), "{said}");
    assert!(said.contains("The controller then creates the GatewayClass vipgate"), "{said}");
    for (kind, name) in [
        ("deployment", "vipgate-controller"),
        ("poddisruptionbudget", "vipgate-controller"),
        ("networkpolicy", "vipgate-controller"),
        ("daemonset", "vipgate-speaker"),
        ("serviceaccount", "vipgate-controller"),
        ("clusterrole", "vipgate-speaker"),
        ("crd", "virtualips.vipgate.dev"),
    ] {
        assert!(exists(&site, kind, name), "no {kind} {name}");
    }
    assert!(!exists(&site, "serviceaccount", "vipgate-selftest"), "a test that nobody asked for");
    // What the notes say to apply next is right.
    let pools = said.split("<<END\n").nth(1).and_then(|rest| rest.split("  END").next());
    let unindented: String =
        pools.unwrap().lines().map(|line| format!("{}\n", line.trim_start_matches("  "))).collect();
    eventually(SOON, || site.cluster.apply(&unindented)).unwrap();
    assert!(exists(&site, "ipaddresspool", "default"));

    // With what the cluster has meanwhile, and in the words of the values.
    site.cluster.install_gateway_api("1.6.1", Channel::Standard).unwrap();
    site.cluster.install_prometheus_operator().unwrap();
    let values = ["--set", "monitoring.enabled=true", "--set", "pools.lan={10.77.0.200/29}"];
    let said = helm(&site, &[&["upgrade", "vipgate", CHART], &values[..]].concat());
    assert!(said.contains("It gives out:\n\n  lan: 10.77.0.200/29\n"), "{said}");
    assert!(
        said.contains("gatewayClassName: vipgate") && !said.contains("no Gateway API"),
        "{said}"
    );
    let of_operator = [
        ("podmonitor", "vipgate-controller"),
        ("podmonitor", "vipgate-speaker"),
        ("prometheusrule", "vipgate"),
    ];
    for (kind, name) in of_operator {
        assert!(exists(&site, kind, name), "no {kind} {name}");
    }
    // The same again changes nothing: not even a pod.
    let generation = || -> Vec<Value> {
        let workloads = [("deployment", "vipgate-controller"), ("daemonset", "vipgate-speaker")];
        let all = workloads.into_iter().chain(of_operator).map(|(kind, name)| {
            let got = site.cluster.get([kind, name, "--namespace", NAMESPACE]).unwrap();
            got["metadata"]["generation"].clone()
        });
        all.collect()
    };
    let before = generation();
    helm(&site, &[&["upgrade", "vipgate", CHART], &values[..]].concat());
    assert_eq!(generation(), before);

    site.apply(&pool("10.77.0.200-10.77.0.207"));
    helm(&site, &["uninstall", "vipgate"]);
    eventually(SOON, || {
        for (kind, name) in [
            ("daemonset", "vipgate-speaker"),
            ("serviceaccount", "vipgate-speaker"),
            ("clusterrole", "vipgate-controller"),
            ("podmonitor", "vipgate-speaker"),
            ("prometheusrule", "vipgate"),
        ] {
            ensure!(!exists(&site, kind, name), "{kind} {name} is left");
        }
        Ok(())
    })
    .unwrap();
    assert!(exists(&site, "ipaddresspool", "pool"), "the pools are gone with the release");

    // And back again, with what stayed.
    helm(&site, &["install", "vipgate", CHART]);
    assert!(exists(&site, "ipaddresspool", "pool"));
}

/// Helm makes CRDs that it installed from `crds/` part of a release when it is told to, and a class that an
/// older chart made stays, with the Gateways that use it.
#[test]
fn the_previous_chart_is_upgraded_in_place() {
    let site = Site::bare("previous").unwrap();
    site.cluster.install_gateway_api("1.6.1", Channel::Standard).unwrap();
    let previous = tempfile::tempdir().unwrap();
    let mut copy = std::process::Command::new("cp");
    assert!(copy.args(["-r", PREVIOUS]).arg(previous.path()).status().unwrap().success());
    let chart = previous.path().join("previous-chart");
    // As an older release: in other words.
    let crds = std::fs::read_to_string(Path::new(CHART).join("files/crds.yaml")).unwrap();
    let older = crds.replace("Never give out IPv4 addresses", "Withhold IPv4 addresses");
    assert_ne!(older, crds);
    std::fs::create_dir(chart.join("crds")).unwrap();
    std::fs::write(chart.join("crds/vipgate.dev.yaml"), older).unwrap();
    let chart = chart.to_str().unwrap();

    helm(&site, &["install", "vipgate", chart, "--create-namespace"]);
    let class = || site.get("gatewayclass", "vipgate").unwrap()["metadata"].clone();
    let before = class();
    let is_old = || -> bool {
        let crd = site.get("crd", "ipaddresspools.vipgate.dev").unwrap();
        crd.to_string().contains("Withhold IPv4 addresses")
    };
    assert!(before["annotations"]["meta.helm.sh/release-name"] == "vipgate" && is_old());
    site.apply(&pool("10.77.0.200-10.77.0.207"));

    let refused = site.cluster.helm(["upgrade", "vipgate", CHART, "--namespace", NAMESPACE]);
    let refused = format!("{:#}", refused.unwrap_err());
    assert!(refused.contains("invalid ownership metadata"), "{refused}");
    helm(&site, &["upgrade", "vipgate", CHART, "--take-ownership"]);
    assert!(!is_old(), "the CRDs are as they were");
    assert_eq!(class()["uid"], before["uid"], "the class was made anew");
    assert!(exists(&site, "ipaddresspool", "pool"));
    // From now on as ever.
    helm(&site, &["upgrade", "vipgate", CHART]);
    helm(&site, &["uninstall", "vipgate"]);
    assert_eq!(class()["uid"], before["uid"]);
    assert!(exists(&site, "ipaddresspool", "pool"), "the pools are gone with the release");
}

/// As GitOps does it: rendered elsewhere, applied server-side, with every value set.
#[test]
fn what_is_rendered_is_valid_to_the_api_server() {
    let site = Site::bare("apply").unwrap();
    site.cluster.install_prometheus_operator().unwrap();
    site.apply(&format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {NAMESPACE}}}\n"));
    let file = site.cluster.directory().join("rendered.yaml");
    let file = file.to_str().unwrap();
    for kind in ["PodMonitor", "ServiceMonitor"] {
        let monitor = format!("monitoring.coreos.com/v1/{kind}");
        let chosen = format!("monitoring.kind={kind}");
        let sets = ["crds.enabled=true", "monitoring.rules.enabled=true"];
        let sets = sets.into_iter().chain(["monitoring.dashboards.enabled=true", &chosen]);
        let sets = sets.flat_map(|set| ["--set", set]);
        let served = [&*monitor, "monitoring.coreos.com/v1/PrometheusRule"];
        let served = served.into_iter().flat_map(|kind| ["--api-versions", kind]);
        let values = ["--values", EVERYTHING];
        let arguments: Vec<&str> = values.into_iter().chain(sets).chain(served).collect();
        std::fs::write(file, template_chart(NAMESPACE, &arguments).unwrap()).unwrap();
        let strict = ["--server-side", "--validate=strict", "--force-conflicts"];
        let apply = ["apply"].into_iter().chain(strict).chain(["--filename", file]);
        let said = site.cluster.kubectl(apply).unwrap();
        for object in ["prometheusrule", "configmap/vipgate-dashboard-vip", "pod/vipgate-selftest"]
        {
            assert!(said.contains(object), "no {object}: {said}");
        }
    }
}

/// With the rights of each mode, which are not those of the others.
#[test]
fn what_shows_a_gateway_changes_with_a_setting() {
    let site = Site::new("modes");
    site.apply_pool();
    let there = |kind: &str| -> anyhow::Result<usize> {
        let made = ["--selector=gateway.networking.k8s.io/gateway-name=web"];
        let list = site.cluster.get([kind].into_iter().chain(made))?;
        Ok(list["items"].as_array().map_or(0, Vec::len))
    };
    let shown_by = |services: usize, accounts: usize| {
        eventually(SOON, || {
            let found = (there("services")?, there("serviceaccounts")?);
            ensure!(found == (services, accounts), "{found:?} Services and ServiceAccounts");
            Ok(())
        })
        .unwrap();
    };
    site.apply(&gateway("web", &[("tcp", 80)]));
    let with_service = site.controller("one");
    shown_by(1, 0);
    drop(with_service);

    let upgraded = |mode: &str, name: &str| {
        let setting = format!("controller.companion={mode}");
        let chart = site.cluster.install_chart(NAMESPACE, &[&setting]).unwrap();
        site.controller_of(&chart, name)
    };
    let with_account = upgraded("service-account", "two");
    shown_by(0, 1);
    drop(with_account);
    let with_service = upgraded("service", "three");
    shown_by(1, 0);
    drop(with_service);
    let _with_nothing = upgraded("none", "four");
    shown_by(0, 0);
}

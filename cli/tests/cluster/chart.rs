//! The chart by Helm itself, workloads included; there is nobody who runs them.

use anyhow::ensure;
use vipgate_lab::cluster::Channel;
use vipgate_lab::eventually;

use crate::site::{NAMESPACE, SOON, Site, gateway, pool};

const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/vipgate");

#[test]
fn helm_installs_upgrades_and_uninstalls_it_and_claims_stay() {
    let site = Site::bare("helm").unwrap();
    let helm = |command: &[&str]| {
        let arguments = command.iter().copied().chain(["--namespace", NAMESPACE]);
        site.cluster.helm(arguments).unwrap()
    };
    let exists =
        |kind: &str, name: &str| site.cluster.get([kind, name, "--namespace", NAMESPACE]).is_ok();
    let said = helm(&["install", "vipgate", CHART, "--create-namespace"]);
    assert!(said.contains("This cluster has no Gateway API"), "{said}");
    assert!(
        said.contains("run helm upgrade, which then creates the GatewayClass vipgate"),
        "{said}"
    );
    for (kind, name) in [
        ("deployment", "vipgate-controller"),
        ("daemonset", "vipgate-speaker"),
        ("serviceaccount", "vipgate-controller"),
        ("clusterrole", "vipgate-speaker"),
        ("crd", "virtualips.vipgate.dev"),
    ] {
        assert!(exists(kind, name), "no {kind} {name}");
    }
    // What the notes say to apply next is right.
    let pools = said.split("<<END\n").nth(1).and_then(|rest| rest.split("  END").next());
    let unindented: String =
        pools.unwrap().lines().map(|line| format!("{}\n", line.trim_start_matches("  "))).collect();
    eventually(SOON, || site.cluster.apply(&unindented)).unwrap();
    assert!(exists("ipaddresspool", "default"));

    site.cluster.install_gateway_api("1.6.1", Channel::Standard).unwrap();
    let said = helm(&["upgrade", "vipgate", CHART]);
    assert!(said.contains("For Gateways there is the GatewayClass vipgate"), "{said}");
    let class = site.get("gatewayclass", "vipgate").unwrap();
    assert_eq!(class["spec"]["controllerName"], "vipgate.dev/gateway-controller");

    site.apply(&pool("10.77.0.200-10.77.0.207"));
    helm(&["uninstall", "vipgate"]);
    eventually(SOON, || {
        for (kind, name) in [
            ("daemonset", "vipgate-speaker"),
            ("serviceaccount", "vipgate-speaker"),
            ("clusterrole", "vipgate-controller"),
            ("gatewayclass", "vipgate"),
        ] {
            ensure!(!exists(kind, name), "{kind} {name} is left");
        }
        Ok(())
    })
    .unwrap();
    assert!(exists("ipaddresspool", "pool"), "the pools are gone with the release");
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

//! What a Gateway has beside it: a Service for those who look at Services, and a finalizer on its
//! class. What the nodes do is told by Speaker objects that the test writes.

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use vipgate_lab::{Process, eventually};

use crate::site::{NAMESPACE, SOON, Site, VIP};

const WEB: &str = "apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: web}
spec:
  gatewayClassName: vipgate
  listeners: [{name: a, protocol: TCP, port: 80}, {name: b, protocol: UDP, port: 53}]
  infrastructure:
    labels: {team: red}
    annotations: {external-dns.alpha.kubernetes.io/hostname: web.example}
";
const FINALIZER: &str = "gateway-exists-finalizer.gateway.networking.k8s.io";

fn service(site: &Site) -> anyhow::Result<Value> {
    site.get("service", "vipgate-web")
}

fn class_is_kept(site: &Site, kept: bool) {
    eventually(SOON, || {
        let class = site.get("gatewayclass", "vipgate")?;
        let finalizers = class["metadata"]["finalizers"].as_array().cloned().unwrap_or_default();
        ensure!(finalizers.contains(&json!(FINALIZER)) == kept, "{finalizers:?}");
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_gateway_is_seen_as_a_service() {
    let site = Site::new("companions");
    site.apply_pool();
    let _controller = site.controller("one");
    site.apply(WEB);
    let made = eventually(SOON, || service(&site)).unwrap();
    class_is_kept(&site, true);
    assert_eq!(made["spec"]["loadBalancerClass"], "vipgate.dev/gateway");
    assert_eq!(made["spec"]["allocateLoadBalancerNodePorts"], false);
    assert!(made["spec"]["ports"].as_array().unwrap().iter().all(|p| p["nodePort"].is_null()));
    let labels = &made["metadata"]["labels"];
    assert_eq!(labels["team"], "red");
    assert_eq!(labels["gateway.networking.k8s.io/gateway-name"], "web");
    let hostname = "external-dns.alpha.kubernetes.io/hostname";
    assert_eq!(made["metadata"]["annotations"][hostname], "web.example");
    // Nobody serves the address yet, so nobody may be sent there.
    assert_eq!(made["status"]["loadBalancer"], json!({}));

    site.says("worker", json!([{"address": VIP, "state": "Serving", "interfaces": ["eth0"]}]));
    let shown = json!([{"ip": VIP, "ipMode": "Proxy"}]);
    let is_shown = || {
        let now = service(&site)?;
        ensure!(now["status"]["loadBalancer"]["ingress"] == shown, "{}", now["status"]);
        Ok(now)
    };
    eventually(SOON, is_shown).unwrap();

    // Deleted, it comes back; with what the Gateway says now, and what others say stays.
    site.cluster.kubectl(["delete", "service", "vipgate-web"]).unwrap();
    let again = eventually(SOON, is_shown).unwrap();
    assert_ne!(again["metadata"]["uid"], made["metadata"]["uid"]);
    site.cluster.kubectl(["label", "service", "vipgate-web", "theirs=yes"]).unwrap();
    site.apply(
        &WEB.replace("labels: {team: red}", "labels: {tier: front}")
            .replace("port: 80", "port: 81"),
    );
    eventually(SOON, || {
        let now = service(&site)?;
        let labels = &now["metadata"]["labels"];
        ensure!(labels["team"].is_null() && labels["tier"] == "front", "{labels}");
        ensure!(labels["theirs"] == "yes", "{labels}");
        let ports = &now["spec"]["ports"];
        ensure!(ports.as_array().context("ports")?.iter().any(|p| p["port"] == 81), "{ports}");
        Ok(())
    })
    .unwrap();

    // A Gateway that is not ours any more has none, and the class is free.
    let other = r#"{"spec": {"gatewayClassName": "other"}}"#;
    site.cluster.kubectl(["patch", "gateway", "web", "--type=merge", "--patch", other]).unwrap();
    eventually(SOON, || {
        ensure!(service(&site).is_err(), "the Service is still there");
        Ok(())
    })
    .unwrap();
    class_is_kept(&site, false);
}

/// A controller with this kind of companion, and the rights that the chart gives it then.
fn controller(site: &Site, companion: &str) -> Process {
    let setting = format!("controller.companion={companion}");
    let chart = site.cluster.install_chart(NAMESPACE, &[&setting]).unwrap();
    site.controller_of(&chart, companion)
}

/// The companions that there are: kind, and the labels and annotations that matter.
fn companions(site: &Site) -> anyhow::Result<Vec<Value>> {
    let selector = "--selector=gateway.networking.k8s.io/gateway-name=web";
    let list = site.cluster.get(["services,serviceaccounts", selector])?;
    let shown = |object: &Value| {
        let metadata = &object["metadata"];
        let hostname = "external-dns.alpha.kubernetes.io/hostname";
        json!([object["kind"], metadata["labels"]["team"], metadata["annotations"][hostname]])
    };
    Ok(list["items"].as_array().into_iter().flatten().map(shown).collect())
}

#[test]
fn the_kind_of_companion_can_be_changed_and_changed_back() {
    let site = Site::new("accounts");
    site.apply_pool();
    let has = |expected: Value| {
        eventually(SOON, || {
            let found = companions(&site)?;
            ensure!(json!(found) == expected, "{found:?}");
            Ok(())
        })
        .unwrap();
    };
    site.apply(WEB);
    // An account of somebody else.
    site.apply("apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: vipgate-web}\n");
    let mut one = controller(&site, "service-account");
    has(json!([["ServiceAccount", "red", "web.example"]]));
    site.condition("gateway", "web", "Accepted", "True/Accepted");
    site.apply(&WEB.replace("labels: {team: red}", "labels: {team: blue}"));
    has(json!([["ServiceAccount", "blue", "web.example"]]));
    site.apply(&WEB.replace("    labels: {team: red}\n", ""));
    has(json!([["ServiceAccount", null, "web.example"]]));
    site.apply(WEB);
    has(json!([["ServiceAccount", "red", "web.example"]]));
    one.terminate(SOON).unwrap();

    let mut two = controller(&site, "service");
    has(json!([["Service", "red", "web.example"]]));
    two.terminate(SOON).unwrap();
    let mut three = controller(&site, "service-account");
    has(json!([["ServiceAccount", "red", "web.example"]]));
    three.terminate(SOON).unwrap();
    let _four = controller(&site, "none");
    has(json!([]));
    site.get("serviceaccount", "vipgate-web").unwrap();
}

#[test]
fn a_service_of_somebody_else_keeps_its_name_and_a_companion_goes_with_its_gateway() {
    let site = Site::new("named");
    site.apply_pool();
    site.apply(
        "apiVersion: v1\nkind: Service\nmetadata: {name: vipgate-web}\n\
         spec: {ports: [{port: 80}]}\n",
    );
    let theirs = service(&site).unwrap();
    let _controller = site.controller("one");
    site.apply(WEB);
    let selector = "--selector=gateway.networking.k8s.io/gateway-name=web";
    let made = eventually(SOON, || {
        let list = site.cluster.get(["services", selector])?;
        list["items"].get(0).cloned().context("no companion")
    })
    .unwrap();
    let name = made["metadata"]["name"].as_str().unwrap();
    assert!(name.starts_with("vipgate-web-"), "{name}");
    assert_eq!(service(&site).unwrap(), theirs);

    site.cluster.kubectl(["delete", "gateway", "web"]).unwrap();
    eventually(SOON, || {
        ensure!(site.get("service", name).is_err(), "the companion is still there");
        Ok(())
    })
    .unwrap();
    assert_eq!(service(&site).unwrap(), theirs);
}

/// Said by a probe of an address that was freely chosen: another one is chosen, and said of one that
/// is published: it stays.
#[test]
fn a_conflict_moves_what_is_not_published_and_nothing_else() {
    let site = Site::new("conflicts");
    site.apply_pool();
    let _controller = site.controller("one");
    site.apply(WEB);
    eventually(SOON, || site.get("vip", VIP)).unwrap();
    let conflict = |address: &str| json!({"address": address, "state": "Conflict", "conflictMac": "02:00:00:00:00:09"});
    site.says("worker", json!([conflict(VIP)]));
    eventually(SOON, || {
        ensure!(site.get("vip", VIP).is_err(), "it keeps the address that a host has");
        site.get("vip", "10.77.0.201")
    })
    .unwrap();
    site.says(
        "worker",
        json!([{"address": "10.77.0.201", "state": "Serving", "interfaces": ["eth0"]}]),
    );
    let web = eventually(SOON, || {
        let web = site.get("gateway", "web")?;
        ensure!(web["status"]["addresses"][0]["value"] == "10.77.0.201", "{}", web["status"]);
        Ok(web)
    })
    .unwrap();
    assert_eq!(site.get("vip", "10.77.0.201").unwrap()["spec"]["published"], true);
    site.says("worker", json!([conflict("10.77.0.201")]));
    site.condition("gateway", "web", "Programmed", "False/AddressNotUsable");
    let now = site.get("gateway", "web").unwrap();
    assert_eq!(now["status"]["addresses"], web["status"]["addresses"]);
    let said = now["status"]["conditions"].to_string();
    assert!(said.contains("02:00:00:00:00:09"), "{said}");
}

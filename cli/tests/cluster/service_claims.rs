//! Services of type LoadBalancer. What the nodes do is told by Speaker objects that the test writes.

use anyhow::ensure;
use serde_json::{Value, json};
use vipgate_lab::eventually;

use crate::site::{NAMESPACE, SOON, Site, VIP};

const ASSIGNED: &str = "vipgate.dev/AddressAssigned";

fn service(name: &str, class: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\n\
         spec: {{type: LoadBalancer, {class}selector: {{app: {name}}}, ports: [{{port: 80}}]}}\n"
    )
}

fn ingress(site: &Site, name: &str) -> anyhow::Result<Value> {
    Ok(site.get("service", name)?["status"]["loadBalancer"]["ingress"].clone())
}

fn has(site: &Site, name: &str, expected: &Value) {
    eventually(SOON, || {
        let found = ingress(site, name)?;
        ensure!(found == *expected, "{name}: {found}");
        Ok(())
    })
    .unwrap();
}

fn serving(addresses: &[&str]) -> Value {
    let vips = addresses.iter();
    vips.map(|a| json!({"address": a, "state": "Serving", "interfaces": ["eth0"]})).collect()
}

#[test]
fn a_service_has_an_address_when_a_node_has_it_and_until_it_is_deleted() {
    let site = Site::new("svcclaims");
    site.apply_pool();
    let mut one = site.controller("one");
    let ours = "loadBalancerClass: vipgate.dev/service, ";
    site.apply(&service("web", ours));
    site.condition("service", "web", ASSIGNED, "False/Pending");
    eventually(SOON, || site.get("vip", VIP)).unwrap();
    assert_eq!(ingress(&site, "web").unwrap(), Value::Null);
    site.says("worker", serving(&[VIP]));
    let shown = json!([{"ip": VIP, "ipMode": "VIP"}]);
    has(&site, "web", &shown);
    site.condition("service", "web", ASSIGNED, "True/AddressAssigned");
    eventually(SOON, || {
        let pool = site.cluster.get(["ipaddresspool", "pool", "--namespace=vipgate-system"])?;
        ensure!(pool["status"]["assignedIPv4"] == 1, "{}", pool["status"]);
        Ok(())
    })
    .unwrap();

    // One without a class, a second address; after a restart both have what they had.
    site.apply(&service("plain", ""));
    site.says("worker", serving(&[VIP, "10.77.0.201"]));
    let second = json!([{"ip": "10.77.0.201", "ipMode": "VIP"}]);
    has(&site, "plain", &second);
    one.kill();
    let two = site.controller("two");
    two.wait_for_line("leads", SOON).unwrap();
    site.cluster.kubectl(["delete", "service", "web"]).unwrap();
    eventually(SOON, || {
        ensure!(site.get("vip", VIP).is_err(), "the claim is still there");
        Ok(())
    })
    .unwrap();
    has(&site, "plain", &second);
    // A Service that wants no address any more gives it back.
    let to = r#"{"spec": {"type": "ClusterIP"}}"#;
    site.cluster.kubectl(["patch", "service", "plain", "--patch", to]).unwrap();
    eventually(SOON, || {
        ensure!(site.cluster.get(["vips"])?["items"] == json!([]), "the claim is still there");
        let plain = site.get("service", "plain")?;
        ensure!(plain["status"]["loadBalancer"] == json!({}), "{}", plain["status"]);
        let conditions = plain["status"]["conditions"].as_array().cloned().unwrap_or_default();
        ensure!(conditions.is_empty(), "{conditions:?}");
        Ok(())
    })
    .unwrap();
}

#[test]
fn services_without_a_class_are_left_to_another_controller_that_shows_itself() {
    let site = Site::new("classless");
    site.apply_pool();
    let _controller = site.controller("one");
    site.apply(&service("theirs", ""));
    site.condition("service", "theirs", ASSIGNED, "False/Pending");
    // It was ours until somebody else gives it an address that we do not have.
    let status = r#"{"status": {"loadBalancer": {"ingress": [{"ip": "198.51.100.7"}]}}}"#;
    site.apply(&service("new", ""));
    let patch = ["patch", "service", "new", "--subresource=status", "--type=merge", "--patch"];
    eventually(SOON, || {
        site.cluster.kubectl(patch.into_iter().chain([status, "--field-manager=other-lb"]))
    })
    .unwrap();
    site.apply(&service("later", ""));
    let later = site.condition("service", "later", ASSIGNED, "False/OtherController");
    let said = later["status"]["conditions"].to_string();
    assert!(said.contains("other-lb") && said.contains("--classless take"), "{said}");
    // Those of our class are ours.
    site.apply(&service("ours", "loadBalancerClass: vipgate.dev/service, "));
    site.condition("service", "ours", ASSIGNED, "False/Pending");
}

/// One of the CRDs of MetalLB, as much of it as tells that it is there.
const OF_METALLB: &str = "apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: bgppeers.metallb.io}
spec:
  group: metallb.io
  scope: Namespaced
  names: {kind: BGPPeer, listKind: BGPPeerList, plural: bgppeers, singular: bgppeer}
  versions:
  - name: v1beta2
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
";

#[test]
fn services_without_a_class_are_left_to_metallb_where_it_is_installed_unless_a_setting_decides() {
    let site = Site::new("metallb");
    site.apply_pool();
    site.apply(OF_METALLB);
    eventually(SOON, || site.cluster.api().get("/apis/metallb.io/v1beta2")).unwrap();
    let left = site.controller("one");
    site.apply(&service("web", ""));
    let web = site.condition("service", "web", ASSIGNED, "False/OtherController");
    let said = web["status"]["conditions"].to_string();
    assert!(said.contains("MetalLB is installed (the API group metallb.io is served)"), "{said}");
    assert!(said.contains("--classless take"), "{said}");
    // Those of our class are ours. It is the only one that has an address.
    site.apply(&service("ours", "loadBalancerClass: vipgate.dev/service, "));
    site.condition("service", "ours", ASSIGNED, "False/Pending");
    let users = || -> Vec<Value> {
        let vips = site.cluster.get(["vips"]).unwrap();
        let vips = vips["items"].as_array().cloned().unwrap_or_default();
        vips.iter().map(|vip| vip["spec"]["users"][0]["name"].clone()).collect()
    };
    assert_eq!(users(), ["ours"]);
    assert_eq!(ingress(&site, "web").unwrap(), Value::Null);
    drop(left);

    let with = |setting: &str, name: &str| {
        let setting = format!("controller.classless={setting}");
        let chart = site.cluster.install_chart(NAMESPACE, &[&setting]).unwrap();
        site.controller_of(&chart, name)
    };
    let taken = with("take", "two");
    site.condition("service", "web", ASSIGNED, "False/Pending");
    eventually(SOON, || {
        ensure!(users() == ["ours", "web"], "{:?}", users());
        Ok(())
    })
    .unwrap();
    drop(taken);

    // One that has an address of ours keeps it.
    let _left = with("leave", "three");
    site.apply(&service("late", ""));
    let late = site.condition("service", "late", ASSIGNED, "False/OtherController");
    let said = late["status"]["conditions"].to_string();
    assert!(said.contains("--classless leave") && !said.contains("MetalLB"), "{said}");
    assert_eq!(users(), ["ours", "web"]);
}

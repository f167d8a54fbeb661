//! Services of type LoadBalancer: addresses that the kernel forwards for.

use anyhow::ensure;
use serde_json::{Value, json};
use vipgate_lab::eventually;

use crate::site::{SOON, Site, VIP};

pub(crate) fn service(name: &str, more: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\n\
         spec: {{type: LoadBalancer, selector: {{app: {name}}}, \
         ports: [{{port: 80, protocol: TCP}}]{more}}}\n"
    )
}

/// Waits until a Service shows these addresses.
fn shows(site: &Site, name: &str, ingress: &Value) {
    eventually(SOON, || {
        let service = site.get("service", name)?;
        let found = &service["status"]["loadBalancer"]["ingress"];
        ensure!(found == ingress, "{name}: {}", service["status"]);
        Ok(())
    })
    .unwrap();
}

/// MetalLB: "should preserve the same external ip after controller restart", "removes the ip from a
/// service and assigns it to a free one when: changing type to ClusterIP / deleting the service", "a
/// service with another loadbalancer class should not get an ip".
#[test]
fn a_service_has_its_address_until_it_is_none_any_more() {
    let site = Site::new("services");
    site.apply_pool();
    let mut controller = site.controller("one");
    let _speaker = site.speaker();
    site.apply(&service("web", ", loadBalancerClass: vipgate.dev/service"));
    let first = json!([{"ip": VIP, "ipMode": "VIP"}]);
    shows(&site, "web", &first);
    // It is announced, although no listener of ours is behind it.
    site.client.run("arping", ["-c1", "-w5", "-I", "eth0", VIP]).unwrap();
    let pool = site.cluster.get(["ipaddresspool", "pool", "--namespace=vipgate-system"]).unwrap();
    assert_eq!(pool["status"]["assignedIPv4"], 1, "{pool}");

    site.apply(&service("other", ", loadBalancerClass: example.com/lb"));
    controller.kill();
    let _controller = site.controller("two");
    site.apply(&service("next", ", loadBalancerClass: vipgate.dev/service"));
    shows(&site, "next", &json!([{"ip": "10.77.0.201", "ipMode": "VIP"}]));
    shows(&site, "web", &first);
    shows(&site, "other", &Value::Null);

    site.cluster.kubectl(["delete", "service", "web"]).unwrap();
    site.apply(&service("heir", ", loadBalancerClass: vipgate.dev/service"));
    shows(&site, "heir", &first);
    let patch = r#"{"spec": {"type": "ClusterIP", "loadBalancerClass": null}}"#;
    site.cluster.kubectl(["patch", "service", "heir", "--type=merge", "-p", patch]).unwrap();
    eventually(SOON, || {
        ensure!(site.get("vip", VIP).is_err(), "the claim is still there");
        Ok(())
    })
    .unwrap();
}

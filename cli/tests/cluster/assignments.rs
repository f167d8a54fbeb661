//! Which addresses Services get, in the scenarios of MetalLB's own end-to-end tests: each names the title
//! it has there (`docs/services.md` has the list). Where we differ on purpose the test says how and why.
//! What the nodes do is told by a Speaker object that the test writes, so nothing is announced.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use vipgate_lab::{Process, eventually};

use crate::site::{CLASS, SOON, Site};

const ASSIGNED: &str = "vipgate.dev/AddressAssigned";

/// A cluster with a controller, and a node that serves whatever is chosen.
struct Stage {
    site: Site,
    controller: Process,
}

impl Stage {
    fn new(name: &str) -> Self {
        let site = Site::new(name);
        site.apply(CLASS);
        let controller = site.controller("first");
        let v4 = (200..=219).map(|last| format!("10.77.0.{last}"));
        let all = v4.chain((0xc8..=0xe1).map(|last| format!("fd00:77::{last:x}")));
        let vips = all.map(|a| json!({"address": a, "state": "Serving", "interfaces": ["eth0"]}));
        site.says("worker", vips.collect());
        Self { site, controller }
    }

    /// A pool; `more` is YAML for its spec.
    fn pool(&self, name: &str, addresses: &str, more: &str) {
        self.site.apply(&format!(
            "apiVersion: vipgate.dev/v1alpha1\nkind: IPAddressPool\n\
             metadata: {{name: {name}, namespace: vipgate-system}}\n\
             spec: {{addresses: [{addresses}]{}{more}}}\n",
            if more.is_empty() { "" } else { ", " }
        ));
    }

    /// A Service; `metadata` and `spec` are YAML.
    fn service(&self, name: &str, metadata: &str, spec: &str) {
        let (metadata, spec) = (after_comma(metadata), after_comma(spec));
        let ports = if spec.contains("ports:") { "" } else { ", ports: [{port: 80}]" };
        self.site.apply(&format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}{metadata}}}\n\
             spec: {{type: LoadBalancer, selector: {{app: web}}{ports}{spec}}}\n"
        ));
    }

    fn get(&self, name: &str) -> Result<Value> {
        match name.split_once('/') {
            Some((namespace, name)) => {
                self.site.cluster.get(["service", name, &format!("--namespace={namespace}")])
            }
            None => self.site.get("service", name),
        }
    }

    fn patch(&self, kind: &str, name: &str, patch: &Value) {
        let patch = patch.to_string();
        let arguments = ["patch", kind, name, "--type=merge", "--patch", &patch];
        let arguments: Vec<&str> = match kind {
            "ipaddresspool" => [&arguments[..], &["--namespace=vipgate-system"]].concat(),
            _ => arguments.to_vec(),
        };
        self.site.cluster.kubectl(arguments).unwrap();
    }

    fn delete(&self, kind: &str, names: &[&str]) {
        let arguments = ["delete", kind, "--namespace"];
        let namespace = if kind == "ipaddresspool" { "vipgate-system" } else { "default" };
        let arguments = arguments.into_iter().chain([namespace]).chain(names.iter().copied());
        self.site.cluster.kubectl(arguments).unwrap();
    }

    /// Waits until a Service (`name` or `namespace/name`) shows exactly these addresses, in this order,
    /// and says whether that is all it asks for: `True/AddressAssigned`. Returns the message.
    fn has(&self, name: &str, addresses: &[&str], says: &str) -> String {
        eventually(SOON, || {
            let status = self.get(name)?["status"].clone();
            let ingress = status["loadBalancer"]["ingress"].as_array().cloned().unwrap_or_default();
            let shown: Vec<_> = ingress.iter().filter_map(|one| one["ip"].as_str()).collect();
            let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
            let condition = conditions.iter().find(|condition| condition["type"] == ASSIGNED);
            let condition = condition.cloned().unwrap_or_default();
            let text = |field: &str| condition[field].as_str().unwrap_or_default().to_owned();
            let said = format!("{}/{}", text("status"), text("reason"));
            ensure!(
                shown == addresses && said == says,
                "{name} is to have {addresses:?}: {status}"
            );
            ensure!(ingress.iter().all(|one| one["ipMode"] == "VIP"), "{status}");
            Ok(text("message"))
        })
        .unwrap()
    }

    fn assigned(&self, name: &str, addresses: &[&str]) -> String {
        self.has(name, addresses, "True/AddressAssigned")
    }

    /// Ends all Services that are named and all pools, and waits until nothing is claimed.
    fn clear(&self, services: &[&str]) {
        self.delete("service", services);
        self.delete("ipaddresspool", &["--all"]);
        eventually(SOON, || {
            let vips = self.site.cluster.get(["vips"])?;
            ensure!(vips["items"] == json!([]), "{vips}");
            Ok(())
        })
        .unwrap();
    }

    fn pool_status(&self, name: &str) -> Result<Value> {
        let pool = ["ipaddresspool", name, "--namespace=vipgate-system"];
        Ok(self.site.cluster.get(pool)?["status"].clone())
    }

    fn counts(&self, name: &str, expected: [u64; 4]) {
        eventually(SOON, || {
            let status = self.pool_status(name)?;
            let fields = ["assignedIPv4", "assignedIPv6", "availableIPv4", "availableIPv6"];
            let counts = fields.map(|field| status[field].as_u64().unwrap_or(u64::MAX));
            ensure!(counts == expected, "{status}");
            Ok(())
        })
        .unwrap();
    }
}

fn after_comma(yaml: &str) -> String {
    if yaml.is_empty() { String::new() } else { format!(", {yaml}") }
}

/// MetalLB: "should remove the ip from a service assign it to a free one when", "changing the service
/// type to clusterIP" and "deleting the service"; "should preseve the same external ip after controller
/// restart" (its spelling).
#[test]
fn an_address_that_is_released_goes_to_who_waits_and_a_restart_moves_none() {
    let mut stage = Stage::new("waiting");
    stage.pool("singleip-pool", "10.77.0.200", "");
    stage.service("singleip", "", "");
    stage.assigned("singleip", &["10.77.0.200"]);
    stage.service("singleip1", "", "");
    let message = stage.has("singleip1", &[], "False/PoolExhausted");
    assert!(message.contains("no IPv4 address is free in pool singleip-pool"), "{message}");
    stage.patch("service", "singleip", &json!({"spec": {"type": "ClusterIP"}}));
    stage.assigned("singleip1", &["10.77.0.200"]);
    eventually(SOON, || {
        let status = stage.get("singleip")?["status"].clone();
        ensure!(status["loadBalancer"] == json!({}), "{status}");
        Ok(())
    })
    .unwrap();

    stage.service("singleip2", "", "");
    stage.has("singleip2", &[], "False/PoolExhausted");
    stage.delete("service", &["singleip1"]);
    stage.assigned("singleip2", &["10.77.0.200"]);

    // Two addresses, four Services; whoever has one has it after each restart.
    stage.pool("singleip-pool", "10.77.0.200, 10.77.0.210", "");
    stage.service("service-b", "", "");
    stage.assigned("service-b", &["10.77.0.210"]);
    for name in ["service-c", "service-d"] {
        stage.service(name, "", "");
        stage.has(name, &[], "False/PoolExhausted");
    }
    for restart in ["second", "third"] {
        stage.controller.kill();
        stage.controller = stage.site.controller(restart);
        stage.controller.wait_for_line("leads", SOON).unwrap();
        // It has written something since, so it has decided.
        stage.service(restart, "", "");
        stage.has(restart, &[], "False/PoolExhausted");
        stage.assigned("singleip2", &["10.77.0.200"]);
        stage.assigned("service-b", &["10.77.0.210"]);
        stage.has("service-c", &[], "False/PoolExhausted");
    }
}

/// MetalLB: "should reconsider services when sharing the ip and conditions change": its steps, and its
/// outcome in each: the one that was changed leaves, whether it is the older or the younger.
#[test]
fn services_that_share_are_reconsidered_when_conditions_change() {
    let stage = Stage::new("resharing");
    stage.pool("singleip-pool", "10.77.0.200", "");
    let share = "annotations: {metallb.io/allow-shared-ip: share}";
    stage.service("changesharing", share, "");
    stage.assigned("changesharing", &["10.77.0.200"]);
    stage.service("changesharing1", share, "ports: [{port: 81}]");
    let message = stage.assigned("changesharing1", &["10.77.0.200"]);
    assert!(message.contains("shared with Service default/changesharing"), "{message}");

    let spec = |field: &str, value: &Value| json!({"spec": {field: value}});
    let local = spec("externalTrafficPolicy", &json!("Local"));
    stage.patch("service", "changesharing1", &local);
    stage.has("changesharing1", &[], "False/PoolExhausted");
    stage.assigned("changesharing", &["10.77.0.200"]);
    stage.patch("service", "changesharing", &local);
    stage.assigned("changesharing1", &["10.77.0.200"]);
    stage.assigned("changesharing", &["10.77.0.200"]);

    let selector = spec("selector", &json!({"app": null, "foo": "bar"}));
    stage.patch("service", "changesharing", &selector);
    stage.has("changesharing", &[], "False/PoolExhausted");
    stage.assigned("changesharing1", &["10.77.0.200"]);
    stage.patch("service", "changesharing1", &selector);
    stage.assigned("changesharing", &["10.77.0.200"]);
    stage.assigned("changesharing1", &["10.77.0.200"]);
}

/// MetalLB: "removes all pools" and "reallocates svc after deleting a pool". There the Service loses its
/// address, and gets another one. Here, on purpose, it keeps it and says so: clients know the address, and
/// deleting a pool by mistake must not cost it. Nor does a pool that shrinks take it back, unless it says
/// `reclaim: true`.
#[test]
fn pools_that_go_take_nothing_with_them() {
    let stage = Stage::new("gone-pools");
    let ours = "serviceAllocation: {priority: 20, namespaces: [default]}";
    stage.pool("test-ns-pool-1", "10.77.0.200", ours);
    stage.pool("test-ns-pool-2", "10.77.0.210", "");
    stage.service("svc", "", "");
    stage.assigned("svc", &["10.77.0.200"]);
    let kept = "10.77.0.200 of pool test-ns-pool-1 (kept because it is in use, although no pool has it \
                any more)";
    for gone in ["test-ns-pool-1", "test-ns-pool-2"] {
        stage.delete("ipaddresspool", &[gone]);
        eventually(SOON, || {
            let message = stage.assigned("svc", &["10.77.0.200"]);
            ensure!(message == kept, "{message}");
            Ok(())
        })
        .unwrap();
    }
    stage.service("late", "", "");
    stage.has("late", &[], "False/NoPool");
    stage.assigned("svc", &["10.77.0.200"]);

    // Back, but without that address: both report it.
    stage.pool("test-ns-pool-1", "10.77.0.205-10.77.0.206", "");
    stage.assigned("late", &["10.77.0.205"]);
    stage.assigned("svc", &["10.77.0.200"]);
    eventually(SOON, || {
        let status = stage.pool_status("test-ns-pool-1")?;
        let message = status["conditions"][0]["message"].as_str().unwrap_or_default().to_owned();
        ensure!(
            message.contains("kept, although the pool has it no more: 10.77.0.200"),
            "{status}"
        );
        Ok(())
    })
    .unwrap();
    stage.pool("test-ns-pool-1", "10.77.0.205-10.77.0.206", "reclaim: true");
    stage.assigned("svc", &["10.77.0.206"]);
}

/// MetalLB, "Validate service allocation in address pools": "with namespace", "with only priority",
/// "with namespace and namespace labels", "with service label", "with namespace and service label",
/// "with namespace with labels".
#[test]
fn pools_are_chosen_by_namespace_label_and_priority() {
    let stage = Stage::new("pinned");
    let namespace = |name: &str, labels: &str| {
        stage.site.apply(&format!(
            "apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}, labels: {{{labels}}}}}\n"
        ));
    };
    namespace("default", "foo1: bar1, foo2: bar2");
    namespace("other", "foo1: bar1");
    let [low, high, last] = ["10.77.0.200", "10.77.0.201", "10.77.0.202"];
    let in_namespace = "namespaces: [default]";
    let by_label = "serviceSelectors: [{matchLabels: {test: e2e}}]";
    let of_labels = "namespaceSelectors: [{matchLabels: {foo1: bar1, foo2: bar2}}]";
    // (title, rule of the pool with priority 20, of that with 10, of that without)
    let cases = [
        ("with namespace", in_namespace, in_namespace, Some(in_namespace)),
        ("with only priority", "", "", None),
        ("with namespace and namespace labels", in_namespace, of_labels, Some(in_namespace)),
        ("with service label", by_label, by_label, Some(in_namespace)),
        ("with namespace and service label", in_namespace, by_label, Some(in_namespace)),
    ];
    for (title, lower, higher, without) in cases {
        println!("{title}");
        let rule = |priority: u32, rule: &str| {
            format!("serviceAllocation: {{priority: {priority}{}}}", after_comma(rule))
        };
        stage.pool("pool-1", low, &rule(20, lower));
        stage.pool("pool-2", high, &rule(10, higher));
        if let Some(without) = without {
            stage.pool("ns-default-ip-pool", last, &format!("serviceAllocation: {{{without}}}"));
            // For somebody else, so not for these.
            stage.service("stranger", "namespace: other", "");
            stage.has("other/stranger", &[], "False/PoolNotAllowed");
        }
        let expected = [high, low, last];
        let names = ["svc-1", "svc-2", "svc-3"];
        let all = if without.is_some() { 3 } else { 2 };
        for (name, address) in names.into_iter().zip(expected).take(all) {
            stage.service(name, "labels: {test: e2e}", "");
            stage.assigned(name, &[address]);
        }
        stage.clear(&names[..all]);
        if without.is_some() {
            let stranger = ["delete", "service", "stranger", "--namespace=other"];
            stage.site.cluster.kubectl(stranger).unwrap();
        }
    }

    // "with namespace with labels"
    namespace("second", "second: ns");
    let selecting = |priority: u32, labels: &str| {
        format!(
            "serviceAllocation: {{priority: {priority}, \
             namespaceSelectors: [{{matchLabels: {{{labels}}}}}]}}"
        )
    };
    stage.pool("first-ns-labels-ip-pool", low, &selecting(10, "foo2: bar2"));
    stage.pool("second-ns-labels-ip-pool", high, &selecting(10, "second: ns"));
    stage.pool("no-ns-labels-ip-pool", last, "");
    stage.pool("higher", "10.77.0.203", &selecting(5, "second: ns, newLabel: 'true'"));
    stage.service("second-ns-service", "namespace: second", "");
    stage.assigned("second/second-ns-service", &[high]);
    stage.service("default-ns-service", "", "");
    stage.assigned("default-ns-service", &[low]);
    stage.service("default-ns-service2", "", "");
    stage.assigned("default-ns-service2", &[last]);
    namespace("second", "second: ns, newLabel: 'true'");
    stage.service("second-ns-service2", "namespace: second", "");
    stage.assigned("second/second-ns-service2", &["10.77.0.203"]);
    stage.assigned("second/second-ns-service", &[high]);
}

const PREFER: &str = "ipFamilyPolicy: PreferDualStack";

/// MetalLB, "PREFER DUALSTACK": "Should select dual-stack pool if available", "Should prefer primary ip
/// ipv4 family among single-stack pools by default", "Should prefer primary ipv6 ip family among
/// single-stack pools", "Additional ip should be assigned when the assigned 1-stack pool becomes
/// dual-stack", "Svc assigned from single-stack pool should not jump to dual-stack pool when it's
/// available".
#[test]
fn a_service_that_prefers_two_families_gets_what_its_pool_has() {
    let stage = Stage::new("dualstack");
    let (v4, v6) = ("10.77.0.200", "'fd00:77::c8/125'");
    let dual = "10.77.0.210, 'fd00:77::d8/125'";
    stage.pool("a-ipv4", v4, "");
    stage.pool("b-ipv6", v6, "");
    stage.pool("c-dualstack", dual, "");
    stage.service("svc", "", PREFER);
    stage.assigned("svc", &["10.77.0.210", "fd00:77::d8"]);
    stage.clear(&["svc"]);

    // The pool that does not fit comes first by name.
    stage.pool("a-ipv6", v6, "");
    stage.pool("b-ipv4", v4, "");
    stage.service("svc", "", PREFER);
    stage.assigned("svc", &["10.77.0.200"]);
    stage.clear(&["svc"]);
    stage.pool("a-ipv4", v4, "");
    stage.pool("b-ipv6", v6, "");
    stage.service("svc", "", &format!("{PREFER}, ipFamilies: [IPv6, IPv4]"));
    stage.assigned("svc", &["fd00:77::c8"]);
    stage.clear(&["svc"]);

    let ours = "serviceAllocation: {namespaces: [default]}";
    stage.pool("test-ns-dualstack-pool", v4, ours);
    stage.service("svc", "", PREFER);
    stage.assigned("svc", &["10.77.0.200"]);
    stage.pool("test-ns-dualstack-pool", &format!("10.77.0.192/28, {v6}"), ours);
    stage.assigned("svc", &["10.77.0.200", "fd00:77::c8"]);
    // Downgrade, and upgrade again.
    stage.patch("service", "svc", &json!({"spec": {"ipFamilyPolicy": "SingleStack"}}));
    stage.assigned("svc", &["10.77.0.200"]);
    stage.patch("service", "svc", &json!({"spec": {"ipFamilyPolicy": "PreferDualStack"}}));
    stage.assigned("svc", &["10.77.0.200", "fd00:77::c8"]);
    stage.clear(&["svc"]);

    stage.pool("a-ipv4", v4, "");
    stage.service("svc", "", PREFER);
    stage.assigned("svc", &["10.77.0.200"]);
    stage.pool("b-dualstack", dual, "");
    // When a younger one has been served by the new pool, the older one was considered too.
    stage.service("later", "", PREFER);
    stage.assigned("later", &["10.77.0.210", "fd00:77::d8"]);
    stage.assigned("svc", &["10.77.0.200"]);
}

/// MetalLB, "PREFER DUALSTACK": "Single-stack pool should assign based on svc changes between
/// PreferDualStack and RequireDualStack" and "When current dualstack pool becomes single-stack, svc should
/// pick another dualstack pool if possible". There a Service that has to have both families loses the
/// address that it has, and in the second case both are replaced. Here, on purpose, what clients know
/// stays: the condition says which family is missing, and only an address that a pool takes back
/// (`reclaim: true`) is replaced.
#[test]
fn a_change_of_policy_or_pool_costs_no_address_that_is_in_use() {
    let stage = Stage::new("policies");
    stage.pool("test-ns-dualstack-pool", "10.77.0.200", "");
    stage.service("svc", "", PREFER);
    stage.assigned("svc", &["10.77.0.200"]);
    stage.patch("service", "svc", &json!({"spec": {"ipFamilyPolicy": "RequireDualStack"}}));
    let message = stage.has("svc", &["10.77.0.200"], "False/NoAddressOfFamily");
    assert!(message.contains("has no IPv6 addresses"), "{message}");
    // A new one has both or nothing.
    stage.service("new", "", "ipFamilyPolicy: RequireDualStack");
    let message = stage.has("new", &[], "False/PoolExhausted");
    assert!(message.contains("has no IPv6 addresses"), "{message}");
    stage.patch("service", "svc", &json!({"spec": {"ipFamilyPolicy": "PreferDualStack"}}));
    stage.assigned("svc", &["10.77.0.200"]);
    stage.clear(&["svc", "new"]);

    stage.pool("a-dualstack", "10.77.0.200, 'fd00:77::c8'", "");
    stage.service("svc", "", PREFER);
    stage.assigned("svc", &["10.77.0.200", "fd00:77::c8"]);
    stage.pool("b-dualstack", "10.77.0.210, 'fd00:77::d8'", "");
    stage.pool("a-dualstack", "'fd00:77::c8'", "");
    eventually(SOON, || {
        let message = stage.assigned("svc", &["10.77.0.200", "fd00:77::c8"]);
        ensure!(message.contains("10.77.0.200 of pool a-dualstack (kept"), "{message}");
        Ok(())
    })
    .unwrap();
    stage.pool("a-dualstack", "'fd00:77::c8'", "reclaim: true");
    stage.assigned("svc", &["10.77.0.210", "fd00:77::c8"]);
}

/// MetalLB: "Pool Status", "DUALSTACK"; "AddressPool defined by address range" and "AddressPool defined by
/// network prefix"; "validate requesting a specific address pool for Loadbalancer service" (IPv4 and IPv6,
/// autoAssign true and false); "IPV4 Should work with mixed protocol services", as far as the address goes;
/// "A service with loadbalancer class", "should not get an ip".
#[test]
fn pools_are_counted_named_and_written_in_every_form() {
    let stage = Stage::new("pool-forms");
    stage.pool("test-pool", "10.77.0.200/30, 'fd00:77::c8/126'", "");
    stage.counts("test-pool", [0, 0, 4, 4]);
    let mixed = "ipFamilyPolicy: RequireDualStack, ports: [{name: a, port: 53, protocol: UDP}, \
                 {name: b, port: 53, protocol: TCP}]";
    stage.service("svc", "", mixed);
    stage.assigned("svc", &["10.77.0.200", "fd00:77::c8"]);
    stage.counts("test-pool", [1, 1, 3, 3]);
    stage.pool("test-pool", "10.77.0.200/29, 'fd00:77::c8/125'", "");
    stage.counts("test-pool", [1, 1, 7, 7]);
    stage.delete("service", &["svc"]);
    stage.counts("test-pool", [0, 0, 8, 8]);

    for auto_assign in [true, false] {
        let more = format!("autoAssign: {auto_assign}");
        stage.pool("range", "10.77.0.212-10.77.0.213, 'fd00:77::e0-fd00:77::e1'", &more);
        for (family, address) in [("IPv4", "10.77.0.212"), ("IPv6", "fd00:77::e0")] {
            let named = "annotations: {metallb.io/address-pool: range}";
            stage.service("named", named, &format!("ipFamilies: [{family}]"));
            stage.assigned("named", &[address]);
            stage.delete("service", &["named"]);
        }
    }
    stage.service("theirs", "", "loadBalancerClass: example.com/lb");
    stage.service("ours", "", "loadBalancerClass: vipgate.dev/service");
    stage.assigned("ours", &["10.77.0.200"]);
    let theirs = stage.get("theirs").unwrap();
    assert_eq!(theirs["status"], json!({"loadBalancer": {}}), "not looked at");
}

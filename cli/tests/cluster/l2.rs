//! From which node a VIP is announced, as L2Advertisements, Nodes and endpoints change; and what
//! `vipgate why` says of it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use vipgate_lab::cluster::Patch;
use vipgate_lab::{Link, Mac, Node, Process, Result, eventually};

use crate::site::{NAMESPACE, SOON, Site, VIP};

/// Two nodes with speakers, a controller, and a Service that has the VIP.
struct Two {
    site: Site,
    second: Mac,
    _machine: (Node, Link),
    _speakers: [Process; 2],
    _controller: Process,
}

const SERVICE: &str = "apiVersion: v1\nkind: Service\nmetadata: {name: web, labels: {app: web}}\n\
    spec: {type: LoadBalancer, loadBalancerClass: vipgate.dev/service, ports: [{port: 80}]}\n";

impl Two {
    fn new(name: &str) -> Self {
        let site = Site::new(name);
        let machine = site.lab.node("second").unwrap();
        let cable = machine.join(&site.lan, "10.77.0.12/24").unwrap();
        for name in ["worker", "second"] {
            site.apply(&format!(
                "apiVersion: v1\nkind: Node\nmetadata: {{name: {name}, labels: {{host: {name}}}}}\n"
            ));
        }
        site.apply_pool();
        site.apply(SERVICE);
        let speakers = [site.speaker(), site.speaker_on(&machine, "second", "10.77.0.12")];
        let controller = site.controller("one");
        eventually(SOON, || {
            let service = site.get("service", "web")?;
            ensure!(service["status"]["loadBalancer"]["ingress"][0]["ip"] == VIP, "{service}");
            Ok(())
        })
        .unwrap();
        let second = cable.mac();
        Self {
            site,
            second,
            _machine: (machine, cable),
            _speakers: speakers,
            _controller: controller,
        }
    }

    fn advertise(&self, spec: &Value) {
        let object = json!({
            "apiVersion": "vipgate.dev/v1alpha1", "kind": "L2Advertisement",
            "metadata": {"name": "lan", "namespace": NAMESPACE}, "spec": spec,
        });
        // As a person edits it: what is left out is gone.
        let old = format!("/apis/vipgate.dev/v1alpha1/namespaces/{NAMESPACE}/l2advertisements/lan");
        drop(self.site.cluster.api().delete(&old, &json!({})));
        self.site.apply(&object.to_string());
    }

    /// Waits until these and nobody else answer for the VIP.
    fn answered_by(&self, names: &[&str]) {
        let mac = |name: &&str| match *name {
            "second" => self.second,
            _ => self.site.cables.worker.mac(),
        };
        let expected: BTreeSet<Mac> = names.iter().map(mac).collect();
        eventually(SOON, || {
            let found = self.site.who_has(VIP);
            ensure!(found == expected, "{found:?} answer, not {names:?}");
            Ok(())
        })
        .unwrap();
    }

    fn why(&self) -> Result<Value> {
        let text = self.site.why(&[VIP, "--output", "json"])?;
        let answer: Value = serde_json::from_str(&text)?;
        ensure!(answer["schema"] == "vipgate.dev/why/v1", "{answer:#}");
        Ok(answer["ownership"][0].clone())
    }

    /// Waits until `vipgate why` says this of a node.
    fn excluded(&self, name: &str, reason: &str) {
        eventually(SOON, || {
            let why = self.why()?;
            let nodes = why["nodes"].as_array().context("nodes")?;
            let node = nodes.iter().find(|node| node["name"] == name).context("the node")?;
            ensure!(node["reason"] == reason, "{why:#}");
            Ok(())
        })
        .unwrap();
    }

    fn owner(&self) -> String {
        let one = || {
            let why = self.why()?;
            Ok(why["owner"].as_str().with_context(|| format!("{why:#}"))?.to_owned())
        };
        eventually(SOON, one).unwrap()
    }

    fn node(&self, name: &str, patch: &Value) {
        let path = format!("/api/v1/nodes/{name}");
        self.site.cluster.api().patch(&path, Patch::Merge, patch).unwrap();
    }
}

fn other(name: &str) -> &'static str {
    if name == "worker" { "second" } else { "worker" }
}

/// MetalLB: "node selector", "work selecting one node", "work with multiple node selectors", "work when adding
/// nodes"; "Validate L2ServiceStatus interface" (here: the Speaker object), "Validate the LB IP's mac", "Modify
/// L2 interface", "Specify not existing interfaces", "Address pool connected with two L2 advertisements".
#[test]
fn a_vip_is_announced_from_the_nodes_and_interfaces_that_its_advertisements_select() {
    let two = Two::new("l2-nodes");
    let only = |name: &str| json!({"nodeSelectors": [{"matchLabels": {"host": name}}]});
    for (name, not) in [("second", "worker"), ("worker", "second")] {
        two.advertise(&only(name));
        two.answered_by(&[name]);
        two.excluded(not, "NodeNotSelected");
        assert_eq!(two.owner(), name);
    }
    // A label that is put on a node counts as one that was there.
    two.advertise(&only("new"));
    two.answered_by(&[]);
    two.node("second", &json!({"metadata": {"labels": {"host": "new"}}}));
    two.answered_by(&["second"]);
    two.node("second", &json!({"metadata": {"labels": {"host": "second"}}}));

    let second = "second";
    let on = |interface: &str| json!({"interfaces": [interface], "nodeSelectors": [{"matchLabels": {"host": second}}]});
    two.advertise(&on("nope0"));
    two.answered_by(&[]);
    two.excluded(second, "NoInterface");
    let why = two.site.why(&[VIP]).unwrap();
    assert!(why.contains("^ the first broken link: NoInterface"), "{why}");
    assert!(why.contains("-n vipgate-system edit l2advertisements.vipgate.dev"), "{why}");
    let of_service = two.site.why(&["service/web:80"]).unwrap();
    assert!(of_service.contains("^ the first broken link: NoInterface"), "{of_service}");
    assert!(of_service.contains("✓ controller"), "{of_service}");
    let error = two.site.vipgate(&["why", "service/wbe"]).unwrap_err();
    assert!(format!("{error:#}").contains("did you mean default/web?"), "{error:#}");
    assert!(why.contains("nobody has it: no node is a candidate"), "{why}");
    assert!(why.contains("advertised by L2Advertisement vipgate-system/lan"), "{why}");
    assert!(why.contains("node second has no interface nope0: it has eth0"), "{why}");
    two.advertise(&on("eth0"));
    two.answered_by(&[second]);
    eventually(SOON, || {
        let speaker = two.site.get("speaker", second)?;
        let vip = &speaker["status"]["vips"][0];
        ensure!(vip["interfaces"] == json!(["eth0"]) && vip["since"].is_string(), "{speaker:#}");
        Ok(())
    })
    .unwrap();
    // A second one adds up: with the first alone nobody could.
    two.advertise(&on("nope0"));
    two.answered_by(&[]);
    two.site.apply(&format!(
        "apiVersion: vipgate.dev/v1alpha1\nkind: L2Advertisement\n\
         metadata: {{name: more, namespace: {NAMESPACE}}}\nspec: {{interfaces: [eth0], \
         nodeSelectors: [{{matchLabels: {{host: second}}}}]}}\n"
    ));
    two.answered_by(&[second]);
}

/// MetalLB: "should announce only services matching both pool and service selectors", "should not announce a
/// service when no advertisement matches both"; and what is MetalLB's only behaviour and here an option: a VIP
/// without backends is withdrawn.
#[test]
fn a_vip_that_no_advertisement_takes_or_that_has_no_backend_is_announced_nowhere() {
    let two = Two::new("l2-svcs");
    let of = |app: &str| json!({"serviceSelectors": [{"matchLabels": {"app": app}}]});
    two.advertise(&of("dns"));
    two.answered_by(&[]);
    two.excluded("worker", "NoAdvertisement");
    two.advertise(&of("web"));
    let owner = two.owner();
    two.answered_by(&[&owner]);

    let annotate = |value: &str| {
        let path = "/api/v1/namespaces/default/services/web";
        let patch = json!({"metadata": {"annotations": {"vipgate.dev/no-backends": value}}});
        two.site.cluster.api().patch(path, Patch::Merge, &patch).unwrap();
    };
    annotate("Withdraw");
    two.answered_by(&[]);
    two.excluded("worker", "NoBackend");
    two.excluded("second", "NoBackend");
    two.site.apply(SLICE);
    let owner = two.owner();
    two.answered_by(&[&owner]);
    two.site.cluster.kubectl(["delete", "endpointslice", "web-1"]).unwrap();
    two.answered_by(&[]);
    annotate("withdraw");
    let owner = two.owner();
    two.answered_by(&[&owner]);
    eventually(SOON, || {
        let service = two.site.get("service", "web")?;
        let conditions = service["status"]["conditions"].to_string();
        ensure!(conditions.contains("vipgate.dev/no-backends says"), "{conditions}");
        Ok(())
    })
    .unwrap();

    let error = two.site.vipgate(&["why", "10.77.0.99"]).unwrap_err();
    let error = format!("{error:#}");
    assert!(error.contains("10.77.0.99 is no VIP; these are: 10.77.0.200"), "{error}");
}

const SLICE: &str = "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
    metadata: {name: web-1, labels: {kubernetes.io/service-name: web}}\naddressType: IPv4\n\
    ports: [{port: 80}]\nendpoints: [{addresses: [10.77.0.4], conditions: {ready: true}}]\n";

/// MetalLB: "should not be announced from a node with a NetworkUnavailable condition", "should work when adding
/// NodeExcludeBalancers label to a node". There the VIP is back when the label is gone; here it stays with the
/// node that took it, and `vipgate rebalance` moves it.
#[test]
fn a_node_that_should_have_no_traffic_gives_its_vip_away_and_gets_it_back_in_a_rebalance() {
    let two = Two::new("l2-fitness");
    two.advertise(&json!({}));
    let first = two.owner();
    two.answered_by(&[&first]);
    let second = other(&first);
    let excluded = "node.kubernetes.io/exclude-from-external-load-balancers";
    two.node(&first, &json!({"metadata": {"labels": {excluded: "true"}}}));
    two.answered_by(&[second]);
    two.excluded(&first, "ExcludedByLabel");
    two.node(&first, &json!({"metadata": {"labels": {excluded: null}}}));

    let unavailable = |status: &str| {
        let condition = json!({"type": "NetworkUnavailable", "status": status});
        let path = format!("/api/v1/nodes/{second}/status");
        let patch = json!({"status": {"conditions": [condition]}});
        two.site.cluster.api().patch(&path, Patch::Merge, &patch).unwrap();
    };
    unavailable("True");
    two.answered_by(&[&first]);
    two.excluded(second, "NetworkUnavailable");
    unavailable("False");

    // Both are well again. Cordoned once, whichever is the rule's choice loses it.
    let choice = eventually(SOON, || {
        let why = two.why()?;
        let well = |node: &Value| node["reason"].is_null();
        ensure!(why["nodes"].as_array().context("nodes")?.iter().all(well), "{why:#}");
        Ok(why["choice"].as_str().context("a choice")?.to_owned())
    })
    .unwrap();
    let rest = other(&choice);
    two.node(&choice, &json!({"spec": {"unschedulable": true}}));
    two.answered_by(&[rest]);
    two.node(&choice, &json!({"spec": {"unschedulable": null}}));
    std::thread::sleep(Duration::from_secs(3));
    two.answered_by(&[rest]);
    let why = two.site.why(&[VIP]).unwrap();
    assert!(why.contains("`vipgate rebalance` moves it there"), "{why}");
    let said = two.site.vipgate(&["rebalance"]).unwrap();
    assert!(said.contains("every node takes the VIPs"), "{said}");
    two.answered_by(&[&choice]);
}

/// MetalLB: "should work for ExternalTrafficPolicy=Local", "different services sharing the same ip should
/// advertise from the same node".
#[test]
fn services_that_share_a_vip_go_by_the_nodes_that_have_endpoints_of_both() {
    let two = Two::new("l2-shared");
    two.site.cluster.kubectl(["delete", "service", "web"]).unwrap();
    let service = |name: &str, port: u16| {
        format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, annotations: \
             {{vipgate.dev/allow-shared-ip: k}}}}\nspec: {{type: LoadBalancer, loadBalancerClass: \
             vipgate.dev/service, externalTrafficPolicy: Local, selector: {{app: x}}, \
             ports: [{{port: {port}}}]}}\n"
        )
    };
    let endpoints = |name: &str, on: &[&str]| {
        let endpoint = |node: &&str| json!({"addresses": ["10.77.0.4"], "nodeName": node, "conditions": {"ready": true}});
        let endpoints: Vec<Value> = on.iter().map(endpoint).collect();
        let slice = json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"name": name, "labels": {"kubernetes.io/service-name": name}},
            "addressType": "IPv4", "ports": [{"port": 80}], "endpoints": endpoints,
        });
        two.site.apply(&slice.to_string());
    };
    endpoints("a", &["worker", "second"]);
    endpoints("b", &["second"]);
    two.site.apply(&service("a", 80));
    // The older one by more than the second in which times are kept.
    std::thread::sleep(Duration::from_millis(1_500));
    two.site.apply(&service("b", 81));
    eventually(SOON, || {
        let vip = two.site.get("vip", VIP)?;
        ensure!(vip["spec"]["users"].as_array().map(Vec::len) == Some(2), "{vip}");
        Ok(())
    })
    .unwrap();
    two.answered_by(&["second"]);
    two.excluded("worker", "NoLocalEndpoint");
    // None has both: the older one decides.
    endpoints("a", &["worker"]);
    two.answered_by(&["worker"]);
    two.excluded("worker", "NoCommonNode");
    eventually(SOON, || {
        let service = two.site.get("service", "b")?;
        let conditions = service["status"]["conditions"].to_string();
        ensure!(conditions.contains("it goes by the oldest, Service default/a"), "{conditions}");
        Ok(())
    })
    .unwrap();
}

/// MetalLB: "should prefer the labeled node and fall back when the label is removed", "should use baseline
/// election when no node matches", "should re-elect when the L2Advertisement changes". Different here: a VIP
/// goes to a preferred node only when that was there for half a minute, and stays where it is when nobody
/// is preferred any more.
#[test]
fn a_vip_goes_to_a_preferred_node_after_half_a_minute_and_stays_when_nobody_is_preferred() {
    let two = Two::new("l2-prefer");
    let prefer = |label: &str| {
        json!({"preferredNodeSelectors":
            [{"weight": 10, "preference": {"matchLabels": {"rack": label}}}]})
    };
    // No node matches.
    two.advertise(&prefer("north"));
    let owner = two.owner();
    let goal = other(&owner);
    two.node(goal, &json!({"metadata": {"labels": {"rack": "north"}}}));
    let labelled = Instant::now();
    let moved = || {
        let why = two.why()?;
        ensure!(why["owner"] == goal, "{why:#}");
        Ok(labelled.elapsed())
    };
    let took = eventually(SOON * 3, moved).unwrap();
    eprintln!("preferred after {took:?}");
    assert!(took >= Duration::from_secs(29), "it moved after {took:?}");
    two.answered_by(&[goal]);

    // Nobody is preferred, and nothing moves; nor does it for another preference at once.
    two.node(goal, &json!({"metadata": {"labels": {"rack": null}}}));
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(two.owner(), goal);
    two.node(&owner, &json!({"metadata": {"labels": {"rack": "south"}}}));
    two.advertise(&prefer("south"));
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(two.owner(), goal);
    two.answered_by(&[goal]);
}

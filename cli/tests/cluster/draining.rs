//! A node that is drained, and whose routes are the last that a router knows.

use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use vipgate_lab::cluster::Patch;
use vipgate_lab::eventually;
use vipgate_lab::routers::PeerSetup;

use crate::callers::meanwhile;
use crate::routed::{Beside, ROUTED, ROUTER};
use crate::site::{NAMESPACE, SOON, Site, backend, gateway, route};

/// RFC 8326.
#[test]
fn a_drained_node_keeps_the_last_way_until_there_is_another() {
    let site = Site::new("draining");
    let second = site.lab.node("second").unwrap();
    let _cable = second.join(&site.lan, "10.77.0.12/24").unwrap();
    let peers = ["10.77.0.2", "10.77.0.12"].map(|node| PeerSetup::new(ROUTER, node)).to_vec();
    let beside = Beside::new(&site, peers);
    let router = &beside.router;
    for name in ["worker", "second"] {
        site.has_node(name);
    }
    site.apply(&format!(
        "apiVersion: vipgate.dev/v1alpha1\nkind: BGPPeer\nmetadata: {{name: tor, namespace: {NAMESPACE}}}\n\
         spec: {{myASN: 65001, peerASN: 65002, peerAddress: {ROUTER}, connectTime: 1s, holdTime: 3s}}\n---\n\
         apiVersion: vipgate.dev/v1alpha1\nkind: BGPAdvertisement\nmetadata: {{name: all, namespace: {NAMESPACE}}}\n\
         spec: {{}}\n"
    ));
    let _speakers = [site.speaker(), site.speaker_on(&second, "second", "10.77.0.12")];
    let _controller = site.controller("one");
    let _echo = site.echo(7000, "hello");
    site.apply(&[gateway("web", &[("tcp", 80)]), backend("web", 7000)].join("---\n"));
    site.apply(&route("v1", "web", "web", "web"));
    router.forwards(ROUTED, &["10.77.0.12", "10.77.0.2"], SOON * 2).unwrap();
    eventually(SOON, || site.greeting(&format!("{ROUTED}:80")).context("no answer")).unwrap();
    let excluded = |value: Value| {
        let labels = json!({"node.kubernetes.io/exclude-from-external-load-balancers": value});
        let patch = json!({"metadata": {"labels": labels}});
        site.cluster.api().patch("/api/v1/nodes/worker", Patch::Merge, &patch).unwrap();
    };

    // The other one loses its router, and then this one is drained.
    second.run("ip", ["route", "add", "blackhole", &format!("{ROUTER}/32")]).unwrap();
    router.forwards(ROUTED, &["10.77.0.2"], SOON).unwrap();
    // Until it has noticed it says that the router knows the VIP.
    eventually(SOON, || {
        let speaker = site.get("speaker", "second")?;
        ensure!(speaker["status"]["peers"][0]["state"] == "Connect", "{speaker:#}");
        Ok(())
    })
    .unwrap();
    let (answered, failed) = meanwhile(&site, &format!("{ROUTED}:80"), "hello", || {
        excluded(json!(""));
        eventually(SOON, || {
            let known = router.route(ROUTED);
            ensure!(known.to_lowercase().contains("graceful-shutdown"), "{known}");
            Ok(())
        })
        .unwrap();
        // Longer than it took to withdraw, had it done so.
        std::thread::sleep(Duration::from_secs(3));
        router.forwards(ROUTED, &["10.77.0.2"], SOON).unwrap();
        let worker = site.get("speaker", "worker").unwrap();
        assert_eq!(worker["status"]["givesWay"]["reason"], "ExcludedByLabel", "{worker:#}");
        assert_eq!(worker["status"]["vips"][0]["state"], "Serving", "{worker:#}");

        // The other one finds its router again: that is the way now.
        second.run("ip", ["route", "del", "blackhole", &format!("{ROUTER}/32")]).unwrap();
        router.forwards(ROUTED, &["10.77.0.12"], SOON * 2).unwrap();
        std::thread::sleep(Duration::from_secs(1));
    });
    println!("drained without another way: {answered} connections, {failed} failed");
    assert!(answered > 50 && failed == 0, "{answered} answered, {failed} failed");
    let worker = site.get("speaker", "worker").unwrap();
    assert_eq!(worker["status"]["vips"][0]["reason"], "ExcludedByLabel", "{worker:#}");

    // Lost again, and it is needed again.
    second.run("ip", ["route", "add", "blackhole", &format!("{ROUTER}/32")]).unwrap();
    router.forwards(ROUTED, &["10.77.0.2"], SOON).unwrap();
    // Back for good, as any other.
    excluded(Value::Null);
    eventually(SOON, || {
        let known = router.route(ROUTED).to_lowercase();
        ensure!(!known.contains("graceful-shutdown") && known.contains("10.77.0.2"), "{known}");
        Ok(())
    })
    .unwrap();
}

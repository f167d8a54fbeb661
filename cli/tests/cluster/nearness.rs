//! `trafficDistribution`: of the endpoints of a Service, a node forwards to those in its zone.

use std::collections::BTreeSet;

use anyhow::ensure;
use vipgate_lab::cluster::Images;
use vipgate_lab::{Result, eventually};

use crate::kube_proxy::{ECHO, who_answers};
use crate::site::{SOON, Site, gateway};

const ROUTE: &str = "apiVersion: gateway.networking.k8s.io/v1
kind: TCPRoute
metadata: {name: web}
spec:
  parentRefs: [{name: web}]
  rules: [{backendRefs: [{name: echo, port: 80}]}]
";

/// The hints are those that Kubernetes' own controller writes.
#[test]
fn connections_stay_in_their_zone_while_it_has_an_endpoint() {
    let site = Site::new("near");
    site.apply_pool();
    let workers = [
        site.cluster.add_worker(&site.worker, "worker", "10.77.0.2".parse().unwrap()).unwrap(),
        site.cluster.add_worker(&site.servers, "servers", "10.77.0.4".parse().unwrap()).unwrap(),
    ];
    let zone = |node: &str, zone: &str| {
        let label = format!("topology.kubernetes.io/zone={zone}");
        site.cluster.kubectl(["label", "node", node, &label, "--overwrite"]).unwrap();
    };
    zone("worker", "here");
    zone("servers", "there");
    let _pods = site.cluster.play_pods(&workers, Images::of_conformance().unwrap()).unwrap();
    let _controller = site.controller("one");
    let _speaker = site.speaker();
    let near = "spec:\n  type: ClusterIP\n  trafficDistribution: PreferClose\n";
    let service = "spec:\n  type: LoadBalancer\n  loadBalancerClass: vipgate.dev/service\n";
    assert!(ECHO.contains(service));
    site.apply(&ECHO.replace(service, near));
    site.apply(&gateway("web", &[("tcp", 80)]));
    site.apply(ROUTE);

    let pods = || -> Result<Vec<(String, String)>> {
        let pods = site.cluster.get(["pods", "--selector=app=echo"])?;
        let text = |pod: &serde_json::Value, field: &str| {
            pod.pointer(field).and_then(|text| text.as_str()).unwrap_or_default().to_owned()
        };
        let all = pods["items"].as_array().into_iter().flatten();
        Ok(all.map(|pod| (text(pod, "/spec/nodeName"), text(pod, "/metadata/name"))).collect())
    };
    let on = |node: &str| -> Result<BTreeSet<String>> {
        Ok(pods()?.into_iter().filter(|(of, _)| of == node).map(|(_, name)| name).collect())
    };
    let answering = || -> Result<BTreeSet<String>> {
        (0..8).map(|_| who_answers(&site, "10.77.0.200:80")).collect()
    };
    let only_answer = |node: &str| {
        eventually(4 * SOON, || {
            let (who, there) = (answering()?, on(node)?);
            ensure!(!who.is_empty() && who.is_subset(&there), "{who:?} answer, not {there:?}");
            Ok(())
        })
        .unwrap();
    };
    eventually(SOON, || {
        let all = pods()?;
        ensure!(all.len() == 2 && on("servers")?.len() == 1, "{all:?}");
        answering().map(drop)
    })
    .unwrap();
    only_answer("worker");
    // Where the zone has none, those of others are as good.
    let moved = "{\"spec\":{\"template\":{\"spec\":{\"nodeSelector\":\
                 {\"kubernetes.io/hostname\":\"servers\"}}}}}";
    site.cluster.kubectl(["patch", "deployment", "echo", "--patch", moved]).unwrap();
    only_answer("servers");
}

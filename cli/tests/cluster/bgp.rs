//! VIPs that a router knows from the speakers of a cluster: BGPPeers and BGPAdvertisements on a real API
//! server, the password in a Secret, and FRR as the router.

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use vipgate_lab::cluster::Patch;
use vipgate_lab::routers::PeerSetup;
use vipgate_lab::{Result, eventually};

use crate::routed::{Beside, ROUTED, ROUTER};
use crate::site::{NAMESPACE, SOON, Site, backend, gateway, route};

const PASSWORD: &str = "s3cret";

fn secret(password: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: router, namespace: {NAMESPACE}}}\n\
         type: kubernetes.io/basic-auth\nstringData: {{password: {password}}}\n"
    )
}

fn advertisement() -> String {
    format!(
        "apiVersion: vipgate.dev/v1alpha1\nkind: BGPAdvertisement\nmetadata: {{name: all, namespace: {NAMESPACE}}}\n\
         spec: {{communities: [blue, no-export]}}\n---\n\
         apiVersion: vipgate.dev/v1alpha1\nkind: Community\nmetadata: {{name: names, namespace: {NAMESPACE}}}\n\
         spec: {{communities: [{{name: blue, value: '65001:7'}}]}}\n"
    )
}

fn peer() -> String {
    format!(
        "apiVersion: vipgate.dev/v1alpha1\nkind: BGPPeer\nmetadata: {{name: tor, namespace: {NAMESPACE}}}\n\
         spec: {{myASN: 65001, peerASN: 65002, peerAddress: {ROUTER}, connectTime: 2s, \
         passwordSecret: {{name: router}}}}\n"
    )
}

/// A Service that only the node `second` has an endpoint of.
const LOCAL: &str = "apiVersion: v1\nkind: Service\nmetadata: {name: local}\nspec: {type: LoadBalancer, \
    loadBalancerClass: vipgate.dev/service, externalTrafficPolicy: Local, ports: [{port: 81}]}\n---\n\
    apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: local, labels: \
    {kubernetes.io/service-name: local}}\naddressType: IPv4\nports: [{port: 81}]\nendpoints: \
    [{addresses: [10.77.0.4], nodeName: second, conditions: {ready: true}}]\n";

/// What the Speaker object of a node says of its session.
fn session(site: &Site, node: &str) -> Result<Value> {
    let speaker = site.get("speaker", node)?;
    let peers = speaker["status"]["peers"].as_array().cloned().unwrap_or_default();
    peers.into_iter().next().with_context(|| format!("no session yet: {speaker:#}"))
}

fn state(site: &Site, node: &str, is: &str) -> Value {
    eventually(SOON * 2, || {
        let session = session(site, node)?;
        ensure!(session["state"] == is, "{session:#}");
        Ok(session)
    })
    .unwrap()
}

/// MetalLB: "ETP=local works: IPV4", "external containers paired, with password Secret ref", "community from
/// CRD", "rejects any routes advertised by any neighbour".
#[test]
fn speakers_of_a_cluster_announce_what_they_serve_to_a_router() {
    let site = Site::new("bgp");
    let second = site.lab.node("second").unwrap();
    let _cable = second.join(&site.lan, "10.77.0.12/24").unwrap();
    let neighbour = |address: &str| PeerSetup {
        password: Some(PASSWORD.to_owned()),
        announces: true,
        ..PeerSetup::new(ROUTER, address)
    };
    let peers = vec![neighbour("10.77.0.2"), neighbour("10.77.0.12")];
    let beside = Beside::new(&site, peers);
    let router = &beside.router;
    for name in ["worker", "second"] {
        site.has_node(name);
    }
    for text in [&secret("other"), &peer(), &advertisement()] {
        site.apply(text);
    }
    let _speakers = [site.speaker(), site.speaker_on(&second, "second", "10.77.0.12")];
    let _controller = site.controller("one");
    let _echo = site.echo(7000, "hello");
    site.apply(&[gateway("web", &[("tcp", 80)]), backend("web", 7000)].join("---\n"));
    site.apply(&route("v1", "web", "web", "web"));

    // With a wrong password nobody takes it, and nobody says that it works.
    eventually(SOON * 2, || {
        let error = session(&site, "worker")?["lastError"].to_string();
        ensure!(error.contains("password"), "{error}");
        Ok(())
    })
    .unwrap();
    let gateway = site.get("gateway", "web").unwrap();
    let programmed = crate::site::said(&gateway["status"]["conditions"], "Programmed");
    assert!(!programmed.unwrap_or_default().starts_with("True"), "{gateway:#}");
    site.apply(&secret(PASSWORD));
    router.forwards(ROUTED, &["10.77.0.12", "10.77.0.2"], SOON * 2).unwrap();
    site.condition("gateway", "web", "Programmed", "True/Programmed");
    assert_eq!(site.greeting(&format!("{ROUTED}:80")).unwrap(), "hello");
    let known = router.route(ROUTED);
    assert!(known.contains("65001:7") && known.contains("no-export"), "{known}");
    for node in ["worker", "second"] {
        state(&site, node, "Established");
    }
    let said = site.vipgate(&["bgp"]).unwrap();
    assert_eq!(said.matches("Established").count(), 2, "{said}");
    assert!(!said.contains(PASSWORD), "{said}");
    // What the router announces goes nowhere.
    let routes = site.worker.run("ip", ["route"]).unwrap();
    assert!(
        !routes.contains("proto bgp") && !routes.contains(&format!("via {ROUTER}")),
        "{routes}"
    );

    site.apply(LOCAL);
    let vip = eventually(SOON, || {
        let service = site.get("service", "local")?;
        let vip = service["status"]["loadBalancer"]["ingress"][0]["ip"].as_str();
        Ok(vip.context("the Service has no address yet")?.to_owned())
    })
    .unwrap();
    router.forwards(&vip, &["10.77.0.12"], SOON).unwrap();

    // A node that is excluded leaves all of it to the other.
    let label = |value: Value| {
        let labels = json!({"node.kubernetes.io/exclude-from-external-load-balancers": value});
        let patch = json!({"metadata": {"labels": labels}});
        site.cluster.api().patch("/api/v1/nodes/worker", Patch::Merge, &patch).unwrap();
    };
    label(json!(""));
    router.forwards(ROUTED, &["10.77.0.12"], SOON).unwrap();
    assert_eq!(site.greeting(&format!("{ROUTED}:80")).unwrap(), "hello");
    label(Value::Null);
    router.forwards(ROUTED, &["10.77.0.12", "10.77.0.2"], SOON).unwrap();

    // An advertisement that goes takes its routes along, and a peer its session.
    site.cluster.kubectl(["delete", "bgpadvertisement", "all", "--namespace", NAMESPACE]).unwrap();
    router.forwards(ROUTED, &[], SOON).unwrap();
    state(&site, "worker", "Established");
    site.cluster.kubectl(["delete", "bgppeer", "tor", "--namespace", NAMESPACE]).unwrap();
    eventually(SOON, || {
        let peers = site.get("speaker", "worker")?["status"]["peers"].clone();
        ensure!(peers.as_array().is_none_or(Vec::is_empty), "{peers}");
        Ok(())
    })
    .unwrap();
}

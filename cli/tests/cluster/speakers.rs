//! A speaker alone: VirtualIPs are written by hand, as a controller would.

use std::io::Read;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::json;
use vipgate_lab::eventually;

use crate::site::{CLASS, SOON, Site, VIP, gateway, pool};

/// A claim on [`VIP`] by Gateway `web`.
fn claim(published: bool) -> String {
    json!({
        "apiVersion": "vipgate.dev/v1alpha1", "kind": "VirtualIP", "metadata": {"name": VIP},
        "spec": {
            "address": VIP, "pool": "pool", "origin": "Chosen", "published": published,
            "users": [{"kind": "Gateway", "namespace": "default", "name": "web",
                "ports": [{"protocol": "TCP", "port": 80}]}],
        },
    })
    .to_string()
}

/// A route to a Service that has its endpoints from a slice.
const ROUTE: &str = "apiVersion: gateway.networking.k8s.io/v1
kind: TCPRoute
metadata: {name: web}
spec: {parentRefs: [{name: web}], rules: [{backendRefs: [{name: web, port: 80}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {ports: [{name: tcp, port: 80, targetPort: 7000}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{name: tcp, port: 7000, protocol: TCP}]
endpoints: [{addresses: [10.77.0.4], conditions: {ready: true}}]
";

const NODE: &str = "apiVersion: v1\nkind: Node\nmetadata: {name: worker, labels: {rack: a}}\n";

/// Everything but the claim.
fn prepared(name: &str) -> Site {
    let site = Site::new(name);
    site.apply(&[CLASS, &pool("10.77.0.200-10.77.0.207"), NODE, ROUTE].join("---\n"));
    site.apply(&gateway("web", &[("tcp", 80)]));
    site
}

fn serves(site: &Site) {
    eventually(SOON, || {
        ensure!(site.greeting("10.77.0.200:80")? == "hello");
        Ok(())
    })
    .unwrap();
}

fn serves_not(site: &Site) {
    let found = site.connect("10.77.0.200:80");
    assert!(found.is_err(), "the VIP answers");
}

/// Waits until the Speaker object shows this of VIPs.
fn shows(site: &Site, vips: &serde_json::Value) -> serde_json::Value {
    eventually(SOON, || {
        let speaker = site.get("speaker", "worker")?;
        let shown = speaker["status"].get("vips").cloned().unwrap_or(json!([]));
        ensure!(shown == *vips, "{speaker}");
        Ok(speaker)
    })
    .unwrap()
}

#[test]
fn a_speaker_serves_what_virtual_ips_say_and_nothing_else() {
    let mut site = prepared("speaker");
    let _echo = site.echo(7000, "hello");
    let speaker = site.speaker();
    let serving = json!([{"address": VIP, "state": "Serving", "interfaces": ["eth0"]}]);

    // What stands in a status is not served.
    let status = json!({"status": {"addresses": [{"type": "IPAddress", "value": VIP}]}});
    let patch = ["--subresource=status", "--type=merge", "--patch", &status.to_string()];
    site.cluster.kubectl(["patch", "gateway", "web"].into_iter().chain(patch)).unwrap();
    shows(&site, &json!([]));
    serves_not(&site);

    site.apply(&claim(true));
    serves(&site);
    let shown = shows(&site, &serving);
    let plan = &shown["status"]["plan"];
    assert_eq!(
        *plan,
        json!([{"kind": "Gateway", "namespace": "default", "name": "web", "generation": 1}])
    );
    assert_eq!(shown["status"]["members"], json!(["worker"]));
    assert_eq!(shown["status"].get("errors"), None, "{shown}");
    let report = site.status().unwrap();
    assert_eq!(report["vips"][0]["state"], "announced on eth0", "{report}");
    assert_eq!(report["vips"][0]["gateway"], "Gateway default/web");
    assert_eq!(report["problems"], json!([]), "{report}");
    // Nothing changes, nothing is written.
    std::thread::sleep(Duration::from_secs(3));
    let later = site.get("speaker", "worker").unwrap();
    assert_eq!(later["metadata"]["resourceVersion"], shown["metadata"]["resourceVersion"]);
    // Whoever takes it away finds it again.
    site.cluster.kubectl(["delete", "speaker", "worker"]).unwrap();
    shows(&site, &serving);

    // The API server goes away for longer than an address lives that nobody renews.
    let mut open = site.connect("10.77.0.200:80").unwrap();
    site.cluster.api_server().kill();
    std::thread::sleep(Duration::from_secs(8));
    serves(&site);
    let mut first = [0; 5];
    open.read_exact(&mut first).unwrap();
    let report = site.status().unwrap();
    let problems = report["problems"].to_string();
    assert!(problems.contains("the API server does not answer"), "{problems}");
    site.cluster.restart_api_server().unwrap();
    eventually(SOON, || {
        let report = site.status()?;
        ensure!(report["problems"] == json!([]), "{report}");
        Ok(())
    })
    .unwrap();
    serves(&site);

    site.cluster.kubectl(["delete", "virtualip", VIP]).unwrap();
    shows(&site, &json!([]));
    serves_not(&site);
    assert!(!speaker.has_ended());
}

#[test]
fn an_unpublished_address_is_probed_and_an_orderly_end_takes_everything_back() {
    let site = prepared("orderly");
    let _echo = site.echo(7000, "hello");
    site.apply(&claim(false));
    let mut speaker = site.speaker();
    serves(&site);
    shows(&site, &json!([{"address": VIP, "state": "Serving", "interfaces": ["eth0"]}]));
    // It is served on as it is; nobody probes what is in use.
    let mark = speaker.mark();
    site.apply(&claim(true));
    serves(&site);
    std::thread::sleep(Duration::from_secs(1));
    let said = speaker.wait_for_line_after(&mark, "VIP", Duration::from_millis(1));
    assert!(said.is_err(), "{said:?}");

    let _open = site.connect("10.77.0.200:80").unwrap();
    speaker.terminate(SOON).unwrap();
    let gone = site.get("speaker", "worker").err().context("the object is left").unwrap();
    assert!(format!("{gone:#}").contains("NotFound"), "{gone:#}");
    serves_not(&site);
}

#[test]
fn a_dead_speaker_is_not_missed_for_long_and_the_next_one_goes_on() {
    let site = prepared("dead");
    let _echo = site.echo(7000, "hello");
    site.apply(&claim(true));
    let mut speaker = site.speaker();
    serves(&site);
    speaker.kill();
    let _next = site.speaker();
    serves(&site);
    shows(&site, &json!([{"address": VIP, "state": "Serving", "interfaces": ["eth0"]}]));
}

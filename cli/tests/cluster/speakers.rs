//! A speaker alone: VirtualIPs are written by hand, as a controller would.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use vipgate_lab::cluster::Patch;
use vipgate_lab::eventually;

use crate::site::{CLASS, NAMESPACE, SOON, Site, VIP, gateway, pool};

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
        let mut shown = speaker["status"].get("vips").cloned().unwrap_or(json!([]));
        for vip in shown.as_array_mut().into_iter().flatten() {
            vip.as_object_mut().and_then(|vip| vip.remove("since"));
        }
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
    let uid = &site.get("gateway", "web").unwrap()["metadata"]["uid"];
    assert_eq!(
        *plan,
        json!([{"kind": "Gateway", "namespace": "default", "name": "web", "generation": 1,
            "uid": uid}])
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

/// Addresses of the pool, in every other place where Kubernetes keeps one of a Service.
const ADDRESSED: &str = "apiVersion: v1
kind: Service
metadata: {name: external}
spec: {externalIPs: [10.77.0.203], ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: asked}
spec:
  type: LoadBalancer
  loadBalancerClass: vipgate.dev/service
  loadBalancerIP: 10.77.0.204
  ports: [{port: 80}]
---
apiVersion: v1
kind: Service
metadata: {name: shown}
spec: {type: LoadBalancer, loadBalancerClass: vipgate.dev/service, ports: [{port: 80}]}
";

#[test]
fn addresses_of_services_are_not_announced_without_a_virtual_ip() {
    let site = prepared("unclaimed");
    let _echo = site.echo(7000, "hello");
    site.apply(ADDRESSED);
    let status = json!({"status": {"loadBalancer": {"ingress": [{"ip": "10.77.0.205"}]}}});
    let shown = "/api/v1/namespaces/default/services/shown/status";
    site.cluster.api().patch(shown, Patch::Merge, &status).unwrap();
    site.apply(&claim(true));
    // It knows all kinds completely before it serves anything.
    let _speaker = site.speaker();
    serves(&site);
    let ours = BTreeSet::from([site.cables.worker.mac()]);
    assert_eq!(site.who_has(VIP), ours);
    for address in ["10.77.0.203", "10.77.0.204", "10.77.0.205"] {
        assert_eq!(site.who_has(address), BTreeSet::new(), "{address} is answered for");
        let addresses = site.worker.run("ip", ["-4", "-oneline", "address"]).unwrap();
        assert!(!addresses.contains(address), "{addresses}");
    }
    shows(&site, &json!([{"address": VIP, "state": "Serving", "interfaces": ["eth0"]}]));

    // It is the VirtualIP that makes the difference.
    let mut claim: Value = serde_json::from_str(&claim(true)).unwrap();
    claim["metadata"]["name"] = "10.77.0.204".into();
    claim["spec"]["address"] = "10.77.0.204".into();
    claim["spec"]["users"][0]["kind"] = "Service".into();
    claim["spec"]["users"][0]["name"] = "asked".into();
    site.apply(&claim.to_string());
    eventually(SOON, || {
        let found = site.who_has("10.77.0.204");
        ensure!(found == ours, "{found:?}");
        Ok(())
    })
    .unwrap();
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

#[test]
fn an_api_server_that_is_away_at_the_start_is_waited_for() {
    let mut site = prepared("absent");
    let _echo = site.echo(7000, "hello");
    site.apply(&claim(true));
    site.cluster.api_server().kill();
    let speaker = site.speaker();
    speaker.wait_for_line("the API server does not answer", SOON).unwrap();
    eventually(SOON, || {
        let problems = site.status()?["problems"].to_string();
        ensure!(problems.contains("the API server does not answer"), "{problems}");
        Ok(())
    })
    .unwrap();
    serves_not(&site);
    site.cluster.restart_api_server().unwrap();
    speaker.wait_for_line("the API server answers again", SOON).unwrap();
    serves(&site);
    shows(&site, &json!([{"address": VIP, "state": "Serving", "interfaces": ["eth0"]}]));
}

#[test]
fn a_node_that_the_cluster_does_not_know_is_named() {
    let site = prepared("unknown");
    site.cluster.kubectl(["delete", "node", "worker"]).unwrap();
    let _speaker = site.speaker();
    let says = |expected: bool| {
        eventually(SOON, || {
            let speaker = site.get("speaker", "worker")?;
            let errors = speaker["status"]["errors"].to_string();
            ensure!(errors.contains("there is no Node worker") == expected, "{errors}");
            Ok(())
        })
        .unwrap();
    };
    says(true);
    site.apply(NODE);
    says(false);
}

/// They would write over each other for ever.
#[test]
fn two_processes_of_one_node_name_each_other_and_do_not_fight() {
    let site = prepared("twins");
    let first = site.speaker();
    shows(&site, &json!([]));
    let mut second =
        site.servers.spawn(site.speaker_program("second", "worker", "10.77.0.4")).unwrap();
    let said = first.wait_for_line("another process is the speaker of node worker", SOON);
    said.unwrap_or_else(|error| panic!("{error:#}\n{:#}", site.get("speaker", "worker").unwrap()));
    let instance = || -> anyhow::Result<Value> {
        let speaker = site.get("speaker", "worker")?;
        Ok(speaker["metadata"]["annotations"]["vipgate.dev/speaker-instance"].clone())
    };
    let of_second = instance().unwrap();
    let version = || site.get("speaker", "worker").unwrap()["metadata"]["resourceVersion"].clone();
    std::thread::sleep(Duration::from_secs(3));
    let before = version();
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!(version(), before, "one writes, and it has nothing new to say");
    let problems = site.status().unwrap()["problems"].to_string();
    assert!(problems.contains("another process is the speaker of node worker"), "{problems}");

    // With the younger one the object goes, and the other one has it again.
    second.terminate(SOON).unwrap();
    eventually(SOON, || {
        ensure!(instance()? != of_second, "it is still the second one's");
        let report = site.status()?;
        let problems = report["problems"].to_string();
        ensure!(!problems.contains("another process"), "{report}");
        Ok(())
    })
    .unwrap();
}

#[test]
fn whatever_happens_a_speaker_writes_once_a_second() {
    let site = prepared("often");
    site.apply(&claim(true));
    let _speaker = site.speaker();
    shows(&site, &json!([{"address": VIP, "state": "Serving", "interfaces": ["eth0"]}]));
    let gateway = "/apis/gateway.networking.k8s.io/v1/namespaces/default/gateways/web";
    let begun = Instant::now();
    let mut versions = BTreeSet::new();
    let mut changes = 0;
    while begun.elapsed() < Duration::from_secs(8) {
        // Another generation to be said, each time.
        changes += 1;
        let name = format!("tcp-{changes}");
        let listeners = json!([{"name": name, "protocol": "TCP", "port": 80}]);
        let patch = json!({"spec": {"listeners": listeners}});
        site.cluster.api().patch(gateway, Patch::Merge, &patch).unwrap();
        std::thread::sleep(Duration::from_millis(50));
        let speaker = site.cluster.api().get("/apis/vipgate.dev/v1alpha1/speakers/worker").unwrap();
        versions.insert(speaker["metadata"]["resourceVersion"].to_string());
    }
    let writes = versions.len();
    let seconds = usize::try_from(begun.elapsed().as_secs()).unwrap();
    assert!(writes >= 3 && writes <= seconds + 2, "{writes} writes in {seconds} s");
    assert!(changes > 2 * writes, "{writes} writes, {changes} changes");
}

/// As kubelet does with the token of a pod. Both accounts have the rights that the chart gives.
#[test]
fn a_token_that_is_replaced_in_its_file_is_used() {
    let site = prepared("rotation");
    let account = |name: &str| {
        format!(
            "apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: {name}, namespace: {NAMESPACE}}}\n\
             ---\napiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\n\
             metadata: {{name: {name}}}\nroleRef: {{apiGroup: rbac.authorization.k8s.io, \
             kind: ClusterRole, name: vipgate-speaker}}\n\
             subjects: [{{kind: ServiceAccount, name: {name}, namespace: {NAMESPACE}}}]\n\
             ---\napiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\n\
             metadata: {{name: {name}, namespace: {NAMESPACE}}}\nroleRef: {{apiGroup: \
             rbac.authorization.k8s.io, kind: Role, name: vipgate-speaker}}\n\
             subjects: [{{kind: ServiceAccount, name: {name}, namespace: {NAMESPACE}}}]\n---\n"
        )
    };
    site.apply(&[account("old"), account("new")].concat());
    let config = |name: &str| -> (PathBuf, Value) {
        let path = site.cluster.kubeconfig_of(NAMESPACE, name).unwrap();
        let config = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        (path, config)
    };
    let (of_old, mut with_file) = config("old");
    let (_, of_new) = config("new");
    let [file, kubeconfig] =
        ["token", "with-file.kubeconfig"].map(|name| site.cluster.directory().join(name));
    let token = |config: &Value| config["users"][0]["user"]["token"].as_str().unwrap().to_owned();
    fs::write(&file, token(&with_file)).unwrap();
    with_file["users"][0]["user"] = json!({ "tokenFile": file });
    fs::write(&kubeconfig, with_file.to_string()).unwrap();
    let program = site
        .speaker_program("speaker-worker", "worker", "10.77.0.2")
        .env("KUBECONFIG", &kubeconfig);
    let _speaker = site.worker.spawn(program).unwrap();
    shows(&site, &json!([]));
    fs::write(&file, token(&of_new)).unwrap();
    let namespace = format!("--namespace={NAMESPACE}");
    site.cluster.kubectl(["delete", "serviceaccount", "old", &namespace]).unwrap();
    // The API server remembers for a while whom it knows.
    eventually(SOON, || {
        let get = site.cluster.kubectl_as(&of_old, ["get", "speakers"]);
        ensure!(site.client.run_within(SOON, get).is_err(), "the old token is still good");
        Ok(())
    })
    .unwrap();
    site.cluster.kubectl(["delete", "speaker", "worker"]).unwrap();
    // It is read once a minute.
    eventually(Duration::from_secs(90), || site.get("speaker", "worker")).unwrap();
}

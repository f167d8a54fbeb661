//! `vipgate check` and `vipgate sysdump` of a cluster: as it should be, and with what is not.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use flate2::read::GzDecoder;
use serde_json::Value;
use vipgate_lab::{Program, eventually};

use crate::site::{SOON, Site, VIP, gateway};

const VIPGATE: &str = env!("CARGO_BIN_EXE_vipgate");

/// What `vipgate check -o json` says with this kubeconfig.
fn check(site: &Site, kubeconfig: &Path) -> Value {
    let command = format!("{VIPGATE} check -o json --kubeconfig {} || true", kubeconfig.display());
    let program = Program::new("sh").args(["-c", &command]);
    serde_json::from_str(&site.client.run_within(SOON * 3, program).unwrap()).unwrap()
}

/// All findings of a check: verdict and text.
fn findings<'a>(report: &'a Value, check: &str) -> Vec<(&'a str, &'a str)> {
    let of = report["findings"].as_array().unwrap().iter().filter(|one| one["check"] == check);
    of.map(|one| (one["verdict"].as_str().unwrap(), one["found"].as_str().unwrap())).collect()
}

/// What is wrong: a kube-proxy that answers for everybody, another controller and its pool, a node with an address
/// of the pool, a namespace that refuses speakers.
const WRONG: &str = "\
apiVersion: v1
kind: ConfigMap
metadata: {name: kube-proxy, namespace: kube-system}
data:
  config.conf: |
    apiVersion: kubeproxy.config.k8s.io/v1alpha1
    kind: KubeProxyConfiguration
    mode: ipvs
    ipvs: {strictARP: false}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: speaker, namespace: default}
spec:
  selector: {matchLabels: {app: metallb}}
  template:
    metadata: {labels: {app: metallb}}
    spec: {containers: [{name: speaker, image: 'quay.io/metallb/speaker:v0.15.2'}]}
---
apiVersion: v1
kind: Node
metadata: {name: other}
spec: {podCIDRs: [10.99.0.0/24], podCIDR: 10.99.0.0/24}
";

/// Secrets in places where they stand in real clusters.
const SECRETS: &str = "\
apiVersion: v1
kind: Secret
metadata: {name: bgp, namespace: vipgate-system}
type: kubernetes.io/basic-auth
stringData: {username: x, password: planted-bgp-password}
---
apiVersion: v1
kind: Service
metadata:
  name: noted
  namespace: default
  annotations:
    example.com/access-token: planted-annotation
    kubectl.kubernetes.io/last-applied-configuration: '{\"x\":\"planted-last-applied\"}'
spec: {ports: [{port: 80}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: note, namespace: vipgate-system}
data: {note: 'the password of the router is planted-bgp-password'}
---
apiVersion: v1
kind: Pod
metadata:
  name: extra
  namespace: vipgate-system
  labels: {app.kubernetes.io/name: vipgate}
spec:
  nodeName: worker
  containers:
    - {name: main, image: x, env: [{name: DB_PASSWORD, value: planted-env}], args: [--token=planted-argument]}
";

#[test]
fn a_cluster_is_checked_and_dumped_without_secrets() {
    let site = Site::new("check");
    site.apply_pool();
    let _controller = site.controller("one");
    let _speaker = site.speaker();
    site.apply(&gateway("web", &[("tcp", 80)]));
    site.condition("gateway", "web", "Programmed", "True/Programmed");
    let kubeconfig = site.cluster.kubeconfig().to_owned();

    let report = check(&site, &kubeconfig);
    let well = [
        "api-server",
        "clock-skew",
        "crds",
        "gateway-api",
        "controllers",
        "namespace",
        "controller",
        "speakers",
        "rights",
        "pools",
        "vips",
    ];
    for name in well {
        let found = findings(&report, name);
        assert!(matches!(found[..], [("ok", _)]), "{name}: {found:?}");
    }
    assert_eq!(report["summary"]["errors"], 0, "{report:#}");
    // Nobody said anything of these.
    for name in ["kube-proxy", "cni", "versions"] {
        assert_eq!(findings(&report, name)[0].0, "notLookedAt", "{name}");
    }

    // With the rights of a speaker, what may not be read is not known, and all else is.
    let account = site.cluster.kubeconfig_of("vipgate-system", "vipgate-speaker").unwrap();
    let lesser = check(&site, &account);
    let (verdict, why) = findings(&lesser, "kube-proxy")[0];
    assert!(
        verdict == "notLookedAt" && why.contains("may not be read with this kubeconfig"),
        "{why}"
    );
    assert_eq!(findings(&lesser, "rights")[0].0, "notLookedAt");
    assert_eq!(findings(&lesser, "crds")[0].0, "ok");

    site.apply(WRONG);
    let status = format!(
        "{{\"status\":{{\"addresses\":[{{\"type\":\"InternalIP\",\"address\":\"{VIP}\"}}]}}}}"
    );
    let patch =
        ["patch", "node", "other", "--subresource=status", "--type=merge", "--patch", &status];
    site.cluster.kubectl(patch).unwrap();
    let label = "pod-security.kubernetes.io/enforce=baseline";
    site.cluster.kubectl(["label", "namespace", "vipgate-system", "--overwrite", label]).unwrap();
    site.cluster.kubectl(["delete", "clusterrolebinding", "vipgate-speaker"]).unwrap();
    site.cluster.kubectl(["delete", "crd", "communities.vipgate.dev"]).unwrap();
    let report = eventually(SOON, || {
        // RBAC follows by itself, a moment later.
        let report = check(&site, &kubeconfig);
        anyhow::ensure!(findings(&report, "rights")[0].0 == "error", "{report:#}");
        Ok(report)
    })
    .unwrap();
    for (name, verdict, part) in [
        ("kube-proxy", "error", "ipvs without strictARP"),
        (
            "controllers",
            "warning",
            "MetalLB: DaemonSet default/speaker runs metallb/speaker:v0.15.2",
        ),
        ("pools", "error", "10.77.0.200 is an address of Node other, and in pool pool"),
        ("namespace", "error", "baseline"),
        ("speakers", "warning", "1 of 2 nodes have no speaker: other"),
        ("rights", "error", "vipgate-speaker: list gateways"),
        ("crds", "error", "communities.vipgate.dev"),
    ] {
        let found = findings(&report, name);
        let is_said = found.iter().any(|(is, text)| *is == verdict && text.contains(part));
        assert!(is_said, "{name}: {found:?}");
    }

    site.apply(SECRETS);
    let archive = site.cluster.directory().join("dump.tar.gz");
    let path = archive.display().to_string();
    site.vipgate(&["sysdump", "--output", &path]).unwrap();
    let parts = unpacked(&archive);
    let whole: String = parts.iter().map(|(path, text)| format!("{path}\n{text}")).collect();
    let planted = [
        "planted-bgp-password",
        "planted-annotation",
        "planted-last-applied",
        "planted-env",
        "planted-argument",
        // The key of the group, as it stands in its Secret and as the API server shows that.
        "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY",
        "TURFeU16UTFOamM0T1dGaVkyUmxaakF4",
        "managedFields",
    ];
    for planted in planted {
        assert!(!whole.contains(planted), "{planted} is in the archive");
    }
    for (part, has) in [
        ("cluster/secrets.jsonl", "\"vipgate-group\""),
        ("cluster/gateways.gateway.networking.k8s.io.jsonl", "\"web\""),
        ("cluster/virtualips.vipgate.dev.jsonl", VIP),
        ("cluster/speakers.vipgate.dev.jsonl", "\"worker\""),
        ("cluster/leases.coordination.k8s.io.jsonl", "vipgate-controller"),
        ("cluster/services.jsonl", "\"noted\""),
        ("cluster/configmaps.jsonl", "the password of the router is <removed>"),
        ("cluster/nodes.jsonl", "\"other\""),
        ("cluster/events.events.k8s.io.jsonl", "\"Event\""),
        ("cluster/pods.jsonl", "DB_PASSWORD"),
        ("check.json", "vipgate.dev/check/v1"),
        ("vipgate/why-10.77.0.200.json", "\"owner\": \"worker\""),
        // There is no kubelet that could tell a log.
        ("errors.txt", "cluster/logs/extra-main.txt: "),
        ("errors.txt", "Community"),
    ] {
        let text = parts.get(part).unwrap_or_else(|| panic!("no {part}: {:?}", parts.keys()));
        assert!(text.contains(has), "{part} has no {has}:\n{text}");
    }
}

/// All parts of an archive, by their path below its directory.
fn unpacked(archive: &Path) -> BTreeMap<String, String> {
    let mut archive = tar::Archive::new(GzDecoder::new(std::fs::File::open(archive).unwrap()));
    let mut parts = BTreeMap::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().display().to_string();
        let mut text = String::new();
        entry.read_to_string(&mut text).unwrap();
        parts.insert(path.split_once('/').unwrap().1.to_owned(), text);
    }
    parts
}

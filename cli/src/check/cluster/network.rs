//! kube-proxy and the CNI: who else has a say in how packets to a VIP go.

use serde_json::Value;

use super::facts::{Facts, elements, name, text};
use crate::check::catalogue::Check;
use crate::check::finding::Finding;

pub(super) fn kube_proxy(facts: &Facts) -> Finding {
    let check = Check::KUBE_PROXY;
    let map = match facts.one("configmaps/kube-proxy") {
        Ok(Some(map)) => map,
        Ok(None) => {
            let reason = match replaces_kube_proxy(facts) {
                true => "Cilium replaces it (kube-proxy-replacement)",
                false => {
                    "there is no ConfigMap kube-system/kube-proxy (k3s and others have it in a \
                     process of theirs): see \
                     `curl localhost:10249/proxyMode` on a node"
                }
            };
            return Finding::unseen(check, reason);
        }
        Err(error) => return Finding::unseen(check, error),
    };
    let config = serde_saphyr::from_str::<Value>(text(&map["data"]["config.conf"]));
    let Ok(config) = config else {
        return Finding::unseen(
            check,
            "config.conf of the ConfigMap kube-system/kube-proxy cannot be read",
        );
    };
    let strict = config["ipvs"]["strictARP"].as_bool().unwrap_or(false);
    match (text(&config["mode"]), strict) {
        ("ipvs", false) => Finding::error(
            check,
            "mode ipvs without strictARP: every node answers ARP for every VIP of a Service",
        ),
        ("ipvs", true) => Finding::ok(
            check,
            "mode ipvs, with strictARP (Kubernetes gives this mode up: nftables comes after it)",
        ),
        ("", _) => Finding::ok(check, "the default mode of the platform (iptables on Linux)"),
        (mode, _) => Finding::ok(check, format!("mode {mode}")),
    }
}

/// Whether Cilium says that it forwards for Services.
fn replaces_kube_proxy(facts: &Facts) -> bool {
    let config = facts.one("configmaps/cilium-config").ok().flatten();
    config.is_some_and(|map| {
        matches!(text(&map["data"]["kube-proxy-replacement"]), "true" | "strict")
    })
}

/// CNIs by the names of their DaemonSets.
const CNIS: [(&str, &str); 11] = [
    ("calico-node", "Calico"),
    ("cilium", "Cilium"),
    ("kube-flannel-ds", "Flannel"),
    ("kube-flannel", "Flannel"),
    ("kube-router", "kube-router"),
    ("antrea-agent", "Antrea"),
    ("weave-net", "Weave"),
    ("kube-ovn-cni", "Kube-OVN"),
    ("canal", "Canal"),
    ("kindnet", "kindnet"),
    ("ovnkube-node", "OVN-Kubernetes"),
];

pub(super) fn cni(facts: &Facts) -> Finding {
    let check = Check::CNI;
    let sets = match facts.list("daemonsets") {
        Ok(sets) => sets,
        Err(error) => return Finding::unseen(check, error),
    };
    let known = sets.iter().filter_map(|set| {
        let (_, cni) = CNIS.iter().find(|(program, _)| name(set) == *program)?;
        Some((*cni, set))
    });
    let known: Vec<(&str, &Value)> = known.collect();
    if known.is_empty() {
        let reason =
            "no DaemonSet of a CNI that is known here (k3s has Flannel inside its own process)";
        return Finding::unseen(check, reason);
    }
    let peers = facts.list("bgppeers").is_ok_and(|peers| !peers.is_empty());
    let (mut notes, mut warnings) = (Vec::new(), Vec::new());
    for (cni, set) in &known {
        let mut bgp = false;
        match *cni {
            "Calico" | "Canal" => {
                let backend = environment(set, "CALICO_NETWORKING_BACKEND");
                bgp = *cni == "Calico" && !matches!(backend, Some("vxlan" | "none"));
                if ebpf(facts) {
                    warnings.push(
                        "Calico forwards by eBPF (bpfEnabled), before nftables sees a \
                     packet: see that Gateways answer"
                            .to_owned(),
                    );
                }
            }
            "kube-router" => {
                bgp = true;
                let advertises = |argument: &&Value| {
                    let argument = text(argument);
                    argument.starts_with("--advertise-loadbalancer-ip")
                        && !argument.ends_with("=false")
                };
                if arguments(set).any(|argument| advertises(&argument)) {
                    warnings.push(
                        "kube-router announces addresses of Services too \
                     (--advertise-loadbalancer-ip)"
                            .to_owned(),
                    );
                }
            }
            "Cilium" => {
                let config = facts.one("configmaps/cilium-config").ok().flatten();
                bgp = config.is_some_and(|map| map["data"]["enable-bgp-control-plane"] == "true");
                if replaces_kube_proxy(facts) {
                    notes.push("it forwards for Services in place of kube-proxy");
                }
            }
            _ => {}
        }
        if bgp && peers {
            warnings
                .push(format!("{cni} speaks BGP from the same hosts as the BGPPeers of vipgate"));
        }
    }
    let names: Vec<&str> = known.iter().map(|(cni, _)| *cni).collect();
    let names = names.join(" and ");
    if warnings.is_empty() {
        let notes = notes.iter().map(|note| format!(", {note}")).collect::<String>();
        return Finding::ok(check, format!("{names}{notes}"));
    }
    Finding::warning(check, format!("{names}: {}", warnings.join("; ")))
}

fn ebpf(facts: &Facts) -> bool {
    let configurations = facts.list("felixconfigurations").unwrap_or_default();
    configurations.iter().any(|one| one["spec"]["bpfEnabled"] == true)
}

fn containers(set: &Value) -> impl Iterator<Item = &Value> {
    elements(&set["spec"]["template"]["spec"]["containers"])
}

fn environment<'a>(set: &'a Value, variable: &str) -> Option<&'a str> {
    let mut all = containers(set).flat_map(|container| elements(&container["env"]));
    all.find(|one| one["name"] == variable)?["value"].as_str()
}

fn arguments(set: &Value) -> impl Iterator<Item = &Value> {
    containers(set).flat_map(|one| elements(&one["args"]).chain(elements(&one["command"])))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::check::finding::Verdict;
    use crate::objects::{List, Unread};

    fn configured(config: &str) -> Facts {
        let map = json!({"data": {"config.conf": config}});
        let mut facts = Facts::default();
        facts.single.insert("configmaps/kube-proxy".into(), Ok(Some(map)));
        facts
    }

    #[test]
    fn ipvs_without_strict_arp_is_an_error() {
        let verdict = |config: &str| kube_proxy(&configured(config)).verdict;
        assert_eq!(verdict("mode: ipvs\nipvs: {strictARP: false}\n"), Verdict::Error);
        assert_eq!(verdict("mode: ipvs\n"), Verdict::Error);
        assert_eq!(verdict("mode: ipvs\nipvs: {strictARP: true}\n"), Verdict::Ok);
        assert_eq!(verdict("mode: nftables\nipvs: {strictARP: false}\n"), Verdict::Ok);
        assert_eq!(verdict("mode: ''\n"), Verdict::Ok);
        assert_eq!(verdict("mode: [\n"), Verdict::NotLookedAt);
        let mut none = Facts::default();
        none.single.insert("configmaps/kube-proxy".into(), Ok(None));
        assert!(kube_proxy(&none).found.contains("k3s"));
        let cilium = json!({"data": {"kube-proxy-replacement": "true"}});
        none.single.insert("configmaps/cilium-config".into(), Ok(Some(cilium)));
        assert!(kube_proxy(&none).found.contains("Cilium replaces it"));
        let refused = Unread::Refused("configmaps".into(), "no".into());
        none.single.insert("configmaps/kube-proxy".into(), Err(refused));
        let unseen = kube_proxy(&none);
        assert_eq!(unseen.verdict, Verdict::NotLookedAt);
        assert!(unseen.found.contains("may not be read"), "{unseen:?}");
    }

    fn running(sets: Value, peers: usize) -> Facts {
        let items = |value: Value| List { items: value.as_array().unwrap().clone(), more: false };
        let mut facts = Facts::default();
        facts.lists.insert("daemonsets".into(), Ok(items(sets)));
        facts.lists.insert("bgppeers".into(), Ok(items(vec![json!({}); peers].into())));
        facts
    }

    #[test]
    fn a_cni_that_speaks_bgp_beside_ours_is_a_warning() {
        let set = |name: &str, container: Value| json!([{"metadata": {"name": name}, "spec": {"template": {"spec": {"containers": [container]}}}}]);
        let calico = set("calico-node", json!({}));
        assert_eq!(cni(&running(calico.clone(), 0)).verdict, Verdict::Ok);
        let found = cni(&running(calico.clone(), 1));
        assert_eq!(found.verdict, Verdict::Warning);
        assert_eq!(
            found.found,
            "Calico: Calico speaks BGP from the same hosts as the BGPPeers of vipgate"
        );
        let vxlan = json!({"env": [{"name": "CALICO_NETWORKING_BACKEND", "value": "vxlan"}]});
        assert_eq!(cni(&running(set("calico-node", vxlan), 1)).verdict, Verdict::Ok);
        let mut bpf = running(calico, 0);
        let felix = List { items: vec![json!({"spec": {"bpfEnabled": true}})], more: false };
        bpf.lists.insert("felixconfigurations".into(), Ok(felix));
        assert!(cni(&bpf).found.contains("eBPF"));
        let router = json!({"args": ["--run-router", "--advertise-loadbalancer-ip=true"]});
        assert!(cni(&running(set("kube-router", router), 0)).found.contains("announces addresses"));
        assert_eq!(cni(&running(set("kube-flannel-ds", json!({})), 3)).verdict, Verdict::Ok);
        assert_eq!(cni(&running(json!([]), 0)).verdict, Verdict::NotLookedAt);
        assert_eq!(cni(&Facts::default()).verdict, Verdict::NotLookedAt);
    }
}

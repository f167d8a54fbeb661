//! Other LoadBalancer controllers, by what they run and what they have the API server serve.

use std::collections::BTreeMap;

use serde_json::Value;
use vipgate_controller::classless::RIVALS;

use super::facts::{Facts, elements, name, text};
use crate::check::catalogue::Check;
use crate::check::finding::Finding;
use crate::check::pools::Pool;

/// Parts of the names of images, and whose they are.
const IMAGES: [(&str, &str); 10] = [
    ("metallb/", "MetalLB"),
    ("metallb-", "MetalLB"),
    ("kube-vip", "kube-vip"),
    ("purelb/", "PureLB"),
    ("openelb", "OpenELB"),
    ("klipper-lb", "ServiceLB (k3s)"),
    ("loxilb", "LoxiLB"),
    ("cloud-controller-manager", "a cloud controller"),
    ("cloud-provider-kind", "cloud-provider-kind"),
    ("porter-manager", "OpenELB"),
];

pub(super) fn controllers(facts: &Facts) -> Vec<Finding> {
    let check = Check::CONTROLLERS;
    let mut found: BTreeMap<&'static str, String> = BTreeMap::new();
    let mut unread = None;
    for key in ["daemonsets", "deployments", "kube-system/pods"] {
        match facts.list(key) {
            Ok(objects) => workloads(key, objects, &mut found),
            Err(error) => unread = Some(error),
        }
    }
    if let Some(Ok(groups)) = &facts.groups {
        for (group, who) in RIVALS.iter().filter(|(group, _)| groups.contains(*group)) {
            let left = || {
                format!(
                    "no workload, but the API server serves {group}: Services without a class are \
                     left to it"
                )
            };
            found.entry(who).or_insert_with(left);
        }
    }
    if let Some(text) = cilium(facts) {
        found.insert("Cilium", text);
    }
    let mut findings: Vec<Finding> =
        found.iter().map(|(who, how)| Finding::warning(check, format!("{who}: {how}"))).collect();
    findings.extend(shared_pools(facts));
    match (unread, &findings[..]) {
        (Some(error), _) => {
            findings.push(Finding::unseen(check, format!("not all of them are known: {error}")))
        }
        (None, []) => findings.push(Finding::ok(check, "none that is known runs here")),
        (None, _) => {}
    }
    findings
}

/// Whose images workloads run.
fn workloads(key: &str, objects: &[Value], found: &mut BTreeMap<&'static str, String>) {
    let kind = match key {
        "daemonsets" => "DaemonSet",
        "deployments" => "Deployment",
        _ => "Pod",
    };
    for object in objects {
        let spec =
            if kind == "Pod" { &object["spec"] } else { &object["spec"]["template"]["spec"] };
        for container in elements(&spec["containers"]) {
            let image = text(&container["image"]);
            // `registry/owner/name:tag`: the registry says nothing of the program.
            let image = image
                .split_once('/')
                .filter(|(host, _)| host.contains(['.', ':']))
                .map_or(image, |(_, rest)| rest);
            if let Some((_, who)) = IMAGES.iter().find(|(part, _)| image.contains(part)) {
                let namespace = text(&object["metadata"]["namespace"]);
                let what = || format!("{kind} {namespace}/{} runs {image}", name(object));
                found.entry(who).or_insert_with(what);
            }
        }
    }
}

/// Cilium is there for many reasons: what it is told to do counts.
fn cilium(facts: &Facts) -> Option<String> {
    let config = facts.one("configmaps/cilium-config").ok().flatten();
    let announces = config.is_some_and(|map| map["data"]["enable-l2-announcements"] == "true");
    let pools = facts.list("ciliumloadbalancerippools").map_or(0, <[Value]>::len);
    let mut parts = Vec::new();
    if announces {
        parts.push("it announces addresses (enable-l2-announcements)".to_owned());
    }
    if pools > 0 {
        parts
            .push(format!("it gives addresses to Services from {pools} CiliumLoadBalancerIPPools"));
    }
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// Pools of MetalLB that have addresses of ours.
fn shared_pools(facts: &Facts) -> Vec<Finding> {
    let pools = |key: &str| -> Vec<Pool> {
        facts.list(key).unwrap_or_default().iter().map(Pool::of_object).collect()
    };
    let (ours, theirs) = (pools("ipaddresspools"), pools("metallb/ipaddresspools"));
    let pairs = ours.iter().flat_map(|our| theirs.iter().map(move |their| (our, their)));
    pairs
        .filter_map(|(our, their)| {
            let shared = our.shared_with(their)?;
            let (our, their) = (&our.name, &their.name);
            let found = format!("{shared} is in pool {our} and in pool {their} of MetalLB");
            let mend = "take it out of one of the two: who moves over removes it there first, \
             then adds it here";
            Some(Finding::error(Check::CONTROLLERS, found).mend(mend))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::*;
    use crate::check::finding::Verdict;
    use crate::objects::List;

    fn facts(daemonsets: Value) -> Facts {
        let list =
            |items: &Value| Ok(List { items: items.as_array().unwrap().clone(), more: false });
        let mut facts = Facts::default();
        facts.lists.insert("daemonsets".into(), list(&daemonsets));
        facts.lists.insert("deployments".into(), list(&json!([])));
        facts.lists.insert("kube-system/pods".into(), list(&json!([])));
        facts.groups = Some(Ok(BTreeSet::new()));
        facts
    }

    fn set(image: &str) -> Value {
        json!([{"metadata": {"namespace": "lb", "name": "it"},
            "spec": {"template": {"spec": {"containers": [{"image": image}]}}}}])
    }

    #[test]
    fn each_is_known_by_its_image() {
        for (image, who) in [
            ("quay.io/metallb/speaker:v0.15.2", "MetalLB"),
            ("metallb/speaker:v0.15.2", "MetalLB"),
            ("docker.io/bitnami/metallb-speaker:1", "MetalLB"),
            ("ghcr.io/kube-vip/kube-vip:v1.2.3", "kube-vip"),
            ("rancher/klipper-lb:v0.4.9", "ServiceLB (k3s)"),
            ("kubesphere/openelb:v0.6.0", "OpenELB"),
            ("registry.example:5000/purelb/lbnodeagent:1", "PureLB"),
            ("registry.example/k8s/cloud-controller-manager:1", "a cloud controller"),
        ] {
            let found = controllers(&facts(set(image)));
            assert_eq!((found.len(), found[0].verdict), (1, Verdict::Warning), "{image}");
            assert!(
                found[0].found.starts_with(&format!("{who}: DaemonSet lb/it runs ")),
                "{found:?}"
            );
        }
        let none = controllers(&facts(set("metallb.example.com/some/thing:1")));
        assert_eq!(none[0].verdict, Verdict::Ok, "{none:?}");
    }

    #[test]
    fn what_is_left_of_one_and_what_cilium_does_are_known() {
        let mut left = facts(json!([]));
        left.groups = Some(Ok(BTreeSet::from(["metallb.io".to_owned()])));
        assert!(controllers(&left)[0].found.starts_with("MetalLB: no workload"));
        let mut cilium = facts(json!([]));
        let config = json!({"data": {"enable-l2-announcements": "true"}});
        cilium.single.insert("configmaps/cilium-config".into(), Ok(Some(config)));
        assert_eq!(
            controllers(&cilium)[0].found,
            "Cilium: it announces addresses (enable-l2-announcements)"
        );
        let found = controllers(&Facts::default());
        assert_eq!((found.len(), found[0].verdict), (1, Verdict::NotLookedAt));
    }

    #[test]
    fn a_pool_that_metallb_has_too_is_an_error() {
        let pool = |range: &str| {
            let pool = json!({"metadata": {"name": "lan"}, "spec": {"addresses": [range]}});
            Ok(List { items: vec![pool], more: false })
        };
        let mut facts = facts(json!([]));
        facts.lists.insert("ipaddresspools".into(), pool("192.0.2.240-192.0.2.250"));
        facts.lists.insert("metallb/ipaddresspools".into(), pool("192.0.2.250-192.0.2.254"));
        let found = controllers(&facts);
        assert_eq!(found[0].verdict, Verdict::Error);
        assert_eq!(found[0].found, "192.0.2.250 is in pool lan and in pool lan of MetalLB");
    }
}

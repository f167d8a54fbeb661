//! The installation: its namespace, who leads, which nodes have a speaker, what runs.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::Value;

use super::facts::{Facts, elements, name, text};
use crate::check::catalogue::Check;
use crate::check::finding::Finding;

/// What a Lease may be late, beyond its duration: clocks differ, and answers take time.
const LATE: f64 = 5.0;
/// Nodes that are named each.
const SHOWN: usize = 10;

pub(super) fn namespace(facts: &Facts) -> Finding {
    let check = Check::NAMESPACE;
    let namespace = &facts.namespace;
    let object = match facts.one(&format!("namespaces/{namespace}")) {
        Ok(Some(object)) => object,
        Ok(None) => {
            let mend = format!(
                "`kubectl create namespace {namespace}`, or name the one that it is installed in: \
                 --namespace"
            );
            return Finding::error(check, format!("there is no Namespace {namespace}")).mend(mend);
        }
        Err(error) => return Finding::unseen(check, error),
    };
    match text(&object["metadata"]["labels"]["pod-security.kubernetes.io/enforce"]) {
        "privileged" => Finding::ok(check, format!("{namespace}: privileged pods may run")),
        "" => Finding::ok(
            check,
            format!(
                "{namespace}: no level of Pod Security is named there, so that of the cluster counts"
            ),
        ),
        level => {
            let found =
                format!("{namespace} enforces the level {level}, which refuses pods of speakers");
            let mend = format!(
                "`kubectl label namespace {namespace} \
                 pod-security.kubernetes.io/enforce=privileged --overwrite`"
            );
            Finding::error(check, found).mend(mend)
        }
    }
}

pub(super) fn controller(facts: &Facts, now: Timestamp) -> Finding {
    let check = Check::CONTROLLER;
    let lease = match facts.one("leases/vipgate-controller") {
        Ok(Some(lease)) => lease,
        Ok(None) => {
            let found = format!(
                "there is no Lease vipgate-controller in {}: no controller ever led",
                facts.namespace
            );
            return Finding::error(check, found);
        }
        Err(error) => return Finding::unseen(check, error),
    };
    let spec = &lease["spec"];
    let holder = text(&spec["holderIdentity"]);
    if holder.is_empty() {
        return Finding::error(check, "nobody holds the Lease vipgate-controller");
    }
    let Ok(renewed) = text(&spec["renewTime"]).parse::<Timestamp>() else {
        return Finding::error(check, format!("{holder} holds the Lease, and never renewed it"));
    };
    // By the clock of the API server, as far as it is known: that of this host may be wrong.
    let age = now.duration_since(renewed).as_secs_f64() + facts.skew.unwrap_or(0.0);
    let duration = spec["leaseDurationSeconds"].as_f64().unwrap_or(0.0);
    if age > duration + LATE {
        return Finding::error(
            check,
            format!("{holder} holds the Lease, and has not renewed it for {age:.0} s"),
        );
    }
    Finding::ok(check, format!("{holder} leads"))
}

pub(super) fn speakers(facts: &Facts) -> Vec<Finding> {
    let check = Check::SPEAKERS;
    let (nodes, speakers) = match (facts.list("nodes"), facts.list("speakers")) {
        (Ok(nodes), Ok(speakers)) => (nodes, speakers),
        (Err(error), _) | (_, Err(error)) => return vec![Finding::unseen(check, error)],
    };
    let (on, with): (BTreeSet<&str>, BTreeSet<&str>) =
        (nodes.iter().map(name).collect(), speakers.iter().map(name).collect());
    if on.is_disjoint(&with) {
        let found = format!("none of {} nodes has a speaker", on.len());
        return vec![Finding::error(check, found)];
    }
    let mut findings = Vec::new();
    let without: Vec<&str> = on.difference(&with).copied().collect();
    if !without.is_empty() {
        findings.push(Finding::warning(
            check,
            format!("{} of {} nodes have no speaker: {}", without.len(), on.len(), some(&without)),
        ));
    }
    let live = || speakers.iter().filter(|speaker| on.contains(name(speaker)));
    for speaker in live() {
        for error in elements(&speaker["status"]["errors"]).take(3) {
            findings.push(Finding::warning(check, format!("{}: {}", name(speaker), text(error))));
        }
    }
    if live().all(|speaker| speaker["status"]["givesWay"].is_object()) {
        let why: BTreeSet<&str> =
            live().map(|speaker| text(&speaker["status"]["givesWay"]["reason"])).collect();
        let why: Vec<&str> = why.into_iter().collect();
        let found = format!("every node with a speaker gives its VIPs away ({})", why.join(", "));
        let mend = "make a node ready and schedulable, or take the label \
         node.kubernetes.io/exclude-from-external-load-balancers away";
        findings.push(Finding::error(check, found).mend(mend));
    }
    if let Ok(pods) = facts.pods("speaker") {
        let unready: Vec<&str> =
            pods.iter().filter(|pod| !is_ready(pod)).map(|pod| name(pod)).collect();
        if !unready.is_empty() {
            let found = format!("pods that are not ready: {}", some(&unready));
            let mend = format!("`kubectl -n {} logs {}`", facts.namespace, unready[0]);
            findings.push(Finding::warning(check, found).mend(mend));
        }
    }
    if findings.is_empty() {
        findings.push(Finding::ok(check, format!("all {} nodes have one", on.len())));
    }
    findings
}

fn some(names: &[&str]) -> String {
    let more = names.len().saturating_sub(SHOWN);
    let shown = names[..names.len().min(SHOWN)].join(", ");
    if more > 0 { format!("{shown} and {more} more") } else { shown }
}

fn is_ready(pod: &Value) -> bool {
    elements(&pod["status"]["conditions"])
        .any(|one| one["type"] == "Ready" && one["status"] == "True")
}

pub(super) fn versions(facts: &Facts) -> Finding {
    let check = Check::VERSIONS;
    let mut images = BTreeSet::new();
    for component in ["controller", "speaker"] {
        match facts.pods(component) {
            Ok(pods) => {
                let containers =
                    pods.into_iter().flat_map(|pod| elements(&pod["spec"]["containers"]));
                images.extend(containers.map(|container| text(&container["image"])));
            }
            Err(error) => return Finding::unseen(check, error),
        }
    }
    let images: Vec<&str> = images.into_iter().collect();
    match &images[..] {
        [] => Finding::unseen(check, format!("there is no pod of vipgate in {}", facts.namespace)),
        [image] => Finding::ok(check, *image),
        several => Finding::warning(check, format!("pods run {}", several.join(" and "))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::check::finding::Verdict;
    use crate::objects::List;

    fn with(key: &str, items: Value, mut facts: Facts) -> Facts {
        facts.namespace = "vipgate-system".into();
        let list = List { items: items.as_array().unwrap().clone(), more: false };
        facts.lists.insert(key.into(), Ok(list));
        facts
    }

    fn single(key: &str, object: Option<Value>) -> Facts {
        let mut facts = Facts { namespace: "vipgate-system".into(), ..Facts::default() };
        facts.single.insert(key.into(), Ok(object));
        facts
    }

    #[test]
    fn a_namespace_that_refuses_privileged_pods_is_an_error() {
        let of = |labels: Value| {
            let object = json!({"metadata": {"labels": labels}});
            namespace(&single("namespaces/vipgate-system", Some(object)))
        };
        assert_eq!(
            of(json!({"pod-security.kubernetes.io/enforce": "privileged"})).verdict,
            Verdict::Ok
        );
        assert_eq!(of(json!({})).verdict, Verdict::Ok);
        let bad = of(json!({"pod-security.kubernetes.io/enforce": "baseline"}));
        assert_eq!(bad.verdict, Verdict::Error);
        assert!(bad.mend.unwrap().contains("kubectl label namespace vipgate-system"));
        assert_eq!(namespace(&single("namespaces/vipgate-system", None)).verdict, Verdict::Error);
        assert_eq!(namespace(&Facts::default()).verdict, Verdict::NotLookedAt);
    }

    #[test]
    fn a_lease_that_is_not_renewed_has_no_leader() {
        let lease = |holder: &str, renewed: &str| {
            let spec =
                json!({"holderIdentity": holder, "renewTime": renewed, "leaseDurationSeconds": 4});
            single("leases/vipgate-controller", Some(json!({"spec": spec})))
        };
        let now: Timestamp = "2026-01-01T00:01:00Z".parse().unwrap();
        let of = |facts: &Facts| controller(facts, now);
        assert_eq!(of(&lease("one", "2026-01-01T00:00:58Z")).found, "one leads");
        let dead = of(&lease("one", "2026-01-01T00:00:00Z"));
        assert_eq!(dead.verdict, Verdict::Error);
        assert!(dead.found.ends_with("for 60 s"), "{dead:?}");
        // This host is an hour behind: by its own clock the Lease would be of the future.
        let mut behind = lease("one", "2026-01-01T01:00:00Z");
        behind.skew = Some(3600.0);
        assert_eq!(of(&behind).verdict, Verdict::Error);
        assert_eq!(of(&lease("", "2026-01-01T00:00:58Z")).verdict, Verdict::Error);
        assert_eq!(of(&single("leases/vipgate-controller", None)).verdict, Verdict::Error);
        assert_eq!(of(&Facts::default()).verdict, Verdict::NotLookedAt);
    }

    fn named(names: &[&str]) -> Value {
        names.iter().map(|name| json!({"metadata": {"name": name}})).collect()
    }

    #[test]
    fn nodes_without_a_speaker_and_speakers_with_errors_are_named() {
        let of = |nodes: &[&str], speakers: Value| {
            with("speakers", speakers, with("nodes", named(nodes), Facts::default()))
        };
        let well = of(&["a", "b"], named(&["a", "b"]));
        assert_eq!(speakers(&well)[0].found, "all 2 nodes have one");
        let missing = speakers(&of(&["a", "b"], named(&["a"])));
        assert_eq!(missing[0].found, "1 of 2 nodes have no speaker: b");
        assert_eq!(speakers(&of(&["a"], named(&["gone"])))[0].verdict, Verdict::Error);
        let bad = json!([{"metadata": {"name": "a"}, "status": {"errors": ["no way"],
            "givesWay": {"reason": "Cordoned"}}}]);
        let found = speakers(&of(&["a"], bad));
        assert_eq!(found[0].found, "a: no way");
        assert!(found[1].found.contains("gives its VIPs away (Cordoned)"), "{found:?}");
        assert_eq!(speakers(&Facts::default())[0].verdict, Verdict::NotLookedAt);
    }

    fn pod(component: &str, image: &str, ready: &str) -> Value {
        json!({"metadata": {"name": format!("{component}-1"), "labels": {
                "app.kubernetes.io/name": "vipgate", "app.kubernetes.io/component": component}},
            "spec": {"containers": [{"image": image}]},
            "status": {"conditions": [{"type": "Ready", "status": ready}]}})
    }

    #[test]
    fn images_that_differ_and_pods_that_are_not_ready_are_warnings() {
        let of = |pods: Value| with("vipgate-system/pods", pods, Facts::default());
        let same = of(json!([pod("controller", "v:1", "True"), pod("speaker", "v:1", "True")]));
        assert_eq!(versions(&same).verdict, Verdict::Ok);
        let differing =
            of(json!([pod("controller", "v:2", "True"), pod("speaker", "v:1", "False")]));
        assert_eq!(versions(&differing).found, "pods run v:1 and v:2");
        assert_eq!(versions(&of(json!([]))).verdict, Verdict::NotLookedAt);
        let whole = with("speakers", named(&["a"]), with("nodes", named(&["a"]), differing));
        let found = speakers(&whole);
        assert_eq!(found[0].found, "pods that are not ready: speaker-1");
        assert_eq!(found[0].mend.as_deref(), Some("`kubectl -n vipgate-system logs speaker-1`"));
    }
}

//! Whether a node should have VIPs, as its Node object says.
//!
//! One that should not gives them to whoever else can have them, and keeps what nobody else can:
//! so the label does no harm on a cluster of one node, as Kubernetes has it.

use vipgate_api::k8s::Node;
use vipgate_planner::{Exclusion, ExclusionReason};

/// Label: no traffic from load balancers, please (<https://kubernetes.io/docs/reference/labels-annotations-taints/>).
const EXCLUDED: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

/// Why the node should not have VIPs, if so.
pub(super) fn gives_way(node: &Node) -> Option<Exclusion> {
    let why = |reason, message: &str| Some(Exclusion::new(reason, message));
    if node.metadata.labels.iter().any(|labels| labels.contains_key(EXCLUDED)) {
        return why(ExclusionReason::ExcludedByLabel, &format!("it has the label {EXCLUDED}"));
    }
    if node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true) {
        return why(ExclusionReason::Cordoned, "it is cordoned");
    }
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let amiss = conditions.map(|condition| (condition.type_.as_str(), condition.status.as_str()));
    amiss.into_iter().find_map(|condition| match condition {
        ("Ready", "False" | "Unknown") => why(ExclusionReason::NotReady, "it is not Ready"),
        ("NetworkUnavailable", "True") => {
            why(ExclusionReason::NetworkUnavailable, "its network is not available")
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn why(node: Value) -> Option<String> {
        let why = gives_way(&serde_json::from_value(node).unwrap());
        why.map(|why| format!("{}: {why}", why.reason))
    }

    #[test]
    fn a_node_that_is_drained_or_not_well_gives_way() {
        let condition = |kind: &str, status: &str| json!({"status": {"conditions": [{"type": kind, "status": status}]}});
        for well in
            [json!({}), condition("Ready", "True"), condition("NetworkUnavailable", "False")]
        {
            assert_eq!(why(well.clone()), None, "{well}");
        }
        for (node, said) in [
            (
                json!({"metadata": {"labels": {EXCLUDED: ""}}}),
                "ExcludedByLabel: it has the label node.kubernetes.io/exclude-from-external",
            ),
            (json!({"spec": {"unschedulable": true}}), "Cordoned: it is cordoned"),
            (condition("Ready", "Unknown"), "NotReady: it is not Ready"),
            (condition("NetworkUnavailable", "True"), "NetworkUnavailable: its network"),
        ] {
            let why = why(node.clone()).unwrap();
            assert!(why.contains(said), "{node}: {why}");
        }
    }
}

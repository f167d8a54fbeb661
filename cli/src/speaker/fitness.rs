//! Whether a node should have VIPs, as its Node object says.
//!
//! One that should not gives them to whoever else can have them, and keeps what nobody else can:
//! so the label does no harm on a cluster of one node, as Kubernetes has it.

use vipgate_api::k8s::Node;

/// Label: no traffic from load balancers, please (<https://kubernetes.io/docs/reference/labels-annotations-taints/>).
const EXCLUDED: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

/// Why the node should not have VIPs, if so.
pub(super) fn gives_way(node: &Node) -> Option<String> {
    if node.metadata.labels.iter().any(|labels| labels.contains_key(EXCLUDED)) {
        return Some(format!("it has the label {EXCLUDED}"));
    }
    if node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true) {
        return Some("it is cordoned".to_owned());
    }
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let amiss = conditions.map(|condition| (condition.type_.as_str(), condition.status.as_str()));
    amiss.into_iter().find_map(|condition| match condition {
        ("Ready", "False" | "Unknown") => Some("it is not Ready".to_owned()),
        ("NetworkUnavailable", "True") => Some("its network is not available".to_owned()),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn why(node: Value) -> Option<String> {
        gives_way(&serde_json::from_value(node).unwrap())
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
            (json!({"metadata": {"labels": {EXCLUDED: ""}}}), "exclude-from-external"),
            (json!({"spec": {"unschedulable": true}}), "cordoned"),
            (condition("Ready", "Unknown"), "not Ready"),
            (condition("NetworkUnavailable", "True"), "network"),
        ] {
            let why = why(node.clone()).unwrap();
            assert!(why.contains(said), "{node}: {why}");
        }
    }
}

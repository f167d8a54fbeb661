//! Which of the ready endpoints are near, by the hints of their slices (`trafficDistribution`, KEP-4444 and
//! KEP-3015; `service.kubernetes.io/topology-mode: Auto`, KEP-2433).
//!
//! Kubernetes writes the hints where a Service asks for it and there are enough endpoints; what is done with
//! them here is what kube-proxy does: a hint is heeded only while every ready endpoint has one, and one of
//! them is for this node or its zone. So nobody is left without an endpoint by a slice that is half written.

use vipgate_api::k8s::EndpointHints;

use crate::node::{Link, Node};

/// Label of a node that names its zone.
const ZONE_LABEL: &str = "topology.kubernetes.io/zone";

/// Where the connections come from that are forwarded.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    pub(super) node: &'a str,
    zone: Option<&'a str>,
    pub(super) links: &'a [Link],
    pub(super) cluster: bool,
}

impl<'a> Place<'a> {
    /// A node of a cluster, or one that is none.
    pub(crate) fn new(node: &'a Node, cluster: bool) -> Self {
        let Node { name, labels, links, .. } = node;
        Self { node: name, zone: labels.get(ZONE_LABEL).map(String::as_str), links, cluster }
    }
}

/// Whether the hints of an endpoint name this node, or its zone; `None`: it has no such hint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Nearness {
    node: Option<bool>,
    zone: Option<bool>,
}

impl Nearness {
    pub(super) fn of(hints: Option<&EndpointHints>, place: Option<Place<'_>>) -> Self {
        let (Some(hints), Some(place)) = (hints, place) else { return Self::default() };
        let (nodes, zones) = (hints.for_nodes.as_deref(), hints.for_zones.as_deref());
        let zones = zones.filter(|zones| !zones.is_empty());
        Self {
            node: nodes
                .filter(|nodes| !nodes.is_empty())
                .map(|nodes| nodes.iter().any(|node| node.name == place.node)),
            zone: zones.map(|zones| zones.iter().any(|zone| Some(&*zone.name) == place.zone)),
        }
    }
}

/// Keeps the near ones, if there is a reason to.
pub(super) fn keep_near<T>(ready: &mut Vec<(Nearness, T)>) {
    for hint in [|near: Nearness| near.node, |near: Nearness| near.zone] {
        let hints = || ready.iter().map(|(near, _)| hint(*near));
        if hints().all(|hint| hint.is_some()) && hints().any(|hint| hint == Some(true)) {
            ready.retain(|(near, _)| hint(*near) == Some(true));
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use vipgate_api::selector::Labels;

    use super::*;

    fn node(labels: Labels) -> Node {
        Node { name: "n1".to_owned(), labels, ..Node::default() }
    }

    /// Endpoints by their hints for nodes and zones; which of them are kept on node `n1` in zone `a`.
    #[track_caller]
    fn kept(endpoints: &[(&[&str], &[&str])], expected: &[usize]) {
        let node = node(Labels::from([(ZONE_LABEL.to_owned(), "a".to_owned())]));
        let near = |(nodes, zones): &(&[&str], &[&str])| {
            let named = |names: &[&str]| {
                serde_json::json!(
                    names.iter().map(|name| serde_json::json!({"name": name})).collect::<Vec<_>>()
                )
            };
            let hints = serde_json::json!({"forNodes": named(nodes), "forZones": named(zones)});
            let hints: EndpointHints = serde_json::from_value(hints).unwrap();
            Nearness::of(Some(&hints), Some(Place::new(&node, true)))
        };
        let mut ready: Vec<_> =
            endpoints.iter().enumerate().map(|(place, hints)| (near(hints), place)).collect();
        keep_near(&mut ready);
        assert_eq!(ready.iter().map(|(_, place)| *place).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn hints_are_heeded_when_all_have_them_and_some_are_for_us() {
        kept(&[(&[], &["a"]), (&[], &["b"]), (&[], &["b", "a"])], &[0, 2]);
        kept(&[(&[], &["a"]), (&[], &[])], &[0, 1]);
        kept(&[(&[], &["b"]), (&[], &["c"])], &[0, 1]);
        // The node goes before the zone, and the zone takes its place where no endpoint is on the node.
        kept(&[(&["n1"], &["a"]), (&["n2"], &["a"]), (&["n3"], &["b"])], &[0]);
        kept(&[(&["n2"], &["a"]), (&["n3"], &["b"])], &[0]);
        kept(&[(&["n2"], &["b"]), (&["n3"], &["b"])], &[0, 1]);
        kept(&[], &[]);
    }

    #[test]
    fn without_a_node_or_its_zone_all_are_near() {
        let hints: EndpointHints =
            serde_json::from_value(serde_json::json!({"forZones": [{"name": "b"}]})).unwrap();
        let none = node(Labels::new());
        for place in [None, Some(Place::new(&none, true))] {
            let mut ready = vec![(Nearness::of(Some(&hints), place), ())];
            keep_near(&mut ready);
            assert_eq!(ready.len(), 1);
        }
    }
}

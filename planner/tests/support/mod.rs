//! What the tests of the planner share: objects from YAML, and a node on which all goes well.
//!
//! Objects are decoded without the validation of the manifest reader, because the planner has to
//! cope with what gets past it (and an API server's CRDs may be older than our checks).

#![allow(dead_code, reason = "every test file uses its own part")]

pub(crate) mod site;

use std::collections::BTreeSet;

use serde::de::DeserializeOwned;
use serde_json::Value;
use vipgate_api::{Age, Kind, Object, ObjectKey};
use vipgate_planner::{
    Announce, ListenerState, Node, NodeReport, Outcome, Plan, Planner, Vip, VipState,
};

/// Every object of a multi-document YAML text, with its age.
pub(crate) fn objects(file: &str, yaml: &str) -> Vec<(Object, Age)> {
    let documents: Vec<Value> =
        serde_saphyr::from_multiple(yaml).unwrap_or_else(|error| panic!("{file}: {error}"));
    let documents = documents.into_iter().filter(|document| !document.is_null());
    documents
        .enumerate()
        .map(|(index, document)| {
            let object = object(document).unwrap_or_else(|e| panic!("{file}, object {index}: {e}"));
            let created = object.metadata().creation_timestamp.as_ref().map(|time| time.0);
            (object, Age { created, place: (file.to_owned(), index) })
        })
        .collect()
}

/// The object that a JSON document is.
pub(crate) fn object(document: Value) -> Result<Object, String> {
    let name = document["kind"].as_str().ok_or("no kind")?;
    let kind = Kind::ALL.into_iter().find(|kind| kind.name() == name).ok_or("unknown kind")?;
    Object::from_json(kind, document).map_err(|error| error.to_string())
}

/// Any other input from YAML.
pub(crate) fn read<T: DeserializeOwned>(file: &str, yaml: &str) -> T {
    serde_saphyr::from_str(yaml).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// What a node reports that does everything the plan asks for.
pub(crate) fn all_well(plan: &Plan) -> NodeReport {
    let vips = plan.vips.values().filter_map(|vip| match &vip.announce {
        Announce::Loopback => Some((vip.address, VipState::Serving(Vec::new()))),
        Announce::Layer2(links) => Some((vip.address, VipState::Serving(links.clone()))),
        Announce::Routed => Some((vip.address, VipState::Serving(Vec::new()))),
        Announce::Nowhere(_) | Announce::ByNodes => None,
    });
    let routers = |vip: &Vip| {
        let peers: BTreeSet<&ObjectKey> =
            vip.routes.iter().flat_map(|route| &route.peers).collect();
        (vip.address, u32::try_from(peers.len()).expect("few peers"))
    };
    let routed = plan.vips.values().map(routers).filter(|(_, count)| *count > 0);
    NodeReport {
        vips: vips.collect(),
        routed: routed.collect(),
        listeners: plan.listeners.iter().map(|l| (l.id.clone(), ListenerState::Bound)).collect(),
        ..NodeReport::default()
    }
}

/// Runs the planner with a node that does everything at once.
pub(crate) fn settle(planner: &mut Planner) -> Outcome {
    let plan = planner.run().plan;
    let report = all_well(&plan);
    for address in report.vips.keys() {
        planner.publish(*address);
    }
    planner.set_report(report);
    planner.run()
}

/// `eth0` with 10.0.0.1/24 and 2001:db8:0:1::1/64, `eth1` (down), `lo`.
pub(crate) fn node() -> Node {
    read("the default node", NODE)
}

const NODE: &str = "
name: n1
labels: {rack: a}
links:
- {index: 1, name: lo, up: true, loopback: true, mac: null, addresses: [127.0.0.1/8, '::1/128']}
- {index: 2, name: eth0, up: true, loopback: false, mac: [2, 0, 0, 0, 0, 1], addresses: [10.0.0.1/24, '2001:db8:0:1::1/64', 'fe80::1/64']}
- {index: 3, name: eth1, up: false, loopback: false, mac: [2, 0, 0, 0, 0, 2], addresses: [10.0.1.1/24]}
";

use serde_json::{Value, json};
use vipgate_api::Age;

use super::*;
use crate::discovery::Served;

/// An index that waits for these kinds, and knows them.
fn index(kinds: &[Kind]) -> Index {
    let mut index = Index::default();
    let versions = kinds.iter().map(|kind| (*kind, kind.versions()[0])).collect();
    index.take(Event::Served(Served { versions, ..Served::default() }));
    kinds.iter().for_each(|kind| {
        index.take(Event::Synced(*kind));
    });
    index
}

fn apply(index: &mut Index, kind: Kind, object: Value) {
    let object = Object::from_json(kind, object).unwrap();
    index.take(Event::Applied(object, Age::default(), Arc::new(Seen::default())));
}

fn node(ready: &str) -> Value {
    json!({"metadata": {"name": "n1"}, "status": {"conditions": [
        {"type": "Ready", "status": ready, "message": "Kubelet stopped posting node status."}]}})
}

fn n1() -> ObjectRef {
    ObjectRef::new(Kind::Node, ObjectKey::new("", "n1"))
}

/// An index with a Speaker of `n1` that serves an address.
fn with_speaker(kinds: &[Kind]) -> Index {
    let mut index = index(kinds);
    let speaker = json!({"metadata": {"name": "n1"}, "status": {"serving": 1, "notServing": 0,
        "vips": [{"address": "192.0.2.7", "state": "Serving"}]}});
    apply(&mut index, Kind::Speaker, speaker);
    index
}

/// Whether the speaker of `n1` counts; else why not.
fn counts(index: &Index) -> Result<(), String> {
    let (heard, lost) = index.speakers();
    assert_eq!(heard.len() + lost.len(), 1);
    match lost.get("n1") {
        None => Ok(()),
        Some(lost) => {
            assert!(lost.served.contains(&"192.0.2.7".parse().unwrap()));
            Err(lost.why.clone())
        }
    }
}

#[test]
fn a_speaker_counts_while_the_cluster_sees_its_node() {
    let mut index = with_speaker(&[Kind::Speaker, Kind::Node]);
    assert!(counts(&index).unwrap_err().contains("no Node"));
    for (ready, is_heard) in [("True", true), ("Unknown", false), ("False", true)] {
        apply(&mut index, Kind::Node, node(ready));
        assert_eq!(counts(&index).is_ok(), is_heard, "Ready={ready}");
    }
    apply(&mut index, Kind::Node, node("Unknown"));
    assert!(counts(&index).unwrap_err().contains("Kubelet stopped posting"));
    // One that was just registered has no conditions yet.
    apply(&mut index, Kind::Node, json!({"metadata": {"name": "n1"}}));
    assert_eq!(counts(&index), Ok(()));
    index.take(Event::Deleted(n1()));
    assert!(counts(&index).is_err());
}

#[test]
fn where_nodes_may_not_be_read_every_speaker_counts() {
    let mut index = with_speaker(&[Kind::Speaker]);
    assert_eq!(counts(&index), Ok(()));
    let mut refused = with_speaker(&[Kind::Speaker, Kind::Node]);
    refused.take(Event::Trouble(Kind::Node, "may not list".to_owned()));
    assert_eq!(counts(&refused), Ok(()));
    // What is known of a node is known all the same.
    apply(&mut index, Kind::Node, node("Unknown"));
    assert!(counts(&index).is_err());
}

#[test]
fn an_object_that_was_never_read_keeps_its_claim_and_is_not_taken_for_gone() {
    let kinds = [Kind::VirtualIp, Kind::GatewayClass, Kind::Gateway, Kind::Service];
    let mut index = index(&kinds);
    let web = ObjectRef::new(Kind::Gateway, ObjectKey::new("default", "web"));
    let vip = json!({"metadata": {"name": "192.0.2.7"}, "spec": {"address": "192.0.2.7",
        "pool": "lan", "origin": "Chosen", "published": true, "users": [
        {"kind": "Gateway", "namespace": "default", "name": "web", "ports": []}]}});
    apply(&mut index, Kind::VirtualIp, vip);
    let why = "spec.listeners: not a list".to_owned();
    index.take(Event::Unreadable(web.clone(), why, Arc::new(Seen::default())));
    assert!(index.knows(&kinds) && !index.has_read(&kinds));
    let claims = |index: &mut Index| {
        index.planner.set_release(index.knows(&kinds));
        index.planner.set_claims(index.vips.claims());
        index.planner.run();
        index.planner.claims().0.len()
    };
    assert_eq!(claims(&mut index), 1);
    index.take(Event::Deleted(web));
    assert!(index.has_read(&kinds));
    assert_eq!(claims(&mut index), 0);
}

use vipgate_api::Reason;

use super::*;
use crate::plan::{ByName, Listener, Service, Termination};

const VIP: [u8; 4] = [192, 0, 2, 1];

fn gateway(name: &str) -> ObjectKey {
    ObjectKey::new("default", name)
}

fn id(name: &str) -> ListenerId {
    ListenerId { gateway: gateway("web"), set: None, name: name.to_owned(), address: VIP.into() }
}

/// A plan with two listeners of generation 3.
fn plan() -> Plan {
    let listener = |name: &str, port: u16| Listener {
        id: id(name),
        bind: (VIP, port).into(),
        service: Service::Tcp(None),
        attached: Default::default(),
        settings: Default::default(),
    };
    let source = ObjectRef { kind: Kind::Gateway, key: gateway("web") };
    Plan {
        listeners: vec![listener("a", 80).into(), listener("b", 81).into()],
        sources: [(source, of_uid("one", 3))].into(),
        ..Plan::default()
    }
}

fn of_uid(uid: &str, generation: i64) -> Source {
    Source { generation, uid: Some(uid.to_owned()) }
}

fn report(generation: i64) -> NodeReport {
    let source = ObjectRef { kind: Kind::Gateway, key: gateway("web") };
    NodeReport {
        vips: [
            (VIP.into(), VipState::Serving(vec!["eth0".to_owned()])),
            ([192, 0, 2, 2].into(), VipState::Conflict(MacAddr([2, 0, 0, 0, 0, 9]))),
            ([192, 0, 2, 3].into(), VipState::Failed("no interface".to_owned())),
            ([192, 0, 2, 4].into(), VipState::Probing),
            ([192, 0, 2, 5].into(), excluded()),
        ]
        .into(),
        listeners: [
            (id("a"), ListenerState::Bound),
            (id("b"), ListenerState::Failed("port 81 is in use".to_owned())),
        ]
        .into(),
        contested: [(VIP.into(), MacAddr([2, 0, 0, 0, 0, 7]))].into(),
        sources: [(source, of_uid("one", generation))].into(),
        since: [(VIP.into(), "2026-01-01T00:00:00Z".to_owned())].into(),
        weights: [([192, 0, 2, 4].into(), 7)].into(),
        compromises: [(VIP.into(), why(ExclusionReason::NoCommonNode))].into(),
        gives_way: Some(why(ExclusionReason::Cordoned)),
        peers: [("lab/tor".to_owned(), peer())].into(),
        routed: [(VIP.into(), 2)].into(),
        truncated: false,
    }
}

fn peer() -> PeerReport {
    PeerReport {
        state: "Established".to_owned(),
        since: "2026-01-01T00:00:00Z".to_owned(),
        address: Some("10.9.0.1:179".to_owned()),
        peer_as: Some(4_200_000_000),
        capabilities: vec!["ipv4-unicast".to_owned()],
        hold_time: Some(9),
        prefixes: 3,
        last_error: Some("connection lost: reset".to_owned()),
        reason: Some(Reason::DuplicatePeer),
        bfd: Some("Up".to_owned()),
        bfd_echo: Some("active".to_owned()),
    }
}

fn why(reason: ExclusionReason) -> Exclusion {
    Exclusion::new(reason, format!("{reason}, in words"))
}

fn excluded() -> VipState {
    let why = why(ExclusionReason::NodeNotSelected);
    VipState::Excluded { why, owner: Some("two".to_owned()), announced: false }
}

#[test]
fn what_a_speaker_writes_is_what_the_controller_reads() {
    let status = report(3).to_speaker(None, vec!["one".to_owned()], Vec::new());
    let text = serde_json::to_string(&status).unwrap();
    let read: SpeakerStatus = serde_json::from_str(&text).unwrap();
    assert_eq!(NodeReport::from_speaker(&read, &plan()), report(3));
}

#[test]
fn a_listener_of_an_older_generation_is_not_bound() {
    let status = report(2).to_speaker(None, Vec::new(), Vec::new());
    let read = NodeReport::from_speaker(&status, &plan());
    assert!(read.listeners.is_empty(), "{read:?}");
    assert_eq!(read.vips, report(2).vips);
}

#[test]
fn one_node_that_serves_is_enough_and_a_failure_tells_more_than_silence() {
    let mut other = report(3);
    other.listeners.insert(id("b"), ListenerState::Bound);
    let reports: Reports =
        [("one".to_owned(), report(3)), ("two".to_owned(), other.clone())].into();
    assert_eq!(listener_state(&reports, &id("b")), Some(ListenerState::Bound));

    other.vips.insert(VIP.into(), VipState::Probing);
    let reports: Reports = [("one".to_owned(), report(3)), ("two".to_owned(), other)].into();
    assert!(matches!(listener_state(&reports, &id("b")), Some(ListenerState::Failed(_))));
    assert_eq!(listener_state(&reports, &id("c")), None);
}

#[test]
fn an_object_made_again_under_its_name_is_not_the_one_that_is_served() {
    let mut again = plan();
    for source in again.sources.values_mut() {
        *source = of_uid("two", 3);
    }
    let status = report(3).to_speaker(None, Vec::new(), Vec::new());
    assert_eq!(NodeReport::from_speaker(&status, &again).listeners, [].into());
    assert_eq!(NodeReport::from_speaker(&status, &plan()).listeners.len(), 2);
}

#[test]
fn a_listener_without_its_certificate_is_told_of() {
    let mut said = report(3);
    said.listeners.insert(id("a"), ListenerState::NoCertificate);
    let status = said.to_speaker(None, Vec::new(), Vec::new());
    let json = serde_json::to_value(&status).unwrap();
    assert_eq!(json["failedListeners"][0]["fault"], "NoCertificate");
    assert_eq!(NodeReport::from_speaker(&status, &plan()), said);

    let mut listener = Listener::clone(&plan().listeners[0]);
    assert!(!listener.lacks_certificate());
    listener.service = Service::Https(ByName::default(), Termination::default());
    assert!(listener.lacks_certificate());
}

#[test]
fn of_a_truncated_status_the_objects_that_are_missing_are_not_bound() {
    let mut status = report(3).to_speaker(None, Vec::new(), Vec::new());
    status.truncated = true;
    status.plan.clear();
    status.failed_listeners.clear();
    let read = NodeReport::from_speaker(&status, &plan());
    assert!(read.truncated);
    assert_eq!(read.listeners, [].into());
    assert_eq!(truncated(&[("one".to_owned(), read)].into()), ["one"]);
}

#[test]
fn a_certificate_counts_where_the_address_serves() {
    let mut bare = report(3);
    bare.listeners.insert(id("a"), ListenerState::NoCertificate);
    let mut standby = report(3);
    standby.vips.clear();
    let reports = |one: &NodeReport, two: &NodeReport| -> Reports {
        [("one".to_owned(), one.clone()), ("two".to_owned(), two.clone())].into()
    };
    assert_eq!(
        listener_state(&reports(&bare, &standby), &id("a")),
        Some(ListenerState::NoCertificate)
    );
    assert_eq!(listener_state(&reports(&bare, &report(3)), &id("a")), Some(ListenerState::Bound));
}

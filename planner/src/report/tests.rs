use super::*;
use crate::plan::{Listener, Service};

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
    };
    let source = ObjectRef { kind: Kind::Gateway, key: gateway("web") };
    Plan {
        listeners: vec![listener("a", 80), listener("b", 81)],
        sources: [(source, 3)].into(),
        ..Plan::default()
    }
}

fn report(generation: i64) -> NodeReport {
    let source = ObjectRef { kind: Kind::Gateway, key: gateway("web") };
    NodeReport {
        vips: [
            (VIP.into(), VipState::Serving(vec!["eth0".to_owned()])),
            ([192, 0, 2, 2].into(), VipState::Conflict(MacAddr([2, 0, 0, 0, 0, 9]))),
            ([192, 0, 2, 3].into(), VipState::Failed("no interface".to_owned())),
            ([192, 0, 2, 4].into(), VipState::Probing),
        ]
        .into(),
        listeners: [
            (id("a"), ListenerState::Bound),
            (id("b"), ListenerState::Failed("port 81 is in use".to_owned())),
        ]
        .into(),
        contested: [(VIP.into(), MacAddr([2, 0, 0, 0, 0, 7]))].into(),
        sources: [(source, generation)].into(),
    }
}

#[test]
fn what_a_speaker_writes_is_what_the_controller_reads() {
    let status = report(3).to_speaker(vec!["one".to_owned()], Vec::new());
    let text = serde_json::to_string(&status).unwrap();
    let read: SpeakerStatus = serde_json::from_str(&text).unwrap();
    assert_eq!(NodeReport::from_speaker(&read, &plan()), report(3));
}

#[test]
fn a_listener_of_an_older_generation_is_not_bound() {
    let status = report(2).to_speaker(Vec::new(), Vec::new());
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

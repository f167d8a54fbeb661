//! What a start finds of what the cluster said.

use std::os::unix::fs::PermissionsExt;

use vipgate_api::k8s::Secret;

use super::*;

fn object(kind: Kind, name: &str, rest: Value) -> Object {
    let mut json = serde_json::json!({"metadata": {"name": name, "namespace": "default",
        "creationTimestamp": "2026-01-02T03:04:05Z"}});
    json.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
    Object::from_json(kind, json).unwrap()
}

fn service(name: &str) -> Object {
    object(Kind::Service, name, serde_json::json!({"spec": {"type": "LoadBalancer"}}))
}

fn applied(object: Object) -> Event {
    let created = object.metadata().creation_timestamp.as_ref().map(|time| time.0);
    Event::Applied(object, Age { created, place: (String::new(), 0) }, Arc::default())
}

async fn written(last_good: &mut LastGood) {
    tokio::time::sleep_until(last_good.write_at().expect("something changed")).await;
    last_good.write();
    last_good.writing.take().expect("it is written").await.unwrap();
}

#[tokio::test]
async fn what_was_known_is_known_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state.json");
    let mut first = LastGood::open(&state);
    assert_eq!(first.recall_at(), None, "nothing was known");
    for event in [applied(service("web")), applied(service("gone"))] {
        first.take(&event);
    }
    first.take(&Event::Deleted(service("gone").reference()));
    written(&mut first).await;
    let mode = std::fs::metadata(&first.path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let mut second = LastGood::open(&state);
    assert_eq!(second.keys()[&Kind::Service].len(), 1);
    assert!(second.recall(&BTreeSet::new()).is_none(), "the API server has its time");
    second.take(&Event::Away(Some("refused".to_owned())));
    let (_, events) = second.recall(&BTreeSet::new()).expect("it does not answer");
    let [Event::Applied(object, age, _)] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!(*object, service("web"));
    assert!(age.created.is_some(), "the oldest still wins");
    assert!(second.recall(&BTreeSet::new()).is_none(), "once");
}

#[tokio::test]
async fn what_was_told_since_is_not_recalled() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state.json");
    let mut first = LastGood::open(&state);
    first.take(&applied(service("web")));
    first.take(&applied(object(
        Kind::Backend,
        "one",
        serde_json::json!({"spec": {"endpoints": []}}),
    )));
    written(&mut first).await;

    let mut second = LastGood::open(&state);
    tokio::time::sleep_until(second.recall_at().unwrap()).await;
    let (_, events) = second.recall(&[Kind::Service].into()).unwrap();
    let [Event::Applied(object, ..)] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!(object.kind(), Kind::Backend);
}

#[tokio::test]
async fn secrets_of_others_are_not_kept_and_writes_are_few() {
    let directory = tempfile::tempdir().unwrap();
    let mut last_good = LastGood::open(&directory.path().join("state.json"));
    let mut secret = Secret::default();
    secret.metadata.name = Some("password".to_owned());
    last_good.take(&applied(Object::Secret(Arc::new(secret))));
    assert_eq!(last_good.write_at(), None);

    let began = Instant::now();
    last_good.take(&applied(service("one")));
    written(&mut last_good).await;
    last_good.take(&applied(service("one")));
    assert_eq!(last_good.write_at(), None, "nothing new");
    last_good.take(&applied(service("two")));
    written(&mut last_good).await;
    assert!(began.elapsed() >= BETWEEN_WRITES);
}

#[tokio::test]
async fn a_damaged_file_is_as_good_as_none() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state.json");
    for text in ["", "{", r#"{"version":9,"served":[],"objects":[]}"#] {
        std::fs::write(state::beside(&state, "objects"), text).unwrap();
        assert_eq!(LastGood::open(&state).recall_at(), None, "{text:?}");
    }
}

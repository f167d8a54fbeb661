use vipgate_api::{Age, Object};

use super::*;

const INSTALL: &str = "vipgate-system";

fn secret(namespace: &str, name: &str, key: &str) -> Value {
    json!({"metadata": {"namespace": namespace, "name": name}, "type": TYPE,
        "data": {"tls.crt": "YQ==", "tls.key": key, "ca.crt": "Yw=="}})
}

fn world(secrets: &[Value]) -> World {
    let mut world = World::default();
    for secret in secrets {
        world.apply(Object::from_json(Kind::Secret, secret.clone()).unwrap(), Age::default());
    }
    world
}

fn in_use(secrets: &[ObjectKey]) -> BTreeSet<ObjectKey> {
    secrets.iter().cloned().collect()
}

fn created(changes: &[Change]) -> Value {
    match changes {
        [Change::Create(_, body)] => body.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_in_use_is_copied_and_nothing_else() {
    let source = ObjectKey::new("web", "cert");
    let world_before = world(&[secret("web", "cert", "Yg=="), secret("web", "other", "eA==")]);
    let body = created(&changes(&world_before, &in_use(std::slice::from_ref(&source)), INSTALL));
    assert_eq!(body["data"], json!({"tls.crt": "YQ==", "tls.key": "Yg=="}));
    assert_eq!(body["metadata"]["annotations"][SOURCE_NAMESPACE], "web");
    assert_eq!(body["metadata"]["annotations"][SOURCE_NAME], "cert");
    assert_eq!(body["metadata"]["namespace"], INSTALL);

    // Once it is there, nothing is to be done.
    let world_after = world(&[secret("web", "cert", "Yg=="), body.clone()]);
    assert_eq!(changes(&world_after, &in_use(&[source]), INSTALL), []);
    // Out of use, it goes; Secrets of others in that namespace stay.
    let theirs = secret(INSTALL, "vipgate-tls-mine", "eA==");
    let unused = world(&[secret("web", "cert", "Yg=="), body, theirs]);
    let gone = changes(&unused, &in_use(&[]), INSTALL);
    assert!(matches!(gone.as_slice(), [Change::Delete(_)]), "{gone:?}");
}

#[test]
fn a_copy_follows_its_source_and_is_set_right() {
    let source = ObjectKey::new("web", "cert");
    let first = world(&[secret("web", "cert", "Yg==")]);
    let mut copy = created(&changes(&first, &in_use(std::slice::from_ref(&source)), INSTALL));
    copy["data"]["more"] = json!("eA==");
    let renewed = world(&[secret("web", "cert", "bmV3"), copy]);
    let changes = changes(&renewed, &in_use(&[source]), INSTALL);
    let [Change::Merge(_, change)] = changes.as_slice() else { panic!("{changes:?}") };
    assert_eq!(change["data"], json!({"tls.crt": "YQ==", "tls.key": "bmV3", "more": null}));
}

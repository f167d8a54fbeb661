use vipgate_api::{Age, Kind, Object};
use vipgate_planner::World;

use super::*;

const INSTALL: &str = "vipgate-system";

fn secret(namespace: &str, name: &str, key: &str) -> Value {
    json!({"metadata": {"namespace": namespace, "name": name}, "type": "kubernetes.io/tls",
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
    let body =
        created(&changes(&world_before.secrets, &in_use(std::slice::from_ref(&source)), INSTALL));
    assert_eq!(body["data"], json!({"tls.crt": "YQ==", "tls.key": "Yg=="}));
    assert_eq!(body["metadata"]["annotations"][SOURCE_NAMESPACE], "web");
    assert_eq!(body["metadata"]["annotations"][SOURCE_NAME], "cert");
    assert_eq!(body["metadata"]["namespace"], INSTALL);

    // Once it is there, nothing is to be done.
    let world_after = world(&[secret("web", "cert", "Yg=="), body.clone()]);
    assert_eq!(changes(&world_after.secrets, &in_use(&[source]), INSTALL), []);
    // Out of use, it goes; Secrets of others in that namespace stay.
    let theirs = secret(INSTALL, "vipgate-tls-mine", "eA==");
    let unused = world(&[secret("web", "cert", "Yg=="), body, theirs]);
    let gone = changes(&unused.secrets, &in_use(&[]), INSTALL);
    assert!(matches!(gone.as_slice(), [Change::Delete(_)]), "{gone:?}");
}

#[test]
fn a_copy_follows_its_source_and_is_set_right() {
    let source = ObjectKey::new("web", "cert");
    let first = world(&[secret("web", "cert", "Yg==")]);
    let mut copy =
        created(&changes(&first.secrets, &in_use(std::slice::from_ref(&source)), INSTALL));
    copy["data"]["more"] = json!("eA==");
    let renewed = world(&[secret("web", "cert", "bmV3"), copy]);
    let changes = changes(&renewed.secrets, &in_use(&[source]), INSTALL);
    let [Change::Merge(_, change)] = changes.as_slice() else { panic!("{changes:?}") };
    assert_eq!(change["data"], json!({"tls.crt": "YQ==", "tls.key": "bmV3", "more": null}));
}

fn config_map(name: &str, data: &Value) -> Value {
    json!({"metadata": {"namespace": "web", "name": name}, "data": data})
}

fn world_of_maps(maps: &[Value]) -> World {
    let mut world = World::default();
    for map in maps {
        world.apply(Object::from_json(Kind::ConfigMap, map.clone()).unwrap(), Age::default());
    }
    world
}

#[test]
fn of_a_config_map_the_authorities_are_copied_and_found_by_label() {
    let source = ObjectKey::new("web", "ca");
    let map = config_map("ca", &json!({"ca.crt": "PEM", "settings": "none of our business"}));
    let in_use = in_use(&[source]);
    let mut copy =
        created(&changes(&world_of_maps(std::slice::from_ref(&map)).config_maps, &in_use, INSTALL));
    assert_eq!(copy["data"], json!({"ca.crt": "PEM"}));
    assert_eq!(copy["metadata"]["labels"][BUNDLE_LABEL], BUNDLE);
    assert_eq!(copy.get("type"), None);
    let there = world_of_maps(&[map.clone(), copy.clone()]);
    assert_eq!(changes(&there.config_maps, &in_use, INSTALL), []);

    // Without the label speakers would not see it.
    copy["metadata"]["labels"] = json!({});
    let there = world_of_maps(&[map, copy]);
    let changes = changes(&there.config_maps, &in_use, INSTALL);
    let [Change::Merge(_, change)] = changes.as_slice() else { panic!("{changes:?}") };
    assert_eq!(change["metadata"]["labels"][BUNDLE_LABEL], BUNDLE);
}

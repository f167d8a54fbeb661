//! Which Services are ours, and what is read from them.

use std::sync::Arc;

use serde_json::{Value, json};
use vipgate_api::Age;

use super::*;
use crate::allocation::{PoolChoice, Sharing};

/// A Service of type LoadBalancer, with other fields of its spec, and annotations.
fn service(spec: Value, annotations: Value) -> Service {
    let mut whole = json!({
        "metadata": {"name": "x", "namespace": "default", "annotations": annotations},
        "spec": {"type": "LoadBalancer", "ports": [{"port": 80}]},
    });
    for (name, value) in spec.as_object().unwrap() {
        whole["spec"][name] = value.clone();
    }
    serde_json::from_value(whole).unwrap()
}

fn admitted(service: Service) -> Services {
    let stored = Stored { object: Arc::new(service), age: Age::default() };
    Reader::default().admit(&[(ObjectKey::new("default", "x"), stored)].into())
}

fn want(spec: Value, annotations: Value) -> ServiceWant {
    let mut wants = admitted(service(spec, annotations)).wants;
    let want = wants.remove(&ObjectKey::new("default", "x")).unwrap();
    ServiceWant::clone(&want)
}

fn asks(want: &ServiceWant) -> &ServiceAsks {
    let Asks::Service(asks) = &want.want.asks else { panic!("a Service") };
    asks
}

/// MetalLB: "a service with another loadbalancer class should not get an ip".
#[test]
fn ours_are_those_of_our_class_and_of_none() {
    // (fields, whether it is ours, whether it has no class)
    let cases = [
        (json!({}), Some(true)),
        (json!({"loadBalancerClass": "vipgate.dev/service"}), Some(false)),
        (json!({"loadBalancerClass": "vipgate.dev/gateway"}), None),
        (json!({"loadBalancerClass": "metallb.io/other"}), None),
        (json!({"type": "ClusterIP"}), None),
        (json!({"type": "NodePort"}), None),
    ];
    for (spec, expected) in cases {
        let services = admitted(service(spec.clone(), json!({})));
        let got = services.wants.values().next().map(|want| want.classless);
        assert_eq!(got, expected, "{spec}");
        assert_eq!(services.former, BTreeMap::new());
    }
}

#[test]
fn a_service_that_carries_our_condition_was_ours() {
    let carrying = |spec: Value| {
        let mut service = serde_json::to_value(service(spec, json!({}))).unwrap();
        service["status"] = json!({"conditions": [{
            "type": "vipgate.dev/AddressAssigned", "status": "True", "reason": "AddressAssigned",
            "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z",
        }]});
        admitted(serde_json::from_value(service).unwrap()).former.into_values().next()
    };
    assert_eq!(carrying(json!({"type": "ClusterIP"})), Some(true));
    assert_eq!(carrying(json!({"loadBalancerClass": "example.com/lb"})), Some(false));
    assert_eq!(carrying(json!({})), None);
}

#[test]
fn families_are_those_of_the_spec_then_of_its_cluster_addresses() {
    use Family::{V4, V6};
    let cases = [
        (json!({}), vec![V4], false),
        (json!({"clusterIP": "None"}), vec![V4], false),
        (json!({"clusterIP": "fd00::1", "clusterIPs": ["fd00::1"]}), vec![V6], false),
        (json!({"ipFamilies": ["IPv6"], "ipFamilyPolicy": "SingleStack"}), vec![V6], false),
        (
            json!({"ipFamilies": ["IPv6", "IPv4"], "ipFamilyPolicy": "PreferDualStack"}),
            vec![V6, V4],
            false,
        ),
        (
            json!({"ipFamilies": ["IPv4", "IPv6"], "ipFamilyPolicy": "RequireDualStack"}),
            vec![V4, V6],
            true,
        ),
        // A cluster of one family: an API server fills in that one, and the Service has no other.
        (json!({"ipFamilies": ["IPv4"], "ipFamilyPolicy": "PreferDualStack"}), vec![V4], false),
    ];
    for (spec, families, all) in cases {
        let want = want(spec.clone(), json!({}));
        assert_eq!((&asks(&want).families, asks(&want).all), (&families, all), "{spec}");
    }
}

/// MetalLB: "IPV4 Should work with mixed protocol services".
#[test]
fn ports_of_all_protocols_are_read() {
    let ports =
        json!([{"port": 53, "protocol": "UDP"}, {"port": 53}, {"port": 9, "protocol": "SCTP"}]);
    let want = want(json!({"ports": ports}), json!({})).want;
    let port = |protocol, port| PortUse { protocol, port };
    let expected = [port(Transport::Tcp, 53), port(Transport::Udp, 53), port(Transport::Sctp, 9)];
    assert_eq!(want.ports, expected);
}

#[test]
fn annotations_of_metallb_are_obeyed_and_ours_go_first() {
    for prefix in ["vipgate.dev", "metallb.io", "metallb.universe.tf"] {
        let name = |what: &str| format!("{prefix}/{what}");
        let annotations = json!({
            name("address-pool"): "lan",
            name("loadBalancerIPs"): "10.0.0.1, fd00::1",
            name("allow-shared-ip"): "k",
        });
        let spec = json!({"externalTrafficPolicy": "Local", "selector": {"app": "web"}});
        let want = want(spec, annotations);
        let pool = PoolChoice { annotation: name("address-pool"), names: "lan".to_owned() };
        assert_eq!(want.want.pool, Some(pool));
        assert_eq!(asks(&want).named, ["10.0.0.1", "fd00::1"]);
        assert_eq!(asks(&want).named_by, format!("annotation {prefix}/loadBalancerIPs"));
        let selector = [("app".to_owned(), "web".to_owned())].into();
        let traffic = Some(Traffic { local: true, selector });
        assert_eq!(want.want.sharing, Some(Sharing { key: "k".to_owned(), traffic }));
        assert_eq!(want.notes, Vec::<String>::new());
    }
}

#[test]
fn contradictions_are_noted() {
    let want = want(
        json!({"loadBalancerIP": "10.0.0.9"}),
        json!({
            "metallb.universe.tf/address-pool": "old",
            "metallb.io/address-pool": "newer",
            "vipgate.dev/address-pool": "ours",
            "metallb.io/loadBalancerIPs": "10.0.0.1",
            "metallb.universe.tf/loadBalancerIPs": "10.0.0.1",
            "vipgate.dev/allow-shared-ip": "",
        }),
    );
    assert_eq!(want.want.pool.unwrap().names, "ours");
    assert_eq!(want.want.sharing, None, "an empty key is none");
    assert_eq!(
        want.notes,
        [
            "annotation metallb.io/address-pool says \"newer\", but \
             vipgate.dev/address-pool says \"ours\", which counts: remove one",
            "annotation metallb.universe.tf/address-pool says \"old\", but \
             vipgate.dev/address-pool says \"ours\", which counts: remove one",
            "spec.loadBalancerIP says 10.0.0.9, but annotation \
             metallb.io/loadBalancerIPs says \"10.0.0.1\", which counts: remove one",
        ]
    );
}

#[test]
fn load_balancer_ip_names_one_address() {
    let want = want(json!({"loadBalancerIP": "10.0.0.9"}), json!({}));
    assert_eq!(asks(&want).named, ["10.0.0.9"]);
    assert_eq!(asks(&want).named_by, "spec.loadBalancerIP");
}

/// An edit of one of many must not cost reading all.
#[test]
fn only_what_changed_is_read_again() {
    let stored = |port: u16| Stored {
        object: Arc::new(service(json!({"ports": [{"port": port}]}), json!({}))),
        age: Age::default(),
    };
    let [x, y] = ["x", "y"].map(|name| ObjectKey::new("default", name));
    let mut services: Shelf<Service> = [(x.clone(), stored(80)), (y.clone(), stored(80))].into();
    let mut reader = Reader::default();
    let before = reader.admit(&services);
    services.insert(x.clone(), stored(81));
    let after = reader.admit(&services);
    assert!(Arc::ptr_eq(&before.wants[&y], &after.wants[&y]));
    assert_eq!(after.wants[&x].want.ports[0].port, 81);
    services.get_mut(&y).unwrap().age.place.1 = 7;
    assert_eq!(reader.admit(&services).wants[&y].want.age.place.1, 7);
    services.remove(&y);
    assert_eq!(reader.admit(&services).wants.len(), 1);
    assert_eq!(reader.0.len(), 1, "what is gone is forgotten");
}

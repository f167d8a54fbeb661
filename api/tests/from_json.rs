//! Objects as an API server gives them.

use serde_json::{Value, json};
use vipgate_api::{Kind, Object};

const EVERY: [Kind; 26] = [
    Kind::GatewayClass,
    Kind::Gateway,
    Kind::ListenerSet,
    Kind::TcpRoute,
    Kind::TlsRoute,
    Kind::UdpRoute,
    Kind::HttpRoute,
    Kind::ReferenceGrant,
    Kind::BackendTlsPolicy,
    Kind::Namespace,
    Kind::Service,
    Kind::EndpointSlice,
    Kind::Secret,
    Kind::ConfigMap,
    Kind::IpAddressPool,
    Kind::L2Advertisement,
    Kind::BgpPeer,
    Kind::BgpAdvertisement,
    Kind::BfdProfile,
    Kind::Community,
    Kind::Backend,
    Kind::ListenerPolicy,
    Kind::BackendPolicy,
    Kind::VirtualIp,
    Kind::Speaker,
    Kind::Node,
];

/// Everything beside the metadata, with status and all, as it comes from an API server.
fn body(kind: Kind) -> Value {
    let route = json!({
        "parentRefs": [{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "web"}],
        "rules": [{"backendRefs":
            [{"group": "", "kind": "Service", "name": "web", "port": 80, "weight": 1}]}],
    });
    let listener = json!({"name": "web", "port": 80, "protocol": "TCP",
        "allowedRoutes": {"namespaces": {"from": "Same"}}});
    match kind {
        Kind::GatewayClass => json!({
            "spec": {"controllerName": "vipgate.dev/gateway-controller"},
            "status": {"conditions": []},
        }),
        Kind::Gateway => json!({
            "spec": {"gatewayClassName": "vipgate", "listeners": [listener]},
            "status": {"addresses": [{"type": "IPAddress", "value": "192.0.2.1"}]},
        }),
        Kind::ListenerSet => json!({"spec": {
            "parentRef": {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "web"},
            "listeners": [listener],
        }}),
        Kind::TcpRoute | Kind::TlsRoute | Kind::UdpRoute => json!({"spec": route}),
        Kind::HttpRoute => {
            let mut route = route;
            route["rules"][0]["matches"] = json!([{"path": {"type": "PathPrefix", "value": "/"}}]);
            json!({"spec": route, "status": {"parents": []}})
        }
        Kind::ReferenceGrant => json!({"spec": {
            "from": [{"group": "gateway.networking.k8s.io", "kind": "TCPRoute", "namespace": "a"}],
            "to": [{"group": "", "kind": "Service"}],
        }}),
        Kind::Namespace => json!({
            "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"},
        }),
        Kind::Service => json!({
            "spec": {"type": "LoadBalancer", "clusterIP": "10.96.0.7",
                "ports": [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": "http"}]},
            "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1", "ipMode": "VIP"}]}},
        }),
        Kind::EndpointSlice => json!({"addressType": "IPv4",
            "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": true}}],
            "ports": [{"name": "", "port": 8080, "protocol": "TCP"}]}),
        Kind::Secret => json!({"type": "kubernetes.io/tls", "data": {"tls.crt": "eA=="}}),
        Kind::IpAddressPool => json!({"spec": {
            "addresses": ["192.0.2.0/24"], "autoAssign": true, "avoidBuggyIPs": false,
        }}),
        Kind::L2Advertisement => json!({"spec": {"ipAddressPools": ["pool"]}}),
        Kind::BgpPeer => json!({"spec": {"myASN": 65001, "peerASN": 4_200_000_001_u32,
            "peerAddress": "10.9.0.1", "peerPort": 179, "ebgpMultiHop": false}}),
        Kind::BgpAdvertisement => json!({"spec": {"communities": ["no-export"]}}),
        Kind::BfdProfile => json!({"spec": {"receiveInterval": 300}}),
        Kind::Community => json!({"spec": {"communities": [{"name": "a", "value": "1:2"}]}}),
        Kind::Backend => json!({"spec": {"endpoints": [{"address": "10.0.0.1", "port": 1}]}}),
        Kind::BackendTlsPolicy => json!({
            "spec": {
                "targetRefs": [{"group": "", "kind": "Service", "name": "web", "sectionName": "https"}],
                "validation": {
                    "caCertificateRefs": [{"group": "", "kind": "ConfigMap", "name": "ca"}],
                    "hostname": "web.example.com",
                    "subjectAltNames": [{"type": "URI", "uri": "spiffe://example.com/web"}],
                },
                "options": {"example.com/a": "b"},
            },
            "status": {"ancestors": []},
        }),
        Kind::ConfigMap => json!({"data": {"ca.crt": "x"}, "binaryData": {"b": "eA=="}}),
        Kind::ListenerPolicy => json!({"spec": {
            "targetRefs": [{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "web"}],
            "proxyProtocol": {"from": ["192.0.2.0/24"]},
            "limits": {"connections": 7, "newConnectionsPerSecond": 9},
            "tls": {"minVersion": "1.3", "cipherSuites": ["TLS_AES_128_GCM_SHA256"]},
            "accessLog": {"sampleOneIn": 10},
        }}),
        Kind::BackendPolicy => json!({
            "spec": {
                "targetRefs": [{"group": "", "kind": "Service", "name": "web"}],
                "balancing": "Maglev", "proxyProtocol": "V2", "clientAddress": "Preserve",
                "sessionAffinity": {"type": "ClientIP", "timeout": "1h"},
                "healthCheck": {"type": "TLS", "sendBytes": "AAE=", "expect": "+"},
            },
            "status": {"ancestors": []},
        }),
        Kind::VirtualIp => json!({"spec": {
            "address": "192.0.2.1", "pool": "pool", "origin": "Chosen", "published": true,
            "users": [{"kind": "Gateway", "namespace": "a", "name": "web",
                "ports": [{"protocol": "TCP", "port": 80}]}],
        }}),
        Kind::Speaker => json!({"status": {
            "vips": [{"address": "192.0.2.1", "state": "Serving", "interfaces": ["eth0"]}],
        }}),
        Kind::Node => json!({
            "spec": {"podCIDR": "10.0.0.0/24"},
            "status": {"addresses": [{"type": "InternalIP", "address": "192.168.1.1"}]},
        }),
        Kind::ServiceAccount => json!({}),
    }
}

fn whole(kind: Kind, version: &str) -> Value {
    let mut object = body(kind);
    object["apiVersion"] = kind.api_version_in(version).into();
    object["kind"] = kind.name().into();
    object["metadata"] = json!({
        "name": "web", "uid": "b2f5", "resourceVersion": "7", "generation": 3,
        "creationTimestamp": "2026-11-27T19:00:00Z",
    });
    if kind.is_namespaced() {
        object["metadata"]["namespace"] = "a".into();
    }
    object
}

#[test]
fn every_kind_in_every_version() {
    for kind in EVERY {
        for version in kind.versions() {
            let object = Object::from_json(kind, whole(kind, version)).unwrap();
            assert_eq!(object.kind(), kind);
            assert_eq!(object.reference().key.name, "web");
            assert_eq!(object.reference().key.namespace.is_empty(), !kind.is_namespaced());
            let meta = object.metadata();
            assert_eq!(meta.generation, Some(3));
            assert_eq!(meta.creation_timestamp.as_ref().unwrap().0.as_second(), 1_795_806_000);
        }
    }
}

/// What was read can be shown again.
#[test]
fn specs_are_kept() {
    for kind in EVERY {
        let json = whole(kind, kind.versions()[0]);
        let shown = Object::from_json(kind, json.clone()).unwrap().to_json(kind.versions()[0]);
        assert_eq!(shown["apiVersion"], json["apiVersion"]);
        // A default that says "everything" or "nothing" may be left out.
        if let Some(spec) = json["spec"].as_object() {
            for (field, value) in spec {
                if *value != json!(false) {
                    assert_eq!(&shown["spec"][field], value, "{kind} {field}");
                }
            }
        }
    }
}

#[test]
fn what_has_another_shape_is_refused_with_a_reason() {
    let mut gateway = whole(Kind::Gateway, "v1");
    gateway["spec"]["listeners"][0]["port"] = "eighty".into();
    let error = Object::from_json(Kind::Gateway, gateway).unwrap_err().to_string();
    assert!(error.contains("eighty") && error.contains("u16"), "{error}");
    for kind in EVERY {
        for nonsense in [json!(null), json!([]), json!("text"), json!({"metadata": 7})] {
            assert!(Object::from_json(kind, nonsense.clone()).is_err(), "{kind} {nonsense}");
        }
    }
}

/// A newer API server may send more than we know.
#[test]
fn unknown_fields_are_passed_over() {
    for kind in EVERY {
        let mut object = whole(kind, kind.versions()[0]);
        object["later"] = json!({"a": [1]});
        if object["spec"].is_object() {
            object["spec"]["later"] = json!({"a": [1]});
        }
        Object::from_json(kind, object).unwrap();
    }
}

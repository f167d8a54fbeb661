//! What is read from good manifests: compared with what an API server would store.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use serde_json::{Value, json};
use vipgate_api::Object;
use vipgate_api::manifest::{FileReading, Mode, read_manifest};

fn read(text: &str) -> FileReading {
    read_manifest("web.yaml", text.as_bytes(), Mode::Standalone).unwrap()
}

/// The only object of a text, which must be without any problem.
fn object(text: &str) -> Object {
    let reading = read(text);
    let problems: Vec<String> = reading.problems.iter().map(ToString::to_string).collect();
    assert!(problems.is_empty(), "{problems:?}");
    assert_eq!(reading.items.len(), 1, "{text}");
    reading.items.into_iter().next().unwrap().loaded.unwrap().object
}

fn as_json(object: &Object) -> Value {
    let Value::Object(mut fields) = object.to_json(object.kind().versions()[0]) else {
        panic!("an object is an object");
    };
    fields.remove("apiVersion");
    fields.remove("kind");
    fields.into()
}

#[test]
fn a_gateway_gets_the_defaults_of_its_crd() {
    let gateway = object(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: web}\nspec:\n  \
         gatewayClassName: vipgate\n  addresses: [{value: 192.0.2.7}, {}]\n  listeners:\n  \
         - {name: a, port: 1, protocol: TCP}\n  \
         - {name: b, port: 2, protocol: TLS, tls: {certificateRefs: [{name: cert}]}, \
            allowedRoutes: {kinds: [{kind: TCPRoute}]}}\n",
    );
    assert_eq!(
        as_json(&gateway),
        json!({
            "metadata": {"name": "web", "namespace": "default"},
            "spec": {
                "gatewayClassName": "vipgate",
                "addresses": [{"type": "IPAddress", "value": "192.0.2.7"}, {"type": "IPAddress"}],
                "listeners": [
                    {
                        "name": "a", "port": 1, "protocol": "TCP",
                        "allowedRoutes": {"namespaces": {"from": "Same"}},
                    },
                    {
                        "name": "b", "port": 2, "protocol": "TLS",
                        "tls": {
                            "mode": "Terminate",
                            "certificateRefs": [{"group": "", "kind": "Secret", "name": "cert"}],
                        },
                        "allowedRoutes": {
                            "namespaces": {"from": "Same"},
                            "kinds": [{"group": "gateway.networking.k8s.io", "kind": "TCPRoute"}],
                        },
                    },
                ],
            },
        })
    );
}

#[test]
fn a_route_gets_the_defaults_of_its_crd() {
    let route = object(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: TCPRoute\nmetadata: {name: web}\nspec:\n  \
         parentRefs: [{name: web, sectionName: null}]\n  rules:\n  \
         - backendRefs: [{name: a, port: 80}, {name: b, port: 80, weight: 0}]\nstatus: {parents: []}\n",
    );
    assert_eq!(
        as_json(&route),
        json!({
            "metadata": {"name": "web", "namespace": "default"},
            "spec": {
                "parentRefs": [
                    {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "web"},
                ],
                "rules": [{"backendRefs": [
                    {"group": "", "kind": "Service", "name": "a", "port": 80, "weight": 1},
                    {"group": "", "kind": "Service", "name": "b", "port": 80, "weight": 0},
                ]}],
            },
        })
    );
}

#[test]
fn core_kinds_are_completed_as_by_an_api_server() {
    let service = object(
        "apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: shop}\nspec:\n  \
         ports:\n  - {name: a, port: 80}\n  - {name: b, port: 53, protocol: UDP, targetPort: dns}\n\
         status: {loadBalancer: {ingress: [{ip: 192.0.2.1}]}}\n",
    );
    let service = as_json(&service);
    assert_eq!(
        service["spec"],
        json!({
            "type": "ClusterIP",
            "ports": [
                {"name": "a", "port": 80, "protocol": "TCP", "targetPort": 80},
                {"name": "b", "port": 53, "protocol": "UDP", "targetPort": "dns"},
            ],
        })
    );
    assert_eq!(service["metadata"]["namespace"], "shop");
    assert_eq!(service["status"], Value::Null, "the status is not the author's to write");

    let namespace =
        object("apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {a: b}}\n");
    assert_eq!(
        as_json(&namespace)["metadata"],
        json!({"name": "shop", "labels": {"a": "b", "kubernetes.io/metadata.name": "shop"}})
    );

    let slice = object(
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: web-1\n  \
         labels: {kubernetes.io/service-name: web}\naddressType: IPv4\nendpoints:\n\
         - addresses: [10.0.0.1]\nports: [{port: 8080}]\n",
    );
    let slice = as_json(&slice);
    assert_eq!(slice["ports"], json!([{"name": "", "port": 8080, "protocol": "TCP"}]));
    assert_eq!(slice["endpoints"], json!([{"addresses": ["10.0.0.1"]}]));
}

#[test]
fn plain_text_of_a_secret_becomes_data() {
    let secret = object(
        "apiVersion: v1\nkind: Secret\nmetadata: {name: tls}\ndata: {a: YQ==, b: Yg==}\n\
         stringData: {b: over, c: yes}\n",
    );
    let secret = as_json(&secret);
    assert_eq!(secret["data"], json!({"a": "YQ==", "b": "b3Zlcg==", "c": "eWVz"}));
    assert_eq!(secret["type"], "Opaque");
    assert_eq!(secret["stringData"], Value::Null);
}

#[test]
fn our_own_kinds_take_what_metallb_users_write() {
    let pool = object(
        "apiVersion: vipgate.dev/v1alpha1\nkind: IPAddressPool\n\
         metadata: {name: lan, namespace: metallb-system}\nspec:\n  \
         addresses: [192.0.2.0/28, 192.0.2.32-192.0.2.40, 2001:db8::/124]\n  autoAssign: no\n  \
         avoidBuggyIPs: true\n  exclusions: [192.0.2.1]\n  serviceAllocation:\n    priority: 50\n    \
         namespaces: [shop]\n    namespaceSelectors: [{matchLabels: {team: web}}]\n",
    );
    assert_eq!(
        as_json(&pool),
        json!({
            "metadata": {"name": "lan", "namespace": "metallb-system"},
            "spec": {
                "addresses": ["192.0.2.0/28", "192.0.2.32-192.0.2.40", "2001:db8::/124"],
                "exclusions": ["192.0.2.1"],
                "autoAssign": false,
                "avoidBuggyIPs": true,
                "reclaim": false,
                "serviceAllocation": {
                    "priority": 50,
                    "namespaces": ["shop"],
                    "namespaceSelectors": [{"matchLabels": {"team": "web"}}],
                },
            },
        })
    );
    let advertisement =
        object("apiVersion: vipgate.dev/v1alpha1\nkind: L2Advertisement\nmetadata: {name: lan}\n");
    assert_eq!(as_json(&advertisement)["spec"], json!({}));
}

#[test]
fn what_kubectl_exports_is_read_without_complaint() {
    let gateway = object(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata:\n  annotations:\n    \
         kubectl.kubernetes.io/last-applied-configuration: |\n      {\"apiVersion\":\"v1\"}\n  \
         creationTimestamp: \"2026-01-31T12:00:00Z\"\n  generation: 3\n  managedFields:\n  \
         - {apiVersion: v1, fieldsType: FieldsV1, fieldsV1: {\"f:spec\": {}}, manager: kubectl}\n  \
         name: web\n  namespace: default\n  resourceVersion: \"123\"\n  selfLink: /x\n  \
         uid: 0b1c\nspec:\n  gatewayClassName: vipgate\n  listeners:\n  - allowedRoutes:\n      \
         namespaces: {from: Same}\n    name: a\n    port: 1\n    protocol: TCP\nstatus:\n  \
         addresses: [{type: IPAddress, value: 192.0.2.1}]\n",
    );
    let metadata = gateway.metadata();
    assert_eq!(metadata.generation, Some(3));
    assert_eq!(metadata.resource_version.as_deref(), Some("123"));
    assert_eq!(metadata.managed_fields, None);
    assert!(metadata.creation_timestamp.is_some());
    // `kubectl create --dry-run -o yaml` writes nulls.
    object(
        "apiVersion: v1\nkind: Namespace\nmetadata: {creationTimestamp: null, name: a}\nspec: {}\nstatus: {}\n",
    );
}

#[test]
fn a_list_is_its_items() {
    let reading = read(
        "apiVersion: v1\nkind: List\nmetadata: {resourceVersion: \"\"}\nitems:\n\
         - {apiVersion: v1, kind: Namespace, metadata: {name: a}}\n\
         - {apiVersion: v1, kind: Namespace, metadata: {name: b}}\n---\n\
         {apiVersion: v1, kind: Namespace, metadata: {name: c}}\n---\n# nothing\n---\n",
    );
    assert!(reading.problems.is_empty(), "{:?}", reading.problems);
    let places: Vec<_> = reading
        .items
        .iter()
        .map(|item| (item.reference.as_ref().unwrap().key.name.as_str(), item.index, item.line))
        .collect();
    assert_eq!(places, [("a", 0, 5), ("b", 1, 6), ("c", 2, 8)]);
}

#[test]
fn only_standalone_warns_about_load_balancers() {
    let text = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {type: LoadBalancer, ports: [{port: 80}]}\n";
    for (mode, problems) in [(Mode::Standalone, 1), (Mode::Cluster, 0)] {
        let reading = read_manifest("web.yaml", text.as_bytes(), mode).unwrap();
        assert_eq!(reading.problems.len(), problems, "{mode:?}");
        assert!(reading.items[0].loaded.is_some(), "a warning refuses nothing");
    }
}

/// The Gateway API guide on TCP routing, in both versions of TCPRoute.
#[test]
fn the_guide_on_tcp_reads_the_same_in_both_versions() {
    let guide = |version: &str| {
        let route = |name: &str| {
            format!(
                "---\napiVersion: gateway.networking.k8s.io/{version}\nkind: TCPRoute\nmetadata:\n  \
                 name: tcp-app-{name}\nspec:\n  parentRefs:\n  - name: my-tcp-gateway\n    \
                 sectionName: {name}\n  rules:\n  - backendRefs:\n    - name: my-{name}-service\n      \
                 port: 6000\n"
            )
        };
        let listener = |name: &str, port: u16| {
            format!(
                "  - name: {name}\n    protocol: TCP\n    port: {port}\n    allowedRoutes:\n      \
                 kinds:\n      - kind: TCPRoute\n"
            )
        };
        format!(
            "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata:\n  name: \
             my-tcp-gateway\nspec:\n  gatewayClassName: my-tcp-gateway-class\n  listeners:\n{}{}{}{}",
            listener("foo", 8080),
            listener("bar", 8090),
            route("foo"),
            route("bar")
        )
    };
    let objects = |text: &str| -> Vec<Value> {
        let reading = read(text);
        assert!(reading.problems.is_empty(), "{:?}", reading.problems);
        reading.items.into_iter().map(|item| as_json(&item.loaded.unwrap().object)).collect()
    };
    let (v1, v1alpha2) = (objects(&guide("v1")), objects(&guide("v1alpha2")));
    assert_eq!(v1, v1alpha2);
    assert_eq!(v1.len(), 3);
    assert_eq!(
        v1[1]["spec"],
        json!({
            "parentRefs": [{
                "group": "gateway.networking.k8s.io", "kind": "Gateway",
                "name": "my-tcp-gateway", "sectionName": "foo",
            }],
            "rules": [{"backendRefs": [
                {"group": "", "kind": "Service", "name": "my-foo-service", "port": 6000, "weight": 1},
            ]}],
        })
    );
    // What is written out again, as JSON (which is YAML), is read as the same.
    let kinds = ["Gateway", "TCPRoute", "TCPRoute"];
    for (object, kind) in v1.iter().zip(kinds) {
        let mut again = object.clone();
        again["apiVersion"] = json!("gateway.networking.k8s.io/v1");
        again["kind"] = json!(kind);
        assert_eq!(objects(&again.to_string()), std::slice::from_ref(object));
    }
}

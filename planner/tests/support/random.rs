//! Random worlds: objects over a few names, so that they meet each other often, some of them wrong.

#![allow(dead_code, reason = "every test file uses its own part")]

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::{Value, json};
use vipgate_api::{Age, Object, ObjectRef};

const NAMESPACES: [&str; 2] = ["a", "b"];
const NAMES: [&str; 3] = ["one", "two", "three"];
const ADDRESSES: [&str; 8] = [
    "10.0.0.100",
    "10.0.0.101",
    "10.0.0.105",
    "127.0.0.20",
    "10.9.9.9",
    "2001:db8::1",
    "no address",
    "",
];
const ENDPOINTS: [&str; 9] = [
    "10.1.0.1",
    "10.1.0.2",
    "10.0.0.100",
    "10.0.0.101",
    "127.0.0.1",
    "169.254.169.254",
    "fd00::1",
    "::ffff:10.1.0.1",
    "no address",
];

/// A change of the inputs.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// An object comes or changes.
    Apply(Value),
    /// The object of this kind and place among those that are there goes.
    Delete(usize),
    /// The node reports; the number decides what of each VIP and listener.
    Report(u64),
    /// The VIP of this place in the plan was probed.
    Publish(usize),
    /// These addresses are in foreign use.
    Foreign(Vec<&'static str>),
    /// The node's links change: which are up.
    Links(bool, bool),
    /// Claims of absent Gateways end, or not.
    Release(bool),
}

/// Changes, mostly of objects.
pub(crate) fn changes(up_to: usize) -> impl Strategy<Value = Vec<Change>> {
    let change = prop_oneof![
        12 => any_object().prop_map(Change::Apply),
        4 => any::<usize>().prop_map(Change::Delete),
        2 => any::<u64>().prop_map(Change::Report),
        2 => any::<usize>().prop_map(Change::Publish),
        1 => subsequence(vec!["10.0.0.100", "10.0.0.105"], 0..=2).prop_map(Change::Foreign),
        1 => any::<(bool, bool)>().prop_map(|(a, b)| Change::Links(a, b)),
        1 => any::<bool>().prop_map(Change::Release),
    ];
    vec(change, 0..up_to)
}

/// Objects with ages, no two of one name.
pub(crate) fn world(up_to: usize) -> impl Strategy<Value = Vec<(Object, Age)>> {
    vec(any_object(), 0..up_to).prop_map(|documents| {
        let mut all: Vec<(Object, Age)> = Vec::new();
        for document in documents {
            let (object, age) = decode(document);
            if all.iter().all(|(other, _)| other.reference() != object.reference()) {
                all.push((object, age));
            }
        }
        all
    })
}

/// An object with an age that follows from its content.
pub(crate) fn decode(document: Value) -> (Object, Age) {
    let object = crate::support::object(document).expect("generated objects decode");
    let created = object.metadata().creation_timestamp.as_ref().map(|time| time.0);
    let place = format!("{}.yaml", object.reference().key.name.len());
    (object, Age { created, place: (place, 0) })
}

/// A small world that works, so that most changes have something to change.
pub(crate) fn ground() -> Vec<(Object, Age)> {
    let red = json!({"from": "Selector", "selector": {"matchLabels": {"team": "red"}}});
    let listener = |name, port, from: &Value| {
        json!({
            "name": name, "port": port, "protocol": "TCP", "allowedRoutes": {"namespaces": from}
        })
    };
    let all = json!({"from": "All"});
    let documents = [
        class("vipgate", "vipgate.dev/gateway-controller", false),
        pool("lan", vec!["10.0.0.100-10.0.0.105"], true, None),
        json!({"kind": "Namespace", "metadata": {"name": "b", "labels": {"team": "red"}}}),
        json!({
            "kind": "Gateway",
            "metadata": {"name": "one", "namespace": "a"},
            "spec": {
                "gatewayClassName": "vipgate",
                "listeners": [listener("one", 80, &all), listener("two", 81, &red)],
            },
        }),
        json!({
            "kind": "TCPRoute",
            "metadata": {"name": "one", "namespace": "b"},
            "spec": {
                "parentRefs": [{"name": "one", "namespace": "a"}],
                "rules": [{"backendRefs": [
                    {"name": "one", "port": 80},
                    {"group": "vipgate.dev", "kind": "Backend", "name": "one"},
                ]}],
            },
        }),
        json!({
            "kind": "Service",
            "metadata": {"name": "one", "namespace": "b"},
            "spec": {"ports": [{"port": 80}]},
        }),
        json!({
            "kind": "EndpointSlice",
            "metadata": {
                "name": "one", "namespace": "b",
                "labels": {"kubernetes.io/service-name": "one"},
            },
            "addressType": "IPv4",
            "ports": [{"port": 8080}],
            "endpoints": [{"addresses": ["10.1.0.1"]}, {"addresses": ["10.0.0.101"]}],
        }),
        json!({
            "kind": "Backend",
            "metadata": {"name": "one", "namespace": "b"},
            "spec": {"endpoints": [{"address": "127.0.0.1", "port": 80}]},
        }),
    ];
    documents.map(decode).to_vec()
}

/// Every object of the world, as references.
pub(crate) fn references(world: &vipgate_planner::World) -> Vec<ObjectRef> {
    objects(world).into_iter().map(|(object, _)| object.reference()).collect()
}

/// Every object of the world.
pub(crate) fn objects(world: &vipgate_planner::World) -> Vec<(Object, Age)> {
    let mut all = Vec::new();
    macro_rules! shelves {
        ($($shelf:ident $kind:ident),+ $(,)?) => {$(
            all.extend(world.$shelf.values().map(|s| (Object::$kind(s.object.clone()), s.age.clone())));
        )+};
    }
    shelves!(
        classes GatewayClass,
        gateways Gateway,
        listener_sets ListenerSet,
        grants ReferenceGrant,
        namespaces Namespace,
        services Service,
        endpoint_slices EndpointSlice,
        secrets Secret,
        pools IpAddressPool,
        l2_advertisements L2Advertisement,
        bgp_peers BgpPeer,
        bgp_advertisements BgpAdvertisement,
        bfd_profiles BfdProfile,
        communities Community,
        backends Backend,
        listener_policies ListenerPolicy,
        backend_policies BackendPolicy,
        backend_tls_policies BackendTlsPolicy,
    );
    all.extend(world.routes.iter().map(|(reference, stored)| {
        let route = Object::route(reference.kind, (*stored.object).clone()).expect("a route");
        (route, stored.age.clone())
    }));
    all
}

/// An object of any kind.
pub(crate) fn any_object() -> impl Strategy<Value = Value> {
    prop_oneof![
        1 => any_class(),
        4 => any_gateway(),
        4 => any_route(),
        2 => any_grant(),
        2 => any_namespace(),
        3 => any_service(),
        3 => any_slice(),
        3 => any_backend(),
        3 => any_pool(),
        3 => any_advertisement(),
        2 => any_bgp(),
        3 => any_listener_policy(),
        3 => any_backend_policy(),
    ]
}

fn metadata() -> impl Strategy<Value = Value> {
    let created = option::of(select(&["2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z"][..]));
    let team = option::of(select(&["red", "blue"][..]));
    (select(&NAMES[..]), select(&NAMESPACES[..]), created, team).prop_map(
        |(name, namespace, created, team)| {
            let mut metadata = json!({"name": name, "namespace": namespace});
            if let Some(created) = created {
                metadata["creationTimestamp"] = created.into();
            }
            if let Some(team) = team {
                metadata["labels"] = json!({"team": team});
            }
            metadata
        },
    )
}

fn any_class() -> impl Strategy<Value = Value> {
    let controller = prop_oneof![
        4 => Just("vipgate.dev/gateway-controller"),
        1 => Just("example.com/other"),
    ];
    (select(&["vipgate", "other"][..]), controller, prop::bool::weighted(0.2))
        .prop_map(|(name, controller, parameters)| class(name, controller, parameters))
}

fn class(name: &str, controller: &str, parameters: bool) -> Value {
    let mut class = json!({
        "kind": "GatewayClass",
        "metadata": {"name": name},
        "spec": {"controllerName": controller},
    });
    if parameters {
        class["spec"]["parametersRef"] = json!({"group": "", "kind": "ConfigMap", "name": "x"});
    }
    class
}

fn any_gateway() -> impl Strategy<Value = Value> {
    let class = prop_oneof![8 => Just("vipgate"), 1 => Just("other"), 1 => Just("absent")];
    let address = prop_oneof![
        6 => select(&ADDRESSES[..]).prop_map(|value| json!({"value": value})),
        1 => Just(json!({"type": "Hostname", "value": "a.example"})),
    ];
    let addresses = prop_oneof![3 => Just(Vec::new()), 1 => vec(address, 1..3)];
    let pool = option::weighted(0.2, select(&["lan", "extra", "nowhere"][..]));
    (metadata(), class, vec(any_listener(), 0..4), addresses, pool).prop_map(
        |(mut metadata, class, listeners, addresses, pool)| {
            if let Some(pool) = pool {
                metadata["annotations"] = json!({"vipgate.dev/address-pool": pool});
            }
            json!({
                "kind": "Gateway",
                "metadata": metadata,
                "spec": {
                    "gatewayClassName": class, "listeners": listeners, "addresses": addresses
                },
            })
        },
    )
}

fn any_listener() -> impl Strategy<Value = Value> {
    let protocol = prop_oneof![
        8 => Just("TCP"),
        1 => Just("UDP"),
        1 => Just("HTTP"),
        1 => Just("INVALID"),
    ];
    let from = prop_oneof![
        1 => Just(json!({})),
        3 => Just(json!({"from": "All"})),
        1 => Just(json!({"from": "None"})),
        1 => Just(json!({"from": "Selector"})),
        1 => Just(json!({"from": "Selector", "selector": {"matchLabels": {"team": "red"}}})),
    ];
    let kinds = prop_oneof![
        6 => Just(json!([])),
        1 => Just(json!([{"kind": "TCPRoute"}, {"kind": "HTTPRoute"}])),
        1 => Just(json!([{"kind": "HTTPRoute"}])),
    ];
    // Mostly a port of its own for each name.
    let port = prop_oneof![6 => Just(None), 1 => (80..84_u16).prop_map(Some)];
    (select(&[0, 1, 2_u16][..]), port, protocol, from, kinds).prop_map(
        |(place, port, protocol, namespaces, kinds)| {
            let name = NAMES[usize::from(place)];
            let port = port.unwrap_or(80 + place);
            json!({
                "name": name, "port": port, "protocol": protocol,
                "allowedRoutes": {"namespaces": namespaces, "kinds": kinds},
            })
        },
    )
}

fn any_route() -> impl Strategy<Value = Value> {
    let parent = (
        select(&NAMES[..]),
        option::of(select(&NAMESPACES[..])),
        option::weighted(0.2, select(&NAMES[..])),
        option::weighted(0.2, 80..84_u16),
        prop::bool::weighted(0.9),
    )
        .prop_map(|(name, namespace, section, port, gateway)| {
            let mut parent = json!({"name": name});
            let fields = [
                ("namespace", namespace.map(Value::from)),
                ("sectionName", section.map(Value::from)),
                ("port", port.map(Value::from)),
                ("kind", (!gateway).then(|| "Service".into())),
            ];
            for (field, value) in fields {
                if let Some(value) = value {
                    parent[field] = value;
                }
            }
            parent
        });
    let rule = vec(any_backend_ref(), 1..4).prop_map(|refs| json!({"backendRefs": refs}));
    let rules = vec(rule, 0..5).prop_map(|mut rules| {
        // Mostly one.
        if rules.len() > 2 {
            rules.truncate(1);
        }
        rules
    });
    (metadata(), vec(parent, 1..4), rules).prop_map(|(metadata, parents, rules)| {
        json!({
            "kind": "TCPRoute",
            "metadata": metadata,
            "spec": {"parentRefs": parents, "rules": rules},
        })
    })
}

fn any_backend_ref() -> impl Strategy<Value = Value> {
    let target = prop_oneof![
        4 => Just(("", "Service")),
        3 => Just(("vipgate.dev", "Backend")),
        1 => Just(("apps", "Deployment")),
    ];
    let namespace = option::weighted(0.3, select(&NAMESPACES[..]));
    let port = option::weighted(0.7, prop_oneof![4 => Just(80), 1 => 80..83_u16]);
    (target, select(&NAMES[..]), namespace, port, 0..3_u32).prop_map(
        |((group, kind), name, namespace, port, weight)| {
            let mut reference =
                json!({"group": group, "kind": kind, "name": name, "weight": weight});
            if let Some(namespace) = namespace {
                reference["namespace"] = namespace.into();
            }
            if let Some(port) = port {
                reference["port"] = port.into();
            }
            reference
        },
    )
}

fn any_grant() -> impl Strategy<Value = Value> {
    let name = option::of(select(&NAMES[..]));
    (metadata(), select(&NAMESPACES[..]), name, any::<bool>()).prop_map(
        |(metadata, from, name, service)| {
            let (group, kind) = if service { ("", "Service") } else { ("vipgate.dev", "Backend") };
            let mut to = json!({"group": group, "kind": kind});
            if let Some(name) = name {
                to["name"] = name.into();
            }
            json!({
                "kind": "ReferenceGrant",
                "metadata": metadata,
                "spec": {
                    "from": [{
                        "group": "gateway.networking.k8s.io", "kind": "TCPRoute", "namespace": from
                    }],
                    "to": [to],
                },
            })
        },
    )
}

fn any_namespace() -> impl Strategy<Value = Value> {
    (select(&NAMESPACES[..]), select(&["red", "blue"][..])).prop_map(|(name, team)| {
        json!({"kind": "Namespace", "metadata": {"name": name, "labels": {"team": team}}})
    })
}

fn any_service() -> impl Strategy<Value = Value> {
    let port = prop_oneof![
        Just(json!([{"port": 80}])),
        Just(json!([{"port": 80, "name": "http"}, {"port": 81, "name": "alt"}])),
        Just(json!([{"port": 80, "protocol": "UDP"}])),
    ];
    let external = prop::bool::weighted(0.1);
    (metadata(), port, external).prop_map(|(metadata, ports, external)| {
        let kind = if external { "ExternalName" } else { "ClusterIP" };
        json!({"kind": "Service", "metadata": metadata, "spec": {"ports": ports, "type": kind}})
    })
}

fn any_slice() -> impl Strategy<Value = Value> {
    let condition = prop_oneof![
        4 => Just(json!({})),
        1 => Just(json!({"ready": false})),
        1 => Just(json!({"ready": false, "serving": true, "terminating": true})),
    ];
    let endpoint = (select(&ENDPOINTS[..]), condition).prop_map(
        |(address, conditions)| json!({"addresses": [address], "conditions": conditions}),
    );
    let ports = prop_oneof![
        Just(json!([{"port": 8080}])),
        Just(json!([{"port": 8080, "name": "http"}, {"port": 8081, "name": "alt"}])),
        Just(json!([{"port": 0}])),
        Just(json!(null)),
    ];
    let family = select(&["IPv4", "IPv6", "FQDN"][..]);
    (metadata(), select(&NAMES[..]), vec(endpoint, 0..4), ports, family).prop_map(
        |(mut metadata, service, endpoints, ports, family)| {
            metadata["labels"] = json!({"kubernetes.io/service-name": service});
            json!({
                "kind": "EndpointSlice",
                "metadata": metadata,
                "addressType": family, "endpoints": endpoints, "ports": ports,
            })
        },
    )
}

fn any_backend() -> impl Strategy<Value = Value> {
    let endpoint = (select(&ENDPOINTS[..]), 80..82_u16, prop::bool::weighted(0.2)).prop_map(
        |(address, port, by_name)| match by_name {
            true => json!({"hostname": "name.example.com", "port": port}),
            false => json!({"address": address, "port": port}),
        },
    );
    (metadata(), vec(endpoint, 0..4)).prop_map(|(metadata, endpoints)| {
        json!({"kind": "Backend", "metadata": metadata, "spec": {"endpoints": endpoints}})
    })
}

fn any_pool() -> impl Strategy<Value = Value> {
    let range = select(
        &["10.0.0.100/31", "10.0.0.100-10.0.0.105", "127.0.0.20/32", "2001:db8::/126", "broken"][..],
    );
    let tier = option::of(select(&["front", "back"][..]));
    (select(&["lan", "extra"][..]), vec(range, 1..3), prop::bool::weighted(0.8), tier)
        .prop_map(|(name, ranges, auto, tier)| pool(name, ranges, auto, tier))
}

fn pool(name: &str, addresses: Vec<&str>, auto: bool, tier: Option<&str>) -> Value {
    let mut pool = json!({
        "kind": "IPAddressPool",
        "metadata": {"name": name, "namespace": "a"},
        "spec": {"addresses": addresses, "autoAssign": auto},
    });
    if let Some(tier) = tier {
        pool["metadata"]["labels"] = json!({"tier": tier});
    }
    pool
}

fn any_advertisement() -> impl Strategy<Value = Value> {
    let spec = prop_oneof![
        Just(json!({})),
        Just(json!({"ipAddressPools": ["lan"], "interfaces": ["eth0"]})),
        Just(json!({"ipAddressPools": ["lan"], "interfaces": ["eth9"]})),
        Just(json!({"ipAddressPoolSelectors": [{"matchLabels": {"tier": "front"}}]})),
        Just(json!({"nodeSelectors": [{"matchLabels": {"rack": "b"}}]})),
    ];
    (metadata(), spec).prop_map(
        |(metadata, spec)| json!({"kind": "L2Advertisement", "metadata": metadata, "spec": spec}),
    )
}

/// Targets that are there, that are not, and that no such policy is for.
fn any_targets(
    kinds: &'static [(&'static str, &'static str)],
) -> impl Strategy<Value = Vec<Value>> {
    let section = option::weighted(0.3, select(&NAMES[..]));
    let target = (select(kinds), select(&NAMES[..]), section);
    let target = target.prop_map(|((group, kind), name, section)| {
        let mut target = json!({"group": group, "kind": kind, "name": name});
        if let Some(section) = section {
            target["sectionName"] = section.into();
        }
        target
    });
    vec(target, 0..3)
}

fn any_listener_policy() -> impl Strategy<Value = Value> {
    const GROUP: &str = "gateway.networking.k8s.io";
    let targets = any_targets(&[
        (GROUP, "Gateway"),
        (GROUP, "Gateway"),
        (GROUP, "Gateway"),
        (GROUP, "ListenerSet"),
        ("", "Service"),
    ]);
    let spec = select(vec![
        json!({"idleTimeout": "10m", "allowedSourceRanges": ["10.0.0.0/8"]}),
        json!({"proxyProtocol": {"from": ["10.0.0.0/24"]}, "limits": {"connections": 7}}),
        json!({"tls": {"minVersion": "1.3"}, "handshakeTimeout": "1s"}),
        json!({"limits": {"newConnectionsPerSecond": 5}, "accessLog": {}}),
        json!({"idleTimeout": "soon"}),
        json!({}),
    ]);
    policy("ListenerPolicy", targets, spec)
}

fn any_backend_policy() -> impl Strategy<Value = Value> {
    let targets = any_targets(&[
        ("gateway.networking.k8s.io", "TCPRoute"),
        ("", "Service"),
        ("vipgate.dev", "Backend"),
        ("apps", "Deployment"),
    ]);
    // A section is wrong here, so mostly there is none.
    let targets = (targets, prop::bool::weighted(0.1)).prop_map(|(mut targets, sections)| {
        for target in targets.iter_mut().filter(|_| !sections) {
            target.as_object_mut().expect("an object").remove("sectionName");
        }
        targets
    });
    let spec = select(vec![
        json!({"balancing": "Maglev", "connect": {"tries": 1}}),
        json!({"proxyProtocol": "V2", "connect": {"timeout": "250ms"}}),
        json!({"healthCheck": {"expect": "+"}, "ejection": {"enabled": false}}),
        json!({"connect": {"timeout": "1d"}}),
        json!({}),
    ]);
    policy("BackendPolicy", targets, spec)
}

fn policy(
    kind: &'static str,
    targets: impl Strategy<Value = Vec<Value>>,
    spec: impl Strategy<Value = Value>,
) -> impl Strategy<Value = Value> {
    (metadata(), targets, spec).prop_map(move |(metadata, targets, mut spec)| {
        spec["targetRefs"] = targets.into();
        json!({"kind": kind, "metadata": metadata, "spec": spec})
    })
}

/// Peers, what they name, and what is said to them.
fn any_bgp() -> impl Strategy<Value = Value> {
    let peer = |more: Value| {
        let mut spec = json!({"myASN": 65001, "peerASN": 65002, "peerAddress": "10.0.0.254"});
        for (field, value) in more.as_object().into_iter().flatten() {
            spec[field] = value.clone();
        }
        ("BGPPeer", spec)
    };
    let object = prop_oneof![
        3 => select(vec![
            peer(json!({})),
            peer(json!({"peerAddress": "10.0.0.253", "nodeSelectors": [{"matchLabels": {"rack": "a"}}]})),
            peer(json!({"nodeSelectors": [{"matchLabels": {"rack": "b"}}]})),
            peer(json!({"bfdProfile": "one"})),
            peer(json!({"holdTime": "1s"})),
        ]),
        3 => select(vec![
            ("BGPAdvertisement", json!({})),
            ("BGPAdvertisement", json!({"ipAddressPools": ["lan"], "peers": ["one"]})),
            ("BGPAdvertisement", json!({"aggregationLength": 24, "localPref": 7})),
            ("BGPAdvertisement", json!({"communities": ["blue", "no-export"]})),
            ("BGPAdvertisement", json!({"gatewaySelectors": [{"matchLabels": {"team": "red"}}]})),
        ]),
        1 => select(vec![("BFDProfile", json!({})), ("BFDProfile", json!({"detectMultiplier": 1}))]),
        1 => Just(("Community", json!({"communities": [{"name": "blue", "value": "1:2"}]}))),
    ];
    (metadata(), object).prop_map(
        |(metadata, (kind, spec))| json!({"kind": kind, "metadata": metadata, "spec": spec}),
    )
}

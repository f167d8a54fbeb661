//! Rules of the kinds that are about BGP.

use serde_json::{Value, json};

use super::{Case, case, selectors};

pub(super) fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    cases.extend(addresses());
    cases.extend(times());
    cases.extend(of_peers());
    cases.extend(names());
    cases.extend(communities());
    cases.extend(selectors("BGPPeer", "spec.nodeSelectors", |selector| {
        with(&json!({"nodeSelectors": [selector]}))
    }));
    for field in ["ipAddressPoolSelectors", "nodeSelectors", "serviceSelectors", "gatewaySelectors"]
    {
        let spec = move |selector: Value| {
            let mut spec = json!({});
            spec[field] = json!([selector]);
            spec
        };
        cases.extend(selectors("BGPAdvertisement", &format!("spec.{field}"), spec));
    }
    cases
}

/// A good peer with some fields more, or others; null for none.
fn with(more: &Value) -> Value {
    let mut spec = json!({"myASN": 65001, "peerASN": 65002, "peerAddress": "10.9.0.1"});
    for (field, value) in more.as_object().into_iter().flatten() {
        match value {
            Value::Null => drop(spec.as_object_mut().and_then(|spec| spec.remove(field))),
            value => spec[field] = value.clone(),
        }
    }
    spec
}

fn addresses() -> [Case; 6] {
    let at = |address: &str| with(&json!({"peerAddress": address}));
    let from = |address: &str| with(&json!({"sourceAddress": address}));
    let id = |id: &str| with(&json!({"routerID": id}));
    let on = |link: &str| with(&json!({"peerAddress": null, "interface": link}));
    [
        case(
            "BGPPeer",
            "spec.peerAddress",
            "write an IP address",
            [at("10.9.0.1"), at("2001:db8::1"), at("127.0.0.1")],
            [at("router.example"), at("10.9.0.1:179"), at("fe80::1%eth0"), at("::ffff:10.9.0.1")],
        ),
        case(
            "BGPPeer",
            "spec.peerAddress",
            "write the address of a router",
            [at("10.9.0.1"), at("2001:db8::1")],
            [at("0.0.0.0"), at("::"), at("224.0.0.1"), at("ff02::1")],
        ),
        case(
            "BGPPeer",
            "spec.sourceAddress",
            "write an IP address of the node",
            [from("10.9.0.2")],
            [from("node"), from("10.9.0.0/24")],
        ),
        case(
            "BGPPeer",
            "spec.sourceAddress",
            "write an address of the node",
            [from("10.9.0.2")],
            [from("0.0.0.0"), from("239.0.0.1")],
        ),
        case(
            "BGPPeer",
            "spec.routerID",
            "write it in the form of an IPv4 address",
            [id("10.9.0.2")],
            [id("7"), id("0.0.0.0"), id("2001:db8::1")],
        ),
        case(
            "BGPPeer",
            "spec.interface",
            "write the name of a network interface",
            [on("eth0"), on("bond0.100")],
            [on("an-interface-too"), on("eth 0"), on("eth0:1"), on(".")],
        ),
    ]
}

fn times() -> [Case; 5] {
    let hold = |time: &str| with(&json!({"holdTime": time}));
    let keep = |time: &str| with(&json!({"keepaliveTime": time}));
    let connect = |time: &str| with(&json!({"connectTime": time}));
    let both = |keep: &str, hold: &str| with(&json!({"keepaliveTime": keep, "holdTime": hold}));
    [
        case(
            "BGPPeer",
            "spec.holdTime",
            "write whole seconds up to 65535",
            [hold("90s"), hold("1m30s"), hold("1h"), hold("0"), hold("18h12m15s")],
            [hold("90"), hold("1.5s"), hold("9000ms"), hold("30s1m"), hold("65536s"), hold("-3s")],
        ),
        case(
            "BGPPeer",
            "spec.holdTime",
            "write 0s for ever, or at least 3s",
            [hold("0s"), hold("3s")],
            [hold("1s"), hold("2s")],
        ),
        case(
            "BGPPeer",
            "spec.keepaliveTime",
            "write whole seconds from 1 to 65535",
            [keep("1s"), keep("30s")],
            [keep("0s"), keep("0"), keep("30"), keep("500ms")],
        ),
        case(
            "BGPPeer",
            "spec.connectTime",
            "write whole seconds from 1 to 65535",
            [connect("1s"), connect("2m")],
            [connect("0s"), connect("65536s"), connect("120"), connect("1d")],
        ),
        case(
            "BGPPeer",
            "spec",
            "write a keepaliveTime of at most a third of holdTime",
            [both("30s", "90s"), both("9s", "9s"), keep("90s")],
            [both("10s", "9s"), both("1s", "0s"), keep("91s")],
        ),
    ]
}

fn of_peers() -> [Case; 8] {
    let dynamic = |which: &str| with(&json!({"peerASN": null, "dynamicASN": which}));
    let multi_hop = |more: &Value| {
        let mut spec = with(more);
        spec["ebgpMultiHop"] = true.into();
        spec
    };
    let alone = json!({"peerAddress": null, "interface": "eth0"});
    [
        case(
            "BGPPeer",
            "spec",
            "write one of peerASN and dynamicASN",
            [with(&json!({})), dynamic("external"), dynamic("internal")],
            [with(&json!({"peerASN": null})), with(&json!({"dynamicASN": "external"}))],
        ),
        case(
            "BGPPeer",
            "spec",
            "write peerAddress, or interface",
            [with(&json!({})), with(&alone)],
            [with(&json!({"peerAddress": null}))],
        ),
        case(
            "BGPPeer",
            "spec",
            "write interface beside a link-local peerAddress",
            [with(&json!({"peerAddress": "fe80::1", "interface": "eth0"}))],
            [with(&json!({"peerAddress": "fe80::1"})), with(&json!({"interface": "eth0"}))],
        ),
        case(
            "BGPPeer",
            "spec",
            "write sourceAddress beside a peerAddress of the same family only",
            [with(&json!({"sourceAddress": "10.9.0.2"}))],
            [
                with(&json!({"sourceAddress": "2001:db8::2"})),
                with(
                    &json!({"peerAddress": null, "interface": "eth0", "sourceAddress": "10.9.0.2"}),
                ),
            ],
        ),
        case(
            "BGPPeer",
            "spec",
            "write one of vrf and interface",
            [with(&json!({"vrf": "red"}))],
            [with(&json!({"vrf": "red", "peerAddress": "fe80::1", "interface": "eth0"}))],
        ),
        case(
            "BGPPeer",
            "spec",
            "write localASN for a router of another AS only",
            [with(&json!({"localASN": 65003}))],
            [
                with(&json!({"localASN": 65002})),
                with(&json!({"localASN": 65003, "peerASN": 65001})),
                with(&json!({"localASN": 65003, "peerASN": null, "dynamicASN": "internal"})),
            ],
        ),
        case(
            "BGPPeer",
            "spec",
            "write ebgpMultiHop for a router of another AS only",
            [multi_hop(&json!({})), multi_hop(&json!({"peerASN": null, "dynamicASN": "external"}))],
            [
                multi_hop(&json!({"peerASN": 65001})),
                multi_hop(&json!({"peerASN": null, "dynamicASN": "internal"})),
                multi_hop(&alone),
            ],
        ),
        case(
            "BGPPeer",
            "spec",
            "write one of ttlSecurity and ebgpMultiHop",
            [with(&json!({"ttlSecurity": true})), multi_hop(&json!({"ttlSecurity": false}))],
            [multi_hop(&json!({"ttlSecurity": true}))],
        ),
    ]
}

fn names() -> [Case; 5] {
    let pools = |name: &str| json!({"ipAddressPools": [name]});
    let peers = |name: &str| json!({"peers": [name]});
    let profile = |name: &str| with(&json!({"bfdProfile": name}));
    [
        case(
            "BGPAdvertisement",
            "spec.ipAddressPools[]",
            "write the metadata.name of an IPAddressPool",
            [pools("lan")],
            [pools("LAN"), pools("default/lan")],
        ),
        case(
            "BGPAdvertisement",
            "spec.peers[]",
            "write the metadata.name of a BGPPeer",
            [peers("tor-1")],
            [peers("10.9.0.1:179"), peers("vipgate-system/tor")],
        ),
        case(
            "BGPPeer",
            "spec.vrf",
            "write the name of a network interface",
            [with(&json!({"vrf": "red"}))],
            [with(&json!({"vrf": "a/b"})), with(&json!({"vrf": "sixteen-bytes-it"}))],
        ),
        case(
            "BGPPeer",
            "spec.password",
            "passwords do not stand in objects",
            [with(&json!({"passwordSecret": {"name": "tor"}}))],
            [with(&json!({"password": "s3cret"}))],
        ),
        case(
            "BGPPeer",
            "spec.bfdProfile",
            "write the metadata.name of a BFDProfile",
            [profile("fast")],
            [profile("Fast"), profile("a b")],
        ),
    ]
}

fn communities() -> [Case; 6] {
    let of = |text: &str| json!({"communities": [text]});
    let named = |name: &str, value: &str| json!({"name": name, "value": value});
    let name = |name: &str| json!({"communities": [named(name, "1:2")]});
    let value = |value: &str| json!({"communities": [named("a", value)]});
    let chosen = |more: Value| {
        let mut spec = more;
        spec["gatewaySelectors"] = json!([{"matchLabels": {"app": "web"}}]);
        spec
    };
    let wrong = ["1:2:3", "65536:0", "0:65536", "large:1:2", "large:1:2:4294967296", "a:b", ":"];
    [
        Case {
            bad: wrong.map(|text| ("x".to_owned(), of(text))).to_vec(),
            ..case(
                "BGPAdvertisement",
                "spec.communities[]",
                "write two numbers up to 65535",
                [of("65001:100"), of("large:64500:1:4294967295"), of("no-export"), of("blue")],
                [],
            )
        },
        Case {
            bad: wrong.map(|text| ("x".to_owned(), value(text))).to_vec(),
            ..case(
                "Community",
                "spec.communities[].value",
                "write two numbers up to 65535",
                [value("65535:65535"), value("large:0:0:0")],
                [],
            )
        },
        case(
            "Community",
            "spec.communities[].name",
            "write a name without colon",
            [name("blue")],
            [name("65001:100"), name("large:")],
        ),
        case(
            "Community",
            "spec.communities[].name",
            "write another name",
            [name("no-exports")],
            [name("no-export"), name("blackhole")],
        ),
        case(
            "Community",
            "spec.communities",
            "a name stands here twice",
            [json!({"communities": [named("a", "1:2"), named("b", "1:2")]})],
            [json!({"communities": [named("a", "1:2"), named("b", "1:2"), named("a", "3:4")]})],
        ),
        case(
            "BGPAdvertisement",
            "spec",
            "a shorter prefix has the addresses of others, too",
            [
                json!({"aggregationLength": 24, "aggregationLengthV6": 64}),
                chosen(json!({"aggregationLength": 32, "aggregationLengthV6": 128})),
            ],
            [
                chosen(json!({"aggregationLength": 31})),
                chosen(json!({"aggregationLengthV6": 127})),
                json!({"aggregationLength": 24, "serviceSelectors": [{}]}),
            ],
        ),
    ]
}

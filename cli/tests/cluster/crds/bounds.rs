//! Bounds: one step beyond each is refused, and objects that go up to them are not too dear to check.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use vipgate_api::crd;
use vipgate_lab::Result;
use vipgate_lab::cluster::{Api, Patch};

use super::{cases, collection, object, refusal};

/// Beyond this many items an object has no room in a request anyhow.
const PRACTICAL: u64 = 1000;

/// Objects that have every field of every kind between them, name first.
fn examples() -> Vec<(&'static str, &'static str, Value)> {
    let selector = json!({
        "matchLabels": {"app": "web"},
        "matchExpressions": [{"key": "app", "operator": "In", "values": ["web"]}],
    });
    let reference = json!({"namespace": "default", "name": "web"});
    let conditions = json!([{
        "type": "Accepted", "status": "True", "reason": "Accepted", "message": "m",
        "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 1,
    }]);
    let status = json!({"conditions": conditions});
    let ancestors = json!({"ancestors": [{
        "ancestorRef": {"group": "gateway.networking.k8s.io", "kind": "Gateway",
            "namespace": "default", "name": "web", "sectionName": "tls", "port": 443},
        "controllerName": "vipgate.dev/gateway-controller", "conditions": conditions,
    }]});
    vec![
        (
            "IPAddressPool",
            "bounds",
            json!({"spec": {
                "addresses": ["192.0.2.0/24"], "exclusions": ["192.0.2.1"], "autoAssign": true,
                "avoidBuggyIPs": false, "reclaim": false,
                "serviceAllocation": {
                    "priority": 1, "namespaces": ["default"], "namespaceSelectors": [selector],
                    "serviceSelectors": [selector], "gatewaySelectors": [selector],
                },
            }, "status": {
                "assignedIPv4": 1, "assignedIPv6": 1, "availableIPv4": 1, "availableIPv6": 1,
                "conditions": conditions,
            }}),
        ),
        (
            "L2Advertisement",
            "bounds",
            json!({"spec": {
                "ipAddressPools": ["lan"], "ipAddressPoolSelectors": [selector],
                "nodeSelectors": [selector], "interfaces": ["eth0"],
                "serviceSelectors": [selector], "preempt": true,
                "preferredNodeSelectors": [{"weight": 1, "preference": selector}],
            }}),
        ),
        (
            "BGPPeer",
            "bounds",
            json!({"spec": {
                "myASN": 65001, "peerASN": 65002, "localASN": 65003, "peerAddress": "fe80::1",
                "interface": "eth0", "peerPort": 179, "sourceAddress": "fe80::2",
                "routerID": "10.9.0.2", "holdTime": "90s", "keepaliveTime": "30s",
                "connectTime": "30s", "passive": true, "ebgpMultiHop": false, "ttlSecurity": true,
                "passwordSecret": {"name": "tor", "namespace": "default"},
                "enableGracefulRestart": true, "nodeSelectors": [selector], "bfdProfile": "fast",
            }, "status": status}),
        ),
        (
            "BGPPeer",
            "dynamic",
            json!({"spec": {
                "myASN": 65001, "dynamicASN": "external", "peerAddress": "10.9.0.1", "vrf": "red",
            }}),
        ),
        (
            "BGPAdvertisement",
            "bounds",
            json!({"spec": {
                "ipAddressPools": ["lan"], "ipAddressPoolSelectors": [selector],
                "aggregationLength": 32, "aggregationLengthV6": 128, "localPref": 100,
                "communities": ["no-export"], "peers": ["tor"], "nodeSelectors": [selector],
                "serviceSelectors": [selector], "gatewaySelectors": [selector],
            }, "status": status}),
        ),
        (
            "BFDProfile",
            "bounds",
            json!({"spec": {
                "receiveInterval": 300, "transmitInterval": 300, "detectMultiplier": 3,
                "passiveMode": false, "minimumTtl": 254, "echoMode": true,
                "echoInterval": 50,
            }, "status": status}),
        ),
        (
            "Community",
            "bounds",
            json!({"spec": {"communities": [{"name": "blue", "value": "65001:100"}]}, "status": status}),
        ),
        (
            "Backend",
            "bounds",
            json!({"spec": {"endpoints": [{"address": "192.0.2.1", "port": 80}]}}),
        ),
        (
            "Backend",
            "bounds-of-names",
            json!({"spec": {"endpoints": [{"hostname": "db.example.com", "port": 80}]}}),
        ),
        (
            "ListenerPolicy",
            "bounds",
            json!({"spec": {
                "targetRefs": [{"group": "gateway.networking.k8s.io", "kind": "Gateway",
                    "name": "web", "sectionName": "tls"}],
                "proxyProtocol": {"from": ["192.0.2.0/24"]},
                "allowedSourceRanges": ["192.0.2.0/24"], "deniedSourceRanges": ["192.0.2.7/32"],
                "limits": {"connections": 1, "connectionsPerSource": 1,
                    "newConnectionsPerSecond": 1, "burst": 1},
                "idleTimeout": "1h", "handshakeTimeout": "5s",
                "tcpKeepalive": {"time": "60s", "interval": "15s", "probes": 4},
                "tls": {"minVersion": "1.2", "cipherSuites": ["TLS_AES_128_GCM_SHA256"]},
                "accessLog": {"enabled": true, "sampleOneIn": 1},
            }, "status": ancestors}),
        ),
        (
            "BackendPolicy",
            "bounds",
            json!({"spec": {
                "targetRefs": [{"group": "", "kind": "Service", "name": "web"}],
                "balancing": "Maglev", "proxyProtocol": "V2", "clientAddress": "Preserve",
                "sessionAffinity": {"type": "ClientIP", "timeout": "3h"},
                "connect": {"timeout": "1s", "tries": 3},
                "healthCheck": {"type": "TCP", "interval": "5s", "timeout": "1s",
                    "unhealthyThreshold": 2, "healthyThreshold": 1, "port": 80,
                    "send": "PING", "expect": "+"},
                "ejection": {"enabled": true, "failures": 2},
                "goneEndpoints": {"closeAfter": "30s"},
            }, "status": ancestors}),
        ),
        (
            "BackendPolicy",
            "bytes",
            json!({"spec": {
                "targetRefs": [{"group": "", "kind": "Service", "name": "web"}],
                "healthCheck": {"sendBytes": "AAE=", "expectBytes": "AAE="},
            }}),
        ),
        (
            "VirtualIP",
            "192.0.2.9",
            json!({"spec": {
                "address": "192.0.2.9", "pool": "lan", "origin": "Chosen", "published": true,
                "users": cases::claim("192.0.2.9")["users"],
            }}),
        ),
        (
            "Speaker",
            "bounds",
            json!({"status": {
                "serving": 1, "standby": 1, "notServing": 1, "truncated": true,
                "groupAddress": "192.0.2.1:7947", "members": ["node-a"], "errors": ["none"],
                "vips": [{"address": "192.0.2.9", "state": "Conflict", "interfaces": ["eth0"],
                    "owner": "node-b", "conflictMac": "02:00:00:00:00:01", "message": "m",
                    "reason": "NotBound", "weight": 1, "routers": 1,
                    "since": "2026-01-01T00:00:00Z"}],
                "peers": [{"peer": "vipgate-system/tor", "state": "Established",
                    "since": "2026-01-01T00:00:00Z", "address": "10.9.0.1:179", "peerASN": 65002,
                    "capabilities": ["ipv4-unicast"], "holdTimeSeconds": 9, "prefixes": 1,
                    "lastError": "none", "reason": "DuplicatePeer", "bfd": "Up",
                    "bfdEcho": "active"}],
                "givesWay": {"reason": "Cordoned", "message": "it is cordoned"},
                "plan": [{"kind": "Gateway", "namespace": "default", "name": "web", "generation": 1,
                    "uid": "5f0c"}],
                "failedListeners": [{"gateway": reference, "listenerSet": reference, "name": "tcp",
                    "address": "192.0.2.9", "fault": "NoCertificate", "message": "m"}],
            }}),
        ),
    ]
}

pub(super) fn every_bound_is_kept(api: &Arc<Api>) -> Result<()> {
    let definitions = crd::all();
    let mut count = 0;
    // Fields that no example has had yet.
    let mut missing: BTreeMap<(&str, &str), BTreeSet<String>> = BTreeMap::new();
    for (kind, name, body) in examples() {
        let all = collection(kind);
        api.create(&all, &object(kind, name, &body["spec"]))?;
        let of_kind = |definition: &&Value| definition["spec"]["names"]["kind"] == kind;
        let definition = definitions.iter().find(of_kind).context("every kind is defined")?;
        let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        for part in ["spec", "status"].into_iter().filter(|part| body[part].is_object()) {
            let place = match part {
                "spec" => format!("{all}/{name}?dryRun=All"),
                _ => format!("{all}/{name}/status?dryRun=All"),
            };
            let whole = json!({part: body[part]});
            api.patch(&place, Patch::Merge, &whole).with_context(|| format!("{kind}: {whole}"))?;
            let (found, absent) = beyond(&schema["properties"][part], part, &whole);
            match missing.get_mut(&(kind, part)) {
                Some(missing) => missing.retain(|path| absent.contains(path)),
                None => drop(missing.insert((kind, part), absent)),
            }
            for (path, bad) in found {
                count += 1;
                let shown = bad.to_string();
                let shown = &shown[..shown.len().min(300)];
                let words = refusal(api.patch(&place, Patch::Merge, &bad))
                    .with_context(|| format!("{kind} {path}: {shown}"))?;
                ensure!(words.contains(&path), "{kind} {path}: {shown} is refused with {words}");
            }
        }
    }
    missing.retain(|_, paths| !paths.is_empty());
    ensure!(missing.is_empty(), "no example has {missing:?}");
    // Were the walk to lose its way, nothing would be tried.
    ensure!(count > 100, "{count} bounds");
    Ok(())
}

/// Objects one step beyond each bound, and the field that an API server has to name; and the fields that the
/// example has not.
fn beyond(schema: &Value, part: &str, whole: &Value) -> (Vec<(String, Value)>, BTreeSet<String>) {
    let (mut found, mut absent) = (Vec::new(), BTreeSet::new());
    crd::visit(schema, part, &mut |path, schema| {
        // What is there to be refused, whatever it is, is the business of its rule.
        if schema["x-kubernetes-validations"][0]["rule"] == "false" {
            return;
        }
        let pointer = format!("/{}", path.replace("[]", ".0").replace('.', "/"));
        // The key of the one map there is.
        let pointer = pointer.replace("/*", "/app");
        let Some(value) = whole.pointer(&pointer) else {
            absent.insert(path.to_owned());
            return;
        };
        for bad in values_beyond(schema, value) {
            let mut object = whole.clone();
            if let Some(place) = object.pointer_mut(&pointer) {
                *place = bad;
                found.push((super::place(path), object));
            }
        }
    });
    (found, absent)
}

/// Values that break one bound of a field each.
fn values_beyond(schema: &Value, value: &Value) -> Vec<Value> {
    let number = |bound: &str| schema[bound].as_u64().filter(|most| *most <= u64::from(u32::MAX));
    let practical = |bound: &str| number(bound).filter(|most| *most <= PRACTICAL);
    let mut bad = Vec::new();
    if schema["enum"].is_array() {
        bad.push(json!("Nope"));
    }
    bad.extend(schema["minimum"].as_i64().map(|least| json!(least - 1)));
    bad.extend(number("maximum").map(|most| json!(most + 1)));
    bad.extend(number("minLength").map(|_| json!("")));
    let longest = number("maxLength").and_then(|most| usize::try_from(most).ok());
    bad.extend(longest.map(|most| json!("a".repeat(most + 1))));
    bad.extend(number("minItems").map(|_| json!([])));
    bad.extend(practical("maxItems").map(|most| {
        let items = (0..=most).map(|_| value[0].clone());
        Value::Array(items.collect())
    }));
    bad.extend(practical("maxProperties").map(|most| {
        let labels = (0..=most).map(|n| (format!("app{n}"), json!("web")));
        Value::Object(labels.collect())
    }));
    for field in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        let mut without = value.clone();
        without[field] = Value::Null;
        bad.push(without);
    }
    bad
}

pub(super) fn the_largest_objects_are_taken(api: &Arc<Api>) -> Result<()> {
    let many = |count: usize, one: &dyn Fn(usize) -> Value| -> Value {
        Value::Array((0..count).map(one).collect())
    };
    // As dear as they come: in full, and different in the last bit only.
    let range = |n: usize| {
        let group = format!("2001:0db8:0000:0000:0000:0000:{n:04x}");
        json!(format!("{group}:0000 - {group}:0001"))
    };
    let network = |n: usize| json!(format!("2001:0db8:0000:0000:0000:0000:0000:{n:04x}/128"));
    let label = |n: usize| format!("{n:-<62}z");
    let selector = |_| {
        let wants = many(
            16,
            &|n| json!({"key": format!("example.com/a{n}"), "operator": "In", "values": many(32, &|n| json!(label(n)))}),
        );
        let labels = (0..16).map(|n| (format!("example.com/{}", label(n)), json!(label(n))));
        json!({"matchLabels": labels.collect::<serde_json::Map<_, _>>(), "matchExpressions": wants})
    };
    let objects = [
        object(
            "IPAddressPool",
            "ranges",
            &json!({
                "addresses": many(256, &range), "exclusions": many(256, &range),
            }),
        ),
        object(
            "IPAddressPool",
            "selectors",
            &json!({
                "addresses": ["192.0.2.0/24"],
                "serviceAllocation": {
                    "namespaces": many(256, &|n| json!(label(n))), "gatewaySelectors": many(32, &selector),
                },
            }),
        ),
        object(
            "L2Advertisement",
            "selectors",
            &json!({
                "ipAddressPools": many(256, &|n| json!(vec![label(n); 3].join("."))),
                "interfaces": many(256, &|n| json!(format!("{n:-<14}z"))), "nodeSelectors": many(32, &selector),
            }),
        ),
        object(
            "L2Advertisement",
            "preferences",
            &json!({
                "preferredNodeSelectors": many(32, &|n| json!({"weight": 100, "preference": selector(n)})),
            }),
        ),
        object(
            "Backend",
            "endpoints",
            &json!({
                "endpoints": many(100, &|n| json!({"address": format!("2001:0db8:0000:0000:0000:0000:0000:{n:04x}"), "port": 80})),
            }),
        ),
        object(
            "Backend",
            "names",
            &json!({
                "endpoints": many(100, &|n| json!({"hostname": vec![label(n); 3].join("."), "port": 80})),
            }),
        ),
        object(
            "BGPAdvertisement",
            "everything",
            &json!({
                "ipAddressPools": many(256, &|n| json!(vec![label(n); 3].join("."))),
                "peers": many(256, &|n| json!(vec![label(n); 3].join("."))),
                "communities": many(64, &|n| json!(format!("large:4294967295:4294967295:{n}"))),
                "gatewaySelectors": many(32, &selector),
            }),
        ),
        object(
            "Community",
            "everything",
            &json!({
                "communities": many(128, &|n| json!({"name": "a".repeat(249) + &format!("{n:04}"), "value": "large:4294967295:4294967295:4294967295"})),
            }),
        ),
        object(
            "ListenerPolicy",
            "everything",
            &json!({
                "targetRefs": many(16, &|n| json!({"group": "gateway.networking.k8s.io", "kind": "ListenerSet", "name": "a".repeat(253), "sectionName": "b".repeat(249) + &format!("{n:04}")})),
                "proxyProtocol": {"from": many(256, &network)},
                "allowedSourceRanges": many(256, &network), "deniedSourceRanges": many(256, &network),
            }),
        ),
        object(
            "BackendPolicy",
            "everything",
            &json!({
                "targetRefs": many(16, &|n| json!({"group": "", "kind": "Service", "name": "a".repeat(249) + &format!("{n:04}")})),
                "healthCheck": {"sendBytes": "A".repeat(1364), "expectBytes": "A".repeat(1364)},
            }),
        ),
        // As many ports as fit into a Service: were its claim refused, no claim would be written.
        object("VirtualIP", "192.0.2.10", &claim_with(20_000)),
    ];
    for object in objects {
        let (kind, name) = (&object["kind"], &object["metadata"]["name"]);
        let all = collection(kind.as_str().context("a kind")?);
        api.create(&format!("{all}?dryRun=All"), &object)
            .with_context(|| format!("{kind} {name}"))?;
    }
    Ok(())
}

/// A claim whose user serves this many ports.
fn claim_with(ports: u16) -> Value {
    let mut claim = cases::claim("192.0.2.10");
    let ports = (1..=ports).map(|port| json!({"protocol": "TCP", "port": port}));
    claim["users"][0]["ports"] = ports.collect();
    claim
}

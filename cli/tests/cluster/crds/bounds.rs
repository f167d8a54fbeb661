//! Bounds: one step beyond each is refused, and objects that go up to them are not too dear to check.

use std::sync::Arc;

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use vipgate_api::crd;
use vipgate_lab::Result;
use vipgate_lab::cluster::{Api, Patch};

use super::{cases, collection, object, refusal};

/// Beyond this many items an object has no room in a request anyhow.
const PRACTICAL: u64 = 1000;

/// One object of each kind with every field, name first.
fn examples() -> [(&'static str, &'static str, Value); 5] {
    let selector = json!({
        "matchLabels": {"app": "web"},
        "matchExpressions": [{"key": "app", "operator": "In", "values": ["web"]}],
    });
    let reference = json!({"namespace": "default", "name": "web"});
    [
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
                "conditions": [{
                    "type": "Accepted", "status": "True", "reason": "Accepted", "message": "m",
                    "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 1,
                }],
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
            "Backend",
            "bounds",
            json!({"spec": {"endpoints": [{"address": "192.0.2.1", "port": 80}]}}),
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
                    "reason": "NotBound", "weight": 1, "since": "2026-01-01T00:00:00Z"}],
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
            for (path, bad) in beyond(&schema["properties"][part], part, &whole)? {
                count += 1;
                let shown = bad.to_string();
                let shown = &shown[..shown.len().min(300)];
                let words = refusal(api.patch(&place, Patch::Merge, &bad))
                    .with_context(|| format!("{kind} {path}: {shown}"))?;
                ensure!(words.contains(&path), "{kind} {path}: {shown} is refused with {words}");
            }
        }
    }
    // Were the walk to lose its way, nothing would be tried.
    ensure!(count > 100, "{count} bounds");
    Ok(())
}

/// Objects one step beyond each bound, and the field that an API server has to name.
fn beyond(schema: &Value, part: &str, whole: &Value) -> Result<Vec<(String, Value)>> {
    let mut found = Vec::new();
    let mut trouble = None;
    crd::visit(schema, part, &mut |path, schema| {
        let pointer = format!("/{}", path.replace("[]", ".0").replace('.', "/"));
        // The key of the one map there is.
        let pointer = pointer.replace("/*", "/app");
        let Some(value) = whole.pointer(&pointer) else {
            trouble = Some(format!("the example has no {path}"));
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
    trouble.map_or(Ok(found), |trouble| Err(anyhow::anyhow!(trouble)))
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

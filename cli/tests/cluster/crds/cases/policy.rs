//! Rules of the policies.

use serde_json::{Value, json};

use super::{Case, case};

pub(super) fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    cases.extend(targets());
    for field in ["proxyProtocol.from", "allowedSourceRanges", "deniedSourceRanges"] {
        cases.push(networks(field));
    }
    cases.extend(durations());
    cases.push(suites());
    cases.extend(health_checks());
    cases
}

fn gateway(name: &str) -> Value {
    json!({"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": name})
}

fn section(name: &str) -> Value {
    let mut target = gateway("web");
    target["sectionName"] = name.into();
    target
}

fn service(name: &str) -> Value {
    json!({"group": "", "kind": "Service", "name": name})
}

fn of(group: &str, kind: &str) -> Value {
    json!({"group": group, "kind": kind, "name": "web"})
}

fn to<const N: usize>(targets: [Value; N]) -> Value {
    json!({"targetRefs": targets.to_vec()})
}

/// A policy with a target, and a field at a path.
fn with(kind: &str, path: &str, value: impl Into<Value>) -> Value {
    let target = if kind == "ListenerPolicy" { gateway("web") } else { service("web") };
    let mut spec = to([target]);
    let mut place = &mut spec;
    for field in path.split('.') {
        place = &mut place[field];
    }
    *place = value.into();
    spec
}

fn targets() -> [Case; 7] {
    const GROUP: &str = "gateway.networking.k8s.io";
    let bad_name = "write the metadata.name of the object";
    let twice = "a target stands here twice";
    [
        case(
            "ListenerPolicy",
            "spec.targetRefs[]",
            "write `group: gateway.networking.k8s.io`",
            [to([gateway("web")]), to([of(GROUP, "ListenerSet")])],
            [to([of("", "Gateway")]), to([of(GROUP, "TCPRoute")]), to([service("web")])],
        ),
        case(
            "ListenerPolicy",
            "spec.targetRefs[].name",
            bad_name,
            [to([gateway("web.example")])],
            [to([gateway("Web")]), to([gateway("a/b")])],
        ),
        case(
            "ListenerPolicy",
            "spec.targetRefs[].sectionName",
            "write the name of a listener",
            [to([section("tls")])],
            [to([section("TLS")])],
        ),
        case(
            "ListenerPolicy",
            "spec.targetRefs",
            twice,
            [to([gateway("web"), section("a"), section("b"), gateway("two")])],
            [to([gateway("web"), gateway("web")]), to([section("a"), gateway("b"), section("a")])],
        ),
        case(
            "BackendPolicy",
            "spec.targetRefs[]",
            "write a TCPRoute",
            [
                to([service("web"), of("vipgate.dev", "Backend"), of(GROUP, "TCPRoute")]),
                to([of(GROUP, "TLSRoute"), of(GROUP, "UDPRoute"), of(GROUP, "HTTPRoute")]),
            ],
            [to([gateway("web")]), to([of("", "Backend")]), to([of("apps", "Deployment")])],
        ),
        case(
            "BackendPolicy",
            "spec.targetRefs[].name",
            bad_name,
            [to([service("web")])],
            [to([service("Web")])],
        ),
        case(
            "BackendPolicy",
            "spec.targetRefs",
            twice,
            [to([service("web"), service("two"), of("vipgate.dev", "Backend")])],
            [to([service("web"), service("web")])],
        ),
    ]
}

fn networks(field: &str) -> Case {
    let list = |network: &str| with("ListenerPolicy", field, json!([network]));
    case(
        "ListenerPolicy",
        format!("spec.{field}[]"),
        "write CIDRs",
        [list("192.0.2.0/24"), list("192.0.2.7/24"), list("0.0.0.0/0"), list("2001:db8::/32")],
        [
            list("192.0.2.7"),
            list("192.0.2.0/33"),
            list("192.0.2/24"),
            list("192.0.2.0/024"),
            list("::ffff:192.0.2.0/120"),
            list("office"),
        ],
    )
}

fn durations() -> Vec<Case> {
    let listener = "ListenerPolicy";
    let backend = "BackendPolicy";
    let mut cases = Vec::new();
    for (kind, field, says, good, bad) in [
        (listener, "idleTimeout", "write a duration from 1s to 168h", ["0s", "1h30m"], "999ms"),
        (listener, "handshakeTimeout", "write a duration from 100ms to 60s", ["100ms", "1m"], "0s"),
        (
            listener,
            "tcpKeepalive.time",
            "write whole seconds from 1s to 9h",
            ["1s", "2h"],
            "1500ms",
        ),
        (listener, "tcpKeepalive.interval", "write whole seconds from 1s", ["1s", "9h"], "9h1s"),
        (
            backend,
            "sessionAffinity.timeout",
            "write a duration from 1s to 24h",
            ["1s", "24h"],
            "25h",
        ),
        (backend, "connect.timeout", "write a duration from 10ms to 60s", ["10ms", "60s"], "9ms"),
        (
            backend,
            "healthCheck.interval",
            "write a duration from 100ms to 1h",
            ["5s", "1h"],
            "99ms",
        ),
        (
            backend,
            "healthCheck.timeout",
            "write a duration from 10ms to 60s",
            ["1s", "10ms"],
            "61s",
        ),
        (
            backend,
            "goneEndpoints.closeAfter",
            "write a duration from 0s to 24h",
            ["0s", "30s"],
            "48h",
        ),
    ] {
        let spec = |text: &str| with(kind, field, text);
        cases.push(case(
            kind,
            format!("spec.{field}"),
            says,
            good.map(spec),
            [bad, "10", "1.5s", "1d", "-1s", "1s1s1s1s1s", "soon"].map(spec),
        ));
    }
    cases
}

fn suites() -> Case {
    let tls = |value: Value| with("ListenerPolicy", "tls", value);
    let new = "TLS_AES_128_GCM_SHA256";
    let old = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256";
    case(
        "ListenerPolicy",
        "spec.tls",
        "none of the cipherSuites is of TLS 1.3",
        [
            tls(json!({"minVersion": "1.3", "cipherSuites": [old, new]})),
            tls(json!({"minVersion": "1.2", "cipherSuites": [old]})),
            tls(json!({"minVersion": "1.3"})),
            tls(json!({"cipherSuites": [old]})),
        ],
        [tls(json!({"minVersion": "1.3", "cipherSuites": [old]}))],
    )
}

fn health_checks() -> [Case; 5] {
    let check = |value: Value| with("BackendPolicy", "healthCheck", value);
    let bytes = |field: &'static str| {
        let spec = move |text: &str| with("BackendPolicy", &format!("healthCheck.{field}"), text);
        case(
            "BackendPolicy",
            format!("spec.healthCheck.{field}"),
            "write base64",
            [spec("AAE="), spec("YQ=="), spec("UElORw0K")],
            [spec("PIN"), spec("AAE"), spec("A==="), spec("a b=")],
        )
    };
    [
        bytes("sendBytes"),
        bytes("expectBytes"),
        case(
            "BackendPolicy",
            "spec.healthCheck",
            "write one of send and sendBytes",
            [check(json!({"send": "PING"})), check(json!({"sendBytes": "AAE=", "expect": "+"}))],
            [check(json!({"send": "PING", "sendBytes": "AAE="}))],
        ),
        case(
            "BackendPolicy",
            "spec.healthCheck",
            "write one of expect and expectBytes",
            [check(json!({"expect": "+PONG"}))],
            [check(json!({"expect": "+", "expectBytes": "AAE="}))],
        ),
        case(
            "BackendPolicy",
            "spec.healthCheck",
            "with `type: None` nothing is asked",
            [check(json!({"type": "None"})), check(json!({})), check(json!({"port": 9000}))],
            [
                check(json!({"type": "None", "interval": "5s"})),
                check(json!({"type": "None", "send": "PING"})),
                check(json!({"type": "None", "expectBytes": "AAE="})),
            ],
        ),
    ]
}

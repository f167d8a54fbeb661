//! For each rule what keeps it and what breaks it, and nothing else.

mod bgp;
mod policy;

use serde_json::{Value, json};

/// Examples of one rule.
pub(super) struct Case {
    pub(super) kind: &'static str,
    /// The field, as [`vipgate_api::crd::Rule::path`].
    pub(super) path: String,
    /// What its message begins with.
    pub(super) says: &'static str,
    /// Names and specs.
    pub(super) good: Vec<(String, Value)>,
    pub(super) bad: Vec<(String, Value)>,
    /// For rules about changes: what was there; what is bad is a change of it.
    pub(super) before: Option<(String, Value)>,
}

pub(super) fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    cases.extend(["addresses", "exclusions"].into_iter().flat_map(ranges));
    cases.push(namespaces());
    for field in ["namespaceSelectors", "serviceSelectors", "gatewaySelectors"] {
        let spec = move |selector: Value| {
            let mut spec = json!({"addresses": ["192.0.2.0/24"], "serviceAllocation": {}});
            spec["serviceAllocation"][field] = json!([selector]);
            spec
        };
        cases.extend(selectors("IPAddressPool", &format!("spec.serviceAllocation.{field}"), spec));
    }
    for field in ["ipAddressPoolSelectors", "nodeSelectors", "serviceSelectors"] {
        let spec = move |selector: Value| {
            let mut spec = json!({});
            spec[field] = json!([selector]);
            spec
        };
        cases.extend(selectors("L2Advertisement", &format!("spec.{field}"), spec));
    }
    let preferred = |selector: Value| json!({"preferredNodeSelectors": [{"weight": 1, "preference": selector}]});
    let path = "spec.preferredNodeSelectors[].preference";
    cases.extend(selector("L2Advertisement", path, preferred));
    cases.extend([pools(), interfaces()]);
    cases.extend(backends());
    cases.extend(virtual_ips());
    cases.extend(bgp::all());
    cases.extend(policy::all());
    cases
}

/// A case whose objects are all called `x`.
fn case<const G: usize, const B: usize>(
    kind: &'static str,
    path: impl Into<String>,
    says: &'static str,
    good: [Value; G],
    bad: [Value; B],
) -> Case {
    let named = |spec: Value| ("x".to_owned(), spec);
    Case {
        kind,
        path: path.into(),
        says,
        good: good.into_iter().map(named).collect(),
        bad: bad.into_iter().map(named).collect(),
        before: None,
    }
}

fn ranges(field: &'static str) -> [Case; 4] {
    let spec = |range: &str| match field {
        "addresses" => json!({"addresses": [range]}),
        _ => json!({"addresses": ["192.0.2.0/24"], "exclusions": [range]}),
    };
    let path = format!("spec.{field}[]");
    let case = |says, good: &[&str], bad: &[&str]| Case {
        kind: "IPAddressPool",
        path: path.clone(),
        says,
        good: good.iter().map(|range| ("x".to_owned(), spec(range))).collect(),
        bad: bad.iter().map(|range| ("x".to_owned(), spec(range))).collect(),
        before: None,
    };
    [
        case(
            "write a CIDR (192.0.2.0/24), a range",
            &[
                "192.0.2.0/24",
                "192.0.2.77/24",
                "192.0.2.1",
                "192.0.2.1-192.0.2.9",
                "192.0.2.1 - 192.0.2.9",
                "2001:db8::/120",
                "2001:DB8::1",
                "2001:db8::1-2001:db8::9",
            ],
            &[
                "192.0.2.0/33",
                "192.0.2.0/",
                "192.0.2.1-x",
                "192.0.2.1-",
                "-192.0.2.1",
                "192.0.2.1-192.0.2.2-192.0.2.3",
                "192.0.2.0/24-192.0.3.0/24",
                "some",
                "192.0.2",
                "192.0.2.01",
                "::ffff:192.0.2.1",
                "fe80::1%eth0",
                "[2001:db8::1]",
                "192.0.2.1,192.0.2.2",
            ],
        ),
        case(
            "both ends of a range have to be of one family",
            &["192.0.2.1-192.0.2.9", "2001:db8::1-2001:db8::9"],
            &["192.0.2.1-2001:db8::1", "2001:db8::1-192.0.2.1"],
        ),
        case(
            "the first address of the range is above the last: write ",
            &[
                "192.0.2.9-192.0.2.9",
                "192.0.2.99-192.0.3.1",
                "2001:db8::9-2001:db8::10",
                "2001:db8::-2001:db8::ffff:ffff:ffff:ffff",
                "2001:db8::ffff-2001:db8:0:0:0:0:1:0",
            ],
            &[
                "192.0.2.10-192.0.2.9",
                "192.0.3.1-192.0.2.99",
                "2001:db8::10-2001:db8::9",
                "2001:db8:0:0:0:0:1:0-2001:db8::ffff",
                "2001:db8::1-2001:db8::",
            ],
        ),
        case(
            "no host can have addresses of 0.0.0.0/8",
            &["1.0.0.0/8", "223.255.255.255", "::1:0:0/96", "feff::1-feff::2"],
            &[
                "0.0.0.0/0",
                "0.1.2.3",
                "0.255.255.255-1.0.0.1",
                "192.0.2.0-224.0.0.1",
                "239.0.0.0/24",
                "255.255.255.255",
                "::",
                "::/64",
                "ff02::/16",
            ],
        ),
    ]
}

fn namespaces() -> Case {
    let spec = |name: &str| json!({"addresses": ["192.0.2.0/24"], "serviceAllocation": {"namespaces": [name]}});
    case(
        "IPAddressPool",
        "spec.serviceAllocation.namespaces[]",
        "write the name of a namespace",
        [spec("default"), spec("0-team")],
        [spec("Default"), spec("-a"), spec("a."), spec("a.b"), spec("*")],
    )
}

fn selectors(kind: &'static str, path: &str, spec: impl Fn(Value) -> Value + Copy) -> [Case; 5] {
    selector(kind, &format!("{path}[]"), spec)
}

fn selector(kind: &'static str, path: &str, spec: impl Fn(Value) -> Value + Copy) -> [Case; 5] {
    let labels = |labels: Value| spec(json!({"matchLabels": labels}));
    let wants = |want: Value| spec(json!({"matchExpressions": [want]}));
    let key = |key: &str| wants(json!({"key": key, "operator": "Exists"}));
    let value = |value: &str| wants(json!({"key": "app", "operator": "In", "values": [value]}));
    let path = |below: &str| format!("{path}.{below}");
    let long_name = "a".repeat(64);
    [
        case(
            kind,
            path("matchLabels"),
            "write keys of labels",
            [labels(json!({"app": "x", "example.com/App_1.2": ""})), spec(json!({}))],
            [
                labels(json!({"a b": "x"})),
                labels(json!({"Example.com/a": "x"})),
                labels(json!({"-a": "x"})),
            ],
        ),
        case(
            kind,
            path("matchLabels.*"),
            "write the value of a label",
            [labels(json!({"app": "Web-1_a.b"})), labels(json!({"app": ""}))],
            [
                labels(json!({"app": "a b"})),
                labels(json!({"app": "-a"})),
                labels(json!({"app": "a/b"})),
            ],
        ),
        case(
            kind,
            path("matchExpressions[]"),
            "write at least one of values with the operators In and NotIn",
            [
                wants(json!({"key": "app", "operator": "In", "values": ["a", "b"]})),
                wants(json!({"key": "app", "operator": "NotIn", "values": ["a"]})),
                wants(json!({"key": "app", "operator": "Exists"})),
                wants(json!({"key": "app", "operator": "DoesNotExist", "values": []})),
            ],
            [
                wants(json!({"key": "app", "operator": "In"})),
                wants(json!({"key": "app", "operator": "NotIn", "values": []})),
                wants(json!({"key": "app", "operator": "Exists", "values": ["a"]})),
                wants(json!({"key": "app", "operator": "DoesNotExist", "values": ["a"]})),
            ],
        ),
        case(
            kind,
            path("matchExpressions[].key"),
            "write the key of a label",
            [key("app"), key("kubernetes.io/metadata.name"), key("A_b.c-d")],
            [key("a b"), key("/app"), key("a/b/c"), key("app-"), key("example..com/a")],
        ),
        case(
            kind,
            path("matchExpressions[].values[]"),
            "write the value of a label",
            [value(""), value("a"), value(&long_name[1..])],
            [value("a b"), value("a-"), value("ä")],
        ),
    ]
}

fn pools() -> Case {
    let spec = |name: &str| json!({"ipAddressPools": [name]});
    case(
        "L2Advertisement",
        "spec.ipAddressPools[]",
        "write the metadata.name of an IPAddressPool",
        [spec("lan"), spec("lan.0")],
        [spec("LAN"), spec("lan/0"), spec("default/lan"), spec(".lan"), spec("lan."), spec("a, b")],
    )
}

fn interfaces() -> Case {
    let spec = |name: &str| json!({"interfaces": [name]});
    case(
        "L2Advertisement",
        "spec.interfaces[]",
        "write the name of a network interface",
        [spec("eth0"), spec("bond0.100"), spec("enp0s31f6-15byt"), spec("br_lan")],
        [
            spec("an-interface-too"),
            spec("ääääääää"),
            spec("eth 0"),
            spec("eth0\n"),
            spec("eth/0"),
            spec("eth0:1"),
            spec("."),
            spec(".."),
        ],
    )
}

fn backends() -> [Case; 6] {
    let endpoint = |address: &str, port: u16| json!({"address": address, "port": port});
    let at = |address: &str| json!({"endpoints": [endpoint(address, 80)]});
    let name = |name: &str, port: u16| json!({"hostname": name, "port": port});
    let named = |text: &str| json!({"endpoints": [name(text, 80)]});
    let label = "a".repeat(63);
    [
        case(
            "Backend",
            "spec.endpoints[].address",
            "write an IP address",
            [at("192.0.2.1"), at("2001:db8::1"), at("127.0.0.1")],
            [
                at("web.example"),
                at("192.0.2.1:80"),
                at("[2001:db8::1]"),
                at("192.0.2.0/24"),
                at("::ffff:192.0.2.1"),
            ],
        ),
        case(
            "Backend",
            "spec.endpoints[].address",
            "write the address of a host",
            [at("192.0.2.1"), at("::1")],
            [at("0.0.0.0"), at("::"), at("224.0.0.1"), at("ff02::1")],
        ),
        case(
            "Backend",
            "spec.endpoints",
            "an endpoint stands here twice",
            [
                json!({"endpoints": [endpoint("192.0.2.1", 80), endpoint("192.0.2.1", 81), endpoint("192.0.2.2", 80)]}),
                json!({"endpoints": [endpoint("192.0.2.1", 80), name("a.example", 80), name("a.example", 81), name("b.example", 80)]}),
            ],
            [
                json!({"endpoints": [endpoint("192.0.2.1", 80), endpoint("192.0.2.2", 80), endpoint("192.0.2.1", 80)]}),
                json!({"endpoints": [name("a.example", 80), endpoint("192.0.2.2", 80), name("a.example", 80)]}),
            ],
        ),
        case(
            "Backend",
            "spec.endpoints[]",
            "an endpoint has either an `address` or a `hostname`",
            [at("192.0.2.1"), named("db.example.com")],
            [
                json!({"endpoints": [{"port": 80}]}),
                json!({"endpoints": [{"address": "192.0.2.1", "hostname": "db.example.com", "port": 80}]}),
            ],
        ),
        case(
            "Backend",
            "spec.endpoints[].hostname",
            "write a DNS name in full",
            [
                named("db.example.com"),
                named("nas"),
                named("1-a.2.b"),
                named(&format!("{label}.example")),
            ],
            [
                named("db.example.com."),
                named("DB.example.com"),
                named("*.example.com"),
                named("db_1.example.com"),
                named("a..b"),
                named("-a.b"),
                named("db.example.com:80"),
                named(&format!("{label}a.example")),
            ],
        ),
        case(
            "Backend",
            "spec.endpoints[].hostname",
            "no DNS name ends in a number",
            [named("db.example.com"), named("1.2.3.x4")],
            [named("192.0.2.1"), named("192.0.2"), named("7"), named("db.7")],
        ),
    ]
}

/// What a VirtualIP of this address says.
pub(super) fn claim(address: &str) -> Value {
    let ports = json!([{"protocol": "TCP", "port": 80}]);
    let user = json!({"kind": "Gateway", "namespace": "default", "name": "web", "ports": ports,
        "terms": "1a2b"});
    json!({"address": address, "pool": "lan", "origin": "Chosen", "users": [user]})
}

fn virtual_ips() -> [Case; 3] {
    let one = |name: &str, address: &str| (name.to_owned(), claim(address));
    let canonical = "2001-0db8-0000-0000-0000-0000-0000-0001";
    let case = |path: &str, says, good: &[_], bad: &[_]| Case {
        kind: "VirtualIP",
        path: path.to_owned(),
        says,
        good: good.to_vec(),
        bad: bad.to_vec(),
        before: None,
    };
    [
        case(
            "",
            "metadata.name has to be the canonical form of spec.address",
            &[one("192.0.2.1", "192.0.2.1"), one(canonical, "2001:db8::1")],
            &[
                one("192.0.2.2", "192.0.2.3"),
                one("web", "192.0.2.3"),
                one("2001-db8--1", "2001:db8::1"),
                one("2001-0db8-0000-0000-0000-0000-0000-0002", "2001:db8::1"),
            ],
        ),
        case(
            "spec.address",
            "write an IP address in its shortest form",
            &[one("192.0.2.1", "192.0.2.1"), one(canonical, "2001:db8::1")],
            &[one(canonical, "2001:DB8::1"), one(canonical, "2001:db8:0::1")],
        ),
        Case {
            before: Some(one("192.0.2.5", "192.0.2.5")),
            ..case(
                "spec.address",
                "spec.address cannot change",
                &[one("192.0.2.5", "192.0.2.5")],
                &[one("192.0.2.5", "192.0.2.6")],
            )
        },
    ]
}

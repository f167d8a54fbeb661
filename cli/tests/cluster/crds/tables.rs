//! What `kubectl get` shows: the API server makes the table, kubectl only prints it.

use anyhow::{Context, ensure};
use serde_json::json;
use vipgate_lab::Result;

use super::{cases, collection, object};
use crate::site::Site;

/// What is typed, and what some columns of the one row have to be.
const TABLES: [(&str, &[(&str, &str)]); 16] = [
    (
        "pool",
        &[
            ("NAME", "lan"),
            ("AUTO ASSIGN", "true"),
            ("AVOID BUGGY IPS", "false"),
            ("ADDRESSES", r#"["192.0.2.0/24","2001:db8::/120"]"#),
            ("USED", "3"),
            ("FREE", "253"),
            ("ACCEPTED", "True"),
        ],
    ),
    (
        "pools --output=wide",
        &[
            ("USED IPV6", "1"),
            ("FREE IPV6", "255"),
            ("EXCLUSIONS", r#"["192.0.2.1"]"#),
            ("REASON", "Overlapping"),
            ("MESSAGE", "192.0.2.7 is in b too"),
        ],
    ),
    ("l2adv", &[("IPADDRESSPOOLS", r#"["lan"]"#), ("INTERFACES", r#"["eth0","eth1"]"#)]),
    (
        "l2advs --output=wide",
        &[("NODE SELECTORS", r#"[{"matchLabels":{"rack":"a"}}]"#), ("IPADDRESSPOOL SELECTORS", "")],
    ),
    (
        "bgpp",
        &[
            ("ADDRESS", "10.9.0.1"),
            ("ASN", "4200000001"),
            ("BFD PROFILE", ""),
            ("MULTI HOPS", "false"),
        ],
    ),
    ("bgpadvs", &[("IPADDRESSPOOLS", ""), ("PEERS", r#"["tor"]"#)]),
    ("bfdp", &[("RECEIVE INTERVAL", "100"), ("TRANSMIT INTERVAL", "300"), ("MULTIPLIER", "3")]),
    ("communities.vipgate.dev", &[("FIRST NAME", "blue"), ("VALUE", "1:2")]),
    ("vgbackend", &[("FIRST ADDRESS", "192.0.2.10"), ("PORT", "445")]),
    (
        "vgbackends --output=wide",
        &[(
            "ENDPOINTS",
            r#"[{"address":"192.0.2.10","port":445},{"address":"192.0.2.11","port":446}]"#,
        )],
    ),
    ("lpol", &[("TARGET KIND", "Gateway"), ("TARGET", "web"), ("ACCEPTED", "True")]),
    ("bpols", &[("TARGET KIND", "Service"), ("TARGET", "db"), ("ACCEPTED", "")]),
    (
        "vips",
        &[
            ("ADDRESS", "192.0.2.9"),
            ("KIND", "Gateway"),
            ("NAMESPACE", "default"),
            ("USER", "web"),
            ("SHARED WITH", ""),
            ("POOL", "lan"),
            ("PUBLISHED", "false"),
        ],
    ),
    (
        "vip --output=wide",
        &[
            ("ORIGIN", "Chosen"),
            (
                "USERS",
                r#"[{"kind":"Gateway","name":"web","namespace":"default","ports":[{"port":80,"protocol":"TCP"}],"terms":"1a2b"}]"#,
            ),
        ],
    ),
    (
        "spk",
        &[("SERVING", "2"), ("NOT SERVING", "1"), ("FAILED LISTENER", "tcp"), ("ERROR", "no Node")],
    ),
    (
        "speakers --output=wide",
        &[("FAILURE", "80 is taken"), ("VIPS", r#"[{"address":"192.0.2.9","state":"Probing"}]"#)],
    ),
];

pub(super) fn tables(site: &Site) -> Result<()> {
    fill(site)?;
    for (typed, expected) in TABLES {
        let printed = site.cluster.kubectl(["get"].into_iter().chain(typed.split(' ')))?;
        for (column, cell) in expected {
            let found = cell_of(&printed, column).with_context(|| format!("{typed}\n{printed}"))?;
            ensure!(found == *cell, "{typed}: {column} is {found:?}, not {cell:?}\n{printed}");
        }
    }
    let all = site.cluster.kubectl(["get", "vipgate", "--all-namespaces", "--output=name"])?;
    let mut names: Vec<&str> = all.lines().collect();
    names.sort_unstable();
    let expected = [
        "backend.vipgate.dev/nas",
        "backendpolicy.vipgate.dev/db",
        "bfdprofile.vipgate.dev/fast",
        "bgpadvertisement.vipgate.dev/all",
        "bgppeer.vipgate.dev/tor",
        "community.vipgate.dev/names",
        "ipaddresspool.vipgate.dev/lan",
        "l2advertisement.vipgate.dev/lan",
        "listenerpolicy.vipgate.dev/web",
        "speaker.vipgate.dev/node-a",
        "virtualip.vipgate.dev/192.0.2.9",
    ];
    ensure!(names == expected, "{all}");
    Ok(())
}

/// One object of each kind.
fn fill(site: &Site) -> Result<()> {
    let api = site.cluster.api();
    let pool =
        json!({"addresses": ["192.0.2.0/24", "2001:db8::/120"], "exclusions": ["192.0.2.1"]});
    let advertisement = json!({
        "ipAddressPools": ["lan"], "interfaces": ["eth0", "eth1"],
        "nodeSelectors": [{"matchLabels": {"rack": "a"}}],
    });
    let peer = json!({"myASN": 65001, "peerASN": 4_200_000_001_u32, "peerAddress": "10.9.0.1"});
    let backend = json!({"endpoints": [
        {"address": "192.0.2.10", "port": 445}, {"address": "192.0.2.11", "port": 446},
    ]});
    let objects = [
        object("IPAddressPool", "lan", &pool),
        object("L2Advertisement", "lan", &advertisement),
        object("BGPPeer", "tor", &peer),
        object("BGPAdvertisement", "all", &json!({"peers": ["tor"]})),
        object("BFDProfile", "fast", &json!({"receiveInterval": 100})),
        object("Community", "names", &json!({"communities": [{"name": "blue", "value": "1:2"}]})),
        object("Backend", "nas", &backend),
        object(
            "ListenerPolicy",
            "web",
            &json!({"targetRefs": [{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "web"}]}),
        ),
        object(
            "BackendPolicy",
            "db",
            &json!({"targetRefs": [{"group": "", "kind": "Service", "name": "db"}]}),
        ),
        object("VirtualIP", "192.0.2.9", &cases::claim("192.0.2.9")),
        object("Speaker", "node-a", &json!(null)),
    ];
    for object in objects {
        api.create(&collection(object["kind"].as_str().context("a kind")?), &object)?;
    }
    let status = json!({
        "assignedIPv4": 3, "availableIPv4": 253, "assignedIPv6": 1, "availableIPv6": 255,
        "conditions": [{
            "type": "Accepted", "status": "True", "reason": "Overlapping",
            "message": "192.0.2.7 is in b too", "lastTransitionTime": "2026-01-01T00:00:00Z",
        }],
    });
    set_status(site, "ipaddresspool", "lan", &json!({ "status": status }))?;
    let status = json!({"ancestors": [{
        "ancestorRef": {"name": "web"}, "controllerName": "vipgate.dev/gateway-controller",
        "conditions": [{
            "type": "Accepted", "status": "True", "reason": "Accepted", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }],
    }]});
    set_status(site, "listenerpolicy", "web", &json!({ "status": status }))?;
    let status = json!({
        "serving": 2, "standby": 1, "notServing": 1, "errors": ["no Node"],
        "vips": [{"address": "192.0.2.9", "state": "Probing"}],
        "failedListeners": [{
            "gateway": {"namespace": "default", "name": "web"}, "name": "tcp",
            "address": "192.0.2.9", "message": "80 is taken",
        }],
    });
    set_status(site, "speaker", "node-a", &json!({ "status": status }))
}

fn set_status(site: &Site, kind: &str, name: &str, patch: &serde_json::Value) -> Result<()> {
    let patch = patch.to_string();
    let arguments =
        ["patch", kind, name, "--subresource=status", "--type=merge", "--patch", &patch];
    site.cluster.kubectl(arguments).map(drop)
}

/// The cell below a header, of a table with one row. Columns are three blanks apart.
fn cell_of<'t>(table: &'t str, column: &str) -> Result<&'t str> {
    let (header, row) = table.split_once('\n').context("a table has a header")?;
    ensure!(row.trim_end().lines().count() == 1, "one row");
    let padded = format!("   {header}   ");
    let at = padded.find(&format!("   {column}   ")).context("there is no such column")?;
    let after = header[at + column.len()..].trim_start();
    let end = header.len() - after.len();
    let end = if after.is_empty() { row.len() } else { end };
    Ok(row.get(at..end.min(row.len())).unwrap_or_default().trim())
}

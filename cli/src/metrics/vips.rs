//! What a node has and does not have: VIPs, listeners that stand, members of its group.

use std::collections::BTreeMap;
use std::net::IpAddr;

use vipgate_planner::{ListenerState, NodeReport, VipState};
use vipgate_speaker::group::Standing;

use super::text::{Metric, metrics, of_listener};

/// What is told of a VIP.
struct Vip {
    serves: bool,
    /// Whether the LAN hears of it from here.
    owns: bool,
    claims: u64,
}

impl Vip {
    fn of(state: &VipState, claims: u64) -> Self {
        let (serves, owns) = match state {
            VipState::Serving(links) => (true, !links.is_empty()),
            _ => (false, false),
        };
        Self { serves, owns, claims }
    }
}

const OF_VIPS: [Metric<Vip>; 3] = [
    (
        "vipgate_vip_serving",
        "gauge",
        "1 where the address is on the host and announced: to the LAN, to routers, or on loopback.",
        |vip| vec![(None, vip.serves.into())],
    ),
    (
        "vipgate_vip_owner",
        "gauge",
        "1 on the node that announces the address to the LAN, by ARP or NDP.",
        |vip| vec![(None, vip.owns.into())],
    ),
    (
        "vipgate_duplicate_owner_detected_total",
        "counter",
        "Claims of the address by hosts outside of the group, seen on the wire while it served here.",
        |vip| vec![(None, vip.claims)],
    ),
];

const OF_LISTENERS: [Metric<ListenerState>; 1] = [(
    "vipgate_listener_bound",
    "gauge",
    "1 where the listener is bound and has what it needs; it forwards where its VIP serves.",
    |state| vec![(None, u64::from(*state == ListenerState::Bound))],
)];

const OF_GROUP: [Metric<Standing>; 2] = [
    (
        "vipgate_group_members",
        "gauge",
        "Members of the group that are alive, this one included.",
        { |standing| vec![(None, standing.others.len() as u64 + 1)] },
    ),
    (
        "vipgate_group_members_missing",
        "gauge",
        "Members that should be there, and are not heard.",
        |standing| vec![(None, standing.missing.len() as u64)],
    ),
];

/// The version, of any process.
pub(super) const BUILD: [Metric<()>; 1] =
    [("vipgate_build_info", "gauge", "1, with the version that runs.", |()| {
        vec![(Some(("version", env!("CARGO_PKG_VERSION"))), 1)]
    })];

/// All of them; those of the group where there is one.
pub(super) fn render(
    report: &NodeReport,
    standing: Option<&Standing>,
    claims: &BTreeMap<IpAddr, u64>,
) -> String {
    let mut out = String::new();
    metrics(&mut out, &BUILD, &[(String::new(), &())]);
    let count = |address: &IpAddr| claims.get(address).copied().unwrap_or_default();
    let of = |(address, state)| (format!("vip=\"{address}\""), Vip::of(state, count(address)));
    let vips: Vec<(String, Vip)> = report.vips.iter().map(of).collect();
    let labelled: Vec<_> = vips.iter().map(|(labels, vip)| (labels.clone(), vip)).collect();
    metrics(&mut out, &OF_VIPS, &labelled);
    let listeners: Vec<_> =
        report.listeners.iter().map(|(id, state)| (of_listener(id), state)).collect();
    metrics(&mut out, &OF_LISTENERS, &listeners);
    if let Some(standing) = standing {
        metrics(&mut out, &OF_GROUP, &[(String::new(), standing)]);
    }
    out
}

#[cfg(test)]
mod tests {
    use vipgate_api::ObjectKey;
    use vipgate_planner::ListenerId;

    use super::*;

    #[test]
    fn an_owner_announces_and_others_do_not() {
        let [first, second, third]: [IpAddr; 3] =
            ["192.0.2.1", "192.0.2.2", "192.0.2.3"].map(|text| text.parse().unwrap());
        let id = |name: &str| ListenerId {
            gateway: ObjectKey::new("default", "web"),
            set: None,
            name: name.to_owned(),
            address: first,
        };
        let report = NodeReport {
            vips: [
                (first, VipState::Serving(vec!["eth0".to_owned()])),
                (second, VipState::Standby { owner: "b".to_owned(), announced: true }),
                // Routers are told of it.
                (third, VipState::Serving(Vec::new())),
            ]
            .into(),
            listeners: [
                (id("a"), ListenerState::Bound),
                (id("b"), ListenerState::Failed("in use".to_owned())),
                (id("c"), ListenerState::NoCertificate),
            ]
            .into(),
            ..NodeReport::default()
        };
        let standing =
            Standing { missing: vec!["192.0.2.12:7947".parse().unwrap()], ..Standing::default() };
        let text = render(&report, Some(&standing), &[(first, 4)].into());
        let listener = |name: &str| {
            format!(
                "{{gateway=\"default/web\",parent=\"default/web\",listener=\"{name}\",vip=\"192.0.2.1\"}}"
            )
        };
        for line in [
            "vipgate_vip_serving{vip=\"192.0.2.1\"} 1\n".to_owned(),
            "vipgate_vip_serving{vip=\"192.0.2.2\"} 0\n".to_owned(),
            "vipgate_vip_serving{vip=\"192.0.2.3\"} 1\n".to_owned(),
            "vipgate_vip_owner{vip=\"192.0.2.1\"} 1\n".to_owned(),
            "vipgate_vip_owner{vip=\"192.0.2.2\"} 0\n".to_owned(),
            "vipgate_vip_owner{vip=\"192.0.2.3\"} 0\n".to_owned(),
            "vipgate_duplicate_owner_detected_total{vip=\"192.0.2.1\"} 4\n".to_owned(),
            "vipgate_duplicate_owner_detected_total{vip=\"192.0.2.2\"} 0\n".to_owned(),
            format!("vipgate_listener_bound{} 1\n", listener("a")),
            format!("vipgate_listener_bound{} 0\n", listener("b")),
            format!("vipgate_listener_bound{} 0\n", listener("c")),
            "vipgate_group_members 1\n".to_owned(),
            "vipgate_group_members_missing 1\n".to_owned(),
            format!("vipgate_build_info{{version=\"{}\"}} 1\n", env!("CARGO_PKG_VERSION")),
        ] {
            assert!(text.contains(&line), "{line}: {text}");
        }
        assert!(!render(&report, None, &BTreeMap::new()).contains("vipgate_group"));
    }

    /// What is told to people is all that there is.
    #[test]
    fn the_docs_have_every_metric() {
        let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md");
        let docs = std::fs::read_to_string(docs).unwrap();
        let names = OF_VIPS.iter().map(|(name, ..)| *name);
        let names = names.chain(OF_LISTENERS.iter().map(|(name, ..)| *name));
        let names = names.chain(OF_GROUP.iter().map(|(name, ..)| *name));
        for name in names.chain(BUILD.iter().map(|(name, ..)| *name)) {
            assert!(docs.contains(&format!("`{name}`")), "docs/metrics.md does not have {name}");
        }
    }
}

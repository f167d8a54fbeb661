//! `docs/reference/metrics.md`: every metric that a process can tell, from what it prints when there is one of
//! everything; and the pages that explain them have these and no other.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::time::Duration;

use vipgate_api::vipgate::IpAddressPoolStatus;
use vipgate_api::{Kind, ObjectKey, ObjectRef};
use vipgate_controller::facts::{Decided, Facts};
use vipgate_planner::{Endpoint, ListenerId, ListenerState, NodeReport, VipState};
use vipgate_speaker::bgp::peers::Board;
use vipgate_speaker::group::{Cause, Standing};
use vipgate_speaker::node::FailoverTimes;
use vipgate_speaker::reach::{Outcome, Reached};
use vipgate_speaker::{proxy, reach as reaching, udp};

use super::{PEER, connections, controller, datagrams, failovers, reach, render, vips};
use crate::golden::{cell, hold};

const HEAD: &str = "# All metrics\n\n\
    Made from the code; `make reference` makes it again. What they mean is in [metrics.md](../metrics.md), \
    [udp.md](../udp.md) and [bgp.md](../bgp.md).\n";

/// A metric as it is told.
struct Family {
    name: String,
    kind: String,
    help: String,
    labels: Vec<String>,
}

/// Those in a text, with the labels of the first value of each.
fn families(text: &str) -> Vec<Family> {
    let mut found: Vec<Family> = Vec::new();
    for line in text.lines() {
        if let Some((name, help)) =
            line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' '))
        {
            let (name, help) = (name.to_owned(), help.to_owned());
            found.push(Family { name, kind: String::new(), help, labels: Vec::new() });
        } else if let Some((name, kind)) =
            line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
        {
            let last = found.last_mut().expect("HELP comes before TYPE");
            assert_eq!(last.name, name);
            last.kind = kind.to_owned();
        } else if let Some((name, labels)) = line.split_once('{') {
            let last = found.last_mut().expect("HELP comes before values");
            assert!(name.starts_with(&last.name), "{line}");
            if last.labels.is_empty() {
                // No value that this test has made up has a comma in it.
                let names = labels.split("\",").filter_map(|label| label.split_once('='));
                let names = names.map(|(name, _)| name.to_owned()).filter(|name| name != "le");
                last.labels.extend(names);
            }
        }
    }
    found
}

fn listener() -> ListenerId {
    ListenerId {
        gateway: ObjectKey::new("default", "web"),
        set: None,
        name: "tcp".to_owned(),
        address: "192.0.2.1".parse().unwrap(),
    }
}

fn of_node() -> Vec<Family> {
    let vip = listener().address;
    let report = NodeReport {
        vips: [(vip, VipState::Serving(vec!["eth0".to_owned()]))].into(),
        listeners: [(listener(), ListenerState::Bound)].into(),
        ..NodeReport::default()
    };
    let route = ObjectRef::new(Kind::TcpRoute, ObjectKey::new("default", "web"));
    let endpoint = Endpoint("192.0.2.21:80".parse().unwrap());
    let connected = proxy::Snapshot {
        routes: [((listener(), route), proxy::ListenerCounters::default())].into(),
        listeners: [(listener(), proxy::ListenerCounters::default())].into(),
        ports: [("192.0.2.1:443".parse().unwrap(), proxy::PortCounters::default())].into(),
        endpoints: [(endpoint, proxy::EndpointHealth::default())].into(),
        ..proxy::Snapshot::default()
    };
    let sessions = udp::Snapshot {
        listeners: [(listener(), udp::ListenerCounters::default())].into(),
        ..udp::Snapshot::default()
    };
    let reached = Reached {
        owner: "host1".to_owned(),
        outcome: Outcome::Reached,
        failures: 0,
        took: Duration::from_millis(1),
        ports: [(80, true)].into(),
    };
    let asked =
        reaching::Snapshot { vips: [(vip, reached)].into(), ..reaching::Snapshot::default() };
    let failed_over = [(Cause::Dead, FailoverTimes::default())].into();
    let mut routers = families(&render(&Board::new()));
    routers.iter_mut().for_each(|one| one.labels.push(PEER.to_owned()));
    let mut all = families(&vips::render(&report, Some(&Standing::default()), &[(vip, 0)].into()));
    all.extend(families(&failovers::render(&failed_over)));
    all.extend(families(&reach::render(&asked)));
    all.extend(families(&connections::render(&connected)));
    all.extend(families(&datagrams::render(&sessions)));
    all.extend(routers);
    all
}

fn of_controller() -> Vec<Family> {
    let status = IpAddressPoolStatus { assigned_ipv4: 1, ..IpAddressPoolStatus::default() };
    let decided = Decided {
        pools: [(ObjectKey::new("vipgate-system", "lan"), status)].into(),
        problems: [(("Gateway".to_owned(), "Invalid".to_owned()), 1)].into(),
    };
    let facts = Facts { awaited: Vec::new(), decided: Some(decided) };
    families(&controller::render(&facts, true))
}

#[test]
fn the_page_is_fresh() {
    let mut page = HEAD.to_owned();
    let node = "Of a node: `vipgate run`, `vipgate speaker`";
    for (title, all) in
        [(node, of_node()), ("Of a controller: `vipgate controller`", of_controller())]
    {
        let head = "| metric | type | labels | says |\n|---|---|---|---|";
        writeln!(page, "\n## {title}\n\n{head}").unwrap();
        for Family { name, kind, help, labels } in all {
            let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
            let labels = labels.join(", ");
            writeln!(page, "| `{name}` | {kind} | {labels} | {} |", cell(&help)).unwrap();
        }
    }
    hold("reference/metrics.md", &page);
}

#[test]
fn what_explains_metrics_has_these_and_no_other() {
    let told: BTreeSet<String> =
        of_node().into_iter().chain(of_controller()).map(|family| family.name).collect();
    assert!(told.len() > 45, "{told:?}");
    let mut explained = BTreeSet::new();
    for page in ["metrics", "udp", "bgp"] {
        let path = format!("{}/../docs/{page}.md", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(path).unwrap();
        let names = text.split('`').skip(1).step_by(2);
        explained.extend(names.filter(|name| name.starts_with("vipgate_")).map(str::to_owned));
    }
    let missing: Vec<_> = told.difference(&explained).collect();
    assert!(missing.is_empty(), "no page explains {missing:?}");
    let gone: Vec<_> = explained.difference(&told).collect();
    assert!(gone.is_empty(), "no process tells {gone:?}, and a page explains them");
}

/// Whoever tells metrics is asked here.
#[test]
fn nobody_who_tells_is_left_out() {
    let sources = concat!(env!("CARGO_MANIFEST_DIR"), "/src/metrics");
    let mut told = 0;
    for entry in std::fs::read_dir(sources).unwrap() {
        let path = entry.unwrap().path();
        let source = std::fs::read_to_string(&path).unwrap_or_default();
        if source.contains("\npub(super) fn render(") {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            let asked = include_str!("reference.rs").contains(&format!("&{name}::render("));
            assert!(asked, "{} tells metrics that the reference does not have", path.display());
            told += 1;
        }
    }
    assert!(told >= 4, "{told}");
}

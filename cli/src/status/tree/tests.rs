//! The tree, as a person sees it.

use vipgate_api::gateway::{ParentReference, PolicyAncestorStatus, PolicyStatus};
use vipgate_api::{CONTROLLER_NAME, Condition, ConditionType, Kind, ObjectKey, ObjectRef, Reason};
use vipgate_planner::bgp::PeerReport;

use super::render;
use crate::status::report::{
    BackendStatus, EndpointStatus, ListenerStatus, PolicyLine, PortStatus, ProbeStatus, Problem,
    RouteStatus, StatusReport, VipStatus,
};

fn endpoint(address: &str, healthy: bool, state: &str) -> EndpointStatus {
    EndpointStatus { address: address.parse().unwrap(), healthy, state: state.to_owned() }
}

fn listener(name: &str, port: u16) -> ListenerStatus {
    ListenerStatus {
        name: name.to_owned(),
        port,
        dropped: None,
        failure: None,
        fault: None,
        accepted: 7,
        open: 2,
        reset: 0,
        routes: Vec::new(),
        superseded: Vec::new(),
    }
}

fn vip(address: &str, listeners: Vec<ListenerStatus>) -> VipStatus {
    VipStatus {
        address: address.parse().unwrap(),
        state: "announced on eth0".to_owned(),
        healthy: true,
        gateway: "Gateway default/web".to_owned(),
        pool: "lan".to_owned(),
        routers: None,
        probe: None,
        nodes: Vec::new(),
        listeners,
        ports: Vec::new(),
    }
}

#[test]
fn a_vip_that_is_not_reached_from_here_says_so() {
    let mut vip = vip("10.0.0.9", vec![listener("web", 443)]);
    let message = "host2 has it, and does not answer at port 443";
    let probe = |success| ProbeStatus {
        success,
        outcome: "silent".to_owned(),
        message: message.to_owned(),
        seconds: 2.0,
        failures: 3,
    };
    vip.probe = Some(probe(false));
    let text = render(&report(vec![vip.clone()]), false);
    assert!(text.contains(&format!("└─ ✗ asked for from here: {message}\n")), "{text}");
    vip.probe = Some(probe(true));
    assert!(!render(&report(vec![vip]), false).contains("asked for"));
}

#[test]
fn what_is_undecided_shows_at_the_port() {
    let mut vip = vip("10.0.0.9", vec![listener("web", 443)]);
    vip.ports = vec![PortStatus { port: 443, accepted: 9, undecided: 1, ended: 1 }];
    let text = render(&report(vec![vip]), false);
    let port =
        "port :443  9 accepted, 1 have not said yet which listener they mean, 1 ended before";
    assert!(text.contains(port), "{text}");
}

#[test]
fn a_listener_of_udp_has_sessions_and_drops() {
    let backend = BackendStatus {
        backend: "Service default/dns:53".to_owned(),
        share: 1.0,
        unusable: Some("it is gone".to_owned()),
        endpoints: Vec::new(),
    };
    let route = RouteStatus {
        route: "UDPRoute default/dns".to_owned(),
        hostname: None,
        backends: vec![backend],
    };
    let served = ListenerStatus { dropped: Some(3), routes: vec![route], ..listener("dns", 53) };
    let bare = ListenerStatus { dropped: Some(0), ..listener("ntp", 123) };
    let text = render(&report(vec![vip("10.0.0.9", vec![served, bare])]), false);
    for line in [
        "dns :53/udp  7 sessions, 2 open, 3 datagrams dropped\n",
        "Service default/dns:53  100.0 %  ✗ dropped: it is gone\n",
        "ntp :123/udp  7 sessions, 2 open\n",
        "no route: datagrams are dropped\n",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
}

fn report(vips: Vec<VipStatus>) -> StatusReport {
    let (version, node) = ("0.1.0".to_owned(), "shelf".to_owned());
    StatusReport { version, node, vips, ..StatusReport::default() }
}

#[test]
fn a_policy_has_a_line_for_each_of_what_it_ends_in() {
    let condition = |kind, reason, message| Condition::holds(kind, reason, message);
    let accepted = condition(ConditionType::Accepted, Reason::Accepted, "counts for Gateway a/web");
    let partly =
        condition(ConditionType::PartiallyInvalid, Reason::UnsupportedValue, "tls: remove it");
    let ancestor = |name: &str, conditions: Vec<Condition>| PolicyAncestorStatus {
        ancestor_ref: ParentReference {
            group: "gateway.networking.k8s.io".to_owned(),
            kind: "Gateway".to_owned(),
            namespace: Some("a".to_owned()),
            name: name.to_owned(),
            section_name: (name == "db").then(|| "tls".to_owned()),
            port: None,
        },
        controller_name: CONTROLLER_NAME.to_owned(),
        conditions,
    };
    let status = PolicyStatus {
        ancestors: vec![
            ancestor("web", vec![accepted.clone()]),
            ancestor("db", vec![accepted, partly]),
        ],
    };
    let policy = ObjectRef::new(Kind::ListenerPolicy, ObjectKey::new("a", "p"));
    let mut report = report(Vec::new());
    report.policies = PolicyLine::of(&policy, &status);
    let text = render(&report, false);
    let said = "\nPolicies\n\
        \x20 ✓ ListenerPolicy a/p  Gateway a/web: counts for Gateway a/web\n\
        \x20 ✗ ListenerPolicy a/p  Gateway a/db listener tls: counts for Gateway a/web; but tls: remove it\n";
    assert!(text.contains(said), "{text}");
}

#[test]
fn sessions_with_routers_come_last_and_say_what_is_wrong() {
    let peer = |state: &str, last_error: Option<&str>| PeerReport {
        state: state.to_owned(),
        since: "2026-01-01T00:00:00Z".to_owned(),
        address: Some("10.9.0.1:179".to_owned()),
        peer_as: None,
        capabilities: Vec::new(),
        hold_time: None,
        prefixes: 2,
        last_error: last_error.map(str::to_owned),
        reason: None,
        bfd: None,
        bfd_echo: None,
    };
    let mut report = report(vec![vip("10.0.0.9", Vec::new())]);
    report.peers = [
        ("lab/tor".to_owned(), peer("Established", None)),
        ("lab/up".to_owned(), peer("Connect", Some("no answer"))),
    ]
    .into();
    let text = render(&report, false);
    let said = "\nBGP\n\
        \x20 ✓ lab/tor  10.9.0.1:179  Established since 2026-01-01T00:00:00Z, 2 prefixes told\n\
        \x20 ✗ lab/up  10.9.0.1:179  Connect since 2026-01-01T00:00:00Z: no answer\n";
    assert!(text.ends_with(said), "{text}");
}

#[test]
fn every_level_hangs_below_the_one_above() {
    let route = RouteStatus {
        route: "TCPRoute default/web".to_owned(),
        hostname: None,
        backends: vec![
            BackendStatus {
                backend: "Service default/web:80".to_owned(),
                share: 0.75,
                unusable: None,
                endpoints: vec![
                    endpoint("10.0.0.1:80", true, "ok"),
                    endpoint("10.0.0.2:80", false, "connection refused, 3 in a row"),
                ],
            },
            BackendStatus {
                backend: "Service default/gone:80".to_owned(),
                share: 0.25,
                unusable: Some("Service default/gone does not exist".to_owned()),
                endpoints: Vec::new(),
            },
        ],
    };
    let served = ListenerStatus {
        routes: vec![route],
        superseded: vec!["TCPRoute default/late".to_owned()],
        reset: 1,
        ..listener("web", 80)
    };
    let failed = ListenerStatus {
        failure: Some("10.0.0.9:443: address in use".to_owned()),
        ..listener("tls", 443)
    };
    let text = render(&report(vec![vip("10.0.0.9", vec![served, failed])]), false);
    assert_eq!(
        text,
        "shelf · vipgate 0.1.0\n\
         \n\
         ✓ 10.0.0.9  announced on eth0  (Gateway default/web, pool lan)\n\
         ├─ ✓ web :80  7 accepted, 2 open, 1 reset\n\
         │  ├─ TCPRoute default/web\n\
         │  │  ├─ Service default/web:80  75.0 %\n\
         │  │  │  ├─ ✓ 10.0.0.1:80  ok\n\
         │  │  │  └─ ✗ 10.0.0.2:80  connection refused, 3 in a row\n\
         │  │  └─ Service default/gone:80  25.0 %  ✗ reset: Service default/gone does not exist\n\
         │  └─ TCPRoute default/late  attached, but an older route has this listener\n\
         └─ ✗ tls :443  10.0.0.9:443: address in use\n   \
            └─ no route: connections are accepted and reset\n"
    );
}

#[test]
fn routes_by_name_stand_below_their_listener() {
    let route = |name: Option<&str>, route: &str| RouteStatus {
        route: route.to_owned(),
        hostname: name.map(str::to_owned),
        backends: Vec::new(),
    };
    let listener = ListenerStatus {
        routes: vec![
            route(Some("shop.example"), "HTTPRoute default/shop"),
            route(None, "HTTPRoute default/rest"),
        ],
        ..listener("https", 443)
    };
    let text = render(&report(vec![vip("10.0.0.9", vec![listener])]), false);
    let below = "   ├─ shop.example  HTTPRoute default/shop\n   └─ HTTPRoute default/rest\n";
    assert!(text.ends_with(below), "{text}");
}

#[test]
fn problems_come_first_then_notes_then_vips() {
    let problem = Problem {
        place: Some("web.yaml:7".to_owned()),
        object: Some("Gateway default/web".to_owned()),
        reason: Some(Reason::PoolExhausted),
        message: "no address is free".to_owned(),
    };
    let report = StatusReport {
        problems: vec![problem, Problem::plain("claims could not be saved")],
        notes: vec![Problem::plain("kept although its pool is gone")],
        ..report(vec![vip("10.0.0.9", Vec::new())])
    };
    assert_eq!(
        render(&report, false),
        "shelf · vipgate 0.1.0\n\
         \n\
         Problems\n  \
           ✗ web.yaml:7: Gateway default/web: no address is free\n  \
           ✗ claims could not be saved\n\
         \n\
         Notes\n  \
           • kept although its pool is gone\n\
         \n\
         ✓ 10.0.0.9  announced on eth0  (Gateway default/web, pool lan)\n"
    );
}

#[test]
fn without_a_vip_it_says_so() {
    assert_eq!(
        render(&report(Vec::new()), false),
        "shelf · vipgate 0.1.0\n\nNo VIPs: no Gateway of a class of ours has an address.\n"
    );
}

#[test]
fn colour_is_for_marks_only_and_only_where_asked_for() {
    let mut report = report(vec![vip("10.0.0.9", vec![listener("web", 80)])]);
    report.problems.push(Problem::plain("broken"));
    let coloured = render(&report, true);
    assert!(coloured.contains("\x1b[31m✗\x1b[0m broken"), "{coloured}");
    assert!(coloured.contains("\x1b[32m✓\x1b[0m 10.0.0.9"), "{coloured}");
    let plain = coloured.replace("\x1b[31m", "").replace("\x1b[32m", "").replace("\x1b[0m", "");
    assert_eq!(render(&report, false), plain);
}

//! What only a process on a host tells: broken manifests, endpoints that do not answer, names that do not resolve.

use serde_json::json;
use vipgate_api::Reason;

use super::{ask, golden};
use crate::status::report::{
    BackendStatus, EndpointStatus, ListenerStatus, NodeStanding, Problem, RouteStatus,
    StatusReport, VipStatus,
};
use crate::why::cause::Cause;
use crate::why::facts::Facts;

/// The causes that have their cases here.
pub(super) const CAUSES: [Cause; 4] = [
    Cause::ManifestInvalid,
    Cause::ServicesNeedCluster,
    Cause::NameNotResolved,
    Cause::EndpointsUnreachable,
];

/// A host with one Gateway and one route, all well.
fn report() -> StatusReport {
    let condition =
        |kind: &str| json!({"type": kind, "status": "True", "reason": kind, "message": "well"});
    let parent = json!({"parentRef": {"name": "web"}, "controllerName": "vipgate.dev/gateway-controller",
        "conditions": [condition("Accepted"), condition("ResolvedRefs")]});
    let objects = vec![
        json!({"kind": "GatewayClass", "metadata": {"name": "vipgate"},
            "spec": {"controllerName": "vipgate.dev/gateway-controller"},
            "status": {"conditions": [condition("Accepted")]}}),
        json!({"kind": "Gateway", "metadata": {"name": "web", "namespace": "default"},
            "spec": {"gatewayClassName": "vipgate",
                "listeners": [{"name": "tcp", "protocol": "TCP", "port": 80}]},
            "status": {"conditions": [condition("Accepted"), condition("Programmed")],
                "listeners": [{"name": "tcp", "attachedRoutes": 1,
                    "conditions": [condition("Accepted"), condition("ResolvedRefs")]}]}}),
        json!({"kind": "TCPRoute", "metadata": {"name": "web", "namespace": "default"},
            "spec": {"parentRefs": [{"name": "web"}],
                "rules": [{"backendRefs": [{"name": "web", "port": 80}]}]},
            "status": {"parents": [parent]}}),
    ];
    let endpoint = |address: &str| EndpointStatus {
        address: address.parse().unwrap(),
        healthy: true,
        state: "ok".to_owned(),
    };
    let backend = BackendStatus {
        backend: "Service default/web:80".to_owned(),
        share: 1.0,
        unusable: None,
        endpoints: vec![endpoint("10.1.0.1:8080"), endpoint("10.1.0.2:8080")],
    };
    let route = RouteStatus {
        route: "TCPRoute default/web".to_owned(),
        hostname: None,
        backends: vec![backend],
    };
    let listener = ListenerStatus {
        name: "tcp".to_owned(),
        port: 80,
        dropped: None,
        failure: None,
        fault: None,
        accepted: 0,
        open: 0,
        reset: 0,
        routes: vec![route],
        superseded: Vec::new(),
    };
    let node = NodeStanding {
        name: "shelf".to_owned(),
        key: "shelf".to_owned(),
        owner: true,
        candidate: true,
        ..NodeStanding::default()
    };
    let vip = VipStatus {
        address: "192.0.2.200".parse().unwrap(),
        state: "announced on eth0".to_owned(),
        healthy: true,
        gateway: "Gateway default/web".to_owned(),
        pool: "lan".to_owned(),
        routers: None,
        nodes: vec![node],
        listeners: vec![listener],
        ports: Vec::new(),
        probe: None,
    };
    StatusReport { node: "shelf".to_owned(), vips: vec![vip], objects, ..StatusReport::default() }
}

fn problem(object: &str, reason: Option<Reason>, message: &str) -> Problem {
    let place = Some("web.yaml:7".to_owned());
    Problem { place, object: Some(object.to_owned()), reason, message: message.to_owned() }
}

#[track_caller]
fn first(report: StatusReport, of: &str, cause: Cause, command: &str) {
    let answer = ask(&Facts::of_process(report), of).unwrap();
    let link = answer.first_broken().unwrap_or_else(|| panic!("{answer}"));
    assert_eq!(link.cause, Some(cause), "{answer}");
    let mend = &link.mend.as_ref().unwrap().command;
    assert!(mend.contains(command), "{mend}");
}

#[test]
fn on_a_host_a_chain_that_is_whole_says_so() {
    for of in ["gateway/web", "192.0.2.200:80", "tcproute/web"] {
        let answer = ask(&Facts::of_process(report()), of).unwrap();
        assert!(answer.whole, "{answer}");
        assert!(answer.to_string().contains("nc -vz 192.0.2.200 80"), "{answer}");
    }
    golden("host.txt", &ask(&Facts::of_process(report()), "tcproute/web").unwrap().to_string());
}

#[test]
fn a_manifest_that_cannot_be_read_is_named_with_its_line() {
    let mut broken = report();
    broken.problems.push(problem("Gateway default/web", None, "spec.listener: unknown field"));
    first(broken, "gateway/web", Cause::ManifestInvalid, "edit web.yaml:7 (Gateway default/web)");
    // Never read at all.
    let mut broken = report();
    broken.problems.push(problem("Gateway default/other", None, "spec: missing"));
    first(broken, "gateway/other", Cause::ManifestInvalid, "web.yaml:7");
}

/// Nobody knows which objects it has now.
#[test]
fn a_file_that_cannot_be_read_is_noted_and_breaks_no_link() {
    let mut broken = report();
    let why = "mapping values are not allowed here; the last good version stays in use";
    broken.problems.push(Problem { object: None, ..problem("", None, why) });
    let answer = ask(&Facts::of_process(broken), "gateway/web").unwrap();
    assert!(answer.whole, "{answer}");
    let note = "• object     Gateway default/web: web.yaml:7 cannot be read (mapping values";
    assert!(answer.to_string().contains(note), "{answer}");
}

#[test]
fn a_service_has_no_vip_without_a_cluster() {
    first(report(), "service/web", Cause::ServicesNeedCluster, "vipgate why gateway/");
}

#[test]
fn a_name_that_does_not_resolve_is_told_of() {
    let mut broken = report();
    let why = "Backend default/nas: nas.example does not resolve";
    broken.problems.push(problem("TCPRoute default/web", Some(Reason::NameNotResolved), why));
    first(broken, "gateway/web", Cause::NameNotResolved, "getent ahosts");
}

#[test]
fn endpoints_that_do_not_answer_break_the_chain_when_none_does() {
    let fail = |report: &mut StatusReport, which: usize| {
        let backend = &mut report.vips[0].listeners[0].routes[0].backends[0];
        let endpoint = &mut backend.endpoints[which];
        (endpoint.healthy, endpoint.state) = (false, "connection refused, 3 in a row".to_owned());
    };
    let mut one = report();
    fail(&mut one, 0);
    let answer = ask(&Facts::of_process(one.clone()), "gateway/web").unwrap();
    assert!(answer.whole, "{answer}");
    assert!(answer.to_string().contains("• endpoint"), "{answer}");
    fail(&mut one, 1);
    first(one, "192.0.2.200:80", Cause::EndpointsUnreachable, "nc -vz 10.1.0.1 8080");
}

#[test]
fn a_class_or_parent_that_is_only_told_of_is_the_cause() {
    let mut broken = report();
    let why = "spec.gatewayClassName: there is no GatewayClass \"gone\"";
    broken.problems.push(problem("Gateway default/api", Some(Reason::Invalid), why));
    first(broken, "gateway/api", Cause::ClassNotFound, "edit web.yaml:7");
    let mut broken = report();
    let why = "parentRefs[0]: Gateway default/gone does not exist";
    broken.problems.push(problem("TCPRoute default/api", Some(Reason::NoMatchingParent), why));
    first(broken, "tcproute/api", Cause::ParentNotFound, "edit web.yaml:7");
}

/// The reason of the condition is coarse, that of the problem fine.
#[test]
fn why_there_is_no_address_is_told_beside_the_condition() {
    let mut broken = report();
    let programmed = &mut broken.objects[1]["status"]["conditions"][1];
    *programmed = json!({"type": "Programmed", "status": "False", "reason": "AddressNotAssigned",
        "message": "no address is free in pool lan"});
    broken.vips.clear();
    let why = "no address is free in pool lan";
    broken.problems.push(problem("Gateway default/web", Some(Reason::PoolExhausted), why));
    first(broken, "gateway/web", Cause::PoolExhausted, "edit web.yaml:7");
}

/// In a cluster the objects are the API server's: of a VIP a speaker can say something, of a name nothing.
#[test]
fn a_speaker_tells_of_vips_and_sends_on_who_asks_for_names() {
    let speaker = StatusReport { objects: Vec::new(), ..report() };
    let facts = Facts::of_process(speaker);
    let answer = ask(&facts, "192.0.2.200").unwrap();
    assert!(answer.whole, "{answer}");
    assert!(answer.to_string().contains("ask the cluster with --kubeconfig"), "{answer}");
    assert!(answer.to_string().contains("shelf has 192.0.2.200"), "{answer}");
    let error = ask(&facts, "gateway/web").unwrap_err();
    assert!(error.contains("a speaker knows no Gateways"), "{error}");
}

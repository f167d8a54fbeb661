//! Every cause has a world in which it is the first broken link; whole texts of some; the page of causes.

mod cases;
mod host;
mod page;
mod unread;
mod world;

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use super::cause::Cause;
use super::chain::Answer;
use super::facts::Facts;
use super::links;
use cases::{CASES, Case};
use world::World;

/// Set to write texts and the page anew instead of comparing.
const BLESS: &str = "BLESS";

fn ask(facts: &Facts, subject: &str) -> Result<Answer, String> {
    links::answer(facts, &subject.parse()?).map_err(|error| format!("{error:#}"))
}

fn answer(case: &Case) -> Answer {
    let mut world = World::new(case.yaml);
    (case.before)(&mut world);
    let facts = world.facts(case.nodes, case.last);
    ask(&facts, case.of).unwrap_or_else(|error| panic!("{:?}: {error}", case.cause))
}

/// The base alone.
fn well() -> Facts {
    World::new("").facts(|_| {}, |_| {})
}

/// Compares with a file beside the tests, or writes it.
fn golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/why/tests/golden").join(name);
    if std::env::var_os(BLESS).is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == text, "{name} is not as it was (write it with {BLESS}=1):\n{text}");
}

#[test]
fn in_each_world_the_first_broken_link_is_its_cause_and_the_command_is_for_it() {
    let mut wrong = Vec::new();
    for case in CASES {
        let answer = answer(case);
        let first = answer.first_broken();
        let cause = first.and_then(|link| link.cause);
        let command = first.and_then(|link| Some(link.mend.as_ref()?.command.as_str()));
        if cause != Some(case.cause) || !command.unwrap_or_default().contains(case.command) {
            wrong.push(format!("{:?}: {cause:?} {command:?}\n{answer}", case.cause));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn every_cause_has_a_case_and_there_are_enough() {
    let told: BTreeSet<Cause> = CASES.iter().map(|case| case.cause).chain(host::CAUSES).collect();
    let missing: Vec<&Cause> = Cause::ALL.iter().filter(|cause| !told.contains(cause)).collect();
    assert!(missing.is_empty(), "without a case: {missing:?}");
    assert!(told.len() >= 30, "{}", told.len());
}

#[test]
fn what_is_whole_says_so_and_how_to_connect() {
    let facts = well();
    for (of, connect) in [
        ("gateway/web", "nc -vz 10.0.0.100 80"),
        ("gateway/default/web:80", "nc -vz 10.0.0.100 80"),
        ("tcproute/web", "nc -vz 10.0.0.100 80"),
        ("10.0.0.100:80", "nc -vz 10.0.0.100 80"),
        ("service/dns:53", "nc -vzu 10.0.0.101 53"),
        ("10.0.0.101", "nc -vzu 10.0.0.101 53"),
    ] {
        let answer = ask(&facts, of).unwrap();
        assert!(answer.whole, "{answer}");
        let last = &answer.links.last().unwrap().text;
        assert!(last.contains(connect) && last.contains("Not seen from here"), "{of}: {last}");
    }
}

#[test]
fn texts_are_as_they_were() {
    golden("whole.txt", &ask(&well(), "10.0.0.100").unwrap().to_string());
    for (name, cause) in [
        ("no-endpoints.txt", Cause::NoEndpoints),
        ("no-subnet.txt", Cause::NoSubnet),
        ("pool-exhausted.txt", Cause::PoolExhausted),
        ("route-not-allowed.txt", Cause::RouteNotAllowed),
    ] {
        let case = CASES.iter().find(|case| case.cause == cause).unwrap();
        golden(name, &answer(case).to_string());
    }
}

#[test]
fn the_form_for_programs_is_as_it_was() {
    let json = serde_json::to_value(ask(&well(), "gateway/web").unwrap()).unwrap();
    assert_eq!((&json["schema"], &json["whole"]), (&"vipgate.dev/why/v1".into(), &true.into()));
    assert_eq!(json["ownership"][0]["owner"], "a");
    let case = CASES.iter().find(|case| case.cause == Cause::NoSubnet).unwrap();
    let json: Value = serde_json::to_value(answer(case)).unwrap();
    golden("no-subnet.json", &format!("{json:#}\n"));
}

#[test]
fn a_wrong_name_is_answered_with_those_that_there_are() {
    let facts = well();
    for (of, said) in [
        ("gateway/wbe", "Gateway default/wbe does not exist; did you mean default/web?"),
        ("gateway/infra/web", "did you mean default/web?"),
        ("gateway/nothing-like-it", "there are: default/web"),
        ("udproute/dns", "there is no UDPRoute at all"),
        ("gateway/web:81", "Gateway default/web has no port 81; it has 80"),
        ("service/dns:54", "Service default/dns has no port 54; it has 53"),
        ("10.0.0.100:81", "10.0.0.100 has no port 81; it has 80"),
        ("10.9.9.9", "10.9.9.9 is no VIP; these are: 10.0.0.100, 10.0.0.101"),
    ] {
        let error = ask(&facts, of).unwrap_err();
        assert!(error.contains(said), "{of}: {error}");
    }
}

/// One listener of two is broken: who asks for the other is not told of it.
#[test]
fn a_port_narrows_the_chain() {
    let yaml = "
kind: Gateway
metadata: {name: web, namespace: default}
spec:
  gatewayClassName: vipgate
  listeners:
  - {name: tcp, protocol: TCP, port: 80}
  - {name: odd, protocol: SCTP, port: 81}
---
kind: TCPRoute
metadata: {name: web, namespace: default}
spec:
  parentRefs: [{name: web, sectionName: tcp}]
  rules: [{backendRefs: [{name: web, port: 80}]}]
";
    let facts = World::new(yaml).facts(|_| {}, |_| {});
    let of_80 = ask(&facts, "gateway/web:80").unwrap();
    assert!(of_80.whole, "{of_80}");
    let of_81 = ask(&facts, "gateway/web:81").unwrap();
    assert_eq!(of_81.first_broken().unwrap().cause, Some(Cause::ProtocolUnsupported), "{of_81}");
    assert!(!ask(&facts, "gateway/web").unwrap().whole);
}

/// An address that nobody has, but somebody asks for, leads to who asks.
#[test]
fn an_address_that_is_asked_for_in_vain_leads_to_who_asks() {
    let case = CASES.iter().find(|case| case.cause == Cause::AddressNotInPool).unwrap();
    let facts = World::new(case.yaml).facts(|_| {}, |_| {});
    let answer = ask(&facts, "192.0.2.9").unwrap();
    assert_eq!(answer.first_broken().unwrap().cause, Some(Cause::AddressNotInPool), "{answer}");
}

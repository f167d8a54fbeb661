//! What BGPPeers, BGPAdvertisements, BFDProfiles and Communities say of themselves in a cluster: conditions
//! by the controller, and events of sessions by the speakers.

use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::Value;
use vipgate_lab::eventually;
use vipgate_lab::routers::{Make, Router, Setup};

use crate::site::{NAMESPACE, SOON, Site};

const ROUTER: &str = "10.77.0.9";
const PASSWORD: &str = "s3cret-of-the-router";

fn peer(more: &str) -> String {
    format!(
        "apiVersion: vipgate.dev/v1alpha1\nkind: BGPPeer\nmetadata: {{name: tor}}\n\
         spec: {{myASN: 65001, peerASN: 65002, peerAddress: {ROUTER}, connectTime: 1s{more}}}\n"
    )
}

fn secret(of_type: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: router, namespace: {NAMESPACE}}}\n\
         type: {of_type}\nstringData: {{password: {PASSWORD}}}\n"
    )
}

const OTHERS: &str = "apiVersion: vipgate.dev/v1alpha1\nkind: BGPAdvertisement\nmetadata: {name: all}\n\
    spec: {communities: [blue], peers: [tor, gone]}\n";
const NAMES: &str = "apiVersion: vipgate.dev/v1alpha1\nkind: Community\nmetadata: {name: names}\n\
    spec: {communities: [{name: blue, value: '65001:7'}]}\n";
const PROFILE: &str =
    "apiVersion: vipgate.dev/v1alpha1\nkind: BFDProfile\nmetadata: {name: fast}\nspec: {}\n";

/// A condition as a whole.
fn condition(object: &Value, kind: &str) -> Value {
    let all = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
    all.into_iter().find(|one| one["type"] == kind).unwrap_or_default()
}

fn message(object: &Value, kind: &str) -> String {
    condition(object, kind)["message"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn conditions_name_what_is_missing_until_it_is_there() {
    let site = Site::new("bgp-said");
    site.has_node("worker");
    let mut one = site.controller("one");
    one.wait_for_line("leads", SOON).unwrap();
    let _speaker = site.speaker();
    let refs = ", bfdProfile: fast, passwordSecret: {name: router, namespace: vipgate-system}";
    site.apply(&[&peer(refs), OTHERS].join("---\n"));
    let resolved =
        |kind: &str, name: &str, is: &str| site.condition(kind, name, "ResolvedRefs", is);
    let tor = resolved("bgppeer", "tor", "False/BfdProfileNotFound");
    assert_eq!(condition(&tor, "Accepted")["status"], "True");
    assert!(message(&tor, "ResolvedRefs").contains("there is no BFDProfile fast: create it"));
    let all = resolved("bgpadvertisement", "all", "False/CommunityNotFound");
    let words = message(&all, "ResolvedRefs");
    assert!(words.contains("\"blue\"") && words.contains("it announces nothing"), "{words}");

    site.apply(&[PROFILE, NAMES].join("---\n"));
    site.condition("bfdprofile", "fast", "Accepted", "True/Accepted");
    site.condition("community", "names", "Accepted", "True/Accepted");
    let all = resolved("bgpadvertisement", "all", "False/PeerNotFound");
    assert!(message(&all, "ResolvedRefs").contains("spec.peers[1]: there is no BGPPeer gone"));
    let missing = resolved("bgppeer", "tor", "False/InvalidPassword");
    assert!(message(&missing, "ResolvedRefs").starts_with("on node worker: spec.passwordSecret"));
    // Of another type it is not the one.
    site.apply(&secret("Opaque"));
    std::thread::sleep(Duration::from_secs(3));
    let still = resolved("bgppeer", "tor", "False/InvalidPassword");
    let since = |object: &Value| condition(object, "ResolvedRefs")["lastTransitionTime"].clone();
    assert_eq!(since(&still), since(&missing));
    site.cluster.kubectl(["delete", "secret", "router", "--namespace", NAMESPACE]).unwrap();
    site.apply(&secret("kubernetes.io/basic-auth"));
    let tor = resolved("bgppeer", "tor", "True/ResolvedRefs");
    assert_ne!(since(&tor), since(&missing));
    assert!(!tor.to_string().contains(PASSWORD), "{tor:#}");

    // Another state of the object is told of as such, and what is the same keeps its time.
    site.apply(&peer(&format!("{refs}, holdTime: 9s")));
    let later = eventually(SOON, || {
        let later = site.get("bgppeer", "tor")?;
        let observed = &condition(&later, "ResolvedRefs")["observedGeneration"];
        ensure!(*observed == later["metadata"]["generation"] && *observed == 2, "{later:#}");
        Ok(later)
    })
    .unwrap();
    let accepted = |object: &Value| condition(object, "Accepted")["lastTransitionTime"].clone();
    assert_eq!(accepted(&later), accepted(&tor));
    resolved("bgppeer", "tor", "True/ResolvedRefs");
    let shown = site.cluster.kubectl(["get", "bgppeers", "tor"]).unwrap();
    let (head, line) = shown.trim_end().split_once('\n').unwrap();
    for (column, value) in
        [("ADDRESS", ROUTER), ("ASN", "65002"), ("ACCEPTED", "True"), ("RESOLVED", "True")]
    {
        assert!(head.contains(column) && line.contains(value), "{shown}");
    }

    // Nothing is written when nothing has changed, nor by who leads next.
    let versions = || -> Vec<Value> {
        let objects = [("bgppeer", "tor"), ("bgpadvertisement", "all"), ("bfdprofile", "fast")];
        let version =
            |(kind, name)| site.get(kind, name).unwrap()["metadata"]["resourceVersion"].clone();
        objects.into_iter().chain([("community", "names")]).map(version).collect()
    };
    let before = eventually(SOON, || {
        let before = versions();
        std::thread::sleep(Duration::from_secs(2));
        ensure!(versions() == before, "it is not quiet yet");
        Ok(before)
    })
    .unwrap();
    let two = site.controller("two");
    two.wait_for_line("stands by", SOON).unwrap();
    one.terminate(SOON).unwrap();
    two.wait_for_line("leads", SOON).unwrap();
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(versions(), before);
    // And it goes on.
    site.cluster.kubectl(["delete", "bfdprofile", "fast"]).unwrap();
    resolved("bgppeer", "tor", "False/BfdProfileNotFound");
}

/// How often each event of a session was told, by its text.
fn told(site: &Site) -> anyhow::Result<Vec<(String, u64)>> {
    let events = site.cluster.get(["events.events.k8s.io", "--all-namespaces"])?;
    let events = events["items"].as_array().context("a list")?.clone();
    let ours = events.iter().filter(|event| event["reportingController"] == "vipgate.dev/speaker");
    Ok(ours
        .map(|event| {
            let text = |field: &str| event[field].as_str().unwrap_or_default();
            let words = format!("{} {} {}", text("type"), text("reason"), text("note"));
            (words, event["series"]["count"].as_u64().unwrap_or(1))
        })
        .collect())
}

fn tells(site: &Site, parts: &[&str], within: Duration) {
    eventually(within, || {
        let told = told(site)?;
        let has = |words: &str| parts.iter().all(|part| words.contains(part));
        ensure!(told.iter().any(|(words, _)| has(words)), "{parts:?}: {told:#?}");
        Ok(())
    })
    .unwrap();
}

#[test]
fn events_tell_when_a_session_comes_and_goes_and_not_each_time_that_it_flaps() {
    let site = Site::new("bgp-events");
    let machine = site.lab.node("router").unwrap();
    let _on_router = machine.join(&site.lan, &format!("{ROUTER}/24")).unwrap();
    site.has_node("worker");
    let speaker = site.speaker();
    site.apply(&peer(""));
    let refused = format!("no BGP session: no connection: {ROUTER}:179 refuses the connection");
    tells(&site, &["Warning NoSession node worker", &refused], SOON);
    // In the words of the log.
    speaker.wait_for_line(&refused, SOON).unwrap();

    let setup = Setup::new(ROUTER, "10.77.0.2");
    let router = Router::start(Make::Frr, &machine, &setup).unwrap();
    let established = format!("BGP session established with {ROUTER}:179, AS 65002");
    tells(&site, &["Normal SessionEstablished node worker", &established], SOON * 2);
    let described = site.cluster.kubectl(["describe", "bgppeer", "tor"]).unwrap();
    assert!(described.contains(&established), "{described}");

    for _ in 0..12 {
        let _nothing = router.ask("clear bgp *");
        std::thread::sleep(Duration::from_millis(2500));
    }
    let times: u64 = told(&site).unwrap().iter().map(|(_, times)| times).sum();
    let output = speaker.output();
    let log = output.stdout_text() + &output.stderr_text();
    let lost = log.matches("no BGP session: ").count();
    println!("{lost} times ended, {times} events");
    assert!(lost >= 8, "it did not flap");
    // Six a minute, and the test has hardly begun.
    assert!((4..=12).contains(&times), "{:#?}", told(&site).unwrap());
    // In the end it is told how it stands.
    router.kill();
    let parts = ["Warning NoSession node worker", "not told)"];
    tells(&site, &parts, Duration::from_secs(90));
}

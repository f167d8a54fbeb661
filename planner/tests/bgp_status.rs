//! What a controller says of BGPPeers, BGPAdvertisements, BFDProfiles and Communities.

#![allow(missing_docs, reason = "a test has no public items")]

mod support;

use serde_json::{Value, json};
use vipgate_api::{Kind, ObjectKey, ObjectRef};
use vipgate_planner::{NodeReport, Plan, Planner, Role};

fn object(kind: &str, name: &str, generation: i64, spec: &Value) -> Value {
    let metadata = json!({"name": name, "namespace": "lab", "generation": generation, "uid": name});
    json!({"kind": kind, "metadata": metadata, "spec": spec})
}

fn peer(generation: i64, more: &Value) -> Value {
    let mut spec = json!({"myASN": 65001, "peerASN": 65002, "peerAddress": "10.9.0.1"});
    for (field, value) in more.as_object().expect("fields") {
        spec[field] = value.clone();
    }
    object("BGPPeer", "tor", generation, &spec)
}

fn apply(planner: &mut Planner, object: Value) {
    let age = vipgate_api::Age { created: None, place: (object["kind"].to_string(), 0) };
    planner.apply(support::object(object).expect("an object"), age);
}

/// `Accepted=True/Accepted ResolvedRefs=False/PeerNotFound`, and all messages.
fn said(planner: &mut Planner, kind: Kind, name: &str) -> (String, String) {
    let object = ObjectRef::new(kind, ObjectKey::new("lab", name));
    let statuses = planner.run().statuses;
    let conditions = &statuses.bgp[&object].conditions;
    let short = conditions.iter().map(|one| format!("{}={}/{}", one.kind, one.status, one.reason));
    let words: Vec<&str> = conditions.iter().map(|one| one.message.as_str()).collect();
    (short.collect::<Vec<_>>().join(" "), words.join("\n"))
}

/// What a node says of the BGPPeer, in the form in which it reaches a controller.
fn report(state: &str, reason: Option<(&str, &str)>, generation: i64) -> NodeReport {
    let mut status = json!({
        "plan": [{"kind": "BGPPeer", "namespace": "lab", "name": "tor", "generation": generation, "uid": "tor"}],
        "peers": [{"peer": "lab/tor", "state": state, "since": "2026-01-01T00:00:00Z", "lastError": "refused"}],
    });
    if let Some((reason, words)) = reason {
        status["peers"][0]["reason"] = reason.into();
        status["peers"][0]["lastError"] = words.into();
    }
    let status = serde_json::from_value(status).expect("a status");
    NodeReport::from_speaker(&status, &Plan::default())
}

const DUPLICATE: (&str, &str) = ("DuplicatePeer", "BGPPeer lab/older is there");

#[test]
fn a_peer_says_what_is_wrong_with_it_and_with_what_it_names() {
    let mut planner = Planner::in_role(Role::Controller);
    apply(&mut planner, peer(1, &json!({})));
    let (short, _) = said(&mut planner, Kind::BgpPeer, "tor");
    assert_eq!(short, "Accepted=True/Accepted ResolvedRefs=True/ResolvedRefs");

    apply(&mut planner, peer(2, &json!({"holdTime": "2s"})));
    let (short, words) = said(&mut planner, Kind::BgpPeer, "tor");
    assert_eq!(short, "Accepted=False/Invalid");
    assert!(words.contains("spec.holdTime: is too short: write"), "{words}");

    apply(&mut planner, peer(3, &json!({"bfdProfile": "fast"})));
    let (short, words) = said(&mut planner, Kind::BgpPeer, "tor");
    assert_eq!(short, "Accepted=True/Accepted ResolvedRefs=False/BfdProfileNotFound");
    assert!(words.contains("there is no BFDProfile fast: create it"), "{words}");
    apply(&mut planner, object("BFDProfile", "fast", 1, &json!({"detectMultiplier": 1})));
    let (short, _) = said(&mut planner, Kind::BgpPeer, "tor");
    assert_eq!(short, "Accepted=True/Accepted ResolvedRefs=False/InvalidBfdProfile");
    let (short, words) = said(&mut planner, Kind::BfdProfile, "fast");
    assert_eq!(short, "Accepted=False/Invalid");
    assert!(words.contains("spec.detectMultiplier: must be a number from 2"), "{words}");
    apply(&mut planner, object("BFDProfile", "fast", 2, &json!({})));
    assert_eq!(said(&mut planner, Kind::BfdProfile, "fast").0, "Accepted=True/Accepted");
    let (short, _) = said(&mut planner, Kind::BgpPeer, "tor");
    assert_eq!(short, "Accepted=True/Accepted ResolvedRefs=True/ResolvedRefs");
}

/// RFC 5881 section 4, RFC 5883 section 3: the session runs, and what it lacks is said.
#[test]
fn a_peer_without_the_echo_that_it_asks_for_says_so() {
    let mut planner = Planner::in_role(Role::Controller);
    apply(&mut planner, object("BFDProfile", "echo", 1, &json!({"echoMode": true})));
    let well = "Accepted=True/Accepted ResolvedRefs=True/ResolvedRefs";
    let router = json!({"bfdProfile": "echo"});
    apply(&mut planner, peer(1, &router));
    assert_eq!(said(&mut planner, Kind::BgpPeer, "tor").0, well);
    for (more, why) in [
        (json!({"peerAddress": "fd09::1"}), "this router has an IPv6 address"),
        (json!({"peerAddress": null, "interface": "eth0"}), "IPv6 link-local address"),
        (json!({"ebgpMultiHop": true}), "may be behind others (ebgpMultiHop)"),
    ] {
        let mut spec = more.clone();
        spec["bfdProfile"] = "echo".into();
        apply(&mut planner, peer(2, &spec));
        let (short, words) = said(&mut planner, Kind::BgpPeer, "tor");
        assert_eq!(short, format!("{well} PartiallyInvalid=True/EchoNotPossible"), "{more}");
        assert!(words.contains("echoMode is IPv4 single-hop only (RFC 5881"), "{words}");
        assert!(words.contains(why), "{words}");
    }
    apply(&mut planner, object("BFDProfile", "echo", 2, &json!({})));
    assert_eq!(said(&mut planner, Kind::BgpPeer, "tor").0, well);
}

#[test]
fn a_password_is_told_of_by_nodes_that_saw_the_present_state() {
    let mut planner = Planner::in_role(Role::Controller);
    apply(&mut planner, peer(4, &json!({"passwordSecret": {"name": "router"}})));
    let unknown = "Accepted=True/Accepted ResolvedRefs=Unknown/Pending";
    assert_eq!(said(&mut planner, Kind::BgpPeer, "tor").0, unknown);

    let missing = ("InvalidPassword", "spec.passwordSecret: there is no Secret lab/router");
    let reports = |planner: &mut Planner, all: &[NodeReport]| {
        let names = ["n1", "n2", "n3"].map(str::to_owned);
        planner.set_reports(names.into_iter().zip(all.iter().cloned()).collect());
        said(planner, Kind::BgpPeer, "tor")
    };
    // What is said of an older state is not said of this one.
    let (short, _) = reports(&mut planner, &[report("Idle", Some(missing), 3)]);
    assert_eq!(short, unknown);
    let both = [report("Idle", Some(missing), 4), report("Idle", Some(missing), 4)];
    let (short, words) = reports(&mut planner, &both);
    assert_eq!(short, "Accepted=True/Accepted ResolvedRefs=False/InvalidPassword");
    assert!(words.ends_with("on node n1: spec.passwordSecret: there is no Secret lab/router"));
    // Whether the router answers is another matter.
    let (short, _) = reports(&mut planner, &[report("Connect", None, 4)]);
    assert_eq!(short, "Accepted=True/Accepted ResolvedRefs=True/ResolvedRefs");

    // The second BGPPeer for a router: nowhere, or not on some nodes.
    let (short, words) = reports(&mut planner, &[report("Idle", Some(DUPLICATE), 4)]);
    assert_eq!(short, "Accepted=False/DuplicatePeer ResolvedRefs=True/ResolvedRefs");
    assert!(words.starts_with("on node n1: BGPPeer lab/older is there"), "{words}");
    let some = [report("Established", None, 4), report("Idle", Some(DUPLICATE), 4)];
    let (short, words) = reports(&mut planner, &some);
    let partly = "ResolvedRefs=True/ResolvedRefs PartiallyInvalid=True/DuplicatePeer";
    assert_eq!(short, format!("Accepted=True/Accepted {partly}"));
    assert!(words.ends_with("on node n2: BGPPeer lab/older is there"), "{words}");
}

#[test]
fn an_advertisement_names_all_that_is_missing_and_not_more_than_a_message_holds() {
    let mut planner = Planner::in_role(Role::Controller);
    let spec = json!({"communities": ["blue"], "ipAddressPools": ["lan"], "peers": ["tor"]});
    apply(&mut planner, object("BGPAdvertisement", "all", 1, &spec));
    let (short, words) = said(&mut planner, Kind::BgpAdvertisement, "all");
    assert_eq!(short, "Accepted=True/Accepted ResolvedRefs=False/CommunityNotFound");
    assert!(
        words.contains("no Community has the name \"blue\"") && words.contains("lan"),
        "{words}"
    );

    let named = json!({"communities": [{"name": "blue", "value": "65001:7"}]});
    apply(&mut planner, object("Community", "names", 1, &named));
    let (short, words) = said(&mut planner, Kind::BgpAdvertisement, "all");
    assert_eq!(short, "Accepted=True/Accepted ResolvedRefs=False/PeerNotFound");
    assert!(words.contains("spec.peers[0]: there is no BGPPeer tor: create it"), "{words}");
    apply(&mut planner, peer(1, &json!({})));
    let (short, _) = said(&mut planner, Kind::BgpAdvertisement, "all");
    assert_eq!(short, "Accepted=True/Accepted ResolvedRefs=False/PoolNotFound");
    let pool = json!({"addresses": ["10.0.0.100-10.0.0.109"]});
    apply(&mut planner, object("IPAddressPool", "lan", 1, &pool));
    let (short, _) = said(&mut planner, Kind::BgpAdvertisement, "all");
    assert_eq!(short, "Accepted=True/Accepted ResolvedRefs=True/ResolvedRefs");

    let many: Vec<String> = (0..256).map(|n| format!("{n:0250}")).collect();
    apply(&mut planner, object("BGPAdvertisement", "all", 2, &json!({"peers": many})));
    let (_, words) = said(&mut planner, Kind::BgpAdvertisement, "all");
    assert!(words.ends_with("; and 250 more") && words.len() < 32_768, "{}", words.len());
}

#[test]
fn a_name_that_is_no_good_harms_only_itself() {
    let mut planner = Planner::in_role(Role::Controller);
    let names = |value: &str| json!({"communities": [{"name": "blue", "value": value}, {"name": "no-export", "value": "1:2"}]});
    apply(&mut planner, object("Community", "names", 1, &names("65001:7")));
    let (short, words) = said(&mut planner, Kind::Community, "names");
    assert_eq!(short, "Accepted=True/Accepted PartiallyInvalid=True/Invalid");
    assert!(words.contains("no-export is") && words.contains("write another name"), "{words}");
    apply(&mut planner, object("Community", "names", 2, &names("blue")));
    assert_eq!(said(&mut planner, Kind::Community, "names").0, "Accepted=False/Invalid");
    let good = json!({"communities": [{"name": "blue", "value": "65001:7"}]});
    apply(&mut planner, object("Community", "names", 3, &good));
    assert_eq!(said(&mut planner, Kind::Community, "names").0, "Accepted=True/Accepted");
}

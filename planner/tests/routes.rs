//! What routers are told of a VIP, and from which nodes: BGPAdvertisements by pool, user, node and peer;
//! endpoints; and both protocols at once.

#![allow(missing_docs, reason = "a test has no public items")]

mod support;

use std::collections::BTreeSet;

use serde_json::{Value, json};
use support::site::{Site, labelled, local, rack};
use vipgate_api::selector::Labels;
use vipgate_planner::bgp::{PeerAs, Route};

const V6: &str = "2001:db8::100";

/// The nodes with one router that all speak with, and a Service.
fn site() -> Site {
    let mut site = Site::new();
    site.service("web", &json!({})).peer("tor", "10.9.0.1", &json!({})).bgp("all", &json!({}));
    site
}

/// `10.0.0.100/32 100 [65001:100] -> tor`, with a local preference and communities where there are some.
fn shown(route: &Route) -> String {
    let mut text = route.prefix.to_string();
    if let Some(preference) = route.local_pref {
        text += &format!(" {preference}");
    }
    let standard = route.communities.iter().map(|c| format!("{}:{}", c >> 16, c & 0xffff));
    let large = route.large_communities.iter().map(|[a, b, c]| format!("{a}:{b}:{c}"));
    let communities: Vec<String> = standard.chain(large).collect();
    if !communities.is_empty() {
        text += &format!(" [{}]", communities.join(" "));
    }
    let peers: Vec<&str> = route.peers.iter().map(|peer| peer.name.as_str()).collect();
    format!("{text} -> {}", peers.join(","))
}

fn routes(site: &Site, node: &str) -> Vec<String> {
    site.vip(node).routes.iter().map(shown).collect()
}

fn app(app: &str) -> Value {
    json!([{"matchLabels": {"app": app}}])
}

fn labels(rack: &str) -> Labels {
    Labels::from([("rack".to_owned(), rack.to_owned())])
}

/// MetalLB: "ETP=cluster works: IPV4", "ETP=cluster works: IPV6", "dual via both v4 and v6 peers".
#[test]
fn a_vip_of_a_pool_that_bgp_selects_is_announced_by_every_node_and_not_by_arp() {
    let mut site = site();
    assert_eq!(site.tells(), "n1:tor n2:tor n3:tor");
    assert_eq!(routes(&site, "n2"), ["10.0.0.100/32 -> tor"]);
    assert!(!site.vip("n2").probe, "nobody on the LAN has it");
    // A Gateway likewise, from every node; and both families over a session of either.
    site.gateway("web", &json!({})).peer("six", "2001:db8::1", &json!({}));
    assert_eq!(routes(&site, "n2"), ["10.0.0.100/32 -> six,tor"]);
    site.address = V6.parse().expect("an address");
    assert_eq!(routes(&site, "n3"), ["2001:db8::100/128 -> six,tor"]);
    // Without any advertisement it is the LAN's.
    site.address = "10.0.0.100".parse().expect("an address");
    site.remove("BGPAdvertisement", "all");
    assert_eq!(site.tells(), "n1:arp n2:arp n3:arp");
}

/// MetalLB: "ETP=local works: IPV4".
#[test]
fn with_the_policy_local_only_nodes_with_a_ready_endpoint_announce() {
    let mut site = site();
    site.service("web", &local()).endpoints("web", &[("n1", true), ("n3", true)]);
    assert_eq!(site.tells(), "n1:tor n2:NoLocalEndpoint n3:tor");
    site.endpoints("web", &[("n1", false), ("n3", true)]);
    assert_eq!(site.tells(), "n1:NoLocalEndpoint n2:NoLocalEndpoint n3:tor");
}

/// MetalLB: "should not be announced from a node with a NetworkUnavailable condition (ETP cluster)".
#[test]
fn a_node_that_gives_way_leaves_it_to_others_while_there_are_any() {
    let mut site = site();
    site.nodes[0].2 = true;
    assert_eq!(site.tells(), "n1:(tor) n2:tor n3:tor");
    // The others have no endpoint: it goes on.
    site.service("web", &local()).endpoints("web", &[("n1", true)]);
    assert_eq!(site.tells(), "n1:tor n2:NoLocalEndpoint n3:NoLocalEndpoint");
    // Or no router.
    site.service("web", &json!({"spec": {"externalTrafficPolicy": "Cluster"}}));
    site.peer("tor", "10.9.0.1", &json!({"nodeSelectors": [rack("a")]}));
    site.nodes[1].2 = true;
    assert_eq!(site.tells(), "n1:tor n2:tor n3:NoPeer", "n3 cannot have it, so nobody can take it");
    site.nodes[1].2 = false;
    assert_eq!(site.tells(), "n1:(tor) n2:tor n3:NoPeer");
}

#[test]
fn a_vip_without_backends_is_withdrawn_only_when_that_is_asked_for() {
    let mut site = site();
    let withdraw = json!({"metadata": {"annotations": {"vipgate.dev/no-backends": "Withdraw"}}});
    assert_eq!(site.tells(), "n1:tor n2:tor n3:tor");
    site.service("web", &withdraw);
    assert_eq!(site.tells(), "n1:NoBackend n2:NoBackend n3:NoBackend");
    site.endpoints("web", &[("n1", true)]);
    assert_eq!(site.tells(), "n1:tor n2:tor n3:tor");
}

/// MetalLB: "overlapping (shared) IPs".
#[test]
fn a_shared_vip_is_announced_by_the_nodes_that_all_who_have_it_have_in_common() {
    let mut site = site();
    site.service("web", &local()).endpoints("web", &[("n1", true), ("n2", true)]);
    site.service("dns", &local()).endpoints("dns", &[("n2", true), ("n3", true)]);
    assert_eq!(site.tells(), "n1:NoLocalEndpoint n2:tor n3:NoLocalEndpoint");
    assert_eq!(site.vip("n2").compromise, None);
    site.endpoints("dns", &[("n3", true)]);
    assert_eq!(site.tells(), "n1:tor n2:tor n3:NoLocalEndpoint", "the oldest decides");
    assert!(site.vip("n1").compromise.is_some());
}

/// MetalLB: "two protocols (L2 + BGP) at once".
#[test]
fn both_protocols_at_once_are_for_the_nodes_of_each() {
    let mut site = site();
    site.advertisement("lan", &json!({"nodeSelectors": [rack("a")]}));
    site.bgp(
        "all",
        &json!({"nodeSelectors": [{"matchExpressions": [
        {"key": "kubernetes.io/hostname", "operator": "DoesNotExist"}]}]}),
    );
    assert_eq!(site.tells(), "n1:arp+tor n2:arp+tor n3:tor");
    site.bgp("all", &json!({"nodeSelectors": [rack("b")]}));
    assert_eq!(site.tells(), "n1:arp n2:arp n3:tor");
    site.bgp("all", &json!({"ipAddressPools": ["dmz"]}));
    assert_eq!(site.tells(), "n1:arp n2:arp n3:NodeNotSelected");
}

/// MetalLB: "node labeling moves it", "updating one nodeSelector withdraws without affecting the other",
/// "one service two advertisements".
#[test]
fn nodes_are_selected_and_several_advertisements_add_up() {
    let mut site = site();
    site.bgp("all", &json!({"nodeSelectors": [rack("a")]}));
    assert_eq!(site.tells(), "n1:tor n2:tor n3:NodeNotSelected");
    site.nodes[1].1 = labels("b");
    assert_eq!(site.tells(), "n1:tor n2:NodeNotSelected n3:NodeNotSelected");
    let blue = json!({"nodeSelectors": [rack("b")], "communities": ["65001:1"]});
    site.bgp("blue", &blue);
    assert_eq!(site.tells(), "n1:tor n2:tor n3:tor");
    assert_eq!(routes(&site, "n1"), ["10.0.0.100/32 -> tor"]);
    assert_eq!(routes(&site, "n3"), ["10.0.0.100/32 [65001:1] -> tor"]);
    site.bgp("blue", &json!({"nodeSelectors": [rack("z")], "communities": ["65001:1"]}));
    assert_eq!(site.tells(), "n1:tor n2:NodeNotSelected n3:NodeNotSelected");
}

/// MetalLB: "two services two advertisements distinct nodes".
#[test]
fn each_service_is_announced_by_the_nodes_of_its_own_advertisement() {
    let mut site = Site::new();
    site.peer("tor", "10.9.0.1", &json!({}));
    let of = |name: &str, label: &str| json!({"serviceSelectors": app(name), "nodeSelectors": [rack(label)]});
    site.bgp("one", &of("web", "a")).bgp("two", &of("dns", "b"));
    site.service("web", &labelled("web"));
    assert_eq!(site.tells(), "n1:tor n2:tor n3:NodeNotSelected");
    site.service("web", &labelled("dns"));
    assert_eq!(site.tells(), "n1:NodeNotSelected n2:NodeNotSelected n3:tor");
}

/// MetalLB: "peer selector limits nodes", "different MyASN per node".
#[test]
fn a_node_without_a_session_announces_nothing() {
    let mut site = site();
    site.peer("tor", "10.9.0.1", &json!({"nodeSelectors": [rack("a")]}));
    assert_eq!(site.tells(), "n1:tor n2:tor n3:NoPeer");
    // The same router, and another AS number there.
    site.peer("tor-b", "10.9.0.1", &json!({"nodeSelectors": [rack("b")], "myASN": 65011}));
    assert_eq!(site.tells(), "n1:tor n2:tor n3:tor-b");
    let peers = site.outcome("n3").plan.peers.clone();
    assert_eq!(peers.values().map(|peer| peer.asn).collect::<Vec<_>>(), [65011]);
}

/// MetalLB: "IP not advertised to peers outside the list", "one service via two advertisements to two
/// peers", "peers added one by one".
#[test]
fn advertisements_are_for_the_peers_that_they_name() {
    let mut site = site();
    site.peer("spine", "10.9.0.2", &json!({}));
    assert_eq!(routes(&site, "n1"), ["10.0.0.100/32 -> spine,tor"]);
    site.bgp("all", &json!({"peers": ["tor"]}));
    assert_eq!(routes(&site, "n1"), ["10.0.0.100/32 -> tor"]);
    site.bgp("more", &json!({"peers": ["spine"], "localPref": 200}));
    assert_eq!(routes(&site, "n1"), ["10.0.0.100/32 -> tor", "10.0.0.100/32 200 -> spine"]);
    // What is said alike is one route.
    site.bgp("more", &json!({"peers": ["spine"]}));
    assert_eq!(routes(&site, "n1"), ["10.0.0.100/32 -> spine,tor"]);
}

/// MetalLB: "pool and service selectors together", "multiple selectors", "propagation by updating Service
/// labels", "propagation by updating adv".
#[test]
fn services_and_gateways_are_selected_by_label() {
    let mut site = site();
    site.service("web", &labelled("web"));
    site.bgp("all", &json!({"ipAddressPools": ["lan"], "serviceSelectors": app("web")}));
    assert_eq!(site.tells(), "n1:tor n2:tor n3:tor");
    site.service("web", &labelled("dns"));
    assert_eq!(site.tells(), "n1:NoAdvertisement n2:NoAdvertisement n3:NoAdvertisement");
    let both = json!([app("web")[0], app("dns")[0]]);
    site.bgp("all", &json!({"serviceSelectors": both}));
    assert_eq!(site.tells(), "n1:tor n2:tor n3:tor");

    // Where Services are selected, Gateways are taken only if they are selected too.
    let mut site = Site::new();
    site.gateway("web", &labelled("web")).peer("tor", "10.9.0.1", &json!({}));
    site.bgp("all", &json!({"serviceSelectors": app("web")}));
    assert_eq!(site.tells(), "n1:NoAdvertisement n2:NoAdvertisement n3:NoAdvertisement");
    site.bgp("all", &json!({"serviceSelectors": app("no"), "gatewaySelectors": app("web")}));
    assert_eq!(site.tells(), "n1:tor n2:tor n3:tor");
}

/// MetalLB: "overlapping advs: selected gets all communities, staged gets shared only",
/// "overlapping BGPAdvertisements union communities for the same prefix".
#[test]
fn one_prefix_is_told_with_what_each_of_its_advertisements_says() {
    let mut site = site();
    site.bgp("all", &json!({"communities": ["65001:1"]}));
    site.bgp("web", &json!({"serviceSelectors": app("web"), "communities": ["65001:2"]}));
    site.service("web", &labelled("staged"));
    assert_eq!(routes(&site, "n1"), ["10.0.0.100/32 [65001:1] -> tor"]);
    site.service("web", &labelled("web"));
    // A session makes one of both (`speaker/src/bgp/rib`).
    let both = ["10.0.0.100/32 [65001:1] -> tor", "10.0.0.100/32 [65001:2] -> tor"];
    assert_eq!(routes(&site, "n1"), both);
}

/// MetalLB: "advertisement propagation: community+localpref", "large community+localpref", "community from
/// CRD", "ip pool selector", "updates of communities, localpref and aggregation length".
#[test]
fn attributes_are_as_the_advertisement_says() {
    let mut site = site();
    let names =
        json!([{"name": "blue", "value": "65001:7"}, {"name": "big", "value": "large:1:2:3"}]);
    site.add(json!({"kind": "Community", "metadata": {"name": "names", "namespace": "default"},
        "spec": {"communities": names}}));
    let communities = json!(["65001:100", "large:64500:1:2", "no-export", "blue", "big"]);
    let mut spec = json!({"communities": communities, "localPref": 0});
    site.bgp("all", &spec);
    let all = "10.0.0.100/32 0 [65001:7 65001:100 65535:65281 1:2:3 64500:1:2] -> tor";
    assert_eq!(routes(&site, "n1"), [all]);
    spec["aggregationLength"] = 24.into();
    spec["aggregationLengthV6"] = 124.into();
    spec["communities"] = json!([]);
    site.bgp("all", &spec);
    assert_eq!(routes(&site, "n1"), ["10.0.0.0/24 0 -> tor"]);
    site.address = V6.parse().expect("an address");
    assert_eq!(routes(&site, "n1"), ["2001:db8::100/124 0 -> tor"]);
    // A pool by label, which this one has not.
    site.bgp("all", &json!({"ipAddressPoolSelectors": [{"matchLabels": {"tier": "front"}}]}));
    assert_eq!(routes(&site, "n1"), [""; 0]);
}

/// MetalLB: "split aggregation lengths".
#[test]
fn a_vip_may_be_told_as_a_whole_and_within_a_prefix() {
    let mut site = site();
    site.bgp("all", &json!({"aggregationLength": 24, "communities": ["no-export"]}));
    site.bgp("one", &json!({"aggregationLength": 32}));
    let both = ["10.0.0.0/24 [65535:65281] -> tor", "10.0.0.100/32 -> tor"];
    assert_eq!(routes(&site, "n1"), both);
}

/// What is wrong with objects, as a node says it: `Kind name: Reason`.
fn problems(site: &Site, node: &str) -> Vec<String> {
    let outcome = site.outcome(node);
    let problems = outcome.statuses.problems.iter();
    problems
        .map(|one| format!("{} {}: {}", one.object.kind, one.object.key.name, one.reason))
        .collect()
}

/// MetalLB: "BFD profile missing", "self-heals".
#[test]
fn a_peer_whose_bfd_profile_is_missing_has_no_session_and_harms_no_other() {
    let mut site = site();
    site.peer("spine", "10.9.0.2", &json!({"bfdProfile": "fast"}));
    assert_eq!(problems(&site, "n1"), ["BGPPeer spine: BfdProfileNotFound"]);
    assert_eq!(site.tells(), "n1:tor n2:tor n3:tor");
    let held = site.outcome("n1").plan.held_back.clone();
    let why: Vec<&str> = held.values().map(|why| why.message.as_str()).collect();
    assert!(why.len() == 1 && why[0].contains("there is no BFDProfile fast"), "{why:?}");
    let profile = |spec: Value| json!({"kind": "BFDProfile", "metadata": {"name": "fast", "namespace": "default"}, "spec": spec});
    site.add(profile(json!({"detectMultiplier": 1})));
    assert_eq!(
        problems(&site, "n1"),
        ["BGPPeer spine: InvalidBfdProfile", "BFDProfile fast: Invalid"]
    );
    site.add(profile(json!({"receiveInterval": 100, "detectMultiplier": 5, "echoInterval": 20})));
    assert_eq!(problems(&site, "n1"), [""; 0]);
    let plan = site.outcome("n1").plan;
    assert!(plan.held_back.is_empty());
    let bfd = plan.peers.values().find_map(|peer| peer.bfd).expect("it has one");
    assert_eq!((bfd.receive_interval.as_millis(), bfd.transmit_interval.as_millis()), (100, 300));
    assert_eq!((bfd.multiplier, bfd.minimum_ttl, bfd.passive), (5, 254, false));
    assert_eq!(bfd.echo, None, "without echoMode the interval is nothing");
    site.add(profile(json!({"echoMode": true})));
    let bfd = site.outcome("n1").plan.peers.values().find_map(|peer| peer.bfd).expect("it has one");
    assert_eq!(bfd.echo.map(|interval| interval.as_millis()), Some(50));
    assert_eq!(site.tells(), "n1:spine,tor n2:spine,tor n3:spine,tor");
}

/// MetalLB: "secret with wrong type -> invalid on that speaker only", "node-specific results".
#[test]
fn a_peer_whose_password_cannot_be_used_has_no_session_on_its_nodes() {
    let mut site = site();
    let spec = json!({"passwordSecret": {"name": "router"}, "nodeSelectors": [rack("a")]});
    site.peer("spine", "10.9.0.2", &spec);
    assert_eq!(problems(&site, "n1"), ["BGPPeer spine: InvalidPassword"]);
    assert_eq!(problems(&site, "n3"), [""; 0], "it is not the peer of this node");
    let secret = |kind: &str, field: &str, text: &str| {
        let metadata = json!({"name": "router", "namespace": "vipgate-system"});
        json!({"kind": "Secret", "metadata": metadata, "type": kind, "data": {field: text}})
    };
    let basic = "kubernetes.io/basic-auth";
    let long = "YWFh".repeat(27);
    for (kind, field, text, says) in [
        ("Opaque", "password", "cw==", "there is no Secret vipgate-system/router of type"),
        (basic, "key", "cw==", "data has no password"),
        (basic, "password", "", "is empty"),
        (basic, "password", "cwo=", "ends with a line break"),
        (basic, "password", &long, "has 81 bytes"),
    ] {
        site.add(secret(kind, field, text));
        let problem = site.outcome("n1").statuses.problems[0].clone();
        assert!(problem.message.contains(says), "{says}: {problem:?}");
    }
    site.add(secret(basic, "password", "czNjcmV0"));
    assert_eq!(problems(&site, "n1"), [""; 0]);
    let plan = site.outcome("n1").plan;
    let password = plan.peers.values().find_map(|peer| peer.password.clone()).expect("it has one");
    assert_eq!(password.0, b"s3cret");
    let shown = format!("{plan:?} {}", serde_json::to_string(&*plan).expect("a plan is JSON"));
    assert!(!shown.contains("s3cret") && !shown.contains("115, 51"), "{shown}");
}

/// MetalLB: "recovers when community created", "broken at runtime", "cycles through errors".
#[test]
fn an_unknown_community_leaves_the_advertisement_out_and_turns_no_arp_on() {
    let mut site = site();
    site.bgp("all", &json!({"communities": ["blue"]}));
    assert_eq!(problems(&site, "n1"), ["BGPAdvertisement all: CommunityNotFound"]);
    assert_eq!(site.tells(), "n1:NoAdvertisement n2:NoAdvertisement n3:NoAdvertisement");
    site.bgp("more", &json!({}));
    assert_eq!(site.tells(), "n1:tor n2:tor n3:tor", "the other one is not harmed");
    site.remove("BGPAdvertisement", "more");
    let community = |name: &str, value: &str| {
        json!({"kind": "Community", "metadata": {"name": name, "namespace": "default"},
        "spec": {"communities": [{"name": "blue", "value": value}]}})
    };
    site.add(community("a", "none"));
    assert_eq!(
        problems(&site, "n1"),
        ["BGPAdvertisement all: CommunityNotFound", "Community a: Invalid",]
    );
    site.add(community("a", "65001:5"));
    assert_eq!(routes(&site, "n1"), ["10.0.0.100/32 [65001:5] -> tor"]);
    // The older one counts.
    site.add(community("b", "65001:6"));
    assert_eq!(problems(&site, "n1"), ["Community b: Invalid"]);
    assert_eq!(routes(&site, "n1"), ["10.0.0.100/32 [65001:5] -> tor"]);
}

#[test]
fn names_that_are_not_there_are_named() {
    let mut site = site();
    site.bgp("all", &json!({"peers": ["tor", "spine"], "ipAddressPools": ["lan", "dmz"]}));
    assert_eq!(
        problems(&site, "n1"),
        ["BGPAdvertisement all: PeerNotFound", "BGPAdvertisement all: PoolNotFound",]
    );
    assert_eq!(site.tells(), "n1:tor n2:tor n3:tor");
    site.bgp("all", &json!({"peers": ["spine"]}));
    assert_eq!(site.tells(), "n1:NoPeer n2:NoPeer n3:NoPeer");
}

/// MetalLB: "two peers same address overlapping nodeSelectors", "node relabel causes conflict".
#[test]
fn of_two_peers_that_are_one_router_on_a_node_the_older_holds() {
    let mut site = site();
    site.peer("again", "10.9.0.1", &json!({"nodeSelectors": [rack("b")]}));
    assert_eq!(site.tells(), "n1:tor n2:tor n3:tor");
    assert_eq!(problems(&site, "n1"), [""; 0], "it is none of this node's");
    assert_eq!(problems(&site, "n3"), ["BGPPeer again: DuplicatePeer"]);
    site.nodes[0].1 = labels("b");
    assert_eq!(problems(&site, "n1"), ["BGPPeer again: DuplicatePeer"]);
    site.peer("tor", "10.9.0.1", &json!({"nodeSelectors": [rack("a")]}));
    assert_eq!(site.tells(), "n1:again n2:tor n3:again");
    assert_eq!(problems(&site, "n1"), [""; 0]);
    // Another port is another router.
    site.peer("again", "10.9.0.1", &json!({"peerPort": 1179}));
    assert_eq!(site.tells(), "n1:again n2:again,tor n3:again");
    // But not where it calls: whoever calls has an address alone.
    site.peer("again", "10.9.0.1", &json!({"peerPort": 1179, "passive": true}));
    assert_eq!(problems(&site, "n2"), ["BGPPeer again: DuplicatePeer"]);
    // An address of a VRF is another than that beside it.
    site.peer("again", "10.9.0.1", &json!({"passive": true, "vrf": "red"}));
    assert_eq!(site.tells(), "n1:again n2:again,tor n3:again");
    site.peer("tor", "10.9.0.1", &json!({"vrf": "red"}));
    assert_eq!(problems(&site, "n1"), ["BGPPeer again: DuplicatePeer"]);
}

/// MetalLB: "peers with routerid", "peers with localASN", "dynamic ASN works".
#[test]
fn a_session_has_what_the_peer_says_and_defaults() {
    let mut site = site();
    let full = json!({
        "peerASN": null, "dynamicASN": "external", "localASN": 65009, "peerPort": 1179, "sourceAddress": "10.9.0.9",
        "routerID": "10.9.0.9", "holdTime": "9s", "keepaliveTime": "2s", "connectTime": "5s",
        "ebgpMultiHop": true, "enableGracefulRestart": true, "passive": true, "vrf": "red",
    });
    site.peer("spine", "10.9.0.2", &full);
    let plan = site.outcome("n1").plan;
    let of = |name: &str| plan.peers.iter().find(|(key, _)| key.name == name).expect("a session").1;
    let (tor, spine) = (of("tor"), of("spine"));
    assert_eq!((tor.asn, tor.peer_as, tor.port), (65001, PeerAs::Exactly(65002), 179));
    assert_eq!(
        (tor.hold_time.as_secs(), tor.keepalive_time, tor.connect_time.as_secs()),
        (90, None, 30)
    );
    assert_eq!((tor.passive, tor.vrf.as_deref()), (false, None));
    assert_eq!((spine.passive, spine.vrf.as_deref()), (true, Some("red")));
    assert!(!tor.multihop && !tor.graceful_restart && !tor.ttl_security && tor.router_id.is_none());
    assert_eq!((spine.asn, spine.peer_as, spine.port), (65009, PeerAs::External, 1179));
    assert_eq!((spine.hold_time.as_secs(), spine.connect_time.as_secs()), (9, 5));
    assert_eq!(spine.keepalive_time.map(|time| time.as_secs()), Some(2));
    assert_eq!(spine.source.map(|source| source.to_string()).as_deref(), Some("10.9.0.9"));
    assert!(spine.multihop && spine.graceful_restart && spine.router_id.is_some());
}

/// What an API server with older definitions may have let through.
#[test]
fn a_spec_that_contradicts_itself_is_held_back_with_words() {
    let mut site = site();
    for (more, says) in [
        (json!({"peerASN": null}), "spec.peerASN: missing"),
        (json!({"dynamicASN": "internal"}), "write one of `peerASN` and `dynamicASN`"),
        (json!({"peerAddress": "router"}), "is not an IP address"),
        (json!({"peerAddress": "fe80::1"}), "write `interface` too"),
        (json!({"interface": "eth0"}), "is for link-local addresses"),
        (json!({"password": "s3cret"}), "put it into a Secret"),
        (json!({"vrf": "a/b"}), "is not the name of a VRF"),
        (
            json!({"vrf": "red", "peerAddress": "fe80::1", "interface": "eth0"}),
            "no meaning with `interface`",
        ),
        (json!({"peerAddress": null}), "write the address of the router"),
        (json!({"peerPort": 0}), "must be a port"),
        (json!({"sourceAddress": "2001:db8::2"}), "of different families"),
        (json!({"holdTime": "2s"}), "is too short"),
        (json!({"holdTime": "90"}), "is no time"),
        (json!({"keepaliveTime": "91s"}), "is longer than the hold time"),
        (json!({"connectTime": "0s"}), "at least 1s"),
        (json!({"ebgpMultiHop": true, "peerASN": 65001}), "is for routers of another AS"),
        (json!({"localASN": 65002}), "is for routers of another AS"),
        (json!({"ebgpMultiHop": true, "ttlSecurity": true}), "write one of both"),
        (json!({"routerID": "seven"}), "is no BGP identifier"),
        (json!({"myASN": 0}), "must be an AS number"),
    ] {
        site.peer("spine", "10.9.0.2", &more);
        let outcome = site.outcome("n1");
        let problems: Vec<&str> =
            outcome.statuses.problems.iter().map(|p| p.message.as_str()).collect();
        assert!(problems.len() == 1 && problems[0].contains(says), "{more}: {problems:?}");
        let peers: BTreeSet<&str> =
            outcome.plan.peers.keys().map(|key| key.name.as_str()).collect();
        assert_eq!(peers, BTreeSet::from(["tor"]), "{more}");
    }
}

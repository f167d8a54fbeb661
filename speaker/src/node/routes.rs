//! What routers are told: from the VIPs that serve here to a table per peer, and back to how many
//! routers know a VIP.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use vipgate_api::ObjectKey;
use vipgate_planner::bgp::PeerReport;
use vipgate_planner::{Link, Plan, Vip};

use crate::bgp::peers::{Board, Known, Table, Wanted};
use crate::bgp::wire::{Community, Family, LargeCommunity, Path};

/// The sessions of the plan, and in their tables exactly the VIPs that serve.
pub(super) fn wanted(plan: &Plan, serving: &BTreeSet<IpAddr>, links: Vec<Link>) -> Wanted {
    let mut tables: BTreeMap<ObjectKey, Table> = BTreeMap::new();
    for key in plan.peers.keys() {
        let surviving = surviving(plan, key);
        tables.insert(key.clone(), Table { surviving, ..Table::default() });
    }
    let serving = plan.vips.values().filter(|vip| serving.contains(&vip.address));
    for route in serving.flat_map(|vip| &vip.routes) {
        let path = Path {
            local_pref: route.local_pref,
            communities: route.communities.iter().copied().map(Community).collect(),
            large_communities: route
                .large_communities
                .iter()
                .copied()
                .map(LargeCommunity)
                .collect(),
        };
        for key in &route.peers {
            if let Some(table) = tables.get_mut(key) {
                table.routes.add(route.prefix, &path);
            }
        }
    }
    Wanted { peers: plan.peers.clone(), held_back: plan.held_back.clone(), tables, links }
}

/// The families in which a peer is to be told of no VIP of ours, whether it serves just now or not: all
/// others the kernel forwards. Graceful restart is promised for a family and not for a prefix (RFC 4724),
/// and a router that keeps a Gateway's VIP without us sends clients into the void.
fn surviving(plan: &Plan, peer: &ObjectKey) -> BTreeSet<Family> {
    let ours = plan.vips.values().filter(|vip| !vip.kernel);
    let routes = ours.flat_map(|vip| &vip.routes).filter(|route| route.peers.contains(peer));
    let ours: BTreeSet<Family> = routes.map(|route| Family::of(route.prefix)).collect();
    Family::ALL.into_iter().filter(|family| !ours.contains(family)).collect()
}

/// What the sessions do. Of one that the plan holds back it counts what the plan says, though it may take
/// a moment to end.
pub(super) fn peers(plan: &Plan, board: &Board) -> BTreeMap<String, PeerReport> {
    let report = |(key, known): (&ObjectKey, &Known)| {
        let mut report = known.report.clone();
        let refusal = plan.held_back.get(key);
        report.reason = refusal.map(|why| why.reason);
        if let Some(why) = refusal {
            report.last_error = Some(why.message.clone());
        }
        (key.to_string(), report)
    };
    board.iter().map(report).collect()
}

/// How many routers know a VIP from this node.
pub(super) fn known_to(vip: &Vip, board: &Board) -> u32 {
    let peers = vip.routes.iter().flat_map(|route| {
        let knows =
            |peer: &&ObjectKey| board.get(*peer).is_some_and(|known| known.knows(&route.prefix));
        route.peers.iter().filter(knows)
    });
    let peers: BTreeSet<&ObjectKey> = peers.collect();
    u32::try_from(peers.len()).unwrap_or(u32::MAX)
}

/// Why no router knows a VIP that is held here. It stays the same while attempts fail in turn.
pub(super) fn known_to_nobody(vip: &Vip) -> String {
    let peers: BTreeSet<String> =
        vip.routes.iter().flat_map(|route| &route.peers).map(ToString::to_string).collect();
    if peers.is_empty() {
        return "held, but no BGPPeer of this node is to be told of it".to_owned();
    }
    let peers = peers.into_iter().collect::<Vec<_>>().join(", ");
    let family = if vip.address.is_ipv4() { "IPv4" } else { "IPv6" };
    format!(
        "held, but no router knows it: the BGP sessions with {peers} are not established, do not carry {family}, or \
         cannot tell of it (`vipgate bgp` says why)"
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ipnet::IpNet;
    use vipgate_planner::Announce;
    use vipgate_planner::bgp::{Peer, PeerAs, Place, Route};

    use super::*;

    fn key(name: &str) -> ObjectKey {
        ObjectKey::new("vipgate-system", name)
    }

    fn peer() -> Peer {
        Peer {
            asn: 65001,
            peer_as: PeerAs::External,
            place: Place::On("eth0".to_owned()),
            vrf: None,
            port: 179,
            source: None,
            router_id: None,
            hold_time: Duration::from_secs(90),
            keepalive_time: None,
            connect_time: Duration::from_secs(120),
            passive: false,
            multihop: false,
            ttl_security: false,
            graceful_restart: true,
            password: None,
            bfd: None,
        }
    }

    fn vip(address: &str, kernel: bool, prefix: &str, peers: &[&str], community: u32) -> Vip {
        let route = Route {
            prefix: prefix.parse().unwrap(),
            peers: peers.iter().map(|name| key(name)).collect(),
            local_pref: None,
            communities: [community].into(),
            large_communities: BTreeSet::new(),
        };
        let address = address.parse().unwrap();
        Vip { kernel, routes: vec![route], ..Vip::new(address, Announce::Routed) }
    }

    fn plan(vips: Vec<Vip>) -> Plan {
        Plan {
            vips: vips.into_iter().map(|vip| (vip.address, vip)).collect(),
            peers: [(key("a"), peer()), (key("b"), peer())].into(),
            ..Plan::default()
        }
    }

    fn prefixes(wanted: &Wanted, peer: &str) -> Vec<String> {
        let prefixes = wanted.tables[&key(peer)].routes.prefixes();
        prefixes.map(|prefix| prefix.to_string()).collect()
    }

    #[test]
    fn a_peer_is_told_of_what_serves_and_of_nothing_else() {
        let plan = plan(vec![
            vip("192.0.2.1", false, "192.0.2.1/32", &["a", "b"], 1),
            vip("192.0.2.2", false, "192.0.2.2/32", &["a"], 1),
            vip("192.0.2.3", false, "192.0.2.3/32", &["gone"], 1),
        ]);
        let serving = |vips: &[&str]| vips.iter().map(|vip| vip.parse().unwrap()).collect();
        let wanted = wanted(&plan, &serving(&["192.0.2.1", "192.0.2.3"]), Vec::new());
        assert_eq!(prefixes(&wanted, "a"), ["192.0.2.1/32"]);
        assert_eq!(prefixes(&wanted, "b"), ["192.0.2.1/32"]);
        assert_eq!(wanted.tables.len(), 2, "a session that is not planned is not wanted");
    }

    /// "one prefix from several sources has the communities of all".
    #[test]
    fn a_shorter_prefix_stays_while_one_of_its_vips_serves() {
        let plan = plan(vec![
            vip("192.0.2.1", false, "192.0.2.0/24", &["a"], 1),
            vip("192.0.2.2", false, "192.0.2.0/24", &["a"], 2),
        ]);
        let net: IpNet = "192.0.2.0/24".parse().unwrap();
        let communities = |serving: &[&str]| {
            let serving = serving.iter().map(|vip| vip.parse().unwrap()).collect();
            let wanted = wanted(&plan, &serving, Vec::new());
            let path = wanted.tables[&key("a")].routes.get(&net).cloned();
            path.map(|path| path.communities.into_iter().map(|one| one.0).collect::<Vec<_>>())
        };
        assert_eq!(communities(&["192.0.2.1", "192.0.2.2"]), Some(vec![1, 2]));
        assert_eq!(communities(&["192.0.2.2"]), Some(vec![2]));
        assert_eq!(communities(&[]), None);
    }

    #[test]
    fn a_family_with_a_vip_of_ours_does_not_survive_us() {
        let plan = plan(vec![
            vip("192.0.2.1", true, "192.0.2.1/32", &["a", "b"], 1),
            vip("192.0.2.2", false, "192.0.2.2/32", &["b"], 1),
            vip("2001:db8::1", true, "2001:db8::1/128", &["b"], 1),
        ]);
        let wanted = wanted(&plan, &BTreeSet::new(), Vec::new());
        assert_eq!(wanted.tables[&key("a")].surviving, Family::ALL.into());
        assert_eq!(wanted.tables[&key("b")].surviving, [Family::Ipv6].into());
    }
}

//! What a node that gives its VIPs away tells routers: a last way that it marks as one, until another node's
//! way is there.
//!
//! The plan knows that others could have a VIP, and not whether routers know it from them. The group does:
//! each member says so of its own VIPs ([`Gate::offer`](super::gate::Gate::offer)). Until one does, this node's routes stay, with the
//! community GRACEFUL_SHUTDOWN (RFC 8326) and the lowest preference; then they go, and the VIP with them.

use std::net::IpAddr;
use std::sync::Arc;

use vipgate_planner::{Announce, Plan};

use crate::bgp::wire::GRACEFUL_SHUTDOWN;

/// The plan as it is to be followed, where `is_known` says of a VIP whether routers know it from others.
pub(super) fn settled(plan: &Arc<Plan>, is_known: impl Fn(IpAddr) -> bool) -> Arc<Plan> {
    if plan.vips.values().all(|vip| vip.yields.is_none()) {
        return Arc::clone(plan);
    }
    let mut settled = Plan::clone(plan);
    for vip in settled.vips.values_mut() {
        let Some(why) = vip.yields.clone() else { continue };
        if is_known(vip.address) {
            vip.routes.clear();
            if vip.announce == Announce::Routed {
                vip.announce = Announce::Nowhere(why);
            }
            continue;
        }
        for route in &mut vip.routes {
            route.communities.insert(GRACEFUL_SHUTDOWN.0);
            route.local_pref = Some(0);
        }
    }
    Arc::new(settled)
}

#[cfg(test)]
mod tests {
    use vipgate_planner::bgp::Route;
    use vipgate_planner::{Exclusion, ExclusionReason, Vip};

    use super::*;

    const VIP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    fn plan(announce: Announce, gives_way: bool) -> Arc<Plan> {
        let route = Route {
            prefix: "192.0.2.1/32".parse().unwrap(),
            peers: [vipgate_api::ObjectKey::new("vipgate-system", "tor")].into(),
            local_pref: Some(200),
            communities: [7].into(),
            large_communities: [].into(),
        };
        let yields =
            gives_way.then(|| Exclusion::new(ExclusionReason::Cordoned, "leaves it to others"));
        let vip = Vip { routes: vec![route], yields, ..Vip::new(VIP, announce) };
        Arc::new(Plan { vips: [(VIP, vip)].into(), ..Plan::default() })
    }

    #[test]
    fn who_gives_no_way_follows_its_plan() {
        let plan = plan(Announce::Routed, false);
        assert!(Arc::ptr_eq(&settled(&plan, |_| true), &plan));
    }

    #[test]
    fn the_last_way_stays_and_says_so() {
        let settled = settled(&plan(Announce::Routed, true), |_| false);
        let vip = &settled.vips[&VIP];
        assert_eq!(vip.announce, Announce::Routed);
        assert_eq!(vip.routes[0].local_pref, Some(0));
        assert_eq!(vip.routes[0].communities, [7, 0xffff_0000].into());
    }

    #[test]
    fn it_goes_when_another_one_is_there_and_what_the_lan_has_stays() {
        let routed = settled(&plan(Announce::Routed, true), |_| true);
        let vip = &routed.vips[&VIP];
        assert!(
            matches!(&vip.announce, Announce::Nowhere(why) if why.reason == ExclusionReason::Cordoned)
        );
        assert!(vip.routes.is_empty());
        let lan = Announce::Layer2(vec!["eth0".to_owned()]);
        let both = settled(&plan(lan.clone(), true), |_| true);
        assert_eq!((&both.vips[&VIP].announce, both.vips[&VIP].routes.len()), (&lan, 0));
    }
}

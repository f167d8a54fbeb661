//! Whether a VIP can be held here, and what is said of it.

use std::collections::BTreeMap;

use vipgate_planner::{Announce, Exclusion, ExclusionReason, Vip, VipState};

use super::probes::Probes;
use super::routes;
use crate::l2::L2Error;

/// Whether a VIP can be held.
pub(super) enum Readiness {
    /// It can.
    Hold,
    /// It cannot; to be reported so.
    Report(VipState),
}

/// Whether a VIP can be held, or what stands in the way: first what would do so if it were this node's,
/// then that it is another's (`others`). A VIP that routers are told of is held whoever has it on the
/// LAN, once it is known to be nobody else's.
pub(super) fn readiness(
    vip: &Vip,
    others: Option<VipState>,
    is_bound: bool,
    probes: &Probes,
) -> Readiness {
    // Where the kernel forwards, for a Service, no listener of ours is needed.
    if !vip.kernel && !is_bound {
        let why = "none of its listeners could be bound, so it is not announced";
        return Readiness::Report(excluded(Exclusion::new(ExclusionReason::NotBound, why), others));
    }
    match &vip.announce {
        Announce::Nowhere(why) if vip.routes.is_empty() => {
            Readiness::Report(excluded(why.clone(), others))
        }
        Announce::ByNodes => unreachable!("a plan for a node names its interfaces"),
        Announce::Loopback => Readiness::Report(VipState::Serving(Vec::new())),
        Announce::Nowhere(_) => Readiness::Hold,
        Announce::Routed => probes.state(vip).map_or(Readiness::Hold, Readiness::Report),
        Announce::Layer2(_) => match others {
            Some(_) if !vip.routes.is_empty() && !vip.probe => Readiness::Hold,
            Some(theirs) => Readiness::Report(theirs),
            None => probes.state(vip).map_or(Readiness::Hold, Readiness::Report),
        },
    }
}

/// A VIP that is none of this node's, and whose it is.
fn excluded(why: Exclusion, others: Option<VipState>) -> VipState {
    let (owner, announced) = match others {
        Some(VipState::Standby { owner, announced }) => (Some(owner), announced),
        _ => (None, false),
    };
    VipState::Excluded { why, owner, announced }
}

/// The state of a VIP that is on the host: announced on the LAN, or known to so many routers, or neither.
pub(super) fn held(
    vip: &Vip,
    others: Option<VipState>,
    mute: &BTreeMap<String, L2Error>,
    routers: u32,
) -> VipState {
    let on_the_lan = others.is_none().then(|| on_the_lan(vip, mute)).flatten();
    match (on_the_lan, &vip.announce) {
        (Some(VipState::Serving(links)), _) => VipState::Serving(links),
        _ if routers > 0 => VipState::Serving(Vec::new()),
        (Some(failed), _) => failed,
        (None, Announce::Nowhere(why)) => excluded(why.clone(), others),
        (None, _) => others.unwrap_or_else(|| VipState::Waiting(routes::known_to_nobody(vip))),
    }
}

/// The state of a VIP of this node on the LAN, if it is to be announced there.
pub(super) fn on_the_lan(vip: &Vip, mute: &BTreeMap<String, L2Error>) -> Option<VipState> {
    match &vip.announce {
        Announce::Layer2(links) => Some(announced(links, mute)),
        _ => None,
    }
}

/// The state of a VIP that is announced on these links.
fn announced(links: &[String], mute: &BTreeMap<String, L2Error>) -> VipState {
    let speaking: Vec<String> =
        links.iter().filter(|link| !mute.contains_key(*link)).cloned().collect();
    match links.iter().find_map(|link| mute.get(link)) {
        Some(error) if speaking.is_empty() => VipState::Failed(error.to_string()),
        _ => VipState::Serving(speaking),
    }
}

#[cfg(test)]
mod tests {
    use vipgate_planner::bgp::Route;

    use super::*;

    fn vip(announce: Announce, routed: bool) -> Vip {
        let route = Route {
            prefix: "192.0.2.1/32".parse().unwrap(),
            peers: [vipgate_api::ObjectKey::new("vipgate-system", "tor")].into(),
            local_pref: None,
            communities: [].into(),
            large_communities: [].into(),
        };
        let routes = if routed { vec![route] } else { Vec::new() };
        Vip { routes, ..Vip::new([192, 0, 2, 1].into(), announce) }
    }

    fn layer2() -> Announce {
        Announce::Layer2(vec!["eth0".to_owned()])
    }

    fn nowhere() -> Announce {
        Announce::Nowhere(Exclusion::new(ExclusionReason::NoSubnet, "no subnet"))
    }

    fn standby() -> Option<VipState> {
        Some(VipState::Standby { owner: "other".to_owned(), announced: true })
    }

    fn holds(vip: &Vip, others: Option<VipState>, is_bound: bool) -> bool {
        matches!(readiness(vip, others, is_bound, &Probes::default()), Readiness::Hold)
    }

    #[test]
    fn a_vip_that_routers_are_told_of_is_held_by_every_node_that_is_bound() {
        assert!(holds(&vip(Announce::Routed, true), None, true));
        assert!(!holds(&vip(Announce::Routed, true), None, false));
        assert!(holds(&vip(layer2(), true), standby(), true));
        assert!(!holds(&vip(layer2(), false), standby(), true));
        assert!(holds(&vip(nowhere(), true), None, true));
        assert!(!holds(&vip(nowhere(), false), None, true));
        let by_kernel = Vip { kernel: true, ..vip(Announce::Routed, true) };
        assert!(holds(&by_kernel, None, false));
    }

    #[test]
    fn what_nobody_has_asked_the_lan_for_is_held_by_no_other_node() {
        let new = Vip { probe: true, ..vip(layer2(), true) };
        assert!(!holds(&new, standby(), true));
        assert!(!holds(&new, None, true), "it is asked first");
        let routed = Vip { probe: true, ..vip(Announce::Routed, true) };
        assert!(!holds(&routed, None, true), "those on its LAN are asking");
    }

    #[test]
    fn it_serves_where_it_is_announced_or_a_router_knows_it() {
        let said = |vip: &Vip, others, routers| held(vip, others, &BTreeMap::new(), routers);
        let serving = |links: &[&str]| {
            VipState::Serving(links.iter().map(|link| (*link).to_owned()).collect())
        };
        let routed = vip(Announce::Routed, true);
        assert_eq!(said(&routed, None, 1), serving(&[]));
        assert!(
            matches!(said(&routed, None, 0), VipState::Waiting(why) if why.contains("system/tor"))
        );
        let both = vip(layer2(), true);
        assert_eq!(said(&both, None, 0), serving(&["eth0"]));
        assert_eq!(said(&both, None, 2), serving(&["eth0"]));
        assert_eq!(said(&both, standby(), 2), serving(&[]));
        assert_eq!(Some(said(&both, standby(), 0)), standby());
        assert!(matches!(said(&vip(nowhere(), true), None, 0), VipState::Excluded { .. }));
    }

    #[test]
    fn a_link_that_cannot_speak_matters_less_where_a_router_knows() {
        let mute = [("eth0".to_owned(), L2Error::NoSuchLink { link: "eth0".to_owned() })].into();
        let both = vip(layer2(), true);
        assert!(matches!(held(&both, None, &mute, 0), VipState::Failed(_)));
        assert_eq!(held(&both, None, &mute, 1), VipState::Serving(Vec::new()));
    }
}

//! What holds for every world.

#![allow(missing_docs, reason = "a test has no public items")]

#[path = "support/random.rs"]
mod random;
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use proptest::prelude::*;
use random::{Change, changes, decode, ground, objects, references, world};
use vipgate_api::{Age, ConditionType, Kind, Object, ObjectKey, ObjectRef};
use vipgate_planner::{
    Announce, Foreign, ListenerState, MacAddr, Node, NodeReport, Outcome, Plan, Planner, Statuses,
    VipState,
};

const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);

/// A planner, and beside it what was put into it.
struct Twin {
    planner: Planner,
    node: Node,
    foreign: Foreign,
    report: NodeReport,
    release: bool,
}

impl Twin {
    fn new() -> Self {
        let mut planner = Planner::new();
        let node = support::node();
        planner.set_node(node.clone());
        for (object, age) in ground() {
            planner.apply(object, age);
        }
        let (foreign, report) = (Foreign::default(), NodeReport::default());
        Self { planner, node, foreign, report, release: false }
    }

    fn change(&mut self, change: &Change, plan: &Plan) {
        match change {
            Change::Apply(document) => {
                let (object, age) = decode(document.clone());
                self.planner.apply(object, age);
            }
            Change::Delete(place) => {
                let all = references(self.planner.world());
                if !all.is_empty() {
                    assert!(self.planner.delete(&all[place % all.len()]));
                }
            }
            Change::Report(seed) => {
                self.report = report(plan, *seed);
                self.planner.set_report(self.report.clone());
            }
            Change::Publish(place) => {
                let all: Vec<IpAddr> = plan.vips.keys().copied().collect();
                if !all.is_empty() {
                    self.planner.publish(all[place % all.len()]);
                }
            }
            Change::Foreign(addresses) => {
                let parse = |address: &&str| (address.parse().expect("an address"), MAC);
                self.foreign = addresses.iter().map(parse).collect();
                self.planner.set_foreign(self.foreign.clone());
            }
            Change::Links(eth0, eth1) => {
                self.node.links[1].up = *eth0;
                self.node.links[2].up = *eth1;
                self.planner.set_node(self.node.clone());
            }
            Change::Release(release) => {
                self.release = *release;
                self.planner.set_release(*release);
            }
        }
    }

    /// A planner that is told at once, in another order, what this one learnt bit by bit.
    fn rebuilt(&self) -> Planner {
        let mut planner = Planner::new();
        planner.set_report(self.report.clone());
        planner.set_foreign(self.foreign.clone());
        planner.set_claims(self.planner.claims().clone());
        planner.set_release(self.release);
        for (object, age) in objects(self.planner.world()).into_iter().rev() {
            planner.apply(object, age);
        }
        planner.set_node(self.node.clone());
        planner
    }
}

/// A report on most of the plan, with everything that can be reported.
fn report(plan: &Plan, seed: u64) -> NodeReport {
    let digit = |place: usize| (seed >> (3 * (place % 20))) & 7;
    let vips = plan.vips.keys().enumerate().filter_map(|(place, address)| {
        let state = match digit(place) {
            0 => return None,
            1 => VipState::Probing,
            2 => VipState::Conflict(MAC),
            3 => VipState::Failed("no permission".to_owned()),
            _ => VipState::Serving(vec!["eth0".to_owned()]),
        };
        Some((*address, state))
    });
    let listeners = plan.listeners.iter().enumerate().filter_map(|(place, listener)| {
        let state = match digit(place + 7) {
            0 => return None,
            1 | 2 => ListenerState::Failed("in use".to_owned()),
            3 => ListenerState::NoCertificate,
            _ => ListenerState::Bound,
        };
        Some((listener.id.clone(), state))
    });
    NodeReport { vips: vips.collect(), listeners: listeners.collect(), ..NodeReport::default() }
}

/// What a plan and the statuses beside it always are.
fn check(outcome: &Outcome, planner: &Planner, report: &NodeReport) {
    let Outcome { plan, statuses, .. } = outcome;
    // A port of TCP and one of UDP are two.
    let sockets: BTreeSet<_> =
        plan.listeners.iter().map(|listener| (listener.transport(), listener.bind)).collect();
    assert_eq!(sockets.len(), plan.listeners.len(), "two listeners on one socket");
    assert!(plan.listeners.is_sorted_by(|a, b| a.id < b.id), "listeners are not sorted");
    for (address, vip) in &plan.vips {
        assert_eq!(*address, vip.address);
        assert!(planner.claims().0.contains_key(address), "{address} is served without a claim");
        for route in &vip.routes {
            assert!(route.prefix.contains(address), "{route:?}");
            assert!(!route.peers.is_empty(), "{route:?}");
            assert!(route.peers.iter().all(|peer| plan.peers.contains_key(peer)), "{route:?}");
        }
        let says_something = !vip.routes.is_empty();
        match &vip.announce {
            // It is asked for where other nodes announce it on a LAN.
            Announce::Routed => assert!(says_something, "{vip:?}"),
            Announce::Layer2(_) => {}
            _ => assert!(!says_something, "{vip:?}"),
        }
    }
    assert!(plan.held_back.keys().all(|peer| !plan.peers.contains_key(peer)));
    for listener in &plan.listeners {
        let claim = &planner.claims().0[&listener.id.address];
        let gateway = ObjectRef::new(Kind::Gateway, listener.id.gateway.clone());
        assert!(claim.names(&gateway), "a listener on somebody else's address");
        assert!(plan.vips.contains_key(&listener.id.address), "a listener without its VIP");
        assert_eq!(listener.targets().next().is_none(), listener.attached.is_empty());
        for (_, target) in listener.targets() {
            assert!(listener.attached.contains(&target.route));
            for share in &target.shares {
                assert!(share.endpoints.is_sorted_by(|a, b| a < b), "endpoints: {share:?}");
                assert_eq!(share.endpoints.is_empty(), share.unusable.is_some(), "{share:?}");
                let vips = &planner.claims().0;
                assert!(share.endpoints.iter().all(|e| !vips.contains_key(&e.0.ip())));
            }
        }
    }
    check_programmed(plan, statuses, report);
}

/// `Programmed=True` means: every address serves here, and something is bound.
fn check_programmed(plan: &Plan, statuses: &Statuses, report: &NodeReport) {
    for (key, status) in &statuses.gateways {
        let is_true = |kind| status.conditions.iter().any(|c| c.kind == kind && c.is_true());
        if !is_true(ConditionType::Programmed) {
            continue;
        }
        assert!(is_true(ConditionType::Accepted), "{key} is programmed but not accepted");
        assert!(!status.addresses.is_empty(), "{key} is programmed without an address");
        for address in &status.addresses {
            let address: IpAddr =
                address.value.as_deref().expect("a value").parse().expect("an IP");
            assert!(matches!(report.vips[&address], VipState::Serving(_)), "{key}: {address}");
        }
        let own = plan.listeners.iter().filter(|l| l.id.gateway == *key && l.id.set.is_none());
        let mut states = own.filter_map(|listener| report.listeners.get(&listener.id));
        assert!(states.any(ListenerState::listens), "{key}: none bound");
    }
}

/// The part of a plan that belongs to a Gateway, without its targets.
fn served(plan: &Plan, gateway: &ObjectKey) -> BTreeMap<String, BTreeSet<vipgate_api::ObjectRef>> {
    let own = plan.listeners.iter().filter(|listener| listener.id.gateway == *gateway);
    own.map(|listener| (listener.id.to_string(), listener.attached.clone())).collect()
}

fn settled(objects: &[(Object, Age)]) -> (Planner, Outcome) {
    let mut planner = Planner::new();
    planner.set_release(true);
    planner.set_node(support::node());
    for (object, age) in ground().into_iter().chain(objects.iter().cloned()) {
        planner.apply(object, age);
    }
    let outcome = support::settle(&mut planner);
    (planner, outcome)
}

fn programmed(statuses: &Statuses) -> impl Iterator<Item = &ObjectKey> {
    let is_programmed =
        |c: &vipgate_api::Condition| c.kind == ConditionType::Programmed && c.is_true();
    let all = statuses.gateways.iter();
    all.filter(move |(_, status)| status.conditions.iter().any(is_programmed)).map(|(key, _)| key)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    /// The layers that run are enough, and what they leave is not stale.
    #[test]
    fn step_by_step_is_as_from_scratch(changes in changes(40)) {
        let mut twin = Twin::new();
        let mut outcome = twin.planner.run();
        for change in &changes {
            twin.change(change, &outcome.plan);
            outcome = twin.planner.run();
            check(&outcome, &twin.planner, &twin.report);
            let mut scratch = twin.rebuilt();
            let expected = scratch.run();
            prop_assert_eq!(&outcome.plan, &expected.plan);
            prop_assert_eq!(&outcome.statuses, &expected.statuses);
            prop_assert_eq!(twin.planner.claims(), scratch.claims());
            prop_assert!(expected.claims.is_none(), "allocation is not a fixed point");
        }
    }

    /// A run without a change runs nothing and answers with the very same plan.
    #[test]
    fn nothing_new_nothing_run(objects in world(30)) {
        let (mut planner, outcome) = settled(&objects);
        for (object, age) in random::objects(planner.world()) {
            prop_assert!(!planner.apply(object, age));
        }
        let before = planner.runs();
        let again = planner.run();
        prop_assert_eq!(planner.runs(), before);
        prop_assert!(std::sync::Arc::ptr_eq(&outcome.plan, &again.plan));
        prop_assert!(std::sync::Arc::ptr_eq(&outcome.statuses, &again.statuses));
        prop_assert!(again.claims.is_none());
    }

    /// Files are read in any order.
    #[test]
    fn order_does_not_matter(
        (objects, shuffled) in world(30).prop_flat_map(|o| (Just(o.clone()), Just(o).prop_shuffle()))
    ) {
        // The ground comes first in both, and an object of the same name replaces it in both.
        let (_, one) = settled(&objects);
        let (_, two) = settled(&shuffled);
        prop_assert_eq!(one.plan, two.plan);
        prop_assert_eq!(one.statuses, two.statuses);
    }

    /// An object that goes takes along what hangs on it and nothing else.
    #[test]
    fn removal_harms_no_other(objects in world(40), place in any::<usize>()) {
        let (mut planner, before) = settled(&objects);
        let all = references(planner.world());
        let gone = &all[place % all.len()];
        let route = planner.world().routes.get(gone).map(|stored| stored.object.clone());
        planner.delete(gone);
        let after = support::settle(&mut planner);
        for gateway in programmed(&before.statuses) {
            let unrelated = match gone.kind {
                // Without its class a Gateway is nobody's; where an address is announced is up to
                // pools and advertisements.
                Kind::GatewayClass
                | Kind::IpAddressPool
                | Kind::L2Advertisement
                | Kind::BgpPeer
                | Kind::BgpAdvertisement
                | Kind::BfdProfile
                | Kind::Community => false,
                Kind::Gateway => gateway != &gone.key,
                // Its labels decide about routes.
                Kind::Namespace => false,
                Kind::TcpRoute => route.as_ref().is_none_or(|route| {
                    route.spec.parent_refs.iter().all(|parent| parent.name != gateway.name)
                }),
                _ => true,
            };
            if unrelated {
                prop_assert_eq!(served(&before.plan, gateway), served(&after.plan, gateway));
                prop_assert_eq!(
                    &before.statuses.gateways[gateway],
                    &after.statuses.gateways[gateway]
                );
            }
            // Whatever goes, except the Gateway and its class: the address stays.
            if gone.kind != Kind::GatewayClass && *gateway != gone.key {
                let has = |plan: &Plan| -> BTreeSet<IpAddr> {
                    let own = plan.listeners.iter().filter(|l| l.id.gateway == *gateway);
                    own.map(|listener| listener.id.address).collect()
                };
                // It may get one of a family that the pools had none left of.
                prop_assert!(has(&before.plan).is_subset(&has(&after.plan)));
            }
        }
    }
}

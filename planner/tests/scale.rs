//! How long the planner takes for very many routes, and for one change among them: `docs/performance.md` has
//! the figures. It is CPU time that counts: what a busy machine gives to others does not.

#![allow(missing_docs, reason = "a test has no public items")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use serde_json::json;
use vipgate_api::{Age, Kind, ObjectKey, ObjectRef};
use vipgate_planner::{Outcome, Planner};

/// Listeners of each Gateway, with a route each.
const LISTENERS: usize = 10;
/// Endpoints of each route.
const ENDPOINTS: usize = 5;

/// So many routes, each with a listener, a Service and an EndpointSlice of its own.
struct Site {
    planner: Planner,
    routes: usize,
    /// What a process holds that follows plans: there is nothing to be changed in place.
    last: Option<Outcome>,
}

impl Site {
    fn new(routes: usize) -> Self {
        let mut planner = Planner::new();
        let ground = "
kind: GatewayClass
metadata: {name: vipgate}
spec: {controllerName: vipgate.dev/gateway-controller}
---
kind: IPAddressPool
metadata: {name: lan, namespace: vipgate-system}
spec: {addresses: [10.0.0.0/16]}
";
        for (object, age) in support::objects("ground", ground) {
            planner.apply(object, age);
        }
        // All VIPs are in the network of one link.
        let mut node = support::node();
        node.links[1].addresses = vec!["10.255.0.1/8".parse().expect("a network")];
        node.links.truncate(2);
        planner.set_node(node);
        planner.set_release(true);
        let mut site = Self { planner, routes, last: None };
        for gateway in 0..routes / LISTENERS {
            site.gateway(gateway, LISTENERS);
        }
        for route in 0..routes {
            site.route(route, route);
            site.apply(json!({"kind": "Service", "metadata": metadata("s", route),
                "spec": {"ports": [{"port": 80, "protocol": "TCP"}]}}));
            site.endpoints(route, 0);
        }
        site
    }

    /// One that was planned, and serves.
    fn settled(routes: usize) -> Self {
        let mut site = Self::new(routes);
        let outcome = support::settle(&mut site.planner);
        assert_eq!(outcome.plan.listeners.len(), routes);
        assert!(outcome.statuses.problems.is_empty());
        site.last = Some(outcome);
        site
    }

    fn apply(&mut self, object: serde_json::Value) {
        let age = Age { created: None, place: ("site".to_owned(), 0) };
        self.planner.apply(support::object(object).expect("an object"), age);
    }

    fn gateway(&mut self, index: usize, listeners: usize) {
        let listener = |at| json!({"name": format!("l{at}"), "protocol": "TCP", "port": 1000 + at});
        let listeners: Vec<_> = (0..listeners).map(listener).collect();
        self.apply(json!({"kind": "Gateway", "metadata": metadata("g", index),
            "spec": {"gatewayClassName": "vipgate", "listeners": listeners}}));
    }

    fn route(&mut self, index: usize, service: usize) {
        let (gateway, listener) = (index / LISTENERS, index % LISTENERS);
        self.apply(json!({"kind": "TCPRoute", "metadata": metadata("r", index), "spec": {
            "parentRefs": [{"name": format!("g{gateway}"), "sectionName": format!("l{listener}")}],
            "rules": [{"backendRefs": [{"name": format!("s{service}"), "port": 80}]}]}}));
    }

    fn endpoints(&mut self, index: usize, round: usize) {
        let address = |at| {
            let number = index * ENDPOINTS + at;
            let [_, a, b, c] = u32::try_from(number).expect("few").to_be_bytes();
            json!({"addresses": [format!("11.{a}.{b}.{c}")],
                "conditions": {"ready": at != 1 || round.is_multiple_of(2)}})
        };
        let endpoints: Vec<_> = (0..ENDPOINTS).map(address).collect();
        let mut metadata = metadata("s", index);
        metadata["labels"] = json!({"kubernetes.io/service-name": format!("s{index}")});
        self.apply(json!({"kind": "EndpointSlice", "metadata": metadata, "addressType": "IPv4",
            "ports": [{"port": 8080}], "endpoints": endpoints}));
    }

    /// Brings the planner up to date, and lets go of the plan before; the CPU time that it took.
    fn timed(&mut self) -> Duration {
        let start = cpu();
        let outcome = self.last.insert(self.planner.run());
        let took = cpu() - start;
        assert_eq!(outcome.plan.vips.len(), self.routes / LISTENERS);
        took
    }
}

fn metadata(letter: &str, index: usize) -> serde_json::Value {
    json!({"name": format!("{letter}{index}"), "namespace": "default"})
}

/// CPU time of this thread so far.
fn cpu() -> Duration {
    let spent = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(spent).expect("no thread has spent less than nothing")
}

/// The median of so many attempts.
fn median(attempts: usize, attempt: impl FnMut(usize) -> Duration) -> Duration {
    let mut all: Vec<_> = (0..attempts).map(attempt).collect();
    all.sort_unstable();
    all[attempts / 2]
}

/// A full plan, and the changes, each with its name.
fn measure(routes: usize) -> Vec<(&'static str, Duration)> {
    let attempts = if cfg!(debug_assertions) { 3 } else { 9 };
    let full = median(attempts, |_| Site::new(routes).timed());
    let mut site = Site::settled(routes);
    let middle = routes / 2;
    let mut changed = |change: &dyn Fn(&mut Site, usize)| {
        median(2 * attempts, |round| {
            change(&mut site, round);
            site.timed()
        })
    };
    let route = ObjectRef::new(Kind::TcpRoute, ObjectKey::new("default", format!("r{middle}")));
    let listeners = |round: usize| LISTENERS + round % 2 + 1;
    vec![
        ("full plan", full),
        ("an endpoint comes or goes", changed(&|site, round| site.endpoints(middle, round + 1))),
        (
            "a route gets another backend",
            changed(&|site, round| site.route(middle, middle + 1 + round % 2)),
        ),
        (
            "a route comes or goes",
            changed(&|site, round| {
                if round.is_multiple_of(2) {
                    site.planner.delete(&route);
                } else {
                    site.route(middle, middle);
                }
            }),
        ),
        (
            "a listener comes or goes",
            changed(&|site, round| site.gateway(middle / LISTENERS, listeners(round))),
        ),
        ("nothing", changed(&|_, _| {})),
    ]
}

#[test]
#[ignore = "takes a minute"]
fn long_plans_of_very_many_routes() {
    // One size alone for whoever looks where the time goes.
    let alone = std::env::var("VIPGATE_ROUTES").ok().and_then(|text| text.parse().ok());
    for routes in alone.map_or(vec![1_000, 10_000, 30_000, 100_000], |routes| vec![routes]) {
        println!("{routes} routes, {} endpoints", routes * ENDPOINTS);
        for (what, took) in measure(routes) {
            println!("  {what:<32} {took:?}");
        }
    }
}

/// The planner is optimised in a debug build too, and has the same limit there.
#[test]
fn one_change_among_ten_thousand_routes_is_planned_in_milliseconds() {
    let limit = Duration::from_millis(5);
    let mut site = Site::settled(10_000);
    let before = site.planner.run().plan;
    let endpoints = median(5, |round| {
        site.endpoints(5_000, round + 1);
        site.timed()
    });
    let route = median(5, |round| {
        site.route(5_000, 5_001 + round % 2);
        site.timed()
    });
    println!("endpoints {endpoints:?}, a route {route:?}");
    assert!(endpoints < limit && route < limit, "endpoints {endpoints:?}, a route {route:?}");
    let after = site.planner.run().plan;
    let pairs = || before.listeners.iter().zip(&after.listeners);
    assert_eq!(pairs().filter(|(old, new)| !Arc::ptr_eq(old, new)).count(), 1);
    // More of it is about all Gateways; as a whole it would be a hundred and more.
    let listener = median(5, |round| {
        site.gateway(500, LISTENERS + round % 2 + 1);
        site.timed()
    });
    println!("a listener {listener:?}");
    assert!(listener < 4 * limit, "a listener {listener:?}");
}

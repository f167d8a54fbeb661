//! How long the planner of a controller takes for many Services: `docs/performance.md` has the figures.
//! It is CPU time that counts: what a busy machine gives to others does not.

#![allow(missing_docs, reason = "a test has no public items")]

mod support;

use std::time::Duration;

use serde_json::json;
use vipgate_api::Age;
use vipgate_planner::Planner;
use vipgate_planner::planner::Role;

/// What a release build may take; a debug build gets ten times as much, so that it still tells when
/// something has become quadratic.
fn bound(release: Duration) -> Duration {
    if cfg!(debug_assertions) { release * 10 } else { release }
}

fn service(planner: &mut Planner, index: usize, port: u16) {
    let service = json!({"kind": "Service",
        "metadata": {"name": format!("s{index}"), "namespace": format!("n{}", index % 20),
            "labels": {"app": format!("a{}", index % 7)}},
        "spec": {"type": "LoadBalancer", "ports": [{"port": port, "protocol": "TCP"}],
            "ipFamilies": ["IPv4", "IPv6"], "ipFamilyPolicy": "PreferDualStack",
            "selector": {"app": format!("a{}", index % 7)}}});
    let age = Age { created: None, place: (String::new(), index) };
    planner.apply(support::object(service).expect("a Service"), age);
}

/// Three pools: for some namespaces, for some labels, for everybody.
fn planner(services: usize) -> Planner {
    let mut planner = Planner::in_role(Role::Controller);
    let pools = "
kind: IPAddressPool
metadata: {name: namespaces, namespace: vipgate-system}
spec:
  addresses: [10.1.0.0/16, 'fd01::/64']
  serviceAllocation: {priority: 1, namespaces: [n1, n2, n3]}
---
kind: IPAddressPool
metadata: {name: labels, namespace: vipgate-system}
spec:
  addresses: [10.2.0.0/16, 'fd02::/64']
  serviceAllocation: {serviceSelectors: [{matchLabels: {app: a3}}]}
---
kind: IPAddressPool
metadata: {name: everybody, namespace: vipgate-system}
spec: {addresses: [10.3.0.0/16, 'fd03::/64'], avoidBuggyIPs: true}
";
    for (object, age) in support::objects("pools", pools) {
        planner.apply(object, age);
    }
    (0..services).for_each(|index| service(&mut planner, index, 80));
    planner.set_release(true);
    planner
}

/// CPU time of this thread so far.
fn cpu() -> Duration {
    let stat =
        std::fs::read_to_string("/proc/thread-self/schedstat").expect("a kernel that counts");
    let spent = stat.split(' ').next().and_then(|spent| spent.parse().ok());
    Duration::from_nanos(spent.expect("nanoseconds come first"))
}

/// Brings the planner up to date; the CPU time that it took.
fn timed(planner: &mut Planner) -> Duration {
    let start = cpu();
    planner.run();
    cpu() - start
}

/// The best of three.
fn best(name: &str, limit: Duration, attempt: impl FnMut() -> Duration) {
    let best = std::iter::repeat_with(attempt).take(3).min().unwrap_or_default();
    println!("{name}: {best:?}");
    assert!(best < limit, "{name} took {best:?}, which is not within {limit:?}");
}

#[test]
fn a_thousand_services_are_planned() {
    best("1,000 new Services, 3 pools", bound(Duration::from_millis(200)), || {
        let mut planner = planner(1000);
        let took = timed(&mut planner);
        assert_eq!(planner.claims().0.len(), 2000);
        took
    });
}

#[test]
fn one_of_ten_thousand_services_is_edited() {
    let mut planner = planner(10_000);
    planner.run();
    let claims = planner.claims().clone();
    assert_eq!(claims.0.len(), 20_000);
    let mut port = 80;
    best("1 of 10,000 Services edited", bound(Duration::from_millis(200)), || {
        port += 1;
        service(&mut planner, 5000, port);
        timed(&mut planner)
    });
    // Nothing that concerns addresses: allocation does not even run.
    let runs = planner.runs().allocation;
    best("1 of 10,000 Services applied again", bound(Duration::from_millis(50)), || {
        service(&mut planner, 5000, port);
        timed(&mut planner)
    });
    assert_eq!(planner.runs().allocation, runs);
    assert!(planner.claims().0.keys().eq(claims.0.keys()), "no address moved");
}

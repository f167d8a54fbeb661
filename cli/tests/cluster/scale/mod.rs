//! Many objects: how long the controller takes, with how many requests and how much memory.
//!
//! The objects are there before the controller starts, so that it meets all of them at once. A test in
//! `make test` looks at what does not depend on the machine: that every status is right, how many
//! requests it took, how much memory. The figures, with times, are `make figures`; [`figures`] says which.

mod figures;
mod follower;
mod objects;
mod process;
mod requests;

use std::time::{Duration, Instant};

use kube::api::DynamicObject;
use serde_json::{Value, json};
use vipgate_lab::Process;
use vipgate_lab::cluster::Patch;

use crate::site::{CLASS, SOON, Site, pool, said};
use follower::Follower;
use objects::Size;
use process::Usage;
use requests::Writes;

/// For all of a small crowd, also beside nineteen other tests.
const SMALL: Duration = Duration::from_secs(120);

/// A cluster full of objects that nobody has looked at yet, and the watches that see what becomes of them.
struct Crowd {
    size: Size,
    routes: Follower,
    gateways: Follower,
    before: Writes,
    // Last: the watches end before the cluster does.
    site: Site,
}

/// What a start from cold took.
struct Cold {
    controller: Process,
    /// Until the last route said what it is to say, and the last Gateway.
    routes: Duration,
    gateways: Duration,
    /// Until no more was written.
    writes: Writes,
    usage: Usage,
}

impl Crowd {
    fn new(name: &str, size: Size) -> Self {
        let site = Site::new(name);
        site.apply(CLASS);
        site.apply(&pool("10.80.0.0/16"));
        objects::create(&site, &size);
        let routes = Follower::start(&site, "TCPRoute", route_is_right);
        let gateways = Follower::start(&site, "Gateway", gateway_is_right);
        routes.wait_for_count(size.routes(), SMALL);
        gateways.wait_for_count(size.gateways, SMALL);
        let before = requests::quiet(&site);
        Self { size, routes, gateways, before, site }
    }

    /// Starts a controller, and waits until it has nothing more to do.
    fn start_cold(&self, within: Duration) -> Cold {
        let start = Instant::now();
        let controller = self.site.controller("one");
        let routes = self.routes.wait_until_all_are_right(within) - start;
        let gateways = self.gateways.wait_until_all_are_right(within) - start;
        let writes = requests::quiet(&self.site) - &self.before;
        let usage = Usage::of(controller.pid());
        Cold { controller, routes, gateways, writes, usage }
    }

    /// Changes a route's backend to a Service that is not there, waits until its status says so, and
    /// back. Returns how long each took, from before the change was asked for.
    fn lose_backend(&self, number: usize) -> [Duration; 2] {
        let name = objects::route_name(number);
        let path =
            format!("/apis/gateway.networking.k8s.io/v1/namespaces/default/tcproutes/{name}");
        let there = objects::service_name(self.size.service_of(number));
        let change = |service: &str, is: &str| {
            let rules = json!([{"backendRefs": [{"name": service, "port": 80}]}]);
            let start = Instant::now();
            let changed = self.site.cluster.api().patch(
                &path,
                Patch::Merge,
                &json!({"spec": {"rules": rules}}),
            );
            let generation = changed.unwrap()["metadata"]["generation"].clone();
            let at = self.routes.wait_for(&name, SOON, |route| {
                let conditions = &route.data["status"]["parents"][0]["conditions"];
                said(conditions, "ResolvedRefs").as_deref() == Some(is)
                    && observed(conditions, &generation)
            });
            at - start
        };
        [change("nowhere", "False/BackendNotFound"), change(&there, "True/ResolvedRefs")]
    }

    /// Changes the port of a Gateway's first listener; how long until its status is of that generation.
    fn move_listener(&self, number: usize, port: u16) -> Duration {
        let name = objects::gateway_name(number);
        let path = format!("/apis/gateway.networking.k8s.io/v1/namespaces/default/gateways/{name}");
        let mut listeners = objects::listeners(&self.size);
        listeners[0]["port"] = port.into();
        let start = Instant::now();
        let change = json!({"spec": {"listeners": listeners}});
        let changed = self.site.cluster.api().patch(&path, Patch::Merge, &change).unwrap();
        let generation = &changed["metadata"]["generation"];
        let at = self.gateways.wait_for(&name, SOON, |gateway| {
            let status = &gateway.data["status"];
            observed(&status["conditions"], generation)
                && status["listeners"].as_array().is_some_and(|listeners| {
                    listeners.iter().all(|one| observed(&one["conditions"], generation))
                })
        });
        at - start
    }
}

/// Whether all conditions are of this generation.
fn observed(conditions: &Value, generation: &Value) -> bool {
    conditions.as_array().is_some_and(|conditions| {
        !conditions.is_empty()
            && conditions.iter().all(|one| one["observedGeneration"] == *generation)
    })
}

/// A route of ours that is attached, and whose Service is there.
fn route_is_right(route: &DynamicObject) -> bool {
    let parents = route.data["status"]["parents"].as_array();
    let Some([parent]) = parents.map(Vec::as_slice) else { return false };
    let conditions = &parent["conditions"];
    said(conditions, "Accepted").as_deref() == Some("True/Accepted")
        && said(conditions, "ResolvedRefs").as_deref() == Some("True/ResolvedRefs")
        && observed(conditions, &json!(route.metadata.generation))
}

/// A Gateway of ours, each listener with its route. Nobody announces its address.
fn gateway_is_right(gateway: &DynamicObject) -> bool {
    let status = &gateway.data["status"];
    let Some(listeners) = status["listeners"].as_array() else { return false };
    said(&status["conditions"], "Accepted").as_deref() == Some("True/Accepted")
        && said(&status["conditions"], "Programmed").is_some_and(|is| !is.ends_with("/Invalid"))
        && observed(&status["conditions"], &json!(gateway.metadata.generation))
        && Some(listeners.len()) == gateway.data["spec"]["listeners"].as_array().map(Vec::len)
        && listeners.iter().all(|one| one["attachedRoutes"] == 1)
}

#[test]
fn a_crowd_gets_its_statuses_with_few_requests_and_little_memory() {
    let crowd = Crowd::new("crowd", Size { gateways: 50, listeners: 10, services: 100 });
    let cold = crowd.start_cold(SMALL);
    let (gateways, routes) = (crowd.size.gateways, crowd.size.routes());
    let Cold { writes, usage, .. } = &cold;
    // Each status is written once; a Gateway's again, once its address is claimed and so forth.
    assert!(writes.of("tcproutes/status") <= routes + routes / 20, "{writes}");
    assert!(writes.of("gateways/status") <= 2 * gateways, "{writes}");
    assert_eq!(writes.of("virtualips"), gateways, "{writes}");
    assert_eq!(writes.of("services"), gateways, "companions: {writes}");
    // What has no answer in time on a busy machine is tried again.
    assert!(writes.refused <= writes.all() / 20, "{writes}");
    assert!(usage.peak <= 100 << 20, "{usage:?}");

    // One change is one write, and what it tells of in events.
    let before = requests::quiet(&crowd.site);
    crowd.lose_backend(7);
    crowd.move_listener(3, 20_000);
    let writes = requests::quiet(&crowd.site) - &before;
    // The two spec changes are ours, too.
    assert_eq!(writes.of("tcproutes"), 2, "{writes}");
    assert!((2..=3).contains(&writes.of("tcproutes/status")), "{writes}");
    assert!((1..=2).contains(&writes.of("gateways/status")), "{writes}");
    // The claim and the companion have the port, too.
    assert_eq!(writes.of("virtualips"), 1, "{writes}");
    assert_eq!(writes.of("services"), 1, "{writes}");
}

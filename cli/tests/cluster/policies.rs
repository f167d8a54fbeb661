//! Policies in a cluster: what the controller says of them, and that the speakers do it.

use anyhow::ensure;
use serde_json::Value;
use vipgate_lab::eventually;

use crate::site::{SOON, Site, backend, gateway, route, said};

fn listener_policy(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: vipgate.dev/v1alpha1\nkind: ListenerPolicy\nmetadata: {{name: {name}}}\n\
         spec:\n  targetRefs: [{{group: gateway.networking.k8s.io, kind: Gateway, name: web}}]\n  {spec}\n"
    )
}

/// Waits until a policy's only ancestor has this status and reason of Accepted.
fn says(site: &Site, kind: &str, name: &str, is: &str) -> Value {
    eventually(SOON, || {
        let policy = site.get(kind, name)?;
        let ancestors = &policy["status"]["ancestors"];
        ensure!(ancestors.as_array().is_some_and(|all| all.len() == 1), "{policy}");
        let found = said(&ancestors[0]["conditions"], "Accepted");
        ensure!(found.as_deref() == Some(is), "{policy}");
        Ok(policy)
    })
    .unwrap()
}

#[test]
fn policies_have_statuses_and_are_obeyed() {
    let site = Site::new("policies");
    let _echo = site.echo(7000, "hello");
    site.apply_pool();
    site.apply(
        &[gateway("web", &[("tcp", 80)]), route("v1", "web", "web", "web"), backend("web", 7000)]
            .join("---\n"),
    );
    let (_controller, _speaker) = (site.controller("one"), site.speaker());
    let serves = |expected: bool| {
        eventually(SOON, || {
            let greeting = site.greeting("10.77.0.200:80");
            let is_served = greeting.as_deref().is_ok_and(|line| line == "hello");
            ensure!(is_served == expected, "{greeting:?}");
            Ok(())
        })
        .unwrap();
    };
    serves(true);

    site.apply(&listener_policy("strict", "deniedSourceRanges: [10.77.0.0/24]"));
    serves(false);
    let policy = says(&site, "listenerpolicy", "strict", "True/Accepted");
    let ancestor = &policy["status"]["ancestors"][0];
    assert_eq!(ancestor["ancestorRef"]["name"], "web");
    assert_eq!(ancestor["controllerName"], "vipgate.dev/gateway-controller");
    assert_eq!(ancestor["conditions"][0]["observedGeneration"], policy["metadata"]["generation"]);

    // A younger one has nothing to say, until the older one is gone.
    site.apply(&listener_policy("younger", "idleTimeout: 10m"));
    says(&site, "listenerpolicy", "younger", "False/Conflicted");
    site.cluster.kubectl(["delete", "listenerpolicy", "strict"]).unwrap();
    says(&site, "listenerpolicy", "younger", "True/Accepted");
    serves(true);

    site.apply(
        "apiVersion: vipgate.dev/v1alpha1\nkind: BackendPolicy\nmetadata: {name: absent}\n\
         spec:\n  targetRefs: [{group: vipgate.dev, kind: Backend, name: absent}]\n  balancing: Maglev\n",
    );
    says(&site, "backendpolicy", "absent", "False/TargetNotFound");
}

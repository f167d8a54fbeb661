//! A Gateway's way from creation to traffic and back.

use std::collections::BTreeSet;

use anyhow::ensure;
use vipgate_lab::eventually;

use crate::site::{SOON, Site, VIP, backend, gateway, route, said};

#[test]
fn a_gateway_gets_an_address_that_works_and_gives_it_back() {
    let mut site = Site::new("gateway");
    site.apply_pool();
    let _controller = site.controller("one");
    let _speaker = site.speaker();
    let _echo = site.echo(7000, "first");
    site.apply(&gateway("web", &[("tcp", 80)]));
    site.apply(&route("v1", "web", "web", "web"));
    site.apply(&backend("web", 7000));

    let web = site.condition("gateway", "web", "Programmed", "True/Programmed");
    assert_eq!(
        web["status"]["addresses"],
        serde_json::json!([{"type": "IPAddress", "value": VIP}])
    );
    assert_eq!(said(&web["status"]["conditions"], "Accepted").unwrap(), "True/Accepted");
    let listener = &web["status"]["listeners"][0];
    assert_eq!(said(&listener["conditions"], "Programmed").unwrap(), "True/Programmed");
    assert_eq!(listener["attachedRoutes"], 1);
    let text = web["status"]["conditions"].to_string();
    assert!(text.contains("announced by node worker on eth0"), "{text}");
    eventually(SOON, || {
        let route = site.get("tcproute", "web")?;
        let parent = &route["status"]["parents"][0];
        ensure!(said(&parent["conditions"], "Accepted").as_deref() == Some("True/Accepted"));
        ensure!(
            said(&parent["conditions"], "ResolvedRefs").as_deref() == Some("True/ResolvedRefs")
        );
        Ok(())
    })
    .unwrap();
    assert_eq!(site.greeting("10.77.0.200:80").unwrap(), "first");

    let vip = site.get("vip", VIP).unwrap();
    assert_eq!(vip["spec"]["pool"], "pool");
    assert_eq!(vip["spec"]["published"], true);
    assert_eq!(vip["spec"]["users"][0]["name"], "web");
    let listed = site.cluster.kubectl(["get", "vips"]).unwrap();
    assert!(listed.contains(VIP) && listed.contains("web"), "{listed}");

    // While the API server is away, all goes on.
    let open = site.connect("10.77.0.200:80").unwrap();
    site.cluster.api_server().kill();
    assert_eq!(site.greeting("10.77.0.200:80").unwrap(), "first");
    site.cluster.restart_api_server().unwrap();
    assert_eq!(site.greeting("10.77.0.200:80").unwrap(), "first");
    drop(open);

    // A listener more is programmed when it is bound, and not before.
    site.apply(&gateway("web", &[("tcp", 80), ("more", 81)]));
    eventually(SOON, || {
        let web = site.get("gateway", "web")?;
        let more = &web["status"]["listeners"][1];
        ensure!(said(&more["conditions"], "Programmed").as_deref() == Some("True/Programmed"));
        Ok(())
    })
    .unwrap();
    assert_eq!(site.greeting("10.77.0.200:81").unwrap(), "first");

    site.cluster.kubectl(["delete", "gateway", "web"]).unwrap();
    eventually(SOON, || {
        let vips = site.cluster.get(["vips"])?;
        ensure!(vips["items"] == serde_json::json!([]), "{vips}");
        let route = site.get("tcproute", "web")?;
        ensure!(route["status"]["parents"] == serde_json::json!([]), "{route}");
        Ok(())
    })
    .unwrap();
    eventually(SOON, || {
        ensure!(site.connect("10.77.0.200:80").is_err(), "the VIP still answers");
        Ok(())
    })
    .unwrap();
}

#[test]
fn events_tell_of_each_transition_once() {
    let site = Site::new("events");
    site.apply_pool();
    let _controller = site.controller("one");
    let _speaker = site.speaker();
    site.apply(&gateway("web", &[("tcp", 80)]));
    site.condition("gateway", "web", "Programmed", "True/Programmed");
    eventually(SOON, || {
        let events = site.cluster.get(["events.events.k8s.io"])?;
        let all = events["items"].as_array().cloned().unwrap_or_default();
        let programmed = all.iter().filter(|event| event["reason"] == "Programmed");
        let parts = programmed.clone().map(|event| event["regarding"]["fieldPath"].as_str());
        let parts: BTreeSet<_> = parts.collect();
        ensure!(
            programmed.count() == 2 && parts == [None, Some("status.listeners{tcp}")].into(),
            "not one event of reason Programmed for the Gateway and one for the listener: {events}"
        );
        Ok(())
    })
    .unwrap();
}

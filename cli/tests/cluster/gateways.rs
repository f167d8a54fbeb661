//! A Gateway's way from creation to traffic and back.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::ensure;
use serde_json::Value;
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

/// How often each event was told: by object, part of it, action and reason, one that is repeated (a series) as
/// often as that.
fn told(site: &Site) -> anyhow::Result<BTreeMap<String, u64>> {
    let events = site.cluster.get(["events.events.k8s.io", "--all-namespaces"])?;
    let mut told = BTreeMap::new();
    for event in events["items"].as_array().into_iter().flatten() {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let object = &event["regarding"];
        let [action, reason] = [&event["action"], &event["reason"]];
        let what = [&object["kind"], &object["name"], &object["fieldPath"], action, reason];
        let what: Vec<String> = what.map(text).into_iter().filter(|w| !w.is_empty()).collect();
        let times = event["series"]["count"].as_u64().unwrap_or(1);
        *told.entry(what.join(" ")).or_default() += times;
    }
    Ok(told)
}

/// The same when nothing was told for a while.
fn told_in_the_end(site: &Site) -> BTreeMap<String, u64> {
    eventually(SOON, || {
        let before = told(site)?;
        std::thread::sleep(Duration::from_secs(2));
        let after = told(site)?;
        ensure!(before == after, "{before:?} has become {after:?}");
        Ok(after)
    })
    .unwrap()
}

#[test]
fn events_tell_of_each_transition_once() {
    const PROGRAMMED: &str = "Gateway web Programmed Programmed";
    let site = Site::new("events");
    site.apply_pool();
    let _controller = site.controller("one");
    let mut speaker = site.speaker();
    site.apply(&gateway("web", &[("tcp", 80)]));
    site.condition("gateway", "web", "Programmed", "True/Programmed");
    eventually(SOON, || {
        let told = told(&site)?;
        ensure!(told.contains_key(PROGRAMMED), "{told:?}");
        Ok(())
    })
    .unwrap();
    let first = told_in_the_end(&site);
    assert!(first.values().all(|times| *times == 1), "{first:?}");
    let listener = "Gateway web status.listeners{tcp} Programmed Programmed";
    assert!(first.contains_key(listener), "{first:?}");

    // What is no transition is not told: here a write of the same object.
    site.cluster.kubectl(["label", "gateway", "web", "seen=yes"]).unwrap();
    assert_eq!(told_in_the_end(&site), first);

    // Away and back are two, and the second time is told as one.
    speaker.terminate(SOON).unwrap();
    eventually(SOON, || {
        let web = site.get("gateway", "web")?;
        let programmed = said(&web["status"]["conditions"], "Programmed").unwrap_or_default();
        ensure!(programmed.starts_with("False/"), "{programmed}");
        Ok(())
    })
    .unwrap();
    let _speaker = site.speaker();
    site.condition("gateway", "web", "Programmed", "True/Programmed");
    eventually(SOON, || {
        let told = told(&site)?;
        ensure!(told[PROGRAMMED] >= 2, "{told:?}");
        Ok(())
    })
    .unwrap();
    assert_eq!(told_in_the_end(&site)[PROGRAMMED], 2);
}

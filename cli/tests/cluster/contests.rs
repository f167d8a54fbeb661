//! Other controllers beside ours, on the same objects.

use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use vipgate_lab::eventually;

use crate::site::{SOON, Site, VIP, backend, gateway, route, said};

/// Writes a status as somebody else.
fn overwrite(site: &Site, kind: &str, name: &str, status: &Value) {
    let patch = json!({"status": status}).to_string();
    let arguments =
        ["patch", kind, name, "--subresource=status", "--type=merge", "--patch", &patch];
    site.cluster.kubectl(arguments.into_iter().chain(["--field-manager=rival"])).unwrap();
}

#[test]
fn a_fight_ends_with_the_name_of_the_other_and_news_are_said_all_the_same() {
    let site = Site::new("fight");
    site.apply_pool();
    let controller = site.controller("one");
    site.apply(&gateway("web", &[("tcp", 80)]));
    site.condition("gateway", "web", "Accepted", "True/Accepted");
    let theirs = json!({"conditions": [{"type": "Accepted", "status": "False", "reason": "Rival",
        "message": "m", "lastTransitionTime": "2026-01-01T00:00:00Z"}]});
    for _ in 0..3 {
        overwrite(&site, "gateway", "web", &theirs);
        site.condition("gateway", "web", "Accepted", "True/Accepted");
    }
    // The last word.
    let web = site.condition("gateway", "web", "vipgate.dev/Contested", "True/OtherWriter");
    let text = web["status"]["conditions"].to_string();
    assert!(text.contains("\\\"rival\\\""), "{text}");
    controller.wait_for_line("a fight over a status", SOON).unwrap();
    overwrite(&site, "gateway", "web", &theirs);
    std::thread::sleep(Duration::from_secs(2));
    let web = site.get("gateway", "web").unwrap();
    assert_eq!(said(&web["status"]["conditions"], "Accepted").unwrap(), "False/Rival");

    // Something new to say.
    site.apply(&gateway("web", &[("tcp", 80), ("more", 81)]));
    let web = site.condition("gateway", "web", "Accepted", "True/Accepted");
    assert_eq!(said(&web["status"]["conditions"], "vipgate.dev/Contested"), None);
    eventually(SOON, || {
        let events = site.cluster.get(["events.events.k8s.io"])?;
        let all = events["items"].as_array().context("a list")?;
        let fights = all.iter().filter(|event| event["reason"] == "OtherWriter");
        ensure!(fights.count() == 1, "{events}");
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_fight_over_a_service_is_told_where_it_is() {
    let site = Site::new("svcfight");
    site.apply_pool();
    let controller = site.controller("one");
    site.apply(
        "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {type: LoadBalancer, \
         loadBalancerClass: vipgate.dev/service, ports: [{port: 80}]}\n",
    );
    eventually(SOON, || site.get("vip", VIP)).unwrap();
    site.says("worker", json!([{"address": VIP, "state": "Serving", "interfaces": ["eth0"]}]));
    let shows = |ingress: &Value| {
        eventually(SOON, || {
            let web = site.get("service", "web")?;
            ensure!(web["status"]["loadBalancer"]["ingress"] == *ingress, "{}", web["status"]);
            Ok(web)
        })
        .unwrap()
    };
    let ours = json!([{"ip": VIP, "ipMode": "VIP"}]);
    let theirs = json!([{"ip": "198.51.100.9", "ipMode": "VIP"}]);
    shows(&ours);
    for _ in 0..3 {
        overwrite(&site, "service", "web", &json!({"loadBalancer": {"ingress": theirs}}));
        shows(&ours);
    }
    let web = site.condition("service", "web", "vipgate.dev/Contested", "True/OtherWriter");
    let text = web["status"]["conditions"].to_string();
    assert!(text.contains("\\\"rival\\\""), "{text}");
    controller.wait_for_line("a fight over a status", SOON).unwrap();
    overwrite(&site, "service", "web", &json!({"loadBalancer": {"ingress": theirs}}));
    std::thread::sleep(Duration::from_secs(2));
    shows(&theirs);
    // Another one is none of it: the claim stands, and other Services are written.
    assert_eq!(site.get("vip", VIP).unwrap()["spec"]["users"][0]["name"], "web");
    site.apply(
        "apiVersion: v1\nkind: Service\nmetadata: {name: next}\nspec: {type: LoadBalancer, \
         loadBalancerClass: vipgate.dev/service, ports: [{port: 80}]}\n",
    );
    site.condition("service", "next", "vipgate.dev/AddressAssigned", "False/Pending");
}

#[test]
fn entries_of_others_stay_and_nothing_is_written_without_a_change() {
    let site = Site::new("foreign");
    site.apply_pool();
    let _controller = site.controller("one");
    site.apply(&gateway("web", &[("tcp", 80)]));
    site.apply(&backend("web", 7000));
    site.apply(&route("v1", "web", "web", "web"));
    let ours = eventually(SOON, || {
        let route = site.get("tcproute", "web")?;
        let parents = route["status"]["parents"].as_array().context("parents")?.clone();
        ensure!(said(&parents[0]["conditions"], "Accepted").as_deref() == Some("True/Accepted"));
        Ok(parents[0].clone())
    })
    .unwrap();
    let foreign = json!({"parentRef": {"group": "gateway.networking.k8s.io", "kind": "Gateway",
        "name": "theirs"}, "controllerName": "example.com/other", "conditions": [
        {"type": "Accepted", "status": "True", "reason": "Accepted", "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z"}]});
    overwrite(&site, "tcproute", "web", &json!({"parents": [foreign, ours]}));
    let mine = json!({"conditions": [{"type": "example.com/Mine", "status": "True", "reason": "R",
        "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}]});
    let web = site.get("gateway", "web").unwrap();
    let mut conditions = web["status"]["conditions"].as_array().unwrap().clone();
    conditions.insert(0, mine["conditions"][0].clone());
    overwrite(&site, "gateway", "web", &json!({"conditions": conditions}));

    let ours_before = site.get("tcproute", "web").unwrap()["metadata"]["resourceVersion"].clone();
    // A change of the route is said in our entry; the others' are where they were.
    site.apply(&route("v1", "web", "web", "missing"));
    let changed = eventually(SOON, || {
        let route = site.get("tcproute", "web")?;
        let resolved = said(&route["status"]["parents"][1]["conditions"], "ResolvedRefs");
        ensure!(resolved.as_deref() == Some("False/BackendNotFound"), "{}", route["status"]);
        Ok(route)
    })
    .unwrap();
    assert_eq!(changed["status"]["parents"][0], foreign);
    site.apply(&gateway("web", &[("tcp", 80), ("more", 81)]));
    let web = eventually(SOON, || {
        let web = site.get("gateway", "web")?;
        ensure!(web["status"]["listeners"][1]["name"] == "more", "{}", web["status"]);
        Ok(web)
    })
    .unwrap();
    assert_eq!(web["status"]["conditions"][0], mine["conditions"][0]);
    let accepted = web["status"]["conditions"]
        .as_array()
        .unwrap()
        .iter()
        .find(|c| c["type"] == "Accepted")
        .unwrap();
    assert_eq!(accepted["observedGeneration"], web["metadata"]["generation"]);

    // Quiet, whatever else happens.
    std::thread::sleep(Duration::from_secs(1));
    let versions = || -> Vec<Value> {
        [
            ("gateway", "web"),
            ("tcproute", "web"),
            ("gatewayclass", "vipgate"),
            ("service", "vipgate-web"),
        ]
        .iter()
        .map(|(kind, name)| site.get(kind, name).unwrap()["metadata"]["resourceVersion"].clone())
        .collect()
    };
    let before = versions();
    site.apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: more}\n");
    site.apply(&backend("unused", 7000));
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(versions(), before);

    // What all of this stands on: a patch that puts an old resourceVersion back is refused.
    let old = json!([
        {"op": "replace", "path": "/metadata/resourceVersion", "value": ours_before},
        {"op": "add", "path": "/status", "value": {"parents": []}},
    ]);
    let old = old.to_string();
    let patch =
        ["patch", "tcproute", "web", "--subresource=status", "--type=json", "--patch", &old];
    let refused = format!("{:#}", site.cluster.kubectl(patch).unwrap_err());
    assert!(refused.contains("the object has been modified"), "{refused}");
}

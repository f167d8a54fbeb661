//! What was said once stays true: when the node that served is lost, when a class or a Gateway goes,
//! and when somebody takes away what the controller makes.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::ensure;
use serde_json::{Value, json};
use vipgate_lab::{eventually, patience};

use crate::site::{CLASS, SOON, Site, VIP, gateway, said};

/// Says as kubelet, or as the controller that watches over it.
fn ready(site: &Site, status: &str, message: &str) {
    let condition = json!({"type": "Ready", "status": status, "reason": "R", "message": message});
    let patch = json!({"status": {"conditions": [condition]}}).to_string();
    let arguments = ["patch", "node", "worker", "--subresource=status", "--patch", &patch];
    site.cluster.kubectl(arguments).unwrap();
}

/// Waits until the message of the Gateway's Programmed names the node and this.
fn names_the_node(site: &Site, why: &str) {
    eventually(SOON, || {
        let web = site.get("gateway", "web")?;
        let conditions = &web["status"]["conditions"];
        ensure!(said(conditions, "Programmed").as_deref() == Some("False/Pending"), "{conditions}");
        let text = conditions.to_string();
        let is_named = text.contains("node worker served it and is lost") && text.contains(why);
        ensure!(is_named, "{conditions}");
        // Its address is its own all the same, and clients are told so.
        ensure!(web["status"]["addresses"][0]["value"] == VIP, "{web}");
        Ok(())
    })
    .unwrap();
}

#[test]
fn what_a_lost_node_said_last_counts_no_more_and_goes_with_the_node() {
    let site = Site::new("lostnode");
    site.apply_pool();
    let _controller = site.controller("one");
    let mut speaker = site.speaker();
    site.apply(&gateway("web", &[("tcp", 80)]));
    let programmed = || site.condition("gateway", "web", "Programmed", "True/Programmed");
    programmed();
    ready(&site, "True", "kubelet is posting ready status");
    programmed();
    // The owner's uid is right: the garbage collector would have taken the object else.
    let node = site.get("node", "worker").unwrap()["metadata"]["uid"].clone();
    let owner = &site.get("speaker", "worker").unwrap()["metadata"]["ownerReferences"][0];
    assert_eq!((&owner["kind"], &owner["uid"]), (&json!("Node"), &node), "{owner}");

    speaker.kill();
    ready(&site, "Unknown", "Kubelet stopped posting node status.");
    names_the_node(&site, "Kubelet stopped posting node status.");
    ready(&site, "True", "kubelet is posting ready status");
    programmed();

    site.cluster.kubectl(["delete", "node", "worker"]).unwrap();
    let web = site.condition("gateway", "web", "Programmed", "False/Pending");
    assert_eq!(web["status"]["addresses"][0]["value"], VIP);
    // Nobody is left to take it away.
    eventually(SOON, || {
        ensure!(site.get("speaker", "worker").is_err(), "the Speaker object is still there");
        Ok(())
    })
    .unwrap();
}

/// A node that is taken out of the cluster while its speaker lives, and comes back as another Node.
#[test]
fn a_speaker_whose_node_is_registered_anew_is_owned_by_the_new_one() {
    let site = Site::new("newnode");
    site.apply_pool();
    let _controller = site.controller("one");
    let _speaker = site.speaker();
    site.apply(&gateway("web", &[("tcp", 80)]));
    site.condition("gateway", "web", "Programmed", "True/Programmed");
    site.cluster.kubectl(["delete", "node", "worker"]).unwrap();
    // The garbage collector takes the object away, and the speaker makes it again, of no owner.
    names_the_node(&site, "there is no Node of that name");
    let owners = || -> anyhow::Result<Value> {
        Ok(site.get("speaker", "worker")?["metadata"]["ownerReferences"].clone())
    };
    eventually(SOON, || {
        ensure!(owners()?.is_null(), "{}", owners()?);
        Ok(())
    })
    .unwrap();
    site.apply("apiVersion: v1\nkind: Node\nmetadata: {name: worker}\n");
    site.condition("gateway", "web", "Programmed", "True/Programmed");
    let node = site.get("node", "worker").unwrap()["metadata"]["uid"].clone();
    eventually(SOON, || {
        ensure!(owners()?[0]["uid"] == node, "{}", owners()?);
        Ok(())
    })
    .unwrap();
}

const SET: &str = "apiVersion: gateway.networking.k8s.io/v1\nkind: ListenerSet\nmetadata: {name: more}\n\
    spec: {parentRef: {name: web}, listeners: [{name: tcp, protocol: TCP, port: 81}]}\n";

fn open_gateway() -> String {
    gateway("web", &[("tcp", 80)])
        .replace("spec: {", "spec: {allowedListeners: {namespaces: {from: All}}, ")
}

const THEIRS: &str = "apiVersion: gateway.networking.k8s.io/v1\nkind: GatewayClass\n\
    metadata: {name: theirs}\nspec: {controllerName: example.com/gateways}\n";

/// A Gateway and its ListenerSet, both programmed.
fn served_set(name: &str) -> Site {
    let site = Site::new(name);
    site.apply_pool();
    site.apply(&open_gateway());
    site.apply(SET);
    site
}

#[test]
fn a_listener_set_says_so_when_its_gateway_is_gone() {
    let site = served_set("setorphan");
    let _controller = site.controller("one");
    let _speaker = site.speaker();
    site.condition("listenerset", "more", "Programmed", "True/Programmed");
    site.cluster.kubectl(["delete", "gateway", "web"]).unwrap();
    let more = site.condition("listenerset", "more", "Accepted", "False/ParentNotAccepted");
    let conditions = &more["status"]["conditions"];
    assert_eq!(said(conditions, "Programmed").unwrap(), "False/ParentNotAccepted");
    assert!(conditions.to_string().contains("Gateway default/web does not exist"), "{conditions}");
    site.apply(&open_gateway());
    site.condition("listenerset", "more", "Programmed", "True/Programmed");
}

#[test]
fn a_gateway_that_changes_its_class_is_told_the_truth_and_whoever_takes_it_over_is_left_alone() {
    let site = served_set("reclassed");
    site.apply(THEIRS);
    let _controller = site.controller("one");
    let _speaker = site.speaker();
    site.condition("listenerset", "more", "Programmed", "True/Programmed");
    site.condition("gateway", "web", "Programmed", "True/Programmed");

    // A class that is not there, by a slip: the address waits.
    let of_class = |class: &str| {
        let patch = json!({"spec": {"gatewayClassName": class}}).to_string();
        let patch = ["patch", "gateway", "web", "--type=merge", "--patch", &patch];
        site.cluster.kubectl(patch).unwrap();
    };
    of_class("missing");
    let web = site.condition("gateway", "web", "Programmed", "False/Pending");
    let text = web["status"]["conditions"].to_string();
    assert!(text.contains("there is no GatewayClass \\\"missing\\\""), "{text}");
    site.condition("listenerset", "more", "Accepted", "False/ParentNotAccepted");
    let vip = site.get("vip", VIP).unwrap();
    assert_eq!(vip["spec"]["users"][0]["name"], "web");
    of_class("vipgate");
    let web = site.condition("gateway", "web", "Programmed", "True/Programmed");
    assert_eq!(web["status"]["addresses"][0]["value"], VIP);

    // Somebody else's: it is given back, and their work is not touched.
    of_class("theirs");
    let web = site.condition("gateway", "web", "Programmed", "Unknown/Pending");
    assert_eq!(web["status"].get("addresses").unwrap_or(&json!([])), &json!([]));
    site.condition("listenerset", "more", "Accepted", "Unknown/Pending");
    eventually(SOON, || {
        ensure!(site.get("vip", VIP).is_err(), "the claim is still there");
        Ok(())
    })
    .unwrap();
    let theirs = json!({"status": {"conditions": [{"type": "Accepted", "status": "True",
        "reason": "Accepted", "message": "theirs", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}});
    let theirs = theirs.to_string();
    let patch = ["patch", "gateway", "web", "--subresource=status", "--type=merge", "--patch"];
    let patch = patch.into_iter().chain([theirs.as_str(), "--field-manager=theirs"]);
    site.cluster.kubectl(patch).unwrap();
    site.apply(&open_gateway().replace("name: web", "name: next"));
    site.condition("gateway", "next", "Programmed", "True/Programmed");
    let web = site.get("gateway", "web").unwrap();
    assert!(web["status"]["conditions"].to_string().contains("theirs"), "{}", web["status"]);
}

/// Deletes an object whenever it is seen, until this holds; says how often it was made.
fn delete_until(site: &Site, kind: &str, name: &str, mut done: impl FnMut() -> bool) -> usize {
    let mut uids = BTreeSet::new();
    while !done() {
        if let Ok(object) = site.get(kind, name) {
            uids.insert(object["metadata"]["uid"].to_string());
            drop(site.cluster.kubectl(["delete", kind, name, "--wait=false"]));
        }
    }
    uids.len()
}

/// The moment that comes so long from now.
fn after(time: Duration) -> impl FnMut() -> bool {
    let begun = Instant::now();
    move || begun.elapsed() >= time
}

#[test]
fn what_is_deleted_again_and_again_is_not_made_for_ever_and_claims_ever_more_slowly() {
    let site = Site::new("deleter");
    site.apply_pool();
    let controller = site.controller("one");
    site.apply(&gateway("web", &[("tcp", 80)]));
    eventually(SOON, || site.get("service", "vipgate-web")).unwrap();
    let said = |line: &'static str| {
        let (mut late, controller) = (after(patience(SOON * 3)), &controller);
        move || {
            let said = controller.wait_for_line(line, Duration::from_millis(1)).is_ok();
            assert!(said || !late(), "nobody says: {line}");
            said
        }
    };
    let fight = said("somebody keeps deleting what vipgate makes");
    let made = delete_until(&site, "service", "vipgate-web", fight);
    assert!(made >= 3, "{made}");
    let made = delete_until(&site, "service", "vipgate-web", after(Duration::from_secs(4)));
    assert_eq!(made, 0, "a companion that is fought over is not made any more");

    let made = delete_until(&site, "vip", VIP, said("a fight over a claim"));
    assert!(made >= 4, "{made}");
    // After 1, 2 and 4 seconds.
    let made = delete_until(&site, "vip", VIP, after(Duration::from_secs(8)));
    assert!(made <= 4, "a claim that is fought over was made {made} times in 8 s");
    // It is never given up, and nobody else waits for it.
    site.apply(&gateway("next", &[("tcp", 80)]));
    site.condition("gateway", "next", "Accepted", "True/Accepted");
    eventually(SOON * 3, || site.get("vip", VIP)).unwrap();
}

#[test]
fn events_are_shown_where_people_look_for_them() {
    let site = Site::new("describe");
    site.apply(CLASS);
    site.apply_pool();
    let _controller = site.controller("one");
    let _speaker = site.speaker();
    site.apply(&gateway("web", &[("a", 80), ("b", 81)]));
    site.condition("gateway", "web", "Programmed", "True/Programmed");
    eventually(SOON, || {
        let described = site.cluster.kubectl(["describe", "gateway", "web"])?;
        for expected in ["Programmed=True:", "Programmed=True for listener a", "for listener b"] {
            ensure!(described.contains(expected), "{expected:?} is missing:\n{described}");
        }
        Ok(())
    })
    .unwrap();
}

//! Interrupted in the middle of work.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::ensure;
use jiff::Timestamp;
use rustix::process::Signal;
use serde_json::Value;
use vipgate_lab::eventually;

use crate::site::{CLASS, SOON, Site, gateway, pool, said};

const LONG: Duration = Duration::from_secs(120);
const MANY: usize = 300;
/// How many Gateways there are when the first many were not enough.
const MORE: [usize; 3] = [MANY, 2 * MANY, 3 * MANY];
/// What is interrupted is so after these claims.
const FIRST: usize = 3;
const CLAIMS: &str = "/apis/vipgate.dev/v1alpha1/virtualips";
const GATEWAYS: &str = "/apis/gateway.networking.k8s.io/v1/gateways";
const SERVICES: &str = "/api/v1/services";
/// Room for all of them.
const ROOM: &str = "10.78.0.0/22";

fn create(site: &Site, many: usize) {
    let gateways: String =
        (0..many).map(|n| format!("---\n{}", gateway(&format!("g{n}"), &[("tcp", 80)]))).collect();
    site.apply(&gateways);
}

/// Tries with so many Gateways in a cluster of its own, and with more as long as it says that what
/// was to be interrupted was over already.
fn in_the_middle(name: &str, attempt: impl Fn(&mut Site, usize) -> bool) {
    let was_interrupted = |many: &usize| {
        let mut site = Site::new(name);
        site.apply(CLASS);
        let in_time = attempt(&mut site, *many);
        println!("of {many}; in the middle: {in_time}");
        in_time
    };
    assert!(MORE.iter().any(was_interrupted), "it was over each time");
}

/// Has many Gateways wait for a pool, gives them one, and calls `interrupt` when the first claims are
/// there, which it returns: all are made in one decision, and most are still to be written.
fn after_first_claims(
    site: &mut Site,
    many: usize,
    interrupt: impl FnOnce(&mut Site),
) -> Vec<Value> {
    create(site, many);
    eventually(LONG, || {
        for gateway in list(site, GATEWAYS)? {
            let found = said(&gateway["status"]["conditions"], "Programmed");
            ensure!(found.as_deref() == Some("False/AddressNotAssigned"), "{gateway}");
        }
        Ok(())
    })
    .unwrap();
    let watch = format!("{CLAIMS}?watch=1&timeoutSeconds={}", LONG.as_secs());
    let claims = site.cluster.api().watch(&watch).unwrap();
    site.apply(&pool(ROOM));
    let first: Vec<Value> = claims.take(FIRST).map(|claim| claim.unwrap().1).collect();
    interrupt(site);
    assert_eq!(first.len(), FIRST, "{first:?}");
    first
}

/// All of a collection, asked without the delay of a program.
fn list(site: &Site, collection: &str) -> anyhow::Result<Vec<Value>> {
    Ok(site.cluster.api().get(collection)?["items"].as_array().cloned().unwrap_or_default())
}

/// Everything is as if nothing had happened: an address for each, and a status for each.
fn all_is_well(site: &Site, many: usize) {
    eventually(LONG, || {
        let vips = list(site, CLAIMS)?;
        let owners: BTreeSet<String> =
            vips.iter().map(|vip| vip["spec"]["users"][0]["name"].to_string()).collect();
        ensure!(owners.len() == many && vips.len() == many, "{} of {}", owners.len(), vips.len());
        for gateway in list(site, GATEWAYS)? {
            let conditions = &gateway["status"]["conditions"];
            let accepted = said(conditions, "Accepted");
            ensure!(accepted.as_deref() == Some("True/Accepted"), "{gateway}");
            // It has an address, which no speaker serves.
            let programmed = said(conditions, "Programmed");
            ensure!(programmed.as_deref() == Some("False/Pending"), "{gateway}");
        }
        ensure!(list(site, SERVICES)?.len() >= many, "not every Gateway has its Service");
        Ok(())
    })
    .unwrap();
}

/// What was there has the same owner: it was neither given up nor given to another.
fn stay(site: &Site, before: &[Value]) {
    let after = list(site, CLAIMS).unwrap();
    for vip in before {
        let same = after.iter().find(|now| now["metadata"]["uid"] == vip["metadata"]["uid"]);
        let same = same.unwrap_or_else(|| panic!("gone: {vip}"));
        assert_eq!(same["metadata"]["name"], vip["metadata"]["name"]);
        assert_eq!(same["spec"]["users"], vip["spec"]["users"]);
    }
}

#[test]
fn a_controller_that_is_killed_between_two_writes_is_continued_by_the_next() {
    in_the_middle("killed", |site, many| {
        let mut one = site.controller("one");
        after_first_claims(site, many, |_| one.kill());
        let claimed = list(site, CLAIMS).unwrap();
        println!("killed after {} claims", claimed.len());
        if claimed.len() == many {
            return false;
        }
        // Nor does a status speak yet of those that there are.
        let waits = |gateway: &Value| {
            let programmed = said(&gateway["status"]["conditions"], "Programmed");
            programmed.as_deref() == Some("False/AddressNotAssigned")
        };
        assert!(list(site, GATEWAYS).unwrap().iter().all(waits));
        let two = site.controller("two");
        two.wait_for_line("leads", SOON).unwrap();
        all_is_well(site, many);
        stay(site, &claimed);
        true
    });
}

#[test]
fn a_controller_that_is_told_to_end_finishes_its_writes_and_hands_over() {
    in_the_middle("toldtoend", |site, many| {
        let mut one = site.controller("one");
        one.wait_for_line("leads", SOON).unwrap();
        let two = site.controller("two");
        two.wait_for_line("stands by", SOON).unwrap();
        // As long as it is stopped, what it wrote can be counted.
        after_first_claims(site, many, |_| one.signal(Signal::STOP).unwrap());
        let claimed = list(site, CLAIMS).unwrap().len();
        let asked = Instant::now();
        one.signal(Signal::TERM).unwrap();
        one.signal(Signal::CONT).unwrap();
        assert!(one.wait(SOON).unwrap().success());
        one.wait_for_line("gave the lease back", SOON).unwrap();
        two.wait_for_line("leads", SOON).unwrap();
        println!("handed over within {:?}, after {claimed} claims", asked.elapsed());
        if claimed == many {
            return false;
        }
        all_is_well(site, many);
        true
    });
}

/// While it sleeps the API server forgets what the controller would ask for (410): everything is
/// listed again, what is gone is given up, and nothing else.
#[test]
fn what_happened_before_a_watch_that_is_too_old_is_found_and_nothing_else_withdrawn() {
    let mut site = Site::new("tooold");
    site.apply(CLASS);
    site.apply(&pool(ROOM));
    let log = "info,vipgate_controller=debug,kube=warn";
    let one = site.controller_that_logs(site.chart(), "one", log);
    create(&site, MANY);
    all_is_well(&site, MANY);
    let before = list(&site, CLAIMS).unwrap();
    one.signal(Signal::STOP).unwrap();
    // The new server's history begins with what is there when it starts.
    site.cluster.api_server().kill();
    site.cluster.restart_api_server().unwrap();
    site.cluster.kubectl(["delete", "gateway", "g7"]).unwrap();
    site.cluster.restart_api_server().unwrap();
    let mark = one.mark();
    one.signal(Signal::CONT).unwrap();
    one.wait_for_line_after(&mark, "the watch is too old", SOON).unwrap();
    let owner = |vip: &Value| vip["spec"]["users"][0]["name"].clone();
    eventually(LONG, || {
        let owners: Vec<Value> = list(&site, CLAIMS)?.iter().map(owner).collect();
        ensure!(owners.len() == MANY - 1 && !owners.contains(&"g7".into()), "{}", owners.len());
        Ok(())
    })
    .unwrap();
    let after = list(&site, CLAIMS).unwrap();
    for vip in before.iter().filter(|vip| owner(vip) != "g7") {
        let same = after.iter().find(|now| now["metadata"]["uid"] == vip["metadata"]["uid"]);
        assert_eq!(same.map(owner), Some(owner(vip)));
    }
}

#[test]
fn an_api_server_that_is_restarted_is_waited_for_and_nothing_is_withdrawn() {
    in_the_middle("restarted", |site, many| {
        let _one = site.controller("one");
        let first = after_first_claims(site, many, |site| site.cluster.api_server().kill());
        let killed = Timestamp::now();
        // Times of creation are whole seconds: what comes after the restart has another.
        std::thread::sleep(Duration::from_secs(2));
        site.cluster.restart_api_server().unwrap();
        all_is_well(site, many);
        stay(site, &first);
        let is_earlier = |vip: &Value| {
            let created = vip["metadata"]["creationTimestamp"].as_str().unwrap_or_default();
            created.parse::<Timestamp>().unwrap() <= killed
        };
        let earlier = list(site, CLAIMS).unwrap().iter().filter(|vip| is_earlier(vip)).count();
        println!("the API server was killed after {earlier} claims");
        earlier < many
    });
}

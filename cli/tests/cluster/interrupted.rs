//! Interrupted in the middle of work.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::ensure;
use rustix::process::Signal;
use serde_json::Value;
use vipgate_lab::{Program, eventually};

use crate::site::{CLASS, SOON, Site, gateway, pool, said};

const LONG: Duration = Duration::from_secs(120);
const MANY: usize = 300;

fn many(site: &Site) {
    let gateways: String =
        (0..MANY).map(|n| format!("---\n{}", gateway(&format!("g{n}"), &[("tcp", 80)]))).collect();
    site.apply(&gateways);
}

fn list(site: &Site, kind: &str) -> anyhow::Result<Vec<Value>> {
    Ok(site.cluster.get([kind])?["items"].as_array().cloned().unwrap_or_default())
}

/// Everything is as if nothing had happened: an address for each, and a status for each.
fn all_is_well(site: &Site) {
    eventually(LONG, || {
        let vips = list(site, "vips")?;
        let owners: BTreeSet<String> =
            vips.iter().map(|vip| vip["spec"]["users"][0]["name"].to_string()).collect();
        ensure!(owners.len() == MANY && vips.len() == MANY, "{} of {}", owners.len(), vips.len());
        for gateway in list(site, "gateways")? {
            let accepted = said(&gateway["status"]["conditions"], "Accepted");
            ensure!(accepted.as_deref() == Some("True/Accepted"), "{gateway}");
        }
        ensure!(list(site, "services")?.len() >= MANY, "not every Gateway has its Service");
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_controller_that_is_killed_between_two_writes_is_continued_by_the_next() {
    let site = Site::new("killed");
    site.apply(CLASS);
    site.apply(&pool("10.78.0.0/22"));
    many(&site);
    let mut one = site.controller("one");
    let found = eventually(LONG, || {
        let found = list(&site, "vips")?.len();
        ensure!(found > 0);
        Ok(found)
    })
    .unwrap();
    one.kill();
    eprintln!("killed after {found} of {MANY} claims");
    let two = site.controller("two");
    two.wait_for_line("leads", SOON).unwrap();
    all_is_well(&site);
}

#[test]
fn a_controller_that_is_told_to_end_finishes_its_writes_and_hands_over() {
    let site = Site::new("toldtoend");
    site.apply(CLASS);
    site.apply(&pool("10.78.0.0/22"));
    let mut one = site.controller("one");
    one.wait_for_line("leads", SOON).unwrap();
    let two = site.controller("two");
    two.wait_for_line("stands by", SOON).unwrap();
    many(&site);
    eventually(LONG, || {
        ensure!(!list(&site, "vips")?.is_empty());
        Ok(())
    })
    .unwrap();
    let asked = Instant::now();
    assert!(one.terminate(SOON).unwrap().success());
    one.wait_for_line("gave the lease back", SOON).unwrap();
    two.wait_for_line("leads", SOON).unwrap();
    eprintln!("handed over within {:?}, in the middle of {MANY} Gateways", asked.elapsed());
    all_is_well(&site);
}

/// While it sleeps the API server forgets what the controller would ask for (410): everything is
/// listed again, what is gone is given up, and nothing else.
#[test]
fn what_happened_before_a_watch_that_is_too_old_is_found_and_nothing_else_withdrawn() {
    let mut site = Site::new("tooold");
    site.apply(CLASS);
    site.apply(&pool("10.78.0.0/22"));
    let program = Program::new(env!("CARGO_BIN_EXE_vipgate"))
        .args(["controller", "--identity", "one", "--kubeconfig"])
        .arg(site.cluster.kubeconfig())
        .env("VIPGATE_LOG", "info,vipgate_controller=debug,kube=warn");
    let one = site.controllers.spawn(program).unwrap();
    many(&site);
    all_is_well(&site);
    let before = list(&site, "vips").unwrap();
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
        let owners: Vec<Value> = list(&site, "vips")?.iter().map(owner).collect();
        ensure!(owners.len() == MANY - 1 && !owners.contains(&"g7".into()), "{}", owners.len());
        Ok(())
    })
    .unwrap();
    let after = list(&site, "vips").unwrap();
    for vip in before.iter().filter(|vip| owner(vip) != "g7") {
        let same = after.iter().find(|now| now["metadata"]["uid"] == vip["metadata"]["uid"]);
        assert_eq!(same.map(owner), Some(owner(vip)));
    }
}

#[test]
fn an_api_server_that_is_restarted_is_waited_for_and_nothing_is_withdrawn() {
    let mut site = Site::new("restarted");
    site.apply(CLASS);
    site.apply(&pool("10.78.0.0/22"));
    let _one = site.controller("one");
    many(&site);
    let before = eventually(LONG, || {
        let vips = list(&site, "vips")?;
        ensure!(!vips.is_empty());
        Ok(vips)
    })
    .unwrap();
    site.cluster.api_server().kill();
    site.cluster.restart_api_server().unwrap();
    all_is_well(&site);
    // What was there has the same owner: it was neither given up nor given to another.
    let after = list(&site, "vips").unwrap();
    for vip in before {
        let same = after.iter().find(|now| now["metadata"]["name"] == vip["metadata"]["name"]);
        assert_eq!(same.unwrap()["metadata"]["uid"], vip["metadata"]["uid"]);
        assert_eq!(same.unwrap()["spec"]["users"], vip["spec"]["users"]);
    }
}

//! Interrupted in the middle of work.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::ensure;
use serde_json::Value;
use vipgate_lab::eventually;

use crate::site::{CLASS, SOON, Site, gateway, pool, said};

const LONG: Duration = Duration::from_secs(60);
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

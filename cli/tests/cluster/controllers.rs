//! Being one of several, and being interrupted.

use std::time::{Duration, Instant};

use anyhow::ensure;
use rustix::process::Signal;
use vipgate_lab::eventually;

use crate::site::{SOON, Site, VIP, gateway};

/// How many VirtualIPs there are.
fn vips(site: &Site) -> anyhow::Result<usize> {
    Ok(site.cluster.get(["vips"])?["items"].as_array().map_or(0, Vec::len))
}

fn has_vips(site: &Site, count: usize) {
    eventually(SOON, || {
        let found = vips(site)?;
        ensure!(found == count, "{found} VirtualIPs");
        Ok(())
    })
    .unwrap();
}

#[test]
fn another_replica_takes_over_after_a_crash_and_at_once_after_an_orderly_end() {
    let site = Site::new("takeover");
    site.apply_pool();
    let mut one = site.controller("one");
    one.wait_for_line("leads", SOON).unwrap();
    let mut two = site.controller("two");
    two.wait_for_line("controls", SOON).unwrap();
    site.apply(&gateway("a", &[("tcp", 80)]));
    has_vips(&site, 1);

    one.kill();
    let crashed = Instant::now();
    two.wait_for_line("leads", Duration::from_secs(8)).unwrap();
    let took = crashed.elapsed();
    assert!(took <= vipgate_lab::patience(Duration::from_secs(5)), "{took:?}");
    site.apply(&gateway("b", &[("tcp", 80)]));
    has_vips(&site, 2);

    let three = site.controller("three");
    three.wait_for_line("controls", SOON).unwrap();
    // It has to have seen the lease before it can be fast.
    std::thread::sleep(Duration::from_secs(2));
    let asked = Instant::now();
    two.terminate(SOON).unwrap();
    three.wait_for_line("leads", Duration::from_secs(5)).unwrap();
    let took = asked.elapsed();
    assert!(took <= vipgate_lab::patience(Duration::from_millis(1500)), "{took:?}");
    site.apply(&gateway("c", &[("tcp", 80)]));
    has_vips(&site, 3);
}

/// A leader that is stopped, loses its lease and wakes must not write what it thought before.
#[test]
fn a_leader_that_wakes_after_a_takeover_changes_nothing_back() {
    let site = Site::new("asleep");
    site.apply_pool();
    let one = site.controller("one");
    one.wait_for_line("leads", SOON).unwrap();
    site.apply(&gateway("a", &[("tcp", 80)]));
    has_vips(&site, 1);
    let two = site.controller("two");
    two.wait_for_line("controls", SOON).unwrap();

    one.signal(Signal::STOP).unwrap();
    two.wait_for_line("leads", SOON).unwrap();
    site.cluster.kubectl(["delete", "gateway", "a"]).unwrap();
    has_vips(&site, 0);
    site.apply(&gateway("b", &[("tcp", 80)]));
    has_vips(&site, 1);
    let before = site.get("vip", VIP).unwrap();
    let mark = one.mark();
    one.signal(Signal::CONT).unwrap();
    one.wait_for_line_after(&mark, "leads no more", SOON).unwrap();
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(site.get("vip", VIP).unwrap(), before);
    assert_eq!(before["spec"]["users"][0]["name"], "b");
}

#[test]
fn addresses_stay_over_a_restart_and_many_at_once_get_one_each() {
    let site = Site::new("many");
    site.apply(crate::site::CLASS);
    site.apply(&crate::site::pool("10.78.0.0/22"));
    let mut one = site.controller("one");
    one.wait_for_line("leads", SOON).unwrap();
    let many: String =
        (0..500).map(|n| format!("---\n{}", gateway(&format!("g{n}"), &[("tcp", 80)]))).collect();
    site.apply(&many);
    eventually(Duration::from_secs(60), || {
        let found = vips(&site)?;
        ensure!(found == 500, "{found} VirtualIPs");
        Ok(())
    })
    .unwrap();
    let before = site.cluster.get(["vips"]).unwrap();
    one.kill();
    let two = site.controller("two");
    two.wait_for_line("leads", SOON).unwrap();
    std::thread::sleep(Duration::from_secs(3));
    let after = site.cluster.get(["vips"]).unwrap();
    let specs = |list: &serde_json::Value| -> Vec<serde_json::Value> {
        list["items"].as_array().unwrap().iter().map(|vip| vip["spec"].clone()).collect()
    };
    assert_eq!(specs(&before), specs(&after));
    let owners: std::collections::BTreeSet<String> =
        specs(&after).iter().map(|spec| spec["users"][0]["name"].to_string()).collect();
    assert_eq!(owners.len(), 500);
}

//! Being one of several, and being interrupted.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::ensure;
use rustix::process::Signal;
use serde_json::{Value, json};
use vipgate_lab::eventually;

use crate::certificates::{GRANT, LISTENER, copies, secret};
use crate::site::{SOON, Site, VIP, backend, gateway, route, said};

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
    three.wait_for_line("stands by", SOON).unwrap();
    let asked = Instant::now();
    two.terminate(SOON).unwrap();
    three.wait_for_line("leads", Duration::from_secs(5)).unwrap();
    let took = asked.elapsed();
    println!("handed over within {took:?}");
    assert!(took <= vipgate_lab::patience(Duration::from_secs(1)), "{took:?}");
    site.apply(&gateway("c", &[("tcp", 80)]));
    has_vips(&site, 3);
}

const SERVICE: &str = "apiVersion: v1\nkind: Service\nmetadata: {name: lb}\nspec: {type: LoadBalancer, \
    loadBalancerClass: vipgate.dev/service, ports: [{port: 80}]}\n";

/// Everything that a leader writes, but for the lease: what there is, and in which version.
fn written(site: &Site) -> BTreeMap<String, Value> {
    let kinds = "gatewayclasses,gateways,tcproutes,services,secrets,vips,ipaddresspools";
    let objects = site.cluster.get([kinds, "--all-namespaces"]).unwrap();
    let events = site.cluster.get(["events.events.k8s.io", "--all-namespaces"]).unwrap();
    let list = |list: &Value| list["items"].as_array().cloned().unwrap_or_default();
    let of_ours = list(&events)
        .into_iter()
        .filter(|event| event["reportingController"] == "vipgate.dev/gateway-controller");
    let shown = |object: Value| {
        let metadata = &object["metadata"];
        let name = format!("{} {}/{}", object["kind"], metadata["namespace"], metadata["name"]);
        (name, json!([metadata["uid"], metadata["resourceVersion"]]))
    };
    list(&objects).into_iter().chain(of_ours).map(shown).collect()
}

/// A leader that is stopped, loses its lease and wakes must not write what it thought before, nor
/// what it makes of the past that it is then told.
#[test]
fn a_leader_that_wakes_after_a_takeover_changes_nothing_back() {
    let site = Site::new("asleep");
    site.apply_pool();
    site.apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: certs}\n");
    secret(&site, "certs", "web");
    let one = site.controller("one");
    one.wait_for_line("leads", SOON).unwrap();
    site.apply(&[LISTENER, GRANT, SERVICE].join("---\n"));
    site.apply(&gateway("a", &[("tcp", 80)]));
    site.apply(&backend("a", 7000));
    site.apply(&route("v1", "a", "a", "a"));
    has_vips(&site, 3);
    let serving =
        |address: &str| json!({"address": address, "state": "Serving", "interfaces": ["eth0"]});
    site.says("worker", [VIP, "10.77.0.201", "10.77.0.202"].map(serving).into_iter().collect());
    site.condition("gateway", "a", "Programmed", "True/Programmed");
    site.condition("service", "lb", "vipgate.dev/AddressAssigned", "True/AddressAssigned");
    eventually(SOON, || {
        ensure!(copies(&site)?.len() == 1, "no copy of the certificate");
        Ok(())
    })
    .unwrap();
    let two = site.controller("two");
    two.wait_for_line("stands by", SOON).unwrap();

    one.signal(Signal::STOP).unwrap();
    two.wait_for_line("leads", SOON).unwrap();
    // Of everything that is there now, something changes; and something is there and gone again.
    let passing: String =
        ["p", "q"].map(|name| format!("---\n{}", gateway(name, &[("tcp", 80)]))).concat();
    site.apply(&passing);
    has_vips(&site, 5);
    site.cluster.kubectl(["delete", "gateway", "p", "q"]).unwrap();
    site.cluster.kubectl(["delete", "referencegrant", "web", "--namespace=certs"]).unwrap();
    let to = r#"{"spec": {"type": "ClusterIP", "loadBalancerClass": null}}"#;
    site.cluster.kubectl(["patch", "service", "lb", "--patch", to]).unwrap();
    site.apply(&gateway("a", &[("tcp", 80), ("more", 81)]));
    site.apply(&route("v1", "a", "a", "missing"));
    has_vips(&site, 2);
    let before = eventually(SOON * 3, || {
        let before = written(&site);
        std::thread::sleep(Duration::from_secs(2));
        ensure!(written(&site) == before, "it is not quiet yet");
        Ok(before)
    })
    .unwrap();
    let said = |kind: &str| before.keys().filter(|name| name.contains(kind)).count();
    assert!(said("TCPRoute") == 1 && said("Event") > 3, "{before:#?}");
    assert_eq!(copies(&site).unwrap().len(), 0);

    let mark = one.mark();
    one.signal(Signal::CONT).unwrap();
    one.wait_for_line_after(&mark, "leads no more", SOON).unwrap();
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(written(&site), before);
}

/// The addresses of the Gateways of a cluster, if each has one and says that it is programmed.
fn all_programmed(site: &Site, count: usize) -> anyhow::Result<BTreeSet<String>> {
    let gateways = site.cluster.api().get("/apis/gateway.networking.k8s.io/v1/gateways")?;
    let gateways = gateways["items"].as_array().cloned().unwrap_or_default();
    ensure!(gateways.len() == count, "{} Gateways", gateways.len());
    let mut addresses = BTreeSet::new();
    for gateway in gateways {
        let (generation, status) = (&gateway["metadata"]["generation"], &gateway["status"]);
        for condition in ["Accepted", "Programmed"] {
            let says = said(&status["conditions"], condition);
            ensure!(says == Some(format!("True/{condition}")), "{status}");
        }
        let conditions = status["conditions"].as_array().into_iter().flatten();
        let old = conditions.filter(|one| one["observedGeneration"] != *generation).count();
        ensure!(old == 0, "of another generation: {status}");
        let listener = said(&status["listeners"][0]["conditions"], "Programmed");
        ensure!(listener.as_deref() == Some("True/Programmed"), "{status}");
        addresses.insert(status["addresses"][0]["value"].to_string());
    }
    ensure!(addresses.len() == count, "{} addresses", addresses.len());
    Ok(addresses)
}

#[test]
fn addresses_stay_over_a_restart_and_many_at_once_get_one_each() {
    const MANY: usize = 500;
    // There are thousands of writes, on a machine that does other things as well.
    const LONG: Duration = Duration::from_secs(240);
    let site = Site::new("many");
    site.apply(crate::site::CLASS);
    site.apply(&crate::site::pool("10.78.0.0/22"));
    let mut one = site.controller("one");
    one.wait_for_line("leads", SOON).unwrap();
    let many: String =
        (0..MANY).map(|n| format!("---\n{}", gateway(&format!("g{n}"), &[("tcp", 80)]))).collect();
    site.apply(&many);
    eventually(Duration::from_secs(60), || {
        let found = vips(&site)?;
        ensure!(found == MANY, "{found} VirtualIPs");
        Ok(())
    })
    .unwrap();
    let before = site.cluster.get(["vips"]).unwrap();
    let specs = |list: &Value| -> Vec<Value> {
        list["items"].as_array().unwrap().iter().map(|vip| vip["spec"].clone()).collect()
    };
    let serving = specs(&before)
        .into_iter()
        .map(|vip| json!({"address": vip["address"], "state": "Serving", "interfaces": ["eth0"]}));
    site.says("worker", serving.collect());
    let addresses = eventually(LONG, || {
        // So that looking does not take the time of those who write.
        std::thread::sleep(Duration::from_millis(500));
        all_programmed(&site, MANY)
    })
    .unwrap();
    let before = eventually(SOON * 3, || {
        let now = site.cluster.get(["vips"])?;
        let left = specs(&now).iter().filter(|vip| vip["published"] != true).count();
        ensure!(left == 0, "{left} are not published yet");
        Ok(now)
    })
    .unwrap();
    one.kill();
    let two = site.controller("two");
    two.wait_for_line("leads", SOON).unwrap();
    std::thread::sleep(Duration::from_secs(3));
    let after = site.cluster.get(["vips"]).unwrap();
    assert_eq!(specs(&before), specs(&after));
    assert_eq!(all_programmed(&site, MANY).unwrap(), addresses);
    let owners: BTreeSet<String> =
        specs(&after).iter().map(|spec| spec["users"][0]["name"].to_string()).collect();
    assert_eq!(owners.len(), MANY);
}

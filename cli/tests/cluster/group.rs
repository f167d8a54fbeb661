//! The speakers of a cluster are one group: every VIP has one owner, and another one when that is gone,
//! with and without an API server.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use vipgate_lab::{Process, eventually};

use crate::site::{SOON, Site, VIP, backend, gateway, route};

/// From the loss of the owner to the first good connection.
const FAIL_OVER: Duration = Duration::from_millis(1_200);

/// The node that says that it serves the VIP, while it is the only one.
fn owner(site: &Site) -> anyhow::Result<String> {
    let speakers = site.cluster.get(["speakers"])?;
    let serves = |speaker: &&Value| {
        let vips = speaker["status"]["vips"].as_array().cloned().unwrap_or_default();
        vips.iter().any(|vip| vip["address"] == VIP && vip["state"] == "Serving")
    };
    let all = speakers["items"].as_array().context("a list")?;
    let owners: Vec<&Value> = all.iter().filter(serves).collect();
    ensure!(owners.len() == 1, "{owners:#?}");
    Ok(owners[0]["metadata"]["name"].as_str().context("a name")?.to_owned())
}

/// How long it takes from now until the VIP answers.
fn served_again(site: &Site) -> Duration {
    let began = Instant::now();
    while site.greeting_within("10.77.0.200:80", Duration::from_millis(20)).is_err() {
        assert!(began.elapsed() < SOON, "nobody serves the VIP");
    }
    began.elapsed()
}

/// MetalLB: "moves when the announcing node stops running a ready speaker, and returns after taint removal".
/// It moves, and on purpose it does not return: the present owner stays.
#[test]
fn the_speaker_of_another_node_takes_over_also_without_an_api_server() {
    let mut site = Site::new("group");
    site.has_node("second");
    let machine = site.lab.node("second").unwrap();
    let _cable = machine.join(&site.lan, "10.77.0.12/24").unwrap();
    site.cluster.kubectl(["delete", "secret", "-n", "vipgate-system", "vipgate-group"]).unwrap();
    let mut speakers: Vec<(&str, Process)> = vec![
        ("worker", site.speaker()),
        ("second", site.speaker_on(&machine, "second", "10.77.0.12")),
    ];
    site.apply_pool();
    let _echo = site.echo(7000, "hello");
    site.apply(&[gateway("web", &[("tcp", 80)]), backend("web", 7000)].join("---\n"));
    site.apply(&route("v1", "web", "web", "web"));
    // Nobody serves before there is a key, which the controller makes.
    let _controller = site.controller("one");
    site.condition("gateway", "web", "Programmed", "True/Programmed");
    let first = eventually(SOON, || owner(&site)).unwrap();
    eventually(SOON, || {
        let speakers = site.cluster.get(["speakers"])?;
        for speaker in speakers["items"].as_array().context("a list")? {
            let members = &speaker["status"]["members"];
            ensure!(*members == json!(["second", "worker"]), "{speaker:#}");
        }
        Ok(())
    })
    .unwrap();
    served_again(&site);

    let at = speakers.iter().position(|(name, _)| *name == first).unwrap();
    speakers.remove(at).1.kill();
    let took = served_again(&site);
    eprintln!("the owner is killed: served again after {took:?}");
    assert!(took <= FAIL_OVER, "{took:?}");
    let second = speakers[0].0;
    eventually(SOON, || {
        let speaker = site.get("speaker", second)?;
        ensure!(speaker["status"]["serving"] == 1, "{speaker:#}");
        ensure!(speaker["status"]["members"] == json!([second]), "{speaker:#}");
        Ok(())
    })
    .unwrap();

    // The first one comes back and takes nothing; then the API server goes, and the owner after it.
    let back = match first.as_str() {
        "worker" => site.speaker(),
        _ => site.speaker_on(&machine, "second", "10.77.0.12"),
    };
    eventually(SOON, || {
        let speaker = site.get("speaker", &first)?;
        ensure!(speaker["status"]["standby"] == 1, "{speaker:#}");
        ensure!(speaker["status"]["serving"] == 0, "{speaker:#}");
        let vip = &speaker["status"]["vips"][0];
        ensure!(vip["state"] == "Standby" && vip["owner"] == second, "{speaker:#}");
        Ok(())
    })
    .unwrap();
    site.cluster.api_server().kill();
    std::thread::sleep(Duration::from_secs(3));
    speakers.remove(0).1.kill();
    let took = served_again(&site);
    eprintln!("and without an API server: served again after {took:?}");
    assert!(took <= FAIL_OVER, "{took:?}");
    assert!(!back.has_ended());
}

#[test]
fn a_node_that_is_cordoned_gives_its_vips_away_and_alone_it_keeps_them() {
    let site = Site::new("cordon");
    let machine = site.lab.node("second").unwrap();
    let _cable = machine.join(&site.lan, "10.77.0.12/24").unwrap();
    for name in ["worker", "second"] {
        site.apply(&format!("apiVersion: v1\nkind: Node\nmetadata: {{name: {name}}}\n"));
    }
    site.apply_pool();
    let _echo = site.echo(7000, "hello");
    site.apply(&[gateway("web", &[("tcp", 80)]), backend("web", 7000)].join("---\n"));
    site.apply(&route("v1", "web", "web", "web"));
    let _controller = site.controller("one");
    let _first = site.speaker();
    site.condition("gateway", "web", "Programmed", "True/Programmed");
    let cordon = |name: &str| site.cluster.kubectl(["cordon", name]).unwrap();

    // Alone on the cluster: nobody else can have it.
    cordon("worker");
    eventually(SOON, || {
        let errors = site.get("speaker", "worker")?["status"]["errors"].to_string();
        ensure!(errors.contains("it is cordoned"), "{errors}");
        Ok(())
    })
    .unwrap();
    assert_eq!(owner(&site).unwrap(), "worker");
    served_again(&site);

    // A second one takes it as soon as it is there.
    let _second = site.speaker_on(&machine, "second", "10.77.0.12");
    let owned_by = |name: &str| {
        eventually(SOON, || {
            let owner = owner(&site)?;
            ensure!(owner == name, "{owner} has it");
            Ok(())
        })
        .unwrap();
        served_again(&site);
    };
    owned_by("second");
    // Both cordoned: it stays where it is.
    cordon("second");
    std::thread::sleep(Duration::from_secs(3));
    owned_by("second");
    site.cluster.kubectl(["uncordon", "worker"]).unwrap();
    owned_by("worker");
}

//! The speakers of a cluster are one group: every VIP has one owner, and another one when that is gone,
//! with and without an API server.

use std::fs;
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

/// A speaker that starts while the API server is away serves what it said before; what was changed
/// meanwhile counts when it is back.
#[test]
fn a_speaker_starts_without_an_api_server_from_what_it_knew() {
    let mut site = Site::new("last-good");
    let mut speaker = site.speaker();
    site.apply_pool();
    let _echo = site.echo(7000, "hello");
    let manifests = [gateway("web", &[("tcp", 80)]), gateway("gone", &[("tcp", 81)])];
    site.apply(
        &[&manifests[0], &manifests[1], &backend("web", 7000)].map(String::as_str).join("---\n"),
    );
    for name in ["web", "gone"] {
        site.apply(&route("v1", name, name, "web"));
    }
    let controller = site.controller("one");
    for name in ["web", "gone"] {
        site.condition("gateway", name, "Programmed", "True/Programmed");
    }
    let address = |name: &str| {
        let gateway = site.get("gateway", name).unwrap();
        gateway["status"]["addresses"][0]["value"].as_str().unwrap().to_owned()
    };
    let (kept, gone) = (format!("{}:80", address("web")), format!("{}:81", address("gone")));
    site.greeting(&kept).unwrap();
    site.greeting(&gone).unwrap();
    // It is written a few seconds after a change at the latest.
    std::thread::sleep(Duration::from_secs(4));

    site.cluster.api_server().kill();
    speaker.kill();

    // The control: one that was left nothing knows nothing.
    let known = site.cluster.directory().join("speaker-worker.json.objects");
    let hidden = known.with_extension("hidden");
    fs::rename(&known, &hidden).unwrap();
    let mut ignorant = site.speaker();
    std::thread::sleep(Duration::from_secs(4));
    let served = site.greeting_within(&kept, Duration::from_millis(200));
    assert!(served.is_err(), "it serves what nobody told it");
    ignorant.kill();
    fs::rename(&hidden, &known).unwrap();

    let mut speaker = site.speaker();
    let began = Instant::now();
    eventually(SOON, || site.greeting(&kept).context("not served")).unwrap();
    eprintln!("served {:?} after the start without an API server", began.elapsed());
    site.greeting(&gone).unwrap();
    let errors = site.status().unwrap()["problems"].to_string();
    assert!(errors.contains("the API server does not answer"), "{errors}");

    // While this speaker is not there, one of the Gateways is deleted.
    speaker.kill();
    site.cluster.restart_api_server().unwrap();
    site.cluster.kubectl(["delete", "gateway", "gone"]).unwrap();
    eventually(SOON, || {
        ensure!(site.cluster.get(["virtualips"])?["items"].as_array().map(Vec::len) == Some(1));
        Ok(())
    })
    .unwrap();
    site.cluster.api_server().kill();
    let _speaker = site.speaker();
    eventually(SOON, || site.greeting(&gone).context("not served")).unwrap();
    site.cluster.restart_api_server().unwrap();
    eventually(SOON, || {
        ensure!(site.greeting_within(&gone, Duration::from_millis(200)).is_err(), "still served");
        Ok(())
    })
    .unwrap();
    site.greeting(&kept).unwrap();
    drop(controller);
}

/// Outages of the API server, node losses in each, and how long the first outage takes.
#[test]
#[ignore = "half an hour: make lab"]
fn long_nodes_are_lost_while_the_api_server_is_away() {
    const OUTAGES: usize = 3;
    const LOSSES: usize = 17;
    const AWAY: Duration = Duration::from_secs(600);
    let mut site = Site::new("outages");
    site.has_node("second");
    let machine = site.lab.node("second").unwrap();
    let cable = machine.join(&site.lan, "10.77.0.12/24").unwrap();
    site.apply_pool();
    let _echo = site.echo(7000, "hello");
    site.apply(&[gateway("web", &[("tcp", 80)]), backend("web", 7000)].join("---\n"));
    site.apply(&route("v1", "web", "web", "web"));
    let _controller = site.controller("one");
    let mut speakers = [site.speaker(), site.speaker_on(&machine, "second", "10.77.0.12")];
    let names = ["worker", "second"];
    let mut times = Vec::new();
    for outage in 0..OUTAGES {
        site.condition("gateway", "web", "Programmed", "True/Programmed");
        let mut owner = eventually(SOON, || {
            let owner = owner(&site)?;
            for name in names {
                let speaker = site.get("speaker", name)?;
                ensure!(speaker["status"]["members"] == json!(["second", "worker"]), "{speaker:#}");
            }
            Ok(names.iter().position(|name| **name == owner).unwrap())
        })
        .unwrap();
        // What is known is written a few seconds after a change.
        std::thread::sleep(Duration::from_secs(4));
        site.cluster.api_server().kill();
        let began = Instant::now();
        for loss in 0..LOSSES {
            served_again(&site);
            let link = if owner == 0 { &site.cables.worker } else { &cable };
            link.cut_silently().unwrap();
            speakers[owner].kill();
            let took = served_again(&site);
            assert!(took <= FAIL_OVER, "outage {outage}, loss {loss}: {took:?}");
            times.push(took);
            // It returns from what it knew, and takes nothing back.
            link.restore().unwrap();
            speakers[owner] = match owner {
                0 => site.speaker(),
                _ => site.speaker_on(&machine, "second", "10.77.0.12"),
            };
            std::thread::sleep(Duration::from_secs(5));
            owner = 1 - owner;
        }
        if outage == 0 {
            std::thread::sleep(AWAY.saturating_sub(began.elapsed()));
            served_again(&site);
        }
        site.cluster.restart_api_server().unwrap();
        let back = Instant::now();
        eventually(SOON, || {
            ensure!(self::owner(&site)? == names[owner], "not told yet");
            Ok(())
        })
        .unwrap();
        eprintln!("{:?} after the return of the API server the objects are right", back.elapsed());
    }
    times.sort_unstable();
    let (middle, worst) = (times[times.len() / 2], times[times.len() - 1]);
    eprintln!("| no API server: power loss | {middle:?} | {worst:?} | {} |", times.len());
}

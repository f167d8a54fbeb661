//! Addresses: probed before first use, kept over restarts, gone with the process.

use std::time::{Duration, Instant};

use vipgate_lab::{ArpOp, eventually};

use crate::site::{SOON, Site, VIP, gateway, pool};

#[test]
fn a_new_address_is_probed_then_announced_and_the_burst_is_followed_by_silence() {
    let site = Site::new("probe");
    let _server = site.echo("10.77.0.21:80");
    site.write_web(&["10.77.0.21:80"]);
    let capture = site.client.capture("eth0", "arp host 10.77.0.200").unwrap();
    let vipgate = site.start();
    site.healthy(&vipgate);
    std::thread::sleep(Duration::from_millis(1_500));
    let seen: Vec<_> = capture
        .stop()
        .unwrap()
        .iter()
        .filter_map(|frame| {
            frame.arp().filter(|arp| arp.eth_src == site.on_node.mac()).map(|arp| (frame.at, arp))
        })
        .collect();
    let probes: Vec<_> = seen.iter().filter(|(_, arp)| arp.sender_ip.is_unspecified()).collect();
    assert_eq!(probes.len(), 3, "three probes: {seen:?}");
    let claims: Vec<_> = seen.iter().filter(|(_, arp)| arp.sender_ip.to_string() == VIP).collect();
    assert!(
        claims.iter().all(|(at, _)| *at > probes[2].0 + Duration::from_millis(190)),
        "nothing is claimed before 200 ms of listening after the last probe: {seen:?}"
    );
    let of = |op| claims.iter().filter(|(_, arp)| arp.op == op).count();
    assert_eq!(
        (of(ArpOp::Request), of(ArpOp::Reply)),
        (4, 4),
        "0, 100, 300, 1000 ms, both forms: {seen:?}"
    );
}

#[test]
fn an_address_that_somebody_has_is_skipped() {
    let site = Site::new("foreign");
    let _server = site.echo("10.77.0.21:80");
    site.server_address(VIP.parse().unwrap());
    site.write_web(&["10.77.0.21:80"]);
    let vipgate = site.start();
    let report = site.healthy(&vipgate);
    assert_eq!(report["vips"][0]["address"], "10.77.0.201");
    assert_eq!(site.greeting("10.77.0.201:80").unwrap(), "10.77.0.21:80");
    assert_eq!(site.who_has(VIP), [site.on_servers.mac().to_string()], "the other host keeps it");
}

#[test]
fn a_requested_address_that_somebody_has_waits_and_names_the_mac() {
    let site = Site::new("request");
    let _server = site.echo("10.77.0.21:80");
    site.server_address(VIP.parse().unwrap());
    site.write_web(&["10.77.0.21:80"]);
    let requested = format!(
        "{}  addresses: [{{type: IPAddress, value: {VIP}}}]\n",
        gateway("web", &[("tcp", 80)])
    );
    site.write("gateway.yaml", &requested);
    let vipgate = site.start();
    let mac = site.on_servers.mac().to_string();
    let programmed = |status: &str, reason: &str| {
        eventually(Duration::from_secs(40), || {
            let text = vipgate.status(&site.node, &["-o", "report"])?;
            let report: serde_json::Value = serde_json::from_str(&text)?;
            let objects = report["objects"].as_array().unwrap();
            let gateway = objects.iter().find(|object| object["kind"] == "Gateway").unwrap();
            let conditions = gateway["status"]["conditions"].as_array().unwrap();
            let condition = conditions.iter().find(|one| one["type"] == "Programmed").unwrap();
            anyhow::ensure!(
                condition["status"] == status && condition["reason"] == reason,
                "{condition}"
            );
            Ok(condition["message"].as_str().unwrap().to_owned())
        })
        .unwrap()
    };
    let message = programmed("False", "AddressNotUsable");
    assert!(message.contains(&mac), "the message names {mac}: {message}");
    assert!(!site.has_address(VIP));
    let error = vipgate.status(&site.node, &[]).unwrap_err();
    assert!(format!("{error:#}").contains(&mac), "problems make the exit code 1: {error:#}");

    site.servers.run("ip", ["addr", "del", &format!("{VIP}/24"), "dev", "eth0"]).unwrap();
    programmed("True", "Programmed");
    assert_eq!(site.greeting(&format!("{VIP}:80")).unwrap(), "10.77.0.21:80");
}

#[test]
fn a_restart_keeps_the_address_and_does_not_probe_again() {
    let site = Site::new("restart");
    let _server = site.echo("10.77.0.21:80");
    site.write_web(&["10.77.0.21:80"]);
    // `first` has the lowest address; without it a restart must not move `web` down.
    site.write("first.yaml", &gateway("first", &[("tcp", 80)]));
    let mut vipgate = site.start();
    let before = site.healthy(&vipgate);
    let of = |report: &serde_json::Value, gateway: &str| {
        let vips = report["vips"].as_array().unwrap();
        let vip = vips.iter().find(|vip| vip["gateway"] == gateway).unwrap();
        vip["address"].as_str().unwrap().to_owned()
    };
    let mine = of(&before, "Gateway default/web");
    assert!(vipgate.process.terminate(SOON).unwrap().success());
    std::fs::remove_file(site.manifests.join("first.yaml")).unwrap();

    let capture = site.client.capture("eth0", "arp").unwrap();
    let vipgate = site.start();
    let after = site.healthy(&vipgate);
    assert_eq!(of(&after, "Gateway default/web"), mine);
    let frames = capture.stop().unwrap();
    let probes = frames
        .iter()
        .filter_map(|frame| frame.arp())
        .filter(|arp| arp.sender_ip.is_unspecified() && arp.target_ip.to_string() == mine);
    assert_eq!(probes.count(), 0, "an address is probed once, before it is first claimed");
}

#[test]
fn a_killed_process_leaves_nothing_that_answers() {
    let site = Site::new("killed");
    let _server = site.echo("10.77.0.21:80");
    site.write_web(&["10.77.0.21:80"]);
    let mut vipgate = site.start();
    site.healthy(&vipgate);
    assert!(site.has_address(VIP));
    vipgate.process.kill();
    let killed = Instant::now();
    assert_eq!(site.who_has(VIP), Vec::<String>::new(), "the kernel is silent, address or not");
    eventually(Duration::from_secs(8), || {
        anyhow::ensure!(!site.has_address(VIP), "{VIP} is still there");
        Ok(())
    })
    .unwrap();
    assert!(killed.elapsed() < Duration::from_secs(8));

    // The next start takes over what is left and serves again.
    let vipgate = site.start();
    site.healthy(&vipgate);
    assert_eq!(site.greeting(&format!("{VIP}:80")).unwrap(), "10.77.0.21:80");
}

#[test]
fn the_announced_interface_is_the_one_the_advertisement_names() {
    let site = Site::new("iface");
    let other = site.lab.bridge("other").unwrap();
    let elsewhere = site.lab.node("elsewhere").unwrap();
    elsewhere.join(&other, "10.77.0.77/24").unwrap();
    let second = site.node.join(&other, "10.88.0.1/24").unwrap();
    let _server = site.echo("10.77.0.21:80");
    site.write_web(&["10.77.0.21:80"]);
    let vipgate = site.start();
    let report = site.healthy(&vipgate);
    let state = report["vips"][0]["state"].as_str().unwrap();
    assert!(state.contains("eth0") && !state.contains(second.name()), "by subnet: {state}");

    site.write(
        "l2.yaml",
        &format!(
            "apiVersion: vipgate.dev/v1alpha1\nkind: L2Advertisement\n\
         metadata: {{name: second, namespace: vipgate-system}}\n\
         spec: {{ipAddressPools: [lan], interfaces: [{}]}}\n",
            second.name()
        ),
    );
    eventually(SOON, || {
        let state = vipgate.report(&site.node)?["vips"][0]["state"].to_string();
        anyhow::ensure!(state.contains(second.name()) && !state.contains("eth0"), "{state}");
        Ok(())
    })
    .unwrap();
    assert_eq!(site.who_has(VIP), Vec::<String>::new(), "silent on the link that is not named");
    let answer = elsewhere.run("arping", ["-I", "eth0", "-c", "1", "-w", "2", VIP]).unwrap();
    let answer = answer.to_lowercase();
    assert!(answer.contains(&second.mac().to_string()), "{answer}");
}

#[test]
fn a_link_that_fails_during_the_probe_costs_no_more_than_its_absence() {
    let site = Site::new("probeflap");
    let _server = site.echo("10.77.0.21:80");
    site.write_web(&["10.77.0.21:80"]);
    let vipgate = site.start();
    eventually(SOON, || {
        let state = vipgate.report(&site.node)?["vips"][0]["state"].to_string();
        anyhow::ensure!(state.contains("asking"), "{state}");
        Ok(())
    })
    .unwrap();
    site.node.run("ip", ["link", "set", "eth0", "down"]).unwrap();
    eventually(SOON, || {
        let problems = vipgate.report(&site.node)?["problems"].to_string();
        anyhow::ensure!(problems.contains("is down"), "{problems}");
        Ok(())
    })
    .unwrap();
    site.node.run("ip", ["link", "set", "eth0", "up"]).unwrap();
    site.healthy(&vipgate);
}

#[test]
fn a_host_that_takes_an_address_in_use_is_named_and_does_not_get_it() {
    let site = Site::new("contest");
    let _server = site.echo("10.77.0.21:80");
    site.write_web(&["10.77.0.21:80"]);
    let vipgate = site.start();
    site.healthy(&vipgate);
    site.server_address(VIP.parse().unwrap());
    let announce = ["-U", "-c", "2", "-w", "2", "-i", "eth0", "-S", VIP, VIP];
    let _ = site.servers.run("arping", announce);
    let mac = site.on_servers.mac().to_string();
    eventually(SOON, || {
        let problems = vipgate.report(&site.node)?["problems"].to_string();
        anyhow::ensure!(problems.contains(&mac) && problems.contains(VIP), "{problems}");
        Ok(())
    })
    .unwrap();
    let report = vipgate.report(&site.node).unwrap();
    assert_eq!(report["vips"][0]["address"], VIP, "an address in use is never changed");
    assert_eq!(report["vips"][0]["healthy"], true, "and serves on");
}

#[test]
fn many_new_addresses_are_announced_together() {
    const MANY: usize = 200;
    let site = Site::new("many");
    site.write("pool.yaml", &pool("10.77.0.20-10.77.0.250"));
    let gateways: Vec<String> =
        (0..MANY).map(|number| gateway(&format!("g{number}"), &[("tcp", 80)])).collect();
    site.write("gateways.yaml", &gateways.join("---\n"));
    let started = Instant::now();
    let vipgate = site.start();
    eventually(SOON, || {
        let report = vipgate.report(&site.node)?;
        let vips = report["vips"].as_array().unwrap();
        let announced = vips.iter().filter(|vip| vip["healthy"] == true).count();
        anyhow::ensure!(announced == MANY, "{announced} of {MANY}");
        Ok(())
    })
    .unwrap();
    // Half a second for the probes, which run at the same time.
    let took = started.elapsed();
    assert!(took < vipgate_lab::patience(Duration::from_secs(4)), "{took:?}");
}

#[test]
fn the_labels_of_the_host_decide_where_an_advertisement_counts() {
    let site = Site::new("labels");
    let _server = site.echo("10.77.0.21:80");
    site.write_web(&["10.77.0.21:80"]);
    let advertisement = |rack: &str| {
        format!(
            "apiVersion: vipgate.dev/v1alpha1\nkind: L2Advertisement\n\
             metadata: {{name: racks, namespace: vipgate-system}}\n\
             spec: {{nodeSelectors: [{{matchLabels: {{rack: {rack}}}}}]}}\n"
        )
    };
    site.write("l2.yaml", &advertisement("b2"));
    let vipgate = site.start_with(&site.manifests, &["--label", "rack=a1"]);
    eventually(SOON, || {
        let problems = vipgate.report(&site.node)?["problems"].to_string();
        anyhow::ensure!(problems.contains("L2Advertisement"), "{problems}");
        Ok(())
    })
    .unwrap();
    assert_eq!(site.who_has(VIP), Vec::<String>::new());
    site.write("l2.yaml", &advertisement("a1"));
    site.healthy(&vipgate);
    assert_eq!(site.who_has(VIP), [site.on_node.mac().to_string()]);
}

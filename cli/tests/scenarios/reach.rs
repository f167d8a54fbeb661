//! VIPs are asked for by a host that does not have them, on the wire.

use std::time::Duration;

use anyhow::ensure;
use vipgate_lab::{eventually, prometheus};

use crate::hosts::Hosts;
use crate::site::{SOON, VIP, VIP6};

/// Asked for often, so that nobody has to wait.
const OFTEN: [&str; 2] = ["--probe", "1"];

fn success(vip: &str) -> String {
    format!("vipgate_vip_probe_success{{vip=\"{vip}\"}}")
}

/// The hosts that ask for a VIP, and what they found.
fn asking(hosts: &Hosts, vip: &str) -> anyhow::Result<Vec<(usize, f64)>> {
    let mut all = Vec::new();
    for (number, host) in hosts.hosts.iter().enumerate().filter(|(_, host)| host.runs()) {
        all.extend(host.metric(&success(vip))?.map(|found| (number, found)));
    }
    Ok(all)
}

/// Waits until one host asks for a VIP and finds this; which it is.
fn found(hosts: &Hosts, vip: &str, expected: f64) -> usize {
    eventually(SOON, || {
        let all = asking(hosts, vip)?;
        ensure!(all.len() == 1 && all[0].1 == expected, "{vip}: {all:?}");
        Ok(all[0].0)
    })
    .unwrap()
}

fn nft(hosts: &Hosts, host: usize, rules: &str) {
    hosts.hosts[host].node.run("nft", [rules]).unwrap();
}

#[test]
fn a_host_that_stands_by_finds_out_whether_a_vip_answers() {
    let mut hosts = Hosts::new("asked-for", 3, 1).with_ipv6();
    for number in 0..3 {
        hosts.start_with(number, &OFTEN);
    }
    hosts.settled_within(SOON * 3);
    for (vip, protocol) in [(VIP, "ip"), (VIP6, "ip6")] {
        let owner = hosts.owner(vip);
        let asks = found(&hosts, vip, 1.0);
        assert_ne!(asks, owner);
        let port = format!("vipgate_vip_probe_port_success{{vip=\"{vip}\",port=\"80\"}}");
        assert_eq!(hosts.hosts[asks].metric(&port).unwrap(), Some(1.0));
        let took = format!("vipgate_vip_probe_seconds{{vip=\"{vip}\"}}");
        let took = hosts.hosts[asks].metric(&took).unwrap().unwrap();
        assert!(took > 0.0 && took < 0.5, "{took} s");

        // The owner is cut off from clients, and from nobody of the group.
        let rules = format!(
            "table inet cut {{\nchain in {{\ntype filter hook input priority 0\n\
             {protocol} daddr {vip} tcp dport 80 drop\n}}\n}}"
        );
        nft(&hosts, owner, &rules);
        assert_eq!(found(&hosts, vip, 0.0), asks);
        let report = eventually(SOON, || {
            let report = hosts.hosts[asks].report()?;
            let vips = report["vips"].as_array().cloned().unwrap_or_default();
            let vip = vips.into_iter().find(|one| one["address"] == vip).unwrap_or_default();
            ensure!(vip["probe"]["failures"].as_u64() > Some(1), "{vip}");
            Ok(vip)
        })
        .unwrap();
        assert_eq!(report["probe"]["outcome"], "silent", "{report}");
        let name = hosts.hosts[owner].node.name();
        let words = format!("{name} has it, and does not answer at port 80");
        assert_eq!(report["probe"]["message"], words.as_str(), "{report}");
        assert!(hosts.hosts[asks].ask(&["status"]).unwrap().contains(&words));
        assert!(hosts.hosts[asks].output().contains(&words), "the log does not tell");
        nft(&hosts, owner, "delete table inet cut");
        assert_eq!(found(&hosts, vip, 1.0), asks);
    }

    // Nobody came in by it: no listener has counted anything, here or there.
    for host in &hosts.hosts {
        let text = host.metrics().unwrap();
        for counter in ["vipgate_tcp_connections_total", "vipgate_tcp_resets_total"] {
            let lines = text.lines().filter(|line| line.starts_with(counter));
            assert!(lines.clone().count() > 1, "{text}");
            assert!(lines.clone().all(|line| line.ends_with(" 0")), "{text}");
        }
        prometheus::check_metrics(&text).unwrap();
    }
    // And nothing is left half open.
    let owner = &hosts.hosts[hosts.owner(VIP)];
    let open = owner.node.run("ss", ["-Htan", "state", "syn-recv"]).unwrap();
    assert!(!open.contains(":80"), "{open}");
}

/// A host with the address on `lo`, as one has that tells routers of it, would reach itself by a socket.
#[test]
fn what_is_on_lo_here_is_asked_for_on_the_wire_all_the_same() {
    let mut hosts = Hosts::new("asked-lo", 2, 1);
    for number in 0..2 {
        hosts.start_with(number, &OFTEN);
    }
    hosts.settled_within(SOON * 3);
    let owner = hosts.owner(VIP);
    let asks = found(&hosts, VIP, 1.0);
    let node = &hosts.hosts[asks].node;
    // Silent about it, as vipgate makes the kernel.
    node.sysctl("net.ipv4.conf.all.arp_ignore", "1").unwrap();
    node.run("ip", ["addr", "add", &format!("{VIP}/32"), "dev", "lo"]).unwrap();
    let route = node.run("ip", ["route", "get", VIP]).unwrap();
    assert!(route.contains("dev lo"), "{route}");
    let reached = "vipgate_vip_probes_total{result=\"reached\"}";
    let before = hosts.hosts[asks].metric(reached).unwrap().unwrap();
    eventually(SOON, || {
        let now = hosts.hosts[asks].metric(reached)?.unwrap_or_default();
        ensure!(now >= before + 2.0, "{now}");
        Ok(())
    })
    .unwrap();
    found(&hosts, VIP, 1.0);
    let rules =
        "table inet cut {\nchain in {\ntype filter hook input priority 0\ntcp dport 80 drop\n}\n}";
    nft(&hosts, owner, rules);
    found(&hosts, VIP, 0.0);
    nft(&hosts, owner, "delete table inet cut");
    found(&hosts, VIP, 1.0);

    // A host that answers for it and does not have it: told by its Ethernet address.
    let _stranger = hosts.stranger(VIP);
    let another = "vipgate_vip_probes_total{result=\"another_host\"}";
    eventually(SOON, || {
        let count = hosts.hosts[asks].metric(another)?.unwrap_or_default();
        ensure!(count > 0.0, "nobody else answers: {}", hosts.hosts[asks].metrics()?);
        Ok(())
    })
    .unwrap();
}

#[test]
fn who_is_told_not_to_ask_does_not_and_another_does() {
    let mut hosts = Hosts::new("asked-off", 3, 4);
    hosts.start_with(0, &["--probe", "off"]);
    hosts.start_with(1, &OFTEN);
    hosts.start_with(2, &OFTEN);
    let owners = hosts.settled_within(SOON * 3);
    for vip in owners.keys() {
        assert_ne!(found(&hosts, vip, 1.0), 0, "{vip}");
    }
    let text = hosts.hosts[0].metrics().unwrap();
    assert!(!text.contains("vipgate_vip_probe_success{"), "{text}");
    // When the owner is gone another one has it, and one more asks, if there is one left.
    let owner = hosts.owner(VIP);
    hosts.kill(owner);
    std::thread::sleep(Duration::from_secs(1));
    let owners = hosts.settled_within(SOON);
    let left = |vip: &str| {
        let asks = [1, 2].into_iter().filter(|number| hosts.hosts[*number].runs());
        asks.filter(|number| hosts.hosts[*number].node.name() != owners[vip]).count()
    };
    for vip in owners.keys().filter(|vip| left(vip) > 0) {
        found(&hosts, vip, 1.0);
    }
}

//! IPv6 VIPs: given out beside IPv4, found by NDP, moved by an advertisement.

use std::net::Ipv6Addr;
use std::time::Duration;

use vipgate_lab::{Frame, eventually};

use crate::hosts::Hosts;
use crate::site::{SOON, Site, VIP, VIP6, backend, gateway, pool, route};

/// From the loss of the owner to the first good connection.
const FAIL_OVER: Duration = Duration::from_millis(1_200);

fn dual_stack(name: &str) -> Site {
    let site = Site::new(name);
    for (link, address) in [
        (&site.on_client, "fd77::10/64"),
        (&site.on_node, "fd77::1/64"),
        (&site.on_servers, "fd77::2/64"),
    ] {
        link.add_address(address).unwrap();
    }
    site.write("pool.yaml", &pool(&format!("{VIP}/32, '{VIP6}-fd77::202'")));
    site.write("gateway.yaml", &gateway("web", &[("tcp", 80), ("other", 81)]));
    site.write("route.yaml", &route("web", "web", "tcp", "web"));
    site.write("other.yaml", &route("other", "web", "other", "other"));
    site.write("backend.yaml", &backend("web", &["fd77::2:80"]));
    site.write("backends.yaml", &backend("other", &["10.77.0.2:80"]));
    site
}

/// How many answers the client gets when it asks for an address by NDP.
fn answers(site: &Site, address: &str) -> usize {
    let arguments = ["-m", "-n", "-r", "1", "-w", "500", address, "eth0"];
    let program = vipgate_lab::Program::new("ndisc6").args(arguments);
    // It fails where nobody answers.
    let output = site.client.run_within(SOON, program).unwrap_or_default();
    output.matches("link-layer address").count()
}

#[test]
fn a_gateway_serves_both_families_to_backends_of_both() {
    let site = dual_stack("dual-stack");
    let v6 = vipgate_lab::servers::echo(&site.servers, "[fd77::2]:80".parse().unwrap(), "by ipv6");
    let v4 = vipgate_lab::servers::echo(&site.servers, "10.77.0.2:80".parse().unwrap(), "by ipv4");
    let _servers = (v6.unwrap(), v4.unwrap());
    let capture = site.client.capture("eth0", "icmp6").unwrap();
    let mut vipgate = site.start();
    let report = site.healthy(&vipgate);
    let vips: Vec<&str> = report["vips"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|vip| vip["address"].as_str())
        .collect();
    assert_eq!(vips, [VIP, VIP6], "{report}");
    for vip in [VIP.to_owned(), format!("[{VIP6}]")] {
        assert_eq!(site.greeting(&format!("{vip}:80")).unwrap(), "by ipv6");
        assert_eq!(site.greeting(&format!("{vip}:81")).unwrap(), "by ipv4");
    }
    // It was asked for before it was taken, and announced then.
    std::thread::sleep(Duration::from_millis(2_000));
    let frames = capture.stop().unwrap();
    let target: Ipv6Addr = VIP6.parse().unwrap();
    let announced = frames.iter().filter_map(Frame::advertised);
    let announced = announced.filter(|said| said.target == target && !said.solicited);
    assert!(announced.clone().count() >= 3, "{:?}", announced.collect::<Vec<_>>());
    assert!(announced.clone().all(|said| said.replaces && said.eth_src == site.on_node.mac()));
    let probes = frames.iter().filter(|frame| {
        let solicits =
            frame.bytes.get(54) == Some(&135) && frame.bytes.get(22..38) == Some(&[0; 16]);
        solicits && frame.bytes.get(62..78) == Some(&target.octets())
    });
    assert_eq!(probes.count(), 3);

    // A dead process answers nobody, and the address goes by itself.
    assert_eq!(answers(&site, VIP6), 1);
    vipgate.process.kill();
    assert_eq!(answers(&site, VIP6), 0);
    eventually(SOON, || {
        let addresses = site.node.run("ip", ["-6", "-o", "addr", "show", "dev", "lo"])?;
        anyhow::ensure!(!addresses.contains(VIP6), "{addresses}");
        Ok(())
    })
    .unwrap();
}

/// Duplicate detection of our own: an address that somebody has is not taken.
#[test]
fn an_address_that_another_host_has_is_not_taken() {
    let site = dual_stack("dual-taken");
    site.on_servers.add_address(&format!("{VIP6}/64")).unwrap();
    let vipgate = site.start();
    let report = eventually(SOON, || {
        let report = vipgate.report(&site.node)?;
        let vips = report["vips"].to_string();
        anyhow::ensure!(vips.contains("fd77::201"), "{vips}");
        anyhow::ensure!(report["problems"] == serde_json::json!([]), "{report}");
        Ok(report)
    })
    .unwrap();
    assert!(!report["vips"].to_string().contains(&format!("{VIP6}\"")), "{report}");
}

#[test]
fn another_host_takes_over_an_ipv6_vip_when_the_owner_is_killed() {
    let mut hosts = Hosts::new("killed-v6", 3, 1).with_ipv6();
    hosts.start_all();
    let owner = hosts.owner(VIP6);
    let wire = hosts.listen();
    let prober = hosts.probe(VIP6);
    std::thread::sleep(Duration::from_millis(500));
    let dead = hosts.hosts[owner].link.mac().to_string();
    assert!(hosts.neighbour(VIP6).contains(&dead));
    hosts.kill(owner);
    std::thread::sleep(Duration::from_millis(2_500));
    let (gap, _) = prober.stop();
    eprintln!("killed: first good connection after {gap:?}");
    assert!(gap <= FAIL_OVER, "{gap:?} without a connection\n{}", hosts.hosts[0].output());
    let new = hosts.hosts[hosts.owner(VIP6)].link.mac();
    assert!(hosts.neighbour(VIP6).contains(&new.to_string()), "{}", hosts.neighbour(VIP6));

    let frames = wire.stop().unwrap();
    let moved = frames
        .iter()
        .filter_map(Frame::advertised)
        .find(|said| said.eth_src == new && said.target.to_string() == VIP6);
    let moved = moved.expect("it is announced");
    assert!(moved.replaces && !moved.solicited, "by an advertisement that overrides: {moved:?}");
    let claims = hosts.claims(&frames, VIP6.parse().unwrap());
    let turn = claims.iter().position(|(_, mac)| *mac == new).unwrap();
    assert!(claims[turn..].iter().all(|(_, mac)| *mac == new), "{claims:?}");
    assert!(claims[..turn].iter().all(|(_, mac)| mac.to_string() == dead), "{claims:?}");
}

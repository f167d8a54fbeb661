//! Hosts of one group that do not hear each other, on one LAN: each VIP ends with one owner.

use std::net::IpAddr;
use std::time::Duration;

use crate::hosts::{Hosts, Outcome};
use crate::site::{SOON, VIP, VIP6};

/// From when both are on the wire until one is.
const AGREED: Duration = Duration::from_secs(1);
/// Until the members are lost to each other, and the last words of a take-over are said.
const LOST: Duration = Duration::from_millis(2_500);

/// Cuts the hosts' datagrams off and asserts that what was announced by whom stays so.
fn cut_off(name: &str, count: usize) {
    let mut hosts = Hosts::new(name, count, 1).with_ipv6();
    hosts.start_all();
    let before = hosts.settled();
    let wire = hosts.listen();
    let prober = hosts.probe(VIP);
    std::thread::sleep(Duration::from_millis(500));
    hosts.block_datagrams(true);
    std::thread::sleep(LOST);
    let (gap, attempts) = prober.stop();
    let bad = attempts.iter().filter(|attempt| attempt.outcome != Outcome::Good).count();
    eprintln!("{name}: {gap:?} between good connections, {bad} of {} not good", attempts.len());
    assert!(gap <= AGREED, "{gap:?} without a connection");

    // Everybody knows who has it, although nobody is heard.
    for host in &hosts.hosts {
        let report = host.report().unwrap();
        let missing = report["notes"].to_string().matches("of the group does not answer").count();
        assert_eq!(missing, count - 1, "{report}");
    }
    let frames = wire.stop().unwrap();
    for (vip, owner) in &before {
        let owner = hosts.hosts.iter().find(|host| host.node.name() == owner).unwrap();
        let address: IpAddr = vip.parse().unwrap();
        let claims: Vec<(Duration, bool)> = hosts
            .claims(&frames, address)
            .into_iter()
            .map(|(at, mac)| (at, mac == owner.link.mac()))
            .collect();
        let first = claims.iter().find(|(_, is_owner)| !is_owner).expect("others try").0;
        let last = claims.iter().rfind(|(_, is_owner)| !is_owner).expect("others try").0;
        eprintln!("{vip}: others announced it for {:?}", last - first);
        assert!(last - first <= AGREED, "{vip}: {claims:?}");
        assert!(claims.iter().any(|(at, is_owner)| *is_owner && *at > first), "{vip}: {claims:?}");
    }
    assert_eq!(hosts.settled(), before, "nothing moved");

    // The owner dies, and nobody hears that it is gone; but nobody answers any more.
    let owner = hosts.owner(VIP);
    let prober = hosts.probe(VIP);
    std::thread::sleep(Duration::from_millis(300));
    hosts.kill(owner);
    std::thread::sleep(Duration::from_secs(5));
    let (gap, _) = prober.stop();
    eprintln!("{name}: owner killed: first good connection after {gap:?}");
    assert!(gap <= Duration::from_secs(4), "{gap:?} without a connection");
    if count == 2 {
        let after = hosts.settled();
        hosts.block_datagrams(false);
        hosts.start(owner);
        std::thread::sleep(Duration::from_secs(3));
        assert_eq!(hosts.settled(), after, "they hear each other again, and nothing moves");
        assert_eq!(hosts.owner(VIP6), hosts.owner(VIP));
    }
}

#[test]
fn two_hosts_that_do_not_hear_each_other_end_with_one_owner() {
    cut_off("deaf-two", 2);
}

#[test]
fn three_hosts_that_do_not_hear_each_other_end_with_one_owner() {
    cut_off("deaf-three", 3);
}

/// With nothing on the wire between them either, each part serves: it cannot know better.
#[test]
fn hosts_that_see_no_frames_of_each_other_serve_both() {
    let mut hosts = Hosts::new("apart", 2, 1);
    hosts.start_all();
    let other = 1 - hosts.owner(VIP);
    hosts.hosts[other].link.cut_silently().unwrap();
    vipgate_lab::eventually(SOON, || {
        for host in &hosts.hosts {
            let report = host.report()?;
            let state = report["vips"][0]["state"].as_str().unwrap_or_default().to_owned();
            anyhow::ensure!(state.starts_with("announced on"), "{state}");
        }
        Ok(())
    })
    .unwrap();
}

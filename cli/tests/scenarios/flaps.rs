//! What the group makes of links that fail, and of links that cannot decide.

use std::time::Duration;

use crate::hosts::Hosts;
use crate::site::VIP;

/// From the loss of the carrier to the first good connection, while the group talks over another link.
const CARRIER: Duration = Duration::from_millis(300);

#[test]
fn a_host_whose_link_fails_gives_its_vips_away_while_the_group_talks_over_another_one() {
    let mut hosts = Hosts::new("carrier", 3, 6);
    hosts.manage();
    hosts.start_all();
    for _ in 0..3 {
        let owner = hosts.owner(VIP);
        let wire = hosts.listen();
        let prober = hosts.probe(VIP);
        std::thread::sleep(Duration::from_millis(300));
        hosts.hosts[owner].link.cut().unwrap();
        std::thread::sleep(Duration::from_millis(700));
        let (gap, _) = prober.stop();
        eprintln!("carrier lost: first good connection after {gap:?}");
        assert!(gap <= CARRIER, "{gap:?} without a connection");
        hosts.assert_owners(&wire.stop().unwrap(), 2);
        let output = hosts.hosts[owner].output();
        assert!(output.contains("is down or has no carrier"), "it says why: {output}");
        hosts.hosts[owner].link.restore().unwrap();
        let owners = hosts.settled();
        std::thread::sleep(Duration::from_secs(1));
        assert_eq!(hosts.settled(), owners, "what was moved stays");
        assert_ne!(hosts.owner(VIP), owner);
    }
}

/// The VIPs of a host whose link comes and goes move away once, and stay there.
fn flaps(name: &str, managed: bool, (down, up): (u64, u64), runs: usize) {
    let mut hosts = Hosts::new(name, 3, 6);
    if managed {
        hosts.manage();
    }
    hosts.start_all();
    for _ in 0..runs {
        hosts.settled();
        let wire = hosts.listen();
        // It makes the client ask for the address all the time.
        let prober = hosts.probe(VIP);
        let owner = hosts.owner(VIP);
        hosts.flap(owner, 20, Duration::from_millis(down), Duration::from_millis(up));
        let owners = hosts.settled();
        drop(prober.stop());
        let name = hosts.hosts[owner].node.name();
        eprintln!("after flapping {name} has {}", owners.values().filter(|o| *o == name).count());
        // One owner, and another one, and perhaps a third: two moves.
        hosts.assert_owners(&wire.stop().unwrap(), 3);
    }
}

#[test]
fn a_link_that_flaps_moves_its_vips_twice_at_most() {
    flaps("flaps", true, (50, 100), 1);
}

#[test]
fn the_only_link_that_flaps_moves_its_vips_twice_at_most() {
    // Longer than it takes to be thought dead.
    flaps("flaps-one", false, (500, 400), 1);
}

#[test]
#[ignore = "minutes: make lab"]
fn long_links_that_flap() {
    flaps("flaps-l", true, (50, 100), 10);
    flaps("flaps-one-l", false, (500, 400), 10);
}

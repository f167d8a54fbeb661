//! Negative controls: what the limits of fail-over are measured against is missing, and each limit is
//! broken. A test of a limit that nothing can break would say nothing.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use crate::figures::{CARRIER, IN_ORDER, PROMISE, gap};
use crate::hosts::{GRACE, Hosts};
use crate::site::{SOON, VIP};

/// Power loss and `kill -9`: the group that notices is silent. What is left is to ask the wire.
#[test]
fn a_lost_host_is_not_replaced_in_time_by_members_that_hear_nobody() {
    for with_its_link in [false, true] {
        let mut hosts = Hosts::new("unheard", 2, 1);
        hosts.start_all();
        hosts.block_datagrams(true);
        std::thread::sleep(Duration::from_millis(2_500));
        let owner = hosts.owner(VIP);
        let (gap, _) = gap(&mut hosts, VIP, |hosts| {
            if with_its_link {
                hosts.hosts[owner].link.cut_silently().unwrap();
            }
            hosts.kill(owner);
        });
        eprintln!("nobody is heard: {gap:?}");
        assert!(gap > PROMISE, "{gap:?}");
    }
}

/// No carrier: the group has no other link to hear of it.
#[test]
fn a_link_that_fails_is_not_replaced_as_soon_where_it_is_the_only_one() {
    let mut hosts = Hosts::new("only-link", 3, 1);
    hosts.start_all();
    let owner = hosts.owner(VIP);
    let (gap, _) = gap(&mut hosts, VIP, |hosts| hosts.hosts[owner].link.cut().unwrap());
    eprintln!("the only link fails: {gap:?}");
    assert!(gap > CARRIER && gap <= PROMISE, "{gap:?}");
}

/// SIGTERM: nobody hands over.
#[test]
fn a_host_that_crashes_leaves_a_gap() {
    let mut hosts = Hosts::new("crash", 3, 1);
    hosts.start_all();
    let owner = hosts.owner(VIP);
    let (gap, _) = gap(&mut hosts, VIP, |hosts| hosts.kill(owner));
    eprintln!("killed: {gap:?}");
    assert!(gap > IN_ORDER, "{gap:?}");
}

/// Flapping: a VIP that goes round is seen to do so.
#[test]
fn a_vip_that_moves_three_times_is_seen_to_move() {
    let mut hosts = Hosts::new("moves", 2, 1);
    hosts.start_all();
    let wire = hosts.listen();
    // It makes the client ask for the address all the time.
    let prober = hosts.probe(VIP);
    for _ in 0..3 {
        let owner = hosts.owner(VIP);
        hosts.kill(owner);
        vipgate_lab::eventually(SOON, || {
            anyhow::ensure!(hosts.owner(VIP) != owner, "it is still said to have it");
            Ok(())
        })
        .unwrap();
        hosts.start(owner);
        hosts.settled();
        // What a former owner says within the grace counts as its last words, not as a turn.
        std::thread::sleep(2 * GRACE);
    }
    drop(prober.stop());
    let frames = wire.stop().unwrap();
    let counted = catch_unwind(AssertUnwindSafe(|| hosts.assert_owners(&frames, 3)));
    let why = counted.expect_err("three moves were taken for two");
    let why = why.downcast_ref::<String>().expect("a text");
    assert!(why.contains("went from one to another"), "{why}");
    hosts.assert_owners(&frames, 4);
}

//! Links that go down, change their address, vanish and come back.

mod l2_rig;

use std::net::Ipv4Addr;
use std::time::Duration;

use l2_rig::{End, Lan, SELDOM, Speaker, VIP, answers, arping, eventually};
use vipgate_planner::MacAddr;
use vipgate_speaker::l2::L2Error;

#[test]
fn goes_on_after_the_link_was_down() {
    Lan::new().on(End::Node, async |lan| {
        let speaker = Speaker::owning(lan, SELDOM);
        eventually("the burst is out", || speaker.l2.counts().gratuitous == 8).await;

        lan.ip(End::Node, "link set eth0 down");
        speaker.set_link(lan, End::Node);
        tokio::time::sleep(Duration::from_millis(200)).await;
        lan.ip(End::Node, "link set eth0 up");
        lan.wait_for_carrier(End::Node);
        // Answers by itself; announces again when it is told.
        assert_eq!(answers(&arping(lan, VIP, 3).await), [lan.mac(End::Node); 3]);
        assert_eq!(speaker.l2.counts().gratuitous, 8);
        speaker.set_link(lan, End::Node);
        eventually("a second burst", || speaker.l2.counts().gratuitous == 16).await;
        assert_eq!(speaker.tracker.len(), 1, "the same task");
        speaker.stop().await;
    });
}

#[test]
fn survives_a_link_flap_that_nobody_tells_it_about() {
    Lan::new().on(End::Node, async |lan| {
        let speaker = Speaker::owning(lan, SELDOM);
        for _ in 0..3 {
            lan.ip(End::Node, "link set eth0 down");
            tokio::time::sleep(Duration::from_millis(50)).await;
            lan.ip(End::Node, "link set eth0 up");
            lan.wait_for_carrier(End::Node);
        }
        assert_eq!(answers(&arping(lan, VIP, 3).await), [lan.mac(End::Node); 3]);
        speaker.stop().await;
    });
}

#[test]
fn answers_with_a_new_ethernet_address() {
    Lan::new().on(End::Node, async |lan| {
        let speaker = Speaker::owning(lan, SELDOM);
        eventually("the burst is out", || speaker.l2.counts().gratuitous == 8).await;
        lan.ip(End::Node, "link set eth0 address 02:00:00:00:77:01");
        speaker.set_link(lan, End::Node);
        let new = MacAddr([2, 0, 0, 0, 0x77, 1]);
        assert_eq!(answers(&arping(lan, VIP, 3).await), [new; 3]);
        eventually("announced anew", || speaker.l2.counts().gratuitous == 16).await;
        speaker.stop().await;
    });
}

#[test]
fn the_task_ends_when_the_link_vanishes() {
    Lan::new().on(End::Node, async |lan| {
        let speaker = Speaker::owning(lan, SELDOM);
        assert_eq!(speaker.tracker.len(), 1);
        lan.ip(End::Node, "link del eth0");
        eventually("the task ends by itself", || speaker.tracker.is_empty()).await;

        // A link of the same name is another link.
        lan.connect();
        speaker.set_link(lan, End::Node);
        assert_eq!(answers(&arping(lan, VIP, 3).await), [lan.mac(End::Node); 3]);
        speaker.stop().await;
    });
}

#[test]
fn a_link_that_is_gone_or_not_there_yet_is_reported_and_taken_up_when_it_comes() {
    Lan::new().on(End::Node, async |lan| {
        let speaker = Speaker::new(SELDOM);
        let failed = speaker.l2.set_owned(&[(VIP.into(), vec!["eth0".to_owned()])].into());
        assert!(matches!(failed["eth0"], L2Error::NoSuchLink { .. }), "{failed:?}");
        speaker.set_link(lan, End::Node);
        assert_eq!(answers(&arping(lan, VIP, 2).await), [lan.mac(End::Node); 2]);

        let failed = speaker.l2.set_links(&[]);
        assert!(matches!(failed["eth0"], L2Error::NoSuchLink { .. }), "{failed:?}");
        eventually("the task is let go", || speaker.tracker.is_empty()).await;
        assert_eq!(answers(&arping(lan, VIP, 2).await), []);

        let mut loopback = lan.link(End::Node);
        loopback.loopback = true;
        let failed = speaker.l2.set_links(&[loopback]);
        assert!(matches!(failed["eth0"], L2Error::NotEthernet { .. }), "{failed:?}");
        speaker.stop().await;
    });
}

/// The kernel tells a packet socket that its link goes down, and nothing more when it is removed
/// after that.
#[test]
fn the_task_ends_when_the_link_vanishes_after_it_went_down() {
    Lan::new().on(End::Node, async |lan| {
        let speaker = Speaker::owning(lan, SELDOM);
        eventually("it is announced", || speaker.l2.counts().gratuitous >= 2).await;
        lan.ip(End::Node, "link set eth0 down");
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(speaker.tracker.len(), 1, "down is not gone");
        speaker.set_link(lan, End::Node);
        lan.ip(End::Node, "link del eth0");
        eventually("the task ends by itself", || speaker.tracker.is_empty()).await;
        speaker.stop().await;
    });
}

/// Hundreds of scattered VIPs, on a kernel that grants a socket as little memory as kernels
/// before 6.7: the filter is coarser, and everything is answered all the same.
#[test]
fn many_scattered_vips_are_answered_on_a_kernel_with_little_option_memory() {
    Lan::new().on(End::Node, async |lan| {
        lan.exec(End::Node, "echo 20480 > /proc/sys/net/core/optmem_max");
        assert_eq!(lan.exec(End::Node, "cat /proc/sys/net/core/optmem_max").trim(), "20480");
        let speaker = Speaker::owning(lan, SELDOM);
        let vips: Vec<Ipv4Addr> = (0..450_u32).map(|n| (0x0a50_0010 + 3 * n).into()).collect();
        speaker.own(&vips);
        for vip in [vips[0], vips[200], vips[449]] {
            assert_eq!(answers(&arping(lan, vip, 2).await), [lan.mac(End::Node); 2], "{vip}");
        }
        let between = Ipv4Addr::from(0x0a50_0011);
        assert_eq!(answers(&arping(lan, between, 2).await), []);
        eventually("all are announced", || speaker.l2.counts().gratuitous >= 8 * 450).await;
        assert_eq!(speaker.l2.counts().send_errors, 0);
        speaker.stop().await;
    });
}

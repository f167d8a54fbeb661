//! A host with two links, to two segments or to the same one.

mod l2_rig;

use std::time::{Duration, Instant};

use l2_rig::{End, Lan, SELDOM, Speaker, VIP};
use vipgate_speaker::l2::ProbeOutcome;

/// A second veth pair, `eth1` at both ends.
fn connect_again(lan: &Lan) {
    let peer = lan.name(End::Peer);
    lan.ip(End::Node, &format!("link add eth1 type veth peer name eth1 netns {peer}"));
    for end in [End::Node, End::Peer] {
        lan.ip(end, "link set eth1 addrgenmode none");
        lan.ip(end, "link set eth1 up");
    }
    let deadline = Instant::now() + Duration::from_secs(5);
    while !lan.link_named(End::Node, "eth1").up {
        assert!(Instant::now() < deadline, "eth1 gets no carrier");
    }
}

fn speaker_on_both(lan: &Lan) -> Speaker {
    let speaker = Speaker::new(SELDOM);
    let links = ["eth0", "eth1"].map(|name| lan.link_named(End::Node, name));
    assert!(speaker.l2.set_links(&links).is_empty());
    speaker
}

fn both() -> Vec<String> {
    vec!["eth0".to_owned(), "eth1".to_owned()]
}

#[test]
fn an_address_is_free_only_if_it_is_free_on_all_links() {
    Lan::new().on(End::Node, async |lan| {
        connect_again(lan);
        // Answer only on the link that has the address.
        lan.exec(End::Peer, "echo 1 > /proc/sys/net/ipv4/conf/all/arp_ignore");
        lan.ip(End::Peer, &format!("addr add {VIP}/32 dev eth1"));
        let speaker = speaker_on_both(lan);
        let only_eth0 = speaker.l2.probe(VIP.into(), &both()[..1]).await.unwrap();
        assert_eq!(only_eth0, ProbeOutcome::Free, "the control");
        let mac = lan.link_named(End::Peer, "eth1").mac.unwrap();
        let outcome = speaker.l2.probe(VIP.into(), &both()).await.unwrap();
        assert_eq!(outcome, ProbeOutcome::Conflict { mac, link: "eth1".into() });
        speaker.stop().await;
    });
}

#[test]
fn two_links_on_one_segment_are_not_foreign_to_each_other() {
    Lan::new().on(End::Node, async |lan| {
        connect_again(lan);
        lan.ip(End::Peer, "link add br0 type bridge");
        for port in ["eth0", "eth1"] {
            lan.ip(End::Peer, &format!("link set {port} master br0"));
        }
        lan.ip(End::Peer, "link set br0 up");
        // A new bridge port forwards at once without spanning tree.
        let mut speaker = speaker_on_both(lan);
        assert_eq!(speaker.l2.probe(VIP.into(), &both()).await.unwrap(), ProbeOutcome::Free);
        assert!(speaker.l2.counts().received >= 3, "each hears the other's probes");
        assert!(speaker.l2.set_owned(&[(VIP.into(), both())].into()).is_empty());
        tokio::time::sleep(Duration::from_millis(1_300)).await;
        let counts = speaker.l2.counts();
        assert_eq!((counts.gratuitous, counts.defences), (16, 0), "{counts:?}");
        assert!(speaker.conflicts.try_recv().is_err());
        speaker.stop().await;
    });
}

//! Answers, announcements and defence on a real link: network namespaces, `arping`, `tcpdump`.

mod l2_rig;

use std::net::Ipv4Addr;
use std::time::Duration;

use l2_rig::{
    Capture, End, FOREIGN, Lan, PEER_IP, SELDOM, Speaker, VIP, answers, arping, eventually,
};
use vipgate_speaker::l2::DropReason;
use vipgate_speaker::l2::arp::Arp;

#[test]
fn arping_gets_our_address_exactly_once_per_request() {
    Lan::new().on(End::Node, async |lan| {
        assert_eq!(answers(&arping(lan, VIP, 2).await), [], "nobody has it before");
        let speaker = Speaker::owning(lan, SELDOM);
        let output = arping(lan, VIP, 5).await;
        assert_eq!(answers(&output), [lan.mac(End::Node); 5], "{output}");
        let counts = speaker.l2.counts();
        assert_eq!((counts.requests, counts.replies), (5, 5), "{counts:?}");

        // Silence when it is owned no more.
        speaker.own::<Ipv4Addr>(&[]);
        assert_eq!(answers(&arping(lan, VIP, 2).await), []);
        assert_eq!(speaker.l2.counts().replies, 5);
        speaker.stop().await;
    });
}

/// With the VIP on `lo` the kernel answers too, unless it is kept from it; the packet socket is
/// not affected by the rules that keep it silent.
#[test]
fn the_speaker_alone_answers_while_the_kernel_is_silenced() {
    Lan::new().on(End::Node, async |lan| {
        lan.ip(End::Node, &format!("addr add {VIP}/32 dev lo"));
        let speaker = Speaker::owning(lan, SELDOM);
        let both = answers(&arping(lan, VIP, 4).await);
        assert!(both.len() > 4, "the control: kernel and speaker both answer: {both:?}");

        lan.exec(
            End::Node,
            &format!(
                "nft 'table arp t {{ chain out {{ type filter hook output priority 0; \
                 arp operation reply arp saddr ip {VIP} drop; }}; }}'"
            ),
        );
        assert_eq!(answers(&arping(lan, VIP, 4).await), [lan.mac(End::Node); 4]);
        speaker.stop().await;
    });
}

#[test]
fn the_burst_is_on_the_wire_in_both_forms_and_in_time() {
    Lan::new().on(End::Node, async |lan| {
        let capture = Capture::start(lan, &format!("arp host {VIP}")).await;
        let speaker = Speaker::owning(lan, Duration::from_millis(500));
        let lines = capture.lines(Duration::from_millis(2_300)).await;
        speaker.stop().await;

        let mac = lan.mac(End::Node);
        let expected = [0.0, 0.1, 0.3, 1.0, 1.5, 2.0];
        assert_eq!(lines.len(), 2 * expected.len(), "{lines:#?}");
        let start = lines[0].0;
        for (pair, at) in lines.chunks(2).zip(expected) {
            let [(time, request), (_, reply)] = pair else { panic!("{pair:?}") };
            assert!(
                (-0.01..0.09).contains(&(time - start - at)),
                "{} instead of {at}",
                time - start
            );
            for line in [request, reply] {
                assert!(line.starts_with(&format!("{mac} > ff:ff:ff:ff:ff:ff,")), "{line}");
            }
            assert!(request.contains(&format!("Request who-has {VIP}")), "{request}");
            assert!(request.contains(&format!("tell {VIP}")), "{request}");
            assert!(reply.contains(&format!("Reply {VIP} is-at {mac}")), "{reply}");
        }
    });
}

/// A neighbour's cache, and not only tcpdump, follows an announcement.
#[test]
fn an_announcement_moves_the_address_in_the_cache_of_a_neighbour() {
    Lan::new().on(End::Node, async |lan| {
        lan.ip(End::Peer, &format!("neigh add {VIP} lladdr {FOREIGN} dev eth0 nud stale"));
        let speaker = Speaker::owning(lan, SELDOM);
        let mac = lan.mac(End::Node).to_string();
        eventually("the peer's cache has our address", || {
            lan.ip(End::Peer, &format!("neigh show {VIP}")).contains(&mac)
        })
        .await;
        speaker.stop().await;
    });
}

#[test]
fn a_foreign_claim_is_reported_and_defended_once_in_ten_seconds() {
    Lan::new().on(End::Node, async |lan| {
        let mut speaker = Speaker::owning(lan, SELDOM);
        // Over the burst, so that only defences are on the wire.
        tokio::time::sleep(Duration::from_millis(1_200)).await;
        let capture =
            Capture::start(lan, &format!("arp and ether src {}", lan.mac(End::Node))).await;
        let claim = Arp::announcement(FOREIGN, VIP).map(|frame| frame.to_bytes().to_vec());
        for _ in 0..21 {
            lan.inject(&claim);
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        let lines = capture.lines(Duration::from_millis(300)).await;
        assert_eq!(lines.len(), 4, "two defences in 10.5 s, both forms: {lines:#?}");
        let distance = lines[2].0 - lines[0].0;
        assert!((9.99..11.5).contains(&distance), "{distance} s between defences");

        let mut reported = Vec::new();
        while let Ok(conflict) = speaker.conflicts.try_recv() {
            reported.push((conflict.vip, conflict.mac, conflict.link));
        }
        let once = (VIP.into(), FOREIGN, "eth0".to_owned());
        assert_eq!(reported, [once.clone(), once]);
        let counts = speaker.l2.counts();
        assert_eq!((counts.defences, counts.sightings_lost), (4, 0), "{counts:?}");
        speaker.stop().await;
    });
}

#[test]
fn a_foreign_probe_is_answered() {
    Lan::new().on(End::Node, async |lan| {
        let speaker = Speaker::owning(lan, SELDOM);
        let capture = Capture::start(lan, &format!("arp[6:2] == 2 and ether dst {FOREIGN}")).await;
        lan.inject(&[Arp::probe(FOREIGN, VIP).to_bytes().to_vec()]);
        let lines = capture.lines(Duration::from_millis(300)).await;
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].1.contains(&format!("Reply {VIP} is-at {}", lan.mac(End::Node))));
        speaker.stop().await;
    });
}

#[test]
fn ten_thousand_foreign_frames_wake_nobody() {
    Lan::new().on(End::Node, async |lan| {
        let speaker = Speaker::owning(lan, SELDOM);
        eventually("the burst is out", || speaker.l2.counts().gratuitous == 8).await;
        let before = speaker.l2.counts();

        let frame = |n: u32| {
            let other = (0x0a50_0100 + n % 200).into();
            let asks = Arp { sender_ip: PEER_IP, ..Arp::probe(FOREIGN, other) };
            if n.is_multiple_of(2) { asks } else { Arp::announcement(FOREIGN, other)[1] }
        };
        let flood: Vec<_> = (0..10_000).map(|n| frame(n).to_bytes().to_vec()).collect();
        lan.inject(&flood);
        // The control: the frame after the flood is about the VIP and gets through.
        lan.inject(&[Arp::probe(FOREIGN, VIP).to_bytes().to_vec()]);
        eventually("the last frame arrives", || speaker.l2.counts().requests == 1).await;

        let after = speaker.l2.counts();
        assert_eq!(after.received - before.received, 1, "{after:?}");
        assert_eq!(after.wakeups - before.wakeups, 1, "{after:?}");
        speaker.stop().await;
    });
}

/// Requests for the VIP from one broken station do not keep others from being answered.
#[test]
fn a_flood_for_the_vip_is_limited_and_others_are_still_answered() {
    Lan::new().on(End::Node, async |lan| {
        let speaker = Speaker::owning(lan, SELDOM);
        eventually("it is announced", || speaker.l2.counts().gratuitous >= 2).await;
        let asks = Arp { sender_ip: PEER_IP, ..Arp::probe(FOREIGN, VIP) };
        for _ in 0..20 {
            lan.inject(&vec![asks.to_bytes().to_vec(); 100]);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(answers(&arping(lan, VIP, 5).await), [lan.mac(End::Node); 5]);
        let counts = speaker.l2.counts();
        let limited = counts.dropped.get(&DropReason::RateLimited);
        assert!(counts.replies < 200 && limited.is_some_and(|n| *n > 500), "{counts:?}");
        speaker.stop().await;
    });
}

#[test]
fn a_frame_that_passes_the_filter_and_is_no_good_is_counted() {
    Lan::new().on(End::Node, async |lan| {
        let speaker = Speaker::owning(lan, SELDOM);
        let mut bytes = Arp::probe(FOREIGN, VIP).to_bytes().to_vec();
        bytes[22..28].fill(0xff);
        eventually("dropped by reason", || {
            lan.inject(&[bytes.clone()]);
            speaker.l2.counts().dropped.contains_key(&DropReason::SenderMac)
        })
        .await;
        assert_eq!(speaker.l2.counts().replies, 0);
        speaker.stop().await;
    });
}

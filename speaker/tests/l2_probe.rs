//! Probing on a real link, against the ARP of a real kernel and against another speaker.

mod l2_rig;

use std::net::Ipv4Addr;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use l2_rig::{End, FOREIGN, Lan, PEER_IP, SELDOM, Speaker, VIP};
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
use vipgate_speaker::l2::arp::Arp;
use vipgate_speaker::l2::{L2Error, ProbeOutcome};

fn eth0() -> Vec<String> {
    vec!["eth0".to_owned()]
}

#[test]
fn an_address_that_nobody_has_is_free_after_half_a_second() {
    Lan::new().on(End::Node, async |lan| {
        let speaker = Speaker::new(SELDOM);
        speaker.set_link(lan, End::Node);
        let start = Instant::now();
        let outcome = speaker.l2.probe(VIP.into(), &eth0()).await.unwrap();
        let took = start.elapsed();
        assert_eq!(outcome, ProbeOutcome::Free);
        assert!((490..900).contains(&took.as_millis()), "{took:?}");
        let counts = speaker.l2.counts();
        assert_eq!((counts.probes, counts.gratuitous, counts.received), (3, 0, 0), "{counts:?}");
        speaker.stop().await;
    });
}

#[test]
fn an_address_that_the_peer_has_is_a_conflict_with_its_mac() {
    Lan::new().on(End::Node, async |lan| {
        let speaker = Speaker::new(SELDOM);
        speaker.set_link(lan, End::Node);
        let start = Instant::now();
        let outcome = speaker.l2.probe(PEER_IP.into(), &eth0()).await.unwrap();
        let mac = lan.mac(End::Peer);
        assert_eq!(outcome, ProbeOutcome::Conflict { mac, link: "eth0".into() });
        assert!(start.elapsed() < Duration::from_millis(400), "{:?}", start.elapsed());
        speaker.stop().await;
    });
}

#[test]
fn many_addresses_are_probed_at_once() {
    Lan::new().on(End::Node, async |lan| {
        let speaker = Speaker::new(SELDOM);
        speaker.set_link(lan, End::Node);
        let start = Instant::now();
        let links = eth0();
        let free = futures_util::future::join_all(
            (0..100_u32).map(|n| speaker.l2.probe(Ipv4Addr::from(0x0a50_0001 + n).into(), &links)),
        )
        .await;
        // 10.80.0.1 is the peer; 10.80.0.2 is this host, whose own kernel does not answer it.
        for (n, outcome) in free.into_iter().enumerate() {
            assert_eq!(outcome.unwrap() == ProbeOutcome::Free, n != 0, "10.80.0.{}", n + 1);
        }
        assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
        speaker.stop().await;
    });
}

/// Two vipgate hosts want the same address at the same moment: exactly one gets it.
#[test]
fn of_two_speakers_that_probe_together_exactly_one_wins() {
    let lan = &Lan::new();
    let both_ready = &Barrier::new(2);
    let contend = |end| {
        lan.on(end, async |lan| {
            let speaker = Speaker::new(SELDOM);
            speaker.set_link(lan, end);
            both_ready.wait();
            let outcome = speaker.l2.probe(VIP.into(), &eth0()).await.unwrap();
            if outcome == ProbeOutcome::Free {
                speaker.own(&[VIP]);
            }
            tokio::time::sleep(Duration::from_millis(600)).await;
            speaker.stop().await;
            outcome
        })
    };
    let (node, peer) = std::thread::scope(|scope| {
        let peer = scope.spawn(|| contend(End::Peer));
        (contend(End::Node), peer.join().unwrap())
    });
    let lower = lan.mac(End::Node).min(lan.mac(End::Peer));
    let lost = ProbeOutcome::Conflict { mac: lower, link: "eth0".into() };
    let expected = if lan.mac(End::Node) == lower {
        (ProbeOutcome::Free, lost)
    } else {
        (lost, ProbeOutcome::Free)
    };
    assert_eq!((node, peer), expected);
}

#[test]
fn an_owned_address_is_defended_against_a_probe_of_another_speaker() {
    let lan = &Lan::new();
    let (asked, told) = tokio::sync::oneshot::channel();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            lan.on(End::Node, async |lan| {
                let speaker = Speaker::owning(lan, SELDOM);
                // The burst alone would do, so ask after it.
                tokio::time::sleep(Duration::from_millis(1_200)).await;
                told.await.unwrap();
                speaker.stop().await;
            });
        });
        let outcome = lan.on(End::Peer, async |lan| {
            tokio::time::sleep(Duration::from_millis(1_500)).await;
            let speaker = Speaker::new(SELDOM);
            speaker.set_link(lan, End::Peer);
            let outcome = speaker.l2.probe(VIP.into(), &eth0()).await.unwrap();
            speaker.stop().await;
            outcome
        });
        asked.send(()).unwrap();
        let mac = lan.mac(End::Node);
        assert_eq!(outcome, ProbeOutcome::Conflict { mac, link: "eth0".into() });
    });
}

#[test]
fn silence_on_a_link_that_cannot_send_is_not_freedom() {
    Lan::new().on(End::Node, async |lan| {
        let speaker = Speaker::new(SELDOM);
        speaker.set_link(lan, End::Node);
        let probe = |links: &[&str]| {
            let links: Vec<String> = links.iter().map(|link| (*link).to_owned()).collect();
            let l2 = &speaker.l2;
            async move { l2.probe(VIP.into(), &links).await.unwrap_err() }
        };
        assert!(matches!(probe(&[]).await, L2Error::NoLinks));
        assert!(
            matches!(probe(&["eth0", "eth7"]).await, L2Error::NoSuchLink { link } if link == "eth7")
        );

        // Down, but nobody has told the speaker yet: the kernel refuses the frame.
        lan.ip(End::Node, "link set eth0 down");
        assert!(matches!(probe(&["eth0"]).await, L2Error::Send { .. }));
        speaker.set_link(lan, End::Node);
        let error = probe(&["eth0"]).await;
        assert!(matches!(error, L2Error::LinkDown { .. }));
        assert!(error.to_string().contains("ip link show eth0"), "{error}");
        speaker.stop().await;
    });
}

#[test]
fn a_probe_fails_when_the_link_goes_down_under_it() {
    Lan::new().on(End::Node, async |lan| {
        let speaker = Speaker::new(SELDOM);
        speaker.set_link(lan, End::Node);
        let links = eth0();
        let unplug = async {
            tokio::time::sleep(Duration::from_millis(350)).await;
            lan.ip(End::Peer, "link set eth0 down");
            speaker.set_link(lan, End::Node);
        };
        let (outcome, ()) = tokio::join!(speaker.l2.probe(VIP.into(), &links), unplug);
        assert!(matches!(outcome, Err(L2Error::LinkDown { .. })), "{outcome:?}");
        speaker.stop().await;
    });
}

/// A machine that stood still while the answer came in reads the answer before it decides.
#[test]
fn an_answer_that_arrives_during_a_stall_counts() {
    Lan::new().on(End::Node, async |lan| {
        let speaker = Speaker::new(SELDOM);
        speaker.set_link(lan, End::Node);
        let links = eth0();
        let stall = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            // Both block the only thread, until the probe is long over.
            lan.inject(&[Arp::announcement(FOREIGN, VIP)[0].to_bytes().to_vec()]);
            std::thread::sleep(Duration::from_millis(500));
        };
        let (outcome, ()) = tokio::join!(speaker.l2.probe(VIP.into(), &links), stall);
        let conflict = ProbeOutcome::Conflict { mac: FOREIGN, link: "eth0".into() };
        assert_eq!(outcome.unwrap(), conflict);
        speaker.stop().await;
    });
}

#[test]
fn an_abandoned_probe_falls_silent_and_deaf() {
    Lan::new().on(End::Node, async |lan| {
        let speaker = Speaker::new(SELDOM);
        speaker.set_link(lan, End::Node);
        let links = eth0();
        let probe = speaker.l2.probe(VIP.into(), &links);
        let abandoned = tokio::time::timeout(Duration::from_millis(150), probe).await;
        assert!(abandoned.is_err());
        tokio::time::sleep(Duration::from_millis(300)).await;
        lan.inject(&Arp::announcement(FOREIGN, VIP).map(|frame| frame.to_bytes().to_vec()));
        // The control: what comes next is heard.
        assert_ne!(speaker.l2.probe(PEER_IP.into(), &links).await.unwrap(), ProbeOutcome::Free);
        let counts = speaker.l2.counts();
        assert_eq!((counts.probes, counts.received), (2 + 1, 1), "{counts:?}");
        speaker.stop().await;
    });
}

#[test]
fn without_the_capability_the_error_names_it() {
    Lan::new().on(End::Node, async |lan| {
        // Of this thread alone, which ends with the test.
        let mut sets = capabilities(None).unwrap();
        sets.effective.remove(CapabilitySet::NET_RAW);
        set_capabilities(None, sets).unwrap();
        let speaker = Speaker::new(SELDOM);
        assert!(speaker.l2.set_links(&[lan.link(End::Node)]).is_empty(), "nothing is wanted yet");
        let failed = speaker.l2.set_owned(&[(VIP.into(), eth0())].into());
        assert!(matches!(&failed["eth0"], L2Error::Permission { .. }), "{failed:?}");
        assert!(failed["eth0"].to_string().contains("CAP_NET_RAW"), "{failed:?}");
        let error = speaker.l2.probe(VIP.into(), &eth0()).await.unwrap_err();
        assert!(matches!(error, L2Error::Permission { .. }), "{error}");

        // It is tried again when the node says what it wants again.
        sets.effective.insert(CapabilitySet::NET_RAW);
        set_capabilities(None, sets).unwrap();
        speaker.own(&[VIP]);
        speaker.stop().await;
    });
}

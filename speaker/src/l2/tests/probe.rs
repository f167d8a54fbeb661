use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use vipgate_planner::MacAddr;

use super::{CLIENT, HIGHER, LOWER, OUR_OTHER, OURS, VIP, VIP6, link, request_from};
use crate::l2::arp::{Arp, Operation};
use crate::l2::frame::Frame;
use crate::l2::probe::{Input, Outcome, Output, Probe};
use crate::l2::responder::LinkState;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Ticks a probe to its end, and hears `heard` at the given time.
fn run(heard: Option<(Duration, Arp)>) -> (Vec<Duration>, Duration, Outcome) {
    let start = Instant::now();
    let mut probe = Probe::starting(VIP.into(), link(), start);
    let mut heard = heard;
    let mut sent = Vec::new();
    loop {
        let due = probe.deadline().unwrap() - start;
        let (now, output) = match heard {
            Some((at, frame)) if at <= due => {
                heard = None;
                (at, probe.handle(Input::Received(&frame.into()), start + at))
            }
            _ => (due, probe.handle(Input::Tick, start + due)),
        };
        match output {
            None => {}
            Some(Output::Send(frame)) => {
                assert_eq!(frame, Frame::Arp(Arp::probe(OURS, VIP)));
                sent.push(now);
            }
            Some(Output::Done(outcome)) => return (sent, now, outcome),
        }
    }
}

#[test]
fn three_probes_and_then_silence_mean_free() {
    assert_eq!(run(None), (vec![ms(0), ms(100), ms(200)], ms(500), Outcome::Free));
}

#[test]
fn a_probe_claims_nothing() {
    let probe = Arp::probe(OURS, VIP);
    assert!(probe.sender_ip.is_unspecified() && probe.is_probe());
    assert_eq!((probe.target_ip, probe.operation), (VIP, Operation::Request));
}

#[test]
fn any_claim_ends_it_at_once_and_names_the_station() {
    let [announced, announced_reply] = Arp::announcement(HIGHER, VIP);
    let answered = Arp::probe(OURS, VIP).reply_from(HIGHER);
    let asks = Arp { target_ip: CLIENT, ..announced };
    for frame in [announced, announced_reply, answered, asks] {
        for at in [ms(1), ms(150), ms(499)] {
            let (_, end, outcome) = run(Some((at, frame)));
            assert_eq!((end, outcome), (at, Outcome::Conflict(HIGHER)), "{frame:?}");
        }
    }
}

#[test]
fn what_does_not_claim_it_does_not_matter() {
    let harmless = [
        request_from(LOWER),
        Arp::probe(LOWER, CLIENT),
        Arp::announcement(LOWER, CLIENT)[0],
        Arp::announcement(OURS, VIP)[0],
        Arp::probe(OUR_OTHER, VIP),
        Arp::probe(OURS, VIP),
    ];
    for frame in harmless {
        assert_eq!(run(Some((ms(150), frame))).2, Outcome::Free, "{frame:?}");
    }
}

#[test]
fn the_lower_address_wins_a_tie() {
    assert_eq!(run(Some((ms(50), Arp::probe(LOWER, VIP)))).2, Outcome::Conflict(LOWER));
    assert_eq!(run(Some((ms(50), Arp::probe(HIGHER, VIP)))).2, Outcome::Free);
}

#[test]
fn a_stall_does_not_shorten_the_time_others_have_to_answer() {
    let start = Instant::now();
    let mut probe = Probe::starting(VIP.into(), link(), start);
    let late = start + ms(5_000);
    assert!(matches!(probe.handle(Input::Tick, late), Some(Output::Send(_))));
    assert_eq!(probe.handle(Input::Tick, late), None);
    assert_eq!(probe.deadline(), Some(late + ms(100)));
}

#[test]
fn an_ended_probe_says_nothing_more() {
    let start = Instant::now();
    let mut probe = Probe::starting(VIP.into(), link(), start);
    let claim = Arp::announcement(HIGHER, VIP)[0];
    assert!(probe.handle(Input::Received(&claim.into()), start).is_some());
    assert_eq!(probe.deadline(), None);
    assert_eq!(probe.handle(Input::Received(&claim.into()), start), None);
    assert_eq!(probe.handle(Input::Tick, start + ms(1_000)), None);
}

/// Whenever a second host begins to probe while the first one does, exactly one of them gets the
/// address, if who is done announces at once.
#[test]
fn of_two_hosts_that_probe_at_once_exactly_one_wins() {
    for delay in (0..500).step_by(7) {
        for (first, second) in [(LOWER, HIGHER), (HIGHER, LOWER)] {
            for vip in [IpAddr::V4(VIP), IpAddr::V6(VIP6)] {
                let outcomes = duel(vip, first, second, ms(delay));
                let winners = outcomes.iter().filter(|outcome| **outcome == Outcome::Free).count();
                assert_eq!(winners, 1, "{first} then {second} after {delay} ms: {outcomes:?}");
            }
        }
    }
}

fn duel(vip: IpAddr, first: MacAddr, second: MacAddr, delay: Duration) -> [Outcome; 2] {
    let start = Instant::now();
    let host = |mac, at| {
        let link = LinkState { mac, up: true, own_macs: Arc::new([mac].into()), ..link() };
        Probe::starting(vip, link, at)
    };
    let macs = [first, second];
    let mut probes = [host(first, start), host(second, start + delay)];
    let mut outcomes = [None; 2];
    loop {
        let next = |i: usize| probes[i].deadline();
        let (who, now) = match (next(0), next(1)) {
            (Some(a), Some(b)) if b < a => (1, b),
            (Some(a), _) => (0, a),
            (None, Some(b)) => (1, b),
            (None, None) => return outcomes.map(|outcome| outcome.unwrap()),
        };
        let on_the_wire = match probes[who].handle(Input::Tick, now) {
            None => continue,
            Some(Output::Send(frame)) => frame,
            Some(Output::Done(outcome)) => {
                outcomes[who] = Some(outcome);
                Frame::announcement(macs[who], vip)[0]
            }
        };
        let other = 1 - who;
        // A host that has not begun has no socket yet and hears nothing.
        let listens = other == 0 || now >= start + delay;
        if let Some(Output::Done(outcome)) =
            listens.then(|| probes[other].handle(Input::Received(&on_the_wire), now)).flatten()
        {
            outcomes[other] = Some(outcome);
        }
    }
}

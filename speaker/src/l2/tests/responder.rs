use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use vipgate_planner::MacAddr;

use super::{CLIENT, HIGHER, LOWER, OUR_OTHER, OURS, VIP, link, request_from};
use crate::l2::DropReason;
use crate::l2::arp::{Arp, Operation};
use crate::l2::frame::{BROADCAST, Frame};
use crate::l2::responder::{BATCH, Input, LinkState, Output, PACE, Purpose, Responder};

const EVERY: Duration = Duration::from_secs(30);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A responder and its clock.
struct Rig {
    responder: Responder,
    start: Instant,
    now: Instant,
}

impl Rig {
    fn new() -> Rig {
        let start = Instant::now();
        Rig { responder: Responder::new(link(), EVERY), start, now: start }
    }

    /// One that owns the VIP and has its burst behind it.
    fn settled() -> Rig {
        let mut rig = Rig::new();
        rig.input(Input::Own(VIP.into()));
        rig.run_until(ms(2_000));
        rig
    }

    fn input(&mut self, input: Input) -> Vec<Output> {
        self.responder.handle(input, self.now)
    }

    fn receive(&mut self, frame: impl Into<Frame>) -> Vec<Output> {
        self.input(Input::Received(frame.into()))
    }

    /// Ticks at each deadline up to this time after the start; what was sent and when.
    fn run_until(&mut self, end: Duration) -> Vec<(Duration, Frame, Purpose)> {
        let mut sent = Vec::new();
        while let Some(at) = self.responder.deadline().filter(|at| *at <= self.start + end) {
            self.now = self.now.max(at);
            for output in self.responder.handle(Input::Tick, self.now) {
                let Output::Send(frame, purpose) = output else { panic!("{output:?}") };
                sent.push((self.now - self.start, frame, purpose));
            }
        }
        self.now = self.start + end;
        sent
    }
}

#[test]
fn announces_in_both_forms_in_a_burst_and_then_steadily() {
    let mut rig = Rig::new();
    assert_eq!(rig.responder.deadline(), None);
    rig.input(Input::Own(VIP.into()));
    let sent = rig.run_until(ms(62_000));
    let expected: Vec<_> = [0, 100, 300, 1_000, 31_000, 61_000]
        .into_iter()
        .flat_map(|at| {
            Arp::announcement(OURS, VIP).map(|arp| (ms(at), arp.into(), Purpose::Gratuitous))
        })
        .collect();
    assert_eq!(sent, expected);
}

#[test]
fn saying_again_that_a_vip_is_owned_does_not_announce_it_again() {
    let mut rig = Rig::settled();
    assert_eq!(rig.input(Input::Own(VIP.into())), []);
    assert_eq!(rig.run_until(ms(30_000)), []);
}

#[test]
fn announcements_missed_during_a_stall_are_not_made_up_for() {
    let mut rig = Rig::new();
    rig.input(Input::Own(VIP.into()));
    rig.now += ms(5_000);
    assert_eq!(rig.input(Input::Tick).len(), 2);
    assert_eq!(rig.responder.deadline(), Some(rig.now + EVERY));
}

#[test]
fn without_an_interval_the_burst_is_all() {
    let mut rig = Rig::new();
    rig.responder = Responder::new(link(), Duration::ZERO);
    rig.input(Input::Own(VIP.into()));
    assert_eq!(rig.run_until(ms(100_000)).len(), 8);
    assert_eq!(rig.responder.deadline(), None);
}

#[test]
fn many_vips_are_announced_in_paced_batches() {
    let mut rig = Rig::new();
    let vips: Vec<IpAddr> = (0..1_000).map(|n| Ipv4Addr::from(0x0a00_0000 + n).into()).collect();
    for vip in &vips {
        assert_eq!(rig.input(Input::Own(*vip)), [], "only a tick announces, so batches hold");
    }
    let sent = rig.run_until(ms(99));
    let announced: BTreeSet<IpAddr> = sent.iter().map(|(_, frame, _)| frame.claims()).collect();
    assert_eq!(announced, vips.into_iter().collect());
    assert_eq!(sent.len(), 2_000);
    let times: BTreeSet<Duration> = sent.iter().map(|(at, ..)| *at).collect();
    for at in &times {
        assert!(sent.iter().filter(|(t, ..)| t == at).count() <= 2 * BATCH);
    }
    assert!(times.iter().zip(times.iter().skip(1)).all(|(a, b)| *b - *a >= PACE));
}

#[test]
fn answers_a_broadcast_request_to_the_requester_alone() {
    let mut rig = Rig::settled();
    let request = request_from(LOWER);
    let reply = Output::Send(request.reply_from(OURS).into(), Purpose::Reply);
    assert_eq!(rig.receive(request), [Output::Requested, reply]);
    // Stacks refresh a cache entry by a request to the station itself.
    let unicast = Arp { destination: OURS, ..request };
    assert_eq!(rig.receive(unicast), [Output::Requested, reply]);
}

#[test]
fn ignores_what_is_none_of_its_business() {
    let request = request_from(LOWER);
    let multicast = MacAddr([0x01, 0, 0x5e, 0, 0, 1]);
    let cases = [
        (Arp { destination: HIGHER, ..request }, DropReason::OtherDestination),
        (Arp { destination: multicast, ..request }, DropReason::OtherDestination),
        (Arp { target_ip: CLIENT, ..request }, DropReason::NotOwned),
        (Arp { operation: Operation::Reply, ..request }, DropReason::NotOwned),
        (request_from(OURS), DropReason::Own),
        (request_from(OUR_OTHER), DropReason::Own),
        (Arp::announcement(OURS, VIP)[0], DropReason::Own),
        (Arp::announcement(OUR_OTHER, VIP)[1], DropReason::Own),
    ];
    for (frame, reason) in cases {
        assert_eq!(Rig::settled().receive(frame), [Output::Dropped(reason)], "{frame:?}");
    }
}

#[test]
fn answers_a_foreign_probe_without_calling_it_a_conflict() {
    let mut rig = Rig::settled();
    let probe = Arp::probe(LOWER, VIP);
    let outputs = rig.receive(probe);
    assert_eq!(outputs[1..], [Output::Send(probe.reply_from(OURS).into(), Purpose::Reply)]);
    assert_eq!(outputs[0], Output::Requested);
}

#[test]
fn replies_to_one_requester_are_limited() {
    let mut rig = Rig::settled();
    let outputs: Vec<Output> = (0..1_000).flat_map(|_| rig.receive(request_from(LOWER))).collect();
    let sent = outputs.iter().filter(|o| matches!(o, Output::Send(..))).count();
    assert_eq!(sent, crate::l2::limit::BURST as usize);
    let limited = Output::Dropped(DropReason::RateLimited);
    assert_eq!(outputs.iter().filter(|o| **o == limited).count(), 1_000 - sent);
    assert_eq!(outputs.iter().filter(|o| **o == Output::Requested).count(), 1_000);
}

#[test]
fn every_form_of_a_foreign_claim_is_a_conflict() {
    let [announced, announced_reply] = Arp::announcement(HIGHER, VIP);
    let asks_with_our_address = Arp { sender_ip: VIP, target_ip: CLIENT, ..announced };
    let answers_somebody = Arp { sender_ip: VIP, ..request_from(CLIENT_MAC).reply_from(HIGHER) };
    // Claims of a station whose Ethernet source hides behind another one.
    let proxied = Arp { source: LOWER, ..announced };
    for frame in [announced, announced_reply, asks_with_our_address, answers_somebody, proxied] {
        let outputs = Rig::settled().receive(frame);
        let [request, reply] = Arp::announcement(OURS, VIP);
        let expected = [
            Output::Conflict { vip: VIP.into(), mac: HIGHER },
            Output::Send(request.into(), Purpose::Defence),
            Output::Send(reply.into(), Purpose::Defence),
        ];
        assert_eq!(outputs, expected, "{frame:?}");
    }
}

const CLIENT_MAC: MacAddr = MacAddr([0x02, 0, 0, 0, 0, 0x07]);

#[test]
fn two_responders_that_both_insist_do_not_storm() {
    let theirs = LinkState { mac: HIGHER, up: true, own_macs: Arc::new([HIGHER].into()), ..link() };
    let mut rig = Rig::settled();
    let mut other = Responder::new(theirs, EVERY);
    other.handle(Input::Own(VIP.into()), rig.now);

    // Whatever one sends the other hears at once, for 60 s.
    let end = rig.now + Duration::from_secs(60);
    let mut frames = 0;
    while let Some(at) = rig.responder.deadline().min(other.deadline()).filter(|at| *at < end) {
        rig.now = rig.now.max(at);
        let mut to_other = rig.responder.handle(Input::Tick, rig.now);
        let mut to_us = other.handle(Input::Tick, rig.now);
        while !(to_other.is_empty() && to_us.is_empty()) {
            let heard_by_us = sends(&to_us);
            let heard_by_other = sends(&to_other);
            frames += heard_by_us.len() + heard_by_other.len();
            let inputs = |responder: &mut Responder, frames: Vec<Frame>| -> Vec<Output> {
                let handle = |frame| responder.handle(Input::Received(frame), rig.now);
                frames.into_iter().flat_map(handle).collect()
            };
            to_other = inputs(&mut rig.responder, heard_by_us);
            to_us = inputs(&mut other, heard_by_other);
        }
    }
    // Announcements: 4 + 2 of the other, 2 of ours; defences: at most 6 each; two frames each.
    assert!(frames > 8 && frames <= 2 * (6 + 2 + 12), "{frames} frames in a minute");
}

fn source(frame: &Frame) -> MacAddr {
    match frame {
        Frame::Arp(arp) => arp.source,
        Frame::Ndp(ndp) => ndp.source,
    }
}

fn sends(outputs: &[Output]) -> Vec<Frame> {
    let frame = |output: &Output| match output {
        Output::Send(frame, _) => Some(*frame),
        _ => None,
    };
    outputs.iter().filter_map(frame).collect()
}

#[test]
fn a_disowned_vip_is_silent_at_once() {
    let mut rig = Rig::new();
    rig.input(Input::Own(VIP.into()));
    rig.run_until(ms(100));
    rig.input(Input::Disown(VIP.into()));
    assert_eq!(rig.receive(request_from(LOWER)), [Output::Dropped(DropReason::NotOwned)]);
    let claim = Arp::announcement(HIGHER, VIP)[0];
    assert_eq!(rig.receive(claim), [Output::Dropped(DropReason::NotOwned)]);
    assert_eq!(rig.responder.deadline(), None);
    assert_eq!(rig.input(Input::Tick), []);
}

#[test]
fn a_link_that_is_down_waits_and_announces_anew_when_it_is_up() {
    let mut rig = Rig::settled();
    rig.input(Input::Link(LinkState { up: false, ..link() }));
    assert_eq!(rig.responder.deadline(), None);
    rig.now += ms(60_000);
    assert_eq!(rig.input(Input::Tick), []);
    rig.input(Input::Link(link()));
    assert_eq!(rig.run_until(ms(64_000)).len(), 8, "a whole burst");
}

#[test]
fn a_new_ethernet_address_is_announced_and_used() {
    let new = MacAddr([0x02, 0, 0, 0, 0, 0x60]);
    let mut rig = Rig::settled();
    let own_macs = Arc::new(BTreeSet::from([new, OUR_OTHER]));
    rig.input(Input::Link(LinkState { mac: new, up: true, own_macs, ..link() }));
    let sent = rig.run_until(ms(4_000));
    assert_eq!(sent.len(), 8);
    assert!(sent.iter().all(|(_, frame, _)| frame.sender() == new && source(frame) == new));
    let outputs = rig.receive(request_from(LOWER));
    assert_eq!(sends(&outputs), [request_from(LOWER).reply_from(new).into()]);
}

#[test]
fn other_links_of_this_host_coming_and_going_announce_nothing() {
    let mut rig = Rig::settled();
    rig.input(Input::Link(LinkState { own_macs: Arc::new([OURS].into()), ..link() }));
    assert_eq!(rig.run_until(ms(20_000)), []);
}

#[test]
fn replies_are_never_broadcast() {
    let mut rig = Rig::settled();
    for frame in [request_from(LOWER), Arp::probe(HIGHER, VIP)] {
        for sent in sends(&rig.receive(frame)) {
            assert!(matches!(sent, Frame::Arp(arp) if arp.destination != BROADCAST), "{sent:?}");
        }
    }
}

//! Datagrams of others: forged, recorded, of another group, and too many.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Instant;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::net::{Net, address, key, ms, ring};
use crate::group::core::{Input, Output};
use crate::group::replay::Replay;
use crate::group::session::{Datagrams, Received, Reject, Sessions};
use crate::group::wire::{
    Body, Channel, Header, MAX_DATAGRAM, MAX_PAYLOAD, Secret, Stamp, WireError,
};

fn sessions(seed: u64, group: &str) -> Sessions {
    Sessions::new(group, &ring(&[1]), SmallRng::seed_from_u64(seed))
}

const A: u8 = 1;
const B: u8 = 2;

/// Two sides, and everything between them kept.
struct Pair {
    now: std::time::Instant,
    sides: BTreeMap<SocketAddr, Sessions>,
    tape: Vec<(SocketAddr, Vec<u8>)>,
}

impl Pair {
    fn new() -> Self {
        let sides = [(address(A), sessions(1, "lab")), (address(B), sessions(2, "lab"))].into();
        Self { now: std::time::Instant::now(), sides, tape: Vec::new() }
    }

    /// Sends a payload from one to the other with all that it needs; what arrives at the end.
    fn say(&mut self, from: u8, to: u8, text: &[u8]) -> Vec<Received> {
        self.now += ms(50);
        let mut out = Datagrams::new();
        let side = self.sides.get_mut(&address(from)).unwrap();
        side.send(self.now, address(to), Stamp::default(), Channel::State, text.to_vec(), &mut out);
        let mut flying: Vec<_> = out.into_iter().map(|(to, d)| (address(from), to, d)).collect();
        let mut arrived = Vec::new();
        while let Some((from, to, datagram)) = flying.pop() {
            self.tape.push((to, datagram.clone()));
            let mut out = Datagrams::new();
            let side = self.sides.get_mut(&to).unwrap();
            let received = side.receive(self.now, from, &datagram, &mut out);
            arrived.extend(received.ok().flatten());
            flying.extend(out.into_iter().map(|(next, datagram)| (to, next, datagram)));
        }
        arrived
    }

    fn inject(
        &mut self,
        from: u8,
        to: u8,
        datagram: &[u8],
    ) -> (Result<Option<Received>, Reject>, Datagrams) {
        let mut out = Datagrams::new();
        let side = self.sides.get_mut(&address(to)).unwrap();
        (side.receive(self.now, address(from), datagram, &mut out), out)
    }
}

#[test]
fn a_first_payload_arrives_with_the_handshake() {
    let mut pair = Pair::new();
    assert_eq!(pair.say(A, B, b"one")[0].payload, b"one");
    assert_eq!(pair.tape.len(), 3, "Hello, Challenge, Data");
    assert_eq!(pair.say(A, B, b"two")[0].payload, b"two");
    assert_eq!(pair.tape.len(), 4, "no handshake any more");
}

#[test]
fn a_recorded_datagram_counts_once() {
    let mut pair = Pair::new();
    pair.say(A, B, b"one");
    for (to, datagram) in pair.tape.clone() {
        if to == address(B) && datagram.len() > 75 {
            let (received, out) = pair.inject(A, B, &datagram);
            assert_eq!(received, Err(Reject::Replayed));
            assert_eq!(out, []);
        }
    }
}

#[test]
fn what_was_recorded_before_a_restart_of_the_receiver_counts_no_more() {
    let mut pair = Pair::new();
    pair.say(A, B, b"one");
    pair.say(A, B, b"two");
    let tape = pair.tape.clone();
    pair.sides.insert(address(B), sessions(3, "lab"));
    for (to, datagram) in &tape {
        if *to == address(B) {
            assert!(!matches!(pair.inject(A, B, datagram).0, Ok(Some(_))));
        }
    }
    assert_eq!(pair.say(A, B, b"three"), [], "it shows the old cookie, and is told the new one");
    assert_eq!(pair.say(A, B, b"four")[0].payload, b"four");
}

#[test]
fn what_was_recorded_before_a_restart_of_the_sender_counts_no_more() {
    let mut pair = Pair::new();
    pair.say(A, B, b"one");
    let tape = pair.tape.clone();
    pair.sides.insert(address(A), sessions(3, "lab"));
    assert_eq!(pair.say(A, B, b"two")[0].payload, b"two");
    for (to, datagram) in &tape {
        if *to == address(B) {
            assert!(!matches!(pair.inject(A, B, datagram).0, Ok(Some(_))));
        }
    }
    assert_eq!(pair.say(A, B, b"three")[0].payload, b"three", "and nothing broke by it");
}

#[test]
fn one_bit_makes_it_forged_and_nothing_is_answered() {
    let mut pair = Pair::new();
    pair.say(A, B, b"a payload");
    let (_, datagram) = pair.tape.last().unwrap().clone();
    for bit in 0..datagram.len() * 8 {
        let mut forged = datagram.clone();
        forged[bit / 8] ^= 1 << (bit % 8);
        let (received, out) = pair.inject(A, B, &forged);
        assert!(matches!(received, Err(Reject::Wire(_))), "bit {bit}: {received:?}");
        assert_eq!(out, [], "bit {bit}");
    }
    for length in 0..datagram.len() {
        let (received, out) = pair.inject(A, B, &datagram[..length]);
        assert!(received.is_err() && out.is_empty(), "{length} bytes");
    }
}

#[test]
fn another_group_and_another_key_are_foreign() {
    let mut out = Datagrams::new();
    let now = std::time::Instant::now();
    let mut other = sessions(5, "other");
    other.send(now, address(B), Stamp::default(), Channel::Swim, vec![1], &mut out);
    let mut b = sessions(2, "lab");
    let mut answers = Datagrams::new();
    let received = b.receive(now, address(A), &out[0].1, &mut answers);
    assert_eq!(received, Err(Reject::Wire(WireError::Foreign)));

    // Also with the hint of the right one: the name of the group is part of the key.
    let hint = Secret::new(&key(1), "lab").hint();
    let mut disguised = out[0].1.clone();
    disguised[2..6].copy_from_slice(&hint);
    let received = b.receive(now, address(A), &disguised, &mut answers);
    assert_eq!(received, Err(Reject::Wire(WireError::Forged)));
    assert_eq!(answers, []);
}

#[test]
fn a_beacon_counts_where_it_comes_from_what_it_says_and_nowhere_else() {
    let (now, at) = (Instant::now(), address(1));
    let (mut one, mut two) = (sessions(1, "lab"), sessions(2, "lab"));
    let beacon = one.beacon(at);
    assert_eq!(two.read_beacon(now, at, &beacon), Ok(at));
    assert_eq!(two.read_beacon(now, address(3), &beacon), Err(Reject::Stale), "sent on by another");
    assert_eq!(one.read_beacon(now, at, &beacon), Err(Reject::Replayed), "our own");
    let mut other = sessions(3, "another");
    assert!(other.read_beacon(now, at, &beacon).is_err());
    // Nor is it part of a conversation.
    let mut out = Datagrams::new();
    assert_eq!(two.receive(now, at, &beacon, &mut out), Err(Reject::Stale));
    assert_eq!(out, []);
}

#[test]
fn an_answer_is_not_longer_than_what_it_answers() {
    let mut pair = Pair::new();
    pair.say(A, B, b"");
    let lengths: Vec<usize> = pair.tape.iter().map(|(_, datagram)| datagram.len()).collect();
    assert!(lengths[1] <= lengths[0], "Challenge and Hello: {lengths:?}");
    pair.sides.insert(address(B), sessions(3, "lab"));
    pair.tape.clear();
    pair.say(A, B, b"");
    let lengths: Vec<usize> = pair.tape.iter().map(|(_, datagram)| datagram.len()).collect();
    assert!(lengths[1] <= lengths[0], "Challenge and Data: {lengths:?}");
}

#[test]
fn the_longest_payload_makes_the_longest_datagram() {
    let secret = Secret::new(&key(1), "lab");
    let session = [9; 16];
    let body = Body::Data {
        cookie: 1,
        stamp: Stamp { generation: 2, version: 3 },
        channel: Channel::Swim,
        payload: vec![5; MAX_PAYLOAD],
    };
    let datagram = secret.session(&session).seal(&session, 7, &body);
    assert_eq!(datagram.len(), MAX_DATAGRAM);
    let header = Header::parse(&datagram).unwrap();
    assert_eq!((header.session, header.counter), (session, 7));
    assert_eq!(secret.session(&session).open(&header, &datagram).unwrap(), body);
}

#[test]
fn unknown_senders_are_bounded_and_members_do_not_suffer() {
    let mut net = Net::settled(1, 3);
    let hint = Secret::new(&key(1), "lab").hint();
    let mut rng = SmallRng::seed_from_u64(1);
    for round in 0..20_000_u32 {
        let mut garbage: Vec<u8> = (0..rng.random_range(71..400)).map(|_| rng.random()).collect();
        garbage[0] = b'V';
        garbage[1] = 1;
        garbage[2..6].copy_from_slice(&hint);
        let from = SocketAddr::from(([10, 9, (round % 250) as u8, 1], 7946));
        let outputs = {
            let now = net.now;
            net.members.get_mut(&address(1)).unwrap().handle(now, Input::Datagram(from, garbage))
        };
        assert!(!outputs.iter().any(|output| matches!(output, Output::Send(..))));
        if round % 20 == 0 {
            net.run(ms(1));
        }
    }
    assert_eq!(net.changes, [], "nobody came or went");
    let refused = &net.members[&address(1)].counts().refused;
    let derived = refused[&Reject::Wire(WireError::Forged)];
    assert!(derived <= 2_000, "keys were derived for {derived} of 20,000 in a second");
    assert!(refused[&Reject::Flood] > 15_000);
}

#[test]
fn a_recorded_group_changes_nothing_when_it_is_played_again() {
    let mut net = Net::settled(2, 3);
    net.tape = Some(Vec::new());
    net.run(ms(500));
    let tape = net.tape.take().unwrap();
    net.kill(1);
    net.run(ms(1_000));
    assert!(!net.alive(2).contains(&address(1)));
    net.changes.clear();
    for (from, to, datagram) in tape {
        net.input(to, Input::Datagram(from, datagram));
    }
    net.run(ms(1_000));
    assert_eq!(net.changes, [], "the dead one does not come back by its recorded words");
}

#[test]
fn a_window_lets_each_counter_in_once() {
    let mut window = Replay::default();
    let mut rng = SmallRng::seed_from_u64(3);
    let mut seen = std::collections::BTreeSet::new();
    let mut highest = 0_u64;
    for _ in 0..50_000 {
        let counter = highest.saturating_sub(1_000) + rng.random_range(0..1_400);
        let fresh = window.admit(counter);
        let expected = !seen.contains(&counter);
        assert_eq!(fresh, expected, "counter {counter}, highest {highest}");
        seen.insert(counter);
        highest = highest.max(counter);
    }
    assert!(!window.admit(0), "too old to tell");
    assert!(window.admit(highest + 1_000_000));
    assert!(!window.admit(highest), "the window went on");
    assert!(!window.admit(u64::MAX));
}

#[test]
fn bytes_at_random_after_the_seal_break_nothing() {
    // A member that is broken, or of a later version: rightly sealed, and nonsense.
    let mut pair = Pair::new();
    let mut rng = SmallRng::seed_from_u64(4);
    let mut net = Net::settled(3, 2);
    for _ in 0..2_000 {
        let payload: Vec<u8> = (0..rng.random_range(0..300)).map(|_| rng.random()).collect();
        let arrived = pair.say(A, B, &payload);
        assert_eq!(arrived[0].payload, payload);
        let now = net.now;
        let mut swim = crate::group::swim::Swim::new(
            now,
            crate::group::swim::MemberId::new(address(1), 1),
            [],
            MAX_PAYLOAD.try_into().unwrap(),
            SmallRng::seed_from_u64(5),
        );
        assert_eq!(swim.receive(now, &payload).len(), 0);
        let _ = crate::group::store::Message::from_bytes(&payload);
    }
    net.run(ms(10));
}

//! Stages, limits, and who goes first.

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const PATIENCE: Patience =
    Patience { fresh: Duration::from_secs(30), proven: Duration::from_secs(120) };

fn flow(client: &str) -> Flow {
    Flow { port: 0, client: client.parse().unwrap() }
}

/// What a worker does for a new client. Who had to go for it.
fn begin(sessions: &mut Sessions<u32>, client: &str, now: Instant) -> (u32, Option<(u32, Crowd)>) {
    let gone = sessions
        .in_the_way(client.parse().unwrap())
        .map(|(slot, crowd)| (sessions.end(slot).unwrap().1, crowd));
    let name = client.rsplit(':').next().unwrap().parse().unwrap();
    (sessions.begin(flow(client), name, now), gone)
}

fn sessions(all: usize, of_a_source: usize) -> Sessions<u32> {
    Sessions::new(Limits { all, of_a_source }, PATIENCE)
}

fn prove(sessions: &mut Sessions<u32>, slot: u32, now: Instant) {
    sessions.hear_endpoint(slot, now);
    assert!(sessions.hear_client(slot, now));
}

#[test]
fn a_flow_has_one_session_until_it_ends() {
    let mut sessions = sessions(10, 10);
    let now = Instant::now();
    let (slot, _) = begin(&mut sessions, "192.0.2.1:1", now);
    assert_eq!(sessions.find(&flow("192.0.2.1:1")), Some(slot));
    assert_eq!(sessions.find(&flow("192.0.2.1:2")), None);
    let other_port = Flow { port: 1, ..flow("192.0.2.1:1") };
    assert_eq!(sessions.find(&other_port), None, "the VIP's port is part of it");
    assert_eq!(sessions.end(slot), Some((flow("192.0.2.1:1"), 1)));
    assert_eq!(sessions.end(slot), None);
    assert_eq!(sessions.find(&flow("192.0.2.1:1")), None);
    assert!(sessions.is_empty() && sessions.by_key.is_empty() && sessions.groups.is_empty());
}

#[test]
fn only_a_client_that_speaks_after_an_answer_is_proven() {
    let mut sessions = sessions(10, 10);
    let now = Instant::now();
    let (slot, _) = begin(&mut sessions, "192.0.2.1:1", now);
    assert!(!sessions.hear_client(slot, now), "whoever asks twice has seen nothing yet");
    assert_eq!(sessions.hear_endpoint(slot, now), 1);
    assert_eq!(sessions.hear_endpoint(slot, now), 2);
    assert_eq!(sessions.slots[slot as usize].stage, Stage::Fresh);
    assert!(sessions.hear_client(slot, now));
    assert!(!sessions.hear_client(slot, now), "only once");
    assert_eq!(sessions.slots[slot as usize].stage, Stage::Proven);
}

#[test]
fn a_client_waits_from_its_first_question_to_the_next_answer() {
    let mut sessions = sessions(10, 10);
    let start = Instant::now();
    let (slot, _) = begin(&mut sessions, "192.0.2.1:1", start);
    let waits = |sessions: &Sessions<u32>, at: u32| {
        sessions.is_unanswered(slot, start + at * SECOND, 5 * SECOND)
    };
    assert!(!waits(&sessions, 4) && waits(&sessions, 5));
    sessions.hear_client(slot, start + 3 * SECOND);
    assert!(waits(&sessions, 5), "asking again does not make it shorter");
    sessions.hear_endpoint(slot, start + 6 * SECOND);
    assert!(!waits(&sessions, 60), "who asks nothing waits for nothing");
    sessions.hear_client(slot, start + 60 * SECOND);
    assert!(!waits(&sessions, 64) && waits(&sessions, 65));
}

#[test]
fn silence_ends_each_stage_in_its_time() {
    let mut sessions = sessions(10, 10);
    let start = Instant::now();
    let (fresh, _) = begin(&mut sessions, "192.0.2.1:1", start);
    let (proven, _) = begin(&mut sessions, "192.0.2.1:2", start);
    prove(&mut sessions, proven, start);
    assert_eq!(sessions.next_silent(), Some(start + 30 * SECOND));
    assert_eq!(sessions.silent(start + 29 * SECOND), None);
    // Either side counts.
    sessions.hear_endpoint(fresh, start + 29 * SECOND);
    assert_eq!(sessions.silent(start + 58 * SECOND), None);
    assert_eq!(sessions.silent(start + 59 * SECOND), Some(fresh));
    sessions.end(fresh);
    assert_eq!(sessions.silent(start + 119 * SECOND), None);
    assert_eq!(sessions.silent(start + 120 * SECOND), Some(proven));
    sessions.end(proven);
    assert_eq!(sessions.next_silent(), None);
}

#[test]
fn above_the_limit_the_one_goes_that_was_silent_for_longest() {
    let mut sessions = sessions(3, 3);
    let now = Instant::now();
    let (first, _) = begin(&mut sessions, "192.0.2.1:1", now);
    for client in ["192.0.2.2:2", "192.0.2.3:3"] {
        assert_eq!(begin(&mut sessions, client, now).1, None);
    }
    sessions.hear_client(first, now);
    for (client, gone) in [("192.0.2.4:4", 2), ("192.0.2.5:5", 3), ("192.0.2.6:6", 1)] {
        assert_eq!(begin(&mut sessions, client, now).1, Some((gone, Crowd::All)));
    }
    assert_eq!(sessions.slots.len(), 3);
}

#[test]
fn a_source_with_too_many_loses_its_own() {
    let mut sessions = sessions(100, 2);
    let now = Instant::now();
    begin(&mut sessions, "192.0.2.9:9", now);
    begin(&mut sessions, "192.0.2.1:1", now);
    begin(&mut sessions, "192.0.2.1:2", now);
    assert_eq!(begin(&mut sessions, "192.0.2.1:3", now).1, Some((1, Crowd::Source)));
    assert_eq!(begin(&mut sessions, "192.0.2.2:4", now).1, None);
    // By IPv6 a host has a whole /64.
    begin(&mut sessions, "[2001:db8::1]:5", now);
    begin(&mut sessions, "[2001:db8::2]:6", now);
    let third = begin(&mut sessions, "[2001:db8::ffff:0:0:3]:7", now);
    assert_eq!(third.1, Some((5, Crowd::Source)));
    assert_eq!(begin(&mut sessions, "[2001:db8:0:1::1]:8", now).1, None);
}

#[test]
fn a_flood_does_not_end_what_goes_on() {
    let mut sessions = sessions(800, 800);
    let start = Instant::now();
    let proven: Vec<u32> = (0..600)
        .map(|n| {
            let (slot, _) = begin(&mut sessions, &format!("192.0.2.1:{n}"), start);
            prove(&mut sessions, slot, start);
            slot
        })
        .collect();
    for n in 0..10_000_u32 {
        let [_, a, b, c] = n.to_be_bytes();
        begin(&mut sessions, &format!("10.{a}.{b}.{c}:7"), start + SECOND);
    }
    assert_eq!(sessions.slots.len(), 800);
    assert!(proven.iter().all(|slot| sessions.slots[*slot as usize].stage == Stage::Proven));
}

#[test]
fn those_that_go_on_leave_some_room_to_others() {
    let mut sessions = sessions(80, 80);
    let now = Instant::now();
    for n in 0..80 {
        let (slot, _) = begin(&mut sessions, &format!("192.0.2.1:{n}"), now);
        prove(&mut sessions, slot, now);
    }
    let gone: Vec<_> =
        (100..120).filter_map(|n| begin(&mut sessions, &format!("192.0.2.2:{n}"), now).1).collect();
    let gone: Vec<u32> = gone.iter().map(|(name, _)| *name).collect();
    let expected: Vec<u32> = (0..10).chain(100..110).collect();
    assert_eq!(gone, expected, "an eighth, and then new ones each other");
}

/// Has its client speak after an answer so often.
fn talk(sessions: &mut Sessions<u32>, slot: u32, start: Instant, times: u32, apart: Duration) {
    for n in 0..times {
        sessions.hear_endpoint(slot, start + n * apart);
        sessions.hear_client(slot, start + n * apart);
    }
}

#[test]
fn only_a_client_that_goes_on_for_a_while_is_settled() {
    let mut sessions = sessions(10, 10);
    let start = Instant::now();
    let stage_after = |sessions: &mut Sessions<u32>, client: &str, times, apart| {
        let (slot, _) = begin(sessions, client, start);
        talk(sessions, slot, start, times, apart);
        sessions.slots[slot as usize].stage
    };
    assert_eq!(stage_after(&mut sessions, "192.0.2.1:1", 4, SECOND), Stage::Proven);
    assert_eq!(stage_after(&mut sessions, "192.0.2.1:2", 5, SECOND), Stage::Settled);
    assert_eq!(stage_after(&mut sessions, "192.0.2.1:3", 100, SECOND / 100), Stage::Proven);
    assert_eq!(stage_after(&mut sessions, "192.0.2.1:4", 500, SECOND / 100), Stage::Settled);
    // Whoever talks without being answered does not get any further.
    let (slot, _) = begin(&mut sessions, "192.0.2.1:5", start);
    talk(&mut sessions, slot, start, 1, SECOND);
    for n in 0..100 {
        sessions.hear_client(slot, start + n * SECOND);
    }
    assert_eq!(sessions.slots[slot as usize].stage, Stage::Proven);
}

/// Whoever sends twice under each false address ends what looks the same, not what has gone on for a while.
#[test]
fn a_flood_of_two_each_does_not_end_what_is_settled() {
    let mut sessions = sessions(800, 800);
    let start = Instant::now();
    let settled: Vec<u32> = (0..500)
        .map(|n| {
            let (slot, _) = begin(&mut sessions, &format!("192.0.2.1:{n}"), start);
            talk(&mut sessions, slot, start, 5, SECOND);
            slot
        })
        .collect();
    for n in 0..10_000_u32 {
        let [_, a, b, c] = n.to_be_bytes();
        let (slot, _) = begin(&mut sessions, &format!("10.{a}.{b}.{c}:7"), start + 10 * SECOND);
        prove(&mut sessions, slot, start + 10 * SECOND);
    }
    assert_eq!(sessions.slots.len(), 800);
    assert!(settled.iter().all(|slot| sessions.slots[*slot as usize].stage == Stage::Settled));
    // Nor do they leave no room to others.
    for n in 0..800 {
        let (slot, _) = begin(&mut sessions, &format!("192.0.2.2:{n}"), start + 10 * SECOND);
        talk(&mut sessions, slot, start + 10 * SECOND, 5, SECOND);
    }
    for n in 0..200 {
        begin(&mut sessions, &format!("192.0.2.3:{n}"), start + 20 * SECOND);
    }
    assert_eq!(sessions.classes[0].1.lens(), [100, 100, 600]);
}

#[test]
fn each_port_has_its_patience_and_its_own_first_to_go() {
    let mut sessions = sessions(10, 10);
    let start = Instant::now();
    let terms = |seconds: u32, bounded| Terms {
        patience: Patience { fresh: seconds * SECOND, proven: seconds * SECOND },
        bounded,
        bounded_by_source: bounded,
    };
    sessions.set_terms(vec![Terms::usual(PATIENCE), terms(10, true), terms(100, false)]);
    let at = |port: u32, client: &str| Flow { port, ..flow(client) };
    let all: Vec<u32> =
        [(0, "192.0.2.1:1"), (1, "192.0.2.1:2"), (1, "192.0.2.2:3"), (2, "192.0.2.1:4")]
            .into_iter()
            .map(|(port, client)| sessions.begin(at(port, client), 0, start + port * SECOND))
            .collect();
    assert_eq!(sessions.next_silent(), Some(start + 11 * SECOND));
    assert_eq!(sessions.silent(start + 11 * SECOND), Some(all[1]));
    let source = source_of("192.0.2.2".parse().unwrap());
    assert_eq!((sessions.first_at(1), sessions.first_of(source, 1)), (Some(all[1]), Some(all[2])));
    assert_eq!((sessions.first_at(0), sessions.first_of(source, 0)), (None, None), "not asked for");
    sessions.hear_client(all[1], start + 5 * SECOND);
    assert_eq!(sessions.first_at(1), Some(all[2]));
    assert_eq!(sessions.first_to_go(), Some(all[0]), "of all it is the first that was not heard");
    // What there is follows a change, in the order in which it was heard.
    sessions.set_terms(vec![terms(1, true), terms(100, true), terms(50, false)]);
    assert_eq!(sessions.next_silent(), Some(start + SECOND));
    sessions.end(all[0]);
    assert_eq!(sessions.next_silent(), Some(start + 52 * SECOND));
    assert_eq!((sessions.first_at(1), sessions.first_at(2)), (Some(all[2]), None));
    sessions.hurry(20 * SECOND);
    assert_eq!(sessions.next_silent(), Some(start + 21 * SECOND));
    for slot in &all[1..] {
        sessions.end(*slot);
    }
    assert!(sessions.groups.is_empty() && sessions.by_key.is_empty());
    assert_eq!((sessions.next_silent(), sessions.first_to_go()), (None, None));
}

/// Against a plain list: whatever is done, the order and the counts are the same.
#[test]
fn the_order_is_that_of_a_plain_list() {
    let mut sessions = sessions(20, 5);
    let now = Instant::now();
    // Of each session: its client, whether it is proven, whether it was answered.
    let mut plain: Vec<(String, bool, bool)> = Vec::new();
    let mut state = 7_u64;
    let mut random = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) % below
    };
    for _ in 0..20_000 {
        let client = format!("192.0.2.{}:{}", random(8), random(6));
        let at = plain.iter().position(|(known, ..)| *known == client);
        assert_eq!(sessions.find(&flow(&client)).is_some(), at.is_some());
        match (sessions.find(&flow(&client)), at) {
            (Some(slot), Some(at)) => {
                let (_, mut proven, mut answered) = plain.remove(at);
                if random(3) == 0 {
                    sessions.hear_endpoint(slot, now);
                    answered = true;
                } else {
                    sessions.hear_client(slot, now);
                    proven |= answered;
                }
                plain.push((client, proven, answered));
            }
            _ => {
                let address = client.split(':').next().unwrap();
                let of_source =
                    |(known, ..): &(String, bool, bool)| known.split(':').next() == Some(address);
                let among: Vec<usize> =
                    (0..plain.len()).filter(|at| of_source(&plain[*at])).collect();
                let (among, limit) = match among.len() >= 5 {
                    true => (among, 5),
                    false => ((0..plain.len()).collect(), 20),
                };
                if among.len() >= limit {
                    let proven = among.iter().filter(|at| plain[**at].1).count();
                    let first = |is: bool| among.iter().find(|at| plain[**at].1 == is).copied();
                    let order = match proven > limit - limit / 8 {
                        true => [true, false],
                        false => [false, true],
                    };
                    let gone = order.into_iter().find_map(first).unwrap();
                    let (slot, _) = sessions.in_the_way(client.parse().unwrap()).unwrap();
                    assert_eq!(sessions.end(slot).unwrap().0, flow(&plain.remove(gone).0));
                }
                sessions.begin(flow(&client), 0, now);
                plain.push((client, false, false));
            }
        }
        assert_eq!(sessions.slots.len(), plain.len());
    }
}

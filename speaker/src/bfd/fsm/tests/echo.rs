//! The echo function, in simulated time.

use super::*;
use crate::bfd::fsm::echo::LONGEST_HOLD;

/// Two ends with control packets each 300 ms, of which the first sends echo packets each so many
/// milliseconds, and the second returns them this often.
fn echoing(ours: u32, theirs: u32) -> Pair {
    let with = |echo| Config { echo: Some(MS * echo), ..fast(300) };
    let mut pair = Pair::new(with(ours), with(theirs));
    pair.input(0, Input::EchoPath(true));
    pair.input(1, Input::EchoPath(true));
    pair.run(Duration::from_secs(5));
    assert_eq!(pair.states(), [State::Up; 2]);
    pair
}

/// When an end sent echo packets.
fn echoes(pair: &Pair, end: usize, since: Duration) -> Vec<Duration> {
    let of = pair.log.iter().filter(|(at, one, _)| *one == end && *at >= since);
    of.filter_map(|(at, _, output)| matches!(output, Output::SendEcho(_)).then_some(*at)).collect()
}

/// A packet of the other end as it last was.
fn last_of(pair: &Pair, end: usize) -> Packet {
    pair.sent(end, Duration::ZERO, Duration::MAX).last().unwrap().1
}

fn failed(pair: &Pair, end: usize, since: Duration) -> Option<Duration> {
    let down = Output::Changed(State::Down, Diagnostic::EchoFailed);
    let found =
        pair.log.iter().find(|(at, one, output)| *at >= since && *one == end && *output == down);
    found.map(|(at, ..)| *at - since)
}

/// Section 6.8.9: not before it is up, not faster than the other side says, up to a quarter less.
#[test]
fn echoes_are_sent_while_up_as_fast_as_they_are_returned() {
    for (ours, theirs, agreed) in [(50, 20, 50), (50, 80, 80)] {
        let mut pair = echoing(ours, theirs);
        let first = echoes(&pair, 0, Duration::ZERO)[0];
        let up = Output::Changed(State::Up, Diagnostic::None);
        let up = pair.log.iter().find(|(_, end, output)| *end == 0 && *output == up).unwrap().0;
        assert!(first >= up && first - up < MS * 600, "up at {up:?}, the first at {first:?}");
        pair.run(Duration::from_secs(3600));
        let sent = echoes(&pair, 0, Duration::from_secs(5));
        let gaps: Vec<Duration> = sent.windows(2).map(|two| two[1] - two[0]).collect();
        let range = MS * agreed * 3 / 4..=MS * agreed;
        assert!(gaps.iter().all(|gap| range.contains(gap)), "{agreed}");
        let different: std::collections::BTreeSet<_> = gaps.iter().collect();
        assert!(different.len() > 10, "no jitter: {different:?}");
        assert_eq!(pair.states(), [State::Up; 2]);
        assert_eq!(pair.ends[0].echoing(), Echoing::Active);
    }
}

/// Section 6.8.5, diagnostic 2: control packets still come and go, and the session goes down.
#[test]
fn echoes_that_stay_away_take_the_session_down_after_the_detection_time() {
    for (interval, multiplier) in [(50, 3), (200, 3), (50, 10)] {
        let config = Config { echo: Some(MS * interval), multiplier, ..fast(300) };
        let mut pair = Pair::new(config, config);
        (0..2).for_each(|end| pair.input(end, Input::EchoPath(true)));
        pair.run(Duration::from_secs(60));
        let cut = pair.elapsed();
        assert_eq!(failed(&pair, 0, Duration::ZERO), None);
        pair.returns[0] = false;
        pair.run(MS * 2 * interval * u32::from(multiplier));
        let after = failed(&pair, 0, cut).expect("it is noticed");
        let detection = MS * interval * u32::from(multiplier);
        assert!(after <= detection + 2 * MS, "{after:?} of {detection:?}");
        assert!(after + MS * interval >= detection, "{after:?} of {detection:?}");
        let told = pair.sent(0, cut + after, pair.elapsed())[0].1;
        assert_eq!((told.state, told.diagnostic), (State::Down, Diagnostic::EchoFailed));
        let other = (State::Down, Diagnostic::NeighborSignaledDown);
        assert_eq!(pair.changes(1, cut)[0], other);
        // Control packets bring it up again: not at once, and not for long.
        pair.run(Duration::from_secs(20));
        let changes = pair.changes(0, cut);
        let failures = changes.iter().filter(|(_, why)| *why == Diagnostic::EchoFailed).count();
        assert!((3..=5).contains(&failures), "{failures}");
        let between = |at: &Duration| (cut + after..cut + after + SLOW).contains(at);
        assert!(!echoes(&pair, 0, cut).iter().any(between));
        assert_eq!(pair.ends[0].echoing(), Echoing::Failed);
        // For good when they come back.
        pair.returns[0] = true;
        pair.run(LONGEST_HOLD + Duration::from_secs(2));
        assert_eq!(pair.ends[0].echoing(), Echoing::Active);
        let now = pair.elapsed();
        pair.run(Duration::from_secs(60));
        assert_eq!((pair.states(), pair.changes(0, now)), ([State::Up; 2], vec![]));
    }
}

/// A router on which BFD or its echo function is turned off is not one whose forwarding is broken.
#[test]
fn a_failure_is_forgotten_with_what_it_was_about() {
    let quiet = Config { echo: None, ..fast(300) };
    for what in [None, Some(Input::AdminDown(true)), Some(Input::EchoPath(false))] {
        let mut pair = echoing(50, 50);
        pair.returns[0] = false;
        pair.run(Duration::from_secs(4));
        assert_eq!(pair.ends[0].echoing(), Echoing::Failed);
        match what {
            Some(input) => pair.input(1, input),
            None => pair.open[1] = false,
        }
        pair.run(Duration::from_secs(20));
        assert_ne!(pair.ends[0].echoing(), Echoing::Failed, "{what:?}");
    }
    let mut pair = echoing(50, 50);
    pair.returns[0] = false;
    pair.run(Duration::from_secs(4));
    pair.input(0, Input::Configure(quiet));
    assert_eq!(pair.ends[0].echoing(), Echoing::Off);
    pair.run(LONGEST_HOLD * 2);
    assert_eq!(pair.states(), [State::Up; 2]);
}

/// Every other one may be lost.
#[test]
fn an_echo_now_and_then_is_enough() {
    let mut pair = echoing(100, 100);
    let since = pair.elapsed();
    for _ in 0..200 {
        pair.returns[0] = false;
        pair.run(MS * 80);
        pair.returns[0] = true;
        pair.run(MS * 110);
    }
    assert_eq!(pair.changes(0, since), []);
}

#[test]
fn without_a_way_or_a_promise_nothing_is_sent_and_nothing_fails() {
    let with = |echo: Option<u32>| Config { echo: echo.map(|echo| MS * echo), ..fast(300) };
    for (ours, theirs, path, expected) in [
        (None, Some(50), [false, true], Echoing::Off),
        (Some(50), None, [true, false], Echoing::NotReturned),
        (Some(50), Some(50), [false, true], Echoing::NoPath),
        (Some(50), Some(50), [true, false], Echoing::NotReturned),
    ] {
        let mut pair = Pair::new(with(ours), with(theirs));
        assert_eq!(pair.ends[0].echoing() == Echoing::Off, ours.is_none());
        (0..2).for_each(|end| pair.input(end, Input::EchoPath(path[end])));
        pair.run(Duration::from_secs(60));
        assert_eq!((pair.states(), pair.ends[0].echoing()), ([State::Up; 2], expected));
        assert!(echoes(&pair, 0, Duration::ZERO).is_empty());
        let promised = if path[0] && ours.is_some() { 50_000 } else { 0 };
        assert_eq!(last_of(&pair, 0).required_min_echo_rx, promised);
    }
}

/// The promise is taken back, the way lost, the setting changed: it ends without a failure.
#[test]
fn it_begins_and_ends_while_the_session_stays_up() {
    let mut pair = echoing(50, 50);
    let since = pair.elapsed();
    let quiet = Config { echo: None, ..fast(300) };
    let loud = Config { echo: Some(MS * 50), ..quiet };
    for (end, off, on) in [
        (0, Input::EchoPath(false), Input::EchoPath(true)),
        (0, Input::Configure(quiet), Input::Configure(loud)),
        (1, Input::Configure(quiet), Input::Configure(loud)),
    ] {
        pair.input(end, off);
        pair.run(Duration::from_secs(1));
        let without = pair.elapsed();
        pair.returns = [false; 2];
        pair.run(Duration::from_secs(5));
        assert!(echoes(&pair, 0, without).is_empty(), "{off:?}");
        pair.returns = [true; 2];
        pair.input(end, on);
        pair.run(Duration::from_secs(5));
        assert_eq!(pair.ends[0].echoing(), Echoing::Active);
        assert!(!echoes(&pair, 0, without).is_empty(), "{on:?}");
    }
    // Faster and slower.
    for interval in [10, 500, 50] {
        pair.input(0, Input::Configure(Config { echo: Some(MS * interval), ..quiet }));
        pair.run(Duration::from_secs(5));
    }
    assert_eq!((pair.changes(0, since), pair.changes(1, since)), (vec![], vec![]));
}

/// The other side awaits what it was promised until it is told.
#[test]
fn another_promise_is_told_at_once() {
    let mut pair = echoing(50, 50);
    let quiet = Config { echo: None, ..fast(300) };
    for (input, promised) in [
        (Input::EchoPath(false), 0),
        (Input::EchoPath(true), 50_000),
        (Input::Configure(quiet), 0),
        (Input::Configure(Config { echo: Some(MS * 70), ..quiet }), 70_000),
    ] {
        pair.run(Duration::from_secs(1));
        let before = pair.elapsed();
        pair.input(0, input);
        pair.run(MS);
        let told = pair.sent(0, before, Duration::MAX);
        let told: Vec<u32> = told.iter().map(|(_, one)| one.required_min_echo_rx).collect();
        assert_eq!(told, [promised], "{input:?}");
    }
}

/// What came in time and waited for us counts, and what we did not send has not stayed away.
#[test]
fn a_stall_of_ours_is_no_failure() {
    let mut pair = echoing(50, 50);
    let since = pair.elapsed();
    for moment in 0..100 {
        pair.run(Duration::from_millis(900 + moment));
        pair.now += MS * 400;
    }
    pair.run(Duration::from_secs(1));
    assert_eq!(pair.changes(0, since), []);
    // Lost is lost, as soon as it can be known.
    pair.returns = [false; 2];
    pair.now += MS * 400;
    let woken = pair.elapsed();
    pair.run(MS * 200);
    assert!(failed(&pair, 0, woken).is_some_and(|after| after <= MS * 151));
}

/// Somebody who repeats what came, or lets it come late, keeps nothing up.
#[test]
fn an_echo_counts_once_and_in_time() {
    let mut pair = echoing(50, 50);
    let cut = pair.elapsed();
    pair.returns = [false; 2];
    let repeated = pair.log.iter().rev().find_map(|(_, end, output)| match output {
        Output::SendEcho(sent) if *end == 0 => Some(*sent),
        _ => None,
    });
    let repeated = repeated.unwrap();
    for _ in 0..40 {
        pair.run(MS * 5);
        pair.input(0, Input::EchoReturned(repeated));
    }
    assert!(failed(&pair, 0, cut).is_some(), "repeated");

    let mut pair = echoing(50, 50);
    let cut = pair.elapsed();
    // The path has become longer than the detection time.
    pair.delay = MS * 200;
    pair.run(Duration::from_secs(2));
    assert!(failed(&pair, 0, cut).is_some(), "late");

    let mut pair = echoing(50, 50);
    let cut = pair.elapsed();
    pair.returns = [false; 2];
    for _ in 0..40 {
        pair.run(MS * 5);
        let future = pair.elapsed() + MS;
        pair.input(0, Input::EchoReturned(future));
    }
    assert!(failed(&pair, 0, cut).is_some(), "from the future");
}

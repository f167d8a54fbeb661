//! Bounds are exact, whoever asks at the same time, and everything is given back.

use std::thread;

use vipgate_planner::Rate;

use super::*;

fn gate() -> Arc<Gate> {
    Arc::default()
}

fn client(text: &str) -> Option<IpAddr> {
    Some(text.parse().unwrap())
}

fn settings(change: impl FnOnce(&mut ListenerSettings)) -> ListenerSettings {
    let mut settings = ListenerSettings::default();
    change(&mut settings);
    settings
}

/// Sources that the gate has an entry for.
fn sources(gate: &Gate) -> usize {
    let parts = gate.sources.get().into_iter().flat_map(|parts| parts.iter());
    parts.map(|part| part.lock().unwrap().len()).sum()
}

#[test]
fn the_bound_of_all_is_exact_among_threads() {
    const MOST: u32 = 100;
    let (gate, now) = (gate(), Instant::now());
    let settings = settings(|settings| settings.connections = Some(MOST));
    for _ in 0..20 {
        let permits: Vec<_> = thread::scope(|scope| {
            let ask = || (0..50).map(|_| gate.enter(&settings, None, now)).collect::<Vec<_>>();
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        let (let_in, refused): (Vec<_>, Vec<_>) = permits.into_iter().partition(Result::is_ok);
        assert_eq!(let_in.len(), MOST as usize);
        assert!(refused.iter().all(|why| *why.as_ref().unwrap_err() == ResetReason::TooMany));
        drop(let_in);
        assert_eq!(gate.open.load(Relaxed), 0);
    }
}

#[test]
fn the_bound_of_a_source_is_exact_and_its_own() {
    let (gate, now) = (gate(), Instant::now());
    let settings = settings(|settings| settings.connections_per_source = Some(3));
    let permits: Vec<_> = thread::scope(|scope| {
        let ask = |source: u8| {
            let client = Some(IpAddr::from([192, 0, 2, source % 2]));
            (0..50).filter_map(|_| gate.enter(&settings, client, now).ok()).collect::<Vec<_>>()
        };
        let threads: Vec<_> = (0..8).map(|n| scope.spawn(move || ask(n))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(permits.len(), 6);
    assert_eq!(sources(&gate), 2);
    let refused = gate.enter(&settings, client("192.0.2.1"), now).unwrap_err();
    assert_eq!(refused, ResetReason::TooManyFromSource);
    drop(permits);
    assert_eq!(sources(&gate), 0, "nothing is kept of who is gone");
    assert!(gate.enter(&settings, client("192.0.2.1"), now).is_ok());
}

#[test]
fn a_source_of_ipv6_is_a_network_and_mapped_ipv4_is_ipv4() {
    let (gate, now) = (gate(), Instant::now());
    let settings = settings(|settings| settings.connections_per_source = Some(1));
    let _one = gate.enter(&settings, client("2001:db8:0:1::1"), now).unwrap();
    assert!(gate.enter(&settings, client("2001:db8:0:1:ffff::9"), now).is_err());
    assert!(gate.enter(&settings, client("2001:db8:0:2::1"), now).is_ok());
    let _four = gate.enter(&settings, client("192.0.2.1"), now).unwrap();
    assert!(gate.enter(&settings, client("::ffff:192.0.2.1"), now).is_err());
}

#[test]
fn what_is_refused_by_one_bound_takes_nothing_of_the_others() {
    let (gate, now) = (gate(), Instant::now());
    let settings = settings(|settings| {
        settings.connections = Some(2);
        settings.connections_per_source = Some(1);
        settings.rate = Some(Rate { per_second: 1, burst: 3 });
    });
    let one = gate.enter(&settings, client("192.0.2.1"), now).unwrap();
    for _ in 0..10 {
        let why = gate.enter(&settings, client("192.0.2.1"), now).unwrap_err();
        assert_eq!(why, ResetReason::TooManyFromSource);
    }
    let two = gate.enter(&settings, client("192.0.2.2"), now).unwrap();
    for _ in 0..10 {
        let why = gate.enter(&settings, client("192.0.2.3"), now).unwrap_err();
        assert_eq!(why, ResetReason::TooMany);
    }
    assert_eq!(sources(&gate), 2);
    drop(one);
    let three = gate.enter(&settings, client("192.0.2.3"), now).unwrap();
    drop(two);
    let why = gate.enter(&settings, client("192.0.2.4"), now).unwrap_err();
    assert_eq!(why, ResetReason::TooFast, "the burst of three is used up");
    assert_eq!((sources(&gate), gate.open.load(Relaxed)), (1, 1));
    drop(three);
}

#[test]
fn bounds_that_change_meet_what_is_open() {
    let (gate, now) = (gate(), Instant::now());
    let of = |most| settings(|settings| settings.connections = Some(most));
    let mut open: Vec<_> = (0..5).map(|_| gate.enter(&of(5), None, now).unwrap()).collect();
    assert!(gate.enter(&of(3), None, now).is_err());
    open.truncate(3);
    assert!(gate.enter(&of(3), None, now).is_err());
    open.truncate(2);
    assert!(gate.enter(&of(3), None, now).is_ok());
    assert!(gate.enter(&of(0), None, now).is_err());
    drop(open);
    // One that does not count while there is no bound takes nothing from those that come later.
    let uncounted = gate.enter(&settings(|_| {}), None, now).unwrap();
    let counted = gate.enter(&of(1), None, now).unwrap();
    drop((uncounted, counted));
    assert_eq!(gate.open.load(Relaxed), 0);
}

/// What a flood of sources made room for is given back with them.
#[test]
fn memory_follows_what_is_open() {
    let (gate, now) = (gate(), Instant::now());
    let settings = settings(|settings| settings.connections_per_source = Some(1));
    let room = || -> usize {
        gate.sources.get().unwrap().iter().map(|part| part.lock().unwrap().capacity()).sum()
    };
    let permits: Vec<_> = (0..100_000_u32)
        .map(|n| gate.enter(&settings, Some(IpAddr::from(n.to_be_bytes())), now).unwrap())
        .collect();
    assert!(room() >= 100_000);
    let fullest = gate.sources.get().unwrap().iter().map(|part| part.lock().unwrap().len()).max();
    assert!(fullest.unwrap() < 3 * 100_000 / PARTS, "spread evenly: {fullest:?}");
    drop(permits);
    assert_eq!(sources(&gate), 0);
    assert!(room() <= PARTS * ROOMY, "{}", room());
}

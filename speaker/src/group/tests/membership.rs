//! Who is alive, in simulated time.

use std::time::Duration;

use rand::RngExt;

use super::net::{Net, address, ms, ring};

/// Ends one member of `count` in this way, and measures until all others know.
fn detection(seed: u64, count: u8, end: fn(&mut Net, u8)) -> Duration {
    let mut net = Net::settled(seed, count);
    let pause = net.rng.random_range(0..200_000);
    net.run(Duration::from_micros(pause));
    end(&mut net, 1);
    let dead = net.now;
    let known = net.run_until(dead + ms(3_000), |net| {
        net.members.values().all(|member| !member.alive().contains(&address(1)))
    });
    assert!(known, "seed {seed}: not known after 3 s");
    for number in 2..=count {
        assert_eq!(net.alive(number).len(), usize::from(count) - 2, "only the dead one is gone");
    }
    net.now - dead
}

fn worst(count: u8, seeds: u64, end: fn(&mut Net, u8)) -> Duration {
    let mut times: Vec<Duration> = (0..seeds).map(|seed| detection(seed, count, end)).collect();
    times.sort_unstable();
    let half = times[times.len() / 2];
    let worst = *times.last().unwrap();
    eprintln!("{count} members, {seeds} deaths: p50 {half:?}, worst {worst:?}");
    worst
}

#[test]
fn a_death_is_known_to_three_within_800_ms() {
    assert!(worst(3, 60, Net::kill) <= ms(800));
}

#[test]
fn a_death_is_known_to_ten_within_800_ms() {
    assert!(worst(10, 12, Net::kill) <= ms(800));
}

#[test]
fn a_death_is_known_to_a_hundred_within_800_ms() {
    assert!(worst(100, 1, Net::kill) <= ms(800));
}

#[test]
fn the_end_of_a_process_is_known_within_150_ms() {
    assert!(worst(3, 60, Net::end) <= ms(150));
    assert!(worst(10, 12, Net::end) <= ms(150));
}

/// `count` members for that long, each datagram lost with this probability.
fn lossy(count: u8, loss: f64, time: Duration) -> Net {
    let mut net = Net::settled(7, count);
    net.loss = loss;
    net.run(time);
    net
}

#[test]
fn nobody_dies_of_a_loss_of_a_fifth() {
    let net = lossy(3, 0.2, Duration::from_secs(60));
    assert_eq!(net.changes, [], "came or went");
}

#[test]
#[ignore = "half an hour of simulated time: make lab"]
fn long_nobody_dies_of_a_loss_of_a_fifth_in_half_an_hour() {
    for count in [3, 5] {
        let net = lossy(count, 0.2, Duration::from_secs(1_800));
        assert_eq!(net.changes, [], "{count} members: came or went");
    }
}

#[test]
fn with_no_way_back_a_member_is_dead_in_spite_of_its_own_datagrams() {
    // Negative control of the two above: the loss that does kill.
    let mut net = Net::settled(8, 3);
    for other in [2, 3] {
        net.cut.insert((address(other), address(1)));
        net.cut.insert((address(1), address(other)));
    }
    net.run(ms(800));
    assert!(!net.alive(2).contains(&address(1)) && !net.alive(3).contains(&address(1)));
}

#[test]
fn two_halves_find_each_other_again() {
    for seed in 0..8 {
        let mut net = Net::settled(seed, 5);
        net.cut_off(&[1, 2]);
        net.run(ms(5_000));
        assert_eq!(net.alive(1).len(), 1);
        assert_eq!(net.alive(3).len(), 2);
        net.cut.clear();
        let healed = net.now;
        let whole = net.run_until(healed + ms(5_000), |net| {
            net.members.values().all(|member| member.alive().len() == 4)
        });
        let took = net.now - healed;
        assert!(whole && took <= ms(1_000), "seed {seed}: {took:?}");
    }
}

#[test]
fn a_node_cut_off_alone_comes_back() {
    for seed in 0..8 {
        let mut net = Net::settled(seed, 3);
        net.cut_off(&[1]);
        net.run(ms(5_000));
        assert_eq!(net.alive(1).len(), 0);
        net.cut.clear();
        let healed = net.now;
        let whole = net.run_until(healed + ms(5_000), |net| {
            net.members.values().all(|member| member.alive().len() == 2)
        });
        let took = net.now - healed;
        assert!(whole && took <= ms(1_000), "seed {seed}: {took:?}");
    }
}

#[test]
fn two_that_cannot_hear_each_other_stay_members_through_a_third() {
    let mut net = Net::settled(3, 4);
    net.cut.insert((address(1), address(2)));
    net.cut.insert((address(2), address(1)));
    net.run(Duration::from_secs(20));
    assert_eq!(net.changes, []);
}

/// Ends one of three, whose processes are restarted within `restart`, starts it again after `pause`, and
/// counts how often it was missed.
fn missed(seed: u64, restart: Option<Duration>, pause: Duration, end: fn(&mut Net, u8)) -> usize {
    let mut net = Net::new(seed);
    net.restart = restart;
    net.settle(3);
    // With a question on its way, perhaps.
    let moment = net.rng.random_range(0..40_000);
    net.run(Duration::from_micros(moment));
    let soon = net.now + ms(100);
    assert!(net.run_until(soon, |net| net.is_called(1)));
    end(&mut net, 1);
    net.run(pause);
    net.start(1, 2, 3, &ring(&[1]));
    net.run(ms(3_000));
    assert!(net.members.values().all(|member| member.alive().len() == 2), "it is back");
    let short = |(_, who, alive): &&(Duration, _, std::collections::BTreeSet<_>)| {
        *who != address(1) && alive.len() < 2
    };
    net.changes.iter().filter(short).count()
}

#[test]
fn a_process_that_is_back_in_the_time_it_asked_for_was_not_missed() {
    for seed in 0..20 {
        for pause in [50, 100, 250, 400, 500] {
            assert_eq!(
                missed(seed, Some(ms(500)), ms(pause), Net::end),
                0,
                "seed {seed}, {pause} ms"
            );
        }
    }
}

#[test]
fn one_that_did_not_ask_is_missed_and_so_is_a_host_that_says_nothing() {
    // Negative controls of the test above.
    assert!(missed(4, None, ms(250), Net::end) > 0);
    assert!(missed(4, Some(ms(500)), ms(500), Net::kill) > 0);
    assert_eq!(missed(4, None, ms(100), Net::kill), 0);
}

/// Anybody on the network can say that a port is closed. It harms nobody who lives.
#[test]
fn a_host_that_is_said_to_refuse_and_lives_stays() {
    let mut net = Net::settled(11, 3);
    for _ in 0..500 {
        for (at, of) in [(2, 1), (3, 1), (1, 2)] {
            net.input(address(at), crate::group::core::Input::Refused(address(of)));
        }
        net.run(ms(5));
    }
    assert_eq!(net.changes, []);
    // Nor while a fifth of all datagrams is lost.
    net.loss = 0.2;
    for _ in 0..2_000 {
        net.input(address(2), crate::group::core::Input::Refused(address(1)));
        net.run(ms(5));
    }
    assert_eq!(net.changes, [], "came or went");
}

#[test]
fn a_node_whose_clock_went_back_is_back_too() {
    let mut net = Net::new(5);
    for number in 1..=3 {
        net.start(number, 1_800_000_000_000, 3, &ring(&[1]));
    }
    net.run(ms(3_000));
    net.kill(1);
    net.run(ms(2_000));
    net.start(1, 1, 3, &ring(&[1]));
    let began = net.now;
    let whole = net.run_until(began + ms(30_000), |net| {
        net.members.values().all(|member| member.alive().len() == 2)
    });
    let took = net.now - began;
    assert!(whole && took < ms(20_000), "{took:?}");
}

#[test]
fn a_stalled_node_kills_nobody_when_it_goes_on() {
    for seed in 0..10 {
        let mut net = Net::settled(seed, 3);
        let until = net.now + ms(300);
        net.stalled.insert(address(1), until);
        net.run(ms(3_000));
        assert_eq!(net.changes, [], "seed {seed}");
    }
}

#[test]
fn one_that_leaves_is_gone_at_once() {
    let mut net = Net::settled(6, 3);
    net.input(address(1), crate::group::core::Input::Leave);
    let left = net.now;
    let gone = net.run_until(left + ms(100), |net| {
        [2, 3].iter().all(|other| !net.alive(*other).contains(&address(1)))
    });
    assert!(gone);
}

#[test]
fn members_find_each_other_by_beacons() {
    for seed in 0..2 {
        let mut net = Net::new(seed);
        net.beacons = Some((1..=4).map(address).collect());
        for number in 1..=3 {
            net.start(number, 1, 3, &ring(&[1]));
        }
        // Of another group, and on the same network.
        net.start(4, 1, 4, &ring(&[2]));
        let all = |net: &Net| (1..=3).all(|number| net.alive(number).len() == 2);
        assert!(net.run_until(net.now + ms(500), all), "seed {seed}");
        net.run(ms(1_000));
        assert!(net.alive(4).is_empty());

        // Parts that forgot each other find each other again.
        net.cut_off(&[1]);
        net.run(Duration::from_secs(700));
        net.cut.clear();
        assert!(!net.run_until(net.now + ms(0), all), "they are apart");
        assert!(net.run_until(net.now + Duration::from_secs(6), all), "seed {seed}");
    }
}

#[test]
fn who_finds_nobody_by_beacons_expects_one_more() {
    let mut net = Net::new(1);
    net.beacons = Some([address(1), address(2)].into());
    net.start(1, 1, 1, &ring(&[1]));
    net.run(ms(3_000));
    assert_eq!(net.members[&address(1)].expected(), 2);
    net.start(2, 1, 2, &ring(&[1]));
    net.run(ms(3_000));
    assert_eq!(net.members[&address(1)].expected(), 2);
    net.kill(2);
    net.run(ms(3_000));
    assert_eq!(net.members[&address(1)].expected(), 2, "it may be back");
}

#[test]
fn idle_traffic_is_small() {
    let mut net = Net::settled(9, 10);
    net.tape = Some(Vec::new());
    net.run(Duration::from_secs(5));
    let tape = net.tape.take().unwrap();
    let each = tape.len() as f64 / 10.0 / 5.0;
    let bytes: usize = tape.iter().map(|(_, _, datagram)| datagram.len()).sum();
    eprintln!("{each:.0} datagrams/s and {} bytes/s sent by each of 10", bytes / 50);
    assert!(each < 110.0, "{each} datagrams/s from each");
}

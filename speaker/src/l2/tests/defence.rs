use std::time::{Duration, Instant};

use vipgate_planner::MacAddr;

use super::{HIGHER, LOWER};
use crate::l2::DEFEND_INTERVAL;
use crate::l2::defence::{Defence, REPORTED, Reaction};

#[test]
fn defends_and_reports_once_per_interval_under_a_flood() {
    let (mut defence, start) = (Defence::default(), Instant::now());
    // 1,000 conflicting frames a second for 30 s.
    let reactions: Vec<(u64, Reaction)> = (0..30_000)
        .map(|ms| (ms, defence.react(LOWER, start + Duration::from_millis(ms))))
        .filter(|(_, reaction)| reaction.defend || reaction.report)
        .collect();
    let both = Reaction { defend: true, report: true };
    assert_eq!(reactions, [(0, both), (10_000, both), (20_000, both)]);
}

#[test]
fn a_second_station_is_reported_at_once_but_not_answered() {
    let (mut defence, now) = (Defence::default(), Instant::now());
    defence.react(LOWER, now);
    assert_eq!(defence.react(HIGHER, now), Reaction { defend: false, report: true });
}

#[test]
fn forged_stations_do_not_flood_the_reports() {
    let (mut defence, now) = (Defence::default(), Instant::now());
    let reports =
        (0..200).filter(|n| defence.react(MacAddr([2, 0, 0, 0, 0, *n]), now).report).count();
    assert_eq!(reports, REPORTED);
    let later = defence.react(LOWER, now + DEFEND_INTERVAL);
    assert_eq!(later, Reaction { defend: true, report: true });
}

use std::time::{Duration, Instant};

use vipgate_planner::MacAddr;

use super::{LOWER, VIP};
use crate::l2::limit::{BURST, INTERVAL, REMEMBERED, ReplyLimit};

#[test]
fn grants_a_burst_then_the_sustained_rate() {
    let (mut limit, start) = (ReplyLimit::default(), Instant::now());
    // One request per millisecond for ten seconds.
    let granted = (0..10_000)
        .filter(|ms| limit.admit(LOWER, VIP.into(), start + Duration::from_millis(*ms)))
        .count();
    let sustained = Duration::from_secs(10).as_millis() / INTERVAL.as_millis();
    let expected = sustained as usize + BURST as usize - 1;
    assert!(granted.abs_diff(expected) <= 1, "{granted} granted, {expected} expected");
}

#[test]
fn a_station_that_asks_once_a_second_is_always_answered() {
    let (mut limit, start) = (ReplyLimit::default(), Instant::now());
    assert!((0..100).all(|s| limit.admit(LOWER, VIP.into(), start + Duration::from_secs(s))));
}

#[test]
fn one_requester_does_not_use_up_the_replies_of_another_or_of_another_vip() {
    let (mut limit, now) = (ReplyLimit::default(), Instant::now());
    while limit.admit(LOWER, VIP.into(), now) {}
    assert!(limit.admit(MacAddr([2, 0, 0, 0, 0, 9]), VIP.into(), now));
    assert!(limit.admit(LOWER, [192, 0, 2, 81].into(), now));
}

#[test]
fn forged_requesters_neither_grow_the_table_nor_starve_the_honest() {
    let (mut limit, now) = (ReplyLimit::default(), Instant::now());
    for forged in 0..3 * REMEMBERED as u32 {
        let [a, b, c, d] = forged.to_be_bytes();
        assert!(limit.admit(MacAddr([2, 1, a, b, c, d]), VIP.into(), now));
        assert!(limit.at_rest.len() <= REMEMBERED);
    }
    assert!(limit.admit(LOWER, VIP.into(), now));
}

#[test]
fn requesters_at_rest_are_forgotten_before_active_ones() {
    let (mut limit, start) = (ReplyLimit::default(), Instant::now());
    for old in 0..REMEMBERED as u32 - 1 {
        let [a, b, c, d] = old.to_be_bytes();
        limit.admit(MacAddr([2, 1, a, b, c, d]), VIP.into(), start);
    }
    let later = start + Duration::from_secs(1);
    while limit.admit(LOWER, VIP.into(), later) {}
    limit.admit(MacAddr([2, 2, 0, 0, 0, 0]), VIP.into(), later);
    assert_eq!(limit.at_rest.len(), 2);
    assert!(!limit.admit(LOWER, VIP.into(), later), "the active one is still limited");
}

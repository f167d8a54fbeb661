use super::*;

fn set(addresses: &[&str]) -> BTreeSet<IpAddr> {
    addresses.iter().map(|text| text.parse().unwrap()).collect()
}

fn has(addresses: &[&str], seconds: u64) -> Family {
    Family::Has(set(addresses), Duration::from_secs(seconds))
}

fn failed() -> Family {
    Family::Failed("SERVFAIL".to_owned())
}

/// A name that was answered to once.
fn known(looked: Looked) -> (Schedule, Instant) {
    let (mut schedule, now) = (Schedule::default(), Instant::now());
    schedule.want(&["db".to_owned()].into(), now);
    assert_eq!(schedule.due(now, 9), ["db"]);
    schedule.answered("db", looked, now, 0.0);
    (schedule, now)
}

/// The addresses and the error of the name.
fn says(schedule: &Schedule) -> (Vec<String>, Option<String>) {
    let answer = schedule.answers().remove("db").unwrap_or_default();
    (answer.addresses.iter().map(ToString::to_string).collect(), answer.error)
}

/// How long after `now` the name is asked for again.
#[track_caller]
fn again(schedule: &Schedule, now: Instant) -> f64 {
    schedule.next().unwrap().duration_since(now).as_secs_f64()
}

#[test]
fn a_name_is_asked_for_at_once_and_once_and_then_by_its_ttl() {
    let (mut schedule, now) = (Schedule::default(), Instant::now());
    assert_eq!(schedule.next(), None);
    schedule.want(&["db".to_owned()].into(), now);
    assert!(schedule.answers().is_empty(), "nothing is known yet");
    assert_eq!((schedule.due(now, 9), schedule.due(now, 9)), (vec!["db".to_owned()], vec![]));
    assert_eq!(schedule.next(), None, "it is being asked for");
    schedule.answered("db", [has(&["10.0.0.1"], 60), has(&["fd00::1"], 20)], now, 0.0);
    assert_eq!(says(&schedule), (vec!["10.0.0.1".to_owned(), "fd00::1".to_owned()], None));
    assert_eq!(again(&schedule, now), 20.0, "the shorter one");
    assert_eq!(schedule.due(now + Duration::from_secs(19), 9), [""; 0]);
    assert_eq!(schedule.due(now + Duration::from_secs(20), 9), ["db"]);
}

#[test]
fn a_ttl_has_bounds_and_chance_makes_it_a_little_shorter() {
    for (ttl, chance, expected) in
        [(0, 0.0, 1.0), (0, 1.0, 1.0), (100, 1.0, 90.0), (86_400, 0.0, 3600.0), (1, 0.5, 1.0)]
    {
        let (mut schedule, now) = (Schedule::default(), Instant::now());
        schedule.want(&["db".to_owned()].into(), now);
        schedule.due(now, 1);
        schedule.answered("db", [has(&["10.0.0.1"], ttl), Family::HasNone(None)], now, chance);
        assert_eq!(again(&schedule, now), expected, "{ttl} s");
    }
    // That there is none of a family is good for a time as well.
    let none = Family::HasNone(Some(Duration::from_secs(5)));
    let (schedule, now) = known([has(&["10.0.0.1"], 60), none]);
    assert_eq!(again(&schedule, now), 5.0);
}

#[test]
fn the_last_good_answer_outlives_failures_which_are_tried_again_ever_later() {
    let (mut schedule, now) = known([has(&["10.0.0.1"], 60), Family::HasNone(None)]);
    let mut pauses = Vec::new();
    for _ in 0..8 {
        schedule.due(now + LONGEST, 1);
        schedule.answered("db", [failed(), failed()], now, 0.0);
        assert_eq!(says(&schedule), (vec!["10.0.0.1".to_owned()], Some("SERVFAIL".to_owned())));
        pauses.push(again(&schedule, now));
    }
    assert_eq!(pauses, [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]);
    schedule.answered("db", [has(&["10.0.0.2"], 60), Family::HasNone(None)], now, 0.0);
    assert_eq!(says(&schedule), (vec!["10.0.0.2".to_owned()], None));
    schedule.answered("db", [failed(), failed()], now, 1.0);
    assert_eq!(again(&schedule, now), 0.75, "it begins anew");
}

#[test]
fn a_name_without_any_record_is_a_failure_one_without_a_family_is_not() {
    let (mut schedule, now) = known([has(&["10.0.0.1"], 60), has(&["fd00::1"], 60)]);
    schedule.answered("db", [Family::HasNone(None), Family::HasNone(None)], now, 0.0);
    let (addresses, error) = says(&schedule);
    assert_eq!((addresses.len(), error.is_some()), (2, true));
    schedule.answered("db", [Family::HasNone(None), has(&["fd00::2"], 60)], now, 0.0);
    assert_eq!(says(&schedule), (vec!["fd00::2".to_owned()], None));
}

/// Some servers do not answer to AAAA at all.
#[test]
fn a_family_that_fails_keeps_what_it_had_and_is_no_trouble_if_that_was_nothing() {
    let (mut schedule, now) = known([has(&["10.0.0.1"], 60), failed()]);
    assert_eq!(says(&schedule), (vec!["10.0.0.1".to_owned()], None));
    assert_eq!(again(&schedule, now), 60.0);
    schedule.answered("db", [has(&["10.0.0.1"], 60), has(&["fd00::1"], 60)], now, 0.0);
    schedule.answered("db", [has(&["10.0.0.2"], 60), failed()], now, 0.0);
    let (addresses, error) = says(&schedule);
    assert_eq!((addresses.join(" "), error.is_some()), ("10.0.0.2 fd00::1".to_owned(), true));
    assert_eq!(again(&schedule, now), 1.0);
}

#[test]
fn what_is_not_wanted_any_more_is_forgotten() {
    let (mut schedule, now) = known([has(&["10.0.0.1"], 60), Family::HasNone(None)]);
    schedule.want(&BTreeSet::new(), now);
    assert!(schedule.answers().is_empty() && schedule.next().is_none());
    schedule.answered("db", [has(&["10.0.0.2"], 60), failed()], now, 0.0);
    assert!(schedule.answers().is_empty(), "an answer that comes late");
    schedule.want(&["db".to_owned()].into(), now);
    assert_eq!(schedule.due(now, 1), ["db"]);
}

#[test]
fn names_and_addresses_are_bounded() {
    let (mut schedule, now) = (Schedule::default(), Instant::now());
    let names: BTreeSet<String> = (0..MOST_NAMES + 5).map(|n| format!("n{n:04}")).collect();
    schedule.want(&names, now);
    assert_eq!(schedule.due(now, 7).len(), 7);
    assert_eq!(schedule.due(now, usize::MAX).len(), MOST_NAMES - 7);
    let answers = schedule.answers();
    assert_eq!((answers.len(), answers.contains_key("n1004")), (5, true));
    // When others go, those have their turn.
    schedule.want(&names.into_iter().skip(5).collect(), now);
    assert_eq!(schedule.due(now, usize::MAX).len(), 5);

    let many: BTreeSet<IpAddr> = (0..200).map(|n| IpAddr::from([10, 0, 0, n])).collect();
    let (schedule, _) = known([Family::Has(many, LONGEST), Family::HasNone(None)]);
    let (addresses, _) = says(&schedule);
    assert_eq!(
        (addresses.len(), addresses.contains(&"10.0.0.63".to_owned())),
        (MOST_ADDRESSES, true)
    );
}

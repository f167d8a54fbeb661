//! Rules that are wrong, each in one thing: tests that hold for the rule fail for each of them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::super::rule::{RULE, Rule};
use super::world::RULES;
use super::{moves, simulation};

/// Which of these fail under a rule.
const TESTS: [(&str, fn()); 8] = [
    ("schedules", || (0..20).for_each(|seed| _ = simulation::schedule(seed))),
    ("crash", moves::a_crash_moves_only_what_the_dead_one_had_and_its_return_moves_nothing),
    ("new", moves::a_new_vip_falls_to_whom_the_hash_says_and_not_to_whom_reads_of_it_first),
    ("start", moves::nobody_serves_what_another_one_has_after_a_restart),
    ("partition", moves::after_a_partition_those_who_were_the_most_keep_what_they_have),
    ("leave", moves::one_that_leaves_hands_over_with_a_gap_of_a_round_trip),
    ("slow", moves::a_hand_over_has_one_owner_at_a_time_on_a_slow_network_too),
    ("preempt", moves::a_preferred_member_takes_back_only_when_asked_to_and_after_half_a_minute),
];

fn caught(rule: Rule) -> Vec<&'static str> {
    RULES.set(rule);
    let fails = |test: fn()| catch_unwind(AssertUnwindSafe(test)).is_err();
    let caught = TESTS.iter().filter(|(_, test)| fails(*test)).map(|(name, _)| *name).collect();
    RULES.set(RULE);
    caught
}

#[test]
fn the_rule_itself_passes() {
    assert_eq!(caught(RULE), [""; 0]);
}

/// Two that hold one VIP both think that the other one has to let go.
#[test]
fn a_rule_by_which_nobody_lets_go_is_caught() {
    let caught = caught(Rule { rank: |_, _, _| (false, 0, 0), ..RULE });
    assert!(caught.contains(&"schedules"), "{caught:?}");
}

#[test]
fn a_rule_by_which_everybody_chooses_himself_is_caught() {
    let caught = caught(Rule { choose: |_, candidates| candidates.last().copied(), ..RULE });
    assert!(caught.contains(&"new"), "{caught:?}");
}

#[test]
fn a_rule_that_waits_for_nobody_at_its_start_is_caught() {
    let now = Duration::ZERO;
    let caught = caught(Rule { patience: now, unheard: now, gather: now, ..RULE });
    assert!(caught.contains(&"start"), "{caught:?}");
}

#[test]
fn a_rule_that_is_not_sticky_is_caught() {
    let caught = caught(Rule { prefers: |_, _| true, ..RULE });
    assert!(caught.contains(&"crash") && caught.contains(&"preempt"), "{caught:?}");
}

#[test]
fn a_rule_that_serves_before_the_former_owner_has_let_go_is_caught() {
    let caught = caught(Rule { let_go_within: Duration::ZERO, ..RULE });
    assert!(caught.contains(&"slow"), "{caught:?}");
}

#[test]
fn a_rule_that_forgets_who_was_the_larger_part_is_caught() {
    let rank = |vip, name: &str, hold: super::super::Hold| {
        (false, hold.epoch, super::super::score(vip, name))
    };
    let caught = caught(Rule { rank, ..RULE });
    assert!(caught.contains(&"partition"), "{caught:?}");
}

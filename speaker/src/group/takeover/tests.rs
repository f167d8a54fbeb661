use std::time::Duration;

use vipgate_planner::ownership::{Entries, Entry, Hold, Offer, Peer};

use super::*;

const OWNER: &str = "192.0.2.11:7947";
const VIP: [u8; 4] = [192, 0, 2, 200];

fn there() -> Possession {
    Possession::There { owner: OWNER.to_owned(), announced: true }
}

/// The group with the owner, which says this of the VIP.
fn says(offer: Option<Offer>, hold: bool) -> View {
    let hold = hold.then_some(Hold { epoch: 3, solid: true, serving: true });
    let entries = Entries::from([(VIP.into(), Entry { offer, hold })]);
    let others = [(OWNER.to_owned(), Peer { entries, complete: true })].into();
    View { others, expected: 2, rebalance: false }
}

/// Lets places follow each other a second apart, the owner heard last half a second before the second one;
/// what is known of the VIP in the end, and the moments.
fn run(view: &View, places: &[Possession]) -> (Option<Takeover>, Vec<Instant>) {
    let start = Instant::now();
    let times: Vec<Instant> =
        (0..places.len() as u64).map(|number| start + Duration::from_secs(number)).collect();
    let sign = times.get(1).map(|time| *time - Duration::from_millis(500));
    let (mut takeovers, mut before) = (Takeovers::default(), Places::new());
    for (place, now) in places.iter().zip(&times) {
        let after = Places::from([(VIP.into(), place.clone())]);
        let sign = |owner: &str| sign.filter(|_| owner == OWNER);
        takeovers.follow(*now, (&before, &after), view, sign);
        before = after;
    }
    (takeovers.here().get(&IpAddr::from(VIP)).copied(), times)
}

#[test]
fn of_a_dead_owner_it_is_the_last_sign_of_life() {
    let (found, times) = run(&View::default(), &[there(), Possession::Here]);
    let since = times[1] - Duration::from_millis(500);
    assert_eq!(found, Some(Takeover { since, cause: Cause::Dead }));
}

#[test]
fn of_one_that_lives_it_is_when_that_was_known_here() {
    let waits = Possession::Nowhere("the former owner lets go");
    let leaving = Offer { leaving: true, ..Offer::default() };
    for (offer, hold, cause) in [
        (Some(leaving), true, Cause::Left),
        (Some(Offer::default()), true, Cause::Moved),
        (Some(Offer::default()), false, Cause::Released),
        (None, false, Cause::Released),
        // It holds what it cannot serve, and says so next.
        (None, true, Cause::Moved),
    ] {
        let (found, times) =
            run(&says(offer, hold), &[there(), waits.clone(), waits.clone(), Possession::Here]);
        assert_eq!(found, Some(Takeover { since: times[1], cause }), "{offer:?} {hold}");
    }
}

#[test]
fn what_nobody_had_was_not_taken_over() {
    let waits = Possession::Nowhere("a member is about to take it");
    let (found, _) = run(&View::default(), &[waits.clone(), Possession::Here]);
    assert_eq!(found, None);
    assert_eq!(run(&View::default(), &[Possession::Here]).0, None);
    // Somebody else had it meanwhile.
    let other = Possession::There { owner: "192.0.2.12:7947".to_owned(), announced: false };
    let (found, times) = run(&says(None, false), &[there(), waits, other, Possession::Here]);
    assert_eq!(found.map(|found| found.cause), Some(Cause::Dead), "the one that had it last");
    assert_eq!(found.map(|found| found.since), Some(times[3]), "which was never heard itself");
}

#[test]
fn it_is_forgotten_when_the_vip_goes() {
    let here = Possession::Here;
    assert_eq!(run(&View::default(), &[there(), here.clone(), there()]).0, None);
    let waits = Possession::Nowhere("a member is about to take it");
    let (found, _) = run(&View::default(), &[there(), here.clone(), waits, here]);
    assert_eq!(found, None, "it came back to where it was");
}

//! Who gives out addresses, and what becomes of claims when hosts come together.

use vipgate_api::{Kind, ObjectKey};
use vipgate_planner::ownership::Ownership;
use vipgate_speaker::group::Other;

use super::*;

fn member(number: u8) -> SocketAddr {
    SocketAddr::new([10, 0, 0, number].into(), PORT)
}

fn claim(gateway: &str, published: bool) -> Claim {
    let object = ObjectRef::new(Kind::Gateway, ObjectKey::new("default", gateway));
    let users = vec![VipUser { object, ports: Vec::new(), terms: None }];
    Claim { pool: "lan".to_owned(), users, origin: Origin::Chosen, published }
}

fn claims(of: &[(u8, &str, bool)]) -> Claims {
    let claims = of
        .iter()
        .map(|(last, gateway, published)| ([192, 0, 2, *last].into(), claim(gateway, *published)));
    Claims(claims.collect())
}

/// What a member sees that knows these others, each with its clerk and claims.
fn standing(others: &[(u8, &Clerk, &Claims)]) -> Standing {
    let other = |(number, clerk, claims): &(u8, &Clerk, &Claims)| {
        let mut notes = Notes::new();
        clerk.write(claims, &Foreign::new(), &mut notes);
        let other =
            Other { name: format!("host{number}"), notes, complete: true, ..Other::default() };
        (member(*number), Arc::new(other))
    };
    Standing {
        others: others.iter().map(other).collect(),
        ownership: Ownership { settled: true, ..Ownership::default() },
        ..Standing::default()
    }
}

#[test]
fn alone_a_host_gives_out_addresses_once_it_knows_that_it_is_alone() {
    let mut clerk = Clerk::default();
    let unsettled = Standing::default();
    assert_eq!(clerk.look(member(1), &unsettled, &Claims::default()), Lead::Nobody);
    assert_eq!(clerk.look(member(1), &standing(&[]), &Claims::default()), Lead::Here(None));
}

#[test]
fn a_host_that_joins_brings_its_claims_and_goes_by_the_leaders_then() {
    let (mut low, mut high) = (Clerk::default(), Clerk::default());
    let (mut at_low, at_high) = (Claims::default(), claims(&[(1, "web", true)]));
    assert_eq!(high.look(member(2), &standing(&[]), &at_high), Lead::Here(None));

    // The lower one is there, and has not read what the higher one has.
    let before = high.look(member(2), &standing(&[(1, &low, &at_low)]), &at_high);
    assert_eq!(before, Lead::Nobody, "what was given out stays, nothing is added");
    let lead = low.look(member(1), &standing(&[(2, &high, &at_high)]), &at_low);
    assert_eq!(lead, Lead::Here(Some(at_high.clone())));
    at_low.clone_from(&at_high);
    let after = high.look(member(2), &standing(&[(1, &low, &at_low)]), &at_high);
    assert_eq!(after, Lead::There(at_high));
    assert_eq!(low.look(member(1), &standing(&[(2, &high, &at_low)]), &at_low), Lead::Here(None));
}

#[test]
fn of_two_claims_the_published_one_counts_and_then_the_leaders() {
    let mut low = Clerk::default();
    let ours = claims(&[(1, "a", false), (2, "b", true), (3, "c", true)]);
    let theirs = claims(&[(1, "x", true), (2, "y", true), (4, "z", false)]);
    let lead = low.look(member(1), &standing(&[(2, &Clerk::default(), &theirs)]), &ours);
    let all = claims(&[(1, "x", true), (2, "b", true), (3, "c", true), (4, "z", false)]);
    assert_eq!(lead, Lead::Here(Some(all)));
}

#[test]
fn claims_of_one_who_went_and_came_back_are_taken_over_again() {
    let mut low = Clerk::default();
    let (none, theirs) = (Claims::default(), claims(&[(4, "z", true)]));
    let high = Clerk::default();
    assert_eq!(low.look(member(1), &standing(&[(2, &high, &none)]), &none), Lead::Here(None));
    assert_eq!(low.look(member(1), &standing(&[]), &none), Lead::Here(None));
    let lead = low.look(member(1), &standing(&[(2, &high, &theirs)]), &none);
    assert_eq!(lead, Lead::Here(Some(theirs)));
}

#[test]
fn ports_and_what_was_published_are_kept_of_the_leaders_claims() {
    let mut high = Clerk::default();
    let mut low = Clerk::default();
    let mut own = claims(&[(1, "web", true)]);
    let port =
        vipgate_api::vipgate::PortUse { protocol: vipgate_api::vipgate::Transport::Tcp, port: 80 };
    for claim in own.0.values_mut() {
        claim.users[0].ports.push(port);
    }
    let granted = claims(&[(1, "web", false), (2, "new", false)]);
    drop(low.look(member(1), &standing(&[(2, &high, &own)]), &granted));
    let Lead::There(claims) = high.look(member(2), &standing(&[(1, &low, &granted)]), &own) else {
        panic!("the lower one leads");
    };
    assert_eq!(claims.0[&IpAddr::from([192, 0, 2, 1])], own.0[&IpAddr::from([192, 0, 2, 1])]);
    assert!(claims.0.contains_key(&IpAddr::from([192, 0, 2, 2])));
}

#[test]
fn what_was_given_out_in_a_later_term_is_not_lost_to_a_leader_that_slept() {
    let (mut low, mut high) = (Clerk::default(), Clerk::default());
    let (none, given) = (Claims::default(), claims(&[(5, "new", true)]));
    assert_eq!(low.look(member(1), &standing(&[(2, &high, &none)]), &none), Lead::Here(None));
    // The lower one sleeps; the higher one leads, and gives out an address.
    assert_eq!(high.look(member(2), &standing(&[]), &none), Lead::Here(None));
    // It wakes, and never saw that it was alone.
    let lead = high.look(member(2), &standing(&[(1, &low, &none)]), &given);
    assert_eq!(lead, Lead::Nobody, "its grant is of an earlier term");
    let lead = low.look(member(1), &standing(&[(2, &high, &given)]), &none);
    assert_eq!(lead, Lead::Here(Some(given.clone())));
    let lead = high.look(member(2), &standing(&[(1, &low, &given)]), &given);
    assert_eq!(lead, Lead::There(given));
}

#[test]
fn a_claim_of_many_users_with_long_names_is_known_to_all() {
    let long = |number: u32| format!("{number}-{}", "g".repeat(240));
    let mut all = claims(&[(1, "a", true)]);
    let object =
        |number| ObjectRef::new(Kind::Gateway, ObjectKey::new("n".repeat(63), long(number)));
    let user = |number| VipUser { object: object(number), ports: Vec::new(), terms: None };
    for claim in all.0.values_mut() {
        claim.users = (0..40).map(user).collect();
        claim.users.sort_unstable();
    }
    let mut notes = Notes::new();
    Clerk::default().write(&all, &Foreign::new(), &mut notes);
    assert!(notes.iter().all(|(key, value)| {
        key.len() + value.len() < vipgate_speaker::group::store::MAX_ENTRY
    }));
    assert_eq!(claims_of(&notes), all);
}

#[test]
fn what_members_find_of_strangers_is_known_to_all() {
    let found: Foreign = [([192, 0, 2, 9].into(), MacAddr([2, 0, 0, 0, 0, 9]))].into();
    let mut other = Other { complete: true, ..Other::default() };
    Clerk::default().write(&Claims::default(), &found, &mut other.notes);
    let standing =
        Standing { others: [(member(2), Arc::new(other))].into(), ..Standing::default() };
    assert_eq!(foreign(&standing), found);
}

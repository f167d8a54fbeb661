//! What becomes of claims when something changes.

use super::*;

fn texts(notes: &[crate::allocation::Note]) -> Vec<String> {
    notes.iter().map(ToString::to_string).collect()
}

#[test]
fn claims_survive_whatever_the_pool_would_give_today() {
    let setup = Setup::new()
        .pool("a", &["10.0.0.0/29"])
        .claim("10.0.0.5", "a", "x", Origin::Chosen)
        .published("10.0.0.3", "a", "y", Origin::Chosen)
        .want(gateway("x"))
        .want(gateway("y"))
        .want(gateway("z"));
    let allocation = setup.run();
    let got = ["x", "y", "z"].map(|name| assigned(&allocation, name).concat());
    assert_eq!(got, ["10.0.0.5", "10.0.0.3", "10.0.0.0"]);
    assert!(allocation.claims.0[&ip("10.0.0.3")].published);
    assert!(!allocation.claims.0[&ip("10.0.0.5")].published);
    assert_eq!(allocation.notes, []);
}

#[test]
fn a_pool_that_shrank_or_vanished_moves_nothing_that_is_in_use() {
    let shop = ServiceAllocation { namespaces: strings(&["shop"]), ..Default::default() };
    let setup = Setup::new()
        .pool_with("a", &["10.0.0.0/29"], |spec| spec.exclusions = strings(&["10.0.0.1"]))
        .pool_with("b", &["10.0.1.0/24"], |spec| spec.avoid_buggy_ips = true)
        .restricted("c", &["10.0.2.0/24"], shop)
        .node_address("10.0.0.5")
        .published("10.0.0.1", "a", "excluded", Origin::Chosen)
        .published("10.0.0.9", "a", "shrunk", Origin::Chosen)
        .published("10.0.1.0", "b", "buggy", Origin::Chosen)
        .published("10.0.2.1", "c", "forbidden", Origin::Requested)
        .published("10.9.9.9", "gone", "vanished", Origin::Chosen)
        .published("10.0.0.5", "a", "hosts", Origin::Chosen)
        .want(gateway("excluded"))
        .want(gateway("shrunk"))
        .want(gateway("buggy"))
        .want(asking("forbidden", &["10.0.2.1"]))
        .want(gateway("vanished"))
        .want(gateway("hosts"));
    let allocation = setup.run();
    assert_eq!(allocation.claims, setup.claims);
    assert!(allocation.users.values().all(|addresses| addresses.problems.is_empty()));
    assert_eq!(
        texts(&allocation.notes),
        [
            "Gateway default/buggy keeps 10.0.1.0, which is in use, although pool b keeps it back \
             by spec.avoidBuggyIPs",
            "Gateway default/excluded keeps 10.0.0.1, which is in use, although pool a keeps it \
             back by spec.exclusions",
            "Gateway default/forbidden keeps 10.0.2.1, which is in use, although pool c may not be \
             used by it any more: its serviceAllocation takes no Gateways of namespace default: \
             add it to namespaces, or give it labels that namespaceSelectors match",
            "Gateway default/hosts keeps 10.0.0.5, which is in use, although it is an address of \
             the host itself",
            "Gateway default/shrunk keeps 10.0.0.9, which is in use, although no pool has it any \
             more",
            "Gateway default/vanished keeps 10.9.9.9, which is in use, although no pool has it any \
             more",
        ]
    );
}

#[test]
fn what_nobody_saw_yet_is_held_to_todays_rules() {
    let setup = Setup::new()
        .pool("a", &["10.0.0.0/29"])
        .claim("10.0.0.9", "a", "shrunk", Origin::Chosen)
        .claim("10.9.9.9", "gone", "asks", Origin::Requested)
        .want(gateway("shrunk"))
        .want(asking("asks", &["10.9.9.9"]));
    let allocation = setup.run();
    assert_eq!(assigned(&allocation, "shrunk"), ["10.0.0.0"]);
    assert_eq!(assigned(&allocation, "asks"), Vec::<String>::new());
    assert!(matches!(problem(&allocation, "asks"), AddressProblem::NotInPool { .. }));
    assert_eq!(allocation.notes, []);
    assert_eq!(allocation.claims.0.len(), 1);
}

#[test]
fn a_request_holds_its_claim_before_older_gateways_that_come_later() {
    let setup = Setup::new()
        .pool("a", &["10.0.0.0/29"])
        .claim("10.0.0.4", "a", "younger", Origin::Requested)
        .want(asking("older", &["10.0.0.4"]))
        .want(asking("younger", &["10.0.0.4"]));
    let allocation = setup.run();
    assert_eq!(assigned(&allocation, "younger"), ["10.0.0.4"]);
    assert_eq!(
        problem(&allocation, "older"),
        &AddressProblem::InUse { address: ip("10.0.0.4"), by: user("younger"), why: Unshared::Key }
    );
}

#[test]
fn a_claim_follows_a_pool_that_was_renamed() {
    let setup = Setup::new()
        .pool("new", &["10.0.0.0/29"])
        .published("10.0.0.3", "old", "x", Origin::Chosen)
        .want(gateway("x"));
    let allocation = setup.run();
    assert_eq!(allocation.claims.0[&ip("10.0.0.3")].pool, "new");
    assert_eq!(allocation.notes, []);
}

#[test]
fn requesting_another_address_releases_the_chosen_one() {
    let setup = Setup::new()
        .pool("a", &["10.0.0.0/29"])
        .published("10.0.0.0", "a", "x", Origin::Chosen)
        .want(gateway("earlier"))
        .want(asking("x", &["10.0.0.5"]));
    let allocation = setup.run();
    assert_eq!(assigned(&allocation, "x"), ["10.0.0.5"]);
    assert_eq!(assigned(&allocation, "earlier"), ["10.0.0.0"]);
}

#[test]
fn requesting_the_chosen_address_keeps_it_and_the_other_way_round() {
    let setup = Setup::new()
        .pool("a", &["10.0.0.0/29"])
        .published("10.0.0.4", "a", "asks-now", Origin::Chosen)
        .published("10.0.0.5", "a", "asked-before", Origin::Requested)
        .want(asking("asks-now", &["10.0.0.4"]))
        .want(gateway("asked-before"));
    let allocation = setup.run();
    let origins: Vec<_> =
        allocation.claims.0.iter().map(|(address, claim)| (*address, claim.origin)).collect();
    let expected = [(ip("10.0.0.4"), Origin::Requested), (ip("10.0.0.5"), Origin::Chosen)];
    assert_eq!(origins, expected);
    assert!(allocation.claims.0.values().all(|claim| claim.published));
}

#[test]
fn asking_for_fewer_addresses_keeps_what_is_in_use() {
    let setup = Setup::new()
        .pool("a", &["10.0.0.0/29"])
        .claim("10.0.0.1", "a", "x", Origin::Chosen)
        .published("10.0.0.2", "a", "x", Origin::Chosen)
        .published("10.0.0.3", "a", "x", Origin::Chosen)
        .want(asking("x", &[""]));
    assert_eq!(assigned(&setup.run(), "x"), ["10.0.0.2"]);
    let setup = Setup { wants: vec![gateway("x")], ..setup };
    assert_eq!(assigned(&setup.run(), "x"), ["10.0.0.2"]);
}

#[test]
fn a_family_that_a_pool_gains_is_added_and_moves_nothing() {
    let before = Setup::new().pool("a", &["10.0.0.4/30"]).want(gateway("x"));
    let after = before.then(before.wants.clone()).pool("a", &["10.0.0.0/29", "fd00::/64"]);
    assert_eq!(assigned(&after.run(), "x"), ["10.0.0.4", "fd00::"]);
}

#[test]
fn the_annotation_moves_a_gateway_to_a_pool_that_it_may_use() {
    let base = Setup::new().pool("a", &["10.0.0.0/29"]).pool("b", &["10.0.1.0/29"]).published(
        "10.0.0.0",
        "a",
        "x",
        Origin::Chosen,
    );
    let named = |pools: &str| naming(gateway("x"), pools);
    for (pools, expected) in [("a", "10.0.0.0"), ("b,a", "10.0.0.0"), ("b", "10.0.1.0")] {
        let allocation = base.clone().want(named(pools)).run();
        assert_eq!(assigned(&allocation, "x"), [expected], "{pools}");
        assert_eq!(allocation.notes, [], "{pools}");
    }
    let allocation = base.want(named("misspelt")).run();
    assert_eq!(assigned(&allocation, "x"), ["10.0.0.0"]);
    assert_eq!(
        texts(&allocation.notes),
        [
            "Gateway default/x keeps 10.0.0.0, which is in use, although pool a may not be used by it \
          any more: the annotation vipgate.dev/address-pool names misspelt: add it there"
        ]
    );
}

/// Found by `edits_harm_nobody_else` in `tests/services_life.rs`.
#[test]
fn a_new_pool_that_overlaps_moves_nobody_who_names_the_old_one() {
    let before = Setup::new()
        .pool("old", &["10.0.0.0/29"])
        .pool("spare", &["10.0.1.0/29"])
        .published("10.0.0.0", "old", "x", Origin::Chosen)
        .want(naming(gateway("x"), "old,spare"));
    // All that the old one has: then it is not used any more.
    let covered = before.clone().pool("new", &["10.0.0.0/28"]);
    assert_eq!(assigned(&covered.run(), "x"), ["10.0.0.0"]);
    let after = before.pool("new", &["10.0.0.0/30"]);
    let allocation = after.run();
    assert_eq!(assigned(&allocation, "x"), ["10.0.0.0"]);
    assert_eq!(allocation.claims.0[&ip("10.0.0.0")].pool, "old");
    assert_eq!(allocation.notes.len(), 1);
    assert_eq!(after.then(after.wants.clone()).run(), allocation, "a fixed point");
    // Naming another pool is its own wish.
    let moved = Setup { wants: vec![naming(gateway("x"), "spare")], ..after }.run();
    assert_eq!(assigned(&moved, "x"), ["10.0.1.0"]);
}

/// Found by `edits_harm_nobody_else` too: a deleted pool takes nothing back, and no other pool does so
/// in its place.
#[test]
fn a_pool_that_keeps_an_address_back_does_not_reclaim_what_another_gave_out() {
    let before = Setup::new()
        .pool_with("reclaims", &["10.0.0.0/30"], |spec| {
            spec.reclaim = true;
            spec.avoid_buggy_ips = true;
        })
        .published("10.0.0.0", "deleted", "x", Origin::Chosen)
        .want(gateway("x"));
    let allocation = before.run();
    assert_eq!(assigned(&allocation, "x"), ["10.0.0.0"]);
    assert_eq!(before.then(before.wants.clone()).run(), allocation, "a fixed point");
}

#[test]
fn a_chosen_address_that_somebody_answers_for_is_replaced_by_the_next() {
    let setup = Setup::new()
        .pool("a", &["10.0.0.0/29"])
        .claim("10.0.0.0", "a", "x", Origin::Chosen)
        .claim("10.0.0.1", "a", "y", Origin::Chosen)
        .foreign("10.0.0.0")
        .foreign("10.0.0.2")
        .want(gateway("x"))
        .want(gateway("y"));
    let allocation = setup.run();
    assert_eq!(assigned(&allocation, "x"), ["10.0.0.3"]);
    assert_eq!(assigned(&allocation, "y"), ["10.0.0.1"]);
    assert_eq!(of(&allocation, "x").problems, []);
    assert!(!allocation.claims.0.contains_key(&ip("10.0.0.0")));
}

#[test]
fn a_requested_or_published_address_that_somebody_answers_for_waits() {
    let cases = [
        Setup::new().want(asking("x", &["10.0.0.2"])),
        Setup::new()
            .claim("10.0.0.2", "a", "x", Origin::Requested)
            .want(asking("x", &["10.0.0.2"])),
        Setup::new()
            .published("10.0.0.2", "a", "x", Origin::Requested)
            .want(asking("x", &["10.0.0.2"])),
        Setup::new().published("10.0.0.2", "a", "x", Origin::Chosen).want(gateway("x")),
        Setup::new().published("10.0.0.2", "a", "x", Origin::Chosen).want(asking("x", &[""])),
    ];
    for setup in cases {
        let allocation = setup.pool("a", &["10.0.0.0/29"]).foreign("10.0.0.2").run();
        assert_eq!(assigned(&allocation, "x"), ["10.0.0.2"]);
        let expected = AddressProblem::Foreign { address: ip("10.0.0.2"), mac: MAC };
        assert_eq!(problem(&allocation, "x"), &expected);
        assert_eq!(allocation.claims.0[&ip("10.0.0.2")].users, [vip_user("x")]);
    }
}

#[test]
fn unknown_gateways_keep_their_claims_until_the_input_is_complete() {
    let setup = Setup::new()
        .pool("a", &["10.0.0.0/29"])
        .claim("10.0.0.0", "a", "unknown", Origin::Chosen)
        .published("10.9.9.9", "gone", "unknown", Origin::Requested)
        .want(gateway("x"))
        .want(asking("y", &["10.0.0.0"]));
    let kept = setup.clone().keeping_unknown().run();
    assert_eq!(assigned(&kept, "x"), ["10.0.0.1"]);
    assert_eq!(
        problem(&kept, "y"),
        &AddressProblem::InUse { address: ip("10.0.0.0"), by: user("unknown"), why: Unshared::Key }
    );
    for (address, claim) in &setup.claims.0 {
        assert_eq!(kept.claims.0.get(address), Some(claim));
    }
    let released = setup.run();
    assert_eq!(assigned(&released, "y"), ["10.0.0.0"]);
    assert_eq!(released.claims.0.len(), 2);
}

#[test]
fn a_released_address_is_given_out_again() {
    let before = Setup::new().pool("a", &["10.0.0.0/31"]).want(gateway("x")).want(gateway("y"));
    let without = before.then(vec![gateway("y")]);
    let after = without.then(vec![gateway("y"), gateway("z")]).run();
    assert_eq!(assigned(&after, "y"), ["10.0.0.1"]);
    assert_eq!(assigned(&after, "z"), ["10.0.0.0"]);
}

#[test]
fn ipv6_claims_of_a_newer_version_are_kept() {
    let setup = Setup::new()
        .pool("a", &["10.0.0.0/29", "fd00::/64"])
        .published("10.0.0.1", "a", "x", Origin::Chosen)
        .published("fd00::5", "a", "x", Origin::Chosen)
        .want(gateway("x"));
    assert_eq!(assigned(&setup.run(), "x"), ["10.0.0.1", "fd00::5"]);
}

//! What holds for every input.

use proptest::prelude::*;
use proptest::sample::Index;

use super::arbitrary::{claims, setup, surroundings, wants};
use super::model::Model;
use super::*;

/// What a Gateway asks for by value.
fn requests(want: &Want) -> BTreeSet<IpAddr> {
    entries(want).iter().filter_map(|entry| entry.value.as_deref()?.parse().ok()).collect()
}

/// Whether every address that the others had is still theirs.
fn others_kept(before: &Allocation, after: &Allocation, but: &ObjectRef) -> Result<(), String> {
    for (gateway, addresses) in before.users.iter().filter(|(gateway, _)| *gateway != but) {
        let now = &after.users[gateway].assigned;
        if let Some(lost) = addresses.assigned.iter().find(|address| !now.contains(address)) {
            return Err(format!("{gateway} lost {lost}"));
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// A claim map cannot hold an address twice; what Gateways are told must say the same.
    #[test]
    fn no_address_is_given_twice(setup in setup()) {
        let allocation = setup.run();
        let mut seen = BTreeSet::new();
        for (gateway, addresses) in &allocation.users {
            for address in &addresses.assigned {
                prop_assert!(seen.insert(*address), "{} twice", address);
                prop_assert!(allocation.claims.0[address].names(gateway));
            }
        }
        let known = |claim: &&Claim| claim.users.iter().any(|user| allocation.users.contains_key(&user.object));
        prop_assert_eq!(allocation.claims.0.values().filter(known).count(), seen.len());
    }

    /// Whatever is not published already obeys all rules of today.
    #[test]
    fn what_is_given_may_be_given(setup in setup()) {
        let allocation = setup.run();
        let model = Model::new(&setup);
        for want in &setup.wants {
            for address in &allocation.users[&want.user].assigned {
                let claim = &allocation.claims.0[address];
                let before = setup.claims.0.get(address).filter(|old| old.names(&want.user));
                prop_assert_eq!(claim.published, before.is_some_and(|old| old.published));
                let requested = claim.origin == Origin::Requested;
                prop_assert_eq!(requested, requests(want).contains(address));
                if claim.published {
                    continue;
                }
                let pool = model.pool_of(*address).expect("it is in a pool");
                prop_assert_eq!(&claim.pool, pool.name);
                prop_assert!(model.allows(pool, want));
                prop_assert!(model.is_free_of_others(*address));
                let foreign = setup.foreign.contains_key(address);
                prop_assert!(requested || model.chooses_from(pool, want) && !foreign);
            }
        }
    }

    #[test]
    fn unknown_gateways_keep_all_or_nothing(setup in setup()) {
        let allocation = setup.run();
        let unknown = |claims: &Claims| -> BTreeMap<IpAddr, Claim> {
            let known = |claim: &Claim| claim.users.iter().any(|user| allocation.users.contains_key(&user.object));
            claims.0.clone().into_iter().filter(|(_, claim)| !known(claim)).collect()
        };
        let expected = if setup.release { BTreeMap::new() } else { unknown(&setup.claims) };
        prop_assert_eq!(unknown(&allocation.claims), expected);
    }

    #[test]
    fn the_order_of_gateways_has_no_influence(setup in setup(), keys in any::<[u8; 8]>()) {
        let mut wants: Vec<_> = setup.wants.iter().cloned().zip(keys).collect();
        wants.sort_by_key(|(_, key)| *key);
        let wants = wants.into_iter().map(|(want, _)| want).collect();
        prop_assert_eq!(Setup { wants, ..setup.clone() }.run(), setup.run());
    }

    #[test]
    fn a_second_run_changes_nothing(setup in setup()) {
        prop_assert_eq!(setup.then(setup.wants.clone()).run(), setup.run());
    }

    #[test]
    fn removing_a_gateway_takes_nothing_from_others(setup in setup(), which in any::<Index>()) {
        prop_assume!(!setup.wants.is_empty());
        let mut wants = setup.wants.clone();
        let gone = wants.remove(which.index(wants.len()));
        let (before, after) = (setup.run(), setup.then(wants).run());
        prop_assert_eq!(others_kept(&before, &after, &gone.user), Ok(()));
        // Nobody waited for anything, so nobody gains anything either.
        let waited = |addresses: &Addresses| !addresses.problems.is_empty();
        let others = before.users.iter().filter(|(gateway, _)| **gateway != gone.user);
        for (gateway, addresses) in others.filter(|(_, addresses)| !waited(addresses)) {
            prop_assert_eq!(&after.users[gateway], addresses);
        }
    }

    #[test]
    fn adding_a_gateway_takes_nothing_from_others(setup in setup(), which in any::<Index>()) {
        prop_assume!(!setup.wants.is_empty());
        let mut wants = setup.wants.clone();
        let new = wants.remove(which.index(wants.len()));
        let without = Setup { wants, ..setup.clone() };
        let (before, after) = (without.run(), without.then(setup.wants.clone()).run());
        prop_assert_eq!(others_kept(&before, &after, &new.user), Ok(()));
        if setup.release {
            for (gateway, addresses) in &before.users {
                prop_assert_eq!(&after.users[gateway].assigned, &addresses.assigned);
            }
        }
    }

    /// Everything around a Gateway may change; what its clients know stays.
    #[test]
    fn a_published_address_moves_for_nobody_else(
        before in setup(),
        after in surroundings(),
        others in wants(),
    ) {
        let mut claims = before.run().claims;
        claims.0.values_mut().for_each(|claim| claim.published = true);
        // An annotation is the Gateway's own wish to move.
        let still = |want: &Want| Want { pool: None, ..want.clone() };
        let mut wants: Vec<_> = before.wants.iter().map(still).collect();
        let is_new = |want: &Want| !wants.iter().any(|known| known.user == want.user);
        let others: Vec<_> = others.into_iter().filter(is_new).collect();
        wants.extend(others);
        let allocation = Setup { wants, claims: claims.clone(), ..after }.run();
        for want in &before.wants {
            for (address, claim) in claims.0.iter().filter(|(_, c)| c.names(&want.user)) {
                let now = allocation.claims.0.get(address).expect("the address stays claimed");
                prop_assert_eq!(&now.users, &claim.users);
                prop_assert_eq!((now.origin, now.published), (claim.origin, true));
                prop_assert!(allocation.users[&want.user].assigned.contains(address));
            }
        }
    }

    /// Nothing below a newly chosen address is free, in its pool and family.
    #[test]
    fn the_lowest_free_address_goes_first(setup in setup()) {
        let allocation = setup.run();
        let model = Model::new(&setup);
        for (address, claim) in &allocation.claims.0 {
            let had = setup.claims.0.get(address).is_some_and(|old| old.users == claim.users);
            if had || claim.origin == Origin::Requested {
                continue;
            }
            let pool = model.pool_of(*address).expect("it is in a pool");
            for lower in pool.addresses.iter().take_while(|lower| *lower < address) {
                let free = Family::of(*lower) == Family::of(*address)
                    && model.is_free_of_others(*lower)
                    && !setup.foreign.contains_key(lower)
                    && !allocation.claims.0.contains_key(lower);
                prop_assert!(!free, "{} was free, {} was chosen", lower, address);
            }
        }
    }

    /// A Gateway that lacks something is told why, and one that is told nothing lacks nothing.
    #[test]
    fn nothing_is_missing_silently(setup in setup()) {
        let allocation = setup.run();
        for want in &setup.wants {
            let addresses = &allocation.users[&want.user];
            let any = |entry: &&GatewayAddress| entry.value.as_deref() == Some("");
            let unserved = entries(want).iter().any(|e| e.kind != AddressType::IpAddress);
            let listed = requests(want).len() + entries(want).iter().filter(any).count();
            let lacks = unserved || match entries(want).is_empty() {
                true => addresses.assigned.is_empty(),
                false => addresses.assigned.len() < listed,
            };
            prop_assert!(!lacks || !addresses.problems.is_empty());
            let conflict =
                |problem: &AddressProblem| matches!(problem, AddressProblem::Foreign { .. });
            let conflicts = addresses.problems.iter().filter(|problem| conflict(problem)).count();
            let expected =
                addresses.assigned.iter().filter(|a| setup.foreign.contains_key(a)).count();
            prop_assert_eq!(conflicts, expected);
            if !entries(want).is_empty() {
                prop_assert_eq!(lacks, addresses.problems.len() > conflicts);
            }
        }
    }

    #[test]
    fn any_claims_are_taken_without_panic(setup in setup(), claims in claims()) {
        let allocation = Setup { claims: claims.clone(), ..setup }.run();
        for (address, claim) in &allocation.claims.0 {
            if claim.published {
                prop_assert_eq!(&claims.0[address].users, &claim.users);
            }
        }
    }
}

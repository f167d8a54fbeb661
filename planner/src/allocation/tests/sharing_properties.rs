//! What holds for every crowd of Gateways and Services that share some keys and some ports.

use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::arbitrary::{surroundings, universe};
use super::*;

fn member(index: usize) -> impl Strategy<Value = Want> {
    let ports = subsequence(vec![1u16, 2, 3, 4], 1..=2);
    let key = prop::option::weighted(0.8, select(vec!["k", "l"]));
    let named = prop::option::weighted(0.3, select(universe()));
    let families = select(vec![vec![Family::V4], vec![Family::V6], FAMILIES.to_vec()]);
    (ports, key, named, families, any::<[bool; 3]>(), 0..4usize).prop_map(
        move |(ports, key, named, families, [is_service, all, local], place)| {
            let name = format!("u{index}");
            let named: Vec<String> = named.iter().map(ToString::to_string).collect();
            let named: Vec<&str> = named.iter().map(String::as_str).collect();
            let want = match is_service {
                true => changed(with_names(service(&name, &families), &named), |a| a.all = all),
                false => asking(&name, &named),
            };
            let mut want = Want { age: age(place), ..sharing(want, key.unwrap_or("none"), &ports) };
            if key.is_none() {
                want.sharing = None;
            } else if let Some(traffic) = &mut want.sharing.as_mut().unwrap().traffic {
                traffic.local = local && all;
            }
            want
        },
    )
}

/// What becomes of one of them.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Gone,
    Changed,
    Same,
}

/// Up to six, in two moments of their lives.
fn crowds() -> impl Strategy<Value = [Vec<Want>; 2]> {
    let all = |()| (0..6).map(|index| member(index).boxed()).collect::<Vec<_>>();
    let fates = prop::array::uniform6(select(vec![Fate::Gone, Fate::Changed, Fate::Same]));
    (all(()), all(()), fates).prop_map(|(before, after, fates)| {
        let then = |((old, new), fate): ((&Want, Want), Fate)| match fate {
            Fate::Gone => None,
            Fate::Changed => Some(new),
            Fate::Same => Some(old.clone()),
        };
        let after = before.iter().zip(after).zip(fates).filter_map(then).collect();
        [before, after]
    })
}

fn moments() -> impl Strategy<Value = (Setup, Vec<Want>)> {
    (surroundings(), crowds(), any::<bool>()).prop_map(|(setup, [before, after], told)| {
        let setup = Setup { wants: before, ..setup };
        let setup = if told { setup.told() } else { setup };
        (setup, after)
    })
}

/// Who may be together, said once more.
fn get_on(one: &Want, other: &Want) -> bool {
    let (Some(a), Some(b)) = (&one.sharing, &other.sharing) else { return false };
    let local = |sharing: &Sharing| sharing.traffic.as_ref().is_some_and(|traffic| traffic.local);
    let both_services = a.traffic.is_some() && b.traffic.is_some();
    a.key == b.key
        && one.ports.iter().all(|port| !other.ports.contains(port))
        && (!both_services || (!local(a) && !local(b)) || a.traffic == b.traffic)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever was before, those who have an address in common may.
    #[test]
    fn users_of_one_address_get_on((before, wants) in moments()) {
        let allocation = before.then(wants.clone()).run();
        let known: BTreeMap<_, _> = wants.iter().map(|want| (&want.user, want)).collect();
        for (address, claim) in &allocation.claims.0 {
            prop_assert!(!claim.users.is_empty());
            prop_assert!(claim.users.is_sorted_by(|a, b| a.object < b.object));
            for user in &claim.users {
                let Some(want) = known.get(&user.object) else { continue };
                prop_assert_eq!(&user.ports, &want.ports);
                prop_assert!(allocation.users[&user.object].assigned.contains(address));
                for other in claim.users.iter().filter(|other| other.object != user.object) {
                    let Some(other) = known.get(&other.object) else { continue };
                    prop_assert!(get_on(want, other), "{} and {}", want.user, other.user);
                }
            }
        }
        for (user, addresses) in &allocation.users {
            for address in &addresses.assigned {
                prop_assert!(allocation.claims.0[address].names(user));
            }
        }
    }

    #[test]
    fn sharing_is_a_fixed_point((before, wants) in moments()) {
        let setup = before.then(wants);
        prop_assert_eq!(setup.then(setup.wants.clone()).run(), setup.run());
    }

    #[test]
    fn the_order_of_users_has_no_influence((before, wants) in moments()) {
        let turned = wants.iter().rev().cloned().collect();
        prop_assert_eq!(before.then(turned).run(), before.then(wants).run());
    }

    /// A Service has one address of a family at most, unless it names more, and of no other family.
    #[test]
    fn services_have_what_their_families_say((before, wants) in moments()) {
        let allocation = before.then(wants.clone()).run();
        for want in wants.iter().filter(|want| want.user.kind == vipgate_api::Kind::Service) {
            let Asks::Service(asks) = &want.asks else { panic!() };
            let assigned = &allocation.users[&want.user].assigned;
            let families: BTreeSet<_> = assigned.iter().map(|a| Family::of(*a)).collect();
            prop_assert_eq!(families.len(), assigned.len());
            prop_assert!(families.iter().all(|family| asks.families.contains(family)));
            let satisfied = families.len() == asks.families.len()
                || (!asks.all && !families.is_empty());
            let quiet = allocation.users[&want.user].problems.is_empty();
            prop_assert!(satisfied || !quiet, "{} lacks something silently", want.user);
        }
    }

    /// Whoever is as it was has what it had, whatever the others that share with it turn into.
    #[test]
    fn nobody_is_driven_from_a_published_address((before, wants) in moments()) {
        let before = before.told();
        let after = Setup { wants: wants.clone(), ..before.clone() }.run();
        for want in wants.iter().filter(|want| before.wants.contains(want)) {
            for (address, _) in before.claims.0.iter().filter(|(_, c)| c.names(&want.user)) {
                prop_assert!(after.claims.0[address].names(&want.user), "{} lost {address}", want.user);
            }
        }
    }

    /// Where nothing of those who share changes, nothing of their addresses does.
    #[test]
    fn a_published_share_stays((setup, _) in moments(), others in surroundings()) {
        let before = setup.told();
        let after = Setup { claims: before.claims.clone(), wants: before.wants.clone(), ..others };
        let after = after.run();
        for (address, claim) in &before.claims.0 {
            for user in &claim.users {
                prop_assert!(after.claims.0[address].users.contains(user), "{} lost {}", user.object, address);
            }
        }
    }
}

use std::sync::Arc;

use vipgate_planner::Vip;
use vipgate_planner::ownership::{Entry, Offer};

use super::*;

const ME: &str = "10.77.0.1:7947";
const OTHERS: [&str; 3] = ["10.77.0.2:7947", "10.77.0.3:7947", "10.77.0.4:7947"];

fn vips() -> impl Iterator<Item = IpAddr> {
    (0..60).map(|number| IpAddr::from([10, 77, 1, number]))
}

fn plan() -> Plan {
    let vip = |address| Vip::new(address, Announce::Layer2(vec!["eth0".to_owned()]));
    Plan { vips: vips().map(|address| (address, vip(address))).collect(), ..Plan::default() }
}

/// As the member at `me` sees it: all others offer every VIP and ask, and `owner` has all.
fn standing(me: &str, owner: &str) -> Standing {
    let offer = Entry { offer: Some(Offer::default()), hold: None };
    let entries: BTreeMap<IpAddr, Entry> = vips().map(|vip| (vip, offer)).collect();
    let mut standing = Standing::default();
    for address in OTHERS.into_iter().chain([ME]).filter(|one| *one != me) {
        let notes = [(ASKS.to_vec(), Vec::new()), (b"m".to_vec(), vec![2, 0, 0, 0, 0, 9])].into();
        let name = format!("host of {address}");
        let other = Other { name, entries: entries.clone(), notes, ..Other::default() };
        standing.others.insert(address.parse().unwrap(), Arc::new(other));
    }
    let place = |vip| match me == owner {
        true => (vip, Possession::Here),
        false => (vip, Possession::There { owner: owner.to_owned(), announced: true }),
    };
    standing.ownership.vips = vips().map(place).collect();
    standing
}

fn seen_by(me: &str, owner: &str) -> Roster {
    roster(&plan(), &standing(me, owner), me.parse().unwrap())
}

#[test]
fn one_of_those_that_stand_by_asks_for_each() {
    let owner = OTHERS[0];
    let mut asked: BTreeMap<IpAddr, usize> = BTreeMap::new();
    for me in OTHERS.into_iter().chain([ME]) {
        let mine = seen_by(me, owner);
        assert_eq!(mine.is_empty(), me == owner, "{me} asks for {}", mine.len());
        for (vip, target) in mine {
            *asked.entry(vip).or_default() += 1;
            assert_eq!((target.owner.as_str(), target.name), (owner, format!("host of {owner}")));
            assert_eq!(target.macs, [MacAddr([2, 0, 0, 0, 0, 9])].into());
        }
    }
    assert_eq!(asked.len(), 60);
    assert!(asked.values().all(|count| *count == 1), "{asked:?}");
}

#[test]
fn who_does_not_ask_or_could_not_have_it_is_passed_over() {
    let owner = OTHERS[0];
    let before = seen_by(ME, owner).len();
    let mut standing = standing(ME, owner);
    let change = |standing: &mut Standing, at: &str, change: &dyn Fn(&mut Other)| {
        let other = standing.others.get_mut(&at.parse().unwrap()).unwrap();
        change(Arc::make_mut(other));
    };
    let count = |standing: &Standing| roster(&plan(), standing, ME.parse().unwrap()).len();
    change(&mut standing, OTHERS[1], &|other| other.notes.clear());
    let more = count(&standing);
    assert!(before < more && more < 60, "{before} {more}");
    change(&mut standing, OTHERS[2], &|other| {
        for entry in other.entries.values_mut() {
            entry.offer = Some(Offer { leaving: true, ..Offer::default() });
        }
    });
    assert_eq!(count(&standing), 60);
}

#[test]
fn what_nobody_else_announces_on_a_lan_is_not_asked_for() {
    let silent = |announced| {
        let mut standing = standing(ME, OTHERS[0]);
        let there = Possession::There { owner: OTHERS[0].to_owned(), announced };
        standing.ownership.vips.values_mut().for_each(|place| *place = there.clone());
        standing.others.retain(|address, _| address.to_string() == OTHERS[0]);
        standing
    };
    let me = ME.parse().unwrap();
    assert_eq!(roster(&plan(), &silent(true), me).len(), 60);
    assert!(roster(&plan(), &silent(false), me).is_empty());
    let mut plan = plan();
    plan.vips.values_mut().for_each(|vip| vip.announce = Announce::Routed);
    assert!(roster(&plan, &silent(true), me).is_empty());
    assert!(seen_by(ME, ME).is_empty(), "it is here");
}

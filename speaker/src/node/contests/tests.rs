use vipgate_planner::{Announce, Vip};

use super::*;

fn claim(vip: [u8; 4], mac: u8) -> Sighting {
    let (mac, link) = (MacAddr([2, 0, 0, 0, 0, mac]), "eth0".to_owned());
    Sighting { vip: vip.into(), mac, link, member: false }
}

fn plan(vips: &[[u8; 4]]) -> Plan {
    let vip = |address: IpAddr| {
        let announce = Announce::Layer2(vec!["eth0".to_owned()]);
        (address, Vip::new(address, announce))
    };
    let vips = vips.iter().map(|octets| vip(IpAddr::from(*octets))).collect();
    Plan { vips, ..Plan::default() }
}

#[test]
fn a_claim_is_named_until_a_while_after_the_last_one() {
    let (mut contests, start) = (Contests::default(), Instant::now());
    let (ours, plan) = ([10, 0, 0, 1], plan(&[[10, 0, 0, 1]]));
    assert_eq!(contests.due(), None);
    contests.seen(&claim(ours, 7), start);
    contests.seen(&claim(ours, 8), start + HOLDS / 2);
    let named = contests.lately(&plan, start + HOLDS);
    assert_eq!(named, [(ours.into(), MacAddr([2, 0, 0, 0, 0, 8]))].into(), "the last claimant");
    let due = contests.due().unwrap();
    assert_eq!(due, start + HOLDS / 2 + HOLDS);
    assert!(contests.lately(&plan, due).is_empty());
    assert_eq!(contests.due(), None);
}

#[test]
fn a_vip_that_is_no_longer_ours_is_not_contested() {
    let (mut contests, now) = (Contests::default(), Instant::now());
    contests.seen(&claim([10, 0, 0, 1], 7), now);
    assert!(contests.lately(&plan(&[[10, 0, 0, 2]]), now).is_empty());
}

#[test]
fn what_a_member_of_the_group_claims_is_no_contest() {
    let (mut contests, now) = (Contests::default(), Instant::now());
    let plan = plan(&[[10, 0, 0, 1], [10, 0, 0, 2]]);
    contests.seen(&claim([10, 0, 0, 1], 7), now);
    contests.seen(&claim([10, 0, 0, 2], 8), now);
    contests.forget(&[MacAddr([2, 0, 0, 0, 0, 7])].into());
    assert_eq!(
        contests.lately(&plan, now).into_keys().collect::<Vec<_>>(),
        [IpAddr::from([10, 0, 0, 2])]
    );
}

#[test]
fn claims_are_counted_until_the_vip_goes() {
    let tally = Tally::default();
    let (mut contests, start) = (Contests::counting(tally.clone()), Instant::now());
    let (ours, other) = ([10, 0, 0, 1], [10, 0, 0, 2]);
    for mac in [7, 7, 8] {
        contests.seen(&claim(ours, mac), start);
    }
    contests.seen(&claim(other, 7), start);
    assert_eq!(tally.read(), [(ours.into(), 3), (other.into(), 1)].into());
    // Long after the last claim it still counts.
    contests.lately(&plan(&[ours]), start + HOLDS * 9);
    assert_eq!(tally.read(), [(ours.into(), 3)].into());
}

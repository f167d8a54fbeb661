//! What members say of themselves reaches all, whole and in order.

use std::net::SocketAddr;

use rand::RngExt;

use super::net::{Net, address, ms, ring};
use crate::group::core::Input;
use crate::group::store::{Message, Store};
use crate::group::wire::MAX_PAYLOAD;

fn says(net: &Net, at: u8, of: u8) -> Vec<(Vec<u8>, Vec<u8>)> {
    let entries = net.members[&address(at)].says(address(of));
    entries.map(|(key, value)| (key.to_vec(), value.to_vec())).collect()
}

fn entry(key: u32, value: &[u8]) -> (Vec<u8>, Option<Vec<u8>>) {
    (key.to_be_bytes().to_vec(), Some(value.to_vec()))
}

fn all_agree(net: &Net, count: u8) -> bool {
    (1..=count).all(|of| {
        let own = says(net, of, of);
        (1..=count).all(|at| says(net, at, of) == own && (at == of || complete(net, at, of)))
    })
}

fn complete(net: &Net, at: u8, of: u8) -> bool {
    net.members[&address(at)].knows_all_of(address(of))
}

#[test]
fn a_change_is_known_after_one_way_through_the_network() {
    let mut net = Net::settled(1, 5);
    net.input(address(1), Input::Say(vec![entry(1, b"one")]));
    net.run(ms(1));
    assert!(all_agree(&net, 5));
}

#[test]
fn a_thousand_entries_arrive_at_a_loss_of_a_fifth() {
    let mut net = Net::settled(2, 4);
    net.loss = 0.2;
    let entries = (0..1_000).map(|key| entry(key, &[3; 24])).collect();
    net.input(address(2), Input::Say(entries));
    let said = net.now;
    let agreed = net.run_until(said + ms(2_000), |net| all_agree(net, 4));
    assert!(agreed, "after 2 s");
}

#[test]
fn one_that_joins_learns_all_and_knows_when_it_has() {
    let mut net = Net::settled(3, 3);
    for number in 1..=3 {
        let entries = (0..300).map(|key| entry(key, &[number; 24])).collect();
        net.input(address(number), Input::Say(entries));
    }
    net.run(ms(500));
    net.start(4, 1, 4, &ring(&[1]));
    let began = net.now;
    let mut early = 0;
    let agreed = net.run_until(began + ms(2_000), |net| {
        let member = &net.members[&address(4)];
        for of in 1..=3_u8 {
            let told = member.alive().contains(&address(of)) && complete(net, 4, of);
            early += usize::from(told && says(net, 4, of).len() != 300);
        }
        all_agree(net, 4)
    });
    assert!(agreed);
    assert_eq!(early, 0, "thought complete before it was");
}

#[test]
fn two_that_cannot_hear_each_other_learn_through_a_third() {
    let mut net = Net::settled(4, 3);
    net.cut.insert((address(1), address(2)));
    net.cut.insert((address(2), address(1)));
    net.run(ms(500));
    net.input(address(1), Input::Say(vec![entry(9, b"over three")]));
    let said = net.now;
    assert!(net.run_until(said + ms(4_000), |net| says(net, 2, 1) == says(net, 1, 1)));
}

/// Of a member that came back, others may tell first. What it said before it was lost is not what it says.
#[test]
fn what_was_known_before_a_member_was_lost_is_not_all_of_it() {
    let mut stale = 0;
    for seed in 0..40 {
        let mut net = Net::settled(seed, 3);
        net.cut_off(&[1]);
        net.run(ms(1_000));
        for other in [2, 3] {
            net.input(address(other), Input::Say(vec![entry(7, b"taken meanwhile")]));
        }
        net.run(ms(500));
        net.cut.clear();
        let end = net.now + ms(1_000);
        net.run_until(end, |net| {
            for other in [2, 3] {
                let alive = net.alive(1).contains(&address(other));
                let wrong =
                    complete(net, 1, other) && says(net, 1, other) != says(net, other, other);
                stale += usize::from(alive && wrong);
            }
            false
        });
        assert!([2, 3].iter().all(|other| complete(&net, 1, *other)), "seed {seed}");
    }
    assert_eq!(stale, 0);
}

#[test]
fn a_record_of_a_new_life_replaces_the_old_one() {
    let mut net = Net::settled(5, 3);
    net.input(address(1), Input::Say(vec![entry(1, b"old"), entry(2, b"old")]));
    net.run(ms(100));
    net.kill(1);
    net.start(1, 2, 3, &ring(&[1]));
    net.input(address(1), Input::Say(vec![entry(2, b"new")]));
    net.run(ms(2_000));
    assert!(all_agree(&net, 3));
    assert_eq!(says(&net, 3, 1).len(), 1);
}

#[test]
fn deleted_entries_do_not_pile_up() {
    let mut store = Store::new(address(1), 1);
    for round in 0..20_000_u32 {
        store.set(&round.to_be_bytes(), Some(vec![1]));
        store.set(&round.to_be_bytes(), None);
    }
    assert!(store.whole().len() < 200, "{} pieces", store.whole().len());
}

#[test]
fn pieces_fit_a_datagram_and_are_taken_only_in_order() {
    let mut net = Net::new(6);
    let mut store = Store::new(address(1), 1);
    for key in 0..2_000_u32 {
        let length = net.rng.random_range(0..800);
        store.set(&key.to_be_bytes(), Some(vec![7; length]));
    }
    let pieces = store.push();
    for piece in &pieces {
        assert!(piece.to_bytes().len() <= MAX_PAYLOAD);
    }
    let mut other = Store::new(address(2), 1);
    assert!(!other.receive(pieces[1].clone()).1, "the first is missing");
    for piece in pieces {
        assert!(other.receive(piece).1);
    }
    let of = |store: &Store| -> Vec<(Vec<u8>, Vec<u8>)> {
        store.entries(address(1)).map(|(k, v)| (k.to_vec(), v.to_vec())).collect()
    };
    assert_eq!(of(&store), of(&other));
}

#[test]
fn nobody_changes_our_own_record() {
    let mut store = Store::new(address(1), 1);
    let mut liar = Store::new(address(1), 9);
    liar.set(b"k", Some(vec![1]));
    for message in liar.whole() {
        assert!(!store.receive(message).1);
    }
    assert_eq!(store.entries(address(1)).count(), 0);
}

#[test]
fn a_summary_of_hundreds_fits() {
    let mut store = Store::new(address(1), u64::MAX);
    for number in 0..400_u16 {
        let [high, low] = number.to_be_bytes();
        let member = SocketAddr::from(([10, 1, high, low], 65_535));
        let mut other = Store::new(member, u64::MAX - 1);
        other.set(b"k", Some(vec![1]));
        for message in other.whole() {
            store.receive(message);
        }
    }
    let summary = store.summary(|_| {});
    assert!(summary.to_bytes().len() <= MAX_PAYLOAD);
    let Message::Summary(summary) = summary else { panic!("no summary") };
    assert!(summary.iter().any(|(member, _)| *member == address(1)), "ours is in it");
}

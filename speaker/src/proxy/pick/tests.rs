//! Every window of 1,000 picks is within 2 of the exact share.

use proptest::prelude::{Just, Strategy, any, prop, prop_assert, prop_oneof, proptest};

use super::Picker;

/// The largest distance from the exact share, over every window of `window` picks.
fn worst(weights: &[u32], picks: usize, window: usize) -> f64 {
    let sum: f64 = weights.iter().map(|w| f64::from(*w)).sum();
    let mut picker = Picker::new(weights.iter().copied());
    let sequence: Vec<usize> = (0..picks).map(|_| picker.pick().unwrap()).collect();
    let mut counts = vec![0_i64; weights.len()];
    let mut worst = 0.0_f64;
    for end in 0..picks {
        counts[sequence[end]] += 1;
        if end >= window {
            counts[sequence[end - window]] -= 1;
        }
        if end + 1 >= window {
            for (count, weight) in counts.iter().zip(weights) {
                let exact = window as f64 * f64::from(*weight) / sum;
                worst = worst.max((*count as f64 - exact).abs());
            }
        }
    }
    worst
}

fn weight() -> impl Strategy<Value = u32> {
    prop_oneof![0_u32..=3, 0_u32..=100, 0_u32..=1_000_000, Just(1_000_000)]
}

proptest! {
    #[test]
    fn every_window_of_1000_is_within_2(
        weights in prop::collection::vec(weight(), 1..=16),
        small in any::<bool>(),
    ) {
        let weights: Vec<u32> = if small { weights.iter().map(|w| w % 7).collect() } else { weights };
        if weights.iter().all(|w| *w == 0) {
            prop_assert!(Picker::new(weights).pick().is_none());
        } else {
            let worst = worst(&weights, 3_500, 1_000);
            prop_assert!(worst < 2.0, "off by {worst} with {weights:?}");
        }
    }

    #[test]
    fn a_share_of_weight_zero_is_never_picked(weights in prop::collection::vec(0_u32..4, 1..=16)) {
        let mut picker = Picker::new(weights.iter().copied());
        for _ in 0..200 {
            match picker.pick() {
                Some(index) => prop_assert!(weights[index] > 0),
                None => prop_assert!(weights.iter().all(|w| *w == 0)),
            }
        }
    }
}

#[test]
fn a_full_round_gives_every_share_exactly_its_weight() {
    let weights = [1, 0, 999, 17, 250_000];
    let mut picker = Picker::new(weights);
    let mut counts = [0; 5];
    for _ in 0..2 * weights.iter().sum::<u32>() {
        counts[picker.pick().unwrap()] += 1;
    }
    assert_eq!(counts, weights.map(|w| 2 * w));
}

#[test]
fn the_largest_weights_do_not_overflow() {
    assert!(worst(&[1_000_000; 16], 20_000, 1_000) < 2.0);
    let mut heavy = [1_u32; 16];
    heavy[15] = 1_000_000;
    assert!(worst(&heavy, 20_000, 1_000) < 2.0);
}

/// Three and one make `h l h h` or the like again and again, not `h h h … l`.
#[test]
fn shares_are_interleaved_not_bunched() {
    let mut picker = Picker::new([3, 1]);
    let picks: Vec<_> = (0..8).map(|_| picker.pick().unwrap()).collect();
    assert_eq!(picks.iter().filter(|i| **i == 1).count(), 2);
    assert!(picks.windows(5).all(|five| five.contains(&1)), "{picks:?}");
}

//! Random numbers for draws that nobody has to be unable to guess: SplitMix64 (Steele, Lea, Flood 2014).

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

/// A generator; whoever draws has one of their own.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// That begins somewhere else each time.
    pub(crate) fn new() -> Self {
        Self(RandomState::new().build_hasher().finish())
    }

    /// That begins there.
    #[cfg(test)]
    pub(crate) fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below this one, which is not 0. (Bias: one in 2⁶⁴ divided by it.)
    #[allow(
        clippy::cast_possible_truncation,
        reason = "the high half of the product is below `end`"
    )]
    pub(crate) fn below(&mut self, end: usize) -> usize {
        ((u128::from(self.next()) * end as u128) >> 64) as usize
    }
}

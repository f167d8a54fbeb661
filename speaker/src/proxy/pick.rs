//! The exact weighted pick over the shares of a target.
//!
//! A share of weight `w` out of a sum `W` is to get `t·w/W` of the first `t` connections. Its
//! `k`-th one (from 0) may come once `t ≥ ⌊k·W/w⌋` and is due before `⌈(k+1)·W/w⌉`; every pick
//! goes to the share that may be served and is due first. That is the Pfair schedule of one
//! processor (Baruah et al., "Proportionate progress", 1996): it keeps every share less than one
//! connection away from its exact part at any time, hence less than two in any window.
//! (Smooth weighted round robin behaves much alike, but how far a light share may fall behind does
//! not follow from its rule; here the bound does.)
//!
//! After `W` picks every share has exactly its weight, and the count starts again, so all numbers
//! stay below 10⁶ · 16·10⁶. No clock, no randomness: the same picks in the same order every time.

/// The state of the weighted pick of one target in one worker.
#[derive(Clone, Debug)]
pub struct Picker {
    /// One per share with a weight; shares without one are never picked.
    shares: Vec<Share>,
    /// Sum of the weights.
    sum: u64,
    /// Picks made in this round of `sum` picks.
    picked: u64,
}

#[derive(Clone, Debug)]
struct Share {
    index: usize,
    weight: u64,
    /// Picks of this share in this round.
    count: u64,
    /// First pick number at which it may be picked again.
    release: u64,
    /// Pick number before which it is to be picked again.
    due: u64,
}

impl Share {
    fn schedule(&mut self, sum: u64) {
        self.release = self.count * sum / self.weight;
        self.due = ((self.count + 1) * sum).div_ceil(self.weight);
    }
}

impl Picker {
    /// Starts a round over shares with these weights.
    pub fn new(weights: impl IntoIterator<Item = u32>) -> Self {
        let mut shares: Vec<Share> = weights
            .into_iter()
            .enumerate()
            .filter(|(_, weight)| *weight > 0)
            .map(|(index, weight)| Share {
                index,
                weight: u64::from(weight),
                count: 0,
                release: 0,
                due: 0,
            })
            .collect();
        let sum = shares.iter().map(|share| share.weight).sum();
        for share in &mut shares {
            share.schedule(sum);
        }
        Self { shares, sum, picked: 0 }
    }

    /// The index of the share that gets the next connection; `None` when all weights are zero.
    pub fn pick(&mut self) -> Option<usize> {
        // At pick t the counts add up to t, so some share has had at most its part and may be
        // picked: the iterator is empty only when there are no weights at all.
        let share = self
            .shares
            .iter_mut()
            .filter(|share| share.release <= self.picked)
            .min_by_key(|share| share.due)?;
        let index = share.index;
        share.count += 1;
        share.schedule(self.sum);
        self.picked += 1;
        if self.picked == self.sum {
            self.picked = 0;
            for share in &mut self.shares {
                share.count = 0;
                share.schedule(self.sum);
            }
        }
        Some(index)
    }
}

#[cfg(test)]
mod tests;

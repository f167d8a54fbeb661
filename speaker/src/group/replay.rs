//! Which datagrams of a session were seen (as RFC 4303 §3.4.3, with a wider window).

/// A sender counts its datagrams to everybody with one counter, so two that follow each other to
/// us may be a hundred apart.
const WORDS: usize = 32;
const WINDOW: u64 = WORDS as u64 * 64;

/// The last [`WINDOW`] counters of a session, and which of them came.
#[derive(Clone, Debug)]
pub(super) struct Replay {
    /// One above the highest that came.
    next: u64,
    bits: [u64; WORDS],
}

impl Default for Replay {
    fn default() -> Self {
        Self { next: 0, bits: [0; WORDS] }
    }
}

impl Replay {
    /// Whether this counter is new; it is not any more afterwards.
    pub(super) fn admit(&mut self, counter: u64) -> bool {
        if counter == u64::MAX || counter.saturating_add(WINDOW) < self.next {
            return false;
        }
        if counter >= self.next {
            let skipped = counter - self.next;
            if skipped >= WINDOW {
                self.bits = [0; WORDS];
            } else {
                (self.next..=counter).for_each(|passed| self.clear(passed));
            }
            self.next = counter + 1;
        }
        let (word, bit) = place(counter);
        let fresh = self.bits[word] & bit == 0;
        self.bits[word] |= bit;
        fresh
    }

    fn clear(&mut self, counter: u64) {
        let (word, bit) = place(counter);
        self.bits[word] &= !bit;
    }
}

fn place(counter: u64) -> (usize, u64) {
    let slot = counter % WINDOW;
    let word = usize::try_from(slot / 64).expect("below the number of words");
    (word, 1 << (slot % 64))
}

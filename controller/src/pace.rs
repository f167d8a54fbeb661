//! How soon a claim is written again that somebody else changed or took away.
//!
//! Claims are never given up: an address without its VirtualIP could become somebody else's. But two
//! programs that correct each other as fast as they can take the API server down with them. So the
//! first corrections are made at once, and each one after those waits twice as long as the last, up to
//! a minute. What vipgate itself wants otherwise is written at once, whatever happened before.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use vipgate_api::vipgate::VirtualIpSpec;

/// So many corrections are made at once.
const FREE: u32 = 3;
/// The first wait.
const FIRST: Duration = Duration::from_secs(1);
/// The longest.
const LONGEST: Duration = Duration::from_secs(60);
/// When nothing has happened for so long, it is over.
const CALM: Duration = Duration::from_secs(180);

/// See the module.
#[derive(Debug, Default)]
pub struct Pace(BTreeMap<IpAddr, Turns>);

#[derive(Debug)]
struct Turns {
    /// What we made of it last; `None` when we took it away.
    written: Option<VirtualIpSpec>,
    at: Instant,
    /// How often in a row somebody made something else of it.
    reversals: u32,
    /// When it may be corrected, once somebody did.
    next: Option<Instant>,
}

/// Whether to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Now.
    Now,
    /// Not before this moment. `begins` says that it is the first wait: worth a word.
    Wait {
        /// The moment.
        until: Instant,
        /// Whether this is new.
        begins: bool,
    },
}

impl Pace {
    /// Whether a VirtualIP may be written that was found so, and is to be another.
    pub fn judge(&mut self, address: IpAddr, found: Option<&VirtualIpSpec>, now: Instant) -> Turn {
        let Some(turns) = self.0.get_mut(&address) else { return Turn::Now };
        if found == turns.written.as_ref() {
            return Turn::Now;
        }
        if let Some(next) = turns.next {
            return if next <= now { Turn::Now } else { Turn::Wait { until: next, begins: false } };
        }
        turns.reversals = turns.reversals.saturating_add(1);
        let Some(waits) = turns.reversals.checked_sub(FREE + 1) else { return Turn::Now };
        let until = now + FIRST.saturating_mul(1 << waits.min(16)).min(LONGEST);
        turns.next = Some(until);
        Turn::Wait { until, begins: waits == 0 }
    }

    /// A VirtualIP has been made this, or taken away.
    pub fn wrote(&mut self, address: IpAddr, written: Option<VirtualIpSpec>, now: Instant) {
        let before = self.0.get(&address).filter(|turns| now < turns.at + CALM);
        let reversals = before.map_or(0, |turns| turns.reversals);
        self.0.insert(address, Turns { written, at: now, reversals, next: None });
    }

    /// Forgets what has been calm for long.
    pub fn forget(&mut self, now: Instant) {
        self.0.retain(|_, turns| now < turns.at + CALM);
    }
}

#[cfg(test)]
mod tests {
    use vipgate_api::vipgate::Origin;

    use super::*;

    const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));

    fn spec(pool: &str) -> VirtualIpSpec {
        VirtualIpSpec {
            address: ADDRESS,
            pool: pool.to_owned(),
            origin: Origin::Chosen,
            published: true,
            users: Vec::new(),
        }
    }

    /// How often one writes in a time, whose work is undone at once.
    fn writes(undone: Option<&VirtualIpSpec>, during: Duration) -> u32 {
        let (mut pace, start) = (Pace::default(), Instant::now());
        let (mut now, mut writes) = (start, 0);
        while now < start + during {
            match pace.judge(ADDRESS, undone, now) {
                Turn::Now => {
                    pace.wrote(ADDRESS, Some(spec("ours")), now);
                    writes += 1;
                }
                Turn::Wait { .. } => {}
            }
            now += Duration::from_millis(10);
        }
        writes
    }

    #[test]
    fn a_claim_that_is_taken_away_or_changed_is_written_again_ever_more_slowly_and_for_ever() {
        for undone in [None, Some(&spec("theirs"))] {
            let in_ten_minutes = writes(undone, Duration::from_secs(600));
            assert!((10..=20).contains(&in_ten_minutes), "{in_ten_minutes}");
            assert!(writes(undone, Duration::from_secs(1200)) >= in_ten_minutes + 9);
        }
    }

    #[test]
    fn the_first_wait_is_told_and_what_is_wanted_otherwise_does_not_wait() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        for _ in 0..=FREE {
            assert_eq!(pace.judge(ADDRESS, None, now), Turn::Now);
            pace.wrote(ADDRESS, Some(spec("ours")), now);
        }
        let until = now + FIRST;
        assert_eq!(pace.judge(ADDRESS, None, now), Turn::Wait { until, begins: true });
        assert_eq!(pace.judge(ADDRESS, None, now), Turn::Wait { until, begins: false });
        // Nobody touched it since: it is our own change.
        assert_eq!(pace.judge(ADDRESS, Some(&spec("ours")), now), Turn::Now);
        // A rival that gave up is forgiven.
        pace.wrote(ADDRESS, Some(spec("ours")), now);
        pace.forget(now + CALM);
        assert_eq!(pace.judge(ADDRESS, None, now + CALM), Turn::Now);
    }
}

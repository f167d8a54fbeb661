//! Which router is the neighbour: the first one heard, as long as it is heard.

use std::net::Ipv6Addr;
use std::time::{Duration, Instant};

/// A router that has been silent for so long may be replaced. FRR says something every 10 s.
pub const PATIENCE: Duration = Duration::from_secs(35);

/// The neighbour on a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Neighbour {
    known: Option<(Ipv6Addr, Instant)>,
}

impl Neighbour {
    /// Its address, once one was heard.
    #[must_use]
    pub fn address(&self) -> Option<Ipv6Addr> {
        self.known.map(|(address, _)| address)
    }

    /// A router was heard; whether it is now the neighbour and was not before.
    pub fn heard(&mut self, address: Ipv6Addr, now: Instant) -> bool {
        if !address.is_unicast_link_local() {
            return false;
        }
        match &mut self.known {
            Some((known, last)) if *known == address => {
                *last = now;
                false
            }
            Some((_, last)) if now.duration_since(*last) < PATIENCE => false,
            _ => {
                self.known = Some((address, now));
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
    const OTHER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);

    #[test]
    fn the_first_one_stays_while_it_is_heard_and_is_replaced_when_it_is_silent() {
        let mut neighbour = Neighbour::default();
        let mut now = Instant::now();
        assert!(neighbour.heard(ONE, now));
        for _ in 0..100 {
            now += PATIENCE / 3;
            assert!(!neighbour.heard(ONE, now));
            assert!(!neighbour.heard(OTHER, now + PATIENCE / 2));
            assert_eq!(neighbour.address(), Some(ONE));
        }
        assert!(neighbour.heard(OTHER, now + PATIENCE));
        assert_eq!(neighbour.address(), Some(OTHER));
    }

    #[test]
    fn only_link_local_senders_are_routers() {
        let mut neighbour = Neighbour::default();
        assert!(!neighbour.heard("2001:db8::1".parse().unwrap(), Instant::now()));
        assert!(!neighbour.heard(Ipv6Addr::UNSPECIFIED, Instant::now()));
        assert_eq!(neighbour.address(), None);
    }
}

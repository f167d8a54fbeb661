//! The routes a peer should have, put together from addresses and advertisements.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::bgp::wire::Path;

/// How many bits of an address are announced. Longer than an address counts as all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aggregation {
    /// Of an IPv4 address.
    pub ipv4: u8,
    /// Of an IPv6 address.
    pub ipv6: u8,
}

impl Default for Aggregation {
    fn default() -> Self {
        Aggregation { ipv4: 32, ipv6: 128 }
    }
}

impl Aggregation {
    /// The prefix announced for an address.
    #[must_use]
    pub fn prefix(self, address: IpAddr) -> IpNet {
        const BOUNDED: &str = "the length is at most that of an address";
        match address {
            IpAddr::V4(address) => {
                Ipv4Net::new(address, self.ipv4.min(32)).expect(BOUNDED).trunc().into()
            }
            IpAddr::V6(address) => {
                Ipv6Net::new(address, self.ipv6.min(128)).expect(BOUNDED).trunc().into()
            }
        }
    }
}

/// Prefixes and their paths. The order in which they were added does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routes(BTreeMap<IpNet, Path>);

impl Routes {
    /// Adds a prefix. If it is there already, it has the communities of both, and the higher
    /// local preference.
    pub fn add(&mut self, prefix: IpNet, path: &Path) {
        let known = self.0.entry(prefix.trunc()).or_default();
        known.communities.extend(&path.communities);
        known.large_communities.extend(&path.large_communities);
        known.local_pref = known.local_pref.max(path.local_pref);
    }

    /// How a prefix is announced.
    #[must_use]
    pub fn get(&self, prefix: &IpNet) -> Option<&Path> {
        self.0.get(prefix)
    }

    /// How many prefixes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Prefixes that only one of the two has, or both with different paths.
    pub(super) fn differing<'a>(&'a self, other: &'a Routes) -> impl Iterator<Item = IpNet> {
        let changed = self.0.iter().filter(|(prefix, path)| other.get(prefix) != Some(*path));
        let new = other.0.keys().filter(|prefix| !self.0.contains_key(*prefix));
        changed.map(|(prefix, _)| prefix).chain(new).copied()
    }

    /// All prefixes.
    pub fn prefixes(&self) -> impl Iterator<Item = IpNet> {
        self.0.keys().copied()
    }
}

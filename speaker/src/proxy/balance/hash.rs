//! The hashes that all nodes and all versions have to agree on: XXH3 with seeds that never change, over
//! bytes that are laid out here. `tests` holds them to committed values.
//!
//! A rendezvous hash (Thaler, Ravishankar 1998) gives each pair of client and endpoint a score; the client
//! goes to the highest. An endpoint that goes moves its own clients alone, one that comes takes its share of
//! each of the others', and nobody has to keep a table.
//!
//! With weights (of backendRefs) the hash becomes a waiting time, exponentially distributed and divided by the
//! weight: that one of them is shortest happens just as often as its weight says, and a weight that changes
//! moves no client between two others. The logarithm is one of integers: that of floating point differs in
//! its last bit between processors.

use std::net::{IpAddr, SocketAddr};

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Of client and endpoint.
const PAIR: u64 = 0x7669_7067_6174_6501;
/// Of a client alone: its slot in a Maglev table.
const SLOT: u64 = 0x7669_7067_6174_6502;
/// Of client and backendRef.
const SHARE: u64 = 0x7669_7067_6174_6503;
/// Of an endpoint alone: where in a Maglev table it begins, and how far it steps.
const OFFSET: u64 = 0x7669_7067_6174_6504;
const SKIP: u64 = 0x7669_7067_6174_6505;

/// Fraction bits of a [`surprise`].
const FRACTION: u32 = 32;

/// A client's address as it is hashed: its 16 bytes, those of IPv4 as `::ffff:a.b.c.d`. The port is no part
/// of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Client([u8; 16]);

impl Client {
    /// Where nothing goes by the client.
    pub(crate) const ANY: Self = Self([0; 16]);

    /// The client of this address.
    pub(crate) fn of(address: IpAddr) -> Self {
        Self(octets(address))
    }

    /// How well an endpoint suits it.
    pub(crate) fn score(&self, endpoint: &EndpointKey) -> u64 {
        let mut bytes = [0; 34];
        bytes[..16].copy_from_slice(&self.0);
        bytes[16..].copy_from_slice(&endpoint.0);
        xxh3_64_with_seed(&bytes, PAIR)
    }

    /// A number for it alone.
    pub(crate) fn slot(&self) -> u64 {
        xxh3_64_with_seed(&self.0, SLOT)
    }

    /// The place of its share among these, each a key and a weight; none where no weight is above 0.
    pub(crate) fn share(&self, shares: impl Iterator<Item = (ShareKey, u32)>) -> Option<usize> {
        let weighed = shares.enumerate().filter(|(_, (_, weight))| *weight > 0);
        let mut best: Option<(usize, u64, u32)> = None;
        for (place, (key, weight)) in weighed {
            let mut bytes = [0; 24];
            bytes[..16].copy_from_slice(&self.0);
            bytes[16..].copy_from_slice(&key.0.to_be_bytes());
            let wait = surprise(xxh3_64_with_seed(&bytes, SHARE));
            // wait / weight < best wait / best weight
            let shorter = best.is_none_or(|(_, least, of)| {
                u128::from(wait) * u128::from(of) < u128::from(least) * u128::from(weight)
            });
            if shorter {
                best = Some((place, wait, weight));
            }
        }
        best.map(|(place, ..)| place)
    }
}

/// An endpoint's address as it is hashed: as a client's, then its port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EndpointKey([u8; 18]);

impl EndpointKey {
    /// Of this address.
    pub(crate) fn of(address: SocketAddr) -> Self {
        let mut bytes = [0; 18];
        bytes[..16].copy_from_slice(&octets(address.ip()));
        bytes[16..].copy_from_slice(&address.port().to_be_bytes());
        Self(bytes)
    }

    /// Where it begins in a Maglev table, and how far it steps, before either is cut to the table's size.
    pub(crate) fn walk(&self) -> (u64, u64) {
        (xxh3_64_with_seed(&self.0, OFFSET), xxh3_64_with_seed(&self.0, SKIP))
    }
}

/// A backendRef as it is hashed: by its name, and of those of one name by which it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ShareKey(u64);

impl ShareKey {
    /// Of a name, the `nth` from 0 of its target.
    pub(crate) fn of(backend: &str, nth: u64) -> Self {
        Self(xxh3_64_with_seed(backend.as_bytes(), SHARE.wrapping_add(nth << 8)))
    }
}

fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

/// `-log2` of a hash as a fraction of all hashes, in units of 2⁻³²: exponentially distributed when the hash
/// is uniform.
fn surprise(hash: u64) -> u64 {
    let Some(above) = hash.checked_add(1) else { return 0 };
    let whole = 63 - above.leading_zeros();
    // The mantissa, from 1 (2⁶³) to below 2 (2⁶⁴); each squaring brings out one bit of its logarithm.
    let mut mantissa = above << (63 - whole);
    let mut log = u64::from(whole);
    for _ in 0..FRACTION {
        let square = (u128::from(mantissa) * u128::from(mantissa)) >> 63;
        let carry = u64::from(square >> 64 != 0);
        log = (log << 1) | carry;
        mantissa = u64::try_from(square >> carry).expect("half of what is below 2^65");
    }
    (64 << FRACTION) - log
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_surprise_is_the_logarithm() {
        assert_eq!(surprise(u64::MAX), 0);
        assert_eq!(surprise(0), 64 << FRACTION);
        assert_eq!(surprise((1 << 63) - 1), 1 << FRACTION);
        for hash in [1, 2, 12345, 1 << 40, u64::MAX / 3, u64::MAX - 1, 0x1234_5678_9abc_def0] {
            let exact = 64.0 - (hash as f64 + 1.0).log2();
            let ours = surprise(hash) as f64 / 2_f64.powi(32);
            assert!((exact - ours).abs() < 1e-8, "{hash}: {exact} {ours}");
        }
    }
}

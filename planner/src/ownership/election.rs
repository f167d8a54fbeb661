//! The choice of a new owner: a function of who could be it.

use std::cmp::Reverse;
use std::net::IpAddr;

use xxhash_rust::xxh3::xxh3_64;

use super::Offer;

/// A member that could serve a VIP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate<'a> {
    /// Its name.
    pub name: &'a str,
    /// What it offers.
    pub offer: Offer,
}

/// Who should own a VIP that nobody owns: the highest weight, then most of its listeners bound, then
/// the hash of name and address, which spreads VIPs evenly and moves only those of a member that
/// is lost. Members that are leaving only when there is no other.
pub fn choose<'a>(
    vip: IpAddr,
    candidates: impl IntoIterator<Item = Candidate<'a>>,
) -> Option<Candidate<'a>> {
    candidates.into_iter().max_by_key(|candidate| {
        let Offer { weight, bound, leaving, .. } = candidate.offer;
        (!leaving, weight, bound, score(vip, candidate.name), Reverse(candidate.name))
    })
}

/// Rendezvous hash. All versions of vipgate must agree on it, so it is one with a published,
/// fixed definition.
pub fn score(vip: IpAddr, name: &str) -> u64 {
    let mut bytes = Vec::with_capacity(16 + name.len());
    match vip {
        IpAddr::V4(v4) => bytes.extend_from_slice(&v4.octets()),
        IpAddr::V6(v6) => bytes.extend_from_slice(&v6.octets()),
    }
    bytes.extend_from_slice(name.as_bytes());
    xxh3_64(&bytes)
}

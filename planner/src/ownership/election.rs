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

/// What a choice was made by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grounds {
    /// There is no other candidate.
    Only,
    /// All others are leaving.
    Stays,
    /// The highest weight.
    Weight,
    /// Most listeners bound, among those of the same weight.
    Listeners,
    /// The hash, among those that are alike otherwise.
    Hash,
}

/// Something in which one is ahead, and how far it is in that.
type Step = (Grounds, fn(&Offer) -> u32);

/// What [`choose`] makes its choice by: the first thing in which the chosen one is ahead of all others.
pub fn grounds<'a>(
    vip: IpAddr,
    candidates: impl IntoIterator<Item = Candidate<'a>>,
) -> Option<Grounds> {
    let candidates: Vec<Candidate<'a>> = candidates.into_iter().collect();
    let Candidate { name, offer } = choose(vip, candidates.iter().copied())?;
    let others = candidates.iter().filter(|other| other.name != name);
    let mut left: Vec<Offer> = others.map(|other| other.offer).collect();
    if left.is_empty() {
        return Some(Grounds::Only);
    }
    let steps: [Step; 3] = [
        (Grounds::Stays, |offer| u32::from(!offer.leaving)),
        (Grounds::Weight, |offer| offer.weight),
        (Grounds::Listeners, |offer| offer.bound.into()),
    ];
    for (grounds, of) in steps {
        left.retain(|other| of(other) == of(&offer));
        if left.is_empty() {
            return Some(grounds);
        }
    }
    Some(Grounds::Hash)
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

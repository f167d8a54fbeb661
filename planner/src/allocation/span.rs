//! Sets of addresses as intervals. A `/64` is one interval, so nothing here ever walks addresses.
//!
//! `IpAddr` orders every IPv4 address before every IPv6 address, so one sorted list holds both
//! families; the arithmetic on neighbours stays inside a family.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use vipgate_api::vipgate::AddressRange;

/// IPv4 or IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The family of an address.
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    /// The lowest address of the family.
    pub(super) fn lowest(self) -> IpAddr {
        match self {
            Self::V4 => Ipv4Addr::UNSPECIFIED.into(),
            Self::V6 => Ipv6Addr::UNSPECIFIED.into(),
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// The address after this one, in the same family.
pub(super) fn next(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(v4) => Some(Ipv4Addr::from_bits(v4.to_bits().checked_add(1)?).into()),
        IpAddr::V6(v6) => Some(Ipv6Addr::from_bits(v6.to_bits().checked_add(1)?).into()),
    }
}

/// The address before this one, in the same family.
pub(super) fn previous(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(v4) => Some(Ipv4Addr::from_bits(v4.to_bits().checked_sub(1)?).into()),
        IpAddr::V6(v6) => Some(Ipv6Addr::from_bits(v6.to_bits().checked_sub(1)?).into()),
    }
}

/// A set of addresses: ranges in ascending order, disjoint, and never touching each other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Spans(Vec<AddressRange>);

impl FromIterator<AddressRange> for Spans {
    fn from_iter<I: IntoIterator<Item = AddressRange>>(ranges: I) -> Self {
        let mut sorted: Vec<_> = ranges.into_iter().collect();
        sorted.sort_unstable();
        let mut merged: Vec<AddressRange> = Vec::with_capacity(sorted.len());
        for range in sorted {
            match merged.last_mut() {
                Some(last) if touches(*last, range) => last.last = last.last.max(range.last),
                _ => merged.push(range),
            }
        }
        Self(merged)
    }
}

/// Whether `after`, which does not start before `before`, overlaps it or follows without a gap.
fn touches(before: AddressRange, after: AddressRange) -> bool {
    Family::of(before.first) == Family::of(after.first)
        && (after.first <= before.last || next(before.last) == Some(after.first))
}

impl Spans {
    /// Whether nothing is in the set.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the address is in the set.
    pub(super) fn contains(&self, address: IpAddr) -> bool {
        self.at_or_after(address) == Some(address)
    }

    /// The lowest address of the set that is not below this one, in the same family.
    pub(super) fn at_or_after(&self, address: IpAddr) -> Option<IpAddr> {
        let range = self.0.get(self.0.partition_point(|range| range.last < address))?;
        let found = range.first.max(address);
        (Family::of(found) == Family::of(address)).then_some(found)
    }

    /// How many addresses of a family are in the set; one less than all of IPv6 when all are.
    pub(super) fn len(&self, family: Family) -> u128 {
        let of_family = self.0.iter().filter(|range| Family::of(range.first) == family);
        of_family.fold(0, |sum, range| sum.saturating_add(length(*range)))
    }

    /// How many IPv4 addresses of the set end in `.0` or `.255`.
    pub(super) fn ending_in_0_or_255(&self) -> u128 {
        let of_range = |range: &AddressRange| match (range.first, range.last) {
            (IpAddr::V4(first), IpAddr::V4(last)) => {
                // Up to an address there are as many that end in .0 as whole or begun blocks of 256.
                let (first, last) = (u64::from(first.to_bits()), u64::from(last.to_bits()));
                let zeros = last / 256 + 1 - first.div_ceil(256);
                let ends = (last + 1) / 256 - first / 256;
                u128::from(zeros + ends)
            }
            _ => 0,
        };
        self.0.iter().map(of_range).sum()
    }

    /// What is in this set and not in the other.
    pub(super) fn minus(&self, other: &Self) -> Self {
        let mut left = Vec::with_capacity(self.0.len());
        for range in &self.0 {
            other.cut(*range, &mut left);
        }
        Self(left)
    }

    /// What is in both sets.
    pub(super) fn and(&self, other: &Self) -> Self {
        self.minus(&self.minus(other))
    }

    /// What is in either set.
    pub(super) fn or(&self, other: &Self) -> Self {
        self.0.iter().chain(&other.0).copied().collect()
    }

    /// Appends what this set leaves of a range.
    fn cut(&self, range: AddressRange, left: &mut Vec<AddressRange>) {
        let mut rest = range.first;
        let from = self.0.partition_point(|hole| hole.last < range.first);
        for hole in self.0[from..].iter().take_while(|hole| hole.first <= range.last) {
            if rest < hole.first {
                let last = previous(hole.first).expect("an address below the hole exists");
                left.push(AddressRange { first: rest, last });
            }
            match next(hole.last) {
                Some(after) if after <= range.last => rest = after,
                _ => return,
            }
        }
        left.push(AddressRange { first: rest, last: range.last });
    }
}

fn length(range: AddressRange) -> u128 {
    match (range.first, range.last) {
        (IpAddr::V4(first), IpAddr::V4(last)) => u128::from(last.to_bits() - first.to_bits()) + 1,
        (IpAddr::V6(first), IpAddr::V6(last)) => {
            (last.to_bits() - first.to_bits()).saturating_add(1)
        }
        _ => 0,
    }
}

/// The ranges, as pools write them; more than a few are summed up.
impl fmt::Display for Spans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 4;
        for (index, range) in self.0.iter().take(SHOWN).enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{range}")?;
        }
        match self.0.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

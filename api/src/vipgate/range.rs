//! Ranges of addresses, as pools write them: the one reader of that text.
//!
//! Forms: a CIDR (`192.0.2.0/24`), two addresses (`192.0.2.10-192.0.2.20`, blanks around the dash
//! allowed) or one address (`192.0.2.10`), of either family. A CIDR with host bits set
//! (`192.0.2.5/24`) means the whole network, as it does in MetalLB; validation warns about it.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use ipnet::IpNet;

/// Addresses of one family from `first` to `last`, both included; `first <= last` when parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AddressRange {
    /// The lowest address.
    pub first: IpAddr,
    /// The highest address.
    pub last: IpAddr,
}

/// Why a text is no range of addresses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressRangeError {
    /// Nothing is there.
    #[error(
        "an address range is empty: write a CIDR (192.0.2.0/24), a range \
         (192.0.2.10-192.0.2.20) or one address"
    )]
    Empty,
    /// Not an IP address.
    #[error(
        "{0:?} is not an IP address: write a CIDR (192.0.2.0/24), a range \
         (192.0.2.10-192.0.2.20) or one address"
    )]
    NotAnAddress(String),
    /// A prefix length that the family does not have.
    #[error("{prefix:?} is not a prefix length: write a number from 0 to {max} after the slash")]
    NotAPrefix {
        /// What stands after the slash.
        prefix: String,
        /// The longest prefix of the family.
        max: u8,
    },
    /// Both ends of a range must be of one family.
    #[error("{first} and {last} are of different families: write IPv4 and IPv6 as two ranges")]
    MixedFamilies {
        /// Left of the dash.
        first: IpAddr,
        /// Right of the dash.
        last: IpAddr,
    },
    /// The first address is above the last.
    #[error("{first} is above {last}: write {last}-{first}")]
    Reversed {
        /// Left of the dash.
        first: IpAddr,
        /// Right of the dash.
        last: IpAddr,
    },
    /// An IPv4 address in IPv6 clothes, which no interface can carry.
    #[error("{written} is an IPv4-mapped IPv6 address: write {plain}")]
    Mapped {
        /// As written.
        written: IpAddr,
        /// The IPv4 address that is meant.
        plain: IpAddr,
    },
}

impl AddressRange {
    /// Whether the address lies in the range. No address of one family lies in the other.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.first.is_ipv4() == address.is_ipv4() && self.first <= address && address <= self.last
    }
}

impl FromStr for AddressRange {
    type Err = AddressRangeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if text.is_empty() {
            return Err(AddressRangeError::Empty);
        }
        if let Some((address, prefix)) = text.split_once('/') {
            return network(address, prefix);
        }
        let (first, last) = match text.split_once('-') {
            Some((first, last)) => (parse_address(first.trim())?, parse_address(last.trim())?),
            None => {
                let only = parse_address(text)?;
                (only, only)
            }
        };
        if first.is_ipv4() != last.is_ipv4() {
            return Err(AddressRangeError::MixedFamilies { first, last });
        }
        if first > last {
            return Err(AddressRangeError::Reversed { first, last });
        }
        Ok(Self { first, last })
    }
}

fn parse_address(text: &str) -> Result<IpAddr, AddressRangeError> {
    let address: IpAddr =
        text.parse().map_err(|_| AddressRangeError::NotAnAddress(text.to_owned()))?;
    match address {
        IpAddr::V6(v6) => unmapped(v6).map_or(Ok(address), |plain| {
            Err(AddressRangeError::Mapped { written: address, plain })
        }),
        IpAddr::V4(_) => Ok(address),
    }
}

fn unmapped(address: Ipv6Addr) -> Option<IpAddr> {
    address.to_ipv4_mapped().map(IpAddr::V4)
}

fn network(address: &str, prefix: &str) -> Result<AddressRange, AddressRangeError> {
    let address = parse_address(address.trim())?;
    let max = if address.is_ipv4() { 32 } else { 128 };
    let refused = || AddressRangeError::NotAPrefix { prefix: prefix.trim().to_owned(), max };
    let length: u8 = prefix.trim().parse().map_err(|_| refused())?;
    let net = IpNet::new(address, length).map_err(|_| refused())?;
    Ok(AddressRange { first: net.network(), last: net.broadcast() })
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            return write!(f, "{}", self.first);
        }
        write!(f, "{}-{}", self.first, self.last)
    }
}

#[cfg(test)]
mod tests;

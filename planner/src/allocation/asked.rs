//! What a Gateway asks for: `spec.addresses`, read once.

use std::collections::BTreeSet;
use std::net::IpAddr;

use vipgate_api::gateway::{AddressType, GatewayAddress};

use super::problem::AddressProblem;
use super::span::Family;

/// What a Gateway asks for.
pub(super) enum Asked {
    /// Nothing in particular: one address per family that the chosen pool has.
    PerFamily,
    /// What `spec.addresses` lists: in its order, without duplicates and unusable entries.
    Listed(Vec<Ask>),
}

/// An entry of `spec.addresses`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    /// This address.
    This(IpAddr),
    /// One more address, whichever.
    Any,
}

impl Asked {
    /// Reads `spec.addresses`; entries that nobody could serve become problems.
    pub(super) fn read(entries: &[GatewayAddress], problems: &mut Vec<AddressProblem>) -> Self {
        if entries.is_empty() {
            return Self::PerFamily;
        }
        let mut asks = Vec::with_capacity(entries.len());
        for (index, entry) in entries.iter().enumerate() {
            match read_entry(index, entry) {
                // An address that is listed twice is asked for once.
                Ok(this @ Ask::This(_)) if asks.contains(&this) => {}
                Ok(ask) => asks.push(ask),
                Err(problem) => problems.push(problem),
            }
        }
        Self::Listed(asks)
    }

    /// The entries that could be read.
    pub(super) fn entries(&self) -> &[Ask] {
        match self {
            Self::PerFamily => &[],
            Self::Listed(asks) => asks,
        }
    }

    /// The addresses that are asked for by value, in order.
    pub(super) fn requests(&self) -> impl Iterator<Item = IpAddr> {
        self.entries().iter().filter_map(|ask| match ask {
            Ask::This(address) => Some(*address),
            Ask::Any => None,
        })
    }

    /// How many entries leave the choice to us.
    pub(super) fn any(&self) -> usize {
        self.entries().iter().filter(|ask| **ask == Ask::Any).count()
    }

    /// Families of the addresses that are asked for by value, whether they can be had or not.
    pub(super) fn families(&self) -> BTreeSet<Family> {
        self.requests().map(Family::of).collect()
    }
}

fn read_entry(index: usize, entry: &GatewayAddress) -> Result<Ask, AddressProblem> {
    if entry.kind != AddressType::IpAddress {
        let kind = entry.kind.clone().into();
        return Err(AddressProblem::UnsupportedType { index, kind });
    }
    match entry.value.as_deref().unwrap_or_default() {
        "" => Ok(Ask::Any),
        value => value
            .parse()
            .map(Ask::This)
            .map_err(|_| AddressProblem::Malformed { index, value: value.to_owned() }),
    }
}

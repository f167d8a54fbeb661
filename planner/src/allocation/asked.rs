//! What somebody asks for, read once: `spec.addresses` of a Gateway, families and names of a Service.

use std::collections::BTreeSet;
use std::net::IpAddr;

use vipgate_api::gateway::{AddressType, GatewayAddress};

use super::problem::AddressProblem;
use super::span::Family;
use super::want::{Asks, ServiceAsks};

/// What somebody asks for.
pub(super) enum Asked {
    /// A Gateway: nothing in particular, so one address per family that the chosen pool has.
    PerFamily,
    /// A Gateway: what `spec.addresses` lists, in its order, without duplicates and unusable entries.
    Listed(Vec<Ask>),
    /// A Service: one address per family, unless it names some of that family.
    Families(Families),
}

/// An entry of `spec.addresses`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    /// This address.
    This(IpAddr),
    /// One more address, whichever.
    Any,
}

/// What a Service asks for.
pub(super) struct Families {
    /// Its families, the primary one first.
    pub(super) families: Vec<Family>,
    /// All of them or none.
    pub(super) all: bool,
    /// Addresses that it names, without duplicates.
    asks: Vec<Ask>,
    /// Whether it names some that cannot be read or used.
    pub(super) unusable: bool,
}

impl Asked {
    /// Reads what is asked for; entries that nobody could serve become problems.
    pub(super) fn read(asks: &Asks, problems: &mut Vec<AddressProblem>) -> Self {
        match asks {
            Asks::Entries(entries) if entries.is_empty() => Self::PerFamily,
            Asks::Entries(entries) => {
                let read = entries.iter().enumerate().map(|(index, e)| read_entry(index, e));
                Self::Listed(distinct(read, problems))
            }
            Asks::Service(asks) => {
                let before = problems.len();
                let read = asks.named.iter().map(|text| read_name(text, asks));
                let named = distinct(read, problems);
                Self::Families(Families {
                    families: asks.families.clone(),
                    all: asks.all,
                    asks: named,
                    unusable: problems.len() > before,
                })
            }
        }
    }

    /// The entries that could be read.
    fn entries(&self) -> &[Ask] {
        match self {
            Self::PerFamily => &[],
            Self::Listed(asks) => asks,
            Self::Families(families) => &families.asks,
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

/// An address that is asked for twice is asked for once.
fn distinct(
    read: impl Iterator<Item = Result<Ask, AddressProblem>>,
    problems: &mut Vec<AddressProblem>,
) -> Vec<Ask> {
    let mut asks = Vec::new();
    for ask in read {
        match ask {
            Ok(this @ Ask::This(_)) if asks.contains(&this) => {}
            Ok(ask) => asks.push(ask),
            Err(problem) => problems.push(problem),
        }
    }
    asks
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

fn read_name(text: &str, asks: &ServiceAsks) -> Result<Ask, AddressProblem> {
    let field = || asks.named_by.clone();
    let Ok(address) = text.parse::<IpAddr>() else {
        return Err(AddressProblem::MalformedName { field: field(), value: text.to_owned() });
    };
    let family = Family::of(address);
    match asks.families.contains(&family) {
        true => Ok(Ask::This(address)),
        false => Err(AddressProblem::OtherFamily { field: field(), address, family }),
    }
}

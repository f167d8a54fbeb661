//! What stands in the way of an address, with the reason for programs and the text for people.

use std::net::IpAddr;

use vipgate_api::{ObjectRef, Reason};

use super::sharing::Unshared;
use super::span::Family;
use crate::node::MacAddr;

/// Why somebody has not got an address, or cannot use the one it has. The text is the message of
/// the condition: it names what is wrong and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressProblem {
    /// An entry of a type that is not served.
    #[error(
        "spec.addresses[{index}]: type {kind} is not served: write type IPAddress, with an address \
         of a pool or without a value"
    )]
    UnsupportedType {
        /// Place in `spec.addresses`.
        index: usize,
        /// The type.
        kind: String,
    },
    /// An entry that is no IP address.
    #[error(
        "spec.addresses[{index}]: {value:?} is not an IP address: write one such as 192.0.2.10, or \
         leave value out to have one chosen"
    )]
    Malformed {
        /// Place in `spec.addresses`.
        index: usize,
        /// What stands there.
        value: String,
    },
    /// A name of a Service that is no IP address.
    #[error("{field}: {value:?} is not an IP address: write one such as 192.0.2.10, or remove it")]
    MalformedName {
        /// The field or annotation.
        field: String,
        /// What stands there.
        value: String,
    },
    /// A requested address of a family that the Service does not have.
    #[error(
        "{field}: {address} is an {family} address, but the Service has no {family}: request one of \
         its families (spec.ipFamilies), or change spec.ipFamilyPolicy"
    )]
    OtherFamily {
        /// The field or annotation.
        field: String,
        /// The address.
        address: IpAddr,
        /// Its family.
        family: Family,
    },
    /// A requested address that no pool has.
    #[error(
        "{address} is in no IPAddressPool: request one that is, or add it to spec.addresses of a \
         pool{}",
        listed(" (there is: ", pools, ")")
    )]
    NotInPool {
        /// The address.
        address: IpAddr,
        /// Names of the pools there are.
        pools: Vec<String>,
    },
    /// A pool that it may not have addresses of.
    #[error("{}pool {pool} may not be used: {why}", prefixed(address))]
    PoolNotAllowed {
        /// The requested address; absent when the pool was asked for by its name.
        address: Option<IpAddr>,
        /// Name of the pool.
        pool: String,
        /// What forbids it, and what to change.
        why: String,
    },
    /// A requested address that is never given out.
    #[error("{address} is never given out: {why}; request another address")]
    Reserved {
        /// The address.
        address: IpAddr,
        /// What keeps it back.
        why: String,
    },
    /// A requested address that somebody else has.
    #[error("{address} belongs to {by}: request another address, or {why}")]
    InUse {
        /// The address.
        address: IpAddr,
        /// Who has it.
        by: ObjectRef,
        /// Why they do not share it.
        why: Unshared,
    },
    /// Somebody outside the group answers for the address.
    #[error(
        "{address} is in use by a host with MAC {mac}: take the address from that host, or put it \
         into spec.exclusions of its pool and request another"
    )]
    Foreign {
        /// The address.
        address: IpAddr,
        /// The MAC that answers for it.
        mac: MacAddr,
    },
    /// Every address is taken.
    #[error(
        "no {}address is free in {}{}: add a range to a pool, or delete a Gateway or \
         Service that is not needed", family.map(|family| format!("{family} ")).unwrap_or_default(),
        named_pools(pools), taken_by_others(*foreign)
    )]
    Exhausted {
        /// The pools that were tried, in that order.
        pools: Vec<String>,
        /// The family that was looked for; absent when any would have done.
        family: Option<Family>,
        /// How many addresses of these pools hosts outside the group answer for.
        foreign: usize,
    },
    /// No pool gives out addresses unasked.
    #[error(
        "there is no IPAddressPool to choose from: create one, or name one with autoAssign: false \
         in the annotation {}",
        super::POOL_ANNOTATION
    )]
    NoPool,
    /// The annotation names a pool that does not exist.
    #[error(
        "annotation {annotation}: there is no usable IPAddressPool {name:?}{}",
        listed(": write one of ", pools, "")
    )]
    UnknownPool {
        /// The annotation.
        annotation: String,
        /// The name.
        name: String,
        /// Names of the pools there are.
        pools: Vec<String>,
    },
    /// The usable pools have no address of a family that is needed.
    #[error("{} no {family} addresses: add a range to one of them", has(pools))]
    NoneOfFamily {
        /// The pools.
        pools: Vec<String>,
        /// The family.
        family: Family,
    },
}

impl AddressProblem {
    /// `reason` of the condition of a Gateway. [`Reason::UnsupportedAddress`] is one of `Accepted`, the others
    /// are of `Programmed`.
    pub fn reason(&self) -> Reason {
        match self {
            Self::UnsupportedType { .. } => Reason::UnsupportedAddress,
            Self::Malformed { .. }
            | Self::MalformedName { .. }
            | Self::OtherFamily { .. }
            | Self::NotInPool { .. }
            | Self::PoolNotAllowed { address: Some(_), .. }
            | Self::Reserved { .. }
            | Self::InUse { .. }
            | Self::Foreign { .. } => Reason::AddressNotUsable,
            Self::PoolNotAllowed { address: None, .. }
            | Self::Exhausted { .. }
            | Self::NoPool { .. }
            | Self::UnknownPool { .. }
            | Self::NoneOfFamily { .. } => Reason::AddressNotAssigned,
        }
    }

    /// `reason` of the condition of a Service.
    pub fn service_reason(&self) -> Reason {
        match self {
            Self::UnsupportedType { .. } | Self::Malformed { .. } | Self::MalformedName { .. } => {
                Reason::InvalidAddress
            }
            Self::OtherFamily { .. } => Reason::FamilyMismatch,
            Self::NotInPool { .. } => Reason::AddressNotInPool,
            Self::PoolNotAllowed { .. } => Reason::PoolNotAllowed,
            Self::Reserved { .. } => Reason::AddressReserved,
            Self::InUse { .. } => Reason::AddressInUse,
            Self::Foreign { .. } => Reason::AddressConflict,
            Self::Exhausted { .. } => Reason::PoolExhausted,
            Self::NoPool => Reason::NoPool,
            Self::UnknownPool { .. } => Reason::PoolNotFound,
            Self::NoneOfFamily { .. } => Reason::NoAddressOfFamily,
        }
    }
}

/// An address that somebody keeps because it is published, although it would not be given to it
/// today. Nothing is wrong with the data path; somebody may want to know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{user} keeps {address}, which is in use, although {why}")]
pub struct Note {
    /// The address.
    pub address: IpAddr,
    /// Who has it.
    pub user: ObjectRef,
    /// Why it would not be given out today.
    pub why: Outside,
}

/// Why a published address would not be given to its user today.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Outside {
    /// Its pool shrank or vanished.
    #[error("no pool has it any more")]
    NoPool,
    /// It is one of those that are never given out.
    #[error("{0}")]
    Reserved(String),
    /// Its pool no longer takes this user.
    #[error("pool {pool} may not be used by it any more: {why}")]
    NotAllowed {
        /// Name of the pool.
        pool: String,
        /// What forbids it.
        why: String,
    },
}

fn listed(before: &str, names: &[String], after: &str) -> String {
    match names.is_empty() {
        true => String::new(),
        false => format!("{before}{}{after}", names.join(", ")),
    }
}

fn prefixed(address: &Option<IpAddr>) -> String {
    address.map(|address| format!("{address}: ")).unwrap_or_default()
}

fn named_pools(pools: &[String]) -> String {
    let noun = if pools.len() == 1 { "pool" } else { "pools" };
    format!("{noun} {}", pools.join(", "))
}

fn has(pools: &[String]) -> String {
    let verb = if pools.len() == 1 { "has" } else { "have" };
    format!("{} {verb}", named_pools(pools))
}

fn taken_by_others(foreign: usize) -> String {
    match foreign {
        0 => String::new(),
        1 => " (1 is answered for by a host outside the group)".to_owned(),
        many => format!(" ({many} are answered for by hosts outside the group)"),
    }
}

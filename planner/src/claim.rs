//! Claims: which address belongs to whom. The only memory that allocation has.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use vipgate_api::ObjectKey;
pub use vipgate_api::vipgate::Origin;

use crate::node::MacAddr;

/// All claims, one per address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Claims(pub BTreeMap<IpAddr, Claim>);

/// One address, given to one Gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Claim {
    /// Name of the pool that the address came from.
    pub pool: String,
    /// The Gateway that has it.
    pub gateway: ObjectKey,
    /// Whether somebody asked for this very address.
    pub origin: Origin,
    /// Whether it was probed (RFC 5227) and found free, and so may have been published. A published
    /// address is never changed; before that, a chosen one that somebody else uses is replaced.
    #[serde(default)]
    pub published: bool,
}

/// Addresses that somebody outside the group answers for, with that somebody's MAC.
pub type Foreign = BTreeMap<IpAddr, MacAddr>;

//! Claims: which address belongs to whom. The only memory that allocation has.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
pub use vipgate_api::vipgate::{Origin, VipUser};
use vipgate_api::{Kind, ObjectKey, ObjectRef};

use crate::node::MacAddr;

/// All claims, one per address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Claims(pub BTreeMap<IpAddr, Claim>);

impl Claims {
    /// The Gateways whose ports are all that is different now; `None`: there is more.
    pub(crate) fn other_ports(&self, now: &Self) -> Option<BTreeSet<ObjectKey>> {
        if self.0.len() != now.0.len() {
            return None;
        }
        let mut gateways = BTreeSet::new();
        for ((address, old), (at, new)) in std::iter::zip(&self.0, &now.0) {
            let alike = address == at
                && (&old.pool, old.origin, old.published) == (&new.pool, new.origin, new.published)
                && old.users.len() == new.users.len();
            if !alike {
                return None;
            }
            for (old, new) in std::iter::zip(&old.users, &new.users) {
                if (&old.object, &old.terms) != (&new.object, &new.terms) {
                    return None;
                }
                if old.ports != new.ports && new.object.kind == Kind::Gateway {
                    gateways.insert(new.object.key.clone());
                }
            }
        }
        Some(gateways)
    }
}

/// One address, and who has it: the `spec` of a VirtualIP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Claim {
    /// Name of the pool that the address came from.
    pub pool: String,
    /// Gateways and Services that have it, each with its ports; sorted, never empty.
    pub users: Vec<VipUser>,
    /// Whether somebody asked for this very address.
    pub origin: Origin,
    /// Whether it was probed (RFC 5227) and found free, and so may have been published. A published
    /// address is never changed; before that, a chosen one that somebody else uses is replaced.
    #[serde(default)]
    pub published: bool,
}

impl Claim {
    /// Whether the address is this object's.
    pub fn names(&self, object: &ObjectRef) -> bool {
        self.users.iter().any(|user| user.object == *object)
    }
}

/// Addresses that somebody outside the group answers for, with that somebody's MAC.
pub type Foreign = BTreeMap<IpAddr, MacAddr>;

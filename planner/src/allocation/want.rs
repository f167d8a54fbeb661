//! What an object wants of allocation.

use std::net::IpAddr;

use vipgate_api::gateway::GatewayAddress;
use vipgate_api::selector::Labels;
use vipgate_api::vipgate::PortUse;
use vipgate_api::{Age, ObjectRef};

use super::sharing::{MOST_PORTS, Sharing};
use super::span::Family;
use crate::claim::VipUser;

/// Annotation that names the pool, or several (comma separated), to choose from.
pub const POOL_ANNOTATION: &str = "vipgate.dev/address-pool";

/// One Gateway or Service that needs addresses: of our class, and accepted so far.
#[derive(Clone, Debug, PartialEq)]
pub struct Want {
    /// The object; one `Want` for each.
    pub user: ObjectRef,
    /// Ports that it serves on each of its addresses; sorted.
    pub ports: Vec<PortUse>,
    /// The oldest goes first where two new ones ask for the same.
    pub age: Age,
    /// Its labels, for `gatewaySelectors` and `serviceSelectors`.
    pub labels: Labels,
    /// Pools that its annotation names; none means any with `autoAssign`.
    pub pool: Option<PoolChoice>,
    /// The addresses that it wants.
    pub asks: Asks,
    /// Whom it shares addresses with; nobody when absent.
    pub sharing: Option<Sharing>,
    /// Addresses in its status. One without a claim is taken over, so that another program's work
    /// goes on: clients know it.
    pub adopt: Vec<IpAddr>,
}

impl Want {
    /// The object as a user of its claims.
    pub(super) fn as_user(&self) -> VipUser {
        let ports = self.ports.iter().take(MOST_PORTS).copied().collect();
        let terms = self.sharing.as_ref().map(Sharing::terms);
        VipUser { object: self.user.clone(), ports, terms }
    }
}

/// Pools that an annotation names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolChoice {
    /// The annotation: [`POOL_ANNOTATION`], or MetalLB's.
    pub annotation: String,
    /// Its value: names, comma separated.
    pub names: String,
}

/// The addresses that somebody wants.
#[derive(Clone, Debug, PartialEq)]
pub enum Asks {
    /// `spec.addresses` of a Gateway: an `IPAddress` with a value is requested, one without asks for
    /// one more of our choice. When there is no entry at all, one address per family of the pool is
    /// chosen.
    Entries(Vec<GatewayAddress>),
    /// What a Service wants.
    Service(ServiceAsks),
}

/// The addresses that a Service wants: one of each of its families, unless it names some.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceAsks {
    /// `spec.ipFamilies`, the primary one first.
    pub families: Vec<Family>,
    /// Whether it takes all of its families or none (`RequireDualStack`).
    pub all: bool,
    /// Addresses that it names, as they are written.
    pub named: Vec<String>,
    /// The field or annotation that names them, for people.
    pub named_by: String,
}

impl Want {
    /// Names in the annotation; none means any pool with `autoAssign`.
    pub(super) fn pool_names(&self) -> Vec<&str> {
        let names = self.pool.as_ref().map(|pool| pool.names.as_str()).unwrap_or_default();
        names.split(',').map(str::trim).filter(|name| !name.is_empty()).collect()
    }

    /// The annotation that names pools, as it is or could be written.
    pub(super) fn pool_annotation(&self) -> &str {
        self.pool.as_ref().map_or(POOL_ANNOTATION, |pool| pool.annotation.as_str())
    }
}

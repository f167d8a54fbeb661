//! How far a VIP has come on this node.

use vipgate_api::Reason;

use crate::node::VipState;
use crate::plan::{Announce, Vip};
use crate::refusal::Refusal;

/// What can be said of a VIP.
pub(super) enum Standing {
    /// On the host and announced; the text says by whom and where.
    Serving(String),
    /// On its way; the text says what it waits for.
    Waiting(String),
    /// Not reachable through this node.
    Down(Refusal),
}

impl Standing {
    /// Plan and report together. What the plan rules out needs no report.
    pub(super) fn of(vip: &Vip, state: Option<&VipState>, node: &str) -> Self {
        let address = vip.address;
        if let Announce::Nowhere(why) = &vip.announce {
            let message = format!("{address} cannot be announced: {why}");
            return Self::Down(Refusal::new(Reason::NoResources, message));
        }
        match state {
            None if vip.probe => Self::Waiting(format!("{address} is about to be probed")),
            None => Self::Waiting(format!("node {node} is about to take {address}")),
            Some(VipState::Probing) => {
                Self::Waiting(format!("asking the network whether {address} is free"))
            }
            Some(VipState::Conflict(mac)) => Self::Down(Refusal::new(
                Reason::AddressNotUsable,
                format!(
                    "{address} is in use by a host with MAC {mac}: take the address from that \
                     host, or put it into spec.exclusions of its pool"
                ),
            )),
            Some(VipState::Failed(why)) => {
                let message = format!("node {node} cannot serve {address}: {why}");
                Self::Down(Refusal::new(Reason::NoResources, message))
            }
            Some(VipState::Serving(_)) if vip.announce == Announce::Loopback => {
                Self::Serving(format!("{address} is served by node {node} on its loopback"))
            }
            Some(VipState::Serving(links)) => {
                let links = links.join(", ");
                Self::Serving(format!("{address} is announced by node {node} on {links}"))
            }
        }
    }

    /// Why it does not serve, if it does not.
    pub(super) fn obstacle(&self) -> Option<&str> {
        match self {
            Self::Serving(_) => None,
            Self::Waiting(what) => Some(what),
            Self::Down(refusal) => Some(&refusal.message),
        }
    }
}

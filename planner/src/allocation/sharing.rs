//! Who may have an address in common: those who say so, when nothing makes them collide.
//!
//! The rule is MetalLB's: the same key, no port in common, and, where a Service takes traffic only on
//! the nodes of its own endpoints, the same endpoints. The key may be written in any namespace.

use std::fmt;

use vipgate_api::vipgate::{PortUse, VipUser};
use vipgate_api::{ObjectRef, selector::Labels};

use super::want::Want;

/// Annotation with the key of those who share.
pub const SHARE_ANNOTATION: &str = "vipgate.dev/allow-shared-ip";

/// How somebody shares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sharing {
    /// Value of the annotation; never empty.
    pub key: String,
    /// Where the traffic of a Service may go; `None` for a Gateway.
    pub traffic: Option<Traffic>,
}

/// Where the traffic of a Service may arrive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traffic {
    /// `externalTrafficPolicy: Local`: only on nodes that have an endpoint.
    pub local: bool,
    /// `spec.selector`.
    pub selector: Labels,
}

/// Why two cannot have an address in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unshared {
    /// One of them does not say that it shares, or with others.
    Key,
    /// Both serve this port.
    Port(PortUse),
    /// Only nodes with endpoints take traffic, and the endpoints differ.
    Traffic,
}

impl fmt::Display for Unshared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key => write!(
                f,
                "let both share it by the annotation {SHARE_ANNOTATION} with one value (and no \
                 port in common)"
            ),
            Self::Port(PortUse { protocol, port }) => {
                write!(f, "change one of the ports: both serve {port}/{}", protocol.name())
            }
            Self::Traffic => f.write_str(
                "give both Services externalTrafficPolicy Cluster, or the same selector: else \
                 no node serves both",
            ),
        }
    }
}

/// What keeps two from sharing, both known.
fn obstacle(one: &Want, other: &Want) -> Option<Unshared> {
    let (Some(a), Some(b)) = (&one.sharing, &other.sharing) else { return Some(Unshared::Key) };
    if a.key != b.key {
        return Some(Unshared::Key);
    }
    if let Some(port) = common(&one.ports, &other.ports) {
        return Some(Unshared::Port(port));
    }
    match (&a.traffic, &b.traffic) {
        (Some(a), Some(b)) if (a.local || b.local) && a.selector != b.selector => {
            Some(Unshared::Traffic)
        }
        _ => None,
    }
}

/// What keeps somebody from an address that others have. Of those nothing is known but the claim
/// when `find` does not know them; they share with those who have the address already.
pub(super) fn excluded<'a>(
    want: &Want,
    users: &[VipUser],
    was_there: bool,
    find: impl Fn(&ObjectRef) -> Option<&'a Want>,
) -> Option<(ObjectRef, Unshared)> {
    let others = users.iter().filter(|user| user.object != want.user);
    others
        .filter_map(|user| {
            let why = match find(&user.object) {
                Some(other) => obstacle(want, other)?,
                None => match common(&want.ports, &user.ports) {
                    Some(port) => Unshared::Port(port),
                    None if was_there => return None,
                    None => Unshared::Key,
                },
            };
            Some((user.object.clone(), why))
        })
        .next()
}

/// The first port that both serve.
fn common(one: &[PortUse], other: &[PortUse]) -> Option<PortUse> {
    one.iter().find(|port| other.contains(port)).copied()
}

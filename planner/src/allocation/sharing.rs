//! Who may have an address in common: those who say so, when nothing makes them collide.
//!
//! The rule is MetalLB's: the same key, no port in common, and, for two Services, the same
//! `externalTrafficPolicy`; if that is `Local` (only nodes with endpoints take traffic), the same
//! selector too. The key may be written in any namespace.
//!
//! Who leaves when that ends? The one that was changed: a claim remembers the ports and the [terms] of
//! each user. So nobody can drive others from their address by changing something of their own.
//!
//! [terms]: Sharing::terms

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

/// The most users that one address has. Its claim is one object, and has to stay small enough to be
/// written: one that cannot be written keeps the controller from writing anything else.
pub(super) const MOST_USERS: usize = 64;

/// The most ports with which somebody shares. A Service that has more has an address alone; its claim
/// holds the first ones. A Gateway serves no more than these: its listeners need their claim.
pub(crate) const MOST_PORTS: usize = 256;

impl Sharing {
    /// Digest of the terms on which somebody shares: short, however long the key is. It tells whether
    /// they have changed, and nothing else.
    pub(super) fn terms(&self) -> String {
        // FNV-1a, 64 bits: the same in every release, which the hasher of std does not promise.
        let mut digest: u64 = 0xcbf2_9ce4_8422_2325;
        let mut add = |text: &str| {
            for byte in text.bytes().chain([0]) {
                digest = (digest ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
            }
        };
        add(&self.key);
        if let Some(traffic) = self.traffic.as_ref().filter(|traffic| traffic.local) {
            add("Local");
            for (name, value) in &traffic.selector {
                add(name);
                add(value);
            }
        }
        format!("{digest:016x}")
    }
}

/// Why two cannot have an address in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unshared {
    /// One of them does not say that it shares, or with others.
    Key,
    /// Both serve this port.
    Port(PortUse),
    /// One serves more ports than a claim can hold.
    Ports,
    /// Only nodes with endpoints take the traffic of one of them, and that is not so for the other, or
    /// the endpoints differ.
    Traffic,
    /// As many have it as can.
    Full,
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
                "give both Services externalTrafficPolicy Cluster, or Local and the same selector: \
                 else there may be no node that serves both",
            ),
            Self::Ports => write!(
                f,
                "reduce the ports of whichever serves more than {MOST_PORTS}: with so many nobody \
                 shares"
            ),
            Self::Full => write!(f, "end one of the {MOST_USERS} that share it: more cannot"),
        }
    }
}

/// What keeps two from sharing, both known.
fn obstacle(one: &Want, other: &Want) -> Option<Unshared> {
    let (Some(a), Some(b)) = (&one.sharing, &other.sharing) else { return Some(Unshared::Key) };
    if a.key != b.key {
        return Some(Unshared::Key);
    }
    if one.ports.len().max(other.ports.len()) > MOST_PORTS {
        return Some(Unshared::Ports);
    }
    if let Some(port) = common(&one.ports, &other.ports) {
        return Some(Unshared::Port(port));
    }
    match (&a.traffic, &b.traffic) {
        (Some(a), Some(b)) if a.local != b.local => Some(Unshared::Traffic),
        (Some(a), Some(b)) if a.local && a.selector != b.selector => Some(Unshared::Traffic),
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
    let mut others = users.iter().filter(|user| user.object != want.user);
    if users.len() >= MOST_USERS && others.clone().count() >= MOST_USERS {
        return others.next().map(|user| (user.object.clone(), Unshared::Full));
    }
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

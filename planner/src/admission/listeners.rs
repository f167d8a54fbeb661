//! The listeners of one Gateway: which are served, what they take, and which exclude each other.

use vipgate_api::Reason;
use vipgate_api::gateway::{self, RouteGroupKind, RouteNamespaces};

use super::protocol::{self, Protocol};
use crate::refusal::Refusal;

/// A listener, judged.
#[derive(Clone, Debug, PartialEq)]
pub struct AdmittedListener {
    /// Its name; what `sectionName` refers to.
    pub name: String,
    /// Its port.
    pub port: u16,
    /// Its protocol, as written.
    pub protocol: String,
    /// From which namespaces routes may attach.
    pub namespaces: RouteNamespaces,
    /// Kinds of routes that may attach: those the protocol takes, narrowed by
    /// `allowedRoutes.kinds`.
    pub supported_kinds: Vec<RouteGroupKind>,
    /// Why it is not served, if it is not (Accepted=False).
    pub refused: Option<Refusal>,
    /// Kinds in `allowedRoutes.kinds` that the protocol does not take (ResolvedRefs=False).
    pub invalid_kinds: Option<Refusal>,
}

impl AdmittedListener {
    /// Whether another listener of the Gateway is in its way.
    pub fn is_conflicted(&self) -> bool {
        self.refused.as_ref().is_some_and(|refusal| {
            matches!(refusal.reason, Reason::ProtocolConflict | Reason::HostnameConflict)
        })
    }
}

/// Judges the listeners of a Gateway, in the order of its spec.
pub(super) fn admit(listeners: &[gateway::Listener]) -> Vec<AdmittedListener> {
    listeners.iter().enumerate().map(|(index, _)| admit_one(listeners, index)).collect()
}

fn admit_one(listeners: &[gateway::Listener], index: usize) -> AdmittedListener {
    let listener = &listeners[index];
    let known = Protocol::named(&listener.protocol);
    let served = known.filter(|protocol| protocol.is_served());
    let refused = same_name(listeners, index)
        .or_else(|| conflict(listeners, index, known?))
        .or_else(|| served.is_none().then(|| unsupported(&listener.protocol)));
    let (supported_kinds, invalid_kinds) = match served {
        Some(protocol) => narrow(protocol, &listener.allowed_routes.kinds),
        None => (Vec::new(), None),
    };
    AdmittedListener {
        name: listener.name.clone(),
        port: listener.port,
        protocol: listener.protocol.clone(),
        namespaces: listener.allowed_routes.namespaces.clone(),
        supported_kinds,
        refused,
        invalid_kinds,
    }
}

fn unsupported(protocol: &str) -> Refusal {
    let served = protocol::served();
    let message = format!("protocol {protocol} is not served: write protocol: {served}");
    Refusal::new(Reason::UnsupportedProtocol, message)
}

/// Names are unique in a valid Gateway. Where they are not, the first of a name has it.
fn same_name(listeners: &[gateway::Listener], index: usize) -> Option<Refusal> {
    let name = &listeners[index].name;
    listeners[..index].iter().any(|before| before.name == *name).then(|| {
        let message = format!("the name {name:?} is taken by a listener above: write another name");
        Refusal::new(Reason::UnsupportedValue, message)
    })
}

/// All listeners that exclude each other are refused: there is no winner among equals.
fn conflict(listeners: &[gateway::Listener], index: usize, protocol: &Protocol) -> Option<Refusal> {
    let listener = &listeners[index];
    let others: Vec<String> = listeners
        .iter()
        .enumerate()
        .filter(|(other, l)| *other != index && l.port == listener.port)
        .filter(|(_, l)| Protocol::named(&l.protocol).is_some_and(|p| protocol.excludes(p)))
        .map(|(_, l)| format!("{:?} ({})", l.name, l.protocol))
        .collect();
    if others.is_empty() {
        return None;
    }
    let (port, others) = (listener.port, others.join(", "));
    let message = format!(
        "{} shares port {port} with {others}, and nothing in a connection tells them apart: \
         give each a port of its own",
        protocol.name
    );
    Some(Refusal::new(Reason::ProtocolConflict, message))
}

/// What remains of the protocol's kinds when `allowedRoutes.kinds` is given, and what of the latter
/// is not among them.
fn narrow(protocol: &Protocol, asked: &[RouteGroupKind]) -> (Vec<RouteGroupKind>, Option<Refusal>) {
    let taken = protocol.supported_kinds();
    if asked.is_empty() {
        return (taken, None);
    }
    let wrong: Vec<String> =
        asked.iter().filter(|kind| !taken.contains(kind)).map(describe).collect();
    let invalid = (!wrong.is_empty()).then(|| {
        let (wrong, name) = (wrong.join(", "), protocol.name);
        let right = taken.iter().map(describe).collect::<Vec<_>>().join(", ");
        let message = format!(
            "allowedRoutes.kinds: a listener of protocol {name} does not take {wrong}: write {right}"
        );
        Refusal::new(Reason::InvalidRouteKinds, message)
    });
    (taken.into_iter().filter(|kind| asked.contains(kind)).collect(), invalid)
}

fn describe(kind: &RouteGroupKind) -> String {
    match kind.group.as_str() {
        vipgate_api::GATEWAY_GROUP => kind.kind.clone(),
        "" => format!("{} of the core group", kind.kind),
        group => format!("{} of group {group}", kind.kind),
    }
}

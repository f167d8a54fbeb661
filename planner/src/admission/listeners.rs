//! The listeners of one Gateway: which are served, what they take, and which exclude each other.

use std::sync::Arc;

use vipgate_api::gateway::{self, CertificateRef, RouteGroupKind, RouteNamespaces, TlsMode};
use vipgate_api::vipgate::PortUse;
use vipgate_api::{ObjectKey, Reason};

use super::clients::{self, ClientCheck};
use super::protocol::{self, Protocol};
use crate::refusal::Refusal;

/// A listener, judged.
#[derive(Clone, Debug, PartialEq)]
pub struct AdmittedListener {
    /// The ListenerSet that it comes from; `None` for the Gateway's own.
    pub set: Option<ObjectKey>,
    /// Its name; what `sectionName` refers to.
    pub name: String,
    /// Names that it takes, where its protocol has names: exact, or `*.` and a suffix.
    pub hostname: Option<String>,
    /// Where TLS ends, if its clients speak TLS.
    pub tls: Option<TlsMode>,
    /// Its certificates, as it refers to them.
    pub certificate_refs: Vec<CertificateRef>,
    /// What is asked of the certificates of its clients, if anything.
    pub clients: Option<ClientCheck>,
    /// Its port.
    pub port: u16,
    /// Its protocol, as written.
    pub protocol: String,
    /// From which namespaces routes may attach.
    pub namespaces: RouteNamespaces,
    /// Kinds of routes that may attach: those the protocol takes, narrowed by
    /// `allowedRoutes.kinds`.
    pub supported_kinds: Arc<[RouteGroupKind]>,
    /// Why it is not served, if it is not (Accepted=False).
    pub refused: Option<Refusal>,
    /// Kinds in `allowedRoutes.kinds` that the protocol does not take (ResolvedRefs=False).
    pub invalid_kinds: Option<Refusal>,
}

impl AdmittedListener {
    /// Its port as a claim has it; nothing where its protocol is none that the Gateway API defines.
    pub(super) fn port_use(&self) -> Option<PortUse> {
        let protocol = Protocol::named(&self.protocol)?.transport;
        Some(PortUse { protocol, port: self.port })
    }

    /// Whether another listener of the Gateway is in its way.
    pub fn is_conflicted(&self) -> bool {
        self.refused.as_ref().is_some_and(|refusal| {
            matches!(refusal.reason, Reason::ProtocolConflict | Reason::HostnameConflict)
        })
    }
}

/// Judges the listeners of a Gateway or ListenerSet, in the order of its spec. `before` are those
/// that go before all of them: what is in the way of one of these is refused, and they are not.
/// What is refused so is in nobody's way any more.
pub(super) fn admit(
    gateway: (&ObjectKey, &gateway::GatewaySpec),
    set: Option<&ObjectKey>,
    listeners: &[gateway::Listener],
    before: &[AdmittedListener],
) -> Vec<AdmittedListener> {
    let beaten = |index: usize| {
        let listener = &listeners[index];
        let protocol = Protocol::named(&listener.protocol);
        same_name(listeners, index).or_else(|| taken(listener, before, protocol?))
    };
    let beaten: Vec<_> = (0..listeners.len()).map(beaten).collect();
    let rivals: Vec<_> = std::iter::zip(listeners, &beaten)
        .filter_map(|(listener, beaten)| beaten.is_none().then_some(listener))
        .collect();
    std::iter::zip(listeners, beaten)
        .map(|(listener, beaten)| {
            let refused = beaten.or_else(|| objection(listener, &rivals));
            let clients = clients::check(gateway, set, listener);
            AdmittedListener { clients, ..admitted(set, listener, refused) }
        })
        .collect()
}

/// Why a listener is not served that nothing before it stands in the way of. `rivals` are those of
/// its object of which the same is true.
fn objection(listener: &gateway::Listener, rivals: &[&gateway::Listener]) -> Option<Refusal> {
    let known = Protocol::named(&listener.protocol);
    let is_served = known.is_some_and(Protocol::is_served);
    known
        .and_then(|protocol| conflict(listener, rivals, protocol))
        .or_else(|| same_hostname(listener, rivals, known?))
        .or_else(|| (!is_served).then(|| unsupported(&listener.protocol)))
        .or_else(|| passthrough(listener))
}

fn admitted(
    set: Option<&ObjectKey>,
    listener: &gateway::Listener,
    refused: Option<Refusal>,
) -> AdmittedListener {
    let known = Protocol::named(&listener.protocol);
    let served = known.filter(|protocol| protocol.is_served());
    let (supported_kinds, invalid_kinds) = match served {
        Some(protocol) => narrow(protocol, &listener.allowed_routes.kinds),
        None => (Vec::new(), None),
    };
    AdmittedListener {
        set: set.cloned(),
        name: listener.name.clone(),
        hostname: known
            .filter(|protocol| protocol.has_hostnames())
            .and_then(|_| hostname(listener).map(str::to_owned)),
        tls: known
            .filter(|protocol| protocol.is_tls())
            .map(|_| listener.tls.as_ref().map(|tls| tls.mode).unwrap_or_default()),
        certificate_refs: (listener.tls.iter())
            .flat_map(|tls| tls.certificate_refs.iter().cloned())
            .collect(),
        clients: None,
        port: listener.port,
        protocol: listener.protocol.clone(),
        namespaces: listener.allowed_routes.namespaces.clone(),
        supported_kinds: supported_kinds.into(),
        refused,
        invalid_kinds,
    }
}

fn unsupported(protocol: &str) -> Refusal {
    let served = protocol::served();
    let message = format!("protocol {protocol} is not served: write protocol: {served}");
    Refusal::new(Reason::UnsupportedProtocol, message)
}

/// The hostname as it is compared: `""` means every name, and case has no meaning.
fn hostname(listener: &gateway::Listener) -> Option<&str> {
    listener.hostname.as_deref().filter(|hostname| !hostname.is_empty())
}

fn passthrough(listener: &gateway::Listener) -> Option<Refusal> {
    let passes = listener.tls.as_ref().is_some_and(|tls| tls.mode == TlsMode::Passthrough);
    (passes && listener.protocol == "HTTPS").then(|| {
        let message = "tls.mode Passthrough: a listener of protocol HTTPS ends TLS itself: write \
                       Terminate, or leave mode out";
        Refusal::new(Reason::UnsupportedValue, message)
    })
}

/// What goes before has the port, or the name on it.
fn taken(
    listener: &gateway::Listener,
    before: &[AdmittedListener],
    protocol: &Protocol,
) -> Option<Refusal> {
    let port = listener.port;
    let others = before.iter().filter(|other| other.port == port && other.refused.is_none());
    others.filter_map(|other| Some((other, Protocol::named(&other.protocol)?))).find_map(
        |(other, theirs)| {
            let whose = match &other.set {
                Some(set) => format!("listener {} of ListenerSet {set}", other.name),
                None => format!("listener {} of the Gateway", other.name),
            };
            if protocol.excludes(theirs) {
                let message = format!(
                    "port {port} is taken by {whose} ({}), which goes before: choose another port",
                    other.protocol
                );
                return Some(Refusal::new(Reason::ProtocolConflict, message));
            }
            let same = protocol.has_hostnames() && other.hostname.as_deref() == hostname(listener);
            same.then(|| {
                let name = hostname(listener).unwrap_or("every name");
                let message = format!(
                    "{name} on port {port} is taken by {whose}, which goes before: write another \
                     hostname or port"
                );
                Refusal::new(Reason::HostnameConflict, message)
            })
        },
    )
}

/// Equal listeners of one object refuse each other.
fn same_hostname(
    listener: &gateway::Listener,
    rivals: &[&gateway::Listener],
    protocol: &Protocol,
) -> Option<Refusal> {
    let twin = rivals.iter().find(|other| {
        other.name != listener.name
            && other.port == listener.port
            && Protocol::named(&other.protocol).is_some_and(|p| p.is_told_as(protocol))
            && hostname(other) == hostname(listener)
    });
    let twin = twin.filter(|_| protocol.has_hostnames())?;
    let message = format!(
        "listener {:?} has the same hostname on port {}: write another hostname or port",
        twin.name, listener.port
    );
    Some(Refusal::new(Reason::HostnameConflict, message))
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
fn conflict(
    listener: &gateway::Listener,
    rivals: &[&gateway::Listener],
    protocol: &Protocol,
) -> Option<Refusal> {
    // Names tell them apart: a second one of a name is no rival.
    let others: Vec<String> = rivals
        .iter()
        .filter(|other| other.name != listener.name && other.port == listener.port)
        .filter(|other| Protocol::named(&other.protocol).is_some_and(|p| protocol.excludes(p)))
        .map(|other| format!("{:?} ({})", other.name, other.protocol))
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

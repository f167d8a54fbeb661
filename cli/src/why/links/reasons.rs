//! From the reason of a condition to the cause, by where the condition stands.

use vipgate_api::Reason;

use crate::why::cause::Cause;
use crate::why::facts::Said;

/// Of a condition of a Gateway.
pub(super) fn of_gateway(said: &Said) -> Cause {
    match said.known() {
        Some(Reason::InvalidParameters) => Cause::GatewayParameters,
        Some(Reason::UnsupportedAddress) => Cause::AddressType,
        _ => Cause::OtherRefusal,
    }
}

/// Of a condition of a listener.
pub(super) fn of_listener(said: &Said) -> Cause {
    match said.known() {
        Some(Reason::UnsupportedProtocol) => Cause::ProtocolUnsupported,
        Some(Reason::UnsupportedValue) => Cause::ListenerValue,
        Some(Reason::ProtocolConflict) => Cause::ProtocolConflict,
        Some(Reason::HostnameConflict) => Cause::HostnameConflict,
        Some(Reason::TooManyListeners) => Cause::TooManyListeners,
        Some(Reason::NoValidCACertificate) => Cause::ClientAuthorities,
        Some(Reason::InvalidRouteKinds) => Cause::RouteKinds,
        Some(Reason::InvalidCertificateRef) => Cause::Certificate,
        Some(Reason::InvalidCACertificateRef | Reason::InvalidCACertificateKind) => {
            Cause::ClientAuthorityRef
        }
        Some(Reason::RefNotPermitted) => Cause::ListenerRefNotPermitted,
        _ => Cause::OtherRefusal,
    }
}

/// Of what stands in the way of an address.
pub(super) fn of_address(reason: Reason) -> Option<Cause> {
    Some(match reason {
        Reason::NoPool => Cause::NoPool,
        Reason::PoolExhausted => Cause::PoolExhausted,
        Reason::PoolNotFound => Cause::PoolNotFound,
        Reason::PoolNotAllowed => Cause::PoolNotAllowed,
        Reason::NoAddressOfFamily => Cause::NoAddressOfFamily,
        Reason::FamilyMismatch => Cause::FamilyMismatch,
        Reason::InvalidAddress => Cause::AddressMalformed,
        Reason::AddressNotInPool => Cause::AddressNotInPool,
        Reason::AddressReserved => Cause::AddressReserved,
        Reason::AddressInUse => Cause::AddressInUse,
        Reason::AddressConflict => Cause::AddressForeign,
        _ => return None,
    })
}

/// Of a condition of a route.
pub(super) fn of_route(said: &Said) -> Cause {
    match (said.kind.as_str(), said.known()) {
        ("PartiallyInvalid", _) => Cause::RulesDropped,
        (_, Some(Reason::NoMatchingParent)) => Cause::NoMatchingListener,
        (_, Some(Reason::NotAllowedByListeners)) => Cause::RouteNotAllowed,
        (_, Some(Reason::NoMatchingListenerHostname)) => Cause::NoHostname,
        (_, Some(Reason::UnsupportedValue)) => Cause::RouteValue,
        (_, Some(Reason::BackendNotFound)) => Cause::BackendNotFound,
        (_, Some(Reason::RefNotPermitted)) => Cause::BackendNotPermitted,
        (_, Some(Reason::InvalidKind)) => Cause::BackendKind,
        (_, Some(Reason::InvalidBackendTls)) => Cause::BackendTls,
        (_, Some(Reason::AddressRefused)) => Cause::BackendRefused,
        _ => Cause::OtherRefusal,
    }
}

/// Of what is said of a node that cannot have an address.
pub(super) fn of_node(reason: &str) -> Cause {
    match reason {
        "Lost" => Cause::SpeakersLost,
        "NoAdvertisement" => Cause::NoAdvertisement,
        "NodeNotSelected" => Cause::NodeNotSelected,
        "NoPeer" => Cause::NoPeer,
        "NoSubnet" => Cause::NoSubnet,
        "NoInterface" => Cause::NoInterface,
        "LinkDown" => Cause::LinkDown,
        "NoLocalEndpoint" => Cause::NoLocalEndpoint,
        "NoBackend" => Cause::NoBackend,
        "NotBound" => Cause::NothingBound,
        "Failed" => Cause::HostFailed,
        _ => Cause::NotTaken,
    }
}

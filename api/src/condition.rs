//! Condition types and reasons of the Gateway API status contract, named once.
//!
//! A [`Condition`] has no times and no generation: the planner has no clock, so whoever writes a
//! status adds `observedGeneration` and keeps `lastTransitionTime` while the status is the same.

mod meaning;

use std::fmt;

use serde::{Deserialize, Serialize};

/// A statement about an object, with the reason for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// What the statement is about.
    #[serde(rename = "type")]
    pub kind: ConditionType,
    /// Whether it holds.
    pub status: ConditionStatus,
    /// Why, for programs.
    pub reason: Reason,
    /// Why, for people: names the object or field that caused it and what to write instead.
    pub message: String,
}

impl Condition {
    /// A statement that holds.
    pub fn holds(kind: ConditionType, reason: Reason, message: impl Into<String>) -> Self {
        Self { kind, status: ConditionStatus::True, reason, message: message.into() }
    }

    /// A statement that does not hold.
    pub fn fails(kind: ConditionType, reason: Reason, message: impl Into<String>) -> Self {
        Self { kind, status: ConditionStatus::False, reason, message: message.into() }
    }

    /// A statement nobody can make yet.
    pub fn unknown(kind: ConditionType, reason: Reason, message: impl Into<String>) -> Self {
        Self { kind, status: ConditionStatus::Unknown, reason, message: message.into() }
    }

    /// Whether the statement holds.
    pub fn is_true(&self) -> bool {
        self.status == ConditionStatus::True
    }
}

/// `status` of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConditionStatus {
    /// Holds.
    True,
    /// Does not hold.
    False,
    /// Not known yet.
    Unknown,
}

impl fmt::Display for ConditionStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// `type` of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ConditionType {
    /// The object is valid and taken on.
    Accepted,
    /// The data path serves it: bound and announced, on a named node.
    Programmed,
    /// Everything it refers to exists and may be referred to.
    ResolvedRefs,
    /// A listener that cannot be served because of another one.
    Conflicted,
    /// A part of the object is not served (only ever True).
    PartiallyInvalid,
    /// The Gateway API version is one we support.
    SupportedVersion,
    /// A Gateway that lets clients in whatever certificate they show (only ever True).
    InsecureFrontendValidationMode,
    /// Ours, of a Service: it has every address that it asks for.
    #[serde(rename = "vipgate.dev/AddressAssigned")]
    AddressAssigned,
    /// Ours: another controller kept overwriting this status (only ever True).
    #[serde(rename = "vipgate.dev/Contested")]
    Contested,
}

impl ConditionType {
    /// Every type.
    pub const ALL: [Self; 9] = [
        Self::Accepted,
        Self::Programmed,
        Self::ResolvedRefs,
        Self::Conflicted,
        Self::PartiallyInvalid,
        Self::SupportedVersion,
        Self::InsecureFrontendValidationMode,
        Self::AddressAssigned,
        Self::Contested,
    ];

    /// Whether it is bad news when it holds.
    pub fn is_negative(self) -> bool {
        matches!(
            self,
            Self::Conflicted
                | Self::PartiallyInvalid
                | Self::InsecureFrontendValidationMode
                | Self::Contested
        )
    }
}

impl fmt::Display for ConditionType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddressAssigned => f.write_str("vipgate.dev/AddressAssigned"),
            Self::Contested => f.write_str("vipgate.dev/Contested"),
            other => fmt::Debug::fmt(other, f),
        }
    }
}

/// `reason` of a condition. Source: Gateway API v1.6 constants, unless marked as ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Reason {
    /// All is well (Accepted).
    Accepted,
    /// All is well (Programmed).
    Programmed,
    /// All is well (ResolvedRefs).
    ResolvedRefs,
    /// All is well (Conflicted=False).
    NoConflicts,
    /// All is well (SupportedVersion).
    SupportedVersion,
    /// Work is under way.
    Pending,
    /// The object cannot be served for the reason in the message.
    Invalid,
    /// `parametersRef` names something we do not have.
    InvalidParameters,
    /// Some listeners (Accepted=True) or all of them (Accepted=False) are not valid.
    ListenersNotValid,
    /// An address of a type that we do not serve.
    UnsupportedAddress,
    /// No address could be given.
    AddressNotAssigned,
    /// A requested address that cannot be used here.
    AddressNotUsable,
    /// Nothing can carry it: no node, no interface.
    NoResources,
    /// A listener protocol that we do not serve.
    UnsupportedProtocol,
    /// A value that we do not serve.
    UnsupportedValue,
    /// The port cannot be bound.
    PortUnavailable,
    /// Two protocols on one port that exclude each other.
    ProtocolConflict,
    /// Two listeners with one hostname on one port.
    HostnameConflict,
    /// `allowedRoutes.kinds` names kinds that the protocol does not take.
    InvalidRouteKinds,
    /// A certificate that is missing or malformed.
    InvalidCertificateRef,
    /// The certificate that a Gateway is to show to backends is missing or malformed.
    InvalidClientCertificateRef,
    /// A reference to authorities that leads to no certificate.
    InvalidCACertificateRef,
    /// A reference to authorities of a kind that has none.
    InvalidCACertificateKind,
    /// None of the references to authorities leads to a certificate.
    NoValidCACertificate,
    /// How clients are checked differs from what is the default (InsecureFrontendValidationMode).
    ConfigurationChanged,
    /// A reference across namespaces without a ReferenceGrant.
    RefNotPermitted,
    /// No listener has the `sectionName` or `port` of the parentRef.
    NoMatchingParent,
    /// Listeners match, but none takes routes of this kind or namespace.
    NotAllowedByListeners,
    /// A backendRef of a kind that we do not serve.
    InvalidKind,
    /// A backendRef whose target or port does not exist.
    BackendNotFound,
    /// A ListenerSet from a namespace that the Gateway takes none from.
    NotAllowed,
    /// A ListenerSet whose Gateway is not accepted, or was deleted.
    ParentNotAccepted,
    /// A ListenerSet whose Gateway is not programmed.
    ParentNotProgrammed,
    /// A listener for whose port the Gateway has no room.
    TooManyListeners,
    /// A route whose hostnames have none in common with the listener's.
    NoMatchingListenerHostname,
    /// The version of the Gateway API is none that we know.
    UnsupportedVersion,
    /// A policy whose target an older policy has.
    Conflicted,
    /// A policy whose target does not exist.
    TargetNotFound,
    /// Ours: the BackendTLSPolicy of a backendRef cannot be followed.
    InvalidBackendTls,
    /// Ours: every endpoint of a backendRef has an address that we refuse to forward to.
    AddressRefused,
    /// Ours, all is well (AddressAssigned).
    AddressAssigned,
    /// Ours: a pool and another one have addresses in common.
    Overlapping,
    /// Ours: what a Service names is no IP address.
    InvalidAddress,
    /// Ours: a Service asks for an address of a family that it has not.
    FamilyMismatch,
    /// Ours: no pool has the address that a Service asks for.
    AddressNotInPool,
    /// Ours: the address that a Service asks for is never given out.
    AddressReserved,
    /// Ours: the address that a Service asks for is somebody else's, and not shared.
    AddressInUse,
    /// Ours: a host outside answers for the address of a Service.
    AddressConflict,
    /// Ours: a pool does not take the Service.
    PoolNotAllowed,
    /// Ours: every address of the pools is taken.
    PoolExhausted,
    /// Ours: an annotation or a BGPAdvertisement names a pool that is not there.
    PoolNotFound,
    /// Ours: there is no pool to choose an address from.
    NoPool,
    /// Ours: the pools have no address of a family that the Service needs.
    NoAddressOfFamily,
    /// Ours: another program serves Services without loadBalancerClass.
    OtherController,
    /// Ours, in lists of problems only: a backendRef without an endpoint that is ready.
    NoEndpoints,
    /// Ours, in lists of problems only: a DNS name of a Backend that does not resolve.
    NameNotResolved,
    /// Ours: an older BGPPeer is the same router on the same node.
    DuplicatePeer,
    /// Ours: a BGPPeer names a BFDProfile that is not there.
    BfdProfileNotFound,
    /// Ours: a BGPPeer names a BFDProfile that cannot be followed.
    InvalidBfdProfile,
    /// Ours: BFD beside a BGPPeer runs without the echo that its BFDProfile asks for.
    EchoNotPossible,
    /// Ours: the Secret of a BGPPeer has no password that can be used.
    InvalidPassword,
    /// Ours: a BGPAdvertisement names a BGPPeer that is not there.
    PeerNotFound,
    /// Ours: a BGPAdvertisement names a community that no Community has.
    CommunityNotFound,
    /// Ours, in events only: a node has a session with the router of a BGPPeer.
    SessionEstablished,
    /// Ours, in events only: it has none, though the BGPPeer asks for it.
    NoSession,
    /// Ours: the status is overwritten by somebody else.
    OtherWriter,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

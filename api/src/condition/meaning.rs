//! What each reason means, for the admin of a cluster. `docs/reasons.md` is made from this.

use super::Reason;

impl Reason {
    /// Every reason, in the order in which they are listed to people.
    pub const ALL: &[Self] = &[
        Self::Accepted,
        Self::Programmed,
        Self::ResolvedRefs,
        Self::NoConflicts,
        Self::SupportedVersion,
        Self::Pending,
        Self::Invalid,
        Self::InvalidParameters,
        Self::ListenersNotValid,
        Self::UnsupportedAddress,
        Self::AddressNotAssigned,
        Self::AddressNotUsable,
        Self::NoResources,
        Self::UnsupportedProtocol,
        Self::UnsupportedValue,
        Self::PortUnavailable,
        Self::ProtocolConflict,
        Self::HostnameConflict,
        Self::InvalidRouteKinds,
        Self::InvalidCertificateRef,
        Self::InvalidClientCertificateRef,
        Self::InvalidCACertificateRef,
        Self::InvalidCACertificateKind,
        Self::NoValidCACertificate,
        Self::ConfigurationChanged,
        Self::RefNotPermitted,
        Self::NoMatchingParent,
        Self::NotAllowedByListeners,
        Self::InvalidKind,
        Self::BackendNotFound,
        Self::NotAllowed,
        Self::ParentNotAccepted,
        Self::ParentNotProgrammed,
        Self::TooManyListeners,
        Self::NoMatchingListenerHostname,
        Self::UnsupportedVersion,
        Self::Conflicted,
        Self::TargetNotFound,
        Self::InvalidBackendTls,
        Self::AddressRefused,
        Self::AddressAssigned,
        Self::Overlapping,
        Self::InvalidAddress,
        Self::FamilyMismatch,
        Self::AddressNotInPool,
        Self::AddressReserved,
        Self::AddressInUse,
        Self::AddressConflict,
        Self::PoolNotAllowed,
        Self::PoolExhausted,
        Self::PoolNotFound,
        Self::NoPool,
        Self::NoAddressOfFamily,
        Self::OtherController,
        Self::NoEndpoints,
        Self::NameNotResolved,
        Self::DuplicatePeer,
        Self::BfdProfileNotFound,
        Self::InvalidBfdProfile,
        Self::EchoNotPossible,
        Self::InvalidPassword,
        Self::PeerNotFound,
        Self::CommunityNotFound,
        Self::SessionEstablished,
        Self::NoSession,
        Self::OtherWriter,
    ];

    /// What it means and what to do, in a sentence or two. The condition's own message names the
    /// object or field in question.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Accepted => "The object is valid and taken on. Nothing to do.",
            Self::Programmed => "It is served: bound and announced, on the node that is named.",
            Self::ResolvedRefs => "Everything that it refers to exists and may be referred to.",
            Self::NoConflicts => "No other listener is in the way.",
            Self::SupportedVersion => "The installed Gateway API is a release that is supported.",
            Self::Pending => {
                "Work is under way; it goes away by itself. If it stays, look at the speakers \
                 (`kubectl get speakers`): one has to serve the address."
            }
            Self::Invalid => {
                "It cannot be served as it is written, or what it depends on cannot; the message \
                 says what to change."
            }
            Self::InvalidParameters => {
                "`parametersRef` names something, and there are no parameters: take it out."
            }
            Self::ListenersNotValid => {
                "Some listeners are not valid (with status True: the others are served) or none is \
                 (False). Look at the conditions of the listeners."
            }
            Self::UnsupportedAddress => {
                "`spec.addresses` has an entry of a type that is not served: write an IPAddress."
            }
            Self::AddressNotAssigned => {
                "There is no address to give: no IPAddressPool serves this object, or all its \
                 addresses are taken. Add addresses to a pool, or a pool."
            }
            Self::AddressNotUsable => {
                "The requested address belongs to no pool that serves this object, or somebody else \
                 has it; the message names who."
            }
            Self::NoResources => {
                "No node can carry the address: none has an interface that it may be announced on, \
                 or putting it there failed."
            }
            Self::UnsupportedProtocol => "The listener's protocol is not served.",
            Self::UnsupportedValue => {
                "A field has a value that is not served; the message says which."
            }
            Self::PortUnavailable => {
                "The port cannot be bound on a node: another program there has it, or the right to bind \
                 it is missing. The message says which."
            }
            Self::ProtocolConflict => {
                "Two listeners on one port have protocols that exclude each other. In one object \
                 none of them is served; a Gateway goes before its ListenerSets, and an older set \
                 before a younger. Move one to another port."
            }
            Self::HostnameConflict => {
                "Two listeners on one port have the same hostname. In one object none of them is \
                 served; a Gateway goes before its ListenerSets, and an older set before a younger."
            }
            Self::InvalidRouteKinds => {
                "`allowedRoutes.kinds` names kinds that the listener's protocol does not take."
            }
            Self::InvalidCertificateRef => {
                "A certificate is missing or malformed, or its key is another's: the Secret needs \
                 `tls.crt` and `tls.key` in PEM."
            }
            Self::InvalidClientCertificateRef => {
                "`spec.tls.backend.clientCertificateRef` names a Secret that is missing or malformed: it \
                 needs `tls.crt` and `tls.key` in PEM. The Gateway is served, and backends that ask for a \
                 certificate get none."
            }
            Self::InvalidCACertificateRef => {
                "A ConfigMap that `caCertificateRefs` names is missing or malformed: it needs `ca.crt`, \
                 certificates in PEM. The others that are named are used."
            }
            Self::InvalidCACertificateKind => {
                "`caCertificateRefs` names an object of a kind that holds no certificates of authorities: \
                 write a ConfigMap."
            }
            Self::NoValidCACertificate => {
                "None of `caCertificateRefs` leads to a certificate, so nobody is known: the listener lets \
                 nobody in, or connections to the backend are reset. ResolvedRefs says what is wrong."
            }
            Self::ConfigurationChanged => {
                "The Gateway says `AllowInsecureFallback`: clients come in with a wrong certificate, or \
                 with none. Write `AllowValidOnly` as soon as you can."
            }
            Self::RefNotPermitted => {
                "A reference into another namespace without a ReferenceGrant there that allows it."
            }
            Self::NoMatchingParent => {
                "No listener of the parent has the `sectionName` or `port` of the parentRef."
            }
            Self::NotAllowedByListeners => {
                "Listeners match, but none takes routes of this kind or from this namespace: see \
                 `allowedRoutes` of the listener."
            }
            Self::InvalidKind => {
                "A backendRef names a kind that is not served (Service and Backend are), or \
                 `caCertificateRefs` one that holds no certificates of authorities (a ConfigMap does)."
            }
            Self::BackendNotFound => {
                "A backendRef names an object or a port that does not exist; its share of the \
                 connections is reset."
            }
            Self::NotAllowed => {
                "The Gateway takes no ListenerSets from this namespace: see its \
                 `spec.allowedListeners`."
            }
            Self::ParentNotAccepted => {
                "The Gateway of this ListenerSet is not accepted, or was deleted; look at the \
                 conditions of the Gateway."
            }
            Self::ParentNotProgrammed => {
                "The Gateway of this ListenerSet is not programmed yet; look at the conditions of \
                 the Gateway."
            }
            Self::TooManyListeners => {
                "The Gateway and its ListenerSets have 256 ports already, which is all that an address \
                 has room for: put this listener on another Gateway."
            }
            Self::NoMatchingListenerHostname => {
                "The route's hostnames and those of the listener have none in common."
            }
            Self::UnsupportedVersion => {
                "The installed Gateway API is a release that vipgate does not know; what it can \
                 read is served all the same."
            }
            Self::Conflicted => {
                "An older policy of this kind has the same target, so this one does not count for it: put \
                 both into one, or name another target."
            }
            Self::TargetNotFound => {
                "The policy names an object, or a part of one, that does not exist in its namespace or is \
                 none of ours; it counts as soon as there is one."
            }
            Self::InvalidBackendTls => {
                "The BackendTLSPolicy of a backendRef cannot be followed; its share of the connections is \
                 reset rather than sent in the clear. The conditions of the policy say what is wrong."
            }
            Self::AddressRefused => {
                "Every endpoint of a backendRef has an address that is never forwarded to \
                 (loopback, link-local, metadata, a VIP)."
            }
            Self::AddressAssigned => "The Service has every address that it asks for.",
            Self::Overlapping => {
                "An IPAddressPool has addresses that another one has too; take them out of one of \
                 them."
            }
            Self::InvalidAddress => {
                "What the Service names (`spec.loadBalancerIP` or an annotation) is no IP address."
            }
            Self::FamilyMismatch => {
                "The Service asks for an address of a family that is not among its `spec.ipFamilies`."
            }
            Self::AddressNotInPool => {
                "No IPAddressPool has the address that the Service asks for: add it to one, or ask for \
                 another."
            }
            Self::AddressReserved => {
                "The address that the Service asks for is never given out: it is a node's, excluded, or \
                 no address of a host."
            }
            Self::AddressInUse => {
                "The address that the Service asks for is somebody else's, and they do not share it; \
                 the message names who."
            }
            Self::AddressConflict => {
                "A host outside of the cluster answers for the address; the message names its MAC. Take \
                 the address from that host, or exclude it from the pool."
            }
            Self::PoolNotAllowed => {
                "The IPAddressPool that is asked for does not take this Service: see its \
                 `spec.serviceAllocation`."
            }
            Self::PoolExhausted => {
                "Every address of the pools that take this Service is in use: add addresses."
            }
            Self::PoolNotFound => {
                "The annotation of a Service, or a BGPAdvertisement, names an IPAddressPool that does not exist."
            }
            Self::NoPool => {
                "There is no IPAddressPool that an address could be chosen from: create one, or let one \
                 take this Service (`autoAssign`, `serviceAllocation`)."
            }
            Self::NoAddressOfFamily => {
                "The pools have no address of a family that the Service needs: add some, or change its \
                 `spec.ipFamilyPolicy`."
            }
            Self::OtherController => {
                "Another program serves Services without `loadBalancerClass`, so this one is left to it: \
                 write `loadBalancerClass: vipgate.dev/service`, or start the controller with \
                 `--classless take`."
            }
            Self::NoEndpoints => {
                "A backendRef has no endpoint that is ready; its share of the connections is reset."
            }
            Self::NameNotResolved => {
                "A DNS name of a Backend does not resolve; the addresses that it had last go on being used."
            }
            Self::DuplicatePeer => {
                "An older BGPPeer is the same router on the same node; there is one session, with the \
                 settings of that one."
            }
            Self::BfdProfileNotFound => {
                "The BGPPeer names a BFDProfile that does not exist; there is no session until it does."
            }
            Self::InvalidBfdProfile => {
                "The BGPPeer names a BFDProfile that cannot be followed as it is written; there is no session \
                 until it can."
            }
            Self::EchoNotPossible => {
                "The BFDProfile of the BGPPeer asks for `echoMode`, which is for IPv4 routers on the node's own \
                 network: BFD runs without it. Name a BFDProfile without `echoMode`."
            }
            Self::InvalidPassword => {
                "The BGPPeer names a Secret that is not there, is not of type `kubernetes.io/basic-auth`, or \
                 has no password that TCP MD5 takes; there is no session until it has."
            }
            Self::PeerNotFound => {
                "The BGPAdvertisement names a BGPPeer that does not exist; the others are told."
            }
            Self::CommunityNotFound => {
                "The BGPAdvertisement names a community that no Community has; it announces nothing until \
                 one has."
            }
            Self::SessionEstablished => {
                "A node and the router of this BGPPeer have a BGP session. Nothing to do."
            }
            Self::NoSession => {
                "A node has no BGP session with the router of this BGPPeer: it has ended, or does not come \
                 about, for the reason that the event gives. It is tried again; `vipgate bgp` shows how it \
                 stands now."
            }
            Self::OtherWriter => {
                "Another controller writes the same fields and they kept overwriting each other, so \
                 vipgate stopped for five minutes. Stop the one that the message names, or take the \
                 object out of its hands."
            }
        }
    }
}

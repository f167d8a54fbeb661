//! Our own kinds, `vipgate.dev/v1alpha1`. Where MetalLB has the kind, names and meanings are its.

mod backend;
mod bgp;
mod fault;
mod l2;
pub(crate) mod policy;
mod pool;
mod range;
mod speaker;
mod virtual_ip;

pub use backend::{Backend, BackendEndpoint, BackendSpec};
pub use bgp::{
    BfdProfile, BfdProfileSpec, BgpAdvertisement, BgpAdvertisementSpec, BgpPeer, BgpPeerSpec,
    BgpStatus, Community, CommunityAlias, CommunitySpec, CommunityValue, CommunityValueError,
    DynamicAsn, PasswordSecret, seconds, well_known, well_known_names,
};
pub use fault::Fault;
pub use l2::{L2Advertisement, L2AdvertisementSpec, PreferredNodeSelector, is_interface_name};
pub use policy::{
    AccessLog, AffinityType, BackendPolicy, BackendPolicySpec, Balancing, CIPHER_SUITES,
    ClientAddress, Connect, Ejection, GoneEndpoints, HealthCheck, HealthCheckType, Limits,
    ListenerPolicy, ListenerPolicySpec, ListenerTls, ProxyProtocol, ProxyProtocolSources,
    SessionAffinity, TLS_VERSIONS, TcpKeepalive, network,
};
pub use pool::{IpAddressPool, IpAddressPoolSpec, IpAddressPoolStatus, ServiceAllocation};
pub use range::{AddressRange, AddressRangeError};
pub use speaker::{
    ExclusionReason, FailedListener, GivesWay, ListenerFault, PlannedObject, Speaker, SpeakerPeer,
    SpeakerStatus, SpeakerVip, SpeakerVipState,
};
pub use virtual_ip::{
    Origin, PortUse, Transport, VipUser, VirtualIp, VirtualIpSpec, virtual_ip_address,
    virtual_ip_name,
};

//! Policies: what is attached to others and says more of them (GEP-713, direct attachment).
//!
//! ListenerPolicy is about clients, BackendPolicy about backends. As with the kinds of BGP, a spec knows
//! what is wrong with it by itself ([`Fault`](super::Fault)). Absent means "not said": of two policies that
//! are about the same thing the nearer one goes before the other, field by field.

mod backend;
pub(crate) mod check;
mod listener;

pub use backend::{
    AffinityType, BackendPolicy, BackendPolicySpec, Balancing, ClientAddress, Connect, Ejection,
    GoneEndpoints, HealthCheck, HealthCheckType, ProxyProtocol, SessionAffinity,
};
pub use check::network;
pub use listener::{
    AccessLog, CIPHER_SUITES, Limits, ListenerPolicy, ListenerPolicySpec, ListenerTls,
    ProxyProtocolSources, TLS_VERSIONS, TcpKeepalive,
};

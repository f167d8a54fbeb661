//! Gateway API kinds (bundle v1.6), the shapes shared by several kinds first.
//!
//! Source: `gateway.networking.k8s.io` CRDs v1.6.1. Fields that a CRD defaults are plain values
//! here with the same default; `Option` means that absence has a meaning of its own.

mod backend_tls_policy;
mod class;
mod duration;
mod gateway_kind;
mod gateway_tls;
mod grant;
mod listener_set;
mod policy;
mod route;

pub use backend_tls_policy::{
    BackendTlsPolicy, BackendTlsPolicySpec, BackendTlsValidation, LocalObjectReference,
    SubjectAltName, SubjectAltNameType,
};
pub use class::{GatewayClass, GatewayClassSpec, ParametersRef};
pub use duration::duration;
pub use gateway_kind::{
    AddressType, AllowedListeners, AllowedRoutes, CertificateRef, Gateway, GatewayAddress,
    GatewaySpec, GatewayStatusAddresses, Infrastructure, Listener, LocalParametersRef,
    NamespacesFrom, RouteGroupKind, RouteNamespaces, TlsConfig, TlsMode,
};
pub use gateway_tls::{
    BackendTls, CaCertificateRef, ClientTls, FrontendTls, FrontendValidation,
    FrontendValidationMode, GatewayTls, PortTls,
};
pub use grant::{GrantFrom, GrantTo, ReferenceGrant, ReferenceGrantSpec};
pub use listener_set::{ListenerSet, ListenerSetSpec, ParentGatewayReference};
pub use policy::{PolicyAncestorStatus, PolicyStatus, PolicyTargetReference};
pub use route::{Route, RouteRule, RouteSpec};

use serde::{Deserialize, Serialize};

use crate::GATEWAY_GROUP;

/// A route's reference to what it wants to attach to (`ParentReference`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ParentReference {
    /// API group of the parent; the Gateway API's unless named.
    #[serde(default = "gateway_group")]
    pub group: String,
    /// Kind of the parent; `Gateway` unless named.
    #[serde(default = "gateway_kind_name")]
    pub kind: String,
    /// Namespace of the parent; the route's own when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Name of the parent.
    pub name: String,
    /// Attach only to the listener of this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub section_name: Option<String>,
    /// Attach only to listeners on this port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

/// A weighted reference to where traffic goes (`BackendRef`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackendRef {
    /// API group of the target; core (`""`) unless named.
    #[serde(default)]
    pub group: String,
    /// Kind of the target; `Service` unless named.
    #[serde(default = "service_kind_name")]
    pub kind: String,
    /// Name of the target.
    pub name: String,
    /// Namespace of the target; the route's own when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Port of the target; required for a Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Share of the connections, `weight / sum of weights`, 0..=1,000,000; 1 unless named.
    #[serde(default = "one")]
    pub weight: u32,
    /// HTTPRoute: what is done to requests for this backend.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<serde_json::Map<String, serde_json::Value>>,
}

fn gateway_group() -> String {
    GATEWAY_GROUP.to_owned()
}

fn gateway_kind_name() -> String {
    "Gateway".to_owned()
}

fn service_kind_name() -> String {
    "Service".to_owned()
}

fn one() -> u32 {
    1
}

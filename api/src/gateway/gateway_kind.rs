//! Gateway: listeners on addresses.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::gateway_tls::{FrontendValidation, GatewayTls};
use crate::k8s::{LabelSelector, ObjectMeta};

/// A set of listeners and the addresses they are bound on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gateway {
    /// Standard object metadata; namespaced.
    pub metadata: ObjectMeta,
    /// What is wanted.
    pub spec: GatewaySpec,
    /// What is said, as far as we read it; absent in manifests.
    #[serde(default, skip_serializing)]
    pub status: Option<GatewayStatusAddresses>,
}

impl Gateway {
    /// The IP addresses in its status.
    pub fn status_addresses(&self) -> Vec<IpAddr> {
        let all = self.status.iter().flat_map(|status| status.addresses.iter().flatten());
        let ips = all.filter(|address| address.kind == AddressType::IpAddress);
        ips.filter_map(|address| address.value.as_deref()?.parse().ok()).collect()
    }
}

/// What we read of `Gateway.status`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatewayStatusAddresses {
    /// Addresses that clients use.
    #[serde(default)]
    pub addresses: Option<Vec<GatewayAddress>>,
}

/// `Gateway.spec`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewaySpec {
    /// Name of the GatewayClass.
    pub gateway_class_name: String,
    /// 1..=64 listeners, unique by name and by (port, protocol, hostname).
    pub listeners: Vec<Listener>,
    /// Addresses asked for; empty means "choose for me", one per family the pool has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<GatewayAddress>,
    /// Labels, annotations and parameters for what is created on behalf of this Gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub infrastructure: Option<Infrastructure>,
    /// From where ListenerSets may add listeners; from nowhere when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_listeners: Option<AllowedListeners>,
    /// Certificates of clients, and the one that backends are shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<GatewayTls>,
}

/// `Gateway.spec.allowedListeners`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AllowedListeners {
    /// From which namespaces; `None` unless named.
    #[serde(default = "no_namespace")]
    pub namespaces: RouteNamespaces,
}

fn no_namespace() -> RouteNamespaces {
    RouteNamespaces { from: NamespacesFrom::None, selector: None }
}

/// One entry of `Gateway.spec.addresses` or `Gateway.status.addresses`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatewayAddress {
    /// `IPAddress` unless named.
    #[serde(rename = "type", default)]
    pub kind: AddressType,
    /// The address; absent or empty means "choose one".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// `addresses[].type`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum AddressType {
    /// An IPv4 or IPv6 address; the only type we serve.
    #[default]
    IpAddress,
    /// A DNS name.
    Hostname,
    /// `NamedAddress` or a domain-prefixed type.
    Other(String),
}

impl From<String> for AddressType {
    fn from(text: String) -> Self {
        match text.as_str() {
            "IPAddress" => Self::IpAddress,
            "Hostname" => Self::Hostname,
            _ => Self::Other(text),
        }
    }
}

impl From<AddressType> for String {
    fn from(kind: AddressType) -> Self {
        match kind {
            AddressType::IpAddress => "IPAddress".to_owned(),
            AddressType::Hostname => "Hostname".to_owned(),
            AddressType::Other(text) => text,
        }
    }
}

/// `Gateway.spec.infrastructure` (GEP-1762).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Infrastructure {
    /// Labels for created objects.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations for created objects.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Implementation parameters; we have none, so any value is refused (InvalidParameters).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters_ref: Option<LocalParametersRef>,
}

/// A reference to parameters in the Gateway's own namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalParametersRef {
    /// API group.
    pub group: String,
    /// Kind.
    pub kind: String,
    /// Name.
    pub name: String,
}

/// One logical endpoint of a Gateway.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Listener {
    /// Unique in the Gateway; what `sectionName` refers to.
    pub name: String,
    /// SNI or Host to match; has no meaning for TCP and UDP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// 1..=65535.
    pub port: u16,
    /// `TCP`, `UDP`, `TLS`, `HTTP`, `HTTPS` or a domain-prefixed name.
    pub protocol: String,
    /// TLS settings; not for TCP, UDP and HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsConfig>,
    /// Which routes may attach.
    #[serde(default)]
    pub allowed_routes: AllowedRoutes,
}

/// `listeners[].tls`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TlsConfig {
    /// `Terminate` unless named.
    #[serde(default)]
    pub mode: TlsMode,
    /// Certificates, for `Terminate`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub certificate_refs: Vec<CertificateRef>,
    /// Implementation options, passed through.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
    /// How certificates of clients are checked (experimental channel up to 1.3; then
    /// [`FrontendTls`](super::FrontendTls)).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frontend_validation: Option<FrontendValidation>,
}

/// `listeners[].tls.mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum TlsMode {
    /// The listener ends TLS.
    #[default]
    Terminate,
    /// TLS goes through to the backend.
    Passthrough,
}

/// A reference to a certificate (`SecretObjectReference`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateRef {
    /// Core unless named.
    #[serde(default)]
    pub group: String,
    /// `Secret` unless named.
    #[serde(default = "secret_kind_name")]
    pub kind: String,
    /// Name.
    pub name: String,
    /// The Gateway's own namespace when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

fn secret_kind_name() -> String {
    "Secret".to_owned()
}

/// `listeners[].allowedRoutes`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AllowedRoutes {
    /// From which namespaces.
    #[serde(default)]
    pub namespaces: RouteNamespaces,
    /// Which kinds; empty means every kind that the protocol takes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kinds: Vec<RouteGroupKind>,
}

/// `allowedRoutes.namespaces`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RouteNamespaces {
    /// `Same` unless named.
    #[serde(default)]
    pub from: NamespacesFrom,
    /// For `Selector`: labels of the namespaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
}

/// `allowedRoutes.namespaces.from`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum NamespacesFrom {
    /// Every namespace.
    All,
    /// Namespaces that the selector matches.
    Selector,
    /// The Gateway's own namespace.
    #[default]
    Same,
    /// No namespace.
    None,
}

/// A kind of route (`RouteGroupKind`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RouteGroupKind {
    /// API group; the Gateway API's unless named.
    #[serde(default = "super::gateway_group")]
    pub group: String,
    /// Kind, such as `TCPRoute`.
    pub kind: String,
}

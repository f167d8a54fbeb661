//! Objects of all kinds: how they are named, how old they are, and the one enum that holds any.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::gateway::{Gateway, GatewayClass, ListenerSet, ReferenceGrant, Route};
use crate::k8s::{EndpointSlice, Namespace, Node, ObjectMeta, Secret, Service, ServiceAccount};
use crate::vipgate::{
    Backend, BfdProfile, BgpAdvertisement, BgpPeer, Community, IpAddressPool, L2Advertisement,
    Speaker, VirtualIp,
};

/// Every kind that vipgate reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// `gateway.networking.k8s.io` GatewayClass.
    GatewayClass,
    /// `gateway.networking.k8s.io` Gateway.
    Gateway,
    /// `gateway.networking.k8s.io` ListenerSet.
    ListenerSet,
    /// `gateway.networking.k8s.io` TCPRoute.
    #[serde(rename = "TCPRoute")]
    TcpRoute,
    /// `gateway.networking.k8s.io` TLSRoute.
    #[serde(rename = "TLSRoute")]
    TlsRoute,
    /// `gateway.networking.k8s.io` UDPRoute.
    #[serde(rename = "UDPRoute")]
    UdpRoute,
    /// `gateway.networking.k8s.io` HTTPRoute.
    #[serde(rename = "HTTPRoute")]
    HttpRoute,
    /// `gateway.networking.k8s.io` ReferenceGrant.
    ReferenceGrant,
    /// core Namespace.
    Namespace,
    /// core Service.
    Service,
    /// `discovery.k8s.io` EndpointSlice.
    EndpointSlice,
    /// core Secret.
    Secret,
    /// `vipgate.dev` IPAddressPool.
    #[serde(rename = "IPAddressPool")]
    IpAddressPool,
    /// `vipgate.dev` L2Advertisement.
    L2Advertisement,
    /// `vipgate.dev` BGPPeer.
    #[serde(rename = "BGPPeer")]
    BgpPeer,
    /// `vipgate.dev` BGPAdvertisement.
    #[serde(rename = "BGPAdvertisement")]
    BgpAdvertisement,
    /// `vipgate.dev` BFDProfile.
    #[serde(rename = "BFDProfile")]
    BfdProfile,
    /// `vipgate.dev` Community.
    Community,
    /// `vipgate.dev` Backend.
    Backend,
    /// `vipgate.dev` VirtualIP; only in a cluster.
    #[serde(rename = "VirtualIP")]
    VirtualIp,
    /// `vipgate.dev` Speaker; only in a cluster.
    Speaker,
    /// core Node; only in a cluster.
    Node,
    /// core ServiceAccount; only in a cluster.
    ServiceAccount,
}

impl Kind {
    /// Kinds that manifests may have, in the order in which they are listed to people. In a cluster
    /// there are VirtualIP, Speaker, Node and ServiceAccount too.
    pub const ALL: [Self; 19] = [
        Self::GatewayClass,
        Self::Gateway,
        Self::ListenerSet,
        Self::TcpRoute,
        Self::TlsRoute,
        Self::UdpRoute,
        Self::HttpRoute,
        Self::ReferenceGrant,
        Self::Namespace,
        Self::Service,
        Self::EndpointSlice,
        Self::Secret,
        Self::IpAddressPool,
        Self::L2Advertisement,
        Self::BgpPeer,
        Self::BgpAdvertisement,
        Self::BfdProfile,
        Self::Community,
        Self::Backend,
    ];

    /// `kind` as it is written in manifests.
    pub fn name(self) -> &'static str {
        match self {
            Self::GatewayClass => "GatewayClass",
            Self::Gateway => "Gateway",
            Self::ListenerSet => "ListenerSet",
            Self::TcpRoute => "TCPRoute",
            Self::TlsRoute => "TLSRoute",
            Self::UdpRoute => "UDPRoute",
            Self::HttpRoute => "HTTPRoute",
            Self::ReferenceGrant => "ReferenceGrant",
            Self::Namespace => "Namespace",
            Self::Service => "Service",
            Self::EndpointSlice => "EndpointSlice",
            Self::Secret => "Secret",
            Self::IpAddressPool => "IPAddressPool",
            Self::L2Advertisement => "L2Advertisement",
            Self::BgpPeer => "BGPPeer",
            Self::BgpAdvertisement => "BGPAdvertisement",
            Self::BfdProfile => "BFDProfile",
            Self::Community => "Community",
            Self::Backend => "Backend",
            Self::VirtualIp => "VirtualIP",
            Self::Speaker => "Speaker",
            Self::Node => "Node",
            Self::ServiceAccount => "ServiceAccount",
        }
    }

    /// API group; `""` is core.
    pub fn group(self) -> &'static str {
        match self {
            Self::GatewayClass
            | Self::Gateway
            | Self::ListenerSet
            | Self::TcpRoute
            | Self::TlsRoute
            | Self::UdpRoute
            | Self::HttpRoute
            | Self::ReferenceGrant => crate::GATEWAY_GROUP,
            Self::Namespace | Self::Service | Self::Secret | Self::Node | Self::ServiceAccount => {
                ""
            }
            Self::EndpointSlice => "discovery.k8s.io",
            Self::IpAddressPool
            | Self::L2Advertisement
            | Self::BgpPeer
            | Self::BgpAdvertisement
            | Self::BfdProfile
            | Self::Community
            | Self::Backend
            | Self::VirtualIp
            | Self::Speaker => crate::VIPGATE_GROUP,
        }
    }

    /// Versions that we read, the preferred one first.
    pub fn versions(self) -> &'static [&'static str] {
        match self {
            Self::GatewayClass | Self::Gateway | Self::ReferenceGrant | Self::HttpRoute => {
                &["v1", "v1beta1"]
            }
            Self::ListenerSet => &["v1"],
            Self::TcpRoute | Self::UdpRoute => &["v1", "v1alpha2"],
            Self::TlsRoute => &["v1", "v1alpha3", "v1alpha2"],
            Self::Namespace
            | Self::Service
            | Self::Secret
            | Self::EndpointSlice
            | Self::Node
            | Self::ServiceAccount => &["v1"],
            Self::IpAddressPool
            | Self::L2Advertisement
            | Self::BgpPeer
            | Self::BgpAdvertisement
            | Self::BfdProfile
            | Self::Community
            | Self::Backend
            | Self::VirtualIp
            | Self::Speaker => &["v1alpha1"],
        }
    }

    /// Whether objects of this kind live in a namespace.
    pub fn is_namespaced(self) -> bool {
        !matches!(
            self,
            Self::GatewayClass | Self::Namespace | Self::VirtualIp | Self::Speaker | Self::Node
        )
    }

    /// Whether it is a kind of route.
    pub fn is_route(self) -> bool {
        matches!(self, Self::TcpRoute | Self::TlsRoute | Self::UdpRoute | Self::HttpRoute)
    }

    /// Whether it is a kind of what routers are told, and by whom.
    pub fn is_about_bgp(self) -> bool {
        matches!(self, Self::BgpPeer | Self::BgpAdvertisement | Self::BfdProfile | Self::Community)
    }

    /// Name of the resource in URLs, such as `tcproutes`.
    pub fn plural(self) -> String {
        let name = self.name().to_ascii_lowercase();
        match (self, name.ends_with('s')) {
            (Self::Community, _) => "communities".to_owned(),
            (_, true) => format!("{name}es"),
            (_, false) => format!("{name}s"),
        }
    }

    /// `apiVersion` of the preferred version.
    pub fn api_version(self) -> String {
        self.api_version_in(self.versions()[0])
    }

    /// `apiVersion` of a version.
    pub fn api_version_in(self, version: &str) -> String {
        match self.group() {
            "" => version.to_owned(),
            group => format!("{group}/{version}"),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Namespace and name. Orders by namespace, then name, which is also the last tie-break of age.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub struct ObjectKey {
    /// `""` for cluster-scoped objects.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 63))]
    pub namespace: String,
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

impl ObjectKey {
    /// A key in a namespace.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    /// The key of an object with this metadata.
    pub fn of(meta: &ObjectMeta) -> Self {
        Self::new(meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            f.write_str(&self.name)
        } else {
            write!(f, "{}/{}", self.namespace, self.name)
        }
    }
}

/// An object, named: `Gateway default/web`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ObjectRef {
    /// Kind.
    pub kind: Kind,
    /// Namespace and name.
    #[serde(flatten)]
    pub key: ObjectKey,
}

impl ObjectRef {
    /// The object of this kind, namespace and name.
    pub fn new(kind: Kind, key: ObjectKey) -> Self {
        Self { kind, key }
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.key)
    }
}

/// What every kind has in common.
pub trait Resource {
    /// Which kind this is.
    const KIND: Kind;

    /// Its metadata.
    fn metadata(&self) -> &ObjectMeta;

    /// Its namespace and name.
    fn key(&self) -> ObjectKey {
        ObjectKey::of(self.metadata())
    }
}

/// How old an object is, for "the oldest wins": by creation time where both have one, dated before
/// undated, then by place. Without an API server the place is the file's path and the position in
/// it; with one it is empty, and equal ages are decided by namespace and name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Age {
    /// `metadata.creationTimestamp`.
    pub created: Option<Timestamp>,
    /// File path and index of the document in it.
    pub place: (String, usize),
}

impl Ord for Age {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self.created, other.created) {
            (Some(mine), Some(theirs)) => mine.cmp(&theirs),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => Ordering::Equal,
        }
        .then_with(|| self.place.cmp(&other.place))
    }
}

impl PartialOrd for Age {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// An object with its age, as the planner keeps it.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored<T> {
    /// The object.
    pub object: Arc<T>,
    /// How old it is.
    pub age: Age,
}

/// An object of any kind.
#[derive(Clone, Debug, PartialEq)]
pub enum Object {
    /// GatewayClass.
    GatewayClass(Arc<GatewayClass>),
    /// Gateway.
    Gateway(Arc<Gateway>),
    /// ListenerSet.
    ListenerSet(Arc<ListenerSet>),
    /// TCPRoute.
    TcpRoute(Arc<Route>),
    /// TLSRoute.
    TlsRoute(Arc<Route>),
    /// UDPRoute.
    UdpRoute(Arc<Route>),
    /// HTTPRoute.
    HttpRoute(Arc<Route>),
    /// ReferenceGrant.
    ReferenceGrant(Arc<ReferenceGrant>),
    /// Namespace.
    Namespace(Arc<Namespace>),
    /// Service.
    Service(Arc<Service>),
    /// EndpointSlice.
    EndpointSlice(Arc<EndpointSlice>),
    /// Secret.
    Secret(Arc<Secret>),
    /// IPAddressPool.
    IpAddressPool(Arc<IpAddressPool>),
    /// L2Advertisement.
    L2Advertisement(Arc<L2Advertisement>),
    /// BGPPeer.
    BgpPeer(Arc<BgpPeer>),
    /// BGPAdvertisement.
    BgpAdvertisement(Arc<BgpAdvertisement>),
    /// BFDProfile.
    BfdProfile(Arc<BfdProfile>),
    /// Community.
    Community(Arc<Community>),
    /// Backend.
    Backend(Arc<Backend>),
    /// VirtualIP.
    VirtualIp(Arc<VirtualIp>),
    /// Speaker.
    Speaker(Arc<Speaker>),
    /// Node.
    Node(Arc<Node>),
    /// ServiceAccount.
    ServiceAccount(Arc<ServiceAccount>),
}

impl Object {
    /// Its metadata.
    pub fn metadata(&self) -> &ObjectMeta {
        match self {
            Self::GatewayClass(object) => &object.metadata,
            Self::Gateway(object) => &object.metadata,
            Self::ListenerSet(object) => &object.metadata,
            Self::TcpRoute(object) => &object.metadata,
            Self::TlsRoute(object) => &object.metadata,
            Self::UdpRoute(object) => &object.metadata,
            Self::HttpRoute(object) => &object.metadata,
            Self::ReferenceGrant(object) => &object.metadata,
            Self::Namespace(object) => &object.metadata,
            Self::Service(object) => &object.metadata,
            Self::EndpointSlice(object) => &object.metadata,
            Self::Secret(object) => &object.metadata,
            Self::IpAddressPool(object) => &object.metadata,
            Self::L2Advertisement(object) => &object.metadata,
            Self::BgpPeer(object) => &object.metadata,
            Self::BgpAdvertisement(object) => &object.metadata,
            Self::BfdProfile(object) => &object.metadata,
            Self::Community(object) => &object.metadata,
            Self::Backend(object) => &object.metadata,
            Self::VirtualIp(object) => &object.metadata,
            Self::Speaker(object) => &object.metadata,
            Self::Node(object) => &object.metadata,
            Self::ServiceAccount(object) => &object.metadata,
        }
    }

    /// Its metadata, to change; copies the object when it is shared.
    pub fn metadata_mut(&mut self) -> &mut ObjectMeta {
        match self {
            Self::GatewayClass(object) => &mut Arc::make_mut(object).metadata,
            Self::Gateway(object) => &mut Arc::make_mut(object).metadata,
            Self::ListenerSet(object) => &mut Arc::make_mut(object).metadata,
            Self::TcpRoute(object) => &mut Arc::make_mut(object).metadata,
            Self::TlsRoute(object) => &mut Arc::make_mut(object).metadata,
            Self::UdpRoute(object) => &mut Arc::make_mut(object).metadata,
            Self::HttpRoute(object) => &mut Arc::make_mut(object).metadata,
            Self::ReferenceGrant(object) => &mut Arc::make_mut(object).metadata,
            Self::Namespace(object) => &mut Arc::make_mut(object).metadata,
            Self::Service(object) => &mut Arc::make_mut(object).metadata,
            Self::EndpointSlice(object) => &mut Arc::make_mut(object).metadata,
            Self::Secret(object) => &mut Arc::make_mut(object).metadata,
            Self::IpAddressPool(object) => &mut Arc::make_mut(object).metadata,
            Self::L2Advertisement(object) => &mut Arc::make_mut(object).metadata,
            Self::BgpPeer(object) => &mut Arc::make_mut(object).metadata,
            Self::BgpAdvertisement(object) => &mut Arc::make_mut(object).metadata,
            Self::BfdProfile(object) => &mut Arc::make_mut(object).metadata,
            Self::Community(object) => &mut Arc::make_mut(object).metadata,
            Self::Backend(object) => &mut Arc::make_mut(object).metadata,
            Self::VirtualIp(object) => &mut Arc::make_mut(object).metadata,
            Self::Speaker(object) => &mut Arc::make_mut(object).metadata,
            Self::Node(object) => &mut Arc::make_mut(object).metadata,
            Self::ServiceAccount(object) => &mut Arc::make_mut(object).metadata,
        }
    }

    /// Its kind.
    pub fn kind(&self) -> Kind {
        match self {
            Self::GatewayClass(_) => Kind::GatewayClass,
            Self::Gateway(_) => Kind::Gateway,
            Self::ListenerSet(_) => Kind::ListenerSet,
            Self::TcpRoute(_) => Kind::TcpRoute,
            Self::TlsRoute(_) => Kind::TlsRoute,
            Self::UdpRoute(_) => Kind::UdpRoute,
            Self::HttpRoute(_) => Kind::HttpRoute,
            Self::ReferenceGrant(_) => Kind::ReferenceGrant,
            Self::Namespace(_) => Kind::Namespace,
            Self::Service(_) => Kind::Service,
            Self::EndpointSlice(_) => Kind::EndpointSlice,
            Self::Secret(_) => Kind::Secret,
            Self::IpAddressPool(_) => Kind::IpAddressPool,
            Self::L2Advertisement(_) => Kind::L2Advertisement,
            Self::BgpPeer(_) => Kind::BgpPeer,
            Self::BgpAdvertisement(_) => Kind::BgpAdvertisement,
            Self::BfdProfile(_) => Kind::BfdProfile,
            Self::Community(_) => Kind::Community,
            Self::Backend(_) => Kind::Backend,
            Self::VirtualIp(_) => Kind::VirtualIp,
            Self::Speaker(_) => Kind::Speaker,
            Self::Node(_) => Kind::Node,
            Self::ServiceAccount(_) => Kind::ServiceAccount,
        }
    }

    /// The object as an API server shows it in a version: `apiVersion` and `kind`, then the rest.
    pub fn to_json(&self, version: &str) -> serde_json::Value {
        let body = match self {
            Self::GatewayClass(object) => serde_json::to_value(object),
            Self::Gateway(object) => serde_json::to_value(object),
            Self::ListenerSet(object) => serde_json::to_value(object),
            Self::TcpRoute(object) => serde_json::to_value(object),
            Self::TlsRoute(object) => serde_json::to_value(object),
            Self::UdpRoute(object) => serde_json::to_value(object),
            Self::HttpRoute(object) => serde_json::to_value(object),
            Self::ReferenceGrant(object) => serde_json::to_value(object),
            Self::Namespace(object) => serde_json::to_value(object),
            Self::Service(object) => serde_json::to_value(object),
            Self::EndpointSlice(object) => serde_json::to_value(object),
            Self::Secret(object) => serde_json::to_value(object),
            Self::IpAddressPool(object) => serde_json::to_value(object),
            Self::L2Advertisement(object) => serde_json::to_value(object),
            Self::BgpPeer(object) => serde_json::to_value(object),
            Self::BgpAdvertisement(object) => serde_json::to_value(object),
            Self::BfdProfile(object) => serde_json::to_value(object),
            Self::Community(object) => serde_json::to_value(object),
            Self::Backend(object) => serde_json::to_value(object),
            Self::VirtualIp(object) => serde_json::to_value(object),
            Self::Speaker(object) => serde_json::to_value(object),
            Self::Node(object) => serde_json::to_value(object),
            Self::ServiceAccount(object) => serde_json::to_value(object),
        };
        let mut whole = serde_json::Map::new();
        whole.insert("apiVersion".to_owned(), self.kind().api_version_in(version).into());
        whole.insert("kind".to_owned(), self.kind().name().into());
        if let Ok(serde_json::Value::Object(body)) = body {
            whole.extend(body);
        }
        whole.into()
    }

    /// Reads an object as an API server sends it, in any version that we read.
    ///
    /// # Errors
    /// When it has not the form of its kind.
    pub fn from_json(kind: Kind, json: serde_json::Value) -> Result<Self, serde_json::Error> {
        use serde_json::from_value as read;
        Ok(match kind {
            Kind::GatewayClass => Self::GatewayClass(read(json)?),
            Kind::Gateway => Self::Gateway(read(json)?),
            Kind::ListenerSet => Self::ListenerSet(read(json)?),
            Kind::TcpRoute => Self::TcpRoute(read(json)?),
            Kind::TlsRoute => Self::TlsRoute(read(json)?),
            Kind::UdpRoute => Self::UdpRoute(read(json)?),
            Kind::HttpRoute => Self::HttpRoute(read(json)?),
            Kind::ReferenceGrant => Self::ReferenceGrant(read(json)?),
            Kind::Namespace => Self::Namespace(read(json)?),
            Kind::Service => Self::Service(read(json)?),
            Kind::EndpointSlice => Self::EndpointSlice(read(json)?),
            Kind::Secret => Self::Secret(read(json)?),
            Kind::IpAddressPool => Self::IpAddressPool(read(json)?),
            Kind::L2Advertisement => Self::L2Advertisement(read(json)?),
            Kind::BgpPeer => Self::BgpPeer(read(json)?),
            Kind::BgpAdvertisement => Self::BgpAdvertisement(read(json)?),
            Kind::BfdProfile => Self::BfdProfile(read(json)?),
            Kind::Community => Self::Community(read(json)?),
            Kind::Backend => Self::Backend(read(json)?),
            Kind::VirtualIp => Self::VirtualIp(read(json)?),
            Kind::Speaker => Self::Speaker(read(json)?),
            Kind::Node => Self::Node(read(json)?),
            Kind::ServiceAccount => Self::ServiceAccount(read(json)?),
        })
    }

    /// A route of this kind; `None` when it is no kind of route.
    pub fn route(kind: Kind, route: Route) -> Option<Self> {
        let route = Arc::new(route);
        match kind {
            Kind::TcpRoute => Some(Self::TcpRoute(route)),
            Kind::TlsRoute => Some(Self::TlsRoute(route)),
            Kind::UdpRoute => Some(Self::UdpRoute(route)),
            Kind::HttpRoute => Some(Self::HttpRoute(route)),
            _ => None,
        }
    }

    /// Its kind, namespace and name.
    pub fn reference(&self) -> ObjectRef {
        ObjectRef { kind: self.kind(), key: ObjectKey::of(self.metadata()) }
    }
}

macro_rules! resources {
    ($($kind:ident),+ $(,)?) => {$(
        impl Resource for $kind {
            const KIND: Kind = Kind::$kind;

            fn metadata(&self) -> &ObjectMeta {
                &self.metadata
            }
        }

        impl From<$kind> for Object {
            fn from(object: $kind) -> Self {
                Self::$kind(Arc::new(object))
            }
        }
    )+};
}

resources!(
    GatewayClass,
    Gateway,
    ListenerSet,
    ReferenceGrant,
    Namespace,
    Service,
    EndpointSlice,
    Secret,
    IpAddressPool,
    L2Advertisement,
    BgpPeer,
    BgpAdvertisement,
    BfdProfile,
    Community,
    Backend,
    VirtualIp,
    Speaker,
    Node,
    ServiceAccount,
);

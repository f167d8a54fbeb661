//! The kinds, each named once: the table at the end makes of them the enum of kinds and the enum of objects.

use std::fmt;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{ObjectKey, ObjectRef, Resource};
use crate::gateway::{BackendTlsPolicy, Gateway, GatewayClass, ListenerSet, ReferenceGrant, Route};
use crate::k8s::{
    ConfigMap, EndpointSlice, Namespace, Node, ObjectMeta, Secret, Service, ServiceAccount,
};
use crate::vipgate::{
    Backend, BackendPolicy, BfdProfile, BgpAdvertisement, BgpPeer, Community, IpAddressPool,
    L2Advertisement, ListenerPolicy, Speaker, VirtualIp,
};
use crate::{GATEWAY_GROUP, VIPGATE_GROUP};

/// Reads one object, whatever its kind is.
pub(crate) trait Read {
    /// What goes wrong.
    type Error;

    /// Reads it as this type.
    ///
    /// # Errors
    /// When it has not the form of the type.
    fn read<T: DeserializeOwned>(self) -> Result<T, Self::Error>;
}

impl Read for serde_json::Value {
    type Error = serde_json::Error;

    fn read<T: DeserializeOwned>(self) -> Result<T, Self::Error> {
        serde_json::from_value(self)
    }
}

/// Rows are `Variant(Type) = "Kind", group, [versions, the preferred one first];`. Kinds of manifests come
/// first, in the order in which they are listed to people; a cluster has the others too.
macro_rules! kinds {
    (
        manifests { $($m:ident($mt:ty) = $mn:literal, $mg:expr, [$($mv:literal),+];)+ }
        cluster { $($c:ident($ct:ty) = $cn:literal, $cg:expr, [$($cv:literal),+];)+ }
    ) => {
        /// Every kind that vipgate reads.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Kind {
            $(
                #[doc = concat!($mn, ".")]
                #[serde(rename = $mn)]
                $m,
            )+
            $(
                #[doc = concat!($cn, "; only in a cluster.")]
                #[serde(rename = $cn)]
                $c,
            )+
        }

        impl Kind {
            /// Kinds that manifests may have, in the order in which they are listed to people. In a
            /// cluster there are others too.
            pub const ALL: [Self; [$($mn),+].len()] = [$(Self::$m),+];

            /// `kind` as it is written in manifests.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$m => $mn,)+
                    $(Self::$c => $cn,)+
                }
            }

            /// API group; `""` is core.
            pub fn group(self) -> &'static str {
                match self {
                    $(Self::$m => $mg,)+
                    $(Self::$c => $cg,)+
                }
            }

            /// Versions that we read, the preferred one first.
            pub fn versions(self) -> &'static [&'static str] {
                match self {
                    $(Self::$m => &[$($mv),+],)+
                    $(Self::$c => &[$($cv),+],)+
                }
            }
        }

        /// An object of any kind.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Object {
            $(#[doc = concat!($mn, ".")] $m(Arc<$mt>),)+
            $(#[doc = concat!($cn, ".")] $c(Arc<$ct>),)+
        }

        impl Object {
            /// Its metadata.
            pub fn metadata(&self) -> &ObjectMeta {
                match self {
                    $(Self::$m(object) => &object.metadata,)+
                    $(Self::$c(object) => &object.metadata,)+
                }
            }

            /// Its metadata, to change; copies the object when it is shared.
            pub fn metadata_mut(&mut self) -> &mut ObjectMeta {
                match self {
                    $(Self::$m(object) => &mut Arc::make_mut(object).metadata,)+
                    $(Self::$c(object) => &mut Arc::make_mut(object).metadata,)+
                }
            }

            /// Its kind.
            pub fn kind(&self) -> Kind {
                match self {
                    $(Self::$m(_) => Kind::$m,)+
                    $(Self::$c(_) => Kind::$c,)+
                }
            }

            /// Whether this is the very same object in memory: then there is nothing to compare.
            pub(crate) fn is_same(&self, other: &Self) -> bool {
                match (self, other) {
                    $((Self::$m(one), Self::$m(two)) => Arc::ptr_eq(one, two),)+
                    $((Self::$c(one), Self::$c(two)) => Arc::ptr_eq(one, two),)+
                    _ => false,
                }
            }

            fn body(&self) -> serde_json::Result<serde_json::Value> {
                match self {
                    $(Self::$m(object) => serde_json::to_value(object),)+
                    $(Self::$c(object) => serde_json::to_value(object),)+
                }
            }

            /// Reads an object of this kind from whatever form.
            pub(crate) fn read<R: Read>(kind: Kind, from: R) -> Result<Self, R::Error> {
                Ok(match kind {
                    $(Kind::$m => Self::$m(Arc::new(from.read::<$mt>()?)),)+
                    $(Kind::$c => Self::$c(Arc::new(from.read::<$ct>()?)),)+
                })
            }
        }
    };
}

kinds! {
    manifests {
        GatewayClass(GatewayClass) = "GatewayClass", GATEWAY_GROUP, ["v1", "v1beta1"];
        Gateway(Gateway) = "Gateway", GATEWAY_GROUP, ["v1", "v1beta1"];
        ListenerSet(ListenerSet) = "ListenerSet", GATEWAY_GROUP, ["v1"];
        TcpRoute(Route) = "TCPRoute", GATEWAY_GROUP, ["v1", "v1alpha2"];
        TlsRoute(Route) = "TLSRoute", GATEWAY_GROUP, ["v1", "v1alpha3", "v1alpha2"];
        UdpRoute(Route) = "UDPRoute", GATEWAY_GROUP, ["v1", "v1alpha2"];
        HttpRoute(Route) = "HTTPRoute", GATEWAY_GROUP, ["v1", "v1beta1"];
        ReferenceGrant(ReferenceGrant) = "ReferenceGrant", GATEWAY_GROUP, ["v1", "v1beta1"];
        BackendTlsPolicy(BackendTlsPolicy) = "BackendTLSPolicy", GATEWAY_GROUP, ["v1", "v1alpha3"];
        Namespace(Namespace) = "Namespace", "", ["v1"];
        Service(Service) = "Service", "", ["v1"];
        EndpointSlice(EndpointSlice) = "EndpointSlice", "discovery.k8s.io", ["v1"];
        Secret(Secret) = "Secret", "", ["v1"];
        ConfigMap(ConfigMap) = "ConfigMap", "", ["v1"];
        IpAddressPool(IpAddressPool) = "IPAddressPool", VIPGATE_GROUP, ["v1alpha1"];
        L2Advertisement(L2Advertisement) = "L2Advertisement", VIPGATE_GROUP, ["v1alpha1"];
        BgpPeer(BgpPeer) = "BGPPeer", VIPGATE_GROUP, ["v1alpha1"];
        BgpAdvertisement(BgpAdvertisement) = "BGPAdvertisement", VIPGATE_GROUP, ["v1alpha1"];
        BfdProfile(BfdProfile) = "BFDProfile", VIPGATE_GROUP, ["v1alpha1"];
        Community(Community) = "Community", VIPGATE_GROUP, ["v1alpha1"];
        Backend(Backend) = "Backend", VIPGATE_GROUP, ["v1alpha1"];
        ListenerPolicy(ListenerPolicy) = "ListenerPolicy", VIPGATE_GROUP, ["v1alpha1"];
        BackendPolicy(BackendPolicy) = "BackendPolicy", VIPGATE_GROUP, ["v1alpha1"];
    }
    cluster {
        VirtualIp(VirtualIp) = "VirtualIP", VIPGATE_GROUP, ["v1alpha1"];
        Speaker(Speaker) = "Speaker", VIPGATE_GROUP, ["v1alpha1"];
        Node(Node) = "Node", "", ["v1"];
        ServiceAccount(ServiceAccount) = "ServiceAccount", "", ["v1"];
    }
}

impl Kind {
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

    /// Whether it is a kind that is attached to others and says more of them (GEP-713).
    pub fn is_policy(self) -> bool {
        matches!(self, Self::BackendTlsPolicy | Self::ListenerPolicy | Self::BackendPolicy)
    }

    /// Name of the resource in URLs, such as `tcproutes`.
    pub fn plural(self) -> String {
        let name = self.name().to_ascii_lowercase();
        if let Some(stem) =
            name.strip_suffix('y').filter(|stem| !stem.ends_with(['a', 'e', 'o', 'u']))
        {
            return format!("{stem}ies");
        }
        let ending = if name.ends_with('s') { "es" } else { "s" };
        format!("{name}{ending}")
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

impl Object {
    /// The object as an API server shows it in a version: `apiVersion` and `kind`, then the rest.
    pub fn to_json(&self, version: &str) -> serde_json::Value {
        let mut whole = serde_json::Map::new();
        whole.insert("apiVersion".to_owned(), self.kind().api_version_in(version).into());
        whole.insert("kind".to_owned(), self.kind().name().into());
        if let Ok(serde_json::Value::Object(body)) = self.body() {
            whole.extend(body);
        }
        whole.into()
    }

    /// Reads an object as an API server sends it, in any version that we read.
    ///
    /// # Errors
    /// When it has not the form of its kind.
    pub fn from_json(kind: Kind, json: serde_json::Value) -> Result<Self, serde_json::Error> {
        Self::read(kind, json)
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

/// A route has one type whatever its kind is, so it does not know its kind.
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
    BackendTlsPolicy,
    Namespace,
    Service,
    EndpointSlice,
    Secret,
    ConfigMap,
    IpAddressPool,
    L2Advertisement,
    BgpPeer,
    BgpAdvertisement,
    BfdProfile,
    Community,
    Backend,
    ListenerPolicy,
    BackendPolicy,
    VirtualIp,
    Speaker,
    Node,
    ServiceAccount,
);

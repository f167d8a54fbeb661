//! Routes: TCPRoute, TLSRoute, UDPRoute and HTTPRoute, in every version, as one shape.
//!
//! The four differ in what a rule may ask for; [`Object`](crate::Object) and
//! [`ObjectRef`](crate::ObjectRef) say which kind a route is. TCPRoute and UDPRoute have no
//! hostnames, and `v1` takes exactly one rule where `v1alpha2` takes up to 16. What an HTTPRoute
//! can ask for beyond what a stream of bytes can give is kept as it is written, to be named.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{BackendRef, ParentReference};
use crate::k8s::ObjectMeta;

/// Forwards connections of listeners to weighted backends (GEP-2644, GEP-2643, GEP-2645).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Route {
    /// Standard object metadata; namespaced.
    pub metadata: ObjectMeta,
    /// What is wanted.
    pub spec: RouteSpec,
}

/// `spec` of a route.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteSpec {
    /// Up to 32 parents.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parent_refs: Vec<ParentReference>,
    /// SNI (TLSRoute) or Host (HTTPRoute) to match, exact or with `*.` in front; up to 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hostnames: Vec<String>,
    /// TCPRoute and UDPRoute: exactly one in `v1`; of several in `v1alpha2` the first is served.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<RouteRule>,
}

/// `spec.rules[]` of a route.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteRule {
    /// Name of the rule, unique in the route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// 1..=16 weighted backends.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub backend_refs: Vec<BackendRef>,
    /// HTTPRoute: what of a request is matched; the API server fills in the catch-all
    /// (`path: {type: PathPrefix, value: /}`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub matches: Vec<Map<String, Value>>,
    /// HTTPRoute: what is done to a request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<Map<String, Value>>,
    /// HTTPRoute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<Map<String, Value>>,
    /// HTTPRoute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Map<String, Value>>,
    /// HTTPRoute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_persistence: Option<Map<String, Value>>,
}

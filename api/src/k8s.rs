//! The core Kubernetes types we use, under the names the rest of the program calls them by.

pub use k8s_openapi::ByteString;
pub use k8s_openapi::api::core::v1::{
    ConfigMap, Namespace, Node, Secret, Service, ServiceAccount, ServicePort, ServiceSpec,
};
pub use k8s_openapi::api::discovery::v1::{
    Endpoint, EndpointConditions, EndpointHints, EndpointPort, EndpointSlice,
};
pub use k8s_openapi::apimachinery::pkg::apis::meta::v1::{
    Condition as MetaCondition, LabelSelector, LabelSelectorRequirement, ObjectMeta, Time,
};
pub use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// Label of an EndpointSlice that names the Service it belongs to.
pub const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";
/// Label that every Namespace carries with its own name (set by the API server).
pub const NAMESPACE_NAME_LABEL: &str = "kubernetes.io/metadata.name";

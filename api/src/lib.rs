//! What people write and read: Gateway API types, the core Kubernetes types used, and the
//! `vipgate.dev` custom resources, with the reading of them from YAML.
//!
//! The Gateway API types are our own: one Rust type serves every version of a kind, and the
//! defaults of the CRD schemas are applied while decoding, as an API server would, so the rest of
//! the program never asks "and if it is absent?" about a defaulted field.

pub mod condition;
pub mod crd;
pub mod gateway;
pub mod k8s;
pub mod manifest;
pub mod object;
pub mod selector;
pub mod vipgate;

pub use condition::{Condition, ConditionStatus, ConditionType, Reason};
pub use object::{Age, FullName, Kind, Object, ObjectKey, ObjectRef, Resource, Stored};

/// Group of the Gateway API.
pub const GATEWAY_GROUP: &str = "gateway.networking.k8s.io";
/// Group of our own kinds.
pub const VIPGATE_GROUP: &str = "vipgate.dev";
/// `GatewayClass.spec.controllerName` of the classes that are ours.
pub const CONTROLLER_NAME: &str = "vipgate.dev/gateway-controller";

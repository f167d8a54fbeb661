//! What an API server refuses: the rules of the CRD schemas and their CEL, and of the core API,
//! for the fields that we have.
//!
//! Sources: Gateway API CRDs v1.6.1 (experimental where it allows more), `k8s.io/kubernetes`
//! validation of the core kinds, MetalLB v1beta1 for pools. A rule that concerns several objects
//! is the planner's; here one object is looked at alone.

mod bgp;
mod core;
mod gateway;
mod http;
mod listener;
mod metadata;
mod names;
mod policy;
mod route;
mod selector;
mod vipgate;

use std::collections::BTreeMap;

use super::Mode;
use super::problem::Findings;
use crate::Object;

/// What the checks of one object depend on, beside the object.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scope<'s> {
    /// Version in which the object is written.
    pub version: &'s str,
    /// Where it is used.
    pub mode: Mode,
}

/// Checks an object after defaulting.
pub(super) fn check(object: &Object, scope: Scope<'_>, findings: &mut Findings) {
    metadata::check(object, findings);
    match object {
        Object::GatewayClass(object) => gateway::class(object, findings),
        Object::Gateway(object) => gateway::gateway(object, findings),
        Object::ListenerSet(object) => gateway::listener_set(object, findings),
        Object::TcpRoute(route) | Object::UdpRoute(route) => {
            route::stream(object.kind(), route, scope.version, findings);
        }
        Object::TlsRoute(route) => {
            route::hostnames(&route.spec.hostnames, 1024, findings);
            route::needs_hostnames(&route.spec, scope.version, findings);
            route::stream(object.kind(), route, scope.version, findings);
        }
        Object::HttpRoute(object) => http::route(object, findings),
        Object::ReferenceGrant(object) => route::grant(object, findings),
        Object::Service(object) => core::service(object, scope.mode, findings),
        Object::EndpointSlice(object) => core::endpoint_slice(object, findings),
        Object::IpAddressPool(object) => vipgate::pool(object, findings),
        Object::L2Advertisement(object) => vipgate::l2_advertisement(object, findings),
        Object::BgpPeer(object) => bgp::peer(object, findings),
        Object::BgpAdvertisement(object) => bgp::advertisement(object, findings),
        Object::BfdProfile(object) => bgp::note(object.spec.faults(), findings),
        Object::Community(object) => bgp::note(object.spec.faults(), findings),
        Object::Backend(object) => vipgate::backend(object, findings),
        Object::BackendTlsPolicy(object) => policy::backend_tls(object, findings),
        Object::ListenerPolicy(object) => {
            policy::ours(&object.spec.target_refs, object.spec.faults(), findings)
        }
        Object::BackendPolicy(object) => {
            policy::ours(&object.spec.target_refs, object.spec.faults(), findings)
        }
        Object::Namespace(_)
        | Object::ConfigMap(_)
        | Object::Secret(_)
        | Object::VirtualIp(_)
        | Object::Speaker(_)
        | Object::Node(_)
        | Object::ServiceAccount(_) => {}
    }
}

/// `min..=max` items in a list.
fn length(path: &str, length: usize, min: usize, max: usize, findings: &mut Findings) {
    if length < min {
        findings.error(path, format!("is empty: write at least {min}"));
    } else if length > max {
        findings.error(path, format!("has {length} items: the most is {max}"));
    }
}

/// A TCP or UDP port.
fn port(path: &str, port: impl Into<i64>, findings: &mut Findings) {
    let port = port.into();
    if !(1..=65535).contains(&port) {
        findings.error(path, format!("must be a port from 1 to 65535, not {port}"));
    }
}

/// Finds items that are the same as an earlier one: calls back with (earlier, later).
fn duplicates<K: Ord>(keys: impl IntoIterator<Item = K>, mut found: impl FnMut(usize, usize)) {
    let mut first = BTreeMap::new();
    for (index, key) in keys.into_iter().enumerate() {
        if let Some(earlier) = first.get(&key) {
            found(*earlier, index);
        } else {
            first.insert(key, index);
        }
    }
}

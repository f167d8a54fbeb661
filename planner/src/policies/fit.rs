//! What of a policy means nothing to a protocol: it is taken out, and named.
//!
//! These are the only places that know. A field that a proxy learns to obey is taken off the list here.

use vipgate_api::gateway::TlsMode;
use vipgate_api::vipgate::{BackendPolicySpec, HealthCheck, HealthCheckType, ListenerPolicySpec};

use crate::admission::AdmittedListener;

/// What fits a listener; `proxied` says whether, by whatever policy, connections of it may begin with a PROXY
/// header.
pub(super) fn listener(
    mut spec: ListenerPolicySpec,
    listener: &AdmittedListener,
    proxied: bool,
) -> (ListenerPolicySpec, Vec<&'static str>) {
    let mut out = Vec::new();
    let is_udp = listener.protocol == "UDP";
    let speaks_first = matches!(listener.protocol.as_str(), "HTTP" | "HTTPS" | "TLS");
    let ends_tls = match listener.protocol.as_str() {
        "HTTPS" => true,
        "TLS" => listener.tls != Some(TlsMode::Passthrough),
        _ => false,
    };
    if is_udp {
        remove(&mut spec.proxy_protocol, "proxyProtocol", &mut out);
        remove(&mut spec.tcp_keepalive, "tcpKeepalive", &mut out);
    }
    // Without a header a client of a TCP listener has nothing to say first.
    if is_udp || !speaks_first && !proxied {
        remove(&mut spec.handshake_timeout, "handshakeTimeout", &mut out);
    }
    if !ends_tls {
        remove(&mut spec.tls, "tls", &mut out);
    }
    (spec, out)
}

/// What fits a backend, for sessions of UDP or for connections.
pub(super) fn backend(
    mut spec: BackendPolicySpec,
    is_udp: bool,
) -> (BackendPolicySpec, Vec<&'static str>) {
    let mut out = Vec::new();
    if is_udp {
        remove(&mut spec.proxy_protocol, "proxyProtocol", &mut out);
        remove(&mut spec.client_address, "clientAddress", &mut out);
        remove(&mut spec.connect, "connect", &mut out);
        // A check is made by TCP: of a server of datagrams it tells something where it names a port for that.
        let portless =
            |check: &HealthCheck| check.port.is_none() && check.kind != HealthCheckType::None;
        if spec.health_check.as_ref().is_some_and(portless) {
            remove(&mut spec.health_check, "healthCheck", &mut out);
        }
        remove(&mut spec.ejection, "ejection", &mut out);
        remove(&mut spec.gone_endpoints, "goneEndpoints", &mut out);
    }
    (spec, out)
}

fn remove<T>(field: &mut Option<T>, name: &'static str, out: &mut Vec<&'static str>) {
    if field.take().is_some() {
        out.push(name);
    }
}

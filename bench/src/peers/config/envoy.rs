//! Envoy: a listener and a cluster for each port. No limit of connections.

use super::{Port, RECEIVE_BUFFER, each};
use crate::identity::{Identity, NAME};
use crate::service::Kind;
use crate::site::{FRONT, SERVER};

const TYPES: &str = "type.googleapis.com/envoy.extensions";
/// `SOL_SOCKET` and `SO_RCVBUF`, for socket options are given by number.
const SOL_SOCKET: i32 = libc::SOL_SOCKET;
const SO_RCVBUF: i32 = libc::SO_RCVBUF;

/// As YAML.
pub(in crate::peers) fn envoy(ports: &[Port], identity: &Identity) -> String {
    let listeners = each(ports, |port| match port.kind {
        Kind::Udp => datagrams(port),
        _ => streams(port, identity),
    });
    let clusters = each(ports, cluster);
    format!("static_resources:\n  listeners:\n{listeners}  clusters:\n{clusters}")
}

fn streams(port: &Port, identity: &Identity) -> String {
    let front = port.front;
    let inspector = format!(
        "    listener_filters:\n    - name: envoy.filters.listener.tls_inspector\n      typed_config:\n        \
         \"@type\": {TYPES}.filters.listener.tls_inspector.v3.TlsInspector\n"
    );
    let terminates = format!(
        "      transport_socket:\n        name: envoy.transport_sockets.tls\n        typed_config:\n          \
         \"@type\": {TYPES}.transport_sockets.tls.v3.DownstreamTlsContext\n          common_tls_context:\n            \
         tls_params: {{tls_minimum_protocol_version: TLSv1_3, tls_maximum_protocol_version: TLSv1_3}}\n            \
         tls_certificates:\n            - certificate_chain: {{filename: {}}}\n              \
         private_key: {{filename: {}}}\n",
        identity.certificate().display(),
        identity.key().display()
    );
    let (before, matches, with) = match port.kind {
        // The name needs no look where there is one certificate.
        Kind::Terminate => ("", String::new(), terminates.as_str()),
        Kind::Passthrough => (
            inspector.as_str(),
            format!("      filter_chain_match: {{server_names: [{NAME}]}}\n"),
            "",
        ),
        _ => ("", String::new(), ""),
    };
    format!(
        "  - name: l{front}\n    address: {{socket_address: {{address: {FRONT}, port_value: {front}}}}}\n{before}    \
         filter_chains:\n    - filters:\n      - name: envoy.filters.network.tcp_proxy\n        typed_config:\n          \
         \"@type\": {TYPES}.filters.network.tcp_proxy.v3.TcpProxy\n          \
         stat_prefix: s{front}\n          cluster: c{front}\n{matches}{with}"
    )
}

/// A session stays with its endpoint (`use_per_packet_load_balancing` is off, as it comes).
fn datagrams(port: &Port) -> String {
    let front = port.front;
    format!(
        "  - name: l{front}\n    address: {{socket_address: {{protocol: UDP, address: {FRONT}, port_value: {front}}}}}\n    \
         enable_reuse_port: true\n    udp_listener_config: {{downstream_socket_config: {{prefer_gro: {GRO}}}}}\n    \
         socket_options:\n    \
         - {{level: {SOL_SOCKET}, name: {SO_RCVBUF}, int_value: {RECEIVE_BUFFER}, state: STATE_PREBIND}}\n    \
         listener_filters:\n    - name: envoy.filters.udp_listener.udp_proxy\n      typed_config:\n        \
         \"@type\": {TYPES}.filters.udp.udp_proxy.v3.UdpProxyConfig\n        stat_prefix: s{front}\n        \
         upstream_socket_config: {{prefer_gro: {GRO}}}\n        matcher:\n          on_no_match:\n            \
         action:\n              name: route\n              typed_config:\n                \
         \"@type\": {TYPES}.filters.udp.udp_proxy.v3.Route\n                cluster: c{front}\n"
    )
}

/// Whether sockets are to be given runs of datagrams that the kernel joined. The load sends no runs, and then Envoy takes
/// a datagram with each call rather than 16: by 5 % more of CPU time.
const GRO: bool = false;

fn cluster(port: &Port) -> String {
    let Port { front, back, .. } = port;
    format!(
        "  - name: c{front}\n    type: STATIC\n    connect_timeout: 1s\n    circuit_breakers:\n      thresholds:\n      \
         - {{max_connections: 100000, max_pending_requests: 100000, max_requests: 100000}}\n    \
         load_assignment:\n      cluster_name: c{front}\n      endpoints:\n      - lb_endpoints:\n        \
         - endpoint: {{address: {{socket_address: {{address: {SERVER}, port_value: {back}}}}}}}\n"
    )
}

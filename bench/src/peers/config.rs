//! The peers' configurations. `ports`: where to listen, and the port of the server.

use std::fmt::Write;
use std::path::Path;

use crate::site::{FRONT, SERVER, VIP};

type Ports<'a> = &'a [(u16, u16)];

/// One text for each port.
fn each(ports: Ports<'_>, one: impl Fn(u16, u16) -> String) -> String {
    ports.iter().map(|(front, back)| one(*front, *back)).collect()
}

pub(super) fn nft(ports: Ports<'_>) -> String {
    let rules = each(ports, |front, back| {
        format!("    ip daddr {FRONT} tcp dport {front} dnat to {SERVER}:{back}\n")
    });
    format!(
        "table ip bench {{\n  chain in {{\n    type nat hook prerouting priority dstnat;\n{rules}  }}\n}}\n"
    )
}

pub(super) fn vipgate(ports: Ports<'_>) -> String {
    let mut text = format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: GatewayClass\nmetadata: {{name: vipgate}}\n\
         spec: {{controllerName: vipgate.dev/gateway-controller}}\n---\n\
         apiVersion: vipgate.dev/v1alpha1\nkind: IPAddressPool\nmetadata: {{name: bench, namespace: vipgate-system}}\n\
         spec: {{addresses: [{VIP}/32]}}\n---\n\
         apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {{name: bench, namespace: default}}\n\
         spec:\n  gatewayClassName: vipgate\n  listeners:\n"
    );
    text +=
        &each(ports, |front, _| format!("  - {{name: p{front}, protocol: TCP, port: {front}}}\n"));
    text += &each(ports, |front, back| {
        format!(
            "---\napiVersion: gateway.networking.k8s.io/v1\nkind: TCPRoute\n\
             metadata: {{name: p{front}, namespace: default}}\n\
             spec:\n  parentRefs: [{{name: bench, sectionName: p{front}}}]\n  rules:\n  \
             - backendRefs: [{{group: vipgate.dev, kind: Backend, name: p{front}}}]\n---\n\
             apiVersion: vipgate.dev/v1alpha1\nkind: Backend\nmetadata: {{name: p{front}, namespace: default}}\n\
             spec:\n  endpoints: [{{address: {SERVER}, port: {back}}}]\n"
        )
    });
    text
}

pub(super) fn envoy(ports: Ports<'_>) -> String {
    let mut text = String::from("static_resources:\n  listeners:\n");
    for (front, back) in ports {
        // No limit of accepted connections, and no idle time-out while a test is on.
        let _ = write!(
            text,
            "  - name: l{front}\n    address: {{socket_address: {{address: {FRONT}, port_value: {front}}}}}\n    \
             filter_chains:\n    - filters:\n      - name: envoy.filters.network.tcp_proxy\n        typed_config:\n          \
             \"@type\": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy\n          \
             stat_prefix: s{front}\n          cluster: c{back}\n"
        );
    }
    text += "  clusters:\n";
    for (_, back) in ports {
        let _ = write!(
            text,
            "  - name: c{back}\n    type: STATIC\n    connect_timeout: 1s\n    circuit_breakers:\n      thresholds:\n      \
             - {{max_connections: 100000, max_pending_requests: 100000, max_requests: 100000}}\n    \
             load_assignment:\n      cluster_name: c{back}\n      endpoints:\n      - lb_endpoints:\n        \
             - endpoint: {{address: {{socket_address: {{address: {SERVER}, port_value: {back}}}}}}}\n"
        );
    }
    text
}

pub(super) fn haproxy(ports: Ports<'_>, threads: usize, splice: bool) -> String {
    let pipes = if splice { "  tune.pipesize 1048576\n" } else { "" };
    let options = if splice { "  option splice-request\n  option splice-response\n" } else { "" };
    let proxies = each(ports, |front, back| {
        format!("listen p{front}\n  bind {FRONT}:{front}\n  server one {SERVER}:{back}\n")
    });
    format!(
        "global\n  nbthread {threads}\n  maxconn 7000\n{pipes}defaults\n  mode tcp\n  timeout connect 1s\n  \
         timeout client 1h\n  timeout server 1h\n{options}{proxies}"
    )
}

pub(super) fn nginx(ports: Ports<'_>, threads: usize, directory: &Path) -> String {
    let servers = each(ports, |front, back| {
        format!(
            "  server {{ listen {FRONT}:{front} backlog=4096; proxy_pass {SERVER}:{back}; proxy_timeout 1h; \
             proxy_connect_timeout 1s; proxy_half_close on; tcp_nodelay on; }}\n"
        )
    });
    let at = directory.display();
    format!(
        "load_module /usr/lib/nginx/modules/ngx_stream_module.so;\nuser root;\ndaemon off;\nworker_processes {threads};\n\
         worker_rlimit_nofile 20000;\npid {at}/pid;\nerror_log {at}/errors warn;\n\
         events {{ worker_connections 19000; }}\nstream {{\n{servers}}}\n"
    )
}

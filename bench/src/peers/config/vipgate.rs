//! vipgate without a cluster: a Gateway with a listener and a route for each port, as docs/examples has them.

use super::{Port, each};
use crate::identity::{Identity, NAME};
use crate::service::Kind;
use crate::site::{SERVER, VIP};

/// The manifests.
pub(in crate::peers) fn vipgate(ports: &[Port], identity: &Identity) -> String {
    let mut text = format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: GatewayClass\nmetadata: {{name: vipgate}}\n\
         spec: {{controllerName: vipgate.dev/gateway-controller}}\n---\n\
         apiVersion: vipgate.dev/v1alpha1\nkind: IPAddressPool\nmetadata: {{name: bench, namespace: vipgate-system}}\n\
         spec: {{addresses: [{VIP}/32]}}\n---\n{}---\n\
         apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {{name: bench, namespace: default}}\n\
         spec:\n  gatewayClassName: vipgate\n  listeners:\n",
        secret(identity)
    );
    text += &each(ports, listener);
    text += &each(ports, route);
    text
}

fn secret(identity: &Identity) -> String {
    let indented = |pem: &str| pem.trim_end().replace('\n', "\n    ");
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: bench, namespace: default}}\n\
         type: kubernetes.io/tls\nstringData:\n  tls.crt: |\n    {}\n  tls.key: |\n    {}\n",
        indented(&identity.certificate),
        indented(&identity.key)
    )
}

fn listener(port: &Port) -> String {
    let what = match port.kind {
        Kind::Tcp => "protocol: TCP".to_owned(),
        Kind::Udp => "protocol: UDP".to_owned(),
        Kind::Terminate => {
            format!("protocol: TLS, hostname: {NAME}, tls: {{certificateRefs: [{{name: bench}}]}}")
        }
        Kind::Passthrough => format!("protocol: TLS, hostname: {NAME}, tls: {{mode: Passthrough}}"),
    };
    format!("  - {{name: p{0}, port: {0}, {what}}}\n", port.front)
}

fn route(port: &Port) -> String {
    let (kind, hostnames) = match port.kind {
        Kind::Tcp => ("TCPRoute", String::new()),
        Kind::Udp => ("UDPRoute", String::new()),
        Kind::Terminate | Kind::Passthrough => ("TLSRoute", format!("  hostnames: [{NAME}]\n")),
    };
    let Port { front, back, .. } = port;
    format!(
        "---\napiVersion: gateway.networking.k8s.io/v1\nkind: {kind}\n\
         metadata: {{name: p{front}, namespace: default}}\n\
         spec:\n  parentRefs: [{{name: bench, sectionName: p{front}}}]\n{hostnames}  rules:\n  \
         - backendRefs: [{{group: vipgate.dev, kind: Backend, name: p{front}}}]\n---\n\
         apiVersion: vipgate.dev/v1alpha1\nkind: Backend\nmetadata: {{name: p{front}, namespace: default}}\n\
         spec:\n  endpoints: [{{address: {SERVER}, port: {back}}}]\n"
    )
}

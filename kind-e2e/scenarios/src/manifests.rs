//! The objects of scenarios, as text.

/// Where all of them are.
pub(crate) const NAMESPACE: &str = "vipgate-e2e";
/// Of nodes that may have VIPs.
const EDGE: &str = "vipgate.dev/e2e: edge";

/// What echo-basic is told to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Server {
    /// Says a line, and its pod for every connection.
    Tcp,
    /// Says its pod for every datagram.
    Udp,
    /// HTTPS, with the certificate of the Secret of the same name.
    Tls,
}

/// The namespace, and that only edges announce VIPs of the pool `default`.
pub(crate) fn ground(installed_in: &str) -> String {
    format!(
        "apiVersion: v1
kind: Namespace
metadata: {{name: {NAMESPACE}}}
---
apiVersion: vipgate.dev/v1alpha1
kind: L2Advertisement
metadata: {{name: e2e, namespace: {installed_in}}}
spec: {{ipAddressPools: [default], nodeSelectors: [{{matchLabels: {{{EDGE}}}}}]}}
"
    )
}

/// Servers on this node, and a Service of that name for them.
pub(crate) fn servers(name: &str, kind: Server, replicas: u8, image: &str, node: &str) -> String {
    let (protocol, port, variables): (_, _, &[(&str, &str)]) = match kind {
        Server::Tcp => ("TCP", 3000, &[("TCP_ECHO_SERVER", "1")]),
        Server::Udp => ("UDP", 8080, &[("UDP_ECHO_SERVER", "1"), ("UDP_PORT", "8080")]),
        Server::Tls => (
            "TCP",
            8443,
            &[("TLS_SERVER_CERT", "/tls/tls.crt"), ("TLS_SERVER_PRIVKEY", "/tls/tls.key")],
        ),
    };
    let variable =
        |(name, value): &(&str, &str)| format!("        - {{name: {name}, value: '{value}'}}\n");
    let variables: String = variables.iter().map(variable).collect();
    let (mounts, volumes) = match kind {
        Server::Tls => (
            "        volumeMounts: [{name: tls, mountPath: /tls}]\n".to_owned(),
            format!("      volumes: [{{name: tls, secret: {{secretName: {name}}}}}]\n"),
        ),
        _ => (String::new(), String::new()),
    };
    format!(
        "apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, namespace: {NAMESPACE}}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      nodeSelector: {{kubernetes.io/hostname: {node}}}
      tolerations: [{{operator: Exists}}]
      containers:
      - name: echo
        image: {image}
        ports: [{{containerPort: {port}, protocol: {protocol}}}]
        env:
        - {{name: POD_NAME, valueFrom: {{fieldRef: {{fieldPath: metadata.name}}}}}}
        - {{name: NAMESPACE, valueFrom: {{fieldRef: {{fieldPath: metadata.namespace}}}}}}
        - {{name: SERVICE_NAME, value: {name}}}
{variables}{mounts}{volumes}---
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: {NAMESPACE}}}
spec:
  ipFamilyPolicy: PreferDualStack
  selector: {{app: {name}}}
  ports: [{{port: {port}, protocol: {protocol}}}]
"
    )
}

/// A Gateway with one listener; `pool` names the pool, where it is not any.
pub(crate) fn gateway(name: &str, listener: &str, pool: Option<&str>) -> String {
    let annotations = pool.map_or(String::new(), |pool| {
        format!(", annotations: {{vipgate.dev/address-pool: {pool}}}")
    });
    format!(
        "apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: {name}, namespace: {NAMESPACE}{annotations}}}
spec:
  gatewayClassName: vipgate
  listeners: [{{name: main, {listener}}}]
"
    )
}

/// A route called `name` of the Gateway `parent`. `more` is of its spec, such as hostnames; backends are Services with
/// port and weight.
pub(crate) fn route(
    kind: &str,
    (name, parent): (&str, &str),
    more: &str,
    backends: &[(&str, u16, u8)],
) -> String {
    let refs: Vec<String> = backends
        .iter()
        .map(|(name, port, weight)| format!("{{name: {name}, port: {port}, weight: {weight}}}"))
        .collect();
    format!(
        "apiVersion: gateway.networking.k8s.io/v1
kind: {kind}
metadata: {{name: {name}, namespace: {NAMESPACE}}}
spec:
  parentRefs: [{{name: {parent}}}]
{more}  rules: [{{backendRefs: [{refs}]}}]
",
        refs = refs.join(", ")
    )
}

/// A Service with a VIP, for the servers called `app`.
pub(crate) fn service(name: &str, app: &str) -> String {
    format!(
        "apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: {NAMESPACE}}}
spec:
  type: LoadBalancer
  loadBalancerClass: vipgate.dev/service
  ipFamilyPolicy: PreferDualStack
  selector: {{app: {app}}}
  ports: [{{port: 80, targetPort: 3000}}]
"
    )
}

/// A certificate and its key, as a Secret of this name.
pub(crate) fn secret(name: &str, certificate: &str, key: &str) -> String {
    let indented = |text: &str| text.trim_end().replace('\n', "\n    ");
    format!(
        "apiVersion: v1
kind: Secret
metadata: {{name: {name}, namespace: {NAMESPACE}}}
type: kubernetes.io/tls
stringData:
  tls.crt: |
    {}
  tls.key: |
    {}
",
        indented(certificate),
        indented(key)
    )
}

/// Sessions of the edges with these routers, and what they are told: the pool `routed`.
pub(crate) fn routed(installed_in: &str, routers: &[std::net::IpAddr]) -> String {
    let peer = |(number, router): (usize, &std::net::IpAddr)| {
        format!(
            "apiVersion: vipgate.dev/v1alpha1
kind: BGPPeer
metadata: {{name: e2e-{number}, namespace: {installed_in}}}
spec:
  myASN: 65001
  peerASN: 65002
  peerAddress: '{router}'
  connectTime: 1s
  holdTime: 3s
  nodeSelectors: [{{matchLabels: {{{EDGE}}}}}]
---
"
        )
    };
    let peers: String = routers.iter().enumerate().map(peer).collect();
    format!(
        "{peers}apiVersion: vipgate.dev/v1alpha1
kind: BGPAdvertisement
metadata: {{name: e2e, namespace: {installed_in}}}
spec: {{ipAddressPools: [routed], nodeSelectors: [{{matchLabels: {{{EDGE}}}}}]}}
"
    )
}

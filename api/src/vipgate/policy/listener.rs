//! ListenerPolicy: how listeners treat their clients.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::check::{self, Faults};
use crate::gateway::PolicyTargetReference;
use crate::k8s::ObjectMeta;
use crate::vipgate::Fault;

/// How listeners of a Gateway or ListenerSet treat their clients.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ListenerPolicy {
    /// Standard object metadata; namespaced.
    pub metadata: ObjectMeta,
    /// What is wanted.
    pub spec: ListenerPolicySpec,
}

/// What is wanted of listeners, and of which.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListenerPolicySpec {
    /// Gateways and ListenerSets of the policy's namespace, as a whole or one listener of them
    /// (`sectionName`). What is said of a listener goes before what is said of its whole Gateway or
    /// ListenerSet, field by field; and what is said of a ListenerSet before what is said of its Gateway.
    #[schemars(schema_with = "crate::crd::rules::policy::listener_targets")]
    pub target_refs: Vec<PolicyTargetReference>,
    /// Load balancers in front of this one, which say by the PROXY protocol (version 1 or 2) who the client
    /// is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_protocol: Option<ProxyProtocolSources>,
    /// Client addresses that may connect, as CIDRs; all unless said. With the PROXY protocol it is the client
    /// that counts, not who stands in front.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::crd::rules::policy::networks")]
    pub allowed_source_ranges: Option<Vec<String>>,
    /// Client addresses that may not connect, even if they are allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::crd::rules::policy::networks")]
    pub denied_source_ranges: Option<Vec<String>>,
    /// How many connections there may be. Each node counts its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    /// How long both directions of a connection may be silent before it is reset, `0s` for ever; `1h` unless
    /// said. Of UDP, how long a session may be silent; there it has an end in any case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::crd::rules::policy::idle_timeout")]
    pub idle_timeout: Option<String>,
    /// How long a client may take from connecting until it has said what it wants (PROXY header, request
    /// header, TLS handshake); `5s` unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::crd::rules::policy::handshake_timeout")]
    pub handshake_timeout: Option<String>,
    /// Ask silent clients whether they are still there; as the host has it unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp_keepalive: Option<TcpKeepalive>,
    /// What of TLS is agreed on, where it ends here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ListenerTls>,
    /// A line in the log for connections that ended; none unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_log: Option<AccessLog>,
}

/// Who begins connections with a PROXY header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProxyProtocolSources {
    /// From these addresses, as CIDRs, a connection begins with the header or is reset. What comes from
    /// elsewhere is a client itself, and what it sends is forwarded as it comes.
    #[schemars(schema_with = "crate::crd::rules::policy::networks")]
    pub from: Vec<String>,
}

/// How many connections there may be; of UDP, sessions. What is not said is not limited.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// At once, of one listener on one node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub connections: Option<u32>,
    /// At once from one client address (of IPv6, from its /64), of one listener on one node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub connections_per_source: Option<u32>,
    /// How many may begin in a second, in the long run, of one listener on one node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub new_connections_per_second: Option<u32>,
    /// How many may begin at once; as many as in a second unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub burst: Option<u32>,
}

/// TCP keepalive (tcp(7)).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TcpKeepalive {
    /// Silence before a client is asked, in whole seconds; `60s` unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::crd::rules::policy::keepalive")]
    pub time: Option<String>,
    /// Between two questions, in whole seconds; `15s` unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::crd::rules::policy::keepalive")]
    pub interval: Option<String>,
    /// Questions without an answer after which the connection is reset; 4 unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 127))]
    pub probes: Option<u32>,
}

/// Versions and ciphers of TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = crate::crd::rules::policy::suites_of_version()))]
pub struct ListenerTls {
    /// The lowest version; `"1.2"` unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::crd::rules::policy::tls_version")]
    pub min_version: Option<String>,
    /// Cipher suites that are agreed on, by the names that IANA gives them; all of these unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::crd::rules::policy::cipher_suites")]
    pub cipher_suites: Option<Vec<String>>,
}

/// Which connections are logged when they end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccessLog {
    /// `false` for none, where the whole Gateway has a log; `true` unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// One of so many is logged; 1, which is every one, unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub sample_one_in: Option<u32>,
}

/// Cipher suites that there are, by their IANA names: those of TLS 1.3 first.
pub const CIPHER_SUITES: [&str; 9] = [
    "TLS_AES_256_GCM_SHA384",
    "TLS_AES_128_GCM_SHA256",
    "TLS_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
];

/// Versions of TLS that there are.
pub const TLS_VERSIONS: [&str; 2] = ["1.2", "1.3"];

impl ListenerPolicySpec {
    /// What is wrong with it.
    pub fn faults(&self) -> Vec<Fault> {
        let mut faults = Faults::default();
        faults.targets(&self.target_refs, check::LISTENER_TARGETS, true);
        let from = self.proxy_protocol.as_ref().map(|proxy| &proxy.from);
        for (field, networks) in [
            ("proxyProtocol.from", from),
            ("allowedSourceRanges", self.allowed_source_ranges.as_ref()),
            ("deniedSourceRanges", self.denied_source_ranges.as_ref()),
        ] {
            faults.networks(field, networks);
        }
        let limits = self.limits.clone().unwrap_or_default();
        for (field, value) in [
            ("connections", limits.connections),
            ("connectionsPerSource", limits.connections_per_source),
            ("newConnectionsPerSecond", limits.new_connections_per_second),
            ("burst", limits.burst),
        ] {
            faults.number(&format!("limits.{field}"), value, 1, 10_000_000);
        }
        faults.duration("idleTimeout", self.idle_timeout.as_deref(), check::IDLE);
        faults.duration("handshakeTimeout", self.handshake_timeout.as_deref(), check::HANDSHAKE);
        if let Some(keepalive) = &self.tcp_keepalive {
            let times = [("time", &keepalive.time), ("interval", &keepalive.interval)];
            for (field, time) in times {
                faults.duration(
                    &format!("tcpKeepalive.{field}"),
                    time.as_deref(),
                    check::KEEPALIVE,
                );
            }
            faults.number("tcpKeepalive.probes", keepalive.probes, 1, 127);
        }
        if let Some(tls) = &self.tls {
            faults.tls(tls);
        }
        let sampling = self.access_log.as_ref().and_then(|log| log.sample_one_in);
        faults.number("accessLog.sampleOneIn", sampling, 1, 1_000_000);
        faults.into_list()
    }
}

//! BackendPolicy: how connections get to backends.

use k8s_openapi::ByteString;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::check::{self, Faults};
use crate::gateway::PolicyTargetReference;
use crate::k8s::ObjectMeta;
use crate::vipgate::Fault;

/// How connections get to the backends of a route, or to a Service or Backend from whatever route.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BackendPolicy {
    /// Standard object metadata; namespaced.
    pub metadata: ObjectMeta,
    /// What is wanted.
    pub spec: BackendPolicySpec,
}

/// What is wanted of connections to backends, and to which.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackendPolicySpec {
    /// Routes, Services and Backends of the policy's namespace. What is said of a Service or Backend goes
    /// before what is said of a route, field by field: whoever has the servers knows them best.
    #[schemars(schema_with = "crate::crd::rules::policy::backend_targets")]
    pub target_refs: Vec<PolicyTargetReference>,
    /// Which endpoint gets the next connection. `RoundRobin` (unless said): the next in turn.
    /// `LeastConnections`: of two that are drawn, the one with fewer connections from this node. `SourceHash`
    /// and `Maglev`: by the client's address, the same on all nodes; with `SourceHash` only the clients of an
    /// endpoint that goes move, with `Maglev` the endpoints' shares are more equal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Balancing")]
    pub balancing: Option<Balancing>,
    /// Whether a client stays with its endpoint; no unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_affinity: Option<SessionAffinity>,
    /// By which version of the PROXY protocol the backend is told of the client; `None` (unless said): by
    /// none. Every server behind must expect it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "ProxyProtocol")]
    pub proxy_protocol: Option<ProxyProtocol>,
    /// From which address the backend sees connections come: the node's (`Node`, unless said) or, on endpoints
    /// of the same node, the client's own (`Preserve`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "ClientAddress")]
    pub client_address: Option<ClientAddress>,
    /// How hard it is tried to connect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect: Option<Connect>,
    /// Ask endpoints whether they work, and pass over those that do not; not unless said. Counts as a whole:
    /// what is said of a Service replaces all that is said of its route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_check: Option<HealthCheck>,
    /// When an endpoint is passed over because connections to it fail; after 2 in a row unless said. It gets
    /// none until it can be connected to again. The last one is never passed over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ejection: Option<Ejection>,
    /// What becomes of connections to an endpoint that left the backend; they go on unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gone_endpoints: Option<GoneEndpoints>,
}

/// Which endpoint gets the next connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Balancing {
    /// The next in turn.
    RoundRobin,
    /// Of two that are drawn, the one with fewer connections from this node.
    LeastConnections,
    /// By the client's address, by rendezvous hash.
    SourceHash,
    /// By the client's address, by a Maglev table.
    Maglev,
}

/// Whether a client stays with its endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SessionAffinity {
    /// `ClientIP` (unless said): a client's address stays with its endpoint. `None`: it does not, whatever is
    /// said of the route.
    #[serde(default, rename = "type")]
    pub kind: AffinityType,
    /// For how long after its last connection began; `3h` unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::crd::rules::policy::affinity_timeout")]
    pub timeout: Option<String>,
}

/// By what a client is known again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AffinityType {
    /// By its address.
    #[default]
    #[serde(rename = "ClientIP")]
    ClientIp,
    /// Not at all.
    None,
}

/// A version of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ProxyProtocol {
    /// A line of text.
    V1,
    /// Binary, with what TLS said.
    V2,
    /// No header.
    None,
}

/// From which address the backend sees connections come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ClientAddress {
    /// The node's.
    Node,
    /// The client's own.
    Preserve,
}

/// How hard it is tried to connect.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Connect {
    /// How long one attempt may take; `1s` unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::crd::rules::policy::connect_timeout")]
    pub timeout: Option<String>,
    /// Attempts per connection, the first included, each at another endpoint if there is one; 3 unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 8))]
    pub tries: Option<u8>,
}

/// Asking endpoints whether they work.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = crate::crd::rules::policy::health_check()))]
pub struct HealthCheck {
    /// `TCP` (unless said): connect. `TLS`: and shake hands, whatever certificate is shown. `None`: do not ask,
    /// whatever is said of the route.
    #[serde(default, rename = "type")]
    pub kind: HealthCheckType,
    /// From the end of one question to the next; `5s` unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::crd::rules::policy::check_interval")]
    pub interval: Option<String>,
    /// How long a question may take; `1s` unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::crd::rules::policy::check_timeout")]
    pub timeout: Option<String>,
    /// Bad answers in a row after which an endpoint gets no new connections; 2 unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub unhealthy_threshold: Option<u32>,
    /// Good answers in a row after which it does again; 1 unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub healthy_threshold: Option<u32>,
    /// The port that is asked; the endpoint's own unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
    /// What is sent once connected; nothing unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1023))]
    pub send: Option<String>,
    /// `send` for what is no text, in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::crd::rules::policy::base64")]
    pub send_bytes: Option<ByteString>,
    /// What the answer has to begin with; no answer is waited for unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1023))]
    pub expect: Option<String>,
    /// `expect` for what is no text, in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::crd::rules::policy::base64")]
    pub expect_bytes: Option<ByteString>,
}

/// How endpoints are asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum HealthCheckType {
    /// By connecting.
    #[default]
    #[serde(rename = "TCP")]
    Tcp,
    /// By a TLS handshake.
    #[serde(rename = "TLS")]
    Tls,
    /// Not at all.
    None,
}

/// When an endpoint is passed over.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Ejection {
    /// `false`: never; `true` unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// After so many failed attempts in a row; 2 unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub failures: Option<u32>,
}

/// What becomes of connections to an endpoint that left the backend.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GoneEndpoints {
    /// They are reset after this time, `0s` for at once; never unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::crd::rules::policy::close_after")]
    pub close_after: Option<String>,
}

impl BackendPolicySpec {
    /// What is wrong with it.
    pub fn faults(&self) -> Vec<Fault> {
        let mut faults = Faults::default();
        faults.targets(&self.target_refs, check::BACKEND_TARGETS, false);
        if let Some(affinity) = &self.session_affinity {
            faults.duration(
                "sessionAffinity.timeout",
                affinity.timeout.as_deref(),
                check::AFFINITY,
            );
        }
        if let Some(connect) = &self.connect {
            faults.duration("connect.timeout", connect.timeout.as_deref(), check::CONNECT);
            faults.number("connect.tries", connect.tries.map(u32::from), 1, 8);
        }
        if let Some(check) = &self.health_check {
            faults.health_check(check);
        }
        let failures = self.ejection.as_ref().and_then(|ejection| ejection.failures);
        faults.number("ejection.failures", failures, 1, 100);
        let close_after = self.gone_endpoints.as_ref().and_then(|gone| gone.close_after.as_deref());
        faults.duration("goneEndpoints.closeAfter", close_after, check::CLOSE_AFTER);
        faults.into_list()
    }
}

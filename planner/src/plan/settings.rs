//! What policies say of listeners and of backends, worked out: no field is open any more.

use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Serialize, Serializer};

use super::Certificate;

/// How a listener treats its clients (ListenerPolicy). Numbers are those of one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListenerSettings {
    /// From where connections begin with a PROXY header. Whatever else connects is a client itself, and
    /// what it sends is forwarded as it comes. Nowhere when empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub proxy_from: Vec<IpNet>,
    /// Client addresses that may connect; all when empty. By the PROXY header where there is one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allowed: Vec<IpNet>,
    /// Client addresses that may not, even if allowed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub denied: Vec<IpNet>,
    /// Connections at once, or sessions of UDP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections: Option<u32>,
    /// The same from one client address; by IPv6, from its /64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections_per_source: Option<u32>,
    /// How fast new ones may come.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// How long both directions may be silent before a connection is reset; for ever when absent. Of a
    /// UDP listener, how long a session may be silent; what the engine has for it when absent.
    #[serde(serialize_with = "seconds")]
    pub idle_timeout: Option<Duration>,
    /// When a silent client is asked whether it is still there; as the host has it when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keepalive: Option<Keepalive>,
    /// From accept until the client has said what it wants: PROXY header, request header, TLS handshake.
    #[serde(serialize_with = "some_seconds")]
    pub handshake_timeout: Duration,
    /// What of TLS is agreed on.
    pub tls: TlsRange,
    /// Whether ended connections are logged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_log: Option<AccessLog>,
}

impl ListenerSettings {
    /// Of RFC 5382 REQ-5 the least for an established connection is two hours and four minutes; of
    /// Gateways that people know (HAProxy, nginx, Envoy) ten minutes to an hour.
    pub const IDLE_TIMEOUT: Duration = Duration::from_secs(3600);

    /// What holds of a listener of UDP of which no policy says anything: there is no handshake, and how long a
    /// session may be silent is left to the engine.
    pub fn of_datagrams() -> Self {
        Self { idle_timeout: None, handshake_timeout: Duration::ZERO, ..Self::default() }
    }

    /// Whether no policy says anything.
    pub(super) fn is_plain(this: &Arc<Self>) -> bool {
        **this == Self::default() || **this == Self::of_datagrams()
    }
}

impl Default for ListenerSettings {
    fn default() -> Self {
        Self {
            proxy_from: Vec::new(),
            allowed: Vec::new(),
            denied: Vec::new(),
            connections: None,
            connections_per_source: None,
            rate: None,
            idle_timeout: Some(Self::IDLE_TIMEOUT),
            keepalive: None,
            handshake_timeout: Duration::from_secs(5),
            tls: TlsRange::default(),
            access_log: None,
        }
    }
}

/// How fast something may come: `per_second` in the long run, `burst` at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rate {
    /// At least 1.
    pub per_second: u32,
    /// At least 1.
    pub burst: u32,
}

/// TCP keepalive (tcp(7)); each at least a second, or once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Keepalive {
    /// `TCP_KEEPIDLE`.
    #[serde(serialize_with = "some_seconds")]
    pub idle: Duration,
    /// `TCP_KEEPINTVL`.
    #[serde(serialize_with = "some_seconds")]
    pub interval: Duration,
    /// `TCP_KEEPCNT`.
    pub probes: u32,
}

/// Versions and ciphers of TLS that a listener agrees on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TlsRange {
    /// The lowest version.
    pub min: TlsVersion,
    /// Names of the TLS registry of IANA, such as `TLS_AES_128_GCM_SHA256`; all that we have when empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ciphers: Vec<String>,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum TlsVersion {
    /// RFC 5246.
    #[default]
    #[serde(rename = "1.2")]
    V1_2,
    /// RFC 8446.
    #[serde(rename = "1.3")]
    V1_3,
}

/// Which ended connections are logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AccessLog {
    /// One of so many; 1 is every one.
    pub one_of: u32,
}

/// Which certificates clients have to show, and how it is known that they are right (GEP-91).
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClientValidation {
    /// Certificates, DER, that a client's has to go back to.
    #[serde(serialize_with = "length")]
    pub roots: Vec<Vec<u8>>,
    /// Whether a client without a certificate, or with a wrong one, is served too (`AllowInsecureFallback`).
    pub optional: bool,
}

/// How connections get to a backend (BackendPolicy, BackendTLSPolicy).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BackendSettings {
    /// Which endpoint gets the next connection.
    pub balancing: Balancing,
    /// How long a client's address stays with its endpoint after its last connection began; not at all when
    /// absent.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "seconds")]
    pub affinity: Option<Duration>,
    /// What is said to the backend of the client, before the first byte.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy_protocol: Option<ProxyVersion>,
    /// From which address connections come.
    pub client_address: ClientAddress,
    /// How long one attempt may take.
    #[serde(serialize_with = "some_seconds")]
    pub connect_timeout: Duration,
    /// Attempts per connection, the first included; 1 to 8.
    pub connect_tries: u8,
    /// Whether endpoints are asked without being asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub check: Option<Check>,
    /// After how many failed attempts in a row an endpoint is passed over; never when absent.
    pub eject_after: Option<u32>,
    /// How long a connection to an endpoint that left the backend may go on; for ever when absent.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "seconds")]
    pub close_gone_after: Option<Duration>,
    /// How the backend is spoken to, if by TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<Arc<BackendTls>>,
}

impl Default for BackendSettings {
    fn default() -> Self {
        Self {
            balancing: Balancing::default(),
            affinity: None,
            proxy_protocol: None,
            client_address: ClientAddress::default(),
            connect_timeout: Duration::from_secs(1),
            connect_tries: 3,
            check: None,
            eject_after: Some(2),
            close_gone_after: None,
            tls: None,
        }
    }
}

/// Which endpoint of a backend gets the next connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum Balancing {
    /// The next in turn.
    #[default]
    RoundRobin,
    /// Of two that are drawn, the one with fewer connections from this node.
    LeastConnections,
    /// By the client's address, by rendezvous hash: the same on all nodes, and an endpoint that comes or
    /// goes moves its own clients alone.
    SourceHash,
    /// By the client's address, by a Maglev table: the same on all nodes, shares equal within one per cent,
    /// and few other clients move.
    Maglev,
}

impl Balancing {
    /// Whether the client's address decides.
    pub fn is_hash(self) -> bool {
        matches!(self, Self::SourceHash | Self::Maglev)
    }
}

/// A version of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum ProxyVersion {
    /// A line of text.
    V1,
    /// Binary, with what TLS said (ALPN, server name) where it ends here.
    V2,
}

/// From which address the backend sees a connection come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum ClientAddress {
    /// The node's.
    #[default]
    Node,
    /// The client's own, for endpoints on this node.
    Preserve,
}

/// Asking endpoints whether they work (active health checks).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// From the end of one question to the next.
    #[serde(serialize_with = "some_seconds")]
    pub interval: Duration,
    /// How long a question may take.
    #[serde(serialize_with = "some_seconds")]
    pub timeout: Duration,
    /// Bad answers in a row after which it gets no new connections.
    pub unhealthy_after: u32,
    /// Good ones after which it does again.
    pub healthy_after: u32,
    /// Where to ask; the endpoint's own port when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Begins with this PROXY header, which says that it is of no client; without one when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy_protocol: Option<ProxyVersion>,
    /// Whether a TLS handshake is part of it (what is shown is not looked at).
    pub tls: bool,
    /// What is sent.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub send: Vec<u8>,
    /// What the answer has to begin with; any when empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub expect: Vec<u8>,
}

/// TLS to a backend (BackendTLSPolicy, GEP-1897).
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BackendTls {
    /// The server name that is asked for (SNI).
    pub server_name: String,
    /// Names of which its certificate has to have one; the server name when empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub subject_names: Vec<SubjectName>,
    /// Certificates, DER, that the backend's has to go back to; those that the host trusts when absent.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "some_length")]
    pub roots: Option<Vec<Vec<u8>>>,
    /// What is shown to a backend that asks for a certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Arc<Certificate>>,
}

/// A name in a certificate (subjectAltName).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum SubjectName {
    /// dNSName; may begin with `*.`.
    Hostname(String),
    /// uniformResourceIdentifier, such as a SPIFFE ID.
    Uri(String),
}

impl std::fmt::Debug for ClientValidation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ClientValidation({} roots, optional: {})", self.roots.len(), self.optional)
    }
}

impl std::fmt::Debug for BackendTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let roots = self.roots.as_ref().map(Vec::len);
        let Self { server_name, subject_names, certificate, .. } = self;
        write!(f, "BackendTls({server_name}, {subject_names:?}, {roots:?} roots, {certificate:?})")
    }
}

fn some_seconds<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format!("{time:?}"))
}

fn seconds<S: Serializer>(time: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => some_seconds(time, serializer),
        None => serializer.serialize_str("never"),
    }
}

fn length<S: Serializer>(roots: &[Vec<u8>], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(roots.len() as u64)
}

fn some_length<S: Serializer>(
    roots: &Option<Vec<Vec<u8>>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_some(&roots.as_ref().map(Vec::len))
}

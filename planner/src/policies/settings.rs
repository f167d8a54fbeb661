//! From what is said to settings: every field that nobody says has its default here.
//!
//! What is read here has passed its checks: a text that is none of what it should be counts as not said.

use std::time::Duration;

use vipgate_api::gateway::duration;
use vipgate_api::k8s::ByteString;
use vipgate_api::vipgate::{self, BackendPolicySpec, ListenerPolicySpec, network};

use crate::admission::AdmittedListener;
use crate::plan::{
    AccessLog, BackendSettings, Balancing, Check, ClientAddress, Keepalive, ListenerSettings,
    ProxyVersion, Rate, TlsRange, TlsVersion,
};

/// How long a client stays with its endpoint (as with Services, `sessionAffinityConfig`).
const AFFINITY: Duration = Duration::from_secs(3 * 3600);

pub(super) fn of_listener(
    spec: &ListenerPolicySpec,
    listener: &AdmittedListener,
) -> ListenerSettings {
    let defaults = match listener.protocol.as_str() {
        "UDP" => ListenerSettings::of_datagrams(),
        _ => ListenerSettings::default(),
    };
    let networks = |texts: Option<&Vec<String>>| {
        texts.into_iter().flatten().filter_map(|text| network(text)).collect()
    };
    let limits = spec.limits.clone().unwrap_or_default();
    let rate = limits
        .new_connections_per_second
        .map(|per_second| Rate { per_second, burst: limits.burst.unwrap_or(per_second) });
    let idle_timeout = match time(spec.idle_timeout.as_ref()) {
        Some(Duration::ZERO) => None,
        Some(time) => Some(time),
        None => defaults.idle_timeout,
    };
    let keepalive = spec.tcp_keepalive.as_ref().map(|keepalive| Keepalive {
        idle: time(keepalive.time.as_ref()).unwrap_or(Duration::from_secs(60)),
        interval: time(keepalive.interval.as_ref()).unwrap_or(Duration::from_secs(15)),
        probes: keepalive.probes.unwrap_or(4),
    });
    let log = spec.access_log.as_ref().filter(|log| log.enabled != Some(false));
    ListenerSettings {
        proxy_from: networks(spec.proxy_protocol.as_ref().map(|proxy| &proxy.from)),
        allowed: networks(spec.allowed_source_ranges.as_ref()),
        denied: networks(spec.denied_source_ranges.as_ref()),
        connections: limits.connections,
        connections_per_source: limits.connections_per_source,
        rate,
        idle_timeout,
        keepalive,
        handshake_timeout: time(spec.handshake_timeout.as_ref())
            .unwrap_or(defaults.handshake_timeout),
        tls: spec.tls.as_ref().map(tls).unwrap_or_default(),
        access_log: log.map(|log| AccessLog { one_of: log.sample_one_in.unwrap_or(1) }),
    }
}

fn tls(tls: &vipgate::ListenerTls) -> TlsRange {
    let min = match tls.min_version.as_deref() {
        Some("1.3") => TlsVersion::V1_3,
        _ => TlsVersion::V1_2,
    };
    TlsRange { min, ciphers: tls.cipher_suites.clone().unwrap_or_default() }
}

pub(super) fn of_backend(spec: &BackendPolicySpec) -> BackendSettings {
    let defaults = BackendSettings::default();
    let affinity = spec.session_affinity.as_ref();
    let affinity = affinity.filter(|one| one.kind == vipgate::AffinityType::ClientIp);
    let connect = spec.connect.clone().unwrap_or_default();
    let ejection = spec.ejection.clone().unwrap_or_default();
    let proxy_protocol = match spec.proxy_protocol {
        None | Some(vipgate::ProxyProtocol::None) => None,
        Some(vipgate::ProxyProtocol::V1) => Some(ProxyVersion::V1),
        Some(vipgate::ProxyProtocol::V2) => Some(ProxyVersion::V2),
    };
    BackendSettings {
        balancing: match spec.balancing {
            None | Some(vipgate::Balancing::RoundRobin) => Balancing::RoundRobin,
            Some(vipgate::Balancing::LeastConnections) => Balancing::LeastConnections,
            Some(vipgate::Balancing::SourceHash) => Balancing::SourceHash,
            Some(vipgate::Balancing::Maglev) => Balancing::Maglev,
        },
        affinity: affinity.map(|one| time(one.timeout.as_ref()).unwrap_or(AFFINITY)),
        proxy_protocol,
        client_address: match spec.client_address {
            None | Some(vipgate::ClientAddress::Node) => ClientAddress::Node,
            Some(vipgate::ClientAddress::Preserve) => ClientAddress::Preserve,
        },
        connect_timeout: time(connect.timeout.as_ref()).unwrap_or(defaults.connect_timeout),
        connect_tries: connect.tries.unwrap_or(defaults.connect_tries),
        check: spec.health_check.as_ref().and_then(|one| check(one, proxy_protocol)),
        eject_after: match ejection.enabled {
            Some(false) => None,
            _ => ejection.failures.or(defaults.eject_after),
        },
        close_gone_after: time(
            spec.gone_endpoints.as_ref().and_then(|gone| gone.close_after.as_ref()),
        ),
        tls: None,
    }
}

fn check(check: &vipgate::HealthCheck, header: Option<ProxyVersion>) -> Option<Check> {
    if check.kind == vipgate::HealthCheckType::None {
        return None;
    }
    let bytes = |text: &Option<String>, bytes: &Option<ByteString>| match (text, bytes) {
        (Some(text), _) => text.clone().into_bytes(),
        (None, Some(bytes)) => bytes.0.clone(),
        (None, None) => Vec::new(),
    };
    Some(Check {
        interval: time(check.interval.as_ref()).unwrap_or(Duration::from_secs(5)),
        timeout: time(check.timeout.as_ref()).unwrap_or(Duration::from_secs(1)),
        unhealthy_after: check.unhealthy_threshold.unwrap_or(2),
        healthy_after: check.healthy_threshold.unwrap_or(1),
        port: check.port,
        // What listens on a port of its own for this need not know of it.
        proxy_protocol: header.filter(|_| check.port.is_none()),
        tls: check.kind == vipgate::HealthCheckType::Tls,
        send: bytes(&check.send, &check.send_bytes),
        expect: bytes(&check.expect, &check.expect_bytes),
    })
}

fn time(text: Option<&String>) -> Option<Duration> {
    text.and_then(|text| duration(text))
}

//! The counters of forwarded connections: by listener, by its routes, by port, by endpoint.
//!
//! Those of routes have names of their own: what a listener counted is more than the sum of its routes,
//! and goes on when a route goes.

use std::fmt::{Display, Write};

use vipgate_speaker::proxy::{
    ConnectTimes, EndpointHealth, ListenerCounters, NotPreserved, PortCounters, ResetReason,
    Snapshot,
};

use super::text::{Metric, histogram, metrics, of_listener, of_route};

const OF_LISTENERS: [Metric<ListenerCounters>; 5] = [
    ("vipgate_tcp_connections", "gauge", "Connections that are open.", |counted| {
        vec![(None, counted.open)]
    }),
    ("vipgate_tcp_connections_total", "counter", "Connections accepted.", |counted| {
        vec![(None, counted.accepted)]
    }),
    (
        "vipgate_tcp_resets_total",
        "counter",
        "Connections that were reset or refused, by reason.",
        |counted| {
            let count = |reason| counted.resets.get(&reason).copied().unwrap_or_default();
            ResetReason::ALL.map(|reason| (Some(("reason", reason.name())), count(reason))).into()
        },
    ),
    (
        "vipgate_tcp_bytes_total",
        "counter",
        "Bytes from clients (in) and to clients (out), without TLS where that ends here.",
        |counted| {
            vec![
                (Some(("direction", "in")), counted.bytes_in),
                (Some(("direction", "out")), counted.bytes_out),
            ]
        },
    ),
    (
        "vipgate_tcp_addresses_not_preserved_total",
        "counter",
        "Connections to endpoints on this node from the node's address though the client's is wanted, by reason.",
        |counted| {
            let count = |why| counted.not_preserved.get(&why).copied().unwrap_or_default();
            NotPreserved::ALL.map(|why| (Some(("reason", why.name())), count(why))).into()
        },
    ),
];

const OF_ROUTES: [Metric<ListenerCounters>; 4] = [
    ("vipgate_tcp_route_connections", "gauge", "Connections that are open.", |counted| {
        vec![(None, counted.open)]
    }),
    (
        "vipgate_tcp_route_connections_total",
        "counter",
        "Connections that were for the route.",
        |counted| vec![(None, counted.accepted)],
    ),
    (
        "vipgate_tcp_route_resets_total",
        "counter",
        "Connections that were reset or refused once the route was known, by reason.",
        |counted| {
            let count = |reason| counted.resets.get(&reason).copied().unwrap_or_default();
            let reasons = ResetReason::ALL.iter().filter(|reason| reason.has_route());
            reasons.map(|reason| (Some(("reason", reason.name())), count(*reason))).collect()
        },
    ),
    (
        "vipgate_tcp_route_bytes_total",
        "counter",
        "Bytes from clients (in) and to clients (out), without TLS where that ends here.",
        |counted| {
            vec![
                (Some(("direction", "in")), counted.bytes_in),
                (Some(("direction", "out")), counted.bytes_out),
            ]
        },
    ),
];

const OF_PORTS: [Metric<PortCounters>; 3] = [
    (
        "vipgate_tcp_undecided",
        "gauge",
        "Connections whose client has not said yet which listener it means.",
        |counted| vec![(None, counted.undecided)],
    ),
    (
        "vipgate_tcp_port_connections_total",
        "counter",
        "Connections accepted where clients have to say first which listener they mean.",
        |counted| vec![(None, counted.accepted)],
    ),
    (
        "vipgate_tcp_port_resets_total",
        "counter",
        "Connections that ended before it was known which listener is meant, by reason.",
        |counted| {
            let count = |reason| counted.ended.get(&reason).copied().unwrap_or_default();
            ResetReason::ALL.map(|reason| (Some(("reason", reason.name())), count(reason))).into()
        },
    ),
];

const OF_ENDPOINTS: [Metric<EndpointHealth>; 4] = [
    (
        "vipgate_endpoint_up",
        "gauge",
        "1 unless new connections keep away from it, because it could not be connected to.",
        |health| vec![(None, u64::from(!(health.ejected || health.unhealthy)))],
    ),
    ("vipgate_endpoint_connects_total", "counter", "Connections made to it.", |health| {
        vec![(None, health.connected)]
    }),
    (
        "vipgate_endpoint_connect_failures_total",
        "counter",
        "Attempts to connect to it that failed.",
        |health| vec![(None, health.failed)],
    ),
    (
        "vipgate_endpoint_ejections_total",
        "counter",
        "How often connections began to keep away from it.",
        |health| vec![(None, health.ejections)],
    ),
];

const OF_ENGINE: [Metric<Snapshot>; 7] = [
    (
        "vipgate_tcp_connections_open",
        "gauge",
        "Connections that are open, of all listeners and ports.",
        |all| vec![(None, all.open as u64)],
    ),
    (
        "vipgate_tcp_connections_preserved",
        "gauge",
        "Connections that are open to endpoints that see their clients' addresses.",
        |all| vec![(None, all.preserved as u64)],
    ),
    (
        "vipgate_tcp_connections_limit",
        "gauge",
        "Connections that there may be: two files each.",
        |all| vec![(None, all.limit as u64)],
    ),
    (
        "vipgate_tcp_accept_pauses_total",
        "counter",
        "How often accepting stopped for a moment, without room or files.",
        |all| vec![(None, all.accept_pauses)],
    ),
    ("vipgate_panics_total", "counter", "Panics that ended one connection each.", |all| {
        vec![(None, all.panics)]
    }),
    (
        "vipgate_access_log_lines_total",
        "counter",
        "Lines of the access log that were written.",
        |all| vec![(None, all.logged)],
    ),
    (
        "vipgate_access_log_dropped_total",
        "counter",
        "Lines of the access log that were not written, as nobody took them in time or writing failed.",
        |all| vec![(None, all.log_dropped)],
    ),
];

/// All of them.
pub(super) fn render(snapshot: &Snapshot) -> String {
    let mut out = String::new();
    metrics(&mut out, &OF_ENGINE, &[(String::new(), snapshot)]);
    let listeners: Vec<_> =
        snapshot.listeners.iter().map(|(id, counted)| (of_listener(id), counted)).collect();
    metrics(&mut out, &OF_LISTENERS, &listeners);
    connect_times(&mut out, "vipgate_tcp_connect_seconds", &listeners);
    let routes = snapshot.routes.iter();
    let routes: Vec<_> =
        routes.map(|((id, route), counted)| (of_route(id, route), counted)).collect();
    metrics(&mut out, &OF_ROUTES, &routes);
    connect_times(&mut out, "vipgate_tcp_route_connect_seconds", &routes);
    let label = |name: &str, value: &dyn Display| format!("{name}=\"{value}\"");
    let ports: Vec<_> =
        snapshot.ports.iter().map(|(at, counted)| (label("port", at), counted)).collect();
    metrics(&mut out, &OF_PORTS, &ports);
    let endpoints = snapshot.endpoints.iter();
    let endpoints: Vec<_> = endpoints.map(|(at, one)| (label("endpoint", &at.0), one)).collect();
    metrics(&mut out, &OF_ENDPOINTS, &endpoints);
    out
}

fn connect_times(out: &mut String, name: &str, all: &[(String, &ListenerCounters)]) {
    let help = "How long connecting to endpoints took, where it succeeded.";
    let _ = write!(out, "# HELP {name} {help}\n# TYPE {name} histogram\n");
    for (labels, ListenerCounters { connects, .. }) in all {
        let bounds = ConnectTimes::BOUNDS.map(|micros| micros as f64 / 1e6);
        histogram(out, name, labels, bounds, (&connects.counts, connects.sum));
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Duration;

    use vipgate_api::{Kind, ObjectKey, ObjectRef};
    use vipgate_planner::{Endpoint, ListenerId};

    use super::*;

    #[test]
    fn everything_has_its_labels_and_every_reason() {
        let id = ListenerId {
            gateway: ObjectKey::new("default", "web"),
            set: None,
            name: "tls".to_owned(),
            address: "192.0.2.1".parse().unwrap(),
        };
        let mut connects = ConnectTimes { sum: Duration::from_millis(1500), ..Default::default() };
        connects.counts[0] = 2;
        connects.counts[8] = 1;
        let counted = ListenerCounters {
            accepted: 9,
            open: 2,
            bytes_in: 100,
            resets: [(ResetReason::NoName, 4)].into(),
            connects,
            ..ListenerCounters::default()
        };
        let port: SocketAddr = "192.0.2.1:443".parse().unwrap();
        let undecided = PortCounters { undecided: 7, ..PortCounters::default() };
        let endpoint = Endpoint("[2001:db8::1]:80".parse().unwrap());
        let health = EndpointHealth { ejected: true, failed: 3, ..EndpointHealth::default() };
        let route = ObjectRef::new(Kind::TlsRoute, ObjectKey::new("apps", "shop"));
        let of_route = ListenerCounters {
            accepted: 5,
            resets: [(ResetReason::ByBackend, 3)].into(),
            ..counted.clone()
        };
        let snapshot = Snapshot {
            routes: [((id.clone(), route), of_route)].into(),
            listeners: [(id, counted)].into(),
            ports: [(port, undecided)].into(),
            endpoints: [(endpoint, health)].into(),
            open: 9,
            ..Snapshot::default()
        };
        let text = render(&snapshot);
        let labels =
            "gateway=\"default/web\",parent=\"default/web\",listener=\"tls\",vip=\"192.0.2.1\"";
        let routed = format!("{labels},route=\"TLSRoute/apps/shop\"");
        let failures = "vipgate_endpoint_connect_failures_total";
        for line in [
            "vipgate_tcp_connections_open 9\n".to_owned(),
            "# TYPE vipgate_tcp_connections_total counter\n".to_owned(),
            format!("vipgate_tcp_connections_total{{{labels}}} 9\n"),
            format!("vipgate_tcp_bytes_total{{{labels},direction=\"in\"}} 100\n"),
            format!("vipgate_tcp_resets_total{{{labels},reason=\"no_name\"}} 4\n"),
            format!("vipgate_tcp_resets_total{{{labels},reason=\"tls\"}} 0\n"),
            format!("vipgate_tcp_route_connections{{{routed}}} 2\n"),
            format!("vipgate_tcp_route_connections_total{{{routed}}} 5\n"),
            format!("vipgate_tcp_route_bytes_total{{{routed},direction=\"in\"}} 100\n"),
            format!("vipgate_tcp_route_resets_total{{{routed},reason=\"by_backend\"}} 3\n"),
            format!("vipgate_tcp_route_resets_total{{{routed},reason=\"route_detached\"}} 0\n"),
            format!("vipgate_tcp_route_connect_seconds_count{{{routed}}} 3\n"),
            "vipgate_tcp_undecided{port=\"192.0.2.1:443\"} 7\n".to_owned(),
            "vipgate_endpoint_up{endpoint=\"[2001:db8::1]:80\"} 0\n".to_owned(),
            format!("{failures}{{endpoint=\"[2001:db8::1]:80\"}} 3\n"),
            format!("vipgate_tcp_connect_seconds_bucket{{{labels},le=\"0.00025\"}} 2\n"),
            format!("vipgate_tcp_connect_seconds_bucket{{{labels},le=\"1\"}} 2\n"),
            format!("vipgate_tcp_connect_seconds_bucket{{{labels},le=\"+Inf\"}} 3\n"),
            format!("vipgate_tcp_connect_seconds_sum{{{labels}}} 1.5\n"),
            format!("vipgate_tcp_connect_seconds_count{{{labels}}} 3\n"),
        ] {
            assert!(text.contains(&line), "{line}: {text}");
        }
        assert!(!text.contains(&format!("{routed},reason=\"no_name\"")), "without a route: {text}");
    }

    /// What is told to people is all that there is.
    #[test]
    fn the_docs_have_every_metric() {
        let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md");
        let docs = std::fs::read_to_string(docs).unwrap();
        let text = render(&Snapshot::default());
        let names = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
        for name in names {
            assert!(docs.contains(&format!("`{name}`")), "docs/metrics.md does not have {name}");
        }
        for why in NotPreserved::ALL {
            assert!(docs.contains(&format!("`{}`", why.name())), "{why:?}");
        }
        for reason in ResetReason::ALL {
            assert!(docs.contains(&format!("`{}`", reason.name())), "{reason:?}");
        }
    }
}

//! The counters of listeners of UDP.

use vipgate_speaker::udp::{DropReason, EndReason, ListenerCounters, Snapshot};

use super::text::{Metric, Value, metrics, of_listener};

const OF_LISTENERS: [Metric<ListenerCounters>; 6] = [
    ("vipgate_udp_sessions", "gauge", "Sessions that there are.", |counted| {
        vec![(None, counted.open)]
    }),
    ("vipgate_udp_sessions_total", "counter", "Sessions that began.", |counted| {
        vec![(None, counted.sessions)]
    }),
    ("vipgate_udp_sessions_ended_total", "counter", "Sessions that ended, by reason.", |counted| {
        let count = |reason| counted.ended.get(&reason).copied().unwrap_or_default();
        EndReason::ALL.map(|reason| (Some(("reason", reason.name())), count(reason))).into()
    }),
    (
        "vipgate_udp_datagrams_total",
        "counter",
        "Datagrams from clients (in) and to clients (out).",
        |counted| both_ways(counted.datagrams_in, counted.datagrams_out),
    ),
    (
        "vipgate_udp_bytes_total",
        "counter",
        "Bytes in datagrams from clients (in) and to clients (out).",
        |counted| both_ways(counted.bytes_in, counted.bytes_out),
    ),
    (
        "vipgate_udp_datagrams_dropped_total",
        "counter",
        "Datagrams of either direction that were not forwarded, by reason.",
        |counted| {
            let count = |reason| counted.dropped.get(&reason).copied().unwrap_or_default();
            DropReason::ALL.map(|reason| (Some(("reason", reason.name())), count(reason))).into()
        },
    ),
];

const OF_ENGINE: [Metric<Snapshot>; 1] =
    [("vipgate_udp_sessions_limit", "gauge", "Sessions that there may be on this node.", |all| {
        vec![(None, all.limit as u64)]
    })];

fn both_ways(inwards: u64, outwards: u64) -> Vec<Value> {
    vec![(Some(("direction", "in")), inwards), (Some(("direction", "out")), outwards)]
}

/// All of them; nothing where no listener is of UDP.
pub(super) fn render(snapshot: &Snapshot) -> String {
    let mut out = String::new();
    if snapshot.listeners.is_empty() {
        return out;
    }
    metrics(&mut out, &OF_ENGINE, &[(String::new(), snapshot)]);
    let listeners: Vec<_> =
        snapshot.listeners.iter().map(|(id, counted)| (of_listener(id), counted)).collect();
    metrics(&mut out, &OF_LISTENERS, &listeners);
    out
}

#[cfg(test)]
mod tests {
    use vipgate_api::ObjectKey;
    use vipgate_planner::ListenerId;

    use super::*;

    #[test]
    fn a_listener_has_its_labels_and_every_reason() {
        assert_eq!(render(&Snapshot::default()), "");
        let id = ListenerId {
            gateway: ObjectKey::new("default", "web"),
            set: None,
            name: "dns".to_owned(),
            address: "192.0.2.1".parse().unwrap(),
        };
        let counted = ListenerCounters {
            sessions: 9,
            open: 2,
            datagrams_in: 11,
            dropped: [(DropReason::NoEndpoint, 4)].into(),
            ..ListenerCounters::default()
        };
        let snapshot =
            Snapshot { listeners: [(id, counted)].into(), limit: 100, ..Snapshot::default() };
        let text = render(&snapshot);
        let labels =
            "gateway=\"default/web\",parent=\"default/web\",listener=\"dns\",vip=\"192.0.2.1\"";
        for line in [
            "vipgate_udp_sessions_limit 100\n".to_owned(),
            "# TYPE vipgate_udp_sessions_total counter\n".to_owned(),
            format!("vipgate_udp_sessions_total{{{labels}}} 9\n"),
            format!("vipgate_udp_sessions{{{labels}}} 2\n"),
            format!("vipgate_udp_datagrams_total{{{labels},direction=\"in\"}} 11\n"),
            format!("vipgate_udp_datagrams_dropped_total{{{labels},reason=\"no_endpoint\"}} 4\n"),
            format!("vipgate_udp_datagrams_dropped_total{{{labels},reason=\"loop\"}} 0\n"),
            format!("vipgate_udp_sessions_ended_total{{{labels},reason=\"idle\"}} 0\n"),
        ] {
            assert!(text.contains(&line), "{line}: {text}");
        }
    }

    /// What is told to people is all that there is.
    #[test]
    fn the_docs_have_every_metric() {
        let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/udp.md");
        let docs = std::fs::read_to_string(docs).unwrap();
        let names = OF_LISTENERS.map(|(name, ..)| name);
        for name in names.into_iter().chain(OF_ENGINE.map(|(name, ..)| name)) {
            assert!(docs.contains(&format!("`{name}`")), "docs/udp.md does not have {name}");
        }
        let reasons = DropReason::ALL.map(DropReason::name).into_iter();
        for reason in reasons.chain(EndReason::ALL.map(EndReason::name)) {
            assert!(docs.contains(&format!("`{reason}`")), "docs/udp.md does not have {reason}");
        }
    }
}

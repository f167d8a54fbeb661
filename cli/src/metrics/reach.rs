//! Whether VIPs of other nodes answer from here.

use std::fmt::Write;

use vipgate_speaker::reach::{Outcome, Reached, Snapshot};

use super::text::{Metric, metrics};

const OF_VIPS: [Metric<Reached>; 1] = [(
    "vipgate_vip_probe_success",
    "gauge",
    "1 where the owner of the address answered for it, and at every TCP port, when this node asked last.",
    |found| vec![(None, u64::from(found.outcome == Outcome::Reached))],
)];
const SECONDS: &str = "vipgate_vip_probe_seconds";
const PORTS: &str = "vipgate_vip_probe_port_success";
const ALL: &str = "vipgate_vip_probes_total";

pub(super) fn render(snapshot: &Snapshot) -> String {
    let mut out = String::new();
    let vips: Vec<(String, &Reached)> =
        snapshot.vips.iter().map(|(vip, found)| (format!("vip=\"{vip}\""), found)).collect();
    metrics(&mut out, &OF_VIPS, &vips);
    let _ = write!(
        out,
        "# HELP {SECONDS} How long it took until all had answered that answered, when this node asked last.\n\
         # TYPE {SECONDS} gauge\n"
    );
    for (labels, found) in &vips {
        let _ = writeln!(out, "{SECONDS}{{{labels}}} {}", found.took.as_secs_f64());
    }
    let _ = write!(
        out,
        "# HELP {PORTS} 1 where the TCP port of the address answered when this node asked last.\n\
         # TYPE {PORTS} gauge\n"
    );
    for (labels, found) in &vips {
        for (port, answers) in &found.ports {
            let _ = writeln!(out, "{PORTS}{{{labels},port=\"{port}\"}} {}", u8::from(*answers));
        }
    }
    let _ = write!(
        out,
        "# HELP {ALL} Times this node asked for an address of another node, by what it found.\n\
         # TYPE {ALL} counter\n"
    );
    let of = |name: &str| snapshot.outcomes.get(name).copied().unwrap_or_default();
    let found = Outcome::NAMES.map(|name| (name, of(name)));
    for (result, count) in found.into_iter().chain([("not_asked", snapshot.unasked)]) {
        let _ = writeln!(out, "{ALL}{{result=\"{result}\"}} {count}");
    }
    out
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_was_found_is_told_by_vip_and_port() {
        let found = |outcome, ports: &[(u16, bool)]| Reached {
            owner: "host1".to_owned(),
            outcome,
            failures: 0,
            took: Duration::from_micros(1500),
            ports: ports.iter().copied().collect(),
        };
        let vips = [
            ("192.0.2.1".parse().unwrap(), found(Outcome::Reached, &[])),
            (
                "2001:db8::1".parse().unwrap(),
                found(Outcome::Silent(443), &[(80, true), (443, false)]),
            ),
        ];
        let outcomes = [("silent", 3)].into();
        let text = render(&Snapshot { vips: vips.into(), outcomes, unasked: 1 });
        for line in [
            "vipgate_vip_probe_success{vip=\"192.0.2.1\"} 1\n",
            "vipgate_vip_probe_success{vip=\"2001:db8::1\"} 0\n",
            "vipgate_vip_probe_seconds{vip=\"192.0.2.1\"} 0.0015\n",
            "vipgate_vip_probe_port_success{vip=\"2001:db8::1\",port=\"80\"} 1\n",
            "vipgate_vip_probe_port_success{vip=\"2001:db8::1\",port=\"443\"} 0\n",
            "vipgate_vip_probes_total{result=\"silent\"} 3\n",
            "vipgate_vip_probes_total{result=\"reached\"} 0\n",
            "vipgate_vip_probes_total{result=\"not_asked\"} 1\n",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
    }

    /// What is told to people is all that there is.
    #[test]
    fn the_docs_have_every_metric() {
        let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md");
        let docs = std::fs::read_to_string(docs).unwrap();
        for name in [OF_VIPS[0].0, SECONDS, PORTS, ALL].into_iter().chain(Outcome::NAMES) {
            assert!(docs.contains(&format!("`{name}`")), "docs/metrics.md does not have {name}");
        }
    }
}

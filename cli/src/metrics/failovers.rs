//! How long VIPs took that came to this node from another one.

use std::fmt::Write;

use vipgate_speaker::node::{FailoverTimes, Failovers};

use super::text::histogram;

const NAME: &str = "vipgate_failover_seconds";

/// Every cause, also of which there was none.
pub(super) fn render(failovers: &Failovers) -> String {
    let mut out = format!(
        "# HELP {NAME} From the last that was known of the node that had a VIP to its announcement here, by \
         cause.\n# TYPE {NAME} histogram\n"
    );
    for (cause, times) in failovers {
        let mut labels = String::new();
        let _ = write!(labels, "cause=\"{}\"", cause.name());
        let bounds = FailoverTimes::BOUNDS.map(|milliseconds| milliseconds as f64 / 1e3);
        histogram(&mut out, NAME, &labels, bounds, (&times.counts, times.sum));
    }
    out
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use vipgate_speaker::group::Cause;

    use super::*;

    #[test]
    fn a_cause_has_its_buckets() {
        let mut times = FailoverTimes { sum: Duration::from_millis(700), ..Default::default() };
        times.counts[5] = 2;
        times.counts[12] = 1;
        let text = render(&[(Cause::Dead, times), (Cause::Left, Default::default())].into());
        for line in [
            "# TYPE vipgate_failover_seconds histogram\n",
            "vipgate_failover_seconds_bucket{cause=\"dead\",le=\"0.2\"} 0\n",
            "vipgate_failover_seconds_bucket{cause=\"dead\",le=\"0.35\"} 2\n",
            "vipgate_failover_seconds_bucket{cause=\"dead\",le=\"60\"} 2\n",
            "vipgate_failover_seconds_bucket{cause=\"dead\",le=\"+Inf\"} 3\n",
            "vipgate_failover_seconds_sum{cause=\"dead\"} 0.7\n",
            "vipgate_failover_seconds_count{cause=\"dead\"} 3\n",
            "vipgate_failover_seconds_count{cause=\"left\"} 0\n",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
    }

    /// What is told to people is all that there is.
    #[test]
    fn the_docs_have_it_and_every_cause() {
        let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md");
        let docs = std::fs::read_to_string(docs).unwrap();
        assert!(docs.contains(&format!("`{NAME}`")));
        for cause in Cause::ALL {
            assert!(docs.contains(&format!("`{}`", cause.name())), "{cause:?}");
        }
    }
}

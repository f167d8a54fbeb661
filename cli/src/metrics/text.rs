//! The text format of Prometheus, for what has several metrics with the same labels.

use std::fmt::Write;
use std::time::Duration;

use vipgate_api::ObjectRef;
use vipgate_planner::ListenerId;

use super::escaped;

/// A metric: name, type, what it says, and its values for a `T`, each with a label more if there are
/// several.
pub(super) type Metric<T> = (&'static str, &'static str, &'static str, fn(&T) -> Vec<Value>);
pub(super) type Value = (Option<(&'static str, &'static str)>, u64);

/// Some metrics of everything that has them, each with its labels.
pub(super) fn metrics<T>(out: &mut String, metrics: &[Metric<T>], all: &[(String, &T)]) {
    for (name, kind, help, values) in metrics {
        let _ = write!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        for (labels, counted) in all {
            for (more, value) in values(counted) {
                let more = more.map(|(label, text)| format!("{label}=\"{text}\""));
                let _ = match (labels.as_str(), more) {
                    ("", None) => writeln!(out, "{name} {value}"),
                    ("", Some(labels)) => writeln!(out, "{name}{{{labels}}} {value}"),
                    (labels, None) => writeln!(out, "{name}{{{labels}}} {value}"),
                    (labels, Some(more)) => writeln!(out, "{name}{{{labels},{more}}} {value}"),
                };
            }
        }
    }
}

/// The lines of one histogram: `counts` by bound, in seconds, the last above all.
pub(super) fn histogram(
    out: &mut String,
    name: &str,
    labels: &str,
    bounds: impl IntoIterator<Item = f64>,
    (counts, sum): (&[u64], Duration),
) {
    let bounds = bounds.into_iter().map(|bound| bound.to_string());
    let mut upto = 0;
    for (bound, count) in bounds.chain(["+Inf".to_owned()]).zip(counts) {
        upto += count;
        let _ = writeln!(out, "{name}_bucket{{{labels},le=\"{bound}\"}} {upto}");
    }
    let sum = sum.as_secs_f64();
    let _ = write!(out, "{name}_sum{{{labels}}} {sum}\n{name}_count{{{labels}}} {upto}\n");
}

/// The labels of a listener.
pub(super) fn of_listener(id: &ListenerId) -> String {
    let of = id.set.as_ref().unwrap_or(&id.gateway);
    format!(
        "gateway=\"{}\",parent=\"{}\",listener=\"{}\",vip=\"{}\"",
        escaped(&id.gateway.to_string()),
        escaped(&of.to_string()),
        escaped(&id.name),
        id.address
    )
}

/// The labels of a listener and one of its routes.
pub(super) fn of_route(id: &ListenerId, route: &ObjectRef) -> String {
    let ObjectRef { kind, key } = route;
    format!("{},route=\"{}\"", of_listener(id), escaped(&format!("{kind}/{key}")))
}

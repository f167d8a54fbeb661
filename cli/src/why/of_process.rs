//! Facts from the answer of a running process.

use std::collections::BTreeMap;

use super::facts::{Facts, Place, Told, Vip, named};
use crate::status::report::{Problem, StatusReport};

impl Facts {
    /// From what `vipgate run` or `vipgate speaker` says of itself.
    pub(super) fn of_process(report: StatusReport) -> Self {
        // Whoever serves a cluster has no objects: the API server shows them.
        let is_speaker = report.objects.is_empty() && !report.vips.is_empty();
        let things = report.objects.into_iter().filter_map(|object| {
            let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
            let (namespace, name) = (text("namespace"), text("name"));
            let slash = if namespace.is_empty() { "" } else { "/" };
            let kind = object["kind"].as_str()?;
            Some((named(&format!("{kind} {namespace}{slash}{name}"))?, object))
        });
        let is_of_file = |problem: &Problem| problem.object.is_none();
        let (of_files, of_objects): (Vec<_>, Vec<_>) =
            report.problems.into_iter().partition(is_of_file);
        let unreadable = of_files.into_iter();
        let unreadable = unreadable.filter_map(|problem| Some((problem.place?, problem.message)));
        let told = of_objects.into_iter().filter_map(|problem| {
            Some(Told {
                object: named(problem.object.as_deref()?)?,
                reason: problem.reason,
                message: problem.message,
                place: problem.place,
            })
        });
        let vips = report.vips.into_iter().map(|status| {
            let users = status.gateway.split(", ").filter_map(named).collect();
            (status.address, Vip { status, users, advertisements: Vec::new() })
        });
        Self {
            place: if is_speaker { Place::Speaker } else { Place::Host },
            things: things.collect(),
            told: told.collect(),
            unreadable: unreadable.collect(),
            vips: vips.collect(),
            unread: BTreeMap::new(),
        }
    }
}

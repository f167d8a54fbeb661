//! The log of a running vipgate: one line per change of a VIP, a listener or a route, and one per
//! new problem. Nothing when nothing changed.

use std::collections::{BTreeMap, BTreeSet};

use vipgate_api::{Condition, ConditionType, ObjectKey, Reason};
use vipgate_planner::VipState;

use super::board::Situation;
use super::source::Source;

/// What was said last, by subject.
#[derive(Debug, Default)]
pub(super) struct Journal {
    lines: BTreeMap<Subject, Line>,
    problems: BTreeSet<String>,
    skipped: BTreeSet<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    Vip(String),
    Listener(ObjectKey, String),
    Route(ObjectKey),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    well: bool,
    /// It is about to become something else, and only that is worth a line.
    pending: bool,
    text: String,
}

impl Journal {
    /// Kinds that are skipped, each once, and problems of the files that are new.
    pub(super) fn manifests(&mut self, source: &Source) {
        for skipped in source.skipped() {
            if self.skipped.insert(format!("{} {}", skipped.api_version, skipped.kind)) {
                tracing::info!(
                    file = skipped.file,
                    line = skipped.line,
                    kind = skipped.kind,
                    api_version = skipped.api_version,
                    "skipped: not a kind that vipgate reads"
                );
            }
        }
        let now: BTreeSet<String> = source.problems().iter().map(ToString::to_string).collect();
        for problem in now.difference(&self.problems) {
            tracing::warn!("{problem}");
        }
        self.problems = now;
    }

    /// What is different from the last time.
    pub(super) fn situation(&mut self, situation: &Situation) {
        let now = lines_of(situation);
        for (subject, line) in &now {
            if !line.pending && self.lines.get(subject) != Some(line) {
                say(subject, line);
            }
        }
        for subject in self.lines.keys().filter(|subject| !now.contains_key(subject)) {
            say(subject, &Line { well: true, pending: false, text: "gone".to_owned() });
        }
        self.lines = now;
    }
}

fn say(subject: &Subject, Line { well, text, .. }: &Line) {
    match (subject, well) {
        (Subject::Vip(vip), true) => tracing::info!(vip, "VIP {text}"),
        (Subject::Vip(vip), false) => tracing::warn!(vip, "VIP {text}"),
        (Subject::Listener(gateway, name), true) => {
            tracing::info!(%gateway, listener = name, "listener {text}");
        }
        (Subject::Listener(gateway, name), false) => {
            tracing::warn!(%gateway, listener = name, "listener {text}");
        }
        (Subject::Route(route), true) => tracing::info!(%route, "route {text}"),
        (Subject::Route(route), false) => tracing::warn!(%route, "route {text}"),
    }
}

fn lines_of(situation: &Situation) -> BTreeMap<Subject, Line> {
    let mut lines = BTreeMap::new();
    for address in situation.plan.vips.keys() {
        let state = situation.report.vips.get(address).unwrap_or(&VipState::Probing);
        let line = Line {
            well: !matches!(state, VipState::Conflict(_) | VipState::Failed(_)),
            pending: false,
            text: super::board::describe(state),
        };
        lines.insert(Subject::Vip(address.to_string()), line);
    }
    for (key, gateway) in &situation.statuses.gateways {
        for listener in &gateway.listeners {
            let mut line = summary(&listener.conditions, ConditionType::Programmed);
            line.text = format!("{}, {} routes", line.text, listener.attached_routes);
            lines.insert(Subject::Listener(key.clone(), listener.name.clone()), line);
        }
    }
    for (key, route) in &situation.statuses.tcp_routes {
        let parents: Vec<Line> = route
            .parents
            .iter()
            .map(|parent| summary(&parent.conditions, ConditionType::Accepted))
            .collect();
        let line = Line {
            well: parents.iter().all(|line| line.well),
            pending: parents.iter().any(|line| line.pending),
            text: parents.into_iter().map(|line| line.text).collect::<Vec<_>>().join("; "),
        };
        lines.insert(Subject::Route(key.clone()), line);
    }
    lines
}

/// The first condition that is not as wished, else the main one.
fn summary(conditions: &[Condition], main: ConditionType) -> Line {
    let wished = |condition: &Condition| {
        let good = matches!(
            condition.kind,
            ConditionType::Accepted | ConditionType::Programmed | ConditionType::ResolvedRefs
        );
        condition.is_true() == good
    };
    let told = conditions
        .iter()
        .find(|condition| !wished(condition))
        .or_else(|| conditions.iter().find(|condition| condition.kind == main));
    let Some(condition) = told else {
        return Line { well: true, pending: false, text: "known".to_owned() };
    };
    Line {
        well: wished(condition),
        pending: condition.reason == Reason::Pending,
        text: format!(
            "{}={} ({}): {}",
            condition.kind, condition.status, condition.reason, condition.message
        ),
    }
}

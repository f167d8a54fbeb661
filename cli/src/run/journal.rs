//! The log of a running vipgate: one line per change of a VIP, a listener or a route, and one per
//! new problem that no such line tells. Nothing when nothing changed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use vipgate_api::{Condition, ConditionType, Kind, ObjectKey, ObjectRef, Reason};
use vipgate_planner::{Problem, Statuses, VipState};

use super::board::Situation;
use super::source::Source;

/// What was said last, by subject.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    lines: BTreeMap<Subject, Line>,
    /// What is wrong with the files.
    manifests: BTreeSet<String>,
    /// What the planner finds wrong.
    plan: BTreeSet<String>,
    skipped: BTreeSet<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    Vip(IpAddr),
    Listener(ObjectKey, String),
    Route(ObjectRef),
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
                tracing::info!("{skipped}");
            }
        }
        let now: BTreeSet<String> = source.problems().iter().map(ToString::to_string).collect();
        for problem in now.difference(&self.manifests) {
            tracing::warn!("{problem}");
        }
        self.manifests = now;
    }

    /// What is different from the last time.
    pub(crate) fn situation(&mut self, situation: &Situation) {
        for (subject, line) in self.changed_lines(lines_of(situation)) {
            say(&subject, &line);
        }
        for problem in self.new_problems(&situation.statuses) {
            tracing::warn!("{problem}");
        }
    }

    /// Takes in the lines as they are now, and returns those worth saying.
    fn changed_lines(&mut self, now: BTreeMap<Subject, Line>) -> Vec<(Subject, Line)> {
        let is_news = |(subject, line): &(&Subject, &Line)| {
            !line.pending && self.lines.get(subject) != Some(line)
        };
        let news = now.iter().filter(is_news).map(|(s, line)| (s.clone(), line.clone()));
        let gone = self.lines.keys().filter(|subject| !now.contains_key(subject));
        let gone = gone.map(|subject| {
            (subject.clone(), Line { well: true, pending: false, text: "gone".to_owned() })
        });
        let worth_saying = news.chain(gone).collect();
        self.lines = now;
        worth_saying
    }

    /// Problems that were not there the last time and that no line tells: a Gateway without an
    /// address, a route to a Gateway that does not exist, pools that overlap.
    fn new_problems(&mut self, statuses: &Statuses) -> Vec<String> {
        let told = |problem: &&Problem| self.lines.iter().any(|(s, line)| tells(s, line, problem));
        let now: BTreeSet<String> = statuses
            .problems
            .iter()
            .filter(|problem| problem.reason != Reason::Pending && !told(problem))
            .map(|problem| format!("{}: {}", problem.object, problem.message))
            .collect();
        let new = now.difference(&self.plan).cloned().collect();
        self.plan = now;
        new
    }
}

/// Whether the line of a subject says what the problem says.
fn tells(subject: &Subject, line: &Line, problem: &Problem) -> bool {
    let key = &problem.object.key;
    let message = match subject {
        Subject::Listener(gateway, name)
            if problem.object.kind == Kind::Gateway && gateway == key =>
        {
            problem.message.strip_prefix(&format!("listener {name}: "))
        }
        Subject::Route(route) if problem.object == *route => Some(problem.message.as_str()),
        _ => None,
    };
    message.is_some_and(|message| line.text.contains(message))
}

fn say(subject: &Subject, Line { well, text, .. }: &Line) {
    match (subject, well) {
        (Subject::Vip(vip), true) => tracing::info!(%vip, "VIP {text}"),
        (Subject::Vip(vip), false) => tracing::warn!(%vip, "VIP {text}"),
        (Subject::Listener(gateway, name), true) => {
            tracing::info!(%gateway, listener = name, "listener {text}");
        }
        (Subject::Listener(gateway, name), false) => {
            tracing::warn!(%gateway, listener = name, "listener {text}");
        }
        (Subject::Route(route), true) => tracing::info!(route = %route.key, "route {text}"),
        (Subject::Route(route), false) => tracing::warn!(route = %route.key, "route {text}"),
    }
}

fn lines_of(situation: &Situation) -> BTreeMap<Subject, Line> {
    let mut lines = BTreeMap::new();
    for address in situation.plan.vips.keys() {
        let state = situation.report.vips.get(address);
        let line = Line {
            well: match state {
                Some(VipState::Conflict(_) | VipState::Failed(_)) => false,
                Some(state @ VipState::Excluded { .. }) => state.is_announced(),
                _ => true,
            },
            pending: state.is_none(),
            text: super::board::describe(*address, &situation.report),
        };
        lines.insert(Subject::Vip(*address), line);
    }
    for (key, gateway) in &situation.statuses.gateways {
        for listener in &gateway.listeners {
            let mut line = summary(&listener.conditions, ConditionType::Programmed);
            line.text = format!("{}; attached routes: {}", line.text, listener.attached_routes);
            lines.insert(Subject::Listener(key.clone(), listener.name.clone()), line);
        }
    }
    for (key, route) in &situation.statuses.routes {
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

#[cfg(test)]
mod tests;

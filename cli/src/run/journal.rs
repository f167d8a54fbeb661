//! The log of a running vipgate: one line per change of a VIP, a listener or a route, and one per
//! new problem that no such line tells. Nothing when nothing changed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use vipgate_api::{Condition, ConditionType, Kind, ObjectKey, ObjectRef, Reason};
use vipgate_planner::status::{ListenerStatus, RouteStatus};
use vipgate_planner::{Problem, Statuses, VipState};

use super::board::Situation;
use super::source::Source;

/// What was said last, by subject.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    lines: BTreeMap<Subject, Line>,
    /// The statuses that the lines tell: what is the very same in the next has the line that it had.
    statuses: Arc<Statuses>,
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
        for (subject, line) in self.changed_lines(situation) {
            say(&subject, &line);
        }
        for problem in self.new_problems(&situation.statuses) {
            tracing::warn!("{problem}");
        }
    }

    /// Takes in a situation, and returns the lines worth saying.
    fn changed_lines(&mut self, situation: &Situation) -> Vec<(Subject, Line)> {
        let now = Arc::clone(&situation.statuses);
        let last = std::mem::replace(&mut self.statuses, Arc::clone(&now));
        let mut lines = BTreeMap::new();
        // Those that may be gone: all of what has changed.
        let mut gone = Vec::new();
        gone.extend(self.lines.keys().take_while(|one| matches!(one, Subject::Vip(_))).cloned());
        lines.extend(situation.plan.vips.keys().map(|address| of_vip(*address, situation)));
        for (key, new) in differences(&last.gateways, &now.gateways) {
            gone.extend(self.listeners_of(key));
            let listeners = new.into_iter().flat_map(|new| &new.listeners);
            lines.extend(listeners.map(|listener| of_listener(key, listener)));
        }
        for (key, new) in differences(&last.routes, &now.routes) {
            gone.push(Subject::Route(key.clone()));
            lines.extend(new.map(|new| (Subject::Route(key.clone()), of_route(new))));
        }
        gone.retain(|subject| !lines.contains_key(subject) && self.lines.remove(subject).is_some());
        let mut worth_saying = Vec::new();
        for (subject, line) in lines {
            if self.lines.get(&subject) == Some(&line) {
                continue;
            }
            if !line.pending {
                worth_saying.push((subject.clone(), line.clone()));
            }
            self.lines.insert(subject, line);
        }
        let end = || Line { well: true, pending: false, text: "gone".to_owned() };
        worth_saying.extend(gone.into_iter().map(|subject| (subject, end())));
        worth_saying
    }

    /// The listeners of a Gateway that have lines.
    fn listeners_of(&self, gateway: &ObjectKey) -> impl Iterator<Item = Subject> {
        let first = Subject::Listener(gateway.clone(), String::new());
        let own = move |one: &&Subject| matches!(one, Subject::Listener(of, _) if of == gateway);
        self.lines.range(first..).map(|(subject, _)| subject).take_while(own).cloned()
    }

    /// Problems that were not there the last time and that no line tells: a Gateway without an
    /// address, a route to a Gateway that does not exist, pools that overlap.
    fn new_problems(&mut self, statuses: &Statuses) -> Vec<String> {
        let told = |problem: &&Problem| self.tells(problem);
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

    /// Whether a line says what the problem says.
    fn tells(&self, problem: &Problem) -> bool {
        let ObjectRef { kind, key } = &problem.object;
        let says = |line: &Line, message: &str| line.text.contains(message);
        if *kind != Kind::Gateway {
            let line = self.lines.get(&Subject::Route(problem.object.clone()));
            return line.is_some_and(|line| says(line, &problem.message));
        }
        // `listener NAME: WHY`.
        let listener = problem.message.strip_prefix("listener ");
        let Some((name, why)) = listener.and_then(|rest| rest.split_once(": ")) else {
            return false;
        };
        let line = self.lines.get(&Subject::Listener(key.clone(), name.to_owned()));
        line.is_some_and(|line| says(line, why))
    }
}

/// The keys under which these do not have the very same, with what the second has there.
fn differences<'a, K: Ord, V>(
    before: &'a BTreeMap<K, Arc<V>>,
    now: &'a BTreeMap<K, Arc<V>>,
) -> Vec<(&'a K, Option<&'a V>)> {
    let mut before = before.iter().peekable();
    let mut all = Vec::new();
    for (key, new) in now {
        while let Some((gone, _)) = before.next_if(|(old, _)| *old < key) {
            all.push((gone, None));
        }
        let old = before.next_if(|(old, _)| *old == key);
        if !old.is_some_and(|(_, old)| Arc::ptr_eq(old, new)) {
            all.push((key, Some(&**new)));
        }
    }
    all.extend(before.map(|(gone, _)| (gone, None)));
    all
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

fn of_vip(address: IpAddr, situation: &Situation) -> (Subject, Line) {
    let state = situation.report.vips.get(&address);
    let line = Line {
        well: match state {
            Some(VipState::Conflict(_) | VipState::Failed(_)) => false,
            Some(state @ VipState::Excluded { .. }) => state.is_announced(),
            _ => true,
        },
        pending: state.is_none(),
        text: super::board::describe(address, &situation.report),
    };
    (Subject::Vip(address), line)
}

fn of_listener(gateway: &ObjectKey, listener: &ListenerStatus) -> (Subject, Line) {
    let mut line = summary(&listener.conditions, ConditionType::Programmed);
    line.text = format!("{}; attached routes: {}", line.text, listener.attached_routes);
    (Subject::Listener(gateway.clone(), listener.name.clone()), line)
}

fn of_route(route: &RouteStatus) -> Line {
    let parents: Vec<Line> = route
        .parents
        .iter()
        .map(|parent| summary(&parent.conditions, ConditionType::Accepted))
        .collect();
    Line {
        well: parents.iter().all(|line| line.well),
        pending: parents.iter().any(|line| line.pending),
        text: parents.into_iter().map(|line| line.text).collect::<Vec<_>>().join("; "),
    }
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

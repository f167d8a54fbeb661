//! From what is to be said about an object to the status that it is to have: our own entries, put
//! between those of others.
//!
//! What always holds: entries of others stay as and where they are; a condition whose status is the
//! same keeps its `lastTransitionTime`; one of ours that is not said any more goes; the result of a
//! merge, merged again, is the same. Nothing is said over a status that somebody has already written
//! for a later generation.

use std::fmt;

use serde_json::{Map, Value, json};
use vipgate_api::gateway::PolicyStatus;
use vipgate_api::{CONTROLLER_NAME, Condition, ConditionStatus, ConditionType, Kind, Reason};

/// The status that an object is to have; `None` when it has it, or when a newer one is there. `ours`
/// is as the planner says it, with `observedGeneration` in every condition; `now` is for conditions
/// that change (RFC 3339, UTC, whole seconds).
pub fn merged(kind: Kind, seen: Option<&Value>, ours: &Value, now: &str) -> Option<Value> {
    let empty = Value::Object(Map::new());
    let seen_status = seen.unwrap_or(&empty);
    if is_newer(seen_status, ours) {
        return None;
    }
    let mut status = seen_status.clone();
    let fields = status.as_object_mut()?;
    for (name, value) in ours.as_object()? {
        let before = fields.get(name);
        let after = match name.as_str() {
            "conditions" => conditions(before, value, now),
            "parents" if kind.is_route() => entries(before, value, "parentRef", now),
            "ancestors" if kind.is_policy() => ancestors(before, value, now),
            "listeners" => listeners(before, value, now),
            // The API server drops an empty list.
            "loadBalancer" if value["ingress"] == json!([]) => json!({}),
            _ => value.clone(),
        };
        if before.is_none()
            && matches!(&after, Value::Array(list) if list.is_empty())
            && !kind.is_route()
            && !kind.is_policy()
        {
            continue;
        }
        fields.insert(name.clone(), after);
    }
    (status != *seen_status).then_some(status)
}

/// A condition of ours that has another status or reason than before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// What of the object it is about.
    pub of: Part,
    /// What it says now.
    pub condition: Condition,
}

impl Transition {
    /// Whether somebody has to do something. What is under way is no bad news.
    pub fn is_bad(&self) -> bool {
        let Condition { kind, status, reason, .. } = &self.condition;
        match status {
            ConditionStatus::True => kind.is_negative() || *reason == Reason::ListenersNotValid,
            ConditionStatus::False => !kind.is_negative() && *reason != Reason::Pending,
            ConditionStatus::Unknown => false,
        }
    }
}

/// A part of an object that has conditions of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// The object itself.
    Whole,
    /// A listener of this name.
    Listener(String),
    /// What a route says to this parentRef; one Gateway may have several.
    Parent(String),
    /// What a policy comes to for this ancestor.
    Ancestor(String),
}

impl Part {
    /// Where it is in the object, in the form that references to parts have.
    pub fn field(&self) -> Option<String> {
        match self {
            Self::Whole => None,
            Self::Listener(name) => Some(format!("status.listeners{{{name}}}")),
            Self::Parent(name) => Some(format!("status.parents{{{name}}}")),
            Self::Ancestor(name) => Some(format!("status.ancestors{{{name}}}")),
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole => Ok(()),
            Self::Listener(name) => write!(f, " for listener {name}"),
            Self::Parent(name) | Self::Ancestor(name) => write!(f, " for {name}"),
        }
    }
}

/// The conditions of ours that have another status or reason than before: of the object itself, of
/// each listener, of a route in each of its parents, of a policy for each ancestor. Of a new listener it is news that it is served,
/// or what is wrong; for the rest there is one event for the whole.
pub fn transitions(before: Option<&Value>, after: &Value) -> Vec<Transition> {
    let old = before.map(said).unwrap_or_default();
    let is_news = |new: &Transition| {
        let mut same =
            old.iter().filter(|old| old.of == new.of && old.condition.kind == new.condition.kind);
        match same.next().map(|old| &old.condition) {
            Some(old) => (old.status, old.reason) != (new.condition.status, new.condition.reason),
            None => {
                let is_served =
                    new.condition.kind == ConditionType::Programmed && new.condition.is_true();
                new.is_bad() || is_served || !matches!(new.of, Part::Listener(_))
            }
        }
    };
    said(after).into_iter().filter(is_news).collect()
}

/// Every condition of ours in a status. One that others say is none that we know.
fn said(status: &Value) -> Vec<Transition> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let name = |listener: &Value| listener["name"].as_str().unwrap_or_default().to_owned();
    let whole = [(Part::Whole, list(&status["conditions"]))];
    let listeners = list(&status["listeners"]);
    let listeners =
        listeners.iter().map(|one| (Part::Listener(name(one)), list(&one["conditions"])));
    let parents = list(&status["parents"]);
    let parents = parents.iter().filter(|parent| is_ours(parent));
    let parents =
        parents.map(|one| (Part::Parent(parent_name(&one["parentRef"])), list(&one["conditions"])));
    let ancestors = list(&status["ancestors"]);
    let ancestors = ancestors
        .iter()
        .filter(|ancestor| is_ours(ancestor))
        .map(|one| (Part::Ancestor(parent_name(&one["ancestorRef"])), list(&one["conditions"])));
    let mut all = Vec::new();
    for (of, conditions) in whole.into_iter().chain(listeners).chain(parents).chain(ancestors) {
        let known = conditions.iter().filter_map(known);
        all.extend(known.map(|condition| Transition { of: of.clone(), condition }));
    }
    all
}

/// A parentRef or ancestorRef in words: `web`, `ListenerSet infra/web (sectionName tcp, port 80)`.
fn parent_name(reference: &Value) -> String {
    let text = |field: &str| reference[field].as_str();
    let kind = text("kind").filter(|kind| *kind != Kind::Gateway.name());
    let mut name = kind.map(|kind| format!("{kind} ")).unwrap_or_default();
    if let Some(namespace) = text("namespace") {
        name += &format!("{namespace}/");
    }
    name += text("name").unwrap_or_default();
    let section = text("sectionName").map(|section| format!("sectionName {section}"));
    let port = reference["port"].as_i64().map(|port| format!("port {port}"));
    let which: Vec<_> = section.into_iter().chain(port).collect();
    match which.is_empty() {
        true => name,
        false => format!("{name} ({})", which.join(", ")),
    }
}

fn known(condition: &Value) -> Option<Condition> {
    serde_json::from_value(condition.clone()).ok()
}

/// Whether a condition of ours is there with a later generation than we speak of.
fn is_newer(seen: &Value, ours: &Value) -> bool {
    let generation = |condition: &Value| condition["observedGeneration"].as_i64();
    let all = |status: &Value| -> Vec<Value> {
        let own = status["conditions"].as_array().cloned().unwrap_or_default();
        let entries = ["parents", "ancestors"].map(|list| status[list].as_array());
        let entries = entries.into_iter().flatten().flatten().filter(|p| is_ours(p));
        own.into_iter()
            .chain(entries.flat_map(|p| p["conditions"].as_array().cloned().unwrap_or_default()))
            .collect()
    };
    let newest = all(ours).iter().filter_map(generation).max();
    let types: Vec<Value> = all(ours).iter().map(|condition| condition["type"].clone()).collect();
    let theirs = all(seen);
    let theirs = theirs.iter().filter(|condition| types.contains(&condition["type"]));
    matches!((theirs.filter_map(generation).max(), newest), (Some(seen), Some(ours)) if seen > ours)
}

fn is_ours(parent: &Value) -> bool {
    parent["controllerName"] == CONTROLLER_NAME
}

fn conditions(before: Option<&Value>, ours: &Value, now: &str) -> Value {
    let mut list = before.and_then(Value::as_array).cloned().unwrap_or_default();
    let said: Vec<&Value> =
        ours.as_array().into_iter().flatten().map(|condition| &condition["type"]).collect();
    list.retain(|known| said.contains(&&known["type"]) || !is_our_type(&known["type"]));
    for condition in ours.as_array().into_iter().flatten() {
        let mut condition = condition.clone();
        let place = list.iter().position(|known| known["type"] == condition["type"]);
        let kept = place.map(|place| &list[place]).filter(|known| {
            known["status"] == condition["status"] && known["lastTransitionTime"].is_string()
        });
        condition["lastTransitionTime"] = match kept {
            Some(known) => known["lastTransitionTime"].clone(),
            None => json!(now),
        };
        match place {
            Some(place) => list[place] = condition,
            None => list.push(condition),
        }
    }
    Value::Array(list)
}

/// Whether a condition of this type is only ever said by whoever serves the object.
fn is_our_type(kind: &Value) -> bool {
    kind.as_str().is_some_and(|kind| ConditionType::ALL.iter().any(|ours| ours.to_string() == kind))
}

/// A status without the times of its conditions, to compare what is said.
pub fn timeless(status: &Value) -> Value {
    match status {
        Value::Object(fields) => {
            let fields = fields.iter().filter(|(name, _)| *name != "lastTransitionTime");
            Value::Object(fields.map(|(name, value)| (name.clone(), timeless(value))).collect())
        }
        Value::Array(values) => values.iter().map(timeless).collect(),
        other => other.clone(),
    }
}

/// Adds a condition to what is to be said: about the object itself, or in each entry of a route or policy.
pub fn add_condition(ours: &mut Value, condition: &Value) {
    let add = |place: &mut Value| match place["conditions"].as_array_mut() {
        Some(conditions) => conditions.push(condition.clone()),
        None => place["conditions"] = json!([condition]),
    };
    let list = if ours.get("parents").is_some() { "parents" } else { "ancestors" };
    match ours.get_mut(list).and_then(Value::as_array_mut) {
        Some(entries) => entries.iter_mut().for_each(add),
        None => add(ours),
    }
}

/// Entries of policies: what has no room behind those of others is left out.
fn ancestors(before: Option<&Value>, ours: &Value, now: &str) -> Value {
    let mut list = entries(before, ours, "ancestorRef", now);
    if let Some(list) = list.as_array_mut() {
        list.truncate(PolicyStatus::MOST_ANCESTORS);
    }
    list
}

/// Entries of routes and policies: others' as they are, ours in the order in which they are said. `key` is
/// the field that tells ours apart.
fn entries(before: Option<&Value>, ours: &Value, key: &str, now: &str) -> Value {
    let before = before.and_then(Value::as_array).cloned().unwrap_or_default();
    let mut list: Vec<Value> = before.iter().filter(|parent| !is_ours(parent)).cloned().collect();
    for parent in ours.as_array().into_iter().flatten() {
        let known = before.iter().find(|known| is_ours(known) && known[key] == parent[key]);
        let mut parent = parent.clone();
        parent["conditions"] =
            conditions(known.map(|k| &k["conditions"]), &parent["conditions"], now);
        list.push(parent);
    }
    Value::Array(list)
}

/// Entries of listeners are all ours, but each may carry conditions of others.
fn listeners(before: Option<&Value>, ours: &Value, now: &str) -> Value {
    let before = before.and_then(Value::as_array).cloned().unwrap_or_default();
    let list = ours.as_array().into_iter().flatten().map(|listener| {
        let known = before.iter().find(|known| known["name"] == listener["name"]);
        let mut listener = listener.clone();
        listener["conditions"] =
            conditions(known.map(|k| &k["conditions"]), &listener["conditions"], now);
        listener
    });
    Value::Array(list.collect())
}

#[cfg(test)]
mod tests;

//! Why something is not so: a reason for programs, a text for people.

use serde::Serialize;
use vipgate_api::{Condition, ConditionType, Reason};

/// What stands in the way of an object or a part of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// For programs.
    pub reason: Reason,
    /// For people: names the object or field that caused it and what to write instead.
    pub message: String,
}

impl Refusal {
    /// A refusal.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }

    /// The condition that says so.
    pub fn condition(&self, kind: ConditionType) -> Condition {
        Condition::fails(kind, self.reason, self.message.clone())
    }
}

/// Several refusals as one: the first reason, all texts.
pub(crate) fn sum<'a>(refusals: impl IntoIterator<Item = &'a Refusal>) -> Option<Refusal> {
    let mut refusals = refusals.into_iter();
    let mut sum = refusals.next()?.clone();
    for refusal in refusals {
        sum.message.push_str("; ");
        sum.message.push_str(&refusal.message);
    }
    Some(sum)
}

//! What is said of a policy: one entry for each ancestor, over all targets that end in it.

use std::collections::BTreeMap;

use vipgate_api::gateway::{
    ParentReference, PolicyAncestorStatus, PolicyStatus, PolicyTargetReference,
};
use vipgate_api::{
    CONTROLLER_NAME, Condition, ConditionType, GATEWAY_GROUP, Kind, ObjectKey, Reason,
};

use super::contest::{Target, describe};
use crate::refusal::Refusal;

/// What a policy comes to for one of its targets.
pub(super) struct Verdict<'a> {
    pub(super) target: Target<'a>,
    /// Gateways that the target belongs to; none where it is its own ancestor.
    pub(super) ancestors: Vec<ParentReference>,
    /// Whether it counts, and how.
    pub(super) fate: Result<Effect, Refusal>,
}

/// How a policy counts for a target.
#[derive(Default)]
pub(super) struct Effect {
    /// What is well, but worth knowing.
    pub(super) remarks: Vec<String>,
    /// Fields that count for nothing.
    pub(super) dead: Option<String>,
}

/// A Gateway, or one of its listeners, as an ancestor.
pub(super) fn gateway(key: &ObjectKey, section: Option<&String>) -> ParentReference {
    ParentReference {
        group: GATEWAY_GROUP.to_owned(),
        kind: Kind::Gateway.name().to_owned(),
        namespace: Some(key.namespace.clone()),
        name: key.name.clone(),
        section_name: section.cloned(),
        port: None,
    }
}

/// The target as its own ancestor.
fn itself((namespace, target): Target<'_>) -> ParentReference {
    let PolicyTargetReference { group, kind, name, section_name } = target.clone();
    ParentReference {
        group,
        kind,
        namespace: Some(namespace.to_owned()),
        name,
        section_name,
        port: None,
    }
}

/// The status of a policy.
pub(super) fn status(verdicts: &[Verdict<'_>]) -> PolicyStatus {
    let mut by_ancestor: BTreeMap<ParentReference, Vec<&Verdict<'_>>> = BTreeMap::new();
    for verdict in verdicts {
        let own = verdict.ancestors.is_empty().then(|| itself(verdict.target));
        for ancestor in verdict.ancestors.iter().cloned().chain(own) {
            by_ancestor.entry(ancestor).or_default().push(verdict);
        }
    }
    let unlisted = by_ancestor.len().saturating_sub(PolicyStatus::MOST_ANCESTORS);
    let mut ancestors: Vec<PolicyAncestorStatus> = (by_ancestor.into_iter())
        .take(PolicyStatus::MOST_ANCESTORS)
        .map(|(ancestor_ref, verdicts)| PolicyAncestorStatus {
            ancestor_ref,
            controller_name: CONTROLLER_NAME.to_owned(),
            conditions: conditions(&verdicts),
        })
        .collect();
    if let Some(last) = ancestors.last_mut().filter(|_| unlisted > 0) {
        let message = &mut last.conditions[0].message;
        message.push_str(&format!("; {unlisted} more ancestors have no room in this list"));
    }
    PolicyStatus { ancestors }
}

/// Accepted, and PartiallyInvalid where it is so.
fn conditions(verdicts: &[&Verdict<'_>]) -> Vec<Condition> {
    let refusals = || verdicts.iter().filter_map(|verdict| verdict.fate.as_ref().err());
    let counts: Vec<_> =
        verdicts.iter().filter_map(|v| Some((v.target, v.fate.as_ref().ok()?))).collect();
    let kind = ConditionType::Accepted;
    if counts.is_empty() {
        return vec![sum(refusals()).condition(kind)];
    }
    let targets: Vec<String> = counts.iter().map(|(target, _)| describe(*target)).collect();
    let mut message = format!("counts for {}", targets.join(", "));
    for remark in counts.iter().flat_map(|(_, effect)| &effect.remarks) {
        message.push_str("; ");
        message.push_str(remark);
    }
    let mut conditions = vec![Condition::holds(kind, Reason::Accepted, message)];
    let dead = counts.iter().filter_map(|(_, effect)| effect.dead.as_ref());
    let dead: Vec<Refusal> =
        dead.map(|dead| Refusal::new(Reason::UnsupportedValue, dead.as_str())).collect();
    let mut wrong = refusals().chain(&dead).peekable();
    if wrong.peek().is_some() {
        let Refusal { reason, message } = sum(wrong);
        conditions.push(Condition::holds(ConditionType::PartiallyInvalid, reason, message));
    }
    conditions
}

/// Refusals as one, each text once.
fn sum<'a>(refusals: impl IntoIterator<Item = &'a Refusal>) -> Refusal {
    let mut distinct: Vec<&Refusal> = Vec::new();
    for refusal in refusals {
        if !distinct.contains(&refusal) {
            distinct.push(refusal);
        }
    }
    crate::refusal::sum(distinct).expect("a target that does not count has a refusal")
}

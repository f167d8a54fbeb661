//! Status of a ListenerSet (GEP-1713).
//!
//! It is attached to its Gateway when one of its own listeners can be served, and programmed when
//! the addresses of the Gateway serve and one of its own listeners is bound: those of the Gateway and of
//! other sets have no part in it.

use vipgate_api::{Condition, ConditionStatus, ConditionType, ObjectKey, Reason};

use super::SetStatus;
use super::gateway::View;
use crate::admission::{AdmittedListener, AdmittedSet};
use crate::refusal::Refusal;

/// The status of a set that names this Gateway.
pub(super) fn status(view: &View<'_>, key: &ObjectKey, set: &AdmittedSet) -> SetStatus {
    let conditions = match refused(view, key, set) {
        Some(refusal) => vec![
            refusal.condition(ConditionType::Accepted),
            refusal.condition(ConditionType::Programmed),
        ],
        None => vec![accepted(view, key), programmed(view, key)],
    };
    SetStatus { conditions, listeners: view.listeners_of(Some(key)) }
}

/// Why a set is not attached to its Gateway, if it is not.
pub(super) fn refused(view: &View<'_>, key: &ObjectKey, set: &AdmittedSet) -> Option<Refusal> {
    set.refused.clone().or_else(|| {
        let gateway = view.refused();
        let parent = gateway.map(|why| {
            let message = format!("Gateway {} is not accepted: {}", view.key, why.message);
            Refusal::new(Reason::ParentNotAccepted, message)
        });
        parent.or_else(|| none_valid(view, key))
    })
}

fn none_valid(view: &View<'_>, key: &ObjectKey) -> Option<Refusal> {
    let mut own = view.gateway.listeners_of(Some(key));
    own.all(|(index, listener)| unserved(view, index, listener).is_some()).then(|| {
        let message = format!("no listener is valid: {}", list(view, key));
        Refusal::new(Reason::ListenersNotValid, message)
    })
}

/// Why a listener serves nobody: it is refused, or none of its certificates can be used.
fn unserved(view: &View<'_>, index: usize, listener: &AdmittedListener) -> Option<Reason> {
    let certificates = view.certificates(index);
    let unusable = certificates.refusals.first().filter(|_| certificates.usable.is_empty());
    view.unaccepted(index, listener).or(unusable).map(|refusal| refusal.reason)
}

/// The listeners that serve nobody, each with the reason.
fn list(view: &View<'_>, key: &ObjectKey) -> String {
    let own = view.gateway.listeners_of(Some(key));
    let bad = own.filter_map(|(index, listener)| {
        let reason = unserved(view, index, listener)?;
        Some(format!("{} ({reason})", listener.name))
    });
    bad.collect::<Vec<_>>().join(", ")
}

fn accepted(view: &View<'_>, key: &ObjectKey) -> Condition {
    let kind = ConditionType::Accepted;
    let bad = list(view, key);
    if bad.is_empty() {
        return Condition::holds(kind, Reason::Accepted, "every listener is accepted");
    }
    let message = format!("not served: {bad}; the other listeners are accepted");
    Condition::holds(kind, Reason::ListenersNotValid, message)
}

fn programmed(view: &View<'_>, key: &ObjectKey) -> Condition {
    if let Some(why) = view.unreachable() {
        let message = format!("Gateway {} is not programmed: {}", view.key, why.message);
        let kind = ConditionType::Programmed;
        return match why.status {
            ConditionStatus::Unknown => Condition::unknown(kind, Reason::Pending, message),
            _ => Condition::fails(kind, Reason::ParentNotProgrammed, message),
        };
    }
    view.unbound(Some(key)).unwrap_or_else(|| view.serving())
}

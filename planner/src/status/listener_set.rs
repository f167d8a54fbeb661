//! Status of a ListenerSet (GEP-1713).

use vipgate_api::{Condition, ConditionType, ObjectKey, Reason};

use super::SetStatus;
use super::gateway::View;
use crate::admission::{AdmittedSet, list_refused};
use crate::refusal::Refusal;

/// The status of a set that names this Gateway.
pub(super) fn status(view: &View<'_>, key: &ObjectKey, set: &AdmittedSet) -> SetStatus {
    let own = || view.gateway.listeners_of(Some(key)).map(|(_, listener)| listener);
    let bad = list_refused(own());
    let none_valid = own().all(|listener| listener.refused.is_some());
    let refusal = set.refused.clone().or_else(|| {
        let gateway = view.refused();
        let parent = gateway.map(|why| {
            let message = format!("Gateway {} is not accepted: {}", view.key, why.message);
            Refusal::new(Reason::ParentNotAccepted, message)
        });
        parent.or_else(|| {
            none_valid.then(|| {
                let message = format!("no listener is valid: {bad}");
                Refusal::new(Reason::ListenersNotValid, message)
            })
        })
    });
    let conditions = match refusal {
        Some(refusal) => vec![
            refusal.condition(ConditionType::Accepted),
            refusal.condition(ConditionType::Programmed),
        ],
        None => vec![accepted(&bad), programmed(view)],
    };
    SetStatus { conditions, listeners: view.listeners_of(Some(key)) }
}

fn accepted(bad: &str) -> Condition {
    let kind = ConditionType::Accepted;
    if bad.is_empty() {
        return Condition::holds(kind, Reason::Accepted, "every listener is valid");
    }
    let message = format!("not served: {bad}; the other listeners are valid");
    Condition::holds(kind, Reason::ListenersNotValid, message)
}

/// The set is served where its Gateway is.
fn programmed(view: &View<'_>) -> Condition {
    let kind = ConditionType::Programmed;
    let gateway = view.programmed();
    match gateway.is_true() {
        true => Condition::holds(kind, Reason::Programmed, gateway.message),
        false => {
            let message = format!("Gateway {} is not programmed: {}", view.key, gateway.message);
            Condition::fails(kind, Reason::ParentNotProgrammed, message)
        }
    }
}

//! Status of a listener, whether the Gateway's own or of a ListenerSet.

use std::net::IpAddr;
use std::sync::Arc;

use vipgate_api::{Condition, ConditionType, ObjectKey, Reason};

use super::ListenerStatus;
use super::gateway::{View, no_certificate};
use super::standing::Standing;
use crate::admission::AdmittedListener;
use crate::certificates::Resolved;
use crate::node::ListenerState;
use crate::plan::ListenerId;
use crate::refusal::{Refusal, sum};
use crate::report::{listener_state, truncated};

impl View<'_> {
    /// How a listener stands on an address. One whose certificates cannot be used anyway, or which
    /// could not check its clients, waits for none: its conditions say what is wrong.
    pub(super) fn socket(
        &self,
        index: usize,
        listener: &AdmittedListener,
        address: IpAddr,
    ) -> Option<ListenerState> {
        if self.layers.reports.is_empty() {
            return None;
        }
        let id = ListenerId {
            gateway: self.key.clone(),
            set: listener.set.clone(),
            name: listener.name.clone(),
            address,
        };
        match listener_state(self.layers.reports, &id)? {
            ListenerState::NoCertificate if self.is_useless(index) => Some(ListenerState::Bound),
            state => Some(state),
        }
    }

    /// Whether no handshake with a listener can succeed, whatever the nodes know.
    fn is_useless(&self, index: usize) -> bool {
        let certificates = self.certificates(index);
        certificates.usable.is_empty() || certificates.unverifiable().is_some()
    }

    /// Why a listener is not accepted, if it is not.
    pub(super) fn unaccepted<'a>(
        &'a self,
        index: usize,
        listener: &'a AdmittedListener,
    ) -> Option<&'a Refusal> {
        listener.refused.as_ref().or_else(|| self.certificates(index).unverifiable())
    }

    /// The certificates of a listener.
    pub(super) fn certificates(&self, index: usize) -> &Resolved {
        static NONE: Resolved =
            Resolved { usable: Vec::new(), refusals: Vec::new(), clients: None };
        let of_each = self.layers.certificates.listeners.get(self.key);
        of_each.and_then(|of_each| of_each.get(index)).unwrap_or(&NONE)
    }

    /// The Gateway's own listeners, or those of one of its ListenerSets.
    pub(super) fn listeners_of(&self, set: Option<&ObjectKey>) -> Vec<ListenerStatus> {
        let own = self.gateway.listeners_of(set);
        own.map(|(index, listener)| self.listener(index, listener)).collect()
    }

    fn listener(&self, index: usize, listener: &AdmittedListener) -> ListenerStatus {
        let slots = self.layers.attachment.listeners.get(self.key);
        let attached = slots.and_then(|slots| slots.get(index)).map_or(0, Vec::len);
        ListenerStatus {
            name: listener.name.clone(),
            supported_kinds: Arc::clone(&listener.supported_kinds),
            attached_routes: u32::try_from(attached).unwrap_or(u32::MAX),
            conditions: vec![
                self.listener_accepted(index, listener),
                self.listener_programmed(index, listener),
                self.listener_resolved(index, listener),
                conflicted(listener),
            ],
        }
    }

    fn listener_accepted(&self, index: usize, listener: &AdmittedListener) -> Condition {
        let kind = ConditionType::Accepted;
        match self.unaccepted(index, listener) {
            Some(refusal) => refusal.condition(kind),
            None => Condition::holds(kind, Reason::Accepted, "the listener is valid"),
        }
    }

    fn listener_programmed(&self, index: usize, listener: &AdmittedListener) -> Condition {
        let kind = ConditionType::Programmed;
        if let Some(refusal) = self.unaccepted(index, listener) {
            let reason = if listener.is_conflicted() { refusal.reason } else { Reason::Invalid };
            return Condition::fails(kind, reason, refusal.message.clone());
        }
        if let Some(refusal) = &self.gateway.refused {
            let message = format!("the Gateway is not accepted: {}", refusal.message);
            return Condition::fails(kind, Reason::Invalid, message);
        }
        if self.standings.is_empty() {
            return Condition::fails(kind, Reason::Pending, "the Gateway has no address yet");
        }
        let (mut serving, mut waiting, mut unknown) = (Vec::new(), Vec::new(), Vec::new());
        let is_silent = !truncated(self.layers.reports).is_empty();
        for (address, standing) in &self.standings {
            match (self.socket(index, listener, *address), standing) {
                (Some(ListenerState::Failed(why)), _) => {
                    return Condition::fails(kind, Reason::PortUnavailable, why);
                }
                (_, Standing::Unknown(why)) => unknown.push(why.clone()),
                (_, Standing::Waiting(what)) => waiting.push(what.clone()),
                (_, Standing::Down(why)) => waiting.push(why.message.clone()),
                (None, Standing::Serving(_)) if is_silent => unknown.push(format!(
                    "whether port {} on {address} is bound is not known: the Speaker object has no \
                     room for all",
                    listener.port
                )),
                (None, Standing::Serving(_)) => {
                    waiting.push(format!("port {} on {address} is not bound yet", listener.port));
                }
                (Some(ListenerState::NoCertificate), Standing::Serving(_)) => {
                    waiting.push(no_certificate(*address));
                }
                (Some(ListenerState::Bound), Standing::Serving(text)) => {
                    serving.push(text.as_str());
                }
            }
        }
        if !waiting.is_empty() {
            return Condition::fails(kind, Reason::Pending, waiting.join("; "));
        }
        if !unknown.is_empty() {
            return Condition::unknown(kind, Reason::Pending, unknown.join("; "));
        }
        let message = format!("port {} is bound; {}", listener.port, serving.join("; "));
        Condition::holds(kind, Reason::Programmed, message)
    }

    fn listener_resolved(&self, index: usize, listener: &AdmittedListener) -> Condition {
        let kind = ConditionType::ResolvedRefs;
        let refusals = &self.certificates(index).refusals;
        match sum(listener.invalid_kinds.iter().chain(refusals)) {
            Some(refusal) => refusal.condition(kind),
            None => Condition::holds(kind, Reason::ResolvedRefs, "every reference is resolved"),
        }
    }
}

fn conflicted(listener: &AdmittedListener) -> Condition {
    let kind = ConditionType::Conflicted;
    match &listener.refused {
        Some(refusal) if listener.is_conflicted() => {
            Condition::holds(kind, refusal.reason, refusal.message.clone())
        }
        _ => Condition::fails(kind, Reason::NoConflicts, "no other listener is in the way"),
    }
}

//! Status of a Gateway and its listeners.
//!
//! `Accepted` comes from the spec alone, with one exception: entries of `spec.addresses` of a type
//! that is not served. `Programmed` is true when every address serves and a listener of its own is
//! bound; those of its ListenerSets are theirs.

use std::net::IpAddr;

use vipgate_api::gateway::{AddressType, GatewayAddress};
use vipgate_api::{Condition, ConditionType, Kind, ObjectKey, ObjectRef, Reason};

use super::standing::Standing;
use super::{GatewayStatus, Layers, listener_set};
use crate::admission::AdmittedGateway;
use crate::allocation::{AddressProblem, Addresses};
use crate::node::{ListenerState, VipState};
use crate::refusal::{Refusal, sum};
use crate::report::{compromise, truncated, vip_states};

/// Everything about one Gateway.
pub(super) struct View<'a> {
    pub(super) layers: &'a Layers<'a>,
    pub(super) key: &'a ObjectKey,
    pub(super) gateway: &'a AdmittedGateway,
    /// Absent when it is refused, so that it needs no address.
    addresses: Option<&'a Addresses>,
    /// Its addresses, in order, and how far each has come.
    pub(super) standings: Vec<(IpAddr, Standing)>,
}

impl<'a> View<'a> {
    /// Of a Gateway of ours.
    pub(super) fn new(
        layers: &'a Layers<'a>,
        key: &'a ObjectKey,
        gateway: &'a AdmittedGateway,
    ) -> Self {
        let addresses = layers.allocation.gateway(key);
        let assigned = addresses.map(|addresses| addresses.assigned.as_slice()).unwrap_or_default();
        let standings = assigned
            .iter()
            .filter_map(|address| {
                let vip = layers.plan.vips.get(address)?;
                Some((*address, Standing::of(vip, layers)))
            })
            .collect();
        Self { layers, key, gateway, addresses, standings }
    }
}

impl View<'_> {
    /// The status.
    pub(super) fn status(&self) -> GatewayStatus {
        let sets = self.layers.admission.sets_of(self.gateway);
        let attached = sets.filter(|(key, set)| listener_set::refused(self, key, set).is_none());
        let served = !self.layers.environment.absent.contains(&Kind::ListenerSet);
        let shown = self.layers.certificates.shown.get(self.key);
        let shown = shown.and_then(|shown| shown.as_ref().err());
        let resolved = shown.map(|refusal| refusal.condition(ConditionType::ResolvedRefs));
        GatewayStatus {
            addresses: self.published(),
            conditions: [self.accepted(), self.programmed()]
                .into_iter()
                .chain(resolved)
                .chain(insecure(&self.gateway.insecure))
                .collect(),
            listeners: self.listeners_of(None),
            attached_listener_sets: served
                .then(|| u32::try_from(attached.count()).unwrap_or(u32::MAX)),
        }
    }

    /// The addresses that clients may use: nobody else has them, which a probe has shown.
    fn published(&self) -> Vec<GatewayAddress> {
        let is_published = |address: &IpAddr| {
            let claim = self.layers.allocation.claims.0.get(address);
            address.is_loopback()
                || claim.is_some_and(|claim| claim.published)
                || vip_states(self.layers.reports, *address)
                    .iter()
                    .any(|(_, state)| matches!(state, VipState::Serving(_)))
        };
        let addresses =
            self.standings.iter().map(|(address, _)| address).filter(|a| is_published(a));
        addresses
            .map(|address| GatewayAddress {
                kind: AddressType::IpAddress,
                value: Some(address.to_string()),
            })
            .collect()
    }

    fn problems(&self) -> &[AddressProblem] {
        self.addresses.map(|addresses| addresses.problems.as_slice()).unwrap_or_default()
    }

    /// Why the Gateway is not accepted, apart from what its own listeners may wait for.
    pub(super) fn refused(&self) -> Option<Refusal> {
        self.gateway.refused.clone().or_else(|| {
            let unsupported: Vec<Refusal> = (self.problems().iter().map(refusal))
                .filter(|refusal| refusal.reason == Reason::UnsupportedAddress)
                .collect();
            sum(&unsupported)
        })
    }

    /// None of its own listeners can check its clients (and would let nobody in), or is valid. It keeps
    /// its addresses: what is missing may come any moment.
    fn none_accepted(&self) -> Option<Refusal> {
        let mut own = self.gateway.listeners_of(None);
        own.all(|(index, listener)| self.unaccepted(index, listener).is_some()).then(|| {
            let message = format!("no listener is valid: {}", self.unaccepted_ones());
            Refusal::new(Reason::ListenersNotValid, message)
        })
    }

    /// Those of its own listeners that are not accepted, each with the reason.
    fn unaccepted_ones(&self) -> String {
        let own = self.gateway.listeners_of(None);
        let bad = own.filter_map(|(index, listener)| {
            let reason = self.unaccepted(index, listener)?.reason;
            Some(format!("{} ({reason})", listener.name))
        });
        bad.collect::<Vec<_>>().join(", ")
    }

    pub(super) fn accepted(&self) -> Condition {
        let kind = ConditionType::Accepted;
        let bad = self.unaccepted_ones();
        match self.refused().or_else(|| self.none_accepted()) {
            Some(refusal) => refusal.condition(kind),
            None if bad.is_empty() => {
                Condition::holds(kind, Reason::Accepted, "every listener is accepted")
            }
            None => {
                let message = format!("not served: {bad}; the other listeners are accepted");
                Condition::holds(kind, Reason::ListenersNotValid, message)
            }
        }
    }

    fn programmed(&self) -> Condition {
        let kind = ConditionType::Programmed;
        if let Some(refusal) = self.refused().or_else(|| self.none_accepted()) {
            let message = format!("the Gateway is not accepted: {}", refusal.message);
            return Condition::fails(kind, Reason::Invalid, message);
        }
        self.unreachable().or_else(|| self.unbound(None)).unwrap_or_else(|| {
            let mut serving = self.serving();
            serving.message += &self.kept();
            for (address, _) in &self.standings {
                if let Some(compromise) = compromise(self.layers.reports, *address) {
                    serving.message += &format!("; {address}: {compromise}");
                }
            }
            for remark in &self.gateway.remarks {
                serving.message += &format!("; {remark}");
            }
            serving
        })
    }

    /// Addresses that it keeps and would not be given today, as the end of a sentence.
    fn kept(&self) -> String {
        let user = ObjectRef::new(Kind::Gateway, self.key.clone());
        let notes = self.standings.iter().filter_map(|(address, _)| {
            let note = self.layers.allocation.note(&user, *address)?;
            Some(format!("; {address} is kept because it is in use, although {}", note.why))
        });
        notes.collect()
    }

    /// Programmed=True, with where.
    pub(super) fn serving(&self) -> Condition {
        let serving = self.standings.iter().filter_map(|(_, standing)| match standing {
            Standing::Serving(text) => Some(text.as_str()),
            Standing::Unknown(_) | Standing::Waiting(_) | Standing::Down(_) => None,
        });
        let message = serving.collect::<Vec<_>>().join("; ");
        Condition::holds(ConditionType::Programmed, Reason::Programmed, message)
    }

    /// Why an address does not serve, as far as is known, if one does not.
    pub(super) fn unreachable(&self) -> Option<Condition> {
        let kind = ConditionType::Programmed;
        if let Some(obstacle) = sum(&self.address_obstacles()) {
            return Some(obstacle.condition(kind));
        }
        let (mut waiting, mut unknown) = (Vec::new(), Vec::new());
        for (_, standing) in &self.standings {
            match standing {
                Standing::Waiting(what) => waiting.push(what.as_str()),
                Standing::Down(why) => waiting.push(&why.message),
                Standing::Unknown(why) => unknown.push(why.as_str()),
                Standing::Serving(_) => {}
            }
        }
        if !waiting.is_empty() {
            return Some(Condition::fails(kind, Reason::Pending, waiting.join("; ")));
        }
        let is_unknown = !unknown.is_empty();
        is_unknown.then(|| Condition::unknown(kind, Reason::Pending, unknown.join("; ")))
    }

    /// What is wrong with the addresses: in allocation, then on this node. A host that has one of
    /// them is named once.
    fn address_obstacles(&self) -> Vec<Refusal> {
        let mut obstacles: Vec<Refusal> = self.problems().iter().map(refusal).collect();
        let is_foreign = |address: &IpAddr| {
            let foreign = |p: &AddressProblem| matches!(p, AddressProblem::Foreign { address: a, .. } if a == address);
            self.problems().iter().any(foreign)
        };
        for (address, standing) in &self.standings {
            match standing {
                Standing::Down(refusal) if !is_foreign(address) => obstacles.push(refusal.clone()),
                _ => {}
            }
        }
        if obstacles.is_empty() && self.standings.is_empty() {
            let message = "the Gateway has no address yet";
            obstacles.push(Refusal::new(Reason::AddressNotAssigned, message));
        }
        obstacles
    }

    /// Why no listener listens, of the Gateway's own or of one of its ListenerSets, if none does.
    pub(super) fn unbound(&self, set: Option<&ObjectKey>) -> Option<Condition> {
        let kind = ConditionType::Programmed;
        let (mut failures, mut waiting, mut unknown) = (Vec::new(), None, false);
        for (index, listener) in self.gateway.served().filter(|(_, l)| l.set.as_ref() == set) {
            for (address, _) in &self.standings {
                match self.socket(index, listener, *address) {
                    Some(ListenerState::Bound) => return None,
                    Some(ListenerState::Failed(why)) => {
                        failures.push(format!("listener {}: {why}", listener.name));
                    }
                    Some(ListenerState::NoCertificate) => waiting = Some(no_certificate(*address)),
                    None => unknown = true,
                }
            }
        }
        Some(match (waiting, unknown) {
            (Some(waiting), _) => Condition::fails(kind, Reason::Pending, waiting),
            (None, true) if !truncated(self.layers.reports).is_empty() => {
                let message =
                    "no listener is known to be bound: a Speaker object has no room for all";
                Condition::unknown(kind, Reason::Pending, message)
            }
            (None, true) => Condition::fails(kind, Reason::Pending, "no listener is bound yet"),
            (None, false) => {
                let failures = failures.join("; ");
                let message = format!("no listener could be bound: {failures}");
                Condition::fails(kind, Reason::Invalid, message)
            }
        })
    }
}

/// What a listener waits for that ends TLS.
pub(super) fn no_certificate(address: IpAddr) -> String {
    format!("its certificate has not reached the node that serves {address} yet")
}

/// What is to be said where clients come in unchecked.
fn insecure(fields: &[String]) -> Option<Condition> {
    let message = format!(
        "{} is AllowInsecureFallback: clients come in with a wrong certificate, or with none",
        fields.join(", ")
    );
    let kind = ConditionType::InsecureFrontendValidationMode;
    let condition = Condition::holds(kind, Reason::ConfigurationChanged, message);
    (!fields.is_empty()).then_some(condition)
}

fn refusal(problem: &AddressProblem) -> Refusal {
    Refusal::new(problem.reason(), problem.to_string())
}

//! Status of a Gateway and its listeners.
//!
//! `Accepted` comes from the spec alone, with one exception: entries of `spec.addresses` of a type
//! that is not served. `Programmed` is true when every address serves and a listener is bound.

use std::net::IpAddr;

use vipgate_api::gateway::{AddressType, GatewayAddress};
use vipgate_api::{Condition, ConditionType, ObjectKey, Reason};

use super::standing::Standing;
use super::{GatewayStatus, Layers};
use crate::admission::{AdmittedGateway, list_refused};
use crate::allocation::{AddressProblem, Addresses};
use crate::node::{ListenerState, VipState};
use crate::refusal::{Refusal, sum};
use crate::report::vip_states;

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
                Some((*address, Standing::of(vip, layers.reports, &layers.node.name)))
            })
            .collect();
        Self { layers, key, gateway, addresses, standings }
    }
}

impl View<'_> {
    /// The status.
    pub(super) fn status(&self) -> GatewayStatus {
        let sets = self.layers.admission.sets.values().filter(|set| set.gateway == *self.key);
        let attached = sets.clone().filter(|set| set.refused.is_none()).count();
        GatewayStatus {
            addresses: self.published(),
            conditions: vec![self.accepted(), self.programmed()],
            listeners: self.listeners_of(None),
            attached_listener_sets: (sets.count() > 0)
                .then(|| u32::try_from(attached).unwrap_or(u32::MAX)),
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

    /// Why the Gateway is not accepted, if it is not.
    pub(super) fn refused(&self) -> Option<Refusal> {
        self.gateway.refused.clone().or_else(|| {
            let unsupported: Vec<Refusal> = (self.problems().iter().map(refusal))
                .filter(|refusal| refusal.reason == Reason::UnsupportedAddress)
                .collect();
            sum(&unsupported)
        })
    }

    pub(super) fn accepted(&self) -> Condition {
        let kind = ConditionType::Accepted;
        let bad = list_refused(self.gateway.listeners_of(None).map(|(_, listener)| listener));
        match self.refused() {
            Some(refusal) => refusal.condition(kind),
            None if bad.is_empty() => {
                Condition::holds(kind, Reason::Accepted, "every listener is valid")
            }
            None => {
                let message = format!("not served: {bad}; the other listeners are valid");
                Condition::holds(kind, Reason::ListenersNotValid, message)
            }
        }
    }

    pub(super) fn programmed(&self) -> Condition {
        let kind = ConditionType::Programmed;
        if let Some(refusal) = self.refused() {
            let message = format!("the Gateway is not accepted: {}", refusal.message);
            return Condition::fails(kind, Reason::Invalid, message);
        }
        if let Some(obstacle) = sum(&self.address_obstacles()) {
            return obstacle.condition(kind);
        }
        let waits: Vec<&str> = self.standings.iter().filter_map(|(_, s)| s.obstacle()).collect();
        if !waits.is_empty() {
            return Condition::fails(kind, Reason::Pending, waits.join("; "));
        }
        if let Some(refusal) = self.nothing_bound() {
            return refusal.condition(kind);
        }
        let serving = self.standings.iter().filter_map(|(_, standing)| match standing {
            Standing::Serving(text) => Some(text.as_str()),
            Standing::Waiting(_) | Standing::Down(_) => None,
        });
        let message = serving.collect::<Vec<_>>().join("; ");
        Condition::holds(kind, Reason::Programmed, message)
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
                Standing::Down(_) | Standing::Serving(_) | Standing::Waiting(_) => {}
            }
        }
        if obstacles.is_empty() && self.standings.is_empty() {
            let message = "the Gateway has no address yet";
            obstacles.push(Refusal::new(Reason::AddressNotAssigned, message));
        }
        obstacles
    }

    /// Why no listener listens, if none does.
    fn nothing_bound(&self) -> Option<Refusal> {
        let (mut failures, mut unknown) = (Vec::new(), false);
        for (_, listener) in self.gateway.served() {
            for (address, _) in &self.standings {
                match self.socket(listener, *address) {
                    Some(ListenerState::Bound) => return None,
                    Some(ListenerState::Failed(why)) => {
                        failures.push(format!("listener {}: {why}", listener.name));
                    }
                    None => unknown = true,
                }
            }
        }
        Some(match unknown {
            true => Refusal::new(Reason::Pending, "no listener is bound yet"),
            false => Refusal::new(
                Reason::Invalid,
                format!("no listener could be bound: {}", failures.join("; ")),
            ),
        })
    }
}

fn refusal(problem: &AddressProblem) -> Refusal {
    Refusal::new(problem.reason(), problem.to_string())
}

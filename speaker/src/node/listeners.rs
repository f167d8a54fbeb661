//! The listeners of a plan on this node.

use std::collections::BTreeMap;
use std::sync::Arc;

use vipgate_api::vipgate::Transport;
use vipgate_planner::{Listener, ListenerId, ListenerState, Plan};

use super::Engines;
use crate::host::{Exposure, Exposures};

/// The listeners of the last plan that was bound. Rounds come for many reasons, most of which leave the
/// listeners as they are; a hand-over is several of them, on all members at once.
#[derive(Default)]
pub(super) struct Listeners {
    /// Of this plan; nothing while some of them are to be tried again.
    settled: Option<Arc<Plan>>,
    states: BTreeMap<ListenerId, ListenerState>,
    exposures: Exposures,
    /// Whether endpoints are to see clients' addresses.
    preserving: bool,
}

impl Listeners {
    /// Has them bound anew by the next round.
    pub(super) fn try_again(&mut self) {
        self.settled = None;
    }

    /// Whether rules are kept only for connections that are still open.
    pub(super) fn outlived(&self) -> bool {
        !self.preserving && self.exposures.values().any(Exposure::preserves)
    }

    /// Binds those of a plan, if they are not. What became of each, and what of each VIP is served by
    /// them.
    pub(super) fn bind(
        &mut self,
        engines: &Engines,
        plan: &Arc<Plan>,
    ) -> (BTreeMap<ListenerId, ListenerState>, &Exposures) {
        if !self.settled.as_ref().is_some_and(|settled| Arc::ptr_eq(settled, plan))
            && !self.renew(engines, plan)
        {
            (self.states, self.exposures) = bind(engines, plan);
            let fails = |state: &ListenerState| matches!(state, ListenerState::Failed(_));
            self.settled = (!self.states.values().any(fails)).then(|| Arc::clone(plan));
            self.preserving = preserves(plan);
        }
        // Connections that are open from clients' addresses need the rules until they end.
        if self.preserving || engines.proxy.preserved() > 0 {
            self.exposures.values_mut().for_each(Exposure::preserve);
        } else {
            self.exposures.values_mut().for_each(Exposure::end_preserving);
        }
        (self.states.clone(), &self.exposures)
    }

    /// Takes over a plan in which the same listeners listen in the same places as in the one that is settled;
    /// whether it is one.
    fn renew(&mut self, engines: &Engines, plan: &Arc<Plan>) -> bool {
        let Some(settled) = &self.settled else { return false };
        let of_udp = |one: &Arc<Listener>| one.transport() == Transport::Udp;
        let alike = settled.listeners.len() == plan.listeners.len()
            && changed(settled, plan).all(|(old, new)| {
                (&old.id, old.bind) == (&new.id, new.bind) && !of_udp(old) && !of_udp(new)
            });
        if !alike || !engines.proxy.renew(&plan.listeners) {
            return false;
        }
        for (_, listener) in changed(settled, plan) {
            self.states.insert(listener.id.clone(), bound(listener));
        }
        self.preserving = preserves(plan);
        self.settled = Some(Arc::clone(plan));
        true
    }
}

/// The listeners that are not the very same in two plans which have as many.
fn changed<'a>(
    old: &'a Plan,
    new: &'a Plan,
) -> impl Iterator<Item = (&'a Arc<Listener>, &'a Arc<Listener>)> {
    let pairs = std::iter::zip(&old.listeners, &new.listeners);
    pairs.filter(|(old, new)| !Arc::ptr_eq(old, new))
}

/// The state of a listener that listens.
fn bound(listener: &Listener) -> ListenerState {
    match listener.lacks_certificate() {
        true => ListenerState::NoCertificate,
        false => ListenerState::Bound,
    }
}

/// Whether some endpoint is to see clients' addresses.
fn preserves(plan: &Plan) -> bool {
    let targets = plan.listeners.iter().filter(|l| l.transport() == Transport::Tcp);
    let mut shares =
        targets.flat_map(|listener| listener.targets()).flat_map(|(_, target)| &target.shares);
    shares.any(|share| !share.preserved.is_empty())
}

fn bind(engines: &Engines, plan: &Plan) -> (BTreeMap<ListenerId, ListenerState>, Exposures) {
    let of_udp = plan.listeners.iter().filter(|listener| listener.transport() == Transport::Udp);
    engines.proxy.keep_files(engines.udp.files(of_udp.count()));
    // Each has its own: no listener is of both.
    let mut outcomes = engines.proxy.apply(&plan.listeners);
    outcomes.extend(engines.udp.apply(&plan.listeners));
    let mut exposures = Exposures::new();
    // In the order of the ids, as the map is.
    let states = plan.listeners.iter().filter_map(|listener| {
        let state = match outcomes.remove(&listener.id)? {
            Ok(at) => {
                let exposure = exposures.entry(listener.bind.ip()).or_default();
                match listener.transport() {
                    Transport::Udp => exposure.udp(listener.bind.port(), at.port()),
                    Transport::Tcp | Transport::Sctp => {
                        exposure.tcp(listener.bind.port(), at.port());
                    }
                }
                bound(listener)
            }
            Err(error) => ListenerState::Failed(error.to_string()),
        };
        Some((listener.id.clone(), state))
    });
    (states.collect(), exposures)
}

#[cfg(test)]
mod tests;

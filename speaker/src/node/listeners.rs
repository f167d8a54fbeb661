//! The listeners of a plan on this node.

use std::collections::BTreeMap;

use vipgate_planner::{ListenerId, ListenerState, Plan};

use crate::host::Exposures;
use crate::proxy::Proxy;

/// Binds them. What became of each, and what of each VIP is served by them.
pub(super) fn bind(proxy: &Proxy, plan: &Plan) -> (BTreeMap<ListenerId, ListenerState>, Exposures) {
    let mut outcomes = proxy.apply(&plan.listeners);
    let (mut states, mut exposures) = (BTreeMap::new(), Exposures::new());
    for listener in &plan.listeners {
        let Some(outcome) = outcomes.remove(&listener.id) else { continue };
        let state = match outcome {
            Ok(at) => {
                let exposure = exposures.entry(listener.bind.ip()).or_default();
                exposure.tcp(listener.bind.port(), at.port());
                match listener.lacks_certificate() {
                    true => ListenerState::NoCertificate,
                    false => ListenerState::Bound,
                }
            }
            Err(error) => ListenerState::Failed(error.to_string()),
        };
        states.insert(listener.id.clone(), state);
    }
    (states, exposures)
}

//! How many ports a Gateway has room for, its ListenerSets included: a claim is one object and holds so
//! many, and what is not in the claim may be somebody else's.

use std::collections::BTreeSet;

use vipgate_api::Reason;
use vipgate_api::vipgate::PortUse;

use super::AdmittedListener;
use crate::allocation::MOST_PORTS;
use crate::refusal::Refusal;

/// The ports that are taken.
#[derive(Debug, Default)]
pub(super) struct Room(BTreeSet<PortUse>);

impl Room {
    /// Lets listeners in, in their order. One whose port has no room is refused; the others are served.
    pub(super) fn taken_by(
        &mut self,
        mut listeners: Vec<AdmittedListener>,
    ) -> Vec<AdmittedListener> {
        for listener in listeners.iter_mut().filter(|listener| listener.refused.is_none()) {
            let Some(port) = listener.port_use() else { continue };
            if self.0.len() < MOST_PORTS || self.0.contains(&port) {
                self.0.insert(port);
                continue;
            }
            let port = port.port;
            let message = format!(
                "no room for port {port}: the Gateway and the ListenerSets that go before have \
                 {MOST_PORTS} ports, and an address has no more: put this listener on another Gateway"
            );
            listener.refused = Some(Refusal::new(Reason::TooManyListeners, message));
        }
        listeners
    }
}

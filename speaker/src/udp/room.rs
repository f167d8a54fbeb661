//! Room for another session: what policies say of a listener, and the limits of the engine.
//!
//! Above a limit the session that was silent for longest ends, the least proven first ([`sessions`]
//! (super::sessions)): turning new ones away instead would let whoever fills the room once, under false
//! addresses, keep everybody else out of it for as long as a session may be silent.

use std::sync::Arc;

use vipgate_planner::{ListenerSettings, Rate};

use super::config::Config;
use super::places::{Claim, Place};
use super::sessions::{Crowd, Flow, Patience, Terms};
use super::stats::EndReason;
use super::table::Port;
use super::worker::Worker;
use crate::clients::source_of;

/// Sessions that end for one that begins, where there are too many: one for it, and one of those that a
/// limit before allowed, or that two workers had at once as the last one.
const AT_ONCE: usize = 2;

/// How long sessions may be silent where their listener does not say.
pub(super) fn patience_of(config: &Config) -> Patience {
    Patience { fresh: config.idle_fresh.min(config.idle), proven: config.idle }
}

fn terms_of(settings: &ListenerSettings, config: &Config) -> Terms {
    let patience = match settings.idle_timeout {
        // Of all of them: an endpoint may speak seldom to a client that only listens.
        Some(idle) => Patience { fresh: idle, proven: idle },
        None => patience_of(config),
    };
    Terms {
        patience,
        bounded: settings.connections.is_some(),
        bounded_by_source: settings.connections_per_source.is_some(),
    }
}

impl Worker {
    /// Goes over to what the ports say now of their sessions.
    pub(super) fn adopt_terms(&mut self) {
        let config = &self.shared.config;
        let terms = |port: &Option<Arc<Port>>| match port {
            Some(port) => terms_of(&port.listener.settings, config),
            None => Terms::usual(patience_of(config)),
        };
        let terms = self.ports.iter().map(terms).collect();
        self.sessions.set_terms(terms);
    }

    /// Whether a session may begin, as to how fast they do. Then it counts.
    pub(super) fn is_slow_enough(&self, port: &Port, rate: Rate) -> bool {
        let since = self.now.saturating_duration_since(self.shared.started);
        port.stats.meter.admit(rate, u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    }

    /// Takes a place for a session that is about to begin, and ends those that are in its way.
    pub(super) fn make_room(&mut self, port: &Port, flow: Flow) -> Place {
        let mut place = Place::take(&port.stats, self.index);
        let ListenerSettings { connections, connections_per_source, .. } = *port.listener.settings;
        let mut claimed = 0;
        if let Some(limit) = connections_per_source {
            place.count(source_of(flow.client.ip()));
            claimed = self.crowd_out(port, flow, limit);
        }
        if let Some(limit) = connections {
            self.thin_out(port, flow, limit.saturating_add(claimed));
        }
        if let Some((slot, crowd)) = self.sessions.in_the_way(flow.client) {
            let reason = match crowd {
                Crowd::All => EndReason::Crowded,
                Crowd::Source => EndReason::SourceCrowded,
            };
            self.end(slot, reason);
        }
        place
    }

    /// Ends sessions of the source of a flow while there are more than the limit. How many others were
    /// asked for.
    fn crowd_out(&mut self, port: &Port, flow: Flow, limit: u32) -> u32 {
        let source = source_of(flow.client.ip());
        for _ in 0..AT_ONCE {
            if port.stats.places.of(source) <= limit {
                break;
            }
            if let Some(slot) = self.sessions.first_of(source, flow.port) {
                self.end(slot, EndReason::SourceCrowded);
            } else if let Some(other) = port.stats.places.holder(source, self.index) {
                self.claim(other, port, flow, true);
                return 1;
            }
        }
        0
    }

    /// Ends sessions of a port while there are more than the limit, or asks the worker that has most.
    fn thin_out(&mut self, port: &Port, flow: Flow, limit: u32) {
        for _ in 0..AT_ONCE {
            if port.stats.places.taken() <= limit {
                return;
            }
            // A worker with few would have its new clients end one another, while another's old ones stay.
            let fullest = port.stats.fullest(self.index);
            let own = self.sessions.first_at(flow.port).filter(|_| fullest == self.index);
            match own {
                Some(slot) => self.end(slot, EndReason::ListenerCrowded),
                None => return self.claim(fullest, port, flow, false),
            }
        }
    }

    /// Asks another worker for a place: one of the source of a flow, or any of the port.
    fn claim(&self, worker: usize, port: &Port, flow: Flow, of_source: bool) {
        let source = of_source.then(|| source_of(flow.client.ip()));
        let claim = Claim { port: flow.port, stats: Arc::clone(&port.stats), source };
        self.shared.claim(worker, claim);
    }

    /// Gives up the places that other workers took, as far as there are still too many.
    pub(super) fn give_up_places(&mut self) {
        for Claim { port: number, stats, source } in self.shared.claims[self.index].take() {
            let Some(port) = self.port(number) else { continue };
            if !Arc::ptr_eq(&port.stats, &stats) {
                continue;
            }
            let settings = &port.listener.settings;
            let above = |limit: Option<u32>, taken: u32| limit.is_some_and(|limit| taken > limit);
            let (slot, reason) = match source {
                Some(source) => {
                    let above = above(settings.connections_per_source, stats.places.of(source));
                    let slot = self.sessions.first_of(source, number).filter(|_| above);
                    (slot, EndReason::SourceCrowded)
                }
                None => {
                    let above = above(settings.connections, stats.places.taken());
                    let slot = self.sessions.first_at(number).filter(|_| above);
                    (slot, EndReason::ListenerCrowded)
                }
            };
            if let Some(slot) = slot {
                self.end(slot, reason);
            }
        }
    }
}

//! One visit to a VIP whose owner's Ethernet address is known: a SYN to each port, again where none is answered,
//! until all are or time is up.
//!
//! No socket, no clock.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use vipgate_planner::MacAddr;

use super::result::Outcome;
use super::wire::{self, Answer, Path};

/// When a SYN that is not answered is sent, from the first one on.
const SENDS: [Duration; 3] =
    [Duration::ZERO, Duration::from_millis(250), Duration::from_millis(900)];
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// See the module.
#[derive(Debug)]
pub(super) struct Visit {
    from: (MacAddr, IpAddr, u16),
    to: (MacAddr, IpAddr),
    began: Instant,
    /// When the last answer came.
    answered: Instant,
    ports: BTreeMap<u16, Port>,
}

#[derive(Debug)]
struct Port {
    sequence: u32,
    sent: usize,
    accepts: Option<bool>,
}

impl Visit {
    /// One that begins now; `sequence` gives numbers that nobody can guess.
    pub(super) fn new(
        now: Instant,
        from: (MacAddr, IpAddr, u16),
        to: (MacAddr, IpAddr),
        ports: &[u16],
        mut sequence: impl FnMut() -> u32,
    ) -> Self {
        let mut port = || Port { sequence: sequence(), sent: 0, accepts: None };
        let ports = ports.iter().map(|number| (*number, port())).collect();
        Self { from, to, began: now, answered: now, ports }
    }

    /// When [`Self::tick`] is due; nothing when it is over.
    pub(super) fn due(&self) -> Option<Instant> {
        let open = self.ports.values().filter(|port| port.accepts.is_none());
        let next = |port: &Port| self.began + SENDS.get(port.sent).copied().unwrap_or(PATIENCE);
        open.map(next).min()
    }

    /// Whether nothing more will come of it.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.due().is_none() || now >= self.began + PATIENCE
    }

    /// The frames that are to be sent now.
    pub(super) fn tick(&mut self, now: Instant) -> Vec<Vec<u8>> {
        let (from, to, began) = (self.from, self.to, self.began);
        let mut frames = Vec::new();
        for (number, port) in &mut self.ports {
            let is_due = SENDS.get(port.sent).is_some_and(|after| began + *after <= now);
            if port.accepts.is_none() && is_due {
                port.sent += 1;
                let path = Path { from, to: (to.0, to.1, *number) };
                frames.push(wire::syn(&path, port.sequence));
            }
        }
        frames
    }

    /// Takes in what came back; the frame by which the other side forgets it, if it expects more.
    pub(super) fn receive(&mut self, now: Instant, answer: &Answer) -> Option<Vec<u8>> {
        let port = self.ports.get_mut(&answer.port).filter(|_| answer.vip == self.to.1)?;
        let next = port.sequence.wrapping_add(1);
        if answer.acknowledged != next {
            return None;
        }
        if port.accepts.is_none() {
            port.accepts = Some(answer.accepts);
            self.answered = now;
        }
        let path = Path { from: self.from, to: (self.to.0, self.to.1, answer.port) };
        answer.accepts.then(|| wire::rst(&path, next))
    }

    /// How long it took, as far as it was answered, and what was found at each port.
    pub(super) fn found(&self) -> (Duration, Outcome, BTreeMap<u16, bool>) {
        let bad = |wanted: Option<bool>| {
            self.ports.iter().find(|(_, port)| port.accepts == wanted).map(|(number, _)| *number)
        };
        let silent = bad(None).map(Outcome::Silent);
        let outcome = silent.or_else(|| bad(Some(false)).map(Outcome::Refused));
        let ports = self.ports.iter().map(|(number, port)| (*number, port.accepts == Some(true)));
        (self.answered - self.began, outcome.unwrap_or(Outcome::Reached), ports.collect())
    }
}

#[cfg(test)]
mod tests;

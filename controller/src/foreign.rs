//! Addresses that other hosts were found to have, by the probes of our nodes.
//!
//! A finding holds for [`HOLDS`]: the host may leave the network, and an address that is not in the
//! plan is not asked for. What is forgotten may be given out again, and is probed before it is used.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use vipgate_planner::{Foreign, MacAddr, NodeReport, VipState};

/// How long an address is avoided that another host was found to have.
pub const HOLDS: Duration = Duration::from_secs(300);

/// The findings.
#[derive(Debug, Default)]
pub struct Findings(BTreeMap<IpAddr, Finding>);

#[derive(Debug)]
struct Finding {
    mac: MacAddr,
    until: Instant,
    /// The node still asks for the address, and still gets this answer.
    asked: bool,
}

impl Findings {
    /// Takes in what the node reports now.
    pub fn learn(&mut self, report: &NodeReport, now: Instant) {
        for finding in self.0.values_mut().filter(|finding| finding.asked) {
            finding.until = now + HOLDS;
            finding.asked = false;
        }
        for (address, state) in &report.vips {
            match state {
                VipState::Conflict(mac) => {
                    let finding = Finding { mac: *mac, until: now + HOLDS, asked: true };
                    self.0.insert(*address, finding);
                }
                state if state.is_announced() => {
                    self.0.remove(address);
                }
                _ => {}
            }
        }
    }

    /// Forgets what is too long ago.
    pub fn forget(&mut self, now: Instant) {
        self.0.retain(|_, finding| finding.asked || finding.until > now);
    }

    /// When there is something to forget, if ever.
    pub fn due(&self) -> Option<Instant> {
        let waiting = self.0.values().filter(|finding| !finding.asked);
        waiting.map(|finding| finding.until).min()
    }

    /// As the planner takes them.
    pub fn addresses(&self) -> Foreign {
        self.0.iter().map(|(address, finding)| (*address, finding.mac)).collect()
    }
}

#[cfg(test)]
mod tests;

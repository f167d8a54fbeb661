//! Whether an endpoint works, as checks say that are asked for (BackendPolicy): one state for each address
//! and check, whichever routes ask. The [`prober`](super::prober) asks; picks look.
//!
//! ```text
//!   healthy ── `unhealthy_after` bad answers in a row ──> unhealthy
//!   healthy <── `healthy_after` good answers in a row ─── unhealthy
//! ```
//!
//! It begins as healthy: one that was just made ready is not to wait for our questions.

use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU32};

use vipgate_planner::Check;

/// See the module.
#[derive(Debug)]
pub(crate) struct CheckState {
    /// Of the endpoint.
    pub(super) endpoint: SocketAddr,
    pub(super) check: Check,
    unhealthy: AtomicBool,
    /// Answers in a row that speak against it as it is now. Written by the prober alone.
    against: AtomicU32,
}

impl CheckState {
    pub(super) fn new(endpoint: SocketAddr, check: Check) -> Self {
        Self { endpoint, check, unhealthy: AtomicBool::new(false), against: AtomicU32::new(0) }
    }

    /// Where to ask.
    pub(super) fn address(&self) -> SocketAddr {
        let port = self.check.port.unwrap_or(self.endpoint.port());
        SocketAddr::new(self.endpoint.ip(), port)
    }

    /// Whether new connections keep away.
    pub(crate) fn is_unhealthy(&self) -> bool {
        self.unhealthy.load(Relaxed)
    }

    /// The answer to a question, or why it is a bad one.
    pub(super) fn answered(&self, answer: Result<(), String>) {
        let unhealthy = self.is_unhealthy();
        if answer.is_ok() != unhealthy {
            self.against.store(0, Relaxed);
            return;
        }
        let against = self.against.load(Relaxed).saturating_add(1);
        let most = if unhealthy { self.check.healthy_after } else { self.check.unhealthy_after };
        if against < most {
            self.against.store(against, Relaxed);
            return;
        }
        self.against.store(0, Relaxed);
        self.unhealthy.store(!unhealthy, Relaxed);
        match answer {
            Ok(()) => {
                tracing::info!(endpoint = %self.endpoint, asked = %self.address(), "is healthy again");
            }
            Err(error) => tracing::warn!(
                endpoint = %self.endpoint, asked = %self.address(), error,
                "is unhealthy; gets no connections while there are others"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn only_answers_in_a_row_count() {
        let check = Check {
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            unhealthy_after: 3,
            healthy_after: 2,
            port: Some(81),
            proxy_protocol: None,
            tls: false,
            send: Vec::new(),
            expect: Vec::new(),
        };
        let state = CheckState::new("192.0.2.1:80".parse().unwrap(), check);
        assert_eq!(state.address(), "192.0.2.1:81".parse().unwrap());
        let after = |answers: &str| {
            for answer in answers.chars() {
                state.answered(if answer == '+' { Ok(()) } else { Err("no".to_owned()) });
            }
            state.is_unhealthy()
        };
        assert!(!after("--+--+--"));
        assert!(after("-"));
        assert!(after("+-+-+--"));
        assert!(!after("++"));
        assert!(!after("--"));
        assert!(after("-"));
    }
}

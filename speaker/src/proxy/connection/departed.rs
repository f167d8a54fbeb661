//! Ending some time after the endpoint left its backendRef, where that is asked for.

use std::sync::Arc;
use std::time::Instant;

use super::{Connection, Ending, Stage, Verdict};
use crate::proxy::departure::Member;
use crate::proxy::stats::ResetReason;

/// See the module.
#[derive(Debug)]
pub(super) struct Departing {
    member: Arc<Member>,
    /// When to end; as the member said when it was last looked at.
    at: Option<Instant>,
    /// The worker is going to wake it then.
    armed: bool,
}

impl Departing {
    pub(super) fn new(member: Arc<Member>) -> Self {
        // It may have left while it was being connected to.
        let at = member.closes_at();
        Self { member, at, armed: false }
    }
}

impl Connection {
    fn departing(&mut self) -> Option<&mut Departing> {
        self.record.as_mut()?.departing.as_mut()
    }

    /// Endpoints left, or came back: when to wake it, if its own has left.
    pub(in crate::proxy) fn look_at_endpoint(&mut self) -> Option<Instant> {
        let departing = self.departing()?;
        let at = departing.member.closes_at();
        if at == departing.at && departing.armed {
            return None;
        }
        (departing.at, departing.armed) = (at, at.is_some());
        at
    }

    /// Its worker is another one, which knows of no deadline yet.
    pub(super) fn is_to_be_woken_anew(&mut self) {
        if let Some(departing) = self.departing() {
            departing.armed = false;
        }
    }

    /// When it is to end.
    pub(super) fn departs_at(&self) -> Option<Instant> {
        self.record.as_ref()?.departing.as_ref()?.at
    }

    /// Nothing to do until the next event, or until it is to end.
    pub(super) fn rest(&mut self) -> Verdict {
        match self.departing() {
            Some(Departing { at: Some(at), armed, .. }) if !*armed => {
                *armed = true;
                Verdict::Arm(*at)
            }
            _ => Verdict::Wait,
        }
    }

    /// The time has come.
    pub(super) fn depart(&mut self, now: Instant) -> Verdict {
        if !matches!(self.stage, Stage::Open) || self.departs_at().is_none_or(|at| at > now) {
            return Verdict::Wait;
        }
        let endpoint = self.record.as_ref().and_then(|record| record.held.as_ref());
        tracing::debug!(
            endpoint = endpoint.map(|held| tracing::field::display(held.endpoint().address)),
            "left its backendRef; a connection to it is reset"
        );
        Verdict::End(Ending::Reset(ResetReason::EndpointGone))
    }
}

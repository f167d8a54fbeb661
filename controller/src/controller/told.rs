//! What the controller tells of itself, for metrics and health.

use tokio::sync::watch;
use vipgate_planner::Outcome;

use super::Controller;
use crate::facts::{Decided, Facts};

impl Controller {
    /// What it tells of itself, each time that changes.
    pub fn facts(&self) -> watch::Receiver<Facts> {
        self.facts.subscribe()
    }

    /// Says what is waited for, and no decisions of one that does not lead.
    pub(super) fn tell_awaited(&self) {
        let (awaited, leads) = (self.index.awaits(), self.writer.is_open());
        self.tell(|facts| {
            facts.awaited.clone_from(&awaited);
            if !leads {
                facts.decided = None;
            }
        });
    }

    /// Says what was decided.
    pub(super) fn tell_decided(&self, outcome: &Outcome) {
        let decided = Decided::of(&outcome.statuses);
        self.tell(|facts| facts.decided = Some(decided));
    }

    fn tell(&self, change: impl FnOnce(&mut Facts)) {
        self.facts.send_if_modified(|facts| {
            let before = facts.clone();
            change(facts);
            *facts != before
        });
    }
}

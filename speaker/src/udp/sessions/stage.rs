//! How far sessions have come, and which of them go first.

use std::time::Duration;

use super::super::lru::Queue;

/// How far a session has come. Whoever is further on goes later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Stage {
    /// The client has not said anything after an answer.
    Fresh,
    /// It has.
    Proven,
    /// It has done so for a while.
    Settled,
}

impl Stage {
    pub(super) const ALL: [Self; 3] = [Self::Fresh, Self::Proven, Self::Settled];
}

/// How long a session of each stage may be silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Patience {
    pub(in super::super) fresh: Duration,
    /// Of those that are further on.
    pub(in super::super) proven: Duration,
}

impl Patience {
    pub(super) fn with(&self, stage: Stage) -> Duration {
        match stage {
            Stage::Fresh => self.fresh,
            Stage::Proven | Stage::Settled => self.proven,
        }
    }
}

/// Sessions by stage, in each stage in the order in which they were heard.
#[derive(Debug, Default)]
pub(super) struct Queues([Queue; Stage::ALL.len()]);

impl Queues {
    pub(super) fn stage(&self, stage: Stage) -> &Queue {
        &self.0[stage as usize]
    }

    pub(super) fn stage_mut(&mut self, stage: Stage) -> &mut Queue {
        &mut self.0[stage as usize]
    }

    pub(super) fn lens(&self) -> [usize; Stage::ALL.len()] {
        self.0.each_ref().map(Queue::len)
    }

    pub(super) fn len(&self) -> usize {
        self.lens().iter().sum()
    }

    /// The one to go when there are `limit`.
    pub(super) fn first_to_go(&self, limit: usize) -> Option<u32> {
        self.stage(giving(self.lens(), limit)?).first()
    }
}

/// The stage that gives one up when there are `limit`: the lowest, unless those above it have more than
/// what they may keep from it. Settled ones leave a quarter to the others, and with the proven ones an eighth
/// to the fresh.
pub(super) fn giving([fresh, proven, settled]: [usize; 3], limit: usize) -> Option<Stage> {
    // Rounded down, so that one of few is not kept from anybody.
    let (quarter, eighth) = (limit / 4, limit / 8);
    if settled > 0 && settled + quarter > limit {
        Some(Stage::Settled)
    } else if proven > 0 && proven + settled + eighth > limit {
        Some(Stage::Proven)
    } else {
        let lens = [fresh, proven, settled];
        Stage::ALL.into_iter().find(|stage| lens[*stage as usize] > 0)
    }
}

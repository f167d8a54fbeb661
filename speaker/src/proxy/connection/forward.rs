//! Forwarding, until both ends are passed on or a side fails.
//!
//! A reset of one side becomes a reset of the other, and what the failed side had sent before is
//! delivered first. A reset overtakes what is still queued towards the survivor, so it waits until
//! that is acknowledged; the kernel raises no event for this, hence the short polls.

use std::os::fd::AsFd;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::{Connection, Context, Ending, Stage, Verdict};
use crate::proxy::refusal::Refusal;
use crate::proxy::relay::{Ends, Moved, Rescue, Turn};
use crate::proxy::socket;
use crate::proxy::stats::ResetReason;
use crate::proxy::token::Side;

/// First pause between two looks whether the survivor of a reset has acknowledged; it doubles.
const FIRST_POLL: Duration = Duration::from_millis(1);
const LAST_POLL: Duration = Duration::from_millis(64);

#[derive(Debug)]
pub(super) struct Resetting {
    broken: Side,
    /// End of patience.
    until: Instant,
    /// Next look.
    pub(super) poll_at: Instant,
    pause: Duration,
}

impl Connection {
    /// Moves what can be moved in both directions.
    pub(super) fn forward(&mut self, context: &mut Context<'_>) -> Verdict {
        let Some(server) = &self.server else { return Verdict::Wait };
        let (client, server) = (self.client.as_fd(), server.as_fd());
        let Context { buffer, opened, pipes, .. } = context;
        let mut ends = Ends { client, server, buffer, opened, pipes };
        self.active = context.tick;
        let mut moved = Moved::default();
        let turn = self.relay.run(&mut ends, &mut moved);
        self.count(context, &moved);
        match turn {
            Turn::Waiting => self.rest(),
            Turn::More => Verdict::Again,
            Turn::Finished => Verdict::End(Ending::Orderly),
            Turn::Failed(side) => self.broke(side, context),
        }
    }

    /// One side failed: saves what it had sent, then resets the other.
    pub(super) fn broke(&mut self, broken: Side, context: &mut Context<'_>) -> Verdict {
        self.relay.failed(broken);
        let until = context.now + context.config.reset_patience;
        let resetting = Resetting { broken, until, poll_at: until, pause: FIRST_POLL };
        self.stage = Stage::Resetting(Box::new(resetting));
        self.salvage(context)
    }

    /// Delivers what the failed side had sent, and ends when that is done or takes too long.
    pub(super) fn salvage(&mut self, context: &mut Context<'_>) -> Verdict {
        let (Stage::Resetting(resetting), Some(server)) = (&mut self.stage, &self.server) else {
            return Verdict::Wait;
        };
        let (client, server) = (self.client.as_fd(), server.as_fd());
        let (survivor, reason) = match resetting.broken {
            Side::Client => (server, ResetReason::ByClient),
            Side::Server => (client, ResetReason::ByBackend),
        };
        let Context { buffer, opened, pipes, .. } = context;
        let mut ends = Ends { client, server, buffer, opened, pipes };
        let mut moved = Moved::default();
        let rescue = self.relay.rescue(resetting.broken, &mut ends, &mut moved);
        let wake = match rescue {
            Rescue::Lost => None,
            _ if context.now >= resetting.until => None,
            Rescue::More => Some(Verdict::Again),
            // The survivor's next "writable" brings it on, or the end of patience.
            Rescue::Blocked => {
                resetting.poll_at = resetting.until;
                Some(Verdict::Arm(resetting.until))
            }
            Rescue::Done if socket::unacknowledged(survivor).unwrap_or(0) == 0 => None,
            Rescue::Done => {
                resetting.poll_at = resetting.until.min(context.now + resetting.pause);
                resetting.pause = LAST_POLL.min(resetting.pause * 2);
                Some(Verdict::Arm(resetting.poll_at))
            }
        };
        self.count(context, &moved);
        if let Some(wake) = wake {
            return wake;
        }
        let reason = match reason {
            ResetReason::ByBackend => self.backend_failure(),
            reason => reason,
        };
        match self.relay.take_alert(Side::Client) {
            Some(alert) => self.refuse(Refusal::Tls(alert), ResetReason::Tls, context),
            None => Verdict::End(Ending::Reset(reason)),
        }
    }

    fn count(&mut self, context: &Context<'_>, moved: &Moved) {
        let shard = self.shard(context.worker);
        if moved.up > 0 {
            shard.bytes_in.fetch_add(moved.up, Relaxed);
        }
        if moved.down > 0 {
            shard.bytes_out.fetch_add(moved.down, Relaxed);
        }
        if let Some(tally) = self.record.as_mut().and_then(|record| record.tally.as_mut()) {
            tally.bytes_up += moved.up;
            tally.bytes_down += moved.down;
        }
    }
}

//! The echo function of a session (RFC 5880 sections 6.4, 6.8.5 and 6.8.9): when to send a packet that the
//! other side's forwarding returns, and when too many have not come back.
//!
//! A packet is known by the moment at which it was sent, counted from the session's beginning. It counts
//! once, when it is not older than the detection time, and no younger one has come back before it.

use std::time::{Duration, Instant};

use super::{Fsm, Output, SLOW};
use crate::bfd::wire::{Diagnostic, State};

/// After a failure the session stays down for [`SLOW`], and twice as long each time that the one before was
/// not yet [`FORGIVEN`], up to this.
pub(super) const LONGEST_HOLD: Duration = Duration::from_secs(8);
/// A path that loses most packets, and not all, is to take routes along less and less often.
const FORGIVEN: Duration = Duration::from_secs(60);

/// What the echo function of a session does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Echoing {
    /// It is not asked for.
    Off,
    /// The session is not up.
    NotUp,
    /// Packets can neither be sent nor returned: the other side's control packets were not seen on its link.
    NoPath,
    /// The other side says that it returns none.
    NotReturned,
    /// Packets are sent, and have to come back.
    Active,
    /// They did not come back, and none has since, whether the session is up or not. It ends when nothing can be
    /// said any more: the other side says nothing, that it is down on purpose, or that it returns none.
    Failed,
}

/// The packets of a session, and what they are counted by.
#[derive(Clone, Debug)]
pub(super) struct Echo {
    /// Whether packets can be sent, and those of the other side returned.
    pub(super) path: bool,
    /// The last time ended with a failure, and no packet has come back since.
    pub(super) is_failing: bool,
    epoch: Instant,
    running: Option<Running>,
}

#[derive(Clone, Debug)]
struct Running {
    interval: Duration,
    detection: Duration,
    send_at: Instant,
    detect_at: Instant,
    /// Packets sent before this do not count, or have been counted.
    least: Duration,
}

impl Echo {
    pub(super) fn new(now: Instant) -> Echo {
        Echo { path: false, is_failing: false, epoch: now, running: None }
    }

    /// Sends with this interval from now on, or not at all. So many may not come back.
    pub(super) fn follow(&mut self, interval: Option<Duration>, multiplier: u32, now: Instant) {
        let Some(interval) = interval else {
            self.running = None;
            return;
        };
        let detection = interval * multiplier;
        match &mut self.running {
            Some(running) if (running.interval, running.detection) == (interval, detection) => {}
            Some(running) => {
                running.send_at = running.send_at.min(now + interval);
                running.detect_at = now + detection;
                (running.interval, running.detection) = (interval, detection);
            }
            None => {
                let least = now.saturating_duration_since(self.epoch);
                let detect_at = now + detection;
                self.running =
                    Some(Running { interval, detection, send_at: now, detect_at, least });
            }
        }
    }

    /// A packet came back.
    pub(super) fn returned(&mut self, sent: Duration, now: Instant) {
        let Some(running) = &mut self.running else { return };
        let since = |moment: Instant| moment.saturating_duration_since(self.epoch);
        // What waited for us, as after a stall, came before it would have been too late.
        let in_time = since(now.min(running.detect_at)) <= sent + running.detection;
        if in_time && (running.least..=since(now)).contains(&sent) {
            running.least = sent + Duration::from_nanos(1);
            running.detect_at = now + running.detection;
            self.is_failing = false;
        }
    }

    /// A packet that we are late to send ourselves is not one that stays away.
    pub(super) fn forgive(&mut self, now: Instant) {
        if let Some(running) = &mut self.running {
            running.detect_at += now.saturating_duration_since(running.send_at);
        }
    }

    /// Whether too many have not come back.
    pub(super) fn has_failed(&self, now: Instant) -> bool {
        self.running.as_ref().is_some_and(|running| running.detect_at <= now)
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.running.as_ref().is_some_and(|running| running.send_at <= now)
    }

    /// Counts a packet as sent now. The next is due after the interval less so many percent of it.
    pub(super) fn send(&mut self, percent: u32, now: Instant) -> Duration {
        if let Some(running) = &mut self.running {
            running.send_at = now + running.interval - running.interval * percent / 100;
        }
        now.saturating_duration_since(self.epoch)
    }

    /// When there is something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.running.as_ref().map(|running| running.send_at.min(running.detect_at))
    }
}

impl Fsm {
    /// What the echo function does.
    #[must_use]
    pub fn echoing(&self) -> Echoing {
        match self.echo_as_it_is() {
            Echoing::Off => Echoing::Off,
            _ if self.echo.is_failing => Echoing::Failed,
            other => other,
        }
    }

    fn echo_as_it_is(&self) -> Echoing {
        match self.config.echo {
            None => Echoing::Off,
            Some(_) if self.state != State::Up => Echoing::NotUp,
            Some(_) if !self.echo.path => Echoing::NoPath,
            Some(_) if self.remote.min_echo_rx.is_zero() => Echoing::NotReturned,
            Some(_) => Echoing::Active,
        }
    }

    /// Begins, goes on with or ends the echo function, as things are.
    pub(super) fn follow_echo(&mut self, now: Instant) {
        let active = self.echo_as_it_is() == Echoing::Active;
        if self.state == State::Up && !active {
            self.echo.is_failing = false;
        }
        let wanted = self.config.echo.filter(|_| active);
        let interval = wanted.map(|interval| interval.max(self.remote.min_echo_rx));
        self.echo.follow(interval, u32::from(self.config.multiplier), now);
    }

    pub(super) fn set_echo_path(&mut self, path: bool, now: Instant) {
        if path != self.echo.path {
            self.echo.path = path;
            self.tell_of_echo(now);
        }
    }

    /// What we promise to return is another: the other side is to know at once, lest it await what does not come.
    pub(super) fn tell_of_echo(&mut self, now: Instant) {
        if self.state == State::Up {
            self.send_at = Some(now);
        }
    }

    /// Takes the session down if too many have not come back.
    pub(super) fn judge_echo(&mut self, now: Instant, outputs: &mut Vec<Output>) {
        self.echo.forgive(now);
        if self.echo.has_failed(now) {
            let again = self.held_until.is_some_and(|until| now < until + FORGIVEN);
            self.hold = if again { (self.hold * 2).min(LONGEST_HOLD) } else { SLOW };
            self.held_until = Some(now + self.hold);
            self.echo.is_failing = true;
            self.diagnostic = Diagnostic::EchoFailed;
            self.change(State::Down, now, outputs);
        }
    }

    pub(super) fn send_due_echo(&mut self, now: Instant, outputs: &mut Vec<Output>) {
        if self.echo.is_due(now) {
            let percent = self.draw_percent();
            outputs.push(Output::SendEcho(self.echo.send(percent, now)));
        }
    }
}

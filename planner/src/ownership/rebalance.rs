//! When VIPs are spread anew.
//!
//! Ownership is sticky, so after a rolling reboot the last node that came has nothing. A rebalance is a
//! window of time in which every VIP may move to where it would go if nobody had it
//! ([`View::rebalance`](super::View)). It is asked for (`vipgate rebalance`), or, where that was opted
//! for, opens by itself when somebody joined and the group has been the same for [`QUIET`] since. Each
//! member says to all others that a window is open, so it is enough that one is told.

use std::collections::BTreeSet;
use std::time::Duration;

/// How long a window is open.
pub const WINDOW: Duration = Duration::from_secs(60);
/// How long the group must have been the same before a window opens by itself.
pub const QUIET: Duration = Duration::from_secs(60);
/// How long a member waits between two VIPs that it takes.
pub const PACE: Duration = Duration::from_millis(50);

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Rebalance {
    automatic: bool,
    until: Option<Duration>,
    members: BTreeSet<String>,
    /// Since when the group is as it is, while somebody joined for whom no window was opened.
    joined: Option<Duration>,
}

impl Rebalance {
    /// `automatic`: whether windows open by themselves.
    pub fn new(automatic: bool) -> Self {
        Self { automatic, ..Self::default() }
    }

    /// Opens a window.
    pub fn ask(&mut self, now: Duration) {
        self.until = Some(now + WINDOW);
    }

    /// Takes in who the others are; says whether a window of ours is open.
    pub fn look<'a>(&mut self, now: Duration, others: impl IntoIterator<Item = &'a str>) -> bool {
        let others: BTreeSet<String> = others.into_iter().map(str::to_owned).collect();
        if others != self.members {
            let came = !others.is_subset(&self.members);
            if came || self.joined.is_some() {
                self.joined = Some(now);
            }
            self.members = others;
        }
        if self.automatic && self.joined.is_some_and(|joined| now >= joined + QUIET) {
            self.joined = None;
            self.ask(now);
        }
        self.until.take_if(|until| *until <= now);
        self.until.is_some()
    }

    /// When to look again, if nothing happens before.
    pub fn due(&self) -> Option<Duration> {
        let opens = self.joined.filter(|_| self.automatic).map(|joined| joined + QUIET);
        self.until.into_iter().chain(opens).min()
    }
}

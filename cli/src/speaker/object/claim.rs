//! Whether this process is the one that writes the object of its node.
//!
//! What always holds: of two processes that live, the one that claimed last writes; the other one
//! names it, and claims again after [`TURN`]. So both know of each other, the object is written by one
//! of them at a time, and when one is gone the other one has it within that time.

use std::time::Duration;

use tokio::time::Instant;

use super::Found;

/// How long another process is left alone with the object, and how long nobody has to show himself
/// before there is nobody.
const TURN: Duration = Duration::from_secs(60);

/// See the module.
#[derive(Debug)]
pub(super) struct Claim {
    me: String,
    /// It was made, and nobody made another one since.
    is_made: bool,
    /// The version that the object had with it.
    version: Option<u64>,
    rival: Option<Rival>,
}

#[derive(Debug)]
struct Rival {
    instance: String,
    until: Instant,
}

impl Claim {
    pub(super) fn of(instance: &str) -> Self {
        Self { me: instance.to_owned(), is_made: false, version: None, rival: None }
    }

    /// Takes in what is to be seen of the object.
    pub(super) fn learn(&mut self, found: &Found, now: Instant) {
        if found.status.is_none() {
            // Gone with whoever had it.
            self.is_made = false;
            self.rival = None;
            return;
        }
        // What was there before our first claim is left from before.
        let is_newer = found.version > self.version && self.version.is_some();
        if let Some(other) = found.instance.as_ref().filter(|other| **other != self.me && is_newer)
        {
            self.is_made = false;
            self.version = found.version;
            self.rival = Some(Rival { instance: other.clone(), until: now + TURN });
        }
    }

    /// It has been made, and the object is of this version now.
    pub(super) fn made(&mut self, version: Option<u64>, now: Instant) {
        self.is_made = true;
        self.version = version;
        if let Some(rival) = &mut self.rival {
            rival.until = now + TURN;
        }
    }

    /// It has to be made anew, because something in it is not so any more.
    pub(super) fn renew(&mut self) {
        self.is_made = false;
    }

    pub(super) fn is_made(&self) -> bool {
        self.is_made
    }

    /// When it is our turn, or the other one counts as gone.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        let until = self.rival.as_ref().map(|rival| rival.until);
        until.filter(|_| self.is_made || !self.may_write(now))
    }

    /// That time has come.
    pub(super) fn turn(&mut self, now: Instant) {
        if self.is_made {
            self.rival.take_if(|rival| rival.until <= now);
        }
    }

    /// Whether it is our turn.
    pub(super) fn may_write(&self, now: Instant) -> bool {
        self.is_made || self.rival.as_ref().is_none_or(|rival| rival.until <= now)
    }

    /// The other process, if there is one.
    pub(super) fn rival(&self) -> Option<&str> {
        self.rival.as_ref().map(|rival| rival.instance.as_str())
    }
}

#[cfg(test)]
mod tests {
    use vipgate_api::vipgate::SpeakerStatus;

    use super::*;

    fn found(instance: &str, version: u64) -> Found {
        Found {
            status: Some(SpeakerStatus::default()),
            version: Some(version),
            instance: Some(instance.to_owned()),
        }
    }

    #[test]
    fn of_two_with_one_name_one_writes_and_the_other_says_so_in_turn() {
        let (mut claim, start) = (Claim::of("me"), Instant::now());
        // Left by a process that was killed.
        claim.learn(&found("before", 7), start);
        assert!(claim.may_write(start) && claim.rival().is_none());
        claim.made(Some(8), start);
        claim.learn(&found("me", 8), start);
        // Told late.
        claim.learn(&found("before", 7), start);
        assert!(claim.is_made() && claim.rival().is_none());

        claim.learn(&found("other", 9), start);
        assert!(!claim.may_write(start));
        assert_eq!(claim.rival(), Some("other"));
        let turn = claim.due(start).unwrap();
        assert_eq!(turn, start + TURN);
        claim.turn(turn);
        assert!(claim.may_write(turn) && !claim.is_made());
        assert_eq!(claim.rival(), Some("other"), "it may still be there");
        claim.made(Some(20), turn);
        let alone = claim.due(turn).unwrap();
        assert_eq!(alone, turn + TURN);
        claim.turn(alone);
        assert_eq!((claim.rival(), claim.due(alone)), (None, None));

        // It ends in order, and takes the object along.
        claim.learn(&found("other", 21), alone);
        claim.learn(&Found::default(), alone);
        assert!(claim.may_write(alone) && !claim.is_made() && claim.rival().is_none());
    }
}

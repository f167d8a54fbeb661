//! Asks the wire of one link whether an address is free (RFC 5227 section 2.1 and RFC 4862 section 5.4, in
//! a fast form).
//!
//! Three probes 100 ms apart; the answer is "free" 200 ms after the third had its 100 ms. RFC 5227
//! waits seconds, for links that were slow in 2008; nobody waits that long for a VIP.
//!
//! **Tie-break.** A foreign *probe* for the same address means that another station wants it too.
//! RFC 5227 lets both give up; two vipgate hosts that start together would then both try the next
//! address, and the next. Here the lower MAC address goes on and the higher one gives up. Whoever
//! goes on announces when it is done, and so ends a foreign probe that began too late to hear our
//! own probes. A station that follows the RFC to the letter gives up to us either way, or has
//! announced before we are done.
//!
//! Caveat: the rule compares the addresses on one link. Two hosts joined by two links may order
//! differently on each, and both give up. Who asks again does so after a random time.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use vipgate_planner::MacAddr;

use super::frame::Frame;
use super::responder::LinkState;

/// Probes sent.
pub const PROBES: u32 = 3;
/// Time after each probe.
pub const SPACING: Duration = Duration::from_millis(100);
/// Time of listening after that.
pub const LISTENING: Duration = Duration::from_millis(200);

/// What happens to a probe.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// A well-formed frame arrived.
    Received(&'a Frame),
    /// Time has passed.
    Tick,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send the frame.
    Send(Frame),
    /// The probe has ended; what comes in later changes nothing.
    Done(Outcome),
}

/// What a probe found on its link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nobody answered.
    Free,
    /// This station has the address, or wants it and comes first.
    Conflict(MacAddr),
}

/// A probe for one address on one link.
#[derive(Debug)]
pub struct Probe {
    vip: IpAddr,
    link: LinkState,
    /// Whether it only looks who has the address, and whoever does counts.
    looking: bool,
    sent: u32,
    /// When the next probe is due, or the end; `None` once it has ended.
    due: Option<Instant>,
}

impl Probe {
    /// A probe whose first frame is due now.
    pub fn starting(vip: IpAddr, link: LinkState, now: Instant) -> Probe {
        Probe { vip, link, looking: false, sent: 0, due: Some(now) }
    }

    /// The same for an address that is not wanted now: members of the group that have it count, and
    /// those that ask for it do not.
    pub fn looking(vip: IpAddr, link: LinkState, now: Instant) -> Probe {
        Probe { looking: true, ..Probe::starting(vip, link, now) }
    }

    /// The address asked for.
    pub fn vip(&self) -> IpAddr {
        self.vip
    }

    /// Whether it only looks who has the address.
    pub fn is_looking(&self) -> bool {
        self.looking
    }

    /// When to call with [`Input::Tick`]; `None` once it has ended.
    pub fn deadline(&self) -> Option<Instant> {
        self.due
    }

    /// Advances the state. `now` never goes backwards.
    pub fn handle(&mut self, input: Input<'_>, now: Instant) -> Option<Output> {
        let due = self.due?;
        match input {
            Input::Received(frame) => self.rival(frame).map(|mac| {
                self.due = None;
                Output::Done(Outcome::Conflict(mac))
            }),
            Input::Tick if now < due => None,
            Input::Tick if self.sent < PROBES => {
                self.sent += 1;
                let rest = if self.sent == PROBES { LISTENING } else { Duration::ZERO };
                // Counted from now, not from when it was due: after a stall of this process
                // others still get their time to answer.
                self.due = Some(now + SPACING + rest);
                Some(Output::Send(Frame::probe(self.link.mac, self.vip)))
            }
            Input::Tick => {
                self.due = None;
                Some(Output::Done(Outcome::Free))
            }
        }
    }

    /// The foreign station to which this frame makes us give up.
    fn rival(&self, frame: &Frame) -> Option<MacAddr> {
        let mac = frame.sender();
        if self.link.is_own(mac) || (self.link.friends.contains(&mac) && !self.looking) {
            return None;
        }
        let has_it = frame.claims() == self.vip;
        if self.looking {
            return has_it.then_some(mac);
        }
        let wants_it_first =
            frame.is_probe() && frame.asks() == Some(self.vip) && mac < self.link.mac;
        (has_it || wants_it_first).then_some(mac)
    }
}

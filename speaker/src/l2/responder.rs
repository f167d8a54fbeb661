//! The responder of one link: answers for the VIPs owned there, announces and defends them.
//!
//! A state machine without socket or clock: [`Responder::handle`] takes an [`Input`] and the time
//! and returns what to do; [`Responder::deadline`] says when it wants [`Input::Tick`].
//!
//! Always true:
//! * Only a VIP that is owned on this link is spoken about; from the moment it is disowned the
//!   link is silent about it.
//! * A reply goes to the requester alone (to a probe over IPv6, which names none, to all), answers a
//!   request that was sent to us or to all who may have the address, and is rate limited per requester
//!   and VIP.
//! * However many foreign frames arrive, a VIP is defended at most once per `DEFEND_INTERVAL`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use vipgate_planner::MacAddr;

use super::defence::Defence;
use super::frame::Frame;
use super::limit::ReplyLimit;
use super::reason::DropReason;
use super::schedule::Schedule;

/// VIPs announced by one [`Input::Tick`].
pub const BATCH: usize = 32;
/// Least time between two such batches, so that a thousand VIPs that move at once do not overrun
/// the queue of a slow link: 32 VIPs, 64 frames, per 2 ms.
pub const PACE: Duration = Duration::from_millis(2);

/// How often one member's claim to one VIP is reported, at most.
pub const MEMBER_AGAIN: Duration = Duration::from_millis(50);

/// What happens to a link.
#[derive(Clone, Debug)]
pub enum Input {
    /// A well-formed frame arrived.
    Received(Frame),
    /// This link owns the VIP from now on; the next tick announces it. Without effect if it does
    /// already.
    Own(IpAddr),
    /// This link no longer owns the VIP.
    Disown(IpAddr),
    /// The VIP is announced anew, as after a take-over: another one is to see that it is owned here.
    Insist(IpAddr),
    /// The link as it is now.
    Link(LinkState),
    /// Time has passed.
    Tick,
}

/// What the responder has to know of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkState {
    /// Its Ethernet address.
    pub mac: MacAddr,
    /// Whether frames can be sent.
    pub up: bool,
    /// The addresses of all links of this host. Two of them may be on one segment, and they are
    /// not foreign to each other.
    pub own_macs: Arc<BTreeSet<MacAddr>>,
    /// The addresses of the other members of the group. Which member has a VIP is settled among them.
    pub friends: Arc<BTreeSet<MacAddr>>,
}

impl LinkState {
    /// Whether this host sends with the address, on this link or another.
    pub fn is_own(&self, mac: MacAddr) -> bool {
        mac == self.mac || self.own_macs.contains(&mac)
    }
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send the frame.
    Send(Frame, Purpose),
    /// A foreign station claims a VIP that is owned here.
    Conflict {
        /// The VIP.
        vip: IpAddr,
        /// The station.
        mac: MacAddr,
    },
    /// A member of the group claims a VIP that is owned here: which of the two has it is for the group
    /// to say.
    Member {
        /// The VIP.
        vip: IpAddr,
        /// The member.
        mac: MacAddr,
    },
    /// Count the frame received as a request for a VIP owned here.
    Requested,
    /// Count the frame received as dropped.
    Dropped(DropReason),
}

/// Why a frame is sent; each is counted by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Answers a request.
    Reply,
    /// Part of an announcement: by ARP a gratuitous request and a gratuitous reply, by NDP one
    /// advertisement to all nodes.
    Gratuitous,
    /// The same, against a foreign station.
    Defence,
    /// Asks whether an address is free.
    Probe,
}

/// The state of one link.
#[derive(Debug)]
pub struct Responder {
    link: LinkState,
    announce_every: Duration,
    vips: BTreeMap<IpAddr, Owned>,
    limit: ReplyLimit,
    paced_until: Option<Instant>,
}

#[derive(Debug)]
struct Owned {
    schedule: Schedule,
    defence: Defence,
    /// Which member was reported last, and when.
    member: Option<(MacAddr, Instant)>,
}

impl Owned {
    /// Members may say the same again and again; it is reported once in a while.
    fn member_claims(&mut self, vip: IpAddr, mac: MacAddr, now: Instant) -> Vec<Output> {
        let reported = self.member.is_some_and(|(last, at)| last == mac && now < at + MEMBER_AGAIN);
        let mut outputs = vec![Output::Dropped(DropReason::Member)];
        if !reported {
            self.member = Some((mac, now));
            outputs.push(Output::Member { vip, mac });
        }
        outputs
    }
}

impl Responder {
    /// A link that owns no VIP. After its burst a VIP is announced each `announce_every`, or not
    /// again if that is zero.
    pub fn new(link: LinkState, announce_every: Duration) -> Responder {
        Responder {
            link,
            announce_every,
            vips: BTreeMap::new(),
            limit: ReplyLimit::default(),
            paced_until: None,
        }
    }

    /// Advances the state. `now` never goes backwards.
    pub fn handle(&mut self, input: Input, now: Instant) -> Vec<Output> {
        match input {
            Input::Received(frame) => self.receive(&frame, now),
            Input::Own(vip) => {
                self.vips.entry(vip).or_insert_with(|| Owned {
                    schedule: Schedule::starting(now),
                    defence: Defence::default(),
                    member: None,
                });
                Vec::new()
            }
            Input::Disown(vip) => {
                self.vips.remove(&vip);
                Vec::new()
            }
            Input::Insist(vip) => {
                if let Some(owned) = self.vips.get_mut(&vip) {
                    owned.schedule = Schedule::starting(now);
                }
                Vec::new()
            }
            Input::Link(link) => {
                self.change_link(link, now);
                Vec::new()
            }
            Input::Tick => self.announce(now),
        }
    }

    /// When to call with [`Input::Tick`]; `None` while nothing is due by itself.
    pub fn deadline(&self) -> Option<Instant> {
        if !self.link.up {
            return None;
        }
        let due = self.vips.values().filter_map(|owned| owned.schedule.due()).min()?;
        Some(self.paced_until.map_or(due, |paced| due.max(paced)))
    }

    /// The link as last told.
    pub fn link(&self) -> &LinkState {
        &self.link
    }

    /// The VIPs owned on this link, in order.
    pub fn owned(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.vips.keys().copied()
    }

    /// Neighbours and switches have forgotten, or never knew, where the VIPs are when the link
    /// comes up or has another address: announce as after a take-over.
    fn change_link(&mut self, link: LinkState, now: Instant) {
        let anew = link.up && (!self.link.up || link.mac != self.link.mac);
        self.link = link;
        if anew {
            for owned in self.vips.values_mut() {
                owned.schedule = Schedule::starting(now);
            }
        }
    }

    fn announce(&mut self, now: Instant) -> Vec<Output> {
        if !self.link.up || self.paced_until.is_some_and(|paced| paced > now) {
            return Vec::new();
        }
        let mut outputs = Vec::new();
        for (&vip, owned) in &mut self.vips {
            if owned.schedule.take(now, self.announce_every) {
                outputs.extend(announcement(self.link.mac, vip, Purpose::Gratuitous));
            }
            if outputs.len() >= 2 * BATCH {
                self.paced_until = Some(now + PACE);
                break;
            }
        }
        outputs
    }

    fn receive(&mut self, frame: &Frame, now: Instant) -> Vec<Output> {
        let sender = frame.sender();
        if self.link.is_own(sender) {
            return vec![Output::Dropped(DropReason::Own)];
        }
        if let Some(owned) = self.vips.get_mut(&frame.claims()) {
            if self.link.friends.contains(&sender) {
                return owned.member_claims(frame.claims(), sender, now);
            }
            let reaction = owned.defence.react(sender, now);
            return self.conflict(frame, reaction.defend, reaction.report);
        }
        match self.answer(frame, now) {
            Ok(reply) => vec![Output::Requested, Output::Send(reply, Purpose::Reply)],
            Err(reason @ DropReason::RateLimited) => {
                vec![Output::Requested, Output::Dropped(reason)]
            }
            Err(reason) => vec![Output::Dropped(reason)],
        }
    }

    fn conflict(&self, frame: &Frame, defend: bool, report: bool) -> Vec<Output> {
        let mut outputs = Vec::new();
        if report {
            outputs.push(Output::Conflict { vip: frame.claims(), mac: frame.sender() });
        }
        if defend {
            outputs.extend(announcement(self.link.mac, frame.claims(), Purpose::Defence));
        }
        outputs
    }

    /// The reply to a request for a VIP. A probe of another station is such a request too, and the
    /// reply to it is the defence that RFC 5227 section 2.1.1 and RFC 4862
    /// section 5.4.4 make it wait for.
    fn answer(&mut self, frame: &Frame, now: Instant) -> Result<Frame, DropReason> {
        let vip = frame.asks().filter(|vip| self.vips.contains_key(vip));
        let vip = vip.ok_or(DropReason::NotOwned)?;
        if !frame.reaches(self.link.mac) {
            return Err(DropReason::OtherDestination);
        }
        if !self.limit.admit(frame.sender(), vip, now) {
            return Err(DropReason::RateLimited);
        }
        Ok(frame.reply_from(self.link.mac))
    }
}

fn announcement(mac: MacAddr, vip: IpAddr, purpose: Purpose) -> impl Iterator<Item = Output> {
    Frame::announcement(mac, vip).into_iter().map(move |frame| Output::Send(frame, purpose))
}

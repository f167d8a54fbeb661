//! Who is alive: SWIM by the library foca, with its clock and its network held by us.
//!
//! State: foca's members and its timers. Every member probes one other each [`PROBE_EVERY`], in a
//! shuffled order; who does not answer, also not to three others, is suspected, and told so with the
//! next datagrams; who does not object for [`SUSPECT_FOR`] is down. Where the host answers that no
//! process has the port it goes faster ([`GONE_FOR`]), or, where a supervisor will start it again, slower.
//!
//! Guarantees: a member that answers nobody is down for all within 800 ms (3 to 100 members). A
//! process that said that it is restarted, and is back in that time, was never down. A
//! node that was stalled itself (its own timers come late) gives the others the time that it lost.
//! One that was thought down comes back by itself, under a new epoch of the same address.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::net::SocketAddr;
use std::num::{NonZeroU8, NonZeroUsize};
use std::time::{Duration, Instant};

use foca::{
    Config, Foca, Identity, NoCustomBroadcast, Notification, PeriodicParams, Runtime, State, Timer,
};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::codec::SwimCodec;

/// How often a member probes another.
pub const PROBE_EVERY: Duration = Duration::from_millis(20);
/// How long a direct answer may take before others are asked to try.
const ANSWER_WITHIN: Duration = Duration::from_millis(10);
/// How long a suspected member may take to object.
pub const SUSPECT_FOR: Duration = Duration::from_millis(280);
/// The same for one whose host says that no process has the port: enough for one that lives to say so,
/// as the word of its host is not sealed.
pub const GONE_FOR: Duration = Duration::from_millis(40);
/// What a process that is restarted takes, beyond the time that it asked for, until it is heard.
const RETURN_FOR: Duration = Duration::from_millis(100);
/// The longest time that a process may ask for.
const LONGEST_RESTART: Duration = Duration::from_secs(5);
/// How long what a member said before its process ended may be on its way.
const LAST_WORDS: Duration = Duration::from_millis(30);
/// How long it counts that a member's host refused a datagram: until the probe that it was counts as failed.
const REFUSED_FOR: Duration = Duration::from_millis(60);
/// How often news are passed on; nothing is sent when there are none.
const GOSSIP_EVERY: Duration = Duration::from_millis(20);
/// How often addresses that should be members, and are not, are called.
const CALL_EVERY: Duration = Duration::from_millis(250);
/// Of these, how many at a time.
const CALLS: usize = 4;
/// For how long a member that went down is called.
const CALL_FOR: Duration = Duration::from_secs(600);
/// For how long one is called that a beacon told of.
const MET_FOR: Duration = Duration::from_secs(2);
/// Addresses that are remembered to be called.
const MOST_CONTACTS: usize = 256;
/// A timer that comes later than this was held up by ourselves.
const STALLED: Duration = Duration::from_millis(60);
/// Times that one piece of news is sent by each who has it.
const TOLD: NonZeroU8 = NonZeroU8::new(30).expect("not zero");
/// Rounds in which a new life is told to everybody.
const REBORN: u8 = 8;
const HELPERS: NonZeroUsize = NonZeroUsize::new(3).expect("not zero");

/// One life of one member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId {
    /// Where it is reached.
    pub address: SocketAddr,
    /// Larger for each life; of two with one address the larger counts.
    pub epoch: u64,
    /// How far the next epoch is; see [`Identity::renew`].
    pub(super) step: u8,
}

impl MemberId {
    /// A life that begins now.
    pub fn new(address: SocketAddr, epoch: u64) -> Self {
        Self { address, epoch, step: 0 }
    }
}

impl Identity for MemberId {
    type Addr = SocketAddr;

    /// Who is thought dead goes on under a larger epoch. The steps double: a node whose clock went
    /// back by years has an epoch above its former one after some fifty rounds.
    fn renew(&self) -> Option<Self> {
        let ahead = 1_u64.checked_shl(self.step.into()).unwrap_or(u64::MAX);
        let epoch = self.epoch.checked_add(ahead)?;
        Some(Self { address: self.address, epoch, step: self.step.saturating_add(1).min(50) })
    }

    fn addr(&self) -> SocketAddr {
        self.address
    }

    fn win_addr_conflict(&self, adversary: &Self) -> bool {
        self.epoch > adversary.epoch
    }
}

/// What SWIM wants done or known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// To be sent.
    Send(SocketAddr, Vec<u8>),
    /// A member is there.
    Up(SocketAddr),
    /// A member is gone.
    Down(SocketAddr),
    /// We were thought dead, and go on under this epoch.
    Renewed(u64),
}

/// The state of one member.
pub struct Swim {
    foca: Foca<MemberId, SwimCodec, SmallRng, NoCustomBroadcast>,
    timers: BinaryHeap<Reverse<Due>>,
    /// Orders timers that are due at once as they were set.
    number: u64,
    /// Members, by address.
    alive: BTreeSet<SocketAddr>,
    seeds: BTreeSet<SocketAddr>,
    /// Members that went down, until when they are called.
    former: BTreeMap<SocketAddr, Instant>,
    /// Where beacons said that members are, until when they are called.
    met: BTreeMap<SocketAddr, Instant>,
    /// Members whose hosts said that no process has the port, since they were heard last.
    refused: BTreeMap<SocketAddr, Refusal>,
    call: Instant,
    /// Rounds in which everybody is told of our new life. foca tells three once, and hears nobody
    /// who still writes to the former one.
    reborn: u8,
    rng: SmallRng,
    left: bool,
}

/// What the host of a member said. A kernel says it some six times, and then once a second.
struct Refusal {
    last: Instant,
    /// Until when the process may be back.
    until: Instant,
}

impl std::fmt::Debug for Swim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Swim")
            .field("me", self.foca.identity())
            .field("alive", &self.alive)
            .finish()
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Due {
    at: Instant,
    timer: Timer<MemberId>,
    number: u64,
}

impl Ord for Due {
    /// foca wants an indirect probe that is due together with the next probe to come first; its
    /// timers are ordered so.
    fn cmp(&self, other: &Self) -> Ordering {
        self.at
            .cmp(&other.at)
            .then_with(|| self.timer.cmp(&other.timer))
            .then_with(|| self.number.cmp(&other.number))
    }
}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Takes down what foca wants.
#[derive(Default)]
struct Notes {
    timers: Vec<(Timer<MemberId>, Duration)>,
    effects: Vec<Effect>,
}

impl Runtime<MemberId> for Notes {
    fn notify(&mut self, notification: Notification<'_, MemberId>) {
        match notification {
            Notification::MemberUp(member) => self.effects.push(Effect::Up(member.address)),
            Notification::MemberDown(member) => self.effects.push(Effect::Down(member.address)),
            Notification::Rejoin(me) => self.effects.push(Effect::Renewed(me.epoch)),
            _ => {}
        }
    }

    fn send_to(&mut self, to: MemberId, data: &[u8]) {
        self.effects.push(Effect::Send(to.address, data.to_vec()));
    }

    fn submit_after(&mut self, event: Timer<MemberId>, after: Duration) {
        self.timers.push((event, after));
    }
}

fn config(longest: NonZeroUsize) -> Config {
    Config {
        probe_period: PROBE_EVERY,
        probe_rtt: ANSWER_WITHIN,
        num_indirect_probes: HELPERS,
        max_transmissions: TOLD,
        suspect_to_down_after: SUSPECT_FOR,
        remove_down_after: Some(CALL_FOR),
        max_packet_size: longest,
        notify_down_members: true,
        periodic_announce: None,
        // Ours calls them when nobody else is left, too.
        periodic_announce_to_down_members: None,
        periodic_gossip: Some(PeriodicParams { frequency: GOSSIP_EVERY, num_members: HELPERS }),
    }
}

impl Swim {
    /// A member that begins to look for `seeds`. Payloads are at most `longest` bytes.
    pub fn new(
        now: Instant,
        me: MemberId,
        seeds: impl IntoIterator<Item = SocketAddr>,
        longest: NonZeroUsize,
        mut rng: SmallRng,
    ) -> Self {
        let own = SmallRng::seed_from_u64(rng.random());
        Self {
            foca: Foca::new(me, config(longest), own, SwimCodec),
            timers: BinaryHeap::new(),
            number: 0,
            alive: BTreeSet::new(),
            seeds: seeds.into_iter().filter(|seed| *seed != me.address).collect(),
            former: BTreeMap::new(),
            met: BTreeMap::new(),
            refused: BTreeMap::new(),
            call: now,
            reborn: 0,
            rng,
            left: false,
        }
    }

    /// The others that are alive.
    pub fn alive(&self) -> &BTreeSet<SocketAddr> {
        &self.alive
    }

    /// Our present life.
    pub fn me(&self) -> MemberId {
        *self.foca.identity()
    }

    /// Members that should be there from the beginning, ourselves not among them.
    pub fn seeds(&self) -> &BTreeSet<SocketAddr> {
        &self.seeds
    }

    /// Changes whom to look for.
    pub fn set_seeds(&mut self, seeds: impl IntoIterator<Item = SocketAddr>) {
        let me = self.me().address;
        self.seeds = seeds.into_iter().filter(|seed| *seed != me).collect();
    }

    /// A member is said to be there.
    pub fn meet(&mut self, now: Instant, member: SocketAddr) {
        let is_news = member != self.me().address && !self.alive.contains(&member);
        if is_news && self.met.len() < MOST_CONTACTS {
            self.met.insert(member, now + MET_FOR);
            self.call = now;
        }
    }

    /// Members that were there lately, and are not.
    pub fn lost(&self) -> impl Iterator<Item = &SocketAddr> {
        let lost = |address: &&SocketAddr| {
            !self.alive.contains(*address) && !self.seeds.contains(*address)
        };
        self.former.keys().filter(lost)
    }

    /// When [`Swim::tick`] has to be called.
    pub fn due(&self) -> Instant {
        self.timers.peek().map_or(self.call, |Reverse(due)| due.at.min(self.call))
    }

    /// Takes in what another member sent; malformed payloads have no effect.
    pub fn receive(&mut self, now: Instant, payload: &[u8]) -> Vec<Effect> {
        if self.left {
            return Vec::new();
        }
        let mut notes = Notes::default();
        // What foca refuses (malformed, from ourselves, of an old probe) changed nothing.
        let _ = self.foca.handle_data(payload, &mut notes);
        self.take(now, notes)
    }

    /// The host of a member says that no process has its port; `restart` is within what time it said
    /// that a supervisor starts it again.
    pub fn refused(&mut self, now: Instant, member: SocketAddr, restart: Option<Duration>) {
        if self.alive.contains(&member) {
            let wait = restart.map_or(GONE_FOR, |time| time.min(LONGEST_RESTART) + RETURN_FOR);
            let first = Refusal { last: now, until: now + wait };
            self.refused.entry(member).or_insert(first).last = now;
        }
    }

    /// A member was heard: a process has its port. What was said just now may be older than its end.
    pub fn heard(&mut self, now: Instant, member: SocketAddr) {
        if self.refused.get(&member).is_some_and(|refusal| refusal.last + LAST_WORDS < now) {
            self.refused.remove(&member);
        }
    }

    /// How long a member that is suspected now may take to object.
    fn patience(&self, now: Instant, member: SocketAddr) -> Duration {
        match self.refused.get(&member) {
            Some(Refusal { last, until }) if now < *last + REFUSED_FOR || now < *until => {
                until.saturating_duration_since(now).max(GONE_FOR)
            }
            _ => SUSPECT_FOR,
        }
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Instant) -> Vec<Effect> {
        let mut effects = Vec::new();
        while let Some(Reverse(due)) = self.timers.peek()
            && due.at <= now
        {
            let Some(Reverse(due)) = self.timers.pop() else { break };
            if let Timer::ChangeSuspectToDown { member_id, .. } = &due.timer
                && now > due.at + STALLED
            {
                // We did not run, so an objection may not have been read: the time begins again.
                self.set(now + self.patience(now, member_id.address), due.timer);
                continue;
            }
            // Of a process that died with a question in its socket the host says so with the next one.
            if let Timer::ChangeSuspectToDown { member_id, .. } = &due.timer
                && let Some(refusal) = self.refused.get(&member_id.address)
                && now < refusal.until
            {
                self.set(refusal.until, due.timer);
                continue;
            }
            // foca 2.0.0 tells a member that it is down when this timer fires, also when the member has
            // objected since: it would begin a new life for nothing, and be deaf until all know that.
            if let Timer::ChangeSuspectToDown { member_id, incarnation, .. } = &due.timer
                && !self.suspected(member_id, *incarnation)
            {
                continue;
            }
            let mut notes = Notes::default();
            let _ = self.foca.handle_timer(due.timer, &mut notes);
            effects.extend(self.take(now, notes));
        }
        if now >= self.call {
            self.call = now + if self.reborn > 0 { GOSSIP_EVERY } else { CALL_EVERY };
            effects.extend(self.call(now));
        }
        effects
    }

    fn suspected(&self, member: &MemberId, incarnation: u16) -> bool {
        self.foca.iter_members().any(|known| {
            known.id() == member
                && known.incarnation() == incarnation
                && known.state() == State::Suspect
        })
    }

    /// Says good-bye: the others need not find out.
    pub fn leave(&mut self, now: Instant) -> Vec<Effect> {
        let mut notes = Notes::default();
        let _ = self.foca.leave_cluster(&mut notes);
        let effects = self.take(now, notes);
        self.left = true;
        effects
    }

    /// Calls some of those that should be there.
    fn call(&mut self, now: Instant) -> Vec<Effect> {
        if self.left {
            return Vec::new();
        }
        self.former.retain(|_, until| *until > now);
        self.met.retain(|_, until| *until > now);
        let wanted = self.seeds.iter().chain(self.former.keys()).chain(self.met.keys());
        let absent: BTreeSet<SocketAddr> =
            wanted.filter(|address| !self.alive.contains(*address)).copied().collect();
        let mut absent: Vec<SocketAddr> = absent.into_iter().collect();
        let mut notes = Notes::default();
        if self.reborn > 0 {
            self.reborn -= 1;
            for address in self.alive.clone() {
                let _ = self.foca.announce(MemberId::new(address, 0), &mut notes);
            }
        }
        for _ in 0..CALLS.min(absent.len()) {
            let address = absent.swap_remove(self.rng.random_range(0..absent.len()));
            let _ = self.foca.announce(MemberId::new(address, 0), &mut notes);
        }
        self.take(now, notes)
    }

    fn take(&mut self, now: Instant, notes: Notes) -> Vec<Effect> {
        for (timer, after) in notes.timers {
            let after = match &timer {
                Timer::ChangeSuspectToDown { member_id, .. } => {
                    self.patience(now, member_id.address)
                }
                _ => after,
            };
            self.set(now + after, timer);
        }
        for effect in &notes.effects {
            match effect {
                Effect::Up(address) => {
                    self.alive.insert(*address);
                    self.former.remove(address);
                    self.met.remove(address);
                }
                Effect::Down(address) => {
                    self.alive.remove(address);
                    self.refused.remove(address);
                    if self.former.len() < MOST_CONTACTS {
                        self.former.insert(*address, now + CALL_FOR);
                    }
                }
                Effect::Renewed(_) => {
                    self.reborn = REBORN;
                    self.call = now;
                }
                Effect::Send(..) => {}
            }
        }
        notes.effects
    }

    fn set(&mut self, at: Instant, timer: Timer<MemberId>) {
        self.number += 1;
        self.timers.push(Reverse(Due { at, timer, number: self.number }));
    }
}

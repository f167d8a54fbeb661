//! Who may talk to us: handshake and replays, without socket and clock.
//!
//! ```text
//!   A (knows no cookie)                        B
//!     ── Hello, session a ─────────────────────>   keeps (A, a, new cookie) as pending
//!     <───────────────────── Challenge a, cookie ──
//!     ── Data, session a, cookie ──────────────>   a is fresh: current session of A, window from here
//! ```
//!
//! A cookie is drawn for one session of one sender, so a datagram that was recorded in another life
//! of either side shows a wrong cookie, and one of this life falls to the window. Each direction has
//! its own handshake. An old cookie (the receiver was restarted) is answered with a Challenge.
//!
//! Guarantees: what is not sealed with a key of the group is never answered and leaves no state; an
//! answer is not longer than what it answers; work for unknown senders is bounded a second; a
//! change of keys needs no handshake. Caveat: addresses are those of the datagrams; who can read the
//! LAN and forge senders can have Challenges sent there, one for one and within the bound.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand::RngExt;
use rand::rngs::SmallRng;
use thiserror::Error;

use super::key::Keyring;
use super::replay::Replay;
use super::wire::{
    Body, Channel, Cookie, Header, MAX_PAYLOAD, Secret, SessionId, SessionKey, Stamp, WireError,
};

/// Senders remembered.
const MOST_PEERS: usize = 512;
/// Sessions of one sender that asked for a cookie and did not show it yet.
const MOST_PENDING: usize = 4;
/// Payloads kept while a cookie is asked for.
const MOST_WAITING: usize = 8;
/// How often a cookie is asked for.
const HELLO_AGAIN: Duration = Duration::from_millis(40);
/// Datagrams a second for which a key is derived, because the sender's session is not known.
const STRANGERS: u32 = 500;
/// For how long a sender's session is trusted to be its present one without hearing of it.
const SILENT: Duration = Duration::from_secs(1);

/// Why a datagram has no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Error)]
pub enum Reject {
    /// It is not for us.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// It came before.
    #[error("a datagram that came before")]
    Replayed,
    /// It was made for another life of ours, or in another one of the sender's.
    #[error("a datagram of another session")]
    Stale,
    /// More unknown senders than we care for.
    #[error("too many unknown senders")]
    Flood,
}

/// A payload that was let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// How new the sender's record is.
    pub stamp: Stamp,
    /// What the payload is for.
    pub channel: Channel,
    /// It.
    pub payload: Vec<u8>,
}

/// Datagrams to send.
pub type Datagrams = Vec<(SocketAddr, Vec<u8>)>;

/// Both directions with everybody.
#[derive(Debug)]
pub struct Sessions {
    group: String,
    me: SessionId,
    counter: u64,
    secrets: Vec<Secret>,
    sealing: SessionKey,
    peers: BTreeMap<SocketAddr, Peer>,
    strangers: Bucket,
    beacons: Bucket,
    rng: SmallRng,
}

#[derive(Debug, Default)]
struct Peer {
    /// What it gave us.
    cookie: Option<Cookie>,
    asked: Option<Instant>,
    waiting: VecDeque<(Stamp, Channel, Vec<u8>)>,
    current: Option<Incoming>,
    pending: VecDeque<Incoming>,
    heard: Option<Instant>,
}

/// A session of a sender.
#[derive(Debug)]
struct Incoming {
    session: SessionId,
    cookie: Cookie,
    window: Replay,
    /// By key of the group.
    keys: Vec<SessionKey>,
}

impl Incoming {
    fn new(session: SessionId, secrets: &[Secret], rng: &mut SmallRng) -> Self {
        let keys = secrets.iter().map(|secret| secret.session(&session)).collect();
        Self { session, cookie: rng.random(), window: Replay::default(), keys }
    }

    fn key(&self, header: &Header) -> Option<&SessionKey> {
        self.keys.iter().find(|key| self.session == header.session && key.hint() == header.hint)
    }
}

impl Sessions {
    /// For a process that starts in this group. `rng` must be seeded anew for each.
    pub fn new(group: &str, keys: &Keyring, mut rng: SmallRng) -> Self {
        let me: SessionId = rng.random();
        let secrets = secrets(group, keys);
        let sealing = secrets[0].session(&me);
        Self {
            group: group.to_owned(),
            me,
            counter: 0,
            secrets,
            sealing,
            peers: BTreeMap::new(),
            strangers: Bucket::default(),
            beacons: Bucket::default(),
            rng,
        }
    }

    /// Changes the keys; sessions go on.
    pub fn set_keys(&mut self, keys: &Keyring) {
        self.secrets = secrets(&self.group, keys);
        self.sealing = self.secrets[0].session(&self.me);
        for peer in self.peers.values_mut() {
            for incoming in peer.current.iter_mut().chain(&mut peer.pending) {
                let session = incoming.session;
                incoming.keys =
                    self.secrets.iter().map(|secret| secret.session(&session)).collect();
            }
        }
    }

    /// Sends a payload, or keeps it while a cookie is asked for.
    pub fn send(
        &mut self,
        now: Instant,
        to: SocketAddr,
        stamp: Stamp,
        channel: Channel,
        payload: Vec<u8>,
        out: &mut Datagrams,
    ) {
        debug_assert!(payload.len() <= MAX_PAYLOAD, "the payload is too long");
        if !self.peers.contains_key(&to) && !self.make_room(now) {
            return;
        }
        let peer = self.peers.entry(to).or_default();
        if let Some(cookie) = peer.cookie {
            let body = Body::Data { cookie, stamp, channel, payload };
            return self.seal(to, &body, out);
        }
        peer.waiting.push_back((stamp, channel, payload));
        if peer.waiting.len() > MOST_WAITING {
            peer.waiting.pop_front();
        }
        if peer.asked.is_none_or(|asked| now >= asked + HELLO_AGAIN) {
            peer.asked = Some(now);
            self.seal(to, &Body::Hello, out);
        }
    }

    /// Takes in a datagram. `Ok(None)`: it was part of a handshake.
    pub fn receive(
        &mut self,
        now: Instant,
        from: SocketAddr,
        datagram: &[u8],
        out: &mut Datagrams,
    ) -> Result<Option<Received>, Reject> {
        let header = Header::parse(datagram)?;
        let secret = self
            .secrets
            .iter()
            .position(|secret| secret.hint() == header.hint)
            .ok_or(WireError::Foreign)?;
        let known = self.peers.get(&from).and_then(|peer| {
            peer.current.iter().chain(&peer.pending).find_map(|incoming| incoming.key(&header))
        });
        let body = match known {
            Some(key) => key.open(&header, datagram)?,
            None if !self.strangers.admit(now) => return Err(Reject::Flood),
            None => self.secrets[secret].session(&header.session).open(&header, datagram)?,
        };
        if !self.peers.contains_key(&from) && !self.make_room(now) {
            return Err(Reject::Flood);
        }
        match body {
            Body::Hello => {
                self.challenge(from, header.session, out);
                Ok(None)
            }
            // Those come elsewhere.
            Body::Beacon { .. } => Err(Reject::Stale),
            Body::Challenge { echo, cookie } => {
                self.take_cookie(now, from, &header, echo, cookie, out).map(|()| None)
            }
            Body::Data { cookie, stamp, channel, payload } => {
                if let Err(reject) = self.admit(now, from, &header, cookie) {
                    if reject == Reject::Stale {
                        self.challenge(from, header.session, out);
                    }
                    return Err(reject);
                }
                Ok(Some(Received { stamp, channel, payload }))
            }
        }
    }

    /// A beacon that says that we are at `address`.
    pub fn beacon(&mut self, address: SocketAddr) -> Vec<u8> {
        let mut out = Datagrams::new();
        self.seal(address, &Body::Beacon { address }, &mut out);
        out.pop().expect("one was sealed").1
    }

    /// Where the sender of a beacon is. One that was recorded and is sent again, from the same address,
    /// cannot be told from a new one: it is worth a call, and no more.
    pub fn read_beacon(
        &mut self,
        now: Instant,
        from: SocketAddr,
        datagram: &[u8],
    ) -> Result<SocketAddr, Reject> {
        let header = Header::parse(datagram)?;
        if header.session == self.me {
            return Err(Reject::Replayed);
        }
        let secret = self.secrets.iter().find(|secret| secret.hint() == header.hint);
        let secret = secret.ok_or(WireError::Foreign)?;
        if !self.beacons.admit(now) {
            return Err(Reject::Flood);
        }
        match secret.session(&header.session).open(&header, datagram)? {
            Body::Beacon { address } if address == from => Ok(address),
            _ => Err(Reject::Stale),
        }
    }

    /// Whether Data of this session with this cookie counts.
    fn admit(
        &mut self,
        now: Instant,
        from: SocketAddr,
        header: &Header,
        cookie: Cookie,
    ) -> Result<(), Reject> {
        let peer = self.peers.entry(from).or_default();
        let shows =
            |incoming: &Incoming| incoming.session == header.session && incoming.cookie == cookie;
        if !peer.current.as_ref().is_some_and(shows) {
            let found = peer.pending.iter().position(shows).ok_or(Reject::Stale)?;
            // It knows what we told nobody else: this is its present life.
            let former = std::mem::replace(&mut peer.current, peer.pending.remove(found));
            peer.pending.clear();
            if former.is_some() {
                // What it gave us went with its former one.
                peer.cookie = None;
            }
        }
        let current = peer.current.as_mut().expect("just found");
        if !current.window.admit(header.counter) {
            return Err(Reject::Replayed);
        }
        peer.heard = Some(now);
        Ok(())
    }

    /// Gives a sender its cookie: the same each time it asks in the same session.
    fn challenge(&mut self, to: SocketAddr, session: SessionId, out: &mut Datagrams) {
        let peer = self.peers.entry(to).or_default();
        let known = peer.current.iter().chain(&peer.pending).find(|one| one.session == session);
        let cookie = match known {
            Some(incoming) => incoming.cookie,
            None => {
                let incoming = Incoming::new(session, &self.secrets, &mut self.rng);
                let cookie = incoming.cookie;
                if peer.pending.len() == MOST_PENDING {
                    peer.pending.pop_front();
                }
                peer.pending.push_back(incoming);
                cookie
            }
        };
        self.seal(to, &Body::Challenge { echo: session, cookie }, out);
    }

    /// Takes a cookie from a sender that is what we know of it, or of which we know nothing new.
    fn take_cookie(
        &mut self,
        now: Instant,
        from: SocketAddr,
        header: &Header,
        echo: SessionId,
        cookie: Cookie,
        out: &mut Datagrams,
    ) -> Result<(), Reject> {
        if echo != self.me {
            return Err(Reject::Stale);
        }
        let peer = self.peers.entry(from).or_default();
        if let Some(current) = &mut peer.current {
            if current.session == header.session {
                if !current.window.admit(header.counter) {
                    return Err(Reject::Replayed);
                }
            } else if peer.heard.is_some_and(|heard| now < heard + SILENT) {
                return Err(Reject::Stale);
            }
        }
        peer.cookie = Some(cookie);
        for (stamp, channel, payload) in std::mem::take(&mut peer.waiting) {
            self.seal(from, &Body::Data { cookie, stamp, channel, payload }, out);
        }
        Ok(())
    }

    fn seal(&mut self, to: SocketAddr, body: &Body, out: &mut Datagrams) {
        let datagram = self.sealing.seal(&self.me, self.counter, body);
        self.counter += 1;
        out.push((to, datagram));
    }

    /// Forgets whoever was silent for longest, if there are too many. False when all are lively.
    fn make_room(&mut self, now: Instant) -> bool {
        if self.peers.len() < MOST_PEERS {
            return true;
        }
        let silent = self.peers.iter().min_by_key(|(_, peer)| peer.heard);
        match silent.map(|(address, peer)| (*address, peer.heard)) {
            Some((address, heard)) if heard.is_none_or(|heard| now > heard + SILENT * 60) => {
                self.peers.remove(&address);
                true
            }
            _ => false,
        }
    }
}

fn secrets(group: &str, keys: &Keyring) -> Vec<Secret> {
    keys.keys().iter().map(|key| Secret::new(key, group)).collect()
}

/// At most [`STRANGERS`] a second.
#[derive(Debug, Default)]
struct Bucket {
    second: Option<Instant>,
    used: u32,
}

impl Bucket {
    fn admit(&mut self, now: Instant) -> bool {
        if self.second.is_none_or(|second| now >= second + Duration::from_secs(1)) {
            *self = Self { second: Some(now), used: 0 };
        }
        self.used += 1;
        self.used <= STRANGERS
    }
}

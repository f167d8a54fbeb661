//! The datagrams of a group.
//!
//! ```text
//!  0        1         2          6                22           30
//!  ┌────────┬─────────┬──────────┬────────────────┬────────────┬───────────────┬─────────┐
//!  │ 'V'    │ version │ key hint │ session        │ counter    │ body (sealed) │ tag     │
//!  │ 1 byte │ 1       │ 4        │ 16             │ 8          │ 25 and more   │ 16      │
//!  └────────┴─────────┴──────────┴────────────────┴────────────┴───────────────┴─────────┘
//!   authenticated in the clear ──────────────────────────────── AES-256-GCM
//!
//!  body:  1 Hello      24 bytes of nothing, so that the answer is not longer
//!         2 Challenge  session of the Hello (16), cookie (8)
//!         3 Data       cookie (8), generation (8), version (8), channel (1), payload
//!         4 Beacon     where the sender is: address (16, IPv4 mapped), port (2), nothing (6)
//! ```
//!
//! A sender's session is 16 random bytes that it draws when it starts. The key of a session comes
//! from a key of the group, the name of the group and the session (HKDF-SHA256), and the counter is
//! the nonce: no two senders, and no two lives of one, can use a nonce twice. The hint comes from key
//! and name too, so what belongs to another group is dropped before anything is computed.
//!
//! Nothing here knows what was received before: replays are the business of `session`.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use thiserror::Error;

use super::key::GroupKey;

/// No datagram is longer: it fits an Ethernet frame with room for tunnels.
pub const MAX_DATAGRAM: usize = 1400;
/// Payload that fits.
pub const MAX_PAYLOAD: usize = MAX_DATAGRAM - HEADER - DATA_BODY - TAG;

const MAGIC: u8 = b'V';
const VERSION: u8 = 1;
const HEADER: usize = 30;
const TAG: usize = 16;
const SHORT_BODY: usize = 25;
const DATA_BODY: usize = 26;

/// One life of one sender.
pub type SessionId = [u8; 16];
/// What a receiver gives a sender, to be shown with everything that is sent to it.
pub type Cookie = u64;

/// Why a datagram is dropped. Nothing is ever answered to these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Error)]
pub enum WireError {
    /// Too short, too long, or not ours.
    #[error("no datagram of a group")]
    Malformed,
    /// Another protocol version.
    #[error("another version of the protocol")]
    Version,
    /// Sealed with no key of ours, or for another group.
    #[error("another key or another group")]
    Foreign,
    /// The seal is broken.
    #[error("the seal is broken")]
    Forged,
}

/// What may be read before the seal is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Which key.
    pub hint: [u8; 4],
    /// Whose life.
    pub session: SessionId,
    /// Which datagram of it.
    pub counter: u64,
}

/// What a datagram says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// Asks for a cookie.
    Hello,
    /// Gives one.
    Challenge {
        /// The session that it is for.
        echo: SessionId,
        /// To be shown from now on.
        cookie: Cookie,
    },
    /// Tells whoever hears it where the sender is.
    Beacon {
        /// Where.
        address: SocketAddr,
    },
    /// Everything else.
    Data {
        /// That the receiver gave.
        cookie: Cookie,
        /// How new the sender's own record is.
        stamp: Stamp,
        /// Who it is for.
        channel: Channel,
        /// What it says to that.
        payload: Vec<u8>,
    },
}

/// Where a record of state stands: its generation, and the version within.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp {
    /// Larger in each life of the node.
    pub generation: u64,
    /// Larger with each change.
    pub version: u64,
}

/// What a payload is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// Who is alive.
    Swim,
    /// What each says of itself.
    State,
}

/// A key of the group, for one group.
#[derive(Debug)]
pub struct Secret {
    hint: [u8; 4],
    prk: Prk,
    group: Vec<u8>,
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

impl Secret {
    /// The secret of this key in the group of this name.
    pub fn new(key: &GroupKey, group: &str) -> Self {
        let prk = Salt::new(HKDF_SHA256, b"vipgate group 1").extract(&key.0);
        let group = group.as_bytes().to_vec();
        let mut hint = [0; 4];
        derive(&prk, &[b"hint", &group], &mut hint);
        Self { hint, prk, group }
    }

    /// What datagrams are marked with.
    pub fn hint(&self) -> [u8; 4] {
        self.hint
    }

    /// The key of a session.
    pub fn session(&self, session: &SessionId) -> SessionKey {
        let mut key = [0; 32];
        derive(&self.prk, &[b"session", session, &self.group], &mut key);
        let key = UnboundKey::new(&AES_256_GCM, &key).expect("32 bytes make a key");
        SessionKey { hint: self.hint, key: LessSafeKey::new(key) }
    }
}

fn derive(prk: &Prk, info: &[&[u8]], out: &mut [u8]) {
    prk.expand(info, Length(out.len()))
        .and_then(|okm| okm.fill(out))
        .expect("a few bytes are not too many");
}

/// Seals or opens the datagrams of one session.
#[derive(Debug)]
pub struct SessionKey {
    hint: [u8; 4],
    key: LessSafeKey,
}

impl SessionKey {
    /// Which key of the group it comes from.
    pub fn hint(&self) -> [u8; 4] {
        self.hint
    }

    /// Makes a datagram. `counter` must be another one each time.
    pub fn seal(&self, session: &SessionId, counter: u64, body: &Body) -> Vec<u8> {
        let mut datagram = Vec::with_capacity(MAX_DATAGRAM);
        datagram.extend_from_slice(&[MAGIC, VERSION]);
        datagram.extend_from_slice(&self.hint);
        datagram.extend_from_slice(session);
        datagram.extend_from_slice(&counter.to_be_bytes());
        write(body, &mut datagram);
        let (header, sealed) = datagram.split_at_mut(HEADER);
        let tag = self
            .key
            .seal_in_place_separate_tag(nonce(counter), Aad::from(&*header), sealed)
            .expect("a short text can be sealed");
        datagram.extend_from_slice(tag.as_ref());
        debug_assert!(datagram.len() <= MAX_DATAGRAM, "the payload is too long");
        datagram
    }

    /// Checks the seal of a datagram with this header, and reads it.
    pub fn open(&self, header: &Header, datagram: &[u8]) -> Result<Body, WireError> {
        let (clear, sealed) = datagram.split_at_checked(HEADER).ok_or(WireError::Malformed)?;
        let mut body = sealed.to_vec();
        let body = self
            .key
            .open_in_place(nonce(header.counter), Aad::from(clear), &mut body)
            .map_err(|_| WireError::Forged)?;
        read(body).ok_or(WireError::Malformed)
    }
}

fn nonce(counter: u64) -> Nonce {
    let mut bytes = [0; 12];
    bytes[4..].copy_from_slice(&counter.to_be_bytes());
    Nonce::assume_unique_for_key(bytes)
}

impl Header {
    /// Reads what is in the clear.
    pub fn parse(datagram: &[u8]) -> Result<Self, WireError> {
        if !(HEADER + SHORT_BODY + TAG..=MAX_DATAGRAM).contains(&datagram.len())
            || datagram[0] != MAGIC
        {
            return Err(WireError::Malformed);
        }
        if datagram[1] != VERSION {
            return Err(WireError::Version);
        }
        let mut rest = &datagram[2..HEADER];
        let hint = take(&mut rest).ok_or(WireError::Malformed)?;
        let session = take(&mut rest).ok_or(WireError::Malformed)?;
        let counter = take(&mut rest).map(u64::from_be_bytes).ok_or(WireError::Malformed)?;
        Ok(Self { hint, session, counter })
    }
}

fn write(body: &Body, out: &mut Vec<u8>) {
    match body {
        Body::Hello => {
            out.push(1);
            out.extend_from_slice(&[0; SHORT_BODY - 1]);
        }
        Body::Challenge { echo, cookie } => {
            out.push(2);
            out.extend_from_slice(echo);
            out.extend_from_slice(&cookie.to_be_bytes());
        }
        Body::Data { cookie, stamp, channel, payload } => {
            out.push(3);
            out.extend_from_slice(&cookie.to_be_bytes());
            out.extend_from_slice(&stamp.generation.to_be_bytes());
            out.extend_from_slice(&stamp.version.to_be_bytes());
            out.push(match channel {
                Channel::Swim => 1,
                Channel::State => 2,
            });
            out.extend_from_slice(payload);
        }
        Body::Beacon { address } => {
            out.push(4);
            let ip = match address.ip() {
                IpAddr::V4(ip) => ip.to_ipv6_mapped(),
                IpAddr::V6(ip) => ip,
            };
            out.extend_from_slice(&ip.octets());
            out.extend_from_slice(&address.port().to_be_bytes());
            out.extend_from_slice(&[0; SHORT_BODY - 19]);
        }
    }
}

fn read(mut body: &[u8]) -> Option<Body> {
    let [kind] = take(&mut body)?;
    match kind {
        1 if body.len() == SHORT_BODY - 1 => Some(Body::Hello),
        2 if body.len() == SHORT_BODY - 1 => {
            let echo = take(&mut body)?;
            Some(Body::Challenge { echo, cookie: u64::from_be_bytes(take(&mut body)?) })
        }
        3 => {
            let cookie = u64::from_be_bytes(take(&mut body)?);
            let generation = u64::from_be_bytes(take(&mut body)?);
            let version = u64::from_be_bytes(take(&mut body)?);
            let channel = match take(&mut body)? {
                [1] => Channel::Swim,
                [2] => Channel::State,
                _ => return None,
            };
            let stamp = Stamp { generation, version };
            Some(Body::Data { cookie, stamp, channel, payload: body.to_vec() })
        }
        4 if body.len() == SHORT_BODY - 1 => {
            let ip = Ipv6Addr::from(take::<16>(&mut body)?).to_canonical();
            let address = SocketAddr::new(ip, u16::from_be_bytes(take(&mut body)?));
            Some(Body::Beacon { address })
        }
        _ => None,
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*head)
}

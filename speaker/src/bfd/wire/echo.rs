//! The echo packet. What is in it is a matter of whoever sends it (RFC 5880 section 6.4); nobody else is to
//! be able to write one.
//!
//! ```text
//!   discriminator (4) | nanoseconds from the session's beginning (8) | HMAC-SHA-256 of both (32)
//! ```
//!
//! The key belongs to one session and is known to nobody else, so that what comes with a right tag was sent by
//! it. That it comes once, and in time, is for the state machine to see.

use std::fmt;
use std::time::Duration;

use aws_lc_rs::hmac;

/// Bytes of a packet.
pub const LENGTH: usize = SIGNED + 32;
const SIGNED: usize = 12;

/// The key of a session. Never shown.
pub struct Key(hmac::Key);

/// An echo packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Echo {
    /// Our number for the session.
    pub discriminator: u32,
    /// When it was sent, counted from the session's beginning.
    pub sent: Duration,
}

impl Key {
    /// A key of these bytes, which have to be random.
    #[must_use]
    pub fn new(bytes: &[u8; 32]) -> Key {
        Key(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

impl Echo {
    /// The bytes.
    #[must_use]
    pub fn encode(&self, key: &Key) -> [u8; LENGTH] {
        let mut bytes = [0; LENGTH];
        // Wraps after 584 years.
        let sent = u64::try_from(self.sent.as_nanos()).unwrap_or(u64::MAX);
        bytes[..4].copy_from_slice(&self.discriminator.to_be_bytes());
        bytes[4..SIGNED].copy_from_slice(&sent.to_be_bytes());
        let tag = hmac::sign(&key.0, &bytes[..SIGNED]);
        bytes[SIGNED..].copy_from_slice(tag.as_ref());
        bytes
    }

    /// The number of the session that a packet says it is of. Nothing is known of its truth.
    #[must_use]
    pub fn claimed(bytes: &[u8]) -> Option<u32> {
        let bytes = <&[u8; LENGTH]>::try_from(bytes).ok()?;
        Some(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    /// Reads a packet; nothing if it was not written with this key.
    #[must_use]
    pub fn decode(bytes: &[u8], key: &Key) -> Option<Echo> {
        let discriminator = Echo::claimed(bytes)?;
        let (signed, tag) = bytes.split_at(SIGNED);
        hmac::verify(&key.0, signed, tag).ok()?;
        let sent = u64::from_be_bytes(*signed.last_chunk()?);
        Some(Echo { discriminator, sent: Duration::from_nanos(sent) })
    }
}

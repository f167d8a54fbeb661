//! The header of a message (RFC 4271 section 4.1): where a message ends, and of which type it is.

use super::error::WireError;

/// Bytes of a header: marker, length, type.
pub const HEADER: usize = 19;
/// Bytes of the longest message. We do not offer longer ones (RFC 8654).
pub const LONGEST: usize = 4096;

const MARKER: [u8; 16] = [0xff; 16];

/// The type of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// OPEN.
    Open,
    /// UPDATE.
    Update,
    /// NOTIFICATION.
    Notification,
    /// KEEPALIVE.
    Keepalive,
    /// ROUTE-REFRESH (RFC 2918).
    Refresh,
}

impl Kind {
    pub(super) fn number(self) -> u8 {
        match self {
            Kind::Open => 1,
            Kind::Update => 2,
            Kind::Notification => 3,
            Kind::Keepalive => 4,
            Kind::Refresh => 5,
        }
    }

    fn from_number(number: u8) -> Option<Kind> {
        let all = [Kind::Open, Kind::Update, Kind::Notification, Kind::Keepalive, Kind::Refresh];
        all.into_iter().find(|kind| kind.number() == number)
    }

    /// The lengths a message of this type can have, header included. The one of ROUTE-REFRESH is
    /// looked at with its body: it has an error of its own.
    fn lengths(self) -> std::ops::RangeInclusive<usize> {
        match self {
            Kind::Open => 29..=LONGEST,
            Kind::Update => 23..=LONGEST,
            Kind::Notification => 21..=LONGEST,
            Kind::Keepalive => HEADER..=HEADER,
            Kind::Refresh => HEADER..=LONGEST,
        }
    }
}

/// A message cut out of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Its type.
    pub kind: Kind,
    /// What follows the header.
    pub body: &'a [u8],
    /// Bytes of the stream it took.
    pub length: usize,
}

/// The first message in `stream`, or nothing while it is not yet whole. A bad header is reported
/// as soon as it is there.
///
/// # Errors
/// The stream cannot be read on.
pub fn frame(stream: &[u8]) -> Result<Option<Frame<'_>>, WireError> {
    let Some(header) = stream.first_chunk::<HEADER>() else { return Ok(None) };
    if header[..16] != MARKER {
        return Err(WireError::Marker);
    }
    let claimed = u16::from_be_bytes([header[16], header[17]]);
    let length = usize::from(claimed);
    if !(HEADER..=LONGEST).contains(&length) {
        return Err(WireError::Length(claimed));
    }
    let kind = Kind::from_number(header[18]).ok_or(WireError::Type(header[18]))?;
    if !kind.lengths().contains(&length) {
        return Err(WireError::Length(claimed));
    }
    Ok(stream.get(HEADER..length).map(|body| Frame { kind, body, length }))
}

/// A message with this body.
///
/// # Panics
/// When it is longer than [`LONGEST`]: the composer of the body bounds it.
pub(super) fn message(kind: Kind, body: &[u8]) -> Vec<u8> {
    let length = HEADER + body.len();
    assert!(length <= LONGEST, "a message of {length} bytes was composed");
    let mut message = Vec::with_capacity(length);
    message.extend(MARKER);
    message.extend(u16::try_from(length).expect("at most 4096").to_be_bytes());
    message.push(kind.number());
    message.extend(body);
    message
}

//! The server name that a TLS client asks for (RFC 6066 3), read from its first ClientHello (RFC 8446
//! 4.1.2).
//!
//! Nothing is consumed: whoever ends TLS, here or a backend, reads the same bytes again. What two could
//! understand differently (two names, an extension given twice, a length that does not add up) is
//! refused, so that nobody reaches a backend by a name that the backend does not see.
//!
//! A name inside an encrypted ClientHello (ECH, RFC 9849) is the backend's secret; the outer one, which
//! leads there, is the name.
//!
//! Always holds: an answer is never taken back. It is the same for whatever follows in the stream, and
//! for the same bytes in other pieces and other records.

use std::borrow::Cow;
use std::net::IpAddr;

/// More is not looked at, record headers included. A ClientHello has a few hundred bytes, two thousand
/// with keys for post-quantum groups.
pub(super) const MOST: usize = 16 * 1024;
/// What a record may hold (RFC 8446 5.1).
const LONGEST_RECORD: usize = 1 << 14;

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: u16 = 0;
const HOST_NAME: u8 = 0;

/// What the first bytes of a connection say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The end of the ClientHello is not there yet.
    NeedMore,
    /// The client asks for this name, in lower case and without the root's dot; or for none.
    Name(Option<String>),
    /// Not TLS, or a ClientHello that has to be refused.
    Malformed,
    /// The ClientHello does not end within [`MOST`] bytes.
    TooLarge,
}

/// Why reading stops without a name.
enum Stop {
    NeedMore,
    Malformed,
    TooLarge,
}

/// Reads what there is.
pub(super) fn read(bytes: &[u8]) -> Verdict {
    let seen = &bytes[..bytes.len().min(MOST)];
    let name = message(seen).and_then(|hello| name(&hello).ok_or(Stop::Malformed));
    match name {
        Ok(name) => Verdict::Name(name),
        Err(Stop::Malformed) => Verdict::Malformed,
        Err(Stop::TooLarge) => Verdict::TooLarge,
        Err(Stop::NeedMore) if seen.len() == MOST => Verdict::TooLarge,
        Err(Stop::NeedMore) => Verdict::NeedMore,
    }
}

/// The body of the first handshake message, from as many records as it takes.
fn message(mut bytes: &[u8]) -> Result<Cow<'_, [u8]>, Stop> {
    let mut message = Cow::Borrowed(&[][..]);
    loop {
        let (fragment, rest) = record(bytes)?;
        match &mut message {
            Cow::Borrowed([]) => message = Cow::Borrowed(fragment),
            more => more.to_mut().extend_from_slice(fragment),
        }
        if message.first().is_some_and(|kind| *kind != CLIENT_HELLO) {
            return Err(Stop::Malformed);
        }
        if let [_, a, b, c, ..] = *message {
            let length = u32::from_be_bytes([0, a, b, c]) as usize;
            if length > MOST {
                return Err(Stop::TooLarge);
            }
            if let Some(body) = message.len().checked_sub(4)
                && body >= length
            {
                return Ok(match message {
                    Cow::Borrowed(message) => Cow::Borrowed(&message[4..4 + length]),
                    Cow::Owned(message) => Cow::Owned(message[4..4 + length].to_vec()),
                });
            }
        }
        // A record that is cut off has no rest, and nothing more to give.
        bytes = rest.ok_or(Stop::NeedMore)?;
    }
}

/// What there is of a record's content, and what follows the record if it is whole. Wrong bytes are
/// refused as soon as they are there.
fn record(bytes: &[u8]) -> Result<(&[u8], Option<&[u8]>), Stop> {
    let is = |place: usize, right: fn(u8) -> bool| bytes.get(place).is_none_or(|byte| right(*byte));
    // Every version of TLS says 3 here (RFC 8446 5.1).
    if !is(0, |kind| kind == HANDSHAKE) || !is(1, |major| major == 3) {
        return Err(Stop::Malformed);
    }
    let [_, _, _, a, b, content @ ..] = bytes else { return Err(Stop::NeedMore) };
    let length = usize::from(u16::from_be_bytes([*a, *b]));
    // An empty record brings nothing on and may not be (RFC 8446 5.1).
    if length == 0 || length > LONGEST_RECORD {
        return Err(Stop::Malformed);
    }
    Ok(match content.split_at_checked(length) {
        Some((content, rest)) => (content, Some(rest)),
        None => (content, None),
    })
}

/// The name in a whole ClientHello; `None` where it is none.
fn name(hello: &[u8]) -> Option<Option<String>> {
    let mut hello = Reader(hello);
    // Version and random number.
    hello.take(2 + 32)?;
    // The session.
    (hello.short_list()?.len() <= 32).then_some(())?;
    let suites = hello.list()?;
    (!suites.is_empty() && suites.len().is_multiple_of(2)).then_some(())?;
    // Compression.
    (!hello.short_list()?.is_empty()).then_some(())?;
    if hello.0.is_empty() {
        return Some(None);
    }
    let mut extensions = Reader(hello.list()?);
    hello.0.is_empty().then_some(())?;
    let mut name = None;
    while !extensions.0.is_empty() {
        let kind = extensions.number()?;
        let content = extensions.list()?;
        // A second one (RFC 8446 4.2).
        if kind == SERVER_NAME && name.replace(host_name(content)?).is_some() {
            return None;
        }
    }
    Some(name.flatten())
}

/// The host in an extension `server_name`. An address is no name (RFC 6066 3), and some clients send one
/// all the same: as if there were none.
fn host_name(extension: &[u8]) -> Option<Option<String>> {
    let mut extension = Reader(extension);
    let mut names = Reader(extension.list()?);
    extension.0.is_empty().then_some(())?;
    let mut host = None;
    while !names.0.is_empty() {
        let kind = names.take(1)?[0];
        let name = names.list()?;
        // At most one name of a kind, and so far there is one kind.
        if kind == HOST_NAME && host.replace(name).is_some() {
            return None;
        }
    }
    let host = std::str::from_utf8(host?).ok()?;
    if host.parse::<IpAddr>().is_ok() {
        return Some(None);
    }
    let host = host.strip_suffix('.').unwrap_or(host);
    let is_label = |label: &str| {
        let mut bytes = label.bytes();
        !label.is_empty() && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    host.split('.').all(is_label).then(|| Some(host.to_ascii_lowercase()))
}

/// The bytes that are left to be read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    /// Bytes after their number in two bytes.
    fn list(&mut self) -> Option<&'a [u8]> {
        let length = self.number()?;
        self.take(length.into())
    }

    /// Bytes after their number in one byte.
    fn short_list(&mut self) -> Option<&'a [u8]> {
        let length = self.take(1)?[0];
        self.take(length.into())
    }
}

#[cfg(test)]
mod tests;

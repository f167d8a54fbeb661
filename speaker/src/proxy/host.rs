//! The host that an HTTP/1.1 request is for (RFC 9110 7.2, RFC 9112 3), read from its first bytes.
//!
//! Nothing is consumed; the backend reads the same bytes again. What it and we could understand
//! differently (two Hosts, a folded line, a name behind userinfo) is refused, so that nobody reaches a
//! backend by a name that the backend does not see.
//!
//! Always holds: an answer is never taken back. It is the same for whatever follows in the stream, and
//! for the same bytes in other pieces.

/// More of a request is not looked at.
pub(super) const MOST: usize = 16 * 1024;
/// Empty lines that are skipped before a request (RFC 9112 2.2 asks for at least one).
const EMPTY_LINES: usize = 8;

/// What the first bytes of a connection say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The end of the header is not there yet.
    NeedMore,
    /// The request is for this host: in lower case, without the port and the root's dot.
    Host(String),
    /// A request that names no host: an empty Host, or none as before HTTP/1.1.
    NoHost,
    /// Not an HTTP/1 request, or one that has to be refused.
    Malformed,
    /// The header does not end within [`MOST`] bytes.
    TooLarge,
}

/// Why reading stops without a host.
enum Stop {
    NeedMore,
    Malformed,
}

/// Reads what there is.
pub(super) fn read(bytes: &[u8]) -> Verdict {
    match head(&bytes[..bytes.len().min(MOST)]) {
        Ok(Some(name)) => Verdict::Host(name),
        Ok(None) => Verdict::NoHost,
        Err(Stop::Malformed) => Verdict::Malformed,
        Err(Stop::NeedMore) if bytes.len() >= MOST => Verdict::TooLarge,
        Err(Stop::NeedMore) => Verdict::NeedMore,
    }
}

/// Line by line from the request line to the empty one.
fn head(bytes: &[u8]) -> Result<Option<String>, Stop> {
    let mut lines = Lines(bytes);
    let mut line = lines.next(is_target)?;
    for _ in 0..EMPTY_LINES {
        if !line.is_empty() {
            break;
        }
        line = lines.next(is_target)?;
    }
    let request = Request::read(line)?;
    let mut host = None;
    loop {
        let line = lines.next(is_value)?;
        if line.is_empty() {
            break;
        }
        if let Some(value) = host_field(line)? {
            // A second one (RFC 9112 3.2), also when the target decides.
            if host.is_some() {
                return Err(Stop::Malformed);
            }
            host = Some(uri_host(value)?);
        }
    }
    match (request.authority, host) {
        // A server ignores the field then (RFC 9112 3.2.2, 3.3).
        (Some(authority), Some(_)) => Ok(authority),
        (Some(authority), None) if request.is_1_0 => Ok(authority),
        (None, Some(host)) => Ok(host),
        (None, None) if request.is_1_0 => Ok(None),
        (_, None) => Err(Stop::Malformed),
    }
}

/// The bytes that are left to be read.
struct Lines<'a>(&'a [u8]);

impl<'a> Lines<'a> {
    /// The next line without its end: LF, or CR LF (RFC 9112 2.2). Other bytes than `allowed` are
    /// refused as soon as they are there.
    fn next(&mut self, allowed: fn(u8) -> bool) -> Result<&'a [u8], Stop> {
        let end = self.0.iter().position(|byte| *byte == b'\n');
        let line = &self.0[..end.unwrap_or(self.0.len())];
        // A CR at the end of what is there may turn out to belong to a line's end.
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if !line.iter().all(|byte| allowed(*byte)) {
            return Err(Stop::Malformed);
        }
        self.0 = &self.0[end.ok_or(Stop::NeedMore)? + 1..];
        Ok(line)
    }
}

/// A byte of a request line. Some clients send UTF-8 as it is.
fn is_target(byte: u8) -> bool {
    byte >= b' ' && byte != 0x7f
}

/// A byte of a header line (RFC 9110 5.5: no NUL, CR or LF).
fn is_value(byte: u8) -> bool {
    byte != 0 && byte != b'\r'
}

/// A byte of a method or a field's name (RFC 9110 5.6.2).
fn is_token(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte)
}

/// What matters of a request line.
struct Request {
    /// Where the target has an authority: its host, or none.
    authority: Option<Option<String>>,
    is_1_0: bool,
}

impl Request {
    fn read(line: &[u8]) -> Result<Self, Stop> {
        let mut words = line.split(|byte| *byte == b' ');
        let (Some(method), Some(target), Some(version), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(Stop::Malformed);
        };
        let minor = version.strip_prefix(b"HTTP/1.").ok_or(Stop::Malformed)?;
        let [minor @ b'0'..=b'9'] = minor else { return Err(Stop::Malformed) };
        if method.is_empty() || !method.iter().all(is_token) {
            return Err(Stop::Malformed);
        }
        let authority = match target {
            // CONNECT has nothing but an authority (RFC 9112 3.2.3).
            target if method == b"CONNECT" => Some(target),
            [b'/', ..] | [b'*'] => None,
            target => Some(absolute(target).ok_or(Stop::Malformed)?),
        };
        let authority = match authority.map(uri_host).transpose()? {
            // Neither form goes without a host (RFC 9110 4.2.1).
            Some(None) => return Err(Stop::Malformed),
            authority => authority,
        };
        Ok(Self { authority, is_1_0: *minor == b'0' })
    }
}

/// The authority of `scheme://authority/path?query` (RFC 3986 3.2).
fn absolute(target: &[u8]) -> Option<&[u8]> {
    let colon = target.iter().position(|byte| *byte == b':')?;
    let (scheme, rest) = target.split_at(colon);
    let is_scheme = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
    if !scheme.first()?.is_ascii_alphabetic() || !scheme.iter().all(is_scheme) {
        return None;
    }
    let rest = rest.strip_prefix(b"://")?;
    let end = rest.iter().position(|byte| b"/?#".contains(byte)).unwrap_or(rest.len());
    Some(&rest[..end])
}

/// The value of a header line if it is a Host. A line that begins with a space continues the one
/// before (obs-fold, RFC 9112 5.2), a space before the colon splits opinions (5.1): refused.
fn host_field(line: &[u8]) -> Result<Option<&[u8]>, Stop> {
    let colon = line.iter().position(|byte| *byte == b':').ok_or(Stop::Malformed)?;
    let (name, value) = line.split_at(colon);
    if name.is_empty() || !name.iter().all(is_token) {
        return Err(Stop::Malformed);
    }
    Ok(name.eq_ignore_ascii_case(b"host").then(|| value[1..].trim_ascii()))
}

/// The host of `host[:port]` (RFC 3986 3.2.2, 3.2.3), none where there is nothing at all. Userinfo is
/// refused: it serves to disguise the host (RFC 9110 4.2.4).
fn uri_host(authority: &[u8]) -> Result<Option<String>, Stop> {
    if authority.is_empty() {
        return Ok(None);
    }
    let end = match authority {
        [b'[', ..] => authority.iter().position(|byte| *byte == b']').map(|end| end + 1),
        _ => authority.iter().position(|byte| *byte == b':'),
    };
    let (host, port) = authority.split_at(end.unwrap_or(authority.len()));
    let is_port = match port {
        [] => true,
        [b':', digits @ ..] => digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    let is_host = match host {
        [b'[', address @ .., b']'] => {
            address.contains(&b':')
                && address.iter().all(|byte| byte.is_ascii_hexdigit() || b":.".contains(byte))
        }
        name => name.iter().all(is_reg_name),
    };
    let text = std::str::from_utf8(host).map_err(|_| Stop::Malformed)?;
    let text = text.strip_suffix('.').unwrap_or(text);
    if !is_port || !is_host || text.is_empty() {
        return Err(Stop::Malformed);
    }
    Ok(Some(text.to_ascii_lowercase()))
}

/// A byte of a registered name (RFC 3986 3.2.2).
fn is_reg_name(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(byte)
}

#[cfg(test)]
mod tests;

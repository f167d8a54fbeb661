//! The Host of an HTTP/1.1 request (RFC 9110 7.2, RFC 9112 3.2), read from its first bytes.
//!
//! Nothing is consumed and nothing is checked that does not matter for the choice: the backend reads
//! the same bytes and judges them.

/// More of a request is not looked at.
pub(super) const MOST: usize = 16 * 1024;

/// What the first bytes of a connection say.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The end of the header is not there yet.
    NeedMore,
    /// The request is for this host: in lower case, without the port.
    Host(String),
    /// A request without a Host, as before HTTP/1.1.
    NoHost,
    /// Not the beginning of an HTTP/1 request.
    Malformed,
}

/// Reads what there is.
pub(super) fn read(bytes: &[u8]) -> Verdict {
    let Some((line, mut rest)) = next_line(bytes) else {
        return match bytes.iter().all(|byte| is_line(*byte)) && bytes.len() < MOST {
            true => Verdict::NeedMore,
            false => Verdict::Malformed,
        };
    };
    let mut words = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Verdict::Malformed;
    };
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    if method.is_empty() || !method.iter().all(is_token) || !version.starts_with(b"HTTP/1.") {
        return Verdict::Malformed;
    }
    // The absolute form goes before the header (RFC 9112, 3.2.2).
    if let Some(host) = authority(target) {
        return named(host);
    }
    loop {
        let Some((line, after)) = next_line(rest) else {
            return if bytes.len() < MOST { Verdict::NeedMore } else { Verdict::Malformed };
        };
        if line.is_empty() {
            return Verdict::NoHost;
        }
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            return Verdict::Malformed;
        };
        let (name, value) = line.split_at(colon);
        if name.eq_ignore_ascii_case(b"host") {
            return named(value[1..].trim_ascii());
        }
        rest = after;
    }
}

/// A line without its end, and what follows. Ends with LF; a CR in front of it belongs to the end.
fn next_line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let line = &bytes[..end];
    Some((line.strip_suffix(b"\r").unwrap_or(line), &bytes[end + 1..]))
}

fn is_line(byte: u8) -> bool {
    byte == b'\r' || byte == b'\t' || (b' '..=b'~').contains(&byte) || byte >= 0x80
}

/// Host and port of `http://host:port/path`.
fn authority(target: &[u8]) -> Option<&[u8]> {
    let start = target.windows(3).position(|three| three == b"://")? + 3;
    let rest = &target[start..];
    let end = rest.iter().position(|byte| b"/?#".contains(byte)).unwrap_or(rest.len());
    Some(&rest[..end])
}

fn named(host: &[u8]) -> Verdict {
    let host = match host {
        [b'[', ..] => host.iter().position(|byte| *byte == b']').map(|end| &host[..=end]),
        host => host.split(|byte| *byte == b':').next(),
    };
    let text = host.and_then(|host| std::str::from_utf8(host).ok());
    match text.map(|text| text.trim_end_matches('.')) {
        Some("") => Verdict::NoHost,
        Some(text) if text.is_ascii() => Verdict::Host(text.to_ascii_lowercase()),
        _ => Verdict::Malformed,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const REQUEST: &[u8] =
        b"GET /a?b=c HTTP/1.1\r\nUser-Agent: curl/8\r\nhOsT:  A.Example.com:8080 \r\nAccept: */*\r\n\r\nbody";

    fn host(text: &str) -> Verdict {
        Verdict::Host(text.to_owned())
    }

    #[test]
    fn every_prefix_needs_more_until_the_host_is_whole() {
        let whole = REQUEST.windows(2).position(|two| two == b" \r").unwrap();
        let line = whole + REQUEST[whole..].iter().position(|byte| *byte == b'\n').unwrap() + 1;
        for end in 0..=REQUEST.len() {
            let expected = if end < line { Verdict::NeedMore } else { host("a.example.com") };
            assert_eq!(read(&REQUEST[..end]), expected, "{end} bytes");
        }
    }

    #[test]
    fn forms_of_requests() {
        assert_eq!(read(b"GET http://B.c:1/x HTTP/1.1\r\nHost: other\r\n\r\n"), host("b.c"));
        assert_eq!(read(b"CONNECT a:1 HTTP/1.1\nHost: a:1\n\n"), host("a"));
        assert_eq!(read(b"GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n"), host("[::1]"));
        assert_eq!(read(b"GET / HTTP/1.0\r\n\r\n"), Verdict::NoHost);
        assert_eq!(read(b"GET / HTTP/1.1\r\nHost:\r\n\r\n"), Verdict::NoHost);
        assert_eq!(read(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), Verdict::Malformed);
        assert_eq!(read(b"\x16\x03\x01\x02\x00\x01"), Verdict::Malformed);
        assert_eq!(read(&[b'a'; MOST]), Verdict::Malformed);
        assert_eq!(read(b"hello\n"), Verdict::Malformed);
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), at in 0..REQUEST.len()) {
            read(&bytes);
            let mut mutated = REQUEST.to_vec();
            mutated.splice(at..at, bytes.iter().copied().take(4));
            read(&mutated);
        }
    }
}

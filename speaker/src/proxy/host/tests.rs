//! Requests as clients write them, as nobody should, and in pieces.

use proptest::prelude::*;

use super::{EMPTY_LINES, MOST, Verdict, read};

const REQUEST: &[u8] =
    b"GET /a?b=c HTTP/1.1\r\nUser-Agent: curl/8\r\nhOsT:  A.Example.com:8080 \r\nAccept: */*\r\n\r\n";

fn host(text: &str) -> Verdict {
    Verdict::Host(text.to_owned())
}

/// Asserts an answer, and that every prefix needs more or has it already.
#[track_caller]
fn says(request: &[u8], verdict: Verdict) {
    assert_eq!(read(request), verdict, "{}", String::from_utf8_lossy(request));
    for end in 0..request.len() {
        let early = read(&request[..end]);
        assert!(
            early == Verdict::NeedMore || early == verdict && verdict == Verdict::Malformed,
            "{early:?} after {end} bytes of {}",
            String::from_utf8_lossy(request)
        );
    }
}

/// The same for a request for `/` with these header lines.
#[track_caller]
fn header(lines: &str, verdict: Verdict) {
    says(format!("GET / HTTP/1.1\r\n{lines}\r\n\r\n").as_bytes(), verdict);
}

#[test]
fn the_host_is_known_when_the_header_is_whole_and_not_before() {
    says(REQUEST, host("a.example.com"));
    assert_eq!(read(&[REQUEST, b"body \x00\xff: GET"].concat()), host("a.example.com"));
}

#[test]
fn the_target_decides_where_it_has_an_authority() {
    let target = |target: &str, verdict| {
        says(format!("GET {target} HTTP/1.1\r\nHost: b.c\r\n\r\n").as_bytes(), verdict);
    };
    target("http://A.b:1/x", host("a.b"));
    target("HTTPS://a.b", host("a.b"));
    target("http://a.b?x=/@y", host("a.b"));
    target("*", host("b.c"));
    // An authority further on is none of the target's.
    target("/login?next=http://evil.example/", host("b.c"));
    target("/http://evil.example/", host("b.c"));
    target("//evil.example/", host("b.c"));
    target("/a:b://evil.example/", host("b.c"));
    for bad in [
        "http://user@a.b/",
        "http://user:80@a.b/",
        "http://b.c:80@a.b/",
        "http:///x",
        "http://:80/",
        "http://a.b:x/",
        "http:a.b/",
        "?x=http://a.b",
        "1x://a.b/",
        "a.b",
        "",
    ] {
        target(bad, Verdict::Malformed);
    }
}

#[test]
fn connect_has_the_host_for_a_target() {
    says(b"CONNECT a:1 HTTP/1.1\nHost: a:1\n\n", host("a"));
    says(b"CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n", Verdict::Malformed);
}

#[test]
fn a_host_is_a_name_or_an_address_and_a_port() {
    header("Host: [::1]:80", host("[::1]"));
    header("Host: 10.0.0.1", host("10.0.0.1"));
    header("Host: a.b.:", host("a.b"));
    header("Host:\t_x~%41!$&'()*+,;=.b\t", host("_x~%41!$&'()*+,;=.b"));
    header("Host:", Verdict::NoHost);
    for bad in [
        "a b",
        "a/b",
        "a@b",
        "a?b",
        "a#b",
        "a:b",
        "a:1:2",
        "[::1",
        "[::1]x",
        "[x]",
        "[]",
        "[10.0.0.1]",
        "a]",
        ":80",
        ".",
        "\"a\"",
        "a\\b",
        "\u{e4}.b",
    ] {
        header(&format!("Host: {bad}"), Verdict::Malformed);
    }
}

#[test]
fn one_host_and_not_more() {
    header("Host: a\r\nHost: b", Verdict::Malformed);
    header("Host: a\r\nAccept: */*\r\nhost: a", Verdict::Malformed);
    header("Host:\r\nHost: a", Verdict::Malformed);
    says(b"GET http://a/ HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", Verdict::Malformed);
    header("Accept: */*", Verdict::Malformed);
    says(b"GET http://a/ HTTP/1.1\r\n\r\n", Verdict::Malformed);
    says(b"GET http://a/ HTTP/1.0\r\n\r\n", host("a"));
    says(b"GET / HTTP/1.0\r\n\r\n", Verdict::NoHost);
    says(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n", host("a"));
}

#[test]
fn lines_that_are_read_differently_by_others_are_refused() {
    // Folded: for some the second line belongs to the first.
    header("Accept: */*\r\n Host: a\r\nHost: b", Verdict::Malformed);
    header("Host: a\r\n\tb", Verdict::Malformed);
    header(" Host: a", Verdict::Malformed);
    header("Host : a", Verdict::Malformed);
    header("X Host: a", Verdict::Malformed);
    header(": a", Verdict::Malformed);
    header("Host", Verdict::Malformed);
    header("Accept: x\rHost: a\r\nHost: b", Verdict::Malformed);
    header("Host: a\r\r", Verdict::Malformed);
    header("Accept: \0\r\nHost: a", Verdict::Malformed);
}

#[test]
fn empty_lines_may_come_before_a_request_but_not_for_ever() {
    let before = |count: usize, line: &str| [line.repeat(count).as_bytes(), REQUEST].concat();
    for line in ["\r\n", "\n"] {
        says(&before(1, line), host("a.example.com"));
        says(&before(EMPTY_LINES, line), host("a.example.com"));
        says(&before(EMPTY_LINES + 1, line), Verdict::Malformed);
    }
}

#[test]
fn what_is_no_request_is_refused_at_its_first_wrong_byte() {
    assert_eq!(read(b"\x16\x03\x01\x02\x00\x01"), Verdict::Malformed);
    says(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Verdict::Malformed);
    says(b"GET / HTTP/1.10\r\nHost: a\r\n\r\n", Verdict::Malformed);
    says(b"GET / http/1.1\r\nHost: a\r\n\r\n", Verdict::Malformed);
    says(b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", Verdict::Malformed);
    says(b"G\tT / HTTP/1.1\r\nHost: a\r\n\r\n", Verdict::Malformed);
    says(b"hello\n", Verdict::Malformed);
}

#[test]
fn the_header_may_have_just_so_many_bytes() {
    let padded = |length: usize| {
        let frame = "GET / HTTP/1.1\r\nHost: a\r\nX: \r\n\r\n".len();
        format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(length - frame))
    };
    assert_eq!(read(padded(MOST).as_bytes()), host("a"));
    assert_eq!(read(&padded(MOST + 1).as_bytes()[..MOST - 1]), Verdict::NeedMore);
    assert_eq!(read(padded(MOST + 1).as_bytes()), Verdict::TooLarge);
    assert_eq!(read(&[b'a'; MOST]), Verdict::TooLarge);
}

/// Pieces of requests, good and bad, put together.
fn requests() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(vec![
        "GET / HTTP/1.1\r\n",
        "GET http://a.b/ HTTP/1.1\r\n",
        "CONNECT a:1 HTTP/1.0\n",
        "Host: a\r\n",
        "Host: b:80\n",
        "host:",
        "X: y\r\n",
        " folded\r\n",
        "\r\n",
        "\n",
        "\r",
        "://",
        "@",
        "\0",
    ]);
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat().into_bytes())
}

/// A good request with some bytes changed, taken out or put in.
fn mutants() -> impl Strategy<Value = Vec<u8>> {
    let edit = (0..REQUEST.len(), 0_usize..3, prop::collection::vec(any::<u8>(), 0..3));
    prop::collection::vec(edit, 1..4).prop_map(|edits| {
        let mut bytes = REQUEST.to_vec();
        for (at, out, put) in edits {
            let at = at.min(bytes.len());
            let end = (at + out).min(bytes.len());
            bytes.splice(at..end, put);
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Whatever comes: what is said about a beginning is said about the whole.
    #[test]
    fn an_answer_is_never_taken_back(
        bytes in prop_oneof![requests(), mutants(), prop::collection::vec(any::<u8>(), 0..300)],
    ) {
        let whole = read(&bytes);
        for end in 0..bytes.len() {
            let early = read(&bytes[..end]);
            prop_assert!(early == Verdict::NeedMore || early == whole, "{end}: {early:?}, {whole:?}");
        }
    }

    /// A mutant never means a host that is not written in it.
    #[test]
    fn a_host_stands_in_the_request(bytes in prop_oneof![requests(), mutants()]) {
        if let Verdict::Host(name) = read(&bytes) {
            let text = bytes.to_ascii_lowercase();
            prop_assert!(text.windows(name.len()).any(|part| part == name.as_bytes()), "{name}");
        }
    }
}

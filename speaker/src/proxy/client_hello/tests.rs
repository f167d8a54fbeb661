//! ClientHellos as clients write them, as nobody should, and in pieces. The corpus has those of real
//! clients, recorded from their sockets (`corpus/README.md`).

use proptest::prelude::*;

use super::{LONGEST_RECORD, MOST, Verdict, read};

fn named(text: &str) -> Verdict {
    Verdict::Name(Some(text.to_owned()))
}

/// Some bytes after their number in two bytes.
fn list(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
}

fn extension(kind: u16, content: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &list(content)].concat()
}

fn server_name(name: &[u8]) -> Vec<u8> {
    extension(0, &list(&[&[0][..], &list(name)].concat()))
}

/// A ClientHello with these extensions, without its record.
fn message(extensions: &[Vec<u8>]) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend([32; 33]);
    body.extend(list(&[0x1a, 0x1a, 0x13, 0x01]));
    body.extend([1, 0]);
    body.extend(list(&extensions.concat()));
    handshake(&body)
}

fn handshake(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[1], &length[1..], body].concat()
}

/// In records of so many bytes.
fn records(message: &[u8], size: usize) -> Vec<u8> {
    message.chunks(size).flat_map(|part| [&[22, 3, 1][..], &list(part)].concat()).collect()
}

fn hello(extensions: &[Vec<u8>]) -> Vec<u8> {
    records(&message(extensions), LONGEST_RECORD)
}

/// GREASE, a key for a post-quantum group, and whatever else comes before and after a name (RFC 8701).
fn usual(name: &[u8]) -> Vec<Vec<u8>> {
    vec![
        extension(0x3a3a, &[]),
        extension(51, &[5; 1216]),
        server_name(name),
        extension(21, &[0; 99]),
    ]
}

/// Asserts an answer, and that every prefix needs more or has it already.
#[track_caller]
fn says(bytes: &[u8], verdict: Verdict) {
    assert_eq!(read(bytes), verdict, "{bytes:02x?}");
    for end in 0..bytes.len() {
        let early = read(&bytes[..end]);
        assert!(
            early == Verdict::NeedMore || early == verdict,
            "{early:?} after {end} of {} bytes, then {verdict:?}",
            bytes.len()
        );
    }
}

#[test]
fn the_name_is_known_when_the_hello_is_whole_and_not_before() {
    let whole = hello(&usual(b"A.Example.com"));
    says(&whole, named("a.example.com"));
    assert_eq!(read(&whole[..whole.len() - 1]), Verdict::NeedMore);
    let more = [&whole[..], &[23, 3, 3, 0, 1, 9]].concat();
    assert_eq!(read(&more), named("a.example.com"), "early data follows");
}

#[test]
fn it_may_come_in_many_records() {
    let message = message(&usual(b"a.example.com"));
    for size in [1, 2, 3, 4, 5, 64, 500, message.len() - 1] {
        says(&records(&message, size), named("a.example.com"));
    }
}

#[test]
fn a_client_may_ask_for_nothing() {
    says(&hello(&[extension(51, &[1, 2])]), Verdict::Name(None));
    says(&hello(&[]), Verdict::Name(None));
    // Before there were extensions.
    let mut body = message(&[])[4..].to_vec();
    body.truncate(body.len() - 2);
    says(&records(&handshake(&body), 999), Verdict::Name(None));
    // Addresses are no names.
    says(&hello(&[server_name(b"192.0.2.1")]), Verdict::Name(None));
    says(&hello(&[server_name(b"2001:db8::1")]), Verdict::Name(None));
}

#[test]
fn names_are_compared_as_dns_does() {
    says(&hello(&[server_name(b"a.example.com.")]), named("a.example.com"));
    says(
        &hello(&[server_name(b"_sip.XN--BCHER-KVA.example")]),
        named("_sip.xn--bcher-kva.example"),
    );
    for bad in
        [&b""[..], b".", b"a..b", b".a", b"a b", b"a\0.example.com", b"*.example.com", b"\xc3\xa4"]
    {
        says(&hello(&[server_name(bad)]), Verdict::Malformed);
    }
}

/// What one reader takes for one name, and another for another.
#[test]
fn what_is_ambiguous_is_refused() {
    let (a, b) = (server_name(b"a.example.com"), server_name(b"b.example.com"));
    says(&hello(&[a.clone(), b]), Verdict::Malformed);
    says(&hello(&[a.clone(), a]), Verdict::Malformed);
    let two = [&[0][..], &list(b"a"), &[0], &list(b"b")].concat();
    says(&hello(&[extension(0, &list(&two))]), Verdict::Malformed);
    let surplus = [list(&[&[0][..], &list(b"a")].concat()), vec![0]].concat();
    says(&hello(&[extension(0, &surplus)]), Verdict::Malformed);
    says(&hello(&[extension(0, &[])]), Verdict::Malformed);
    says(&hello(&[extension(0, &list(&[]))]), Verdict::Malformed);
    // A kind of name that is not known yet is no host.
    let unknown = [&[9][..], &list(b"x"), &[0], &list(b"a.b")].concat();
    says(&hello(&[extension(0, &list(&unknown))]), named("a.b"));
}

#[test]
fn lengths_have_to_add_up() {
    let body = message(&usual(b"a.example.com"))[4..].to_vec();
    // One byte more or less in the message than its parts have.
    says(&records(&handshake(&[&body[..], &[0]].concat()), 999), Verdict::Malformed);
    says(&records(&handshake(&body[..body.len() - 1]), 999), Verdict::Malformed);
    says(&records(&handshake(&[]), 999), Verdict::Malformed);
    let session = [&body[..34], &[33], &[1; 33], &body[67..]].concat();
    says(&records(&handshake(&session), 999), Verdict::Malformed);
}

#[test]
fn what_is_no_tls_is_known_at_once() {
    for bytes in
        [&b"GET / HTTP/1.1\r\n"[..], b"\x80\x2e\x01\x03\x01", b"SSH-2.0-x", &[23, 3, 3, 0, 1]]
    {
        assert_eq!(read(&bytes[..1]), Verdict::Malformed);
    }
    assert_eq!(read(&[22, 2]), Verdict::Malformed);
    assert_eq!(read(&[22, 3, 1, 0, 0]), Verdict::Malformed, "an empty record");
    assert_eq!(read(&[22, 3, 1, 0x40, 1]), Verdict::Malformed, "a record that is too long");
    assert_eq!(read(&[22, 3, 1, 0, 9, 2]), Verdict::Malformed, "a ServerHello");
    // An alert in the middle.
    let mut bytes = records(&message(&usual(b"a.b")), 40);
    bytes[45] = 21;
    assert_eq!(read(&bytes), Verdict::Malformed);
}

#[test]
fn there_is_a_limit() {
    assert_eq!(read(&[22, 3, 1, 0x20, 0, 1, 0, 0x40, 1]), Verdict::TooLarge, "it says so itself");
    let fits = message(&[extension(21, &vec![0; 10_000]), server_name(b"a.b")]);
    says(&records(&fits, LONGEST_RECORD), named("a.b"));
    // The headers of tiny records count.
    let bytes = records(&fits, 1);
    assert_eq!(read(&bytes), Verdict::TooLarge);
    assert_eq!(read(&bytes[..MOST]), Verdict::TooLarge);
    assert_eq!(read(&bytes[..MOST - 1]), Verdict::NeedMore);
}

/// Each of these has been seen on a wire; the file's name says for which name.
#[test]
fn real_clients_are_understood() {
    let mut count = 0;
    for (file, bytes) in corpus("real") {
        let expected =
            file.split_once('@').and_then(|(_, name)| name.strip_suffix(".bin")).unwrap();
        let verdict = match expected {
            "none" => Verdict::Name(None),
            name => named(name),
        };
        says(&bytes, verdict);
        count += 1;
    }
    assert!(count >= 6, "{count} files");
}

fn corpus(folder: &str) -> Vec<(String, Vec<u8>)> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = path.join("src/proxy/client_hello/corpus").join(folder);
    let files = std::fs::read_dir(path).unwrap().map(|file| file.unwrap().path());
    files
        .map(|path| {
            (path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read(path).unwrap())
        })
        .collect()
}

/// rustls reads what we read, as far as we do not refuse it.
#[track_caller]
fn agrees_with_rustls(bytes: &[u8]) {
    let Verdict::Name(ours) = read(bytes) else { return };
    let mut acceptor = rustls::server::Acceptor::default();
    let mut left = bytes;
    while !left.is_empty() && acceptor.read_tls(&mut left).is_ok_and(|read| read > 0) {
        match acceptor.accept() {
            Ok(Some(accepted)) => {
                let hello = accepted.client_hello();
                let theirs =
                    hello.server_name().map(|name| name.trim_end_matches('.').to_ascii_lowercase());
                assert_eq!(ours, theirs, "{bytes:02x?}");
                return;
            }
            Ok(None) => {}
            // It looks at more than the name.
            Err(_) => return,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn an_answer_is_never_taken_back(
        name in "[a-z.]{0,9}",
        size in 1_usize..60,
        changes in proptest::collection::vec((0_usize..200, any::<u8>()), 0..3),
    ) {
        let mut bytes = records(&message(&[extension(51, &[1; 9]), server_name(name.as_bytes())]), size);
        for (place, byte) in changes {
            let place = place % bytes.len();
            bytes[place] = byte;
        }
        let mut answer = Verdict::NeedMore;
        for end in 0..=bytes.len() {
            let next = read(&bytes[..end]);
            if answer != Verdict::NeedMore {
                prop_assert_eq!(&next, &answer);
            }
            answer = next;
        }
        agrees_with_rustls(&bytes);
    }

    #[test]
    fn real_hellos_that_were_damaged_are_read_as_rustls_reads_them(
        which in any::<prop::sample::Index>(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let corpus = corpus("real");
        let mut bytes = corpus[which.index(corpus.len())].1.clone();
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        agrees_with_rustls(&bytes);
    }

    #[test]
    fn any_bytes_can_be_read(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        read(&bytes);
        read(&[&[22, 3, 1, 2, 0, 1, 0, 1, 0xfc], &bytes[..]].concat());
    }
}

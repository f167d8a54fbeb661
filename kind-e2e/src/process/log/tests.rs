use std::io::Cursor;
use std::time::Duration;

use super::{KEEP, Log, Mark, Output, find_line};

const LONG: Duration = Duration::from_secs(10);

#[test]
fn an_unfinished_line_is_not_found_until_the_stream_closes() {
    assert_eq!(find_line(b"one\ntwo", 0, false, "two"), None);
    assert_eq!(find_line(b"one\ntwo", 0, true, "two"), Some("two".to_owned()));
    assert_eq!(find_line(b"one\ntwo\n", 0, false, "two"), Some("two".to_owned()));
}

#[test]
fn lines_before_a_mark_do_not_count() {
    assert_eq!(find_line(b"ready\nready again\n", 6, false, "ready"), Some("ready again".into()));
    assert_eq!(find_line(b"ready\n", 6, false, "ready"), None);
}

#[test]
fn both_streams_are_kept_apart_and_searched() {
    let log = Log::of_pipes(Cursor::new(b"out\n".to_vec()), Cursor::new(b"err\n".to_vec()));
    assert!(log.wait_closed(LONG));
    assert_eq!(log.find(&Mark::default(), "err"), Some("err".to_owned()));
    let output = log.snapshot();
    assert_eq!((output.stdout_text(), output.stderr_text()), ("out\n".into(), "err\n".into()));
}

#[test]
fn what_exceeds_the_limit_is_counted_not_kept() {
    let log = Log::of_pipes(Cursor::new(vec![b'x'; KEEP + 5]), Cursor::new(Vec::new()));
    assert!(log.wait_closed(LONG));
    let output = log.snapshot();
    assert_eq!((output.stdout.len(), output.dropped), (KEEP, 5));
}

#[test]
fn the_tail_is_the_end_of_both_streams() {
    let stdout = (0..100).map(|number| format!("line {number}\n")).collect::<String>();
    let tail = Output { stdout: stdout.into(), stderr: b"why".to_vec(), dropped: 0 }.tail();
    assert!(tail.contains("stdout| line 99\n") && tail.contains("stdout| line 60\n"), "{tail}");
    assert!(!tail.contains("line 59\n"), "{tail}");
    assert!(tail.ends_with("stderr| why\n"), "{tail}");
}

#[test]
fn the_tail_has_no_binary_output() {
    let tail = Output { stdout: vec![0, 7], stderr: b"why".to_vec(), dropped: 0 }.tail();
    assert_eq!(tail, "  stdout| (2 octets, not text)\n  stderr| why\n");
}

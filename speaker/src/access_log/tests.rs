//! Lines in both forms, whatever clients say; and a writer that nobody waits for.

use std::fs;
use std::time::Instant;

use proptest::prelude::*;
use serde_json::Value;
use vipgate_api::ObjectKey;

use super::*;

fn place(one_of: u32) -> Arc<Place> {
    let id = ListenerId {
        gateway: ObjectKey::new("default", "web"),
        set: Some(ObjectKey::new("shop", "more")),
        name: "tls".to_owned(),
        address: "192.0.2.1".parse().unwrap(),
    };
    Arc::new(Place::new(Some(id), "192.0.2.1:443".parse().unwrap(), Transport::Tcp, one_of))
}

fn line(server_name: Option<&str>) -> Line {
    let mut tally = Tally::new(place(1), Instant::now());
    tally.server_name = server_name.map(str::to_owned);
    tally.bytes_up = 517;
    tally.bytes_down = 40_213;
    tally.connect = Some(Duration::from_micros(312));
    Line {
        time: "2026-11-29T17:02:03.0456Z".parse().unwrap(),
        tally,
        lasted: Duration::from_micros(2_500_750),
        client: Some("[2001:db8::7]:40000".parse().unwrap()),
        via: None,
        route: Some("TCPRoute default/web".to_owned()),
        endpoint: Some("10.1.2.3:8443".parse().unwrap()),
        reason: "orderly",
    }
}

fn written(line: &Line, format: Format) -> String {
    let mut bytes = Vec::new();
    line.write(format, &mut bytes);
    let text = String::from_utf8(bytes).unwrap();
    text.strip_suffix('\n').unwrap().to_owned()
}

#[test]
fn both_forms_say_the_same() {
    let line = line(Some("www.example.com"));
    assert_eq!(
        written(&line, Format::Json),
        "{\"time\":\"2026-11-29T17:02:03.045Z\",\"client\":\"[2001:db8::7]:40000\",\
         \"vip\":\"192.0.2.1:443\",\"protocol\":\"TCP\",\"gateway\":\"default/web\",\"parent\":\"shop/more\",\
         \"listener\":\"tls\",\"server_name\":\"www.example.com\",\"route\":\"TCPRoute default/web\",\
         \"endpoint\":\"10.1.2.3:8443\",\"bytes_up\":517,\"bytes_down\":40213,\
         \"duration_ms\":2500.75,\"connect_ms\":0.312,\"reason\":\"orderly\"}"
    );
    assert_eq!(
        written(&line, Format::Text),
        "time=2026-11-29T17:02:03.045Z client=[2001:db8::7]:40000 vip=192.0.2.1:443 protocol=TCP \
         gateway=default/web parent=shop/more listener=tls server_name=www.example.com \
         route=\"TCPRoute default/web\" endpoint=10.1.2.3:8443 bytes_up=517 bytes_down=40213 \
         duration_ms=2500.75 connect_ms=0.312 reason=orderly"
    );
}

/// What docs/access-log.md lists is what a line has.
#[test]
fn the_docs_have_every_field() {
    let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/access-log.md");
    let docs = fs::read_to_string(docs).unwrap();
    let mut line = line(Some("a"));
    line.via = line.client;
    let Value::Object(fields) = serde_json::from_str(&written(&line, Format::Json)).unwrap() else {
        panic!("no object");
    };
    assert_eq!(fields.len(), 16);
    for field in fields.keys() {
        assert!(docs.contains(&format!("| `{field}`")), "docs/access-log.md does not have {field}");
    }
}

#[test]
fn nobody_writes_a_line_or_a_field_of_his_own() {
    let hostile = "a b\"\\\n\r\treason=orderly\u{7f}\u{9b}\u{2028}\u{1f600}";
    let line = line(Some(hostile));
    assert!(written(&line, Format::Text).contains(
        "server_name=\"a b\\\"\\\\\\u000a\\u000d\\u0009reason=orderly\\u007f\\u009b\\u2028\\ud83d\\ude00\" "
    ));
    let json = written(&line, Format::Json);
    assert!(!json.contains('\n'));
    let value: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(value["server_name"], hostile);
}

/// The values of a line, as a reader of logfmt finds them.
fn values(line: &str) -> Vec<(String, String)> {
    let (mut fields, mut rest) = (Vec::new(), line);
    while !rest.is_empty() {
        let (key, after) = rest.split_once('=').unwrap();
        let end = match after.strip_prefix('"') {
            Some(_) => {
                let mut values = serde_json::Deserializer::from_str(after).into_iter::<String>();
                values.next().unwrap().unwrap();
                values.byte_offset()
            }
            None => after.find(' ').unwrap_or(after.len()),
        };
        let (value, after) = after.split_at(end);
        let value = serde_json::from_str(value).unwrap_or_else(|_| value.to_owned());
        fields.push((key.to_owned(), value));
        rest = after.strip_prefix(' ').unwrap_or(after);
    }
    fields
}

proptest! {
    #[test]
    fn what_was_said_is_read_and_nothing_else(name in ".{0,40}") {
        let line = line(Some(&name));
        let text = written(&line, Format::Text);
        prop_assert!(text.bytes().all(|byte| matches!(byte, b' '..=b'~')));
        let fields = values(&text);
        prop_assert_eq!(fields.len(), 15);
        prop_assert!(fields.contains(&("server_name".to_owned(), name)));
    }
}

#[test]
fn one_of_so_many_is_every_so_many_by_all_workers() {
    let place = place(7);
    let sampled: usize = std::thread::scope(|scope| {
        let ask = || (0..700).filter(|_| place.samples()).count();
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(sampled, 400);
    assert!((0..10).all(|_| Place::new(None, place.bind, Transport::Udp, 0).samples()));
}

#[test]
fn a_file_is_added_to_and_opened_anew_when_it_was_moved() {
    let folder = tempfile::tempdir().unwrap();
    let (path, moved) = (folder.path().join("access.log"), folder.path().join("access.log.1"));
    fs::write(&path, "before\n").unwrap();
    let settings = AccessLog { to: Destination::File(path.clone()), format: Format::Text };
    let log = Log::start(&settings).unwrap();
    let (logger, counts) = (log.logger(), log.counts());
    let lines = |path: &PathBuf| fs::read_to_string(path).map_or(0, |text| text.lines().count());
    let until = |path: &PathBuf, count| {
        let begin = Instant::now();
        while lines(path) != count {
            assert!(begin.elapsed() < Duration::from_secs(10), "{}", lines(path));
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    logger.log(line(None));
    until(&path, 2);
    fs::rename(&path, &moved).unwrap();
    std::thread::sleep(Duration::from_millis(1100));
    logger.log(line(None));
    until(&path, 1);
    logger.log(line(None));
    drop(logger);
    log.leave();
    assert_eq!((lines(&path), lines(&moved)), (2, 2));
    assert_eq!((counts.written.load(Relaxed), counts.dropped.load(Relaxed)), (3, 0));
    let nowhere = Destination::File(folder.path().join("no/such/folder"));
    let error = Log::start(&AccessLog { to: nowhere, format: Format::Json }).unwrap_err();
    assert!(error.to_string().contains("access log ") && error.to_string().contains("no/such"));
}

/// A pipe that nobody reads: the queue fills, the rest is dropped and counted, and nobody waits.
#[test]
fn lines_that_do_not_fit_are_dropped_and_counted() {
    use std::io::Read;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
    assert!(made.success());
    let mut reader = fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let log = Log::start(&AccessLog { to: Destination::File(path), format: Format::Json }).unwrap();
    let (logger, counts) = (log.logger(), log.counts());
    let begin = Instant::now();
    const LINES: u64 = 3 * QUEUE as u64;
    for _ in 0..LINES {
        logger.log(line(None));
    }
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    let dropped = counts.dropped.load(Relaxed);
    assert!(dropped > QUEUE as u64, "{dropped}");
    drop(logger);
    let begin = Instant::now();
    log.leave();
    assert!(begin.elapsed() < PATIENCE * 5, "ends although nobody reads");
    // What was taken is written when somebody reads.
    let drain = std::thread::spawn(move || {
        let (mut read, mut buffer) = (0_u64, vec![0; 65536]);
        while read < LINES - dropped {
            let count = reader.read(&mut buffer).unwrap();
            read += buffer[..count].iter().filter(|byte| **byte == b'\n').count() as u64;
        }
        read
    });
    assert_eq!(drain.join().unwrap(), LINES - dropped);
    while counts.written.load(Relaxed) < LINES - dropped && begin.elapsed() < PATIENCE * 10 {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(counts.written.load(Relaxed), LINES - dropped);
}

/// Two engines: what the one that goes on says is written, and it is the last that waits.
#[test]
fn it_is_written_until_the_last_engine_has_left() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let settings = AccessLog { to: Destination::File(path.clone()), format: Format::Json };
    let log = Log::start(&settings).unwrap();
    let (other, logger) = (log.clone(), log.logger());
    let begin = Instant::now();
    log.leave();
    assert!(begin.elapsed() < PATIENCE / 2, "others log on");
    logger.log(line(None));
    drop(logger);
    other.leave();
    assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 1);
}

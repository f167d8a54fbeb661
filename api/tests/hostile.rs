//! Input that is meant to hurt: it is refused within bounded time and memory, and the good
//! document beside it is still read.
//!
//! Time is processor time of the reading thread, so that a busy machine fails nobody. Memory is
//! asserted by running the same cases in a child whose address space is limited.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

mod clock;

use clock::processor_seconds;
use vipgate_api::manifest::{
    File, Listing, MAX_FILE_SIZE, MAX_FILES, Mode, Snapshot, Update, read_directory,
};

/// Values of a harmless text, by which the speed of the machine is known.
const HARMLESS: usize = 100_000;
/// How many times as long as that text a case may take. The longest one that is read has five times as
/// many values, so a cost that grows faster than the text does not pass.
const TIMES: f64 = 8.0;
/// Address space of the child, in KiB.
const MEMORY_KIB: usize = 300_000;

const GOOD: &str = "apiVersion: v1\nkind: Namespace\nmetadata: {name: good}\n";

/// Name, text, and what the report has to say.
fn texts() -> Vec<(&'static str, String, &'static str)> {
    vec![
        ("alias bomb", laughs(), "aliases"),
        ("deep lists", "[".repeat(100_000), "nested deeper than 64"),
        ("deep mappings", "{a: ".repeat(100_000), "nested deeper than 64"),
        ("deep blocks", deep_blocks(2_000), "nested deeper than 64"),
        ("deep dashes", "- ".repeat(100_000), "nested deeper than 64"),
        ("long string", format!("a: \"{}\"\n", "x".repeat(5 << 20)), "the most is 1048576"),
        ("long block", format!("a: |\n  {}\n", "x".repeat(2 << 20)), "the most is 1048576"),
        ("many values", format!("a: [{}]\n", "1,".repeat(600_000)), "more than 500000 values"),
        ("many documents", "---\n- a\n".repeat(60_000), "more than 50000 documents"),
        ("many problems", "---\n- a\n".repeat(20_000), "19000 more problems are not shown"),
        ("long values", long_values(), "100 more problems are not shown"),
        ("many unknown fields", unknown_fields(200_000), "199900 more problems are not shown"),
    ]
}

fn laughs() -> String {
    let mut text = "a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n".to_owned();
    for level in 1..30 {
        let before = format!("*a{},", level - 1).repeat(9);
        text.push_str(&format!("a{level}: &a{level} [{before}]\n"));
    }
    text
}

fn deep_blocks(depth: usize) -> String {
    (0..depth).map(|level| format!("{}a:\n", " ".repeat(level))).collect()
}

/// A pool whose addresses are 199 texts of 40 KB.
fn long_values() -> String {
    let addresses = format!("\"{}\\n\",", "x".repeat(40_000)).repeat(199);
    format!(
        "apiVersion: vipgate.dev/v1alpha1\nkind: IPAddressPool\nmetadata: {{name: \"a\\nb\"}}\nspec: {{addresses: [{addresses}]}}\n"
    )
}

fn unknown_fields(count: usize) -> String {
    let fields: String = (0..count).map(|index| format!("  f{index}: x\n")).collect();
    format!(
        "apiVersion: vipgate.dev/v1alpha1\nkind: IPAddressPool\nmetadata: {{name: a}}\nspec:\n  addresses: [192.0.2.1]\n{fields}"
    )
}

fn update(files: Vec<(&str, Vec<u8>)>) -> Update {
    let file =
        |(path, content): (&str, Vec<u8>)| File { path: path.to_owned(), content: Ok(content) };
    let files = files.into_iter().map(file).collect();
    Snapshot::new(Mode::Standalone).update(Listing { files, ..Listing::default() })
}

fn report(update: &Update) -> String {
    update.problems.iter().map(|problem| format!("{problem}\n")).collect()
}

/// Processor seconds that one case may take at this moment: machines, and moments of one machine, differ
/// by more than a limit in seconds allows.
fn seconds() -> f64 {
    let measure = |_| {
        let text = format!("a: [{}]\n", "1,".repeat(HARMLESS));
        let started = processor_seconds();
        drop(update(vec![("harmless.yaml", text.into_bytes())]));
        processor_seconds() - started
    };
    TIMES * (0..3).map(measure).fold(0.0, f64::max)
}

/// Reads a case beside the good document, in so many times what is allowed; once more, and by a new
/// measure, when that took too long: what else runs on the machine's cores costs processor time, too. What
/// grows faster than the text does so each time.
fn read(name: &str, text: &str, times: f64) -> Update {
    static SECONDS: OnceLock<f64> = OnceLock::new();
    let mut limit = times * SECONDS.get_or_init(seconds);
    let mut took = Vec::new();
    for _ in 0..3 {
        let files = vec![("good.yaml", GOOD.into()), ("hostile.yaml", text.into())];
        let started = processor_seconds();
        let update = update(files);
        let seconds_taken = processor_seconds() - started;
        if seconds_taken < limit {
            return update;
        }
        took.push(format!("{seconds_taken} s of {limit}"));
        limit = times * seconds();
    }
    panic!("{name} took {}", took.join(", then "));
}

fn read_all_texts() {
    for (name, text, want) in texts() {
        let update = read(name, &text, 1.0);
        let report = report(&update);
        assert!(report.contains(want), "{name}: {}", &report[..report.len().min(500)]);
        assert!(report.len() < 1 << 20, "{name}: a report of {} bytes", report.len());
        assert!(
            !update.problems.iter().any(|p| p.to_string().contains(char::is_control)),
            "{name}"
        );
        let good = update
            .applied
            .iter()
            .any(|(object, _)| object.reference().to_string() == "Namespace good");
        assert!(good, "{name} took the good object with it");
    }
}

#[test]
fn hostile_text_is_refused_in_time() {
    read_all_texts();
}

#[test]
fn hostile_text_is_refused_within_memory() {
    let limited = format!("ulimit -v {MEMORY_KIB} && exec \"$@\"");
    let output = Command::new("sh")
        .args(["-c", &limited, "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "in_a_child_with_little_memory", "--ignored", "--test-threads=1"])
        // One heap, not one reserved per thread.
        .env("MALLOC_ARENA_MAX", "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("1 passed"), "the child ran nothing: {text}");
}

#[test]
#[ignore = "run by hostile_text_is_refused_within_memory"]
fn in_a_child_with_little_memory() {
    read_all_texts();
}

/// Patterns that make a careless scanner quadratic, a megabyte of each.
#[test]
fn repeated_tokens_are_read_in_time() {
    for token in [
        "\"",
        "'",
        "- ",
        "-",
        "? ",
        ": ",
        "[",
        "]",
        "{",
        "}",
        "[]",
        "{}",
        ",",
        "&a ",
        "*a ",
        "! ",
        "!a ",
        "| ",
        "|\n",
        "> ",
        "%",
        "%a\n",
        "#",
        "#\n",
        "---\n",
        "--- ",
        "...\n",
        "\n",
        " ",
        "\t",
        "\r",
        "a",
        "a ",
        "a: ",
        "a:\n",
        "a: |\n",
        "\\",
        "\"\\",
        "@",
        "\0",
        "\u{feff}",
        "\u{2028}",
        "é",
        "- -\n",
        "? a\n",
        "{a: b}\n",
        "a: b\n",
        "- a\n",
        "---\na\n",
        "\"a\": ",
        "<<: ",
        "~",
        "!!str ",
        "&a a: *a\n",
    ] {
        let text = token.repeat((1 << 20) / token.len());
        let update = read(&format!("{token:?}"), &text, 2.0);
        let applied = update.applied.iter().map(|(object, _)| object.reference().to_string());
        assert_eq!(applied.collect::<Vec<_>>(), ["Namespace good"], "{token:?}");
    }
}

#[test]
fn a_file_that_is_too_large_is_refused_before_it_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let text = format!("a: \"{}\"\n", "x".repeat(10_000_000));
    fs::write(dir.path().join("big.yaml"), text).unwrap();
    let listing = read_directory(dir.path());
    let problem = listing.files[0].content.as_ref().expect_err("refused");
    assert!(
        problem.to_string().ends_with("big.yaml: larger than 8388608 bytes: split it"),
        "{problem}"
    );
    let text = "x".repeat(MAX_FILE_SIZE + 1);
    let update = update(vec![("big.yaml", text.into_bytes())]);
    assert!(report(&update).contains("8388609 bytes: the most is 8388608"));
}

#[test]
fn text_that_is_not_utf8_names_the_byte() {
    let mut content = b"apiVersion: v1\nkind: Namespace\nmetadata:\n  name: ".to_vec();
    content.extend(b"caf\xe9\n");
    let report = report(&update(vec![("latin1.yaml", content)]));
    let want = "latin1.yaml:4: not UTF-8 text (byte 52 of the file): save the file as UTF-8\n";
    assert_eq!(report, want);
    let utf16: Vec<u8> = "\u{feff}kind: x".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let report = self::report(&update(vec![("utf16.yaml", utf16)]));
    assert!(report.starts_with("utf16.yaml:1: not UTF-8 text (byte 0"), "{report}");
}

#[test]
fn a_directory_full_of_traps_is_read_without_blocking() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::write(at("good.yaml"), GOOD).unwrap();
    fs::create_dir(at("sub")).unwrap();
    symlink("..", at("sub/up")).unwrap();
    symlink(".", at("self")).unwrap();
    symlink("loop-b.yaml", at("loop-a.yaml")).unwrap();
    symlink("loop-a.yaml", at("loop-b.yaml")).unwrap();
    symlink("nowhere", at("dangling.yaml")).unwrap();
    symlink("/dev/zero", at("zero.yaml")).unwrap();
    symlink("/proc/kmsg", at("kmsg.txt")).unwrap();
    make_fifo(&at("pipe.yaml"));
    let _socket = std::os::unix::net::UnixListener::bind(at("socket.yaml")).unwrap();

    let listing = read_directory(dir.path());
    let shown = dir.path().to_string_lossy().into_owned() + "/";
    let errors = listing.files.iter().filter_map(|file| file.content.as_ref().err());
    let mut said: Vec<String> = errors
        .chain(&listing.problems)
        .map(|problem| problem.to_string().replace(&shown, ""))
        .collect();
    said.sort();
    assert_eq!(
        said,
        [
            "dangling.yaml: a link that leads nowhere: remove it, or create its target",
            "loop-a.yaml: a loop of links: remove this link",
            "loop-b.yaml: a loop of links: remove this link",
            "pipe.yaml: a named pipe, not a file: remove it, or give it another ending than .yaml",
            "self: leads to a directory that is read already (a loop?): remove this link",
            "socket.yaml: a socket, not a file: remove it, or give it another ending than .yaml",
            "sub/up: leads to a directory that is read already (a loop?): remove this link",
            "zero.yaml: a device, not a file: remove it, or give it another ending than .yaml",
        ]
    );
    assert_eq!(good_files(&listing), [shown + "good.yaml"]);
}

#[test]
fn links_that_fan_out_are_read_once() {
    // 2^40 paths lead to the last directory.
    let dir = tempfile::tempdir().unwrap();
    for level in 0..40 {
        let here = dir.path().join(format!("d{level}"));
        fs::create_dir(&here).unwrap();
        for name in ["a", "b"] {
            symlink(format!("../d{}", level + 1), here.join(name)).unwrap();
        }
    }
    let last = dir.path().join("d40");
    fs::create_dir(&last).unwrap();
    fs::write(last.join("good.yaml"), GOOD).unwrap();
    let listing = read_directory(dir.path());
    assert_eq!(good_files(&listing).len(), 1);
}

#[test]
fn a_mounted_config_map_is_read_once() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("..2026_11_21");
    fs::create_dir(&data).unwrap();
    fs::write(data.join("web.yaml"), GOOD).unwrap();
    symlink("..2026_11_21", dir.path().join("..data")).unwrap();
    symlink("..data/web.yaml", dir.path().join("web.yaml")).unwrap();
    fs::create_dir(dir.path().join(".git")).unwrap();
    fs::write(dir.path().join(".git/x.yaml"), GOOD).unwrap();
    fs::write(dir.path().join(".web.yaml"), GOOD).unwrap();
    fs::write(dir.path().join("web.json"), GOOD).unwrap();
    let listing = read_directory(dir.path());
    assert!(listing.problems.is_empty(), "{:?}", listing.problems);
    assert_eq!(good_files(&listing), [format!("{}/web.yaml", dir.path().display())]);
}

#[test]
fn files_are_sorted_and_a_file_can_be_named_itself() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("b")).unwrap();
    for name in ["c.yml", "b/z.yaml", "a.yaml", "b-a.yaml"] {
        fs::write(dir.path().join(name), GOOD).unwrap();
    }
    let shown = dir.path().to_string_lossy().into_owned() + "/";
    let names: Vec<String> = good_files(&read_directory(dir.path()))
        .iter()
        .map(|path| path.replace(&shown, ""))
        .collect();
    assert_eq!(names, ["a.yaml", "b-a.yaml", "b/z.yaml", "c.yml"]);
    let one = read_directory(&dir.path().join("a.yaml"));
    assert_eq!(good_files(&one), [shown + "a.yaml"]);
    let none = read_directory(&dir.path().join("missing"));
    assert_eq!(none.unread, [format!("{}/missing", dir.path().display())]);
    assert!(none.problems[0].to_string().contains("missing: cannot be read: No such file"));
}

#[test]
fn too_many_files_are_not_taken_for_deleted_ones() {
    let dir = tempfile::tempdir().unwrap();
    for index in 0..=MAX_FILES {
        fs::write(dir.path().join(format!("{index:06}.yaml")), "").unwrap();
    }
    let listing = read_directory(dir.path());
    assert_eq!(listing.files.len(), MAX_FILES);
    assert_eq!(listing.unread, [dir.path().to_string_lossy()]);
    assert!(listing.problems[0].to_string().contains("010000.yaml: more than 10000 manifests"));
}

fn good_files(listing: &Listing) -> Vec<String> {
    let good = listing.files.iter().filter(|file| file.content.is_ok());
    good.map(|file| file.path.clone()).collect()
}

fn make_fifo(path: &Path) {
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
}

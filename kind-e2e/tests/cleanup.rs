//! What a test leaves behind: nothing, however it ends. The tests that have to end badly are run
//! as children of this program.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use vipgate_lab::{Lab, Program, eventually};

const LONG: Duration = Duration::from_secs(10);
/// Printed by the children, for their parents.
const NAMESPACE: &str = "namespace=";
const PID: &str = "pid=";

/// This program, to run one of its ignored tests.
fn child(test: &str) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--exact", test, "--ignored", "--nocapture", "--test-threads=1"]);
    Ok(command)
}

fn value<'a>(printed: &'a str, key: &str) -> Result<&'a str> {
    let after = printed.split(key).nth(1).with_context(|| format!("no {key} in {printed}"))?;
    after.split_whitespace().next().with_context(|| format!("nothing after {key}"))
}

fn both(output: &Output) -> String {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8_lossy(&text).into_owned()
}

fn namespace_exists(name: &str) -> bool {
    Path::new("/run/netns").join(name).exists()
}

fn process_exists(pid: &str) -> bool {
    Path::new("/proc").join(pid).exists()
}

/// A node with a process on it, and their names on standard output.
fn node_with_process() -> Result<(vipgate_lab::Node, vipgate_lab::Process)> {
    let node = Lab::new("child")?.node("n1")?;
    let process = node.spawn(Program::new("sh").args(["-c", "echo last words; sleep 1000"]))?;
    process.wait_for_line("last words", LONG)?;
    println!("{NAMESPACE}{} {PID}{} ", node.namespace(), process.pid());
    Ok((node, process))
}

#[test]
#[ignore = "started by a_panic_leaves_nothing_and_shows_the_output"]
fn child_panics() {
    let _running = node_with_process().expect("set up");
    panic!("on purpose");
}

#[test]
fn a_panic_leaves_nothing_and_shows_the_output() -> Result<()> {
    let output = child("child_panics")?.output()?;
    let printed = both(&output);
    ensure!(!output.status.success() && printed.contains("on purpose"), "{printed}");
    assert!(printed.contains("stdout| last words"), "{printed}");
    assert!(!namespace_exists(value(&printed, NAMESPACE)?), "{printed}");
    assert!(!process_exists(value(&printed, PID)?), "{printed}");
    Ok(())
}

#[test]
#[ignore = "started by what_a_killed_test_left_is_swept_by_the_next"]
fn child_waits_to_be_killed() {
    let _running = node_with_process().expect("set up");
    std::thread::sleep(LONG * 6);
}

#[test]
#[ignore = "started by what_a_killed_test_left_is_swept_by_the_next"]
fn child_makes_a_lab() {
    Lab::new("sweeper").expect("set up");
}

#[test]
fn what_a_killed_test_left_is_swept_by_the_next() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("output");
    let mut killed = child("child_waits_to_be_killed")?
        .stdout(std::fs::File::create(&path)?)
        .stderr(Stdio::null())
        .spawn()?;
    let printed = eventually(LONG, || {
        let printed = std::fs::read_to_string(&path)?;
        value(&printed, PID)?;
        Ok(printed)
    });
    killed.kill()?;
    killed.wait()?;
    let printed = printed?;
    let (namespace, pid) = (value(&printed, NAMESPACE)?, value(&printed, PID)?);
    // The kernel kills what the test had started; the namespace is left, and others' are alive.
    eventually(LONG, || {
        ensure!(!process_exists(pid), "process {pid} lives");
        Ok(())
    })?;
    let in_use = Lab::new("in-use")?.node("n1")?;
    let output = child("child_makes_a_lab")?.output()?;
    ensure!(output.status.success(), "{}", both(&output));
    assert!(!namespace_exists(namespace), "{namespace} was not swept");
    assert!(namespace_exists(in_use.namespace()), "a namespace in use was swept");
    Ok(())
}

#[test]
fn a_dropped_lab_leaves_no_namespace() -> Result<()> {
    let lab = Lab::new("drop")?;
    let lan = lab.bridge("lan")?;
    let node = lab.node("n1")?;
    let link = node.join(&lan, "10.77.0.1/24")?;
    let names = [lan.namespace().to_owned(), node.namespace().to_owned()];
    assert!(names.iter().all(|name| namespace_exists(name)));
    drop((lab, lan, node, link));
    assert!(!names.iter().any(|name| namespace_exists(name)), "{names:?}");
    Ok(())
}

#[test]
fn a_name_that_would_not_fit_is_refused() -> Result<()> {
    let lab = Lab::new("names")?;
    for name in ["", "far-too-long-a-name", "a/b", "a b"] {
        assert!(lab.node(name).is_err(), "{name:?}");
    }
    lab.node("twice").and_then(|_first| {
        ensure!(lab.node("twice").is_err(), "one name, two nodes");
        Ok(())
    })
}

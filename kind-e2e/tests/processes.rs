//! Programs on nodes: output, ends, and that nothing outlives its handle.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use vipgate_lab::{Lab, Node, Program, eventually};

const LONG: Duration = Duration::from_secs(10);

fn node(lab: &str) -> Result<Node> {
    Lab::new(lab)?.node("n1")
}

fn shell(script: &str) -> Program {
    Program::new("sh").args(["-c", script])
}

fn gone(pid: &str) -> Result<()> {
    eventually(LONG, || {
        ensure!(!Path::new("/proc").join(pid).exists(), "process {pid} lives");
        Ok(())
    })
}

#[test]
fn a_program_runs_in_its_nodes_namespace() -> Result<()> {
    let node = node("inside")?;
    let inside = node.run("readlink", ["/proc/self/ns/net"])?;
    let outside = std::fs::read_link("/proc/self/ns/net")?;
    assert_ne!(Path::new(inside.trim()), outside);
    let entered = node.enter(|| std::fs::read_link("/proc/thread-self/ns/net"))?;
    assert_eq!(Path::new(inside.trim()), entered);
    // The thread that starts processes has gone home.
    assert_eq!(std::fs::read_link("/proc/thread-self/ns/net")?, outside);
    Ok(())
}

#[test]
fn environment_and_directory_are_passed_on() -> Result<()> {
    let program = shell("echo $COLOUR; pwd").env("COLOUR", "green").dir("/usr");
    assert_eq!(node("env")?.run_within(LONG, program)?, "green\n/usr\n");
    Ok(())
}

#[test]
fn a_failed_command_says_what_it_printed() -> Result<()> {
    let error = node("fail")?.run("sh", ["-c", "echo because >&2; exit 3"]).unwrap_err();
    let text = format!("{error:?}");
    assert!(text.contains("because") && text.contains("exit status: 3"), "{text}");
    Ok(())
}

#[test]
fn a_missing_program_is_named() -> Result<()> {
    let error = node("missing")?.run("no-such-program", [""; 0]).unwrap_err();
    let text = format!("{error:?}");
    assert!(text.contains("no-such-program is not installed"), "{text}");
    Ok(())
}

#[test]
fn a_command_that_does_not_end_is_ended() -> Result<()> {
    let node = node("hang")?;
    let start = Instant::now();
    let hang = shell("echo pid $$; sleep 1000");
    let text = format!("{:?}", node.run_within(Duration::from_millis(200), hang).unwrap_err());
    assert!(text.contains("sh still runs after"), "{text}");
    assert!(start.elapsed() < LONG);
    let pid = text.split("pid ").nth(1).and_then(|rest| rest.lines().next()).expect("a pid");
    gone(pid)
}

#[test]
fn lines_are_waited_for_on_both_streams_and_after_a_mark() -> Result<()> {
    let script = "echo ready >&2; read x < $FIFO; echo ready again";
    let directory = tempfile::tempdir()?;
    let fifo = directory.path().join("fifo");
    let node = node("lines")?;
    node.run("mkfifo", [&fifo])?;
    let mut process = node.spawn(shell(script).env("FIFO", &fifo))?;
    assert_eq!(process.wait_for_line("ready", LONG)?, "ready");
    let mark = process.mark();
    let early = process.wait_for_line_after(&mark, "ready", Duration::from_millis(50));
    assert!(early.unwrap_err().to_string().contains("did not print"));
    std::fs::write(&fifo, "go\n")?;
    assert_eq!(process.wait_for_line_after(&mark, "ready", LONG)?, "ready again");
    assert!(process.wait(LONG)?.success());
    Ok(())
}

#[test]
fn waiting_for_a_line_ends_with_the_process() -> Result<()> {
    let start = Instant::now();
    let process = node("early")?.spawn(shell("echo so sorry"))?;
    let text = process.wait_for_line("ready", LONG * 6).unwrap_err().to_string();
    assert!(
        text.contains("ended without printing \"ready\"") && text.contains("so sorry"),
        "{text}"
    );
    assert!(start.elapsed() < LONG);
    Ok(())
}

#[test]
fn terminate_returns_how_the_program_ended() -> Result<()> {
    let node = node("term")?;
    let mut polite =
        node.spawn(shell("trap 'exit 7' TERM; echo up; while :; do sleep 0.01; done"))?;
    polite.wait_for_line("up", LONG)?;
    assert_eq!(polite.terminate(LONG)?.code(), Some(7));
    let mut stubborn = node.spawn(shell("trap '' TERM; echo up; while :; do sleep 0.01; done"))?;
    stubborn.wait_for_line("up", LONG)?;
    assert!(stubborn.terminate(Duration::from_millis(100)).is_err());
    assert!(!stubborn.has_ended());
    Ok(())
}

#[test]
fn the_group_dies_with_the_handle() -> Result<()> {
    let node = node("group")?;
    let process = node.spawn(shell("sleep 1000 & echo child $!; wait"))?;
    let line = process.wait_for_line("child", LONG)?;
    let child = line.trim_start_matches("child ").to_owned();
    assert!(Path::new("/proc").join(&child).exists());
    drop(process);
    gone(&child)
}

#[test]
fn a_daemon_that_left_its_group_dies_with_the_node() -> Result<()> {
    let node = node("daemon")?;
    let script =
        "setsid sh -c 'echo $$; exec sleep 1000' >$OUT & until [ -s $OUT ]; do sleep 0.01; done";
    let directory = tempfile::tempdir()?;
    let out = directory.path().join("pid");
    node.run_within(LONG, shell(script).env("OUT", &out))?;
    let pid = eventually(LONG, || {
        let pid = std::fs::read_to_string(&out)?;
        ensure!(pid.ends_with('\n'), "no pid yet");
        Ok(pid.trim().to_owned())
    })?;
    assert!(Path::new("/proc").join(&pid).exists(), "the daemon did not survive its parent");
    drop(node);
    gone(&pid)
}

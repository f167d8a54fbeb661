//! Taking namespaces away, with the processes in them: those of this run when it is done with
//! them, and those of runs that were killed before they could.

use std::fs::{DirEntry, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::sync::Once;

use rustix::process::{Pid, Signal};

use crate::namespace::DIRECTORY;

const PREFIX: &str = "vglab";

/// What the names of all namespaces of this process begin with: its pid and, because pids come
/// again, the time it started.
pub(crate) fn prefix() -> String {
    let pid = std::process::id();
    let start = start_time(pid).unwrap_or_default();
    format!("{PREFIX}-{pid}-{start}")
}

/// Removes, once per process, the namespaces whose owner is gone.
pub(crate) fn sweep() {
    static SWEPT: Once = Once::new();
    SWEPT.call_once(|| {
        let entries = std::fs::read_dir(DIRECTORY).into_iter().flatten().flatten();
        for name in entries.filter_map(|entry| entry.file_name().into_string().ok()) {
            if owner(&name).is_some_and(|(pid, start)| start_time(pid) != Some(start)) {
                remove(&name);
            }
        }
    });
}

/// Kills what runs in the namespace and removes it. Failures are printed: it is called while
/// dropping, and possibly while panicking.
pub(crate) fn remove(name: &str) {
    kill_processes_in(name);
    match Command::new("ip").args(["netns", "delete", name]).output() {
        Ok(output) if output.status.success() => {}
        Ok(output) => {
            eprintln!("lab: ip netns delete {name}: {}", String::from_utf8_lossy(&output.stderr));
        }
        Err(error) => eprintln!("lab: ip netns delete {name}: {error}"),
    }
}

/// Daemons that left their process group are found by the namespace they are in.
fn kill_processes_in(name: &str) {
    let Ok(target) = std::fs::metadata(Path::new(DIRECTORY).join(name)) else { return };
    let same = |other: &Metadata| (other.dev(), other.ino()) == (target.dev(), target.ino());
    // A name whose mount is gone shows some other file; never take our own namespace for it.
    if std::fs::metadata("/proc/self/ns/net").is_ok_and(|own| same(&own)) {
        return;
    }
    let inside = |entry: &DirEntry| {
        std::fs::metadata(entry.path().join("ns/net")).is_ok_and(|other| same(&other))
    };
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid = entry.file_name().to_str().and_then(|text| text.parse().ok());
        if let Some(pid) = pid.and_then(Pid::from_raw)
            && inside(&entry)
        {
            // It may have ended since it was listed, which is what is wanted.
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        }
    }
}

/// The pid and start time in the name of a namespace of the lab.
fn owner(name: &str) -> Option<(u32, u64)> {
    let mut parts = name.split('-');
    if parts.next()? != PREFIX {
        return None;
    }
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// When the process started, in clock ticks since boot (proc_pid_stat(5), field 22).
fn start_time(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the name in parentheses and may hold blanks and parentheses.
    let after_name = stat.rsplit_once(')')?.1;
    after_name.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests;

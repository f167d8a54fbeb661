//! What a process has used so far.

use std::fs;

use anyhow::{Context, Result};

/// CPU time of a process with all its threads, and of its children's.
///
/// # Errors
/// When it is gone.
pub(crate) fn seconds(pids: &[u32]) -> Result<f64> {
    seconds_of(pids, |_| true)
}

/// The same of the threads with these names alone.
///
/// # Errors
/// When it is gone.
pub(crate) fn seconds_of(pids: &[u32], is_meant: impl Fn(&str) -> bool) -> Result<f64> {
    let mut nanoseconds = 0;
    for pid in pids {
        for task in fs::read_dir(format!("/proc/{pid}/task")).context("the process is gone")? {
            // A thread may end between the two.
            let task = task?.path();
            let name = fs::read_to_string(task.join("comm")).unwrap_or_default();
            if !is_meant(name.trim()) {
                continue;
            }
            let text = fs::read_to_string(task.join("schedstat")).unwrap_or_default();
            let first = text.split_whitespace().next();
            nanoseconds += first.and_then(|word| word.parse::<u64>().ok()).unwrap_or(0);
        }
    }
    Ok(nanoseconds as f64 / 1e9)
}

/// Memory in RAM that nobody shares, in KiB (`Pss` would count libraries by who else runs).
///
/// # Errors
/// When it is gone.
pub(crate) fn resident(pids: &[u32]) -> Result<u64> {
    let mut sum = 0;
    for pid in pids {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|rest| rest.split_whitespace().next());
        sum += number.and_then(|word| word.parse::<u64>().ok()).context("no VmRSS")?;
    }
    Ok(sum)
}

/// A process and its descendants.
pub(crate) fn family(pid: u32) -> Vec<u32> {
    let mut all = vec![pid];
    let mut at = 0;
    while let Some(parent) = all.get(at).copied() {
        let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"));
        let children = children.unwrap_or_default();
        all.extend(children.split_whitespace().filter_map(|word| word.parse::<u32>().ok()));
        at += 1;
    }
    all
}

//! What a process takes, as `/proc` tells.

use std::fs;
use std::time::Duration;

/// Ticks of `/proc/PID/stat` in a second; every Linux has a hundred.
const TICKS: f64 = 100.0;

/// Of one process, so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct Usage {
    /// Bytes in memory now.
    pub(super) memory: u64,
    /// Of these, bytes that are no part of a file.
    pub(super) anonymous: u64,
    /// The most that it ever had.
    pub(super) peak: u64,
    pub(super) cpu: Duration,
}

impl Usage {
    pub(super) fn of(pid: u32) -> Self {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let kilobytes = |field: &str| {
            let line = status.lines().find(|line| line.starts_with(field)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
        };
        Self {
            memory: kilobytes("VmRSS:"),
            anonymous: kilobytes("RssAnon:"),
            peak: kilobytes("VmHWM:"),
            cpu: cpu(pid),
        }
    }
}

/// CPU time of all its threads.
pub(super) fn cpu(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // The name may have blanks; what follows it does not.
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let ticks =
        |place: usize| fields.split_whitespace().nth(place).unwrap().parse::<f64>().unwrap();
    Duration::from_secs_f64((ticks(11) + ticks(12)) / TICKS)
}

//! Time that a busy machine does not stretch.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;

/// Processor time of this thread (`proc(5)`, fields 14 and 15 of `stat`, in hundredths).
pub(crate) fn processor_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/thread-self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: u32 = fields[11..=12].iter().map(|ticks| ticks.parse::<u32>().unwrap()).sum();
    f64::from(ticks) / 100.0
}

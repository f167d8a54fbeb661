//! Tests in a process of their own: what they measure belongs to the process as a whole.

use std::process::Command;

/// Runs one ignored test of this binary alone in a process, and passes on what it printed.
#[track_caller]
pub(crate) fn run(test: &str) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", "--test-threads=1", test])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let ran = text.contains("1 passed");
    assert!(
        output.status.success() && ran,
        "{test}: {text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    print!("{text}");
}

/// Files this process has open.
pub(crate) fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count() - 1
}

/// Sets the limit on open files of this process.
pub(crate) fn limit_files(files: u64) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: Some(files), maximum }).unwrap();
}

/// CPU time of this process's workers, and how often they went to sleep by themselves.
pub(crate) fn workers() -> (std::time::Duration, u64) {
    let mut cpu = 0;
    let mut sleeps = 0;
    for task in std::fs::read_dir("/proc/self/task").unwrap().flatten() {
        let read = |file: &str| std::fs::read_to_string(task.path().join(file)).unwrap_or_default();
        if !read("comm").starts_with("proxy-") {
            continue;
        }
        let schedstat = read("schedstat");
        cpu += schedstat.split(' ').next().and_then(|ns| ns.parse::<u64>().ok()).unwrap_or(0);
        sleeps += read("status")
            .lines()
            .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))
            .and_then(|count| count.trim().parse::<u64>().ok())
            .unwrap_or(0);
    }
    (std::time::Duration::from_nanos(cpu), sleeps)
}

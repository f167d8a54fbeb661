//! Tests in a process of their own: what they measure belongs to the process as a whole.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::rig::eventually;

/// Runs one ignored test of this binary alone in a process, and passes on what it printed.
#[track_caller]
pub(crate) fn run(test: &str) {
    run_with(test, &[]);
}

/// The same with environment variables.
#[track_caller]
pub(crate) fn run_with(test: &str, variables: &[(&str, &str)]) {
    let output = Command::new(std::env::current_exe().unwrap())
        .envs(variables.iter().copied())
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

/// What the kernel counts about this process's workers. Opens its files once, so that it can be
/// asked when there is none left.
pub(crate) struct Workers {
    schedstat: Vec<File>,
    status: Vec<File>,
}

impl Workers {
    pub(crate) fn find() -> Self {
        // A thread has its name soon after it was started.
        let mut tasks = Vec::new();
        eventually("workers have their names", || {
            let all = std::fs::read_dir("/proc/self/task").unwrap();
            let all = all.map(|task| task.unwrap().path());
            let is_worker = |task: &PathBuf| {
                // Any other thread may have ended since it was listed.
                let name = std::fs::read_to_string(task.join("comm"));
                name.is_ok_and(|name| name.starts_with("proxy-"))
            };
            tasks = all.filter(is_worker).collect();
            !tasks.is_empty()
        });
        let open = |name| tasks.iter().map(|task| File::open(task.join(name)).unwrap()).collect();
        Self { schedstat: open("schedstat"), status: open("status") }
    }

    /// CPU time used.
    pub(crate) fn cpu(&mut self) -> Duration {
        let time = |text: String| text.split(' ').next().unwrap().parse::<u64>().unwrap();
        Duration::from_nanos(self.schedstat.iter_mut().map(|file| time(again(file))).sum())
    }

    /// How often they went to sleep by themselves.
    pub(crate) fn sleeps(&mut self) -> u64 {
        let sleeps = |text: String| {
            let mut lines = text.lines();
            let count = lines.find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
            count.unwrap().trim().parse::<u64>().unwrap()
        };
        self.status.iter_mut().map(|file| sleeps(again(file))).sum()
    }
}

/// Reads a file of /proc anew.
fn again(file: &mut File) -> String {
    let mut text = String::new();
    file.seek(SeekFrom::Start(0)).unwrap();
    file.read_to_string(&mut text).unwrap();
    text
}

/// Anonymous memory of this process, in bytes.
pub(crate) fn resident_anonymous() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let kib = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    kib.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

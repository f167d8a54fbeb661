//! Memory that the start took, and nothing takes any more, goes back to the system: what reading and planning
//! everything at once left free in the heap, and the pages of the program that only the start runs.
//!
//! The kernel maps 64 KiB of a program around each place that is run, and keeps what is mapped: of 100 listeners
//! at rest that is three quarters of the memory. Pages that are run again are mapped again, from the page
//! cache; they are nobody's but the file's.
//!
//! (A debugger's breakpoints in the program are such pages, and go too.)

// Two calls of the C library that have no safe form.
#![allow(unsafe_code)]

use std::fs;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// When it is done, from the start on: the first is for a small configuration, the last for the largest.
const MOMENTS: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(60)];

/// Gives back what the start leaves over.
pub(crate) fn give_back_after_start(tracker: &TaskTracker, stopped: CancellationToken) {
    tracker.spawn(async move {
        let start = tokio::time::Instant::now();
        for moment in MOMENTS {
            tokio::select! {
                () = tokio::time::sleep_until(start + moment) => {}
                () = stopped.cancelled() => return,
            }
            // It walks through the whole heap.
            if tokio::task::spawn_blocking(give_back).await.is_err() {
                return;
            }
        }
    });
}

fn give_back() {
    trim_heap();
    let Ok(program) = fs::read_link("/proc/self/exe") else { return };
    let Ok(maps) = fs::read_to_string("/proc/self/maps") else { return };
    for range in maps.lines().filter_map(|line| code(line, &program)) {
        // SAFETY: the range is a mapping of this process that is private, never written to and backed by its
        // file: the kernel reads each page from there when it is next run. The mapping itself stays.
        unsafe {
            libc::madvise(range.start as *mut libc::c_void, range.len(), libc::MADV_DONTNEED);
        }
    }
}

#[cfg(target_env = "gnu")]
fn trim_heap() {
    // SAFETY: it takes the heap's own locks and gives back only pages in which nothing is allocated.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Other C libraries give back by themselves.
#[cfg(not(target_env = "gnu"))]
fn trim_heap() {}

/// Where a line of `/proc/PID/maps` says that code of the program is, which cannot be written to.
fn code(line: &str, program: &Path) -> Option<Range<usize>> {
    let mut fields = line.splitn(6, ' ').map(str::trim);
    let (range, permissions) = (fields.next()?, fields.next()?);
    let file = fields.nth(3)?;
    if permissions != "r-xp" || Path::new(file) != program {
        return None;
    }
    let (start, end) = range.split_once('-')?;
    let number = |text| usize::from_str_radix(text, 16).ok();
    Some(number(start)?..number(end)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_of_the_program_is_let_go() {
        let program = Path::new("/usr/bin/vipgate");
        let code = |line: &str| code(line, program);
        let line = "55ad0-55adf r-xp 00001000 fe:00 123                        /usr/bin/vipgate";
        assert_eq!(code(line), Some(0x55ad0..0x55adf));
        assert_eq!(code(&line.replace("r-xp", "r--p")), None, "relocated data is not in the file");
        assert_eq!(code(&line.replace("r-xp", "rwxp")), None);
        assert_eq!(code(&line.replace("vipgate", "other")), None);
        assert_eq!(code("7f00-7f01 r-xp 00000000 00:00 0                          [vdso]"), None);
        assert_eq!(code("7f00-7f01 rw-p 00000000 00:00 0 "), None);
        assert_eq!(code(""), None);
    }

    /// What a process maps of its own code before and after.
    #[test]
    fn code_that_is_not_run_is_not_in_memory_and_the_rest_goes_on() {
        let resident = || {
            let status = fs::read_to_string("/proc/self/status").unwrap();
            let line = status.lines().find(|line| line.starts_with("RssFile:")).unwrap();
            line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
        };
        // Code that is run before and after.
        let work = || {
            let mut all: Vec<String> = (0..1000).map(|n| format!("{:x}", n * 7919)).collect();
            all.sort();
            all.concat().len()
        };
        let expected = work();
        let before = resident();
        give_back();
        let after = resident();
        assert!(after < before, "{after} KiB of {before} KiB");
        assert_eq!(work(), expected);
    }
}

//! Memory that the start took, and nothing takes any more, goes back to the system: what reading and planning
//! everything at once left free in the heap.

// A call of the C library that has no safe form.
#![allow(unsafe_code)]

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
            if tokio::task::spawn_blocking(trim_heap).await.is_err() {
                return;
            }
        }
    });
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

//! Planning goes after forwarding.

/// How much later the kernel runs what plans, in the nice values of `setpriority(2)`.
const LATER: i32 = 5;

/// Has this thread run after the others where there are not enough processors: what it works out may come
/// milliseconds later, and a connection that waits for the forwarding is somebody who waits. Threads that are
/// started from here on are alike, so it is called when those that forward are there.
pub(crate) fn plan_after_forwarding() {
    // To ask for less is never refused.
    let asked = rustix::process::setpriority_process(Some(rustix::thread::gettid()), LATER);
    if let Err(error) = asked {
        tracing::debug!(%error, "planning has the priority of forwarding");
    }
}

//! A client that goes on opening connections while something is done.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::site::Site;

/// How many connections were answered with this greeting, and how many were not.
pub(crate) fn meanwhile(site: &Site, to: &str, greeting: &str, what: impl FnOnce()) -> (u32, u32) {
    let (ended, answered, failed) = (AtomicBool::new(false), AtomicU32::new(0), AtomicU32::new(0));
    let begin = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(Relaxed) {
                let counted = match site.greeting_within(to, Duration::from_secs(1)) {
                    Ok(said) if said == greeting => &answered,
                    other => {
                        println!("after {:?}: {other:?}", begin.elapsed());
                        &failed
                    }
                };
                counted.fetch_add(1, Relaxed);
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let end = End(&ended);
        what();
        drop(end);
    });
    (answered.load(Relaxed), failed.load(Relaxed))
}

/// Ends the client, though what is done panics: the scope waits for it.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

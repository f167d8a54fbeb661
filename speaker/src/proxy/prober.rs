//! Asks endpoints that were ejected whether they take connections again, on a thread of its own.
//!
//! A question is a connection that is closed as soon as it is made; what listens there may log it. The
//! pauses between them grow from a second to ten, so an endpoint that came back is used within that time,
//! unless there are hundreds: 32 are asked at once.
//! While none is ejected the thread sleeps. An endpoint that no route has any more is forgotten.

use std::os::fd::OwnedFd;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use std::{io, thread};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::endpoint::EndpointState;
use super::{connect, socket};

/// From the ejection to the first question, and between the first two.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Questions at once: a file each.
const AT_ONCE: usize = 32;
/// Endpoints that may be ejected before the prober has looked.
const NEWS: usize = 4096;
/// While questions are open: how long newly ejected ones wait to be seen.
const LOOK: Duration = Duration::from_millis(100);

/// Where it is said that an endpoint was ejected.
#[derive(Clone, Debug)]
pub(crate) struct Ejected(SyncSender<Weak<EndpointState>>);

impl Ejected {
    /// Has an endpoint asked from now on until it answers; `false` where too many were ejected at once.
    pub(super) fn tell(&self, endpoint: &Arc<EndpointState>) -> bool {
        self.0.try_send(Arc::downgrade(endpoint)).is_ok()
    }
}

/// Starts the thread; it ends with the last [`Ejected`]. A question may take `patience`.
///
/// # Errors
/// When the operating system has no thread to give.
pub(super) fn start(patience: Duration) -> io::Result<Ejected> {
    let (sender, ejected) = sync_channel(NEWS);
    let prober = Prober { patience, ejected, waiting: Vec::new(), asked: Vec::new() };
    thread::Builder::new()
        .name("proxy-prober".to_owned())
        .stack_size(128 * 1024)
        .spawn(|| prober.run())?;
    Ok(Ejected(sender))
}

struct Prober {
    patience: Duration,
    ejected: Receiver<Weak<EndpointState>>,
    waiting: Vec<Waiting>,
    asked: Vec<Asked>,
}

/// An endpoint whose time has not come.
struct Waiting {
    endpoint: Weak<EndpointState>,
    due: Instant,
    /// The next pause.
    pause: Duration,
}

/// A question that is open.
struct Asked {
    endpoint: Weak<EndpointState>,
    socket: OwnedFd,
    until: Instant,
    pause: Duration,
}

impl Prober {
    fn run(mut self) {
        while self.sleep() {
            self.hear();
            self.ask();
        }
    }

    /// Until there is something to do; `false` when nobody is left to do it for.
    fn sleep(&mut self) -> bool {
        let due = self.waiting.iter().map(|waiting| waiting.due).min();
        let left = |at: Instant| at.saturating_duration_since(Instant::now());
        if self.asked.is_empty() {
            let heard = match due {
                Some(due) => self.ejected.recv_timeout(left(due)),
                None => self.ejected.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match heard {
                Ok(endpoint) => self.wait(endpoint, FIRST_PAUSE),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return false,
            }
        } else {
            let ends = self.asked.iter().map(|asked| asked.until).min();
            // Those whose time has come wait for an answer to somebody else, when there are too many.
            let due = due.filter(|_| self.asked.len() < AT_ONCE);
            let at = ends.into_iter().chain(due).min().map_or(LOOK, left).min(LOOK);
            let ready = PollFlags::OUT | PollFlags::ERR | PollFlags::HUP;
            let mut sockets: Vec<_> =
                self.asked.iter().map(|asked| PollFd::new(&asked.socket, ready)).collect();
            let timeout = Timespec::try_from(at).expect("a tenth of a second is a valid time-out");
            // An interruption is an early look.
            let _ = poll(&mut sockets, Some(&timeout));
        }
        loop {
            match self.ejected.try_recv() {
                Ok(endpoint) => self.wait(endpoint, FIRST_PAUSE),
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    fn wait(&mut self, endpoint: Weak<EndpointState>, pause: Duration) {
        let due = Instant::now() + pause;
        self.waiting.push(Waiting { endpoint, due, pause: LONGEST_PAUSE.min(pause * 2) });
    }

    /// Ends the questions that are answered, and those that took too long.
    fn hear(&mut self) {
        let now = Instant::now();
        let mut open = Vec::new();
        for asked in std::mem::take(&mut self.asked) {
            match connect::outcome(&asked.socket) {
                None if now < asked.until => open.push(asked),
                Some(Ok(())) => {
                    socket::reset(asked.socket);
                    if let Some(endpoint) = asked.endpoint.upgrade() {
                        endpoint.answers();
                        if !endpoint.is_left() {
                            self.wait(asked.endpoint, FIRST_PAUSE);
                        }
                    }
                }
                None | Some(Err(_)) => self.wait(asked.endpoint, asked.pause),
            }
        }
        self.asked = open;
    }

    /// Asks those whose time has come and that are still ejected: a client may have got through.
    fn ask(&mut self) {
        let now = Instant::now();
        for waiting in std::mem::take(&mut self.waiting) {
            let Some(endpoint) = waiting.endpoint.upgrade() else { continue };
            if !endpoint.is_ejected() && endpoint.is_left() {
                continue;
            }
            if waiting.due > now || self.asked.len() >= AT_ONCE {
                self.waiting.push(waiting);
                continue;
            }
            let Waiting { endpoint: weak, pause, .. } = waiting;
            match connect::start(endpoint.address) {
                Ok(socket) => {
                    let until = now + self.patience;
                    self.asked.push(Asked { endpoint: weak, socket, until, pause });
                }
                Err(_) => self.wait(weak, pause),
            }
        }
    }
}

//! Asks endpoints whether they work, on a thread of its own: those that were ejected, until they take
//! connections again, and those that are to be checked, for as long as they are.
//!
//! To one that was ejected a question is a connection that is closed as soon as it is made; what listens
//! there may log it. The pauses between them grow from a second to ten, so an endpoint that came back is used
//! within that time, unless there are hundreds. What a check asks is in [`question`]; the first one comes at
//! random within its interval, so that checks that begin together do not come together.
//!
//! At most 64 questions are open at once, the others wait. While nothing is due the thread sleeps. An endpoint
//! that no route has any more is forgotten.

mod question;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::os::fd::OwnedFd;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use std::{io, thread};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

use super::balance::random::Random;
use super::check::CheckState;
use super::endpoint::EndpointState;
use question::Question;

/// From the ejection to the first question, and between the first two.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Questions at once: a file each.
const AT_ONCE: usize = 64;
/// What may be told before the prober has looked.
const NEWS: usize = 4096;

/// Where it is said who is to be asked; the thread ends with the last of these.
#[derive(Clone, Debug)]
pub(crate) struct Prober(Arc<Teller>);

#[derive(Debug)]
struct Teller {
    /// None when it is being dropped.
    news: Option<SyncSender<Task>>,
    waker: Arc<OwnedFd>,
}

impl Prober {
    /// Has an endpoint asked from now on until it answers; `false` where too many were ejected at once.
    pub(super) fn ejected(&self, endpoint: &Arc<EndpointState>) -> bool {
        let endpoint = Arc::downgrade(endpoint);
        let task = Task::Ejected { endpoint, pause: FIRST_PAUSE };
        let told = self.0.news.as_ref().is_some_and(|news| news.try_send(task).is_ok());
        self.0.wake();
        told
    }

    /// Has a check made for as long as anybody has it. Waits, a moment, where very many begin at once: not
    /// for those who forward.
    pub(super) fn check(&self, check: &Arc<CheckState>) {
        let Some(news) = &self.0.news else { return };
        if let Err(TrySendError::Full(task)) = news.try_send(Task::Check(Arc::downgrade(check))) {
            self.0.wake();
            // Fails only when the thread is gone.
            let _ = news.send(task);
        }
        self.0.wake();
    }
}

impl Teller {
    fn wake(&self) {
        // Fails only when the counter is about to overflow: then the thread is awake anyway.
        let _ = rustix::io::write(&*self.waker, &1_u64.to_ne_bytes());
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        // Before it wakes.
        self.news = None;
        self.wake();
    }
}

/// Starts the thread.
///
/// # Errors
/// When the operating system has no thread or file to give.
pub(crate) fn start() -> io::Result<Prober> {
    let (sender, news) = sync_channel(NEWS);
    let waker = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
    let asker = Asker {
        news,
        waker: Arc::clone(&waker),
        waiting: BinaryHeap::new(),
        waited: 0,
        open: Vec::new(),
        random: Random::new(),
    };
    thread::Builder::new()
        .name("proxy-prober".to_owned())
        .stack_size(256 * 1024)
        .spawn(|| asker.run())?;
    Ok(Prober(Arc::new(Teller { news: Some(sender), waker })))
}

/// The thread.
struct Asker {
    news: Receiver<Task>,
    waker: Arc<OwnedFd>,
    /// Those whose time has not come, or who have to wait for others: the earliest first, and of those of one
    /// moment who came first.
    waiting: BinaryHeap<Reverse<Waiting>>,
    /// Counts those.
    waited: u64,
    open: Vec<Open>,
    random: Random,
}

/// Whom to ask.
#[derive(Debug)]
enum Task {
    Ejected {
        endpoint: Weak<EndpointState>,
        /// Before the next question.
        pause: Duration,
    },
    Check(Weak<CheckState>),
}

struct Waiting {
    due: Instant,
    number: u64,
    task: Task,
}

/// A question that is open.
struct Open {
    task: Task,
    question: Question,
    until: Instant,
}

impl Asker {
    fn run(mut self) {
        while self.learn() {
            self.hear();
            self.ask();
            self.sleep();
        }
    }

    /// Takes the news; `false` when nobody is left to ask for.
    fn learn(&mut self) -> bool {
        loop {
            match self.news.try_recv() {
                Ok(task) => {
                    let Some(pause) = self.first_pause(&task) else { continue };
                    self.wait(task, pause);
                }
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    fn first_pause(&mut self, task: &Task) -> Option<Duration> {
        match task {
            Task::Ejected { .. } => Some(FIRST_PAUSE),
            Task::Check(check) => {
                let interval = check.upgrade()?.check.interval.as_millis();
                let most = usize::try_from(interval).unwrap_or(usize::MAX).max(1);
                Some(Duration::from_millis(self.random.below(most) as u64))
            }
        }
    }

    fn wait(&mut self, task: Task, pause: Duration) {
        self.waited += 1;
        let due = Instant::now() + pause;
        self.waiting.push(Reverse(Waiting { due, number: self.waited, task }));
    }

    /// Ends the questions that are answered, and those that took too long.
    fn hear(&mut self) {
        let now = Instant::now();
        for mut open in std::mem::take(&mut self.open) {
            match open.question.go_on() {
                None if now < open.until => self.open.push(open),
                None => self.answered(open.task, Err("no answer in time".to_owned())),
                Some(answer) => {
                    open.question.close(answer.is_ok());
                    self.answered(open.task, answer);
                }
            }
        }
    }

    fn answered(&mut self, task: Task, answer: Result<(), String>) {
        match task {
            Task::Ejected { endpoint, pause } => {
                let pause = if answer.is_ok() { FIRST_PAUSE } else { pause };
                let again = match answer {
                    Err(_) => true,
                    Ok(()) => endpoint.upgrade().is_some_and(|endpoint| {
                        endpoint.answers();
                        !endpoint.is_left()
                    }),
                };
                if again {
                    let longer = LONGEST_PAUSE.min(pause * 2);
                    self.wait(Task::Ejected { endpoint, pause: longer }, pause);
                }
            }
            Task::Check(check) => {
                let Some(state) = check.upgrade() else { return };
                state.answered(answer);
                let interval = state.check.interval;
                self.wait(Task::Check(check), interval);
            }
        }
    }

    /// Asks those whose time has come, while there is room.
    fn ask(&mut self) {
        let now = Instant::now();
        while self.open.len() < AT_ONCE
            && self.waiting.peek().is_some_and(|Reverse(first)| first.due <= now)
            && let Some(Reverse(Waiting { task, .. })) = self.waiting.pop()
        {
            let (question, patience) = match &task {
                Task::Ejected { endpoint, .. } => {
                    let Some(endpoint) = endpoint.upgrade() else { continue };
                    if !endpoint.is_wanted() {
                        continue;
                    }
                    (Question::whether_it_connects(endpoint.address), endpoint.patience())
                }
                Task::Check(check) => {
                    let Some(check) = check.upgrade() else { continue };
                    (Question::of(check.address(), &check.check), check.check.timeout)
                }
            };
            match question {
                Ok(question) => self.open.push(Open { task, question, until: now + patience }),
                Err(error) => match error.of_ours {
                    // It says nothing about whoever was to be asked.
                    true => self.wait(task, FIRST_PAUSE),
                    false => self.answered(task, Err(error.text)),
                },
            }
        }
    }

    /// Until there is something to do.
    fn sleep(&mut self) {
        let ends = self.open.iter().map(|open| open.until);
        // Those whose time has come wait for an answer to somebody else, when there are too many.
        let due = self.waiting.peek().map(|Reverse(first)| first.due);
        let at = ends.chain(due.filter(|_| self.open.len() < AT_ONCE)).min();
        let left = at.map(|at| at.saturating_duration_since(Instant::now()));
        // An hour, where that is much: to wake early costs nothing.
        let timeout = left.map(|left| left.min(Duration::from_secs(3600)));
        let timeout = timeout.map(|left| Timespec::try_from(left).expect("an hour is valid"));
        let mut files = Vec::with_capacity(1 + self.open.len());
        files.push(PollFd::new(&*self.waker, PollFlags::IN));
        files.extend(self.open.iter().map(|open| open.question.poll()));
        // An interruption is an early look.
        let _ = poll(&mut files, timeout.as_ref());
        // Fails when nobody woke it.
        let _ = rustix::io::read(&*self.waker, &mut [0; 8]);
    }
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Waiting {}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.due, self.number).cmp(&(other.due, other.number))
    }
}

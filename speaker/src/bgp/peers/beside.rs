//! The BFD session beside a BGP session: it comes and goes, and moves when the router does, and what
//! watches it need not know.

use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use super::roll::SharedBfd;
use crate::bfd::fsm::{Config, Echoing};
use crate::bfd::io::{Bfd, BfdError, Session, Status, Target};
use crate::bfd::wire::{Diagnostic, State};

/// How long after a failure to begin.
const RETRY: Duration = Duration::from_secs(5);

/// A session to be held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Want {
    pub(super) target: Target,
    pub(super) config: Config,
    /// The link for echo packets.
    pub(super) echo_link: Option<u32>,
}

/// What there is to know of one. AdminDown while none is wanted.
#[derive(Debug)]
pub(super) struct Beside {
    wanted: watch::Sender<Option<Want>>,
    status: watch::Receiver<Status>,
    trouble: watch::Receiver<Option<String>>,
}

impl Beside {
    /// Without a session yet.
    pub(super) fn start(bfd: SharedBfd, tracker: &TaskTracker) -> Self {
        let (wanted, ordered) = watch::channel(None);
        let (reports, status) = watch::channel(nothing());
        let (troubles, trouble) = watch::channel(None);
        tracker.spawn(Task { bfd, wanted: ordered, reports, troubles, held: None }.run());
        Self { wanted, status, trouble }
    }

    /// Changes what is wanted. Other timers keep the session up.
    pub(super) fn want(&self, want: Option<Want>) {
        self.wanted.send_if_modified(|known| {
            let changed = *known != want;
            *known = want;
            changed
        });
    }

    /// What the session does.
    pub(super) fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// Why there is none although one is wanted.
    pub(super) fn trouble(&self) -> watch::Receiver<Option<String>> {
        self.trouble.clone()
    }
}

/// No session, on purpose.
fn nothing() -> Status {
    Status {
        state: State::AdminDown,
        diagnostic: Diagnostic::None,
        remote: State::Down,
        since: Instant::now(),
        ups: 0,
        downs: 0,
        last_down: None,
        echo: Echoing::Off,
    }
}

struct Task {
    bfd: SharedBfd,
    wanted: watch::Receiver<Option<Want>>,
    reports: watch::Sender<Status>,
    troubles: watch::Sender<Option<String>>,
    held: Option<Held>,
}

struct Held {
    target: Target,
    session: Session,
    status: watch::Receiver<Status>,
}

impl Task {
    /// Runs until nobody can want one any more.
    async fn run(mut self) {
        loop {
            self.follow().await;
            let troubled = self.troubles.borrow().is_some();
            tokio::select! {
                biased;
                () = changed(&mut self.held) => self.pass_on(),
                changed = self.wanted.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(RETRY), if troubled => {}
            }
        }
    }

    async fn follow(&mut self) {
        let want = self.wanted.borrow_and_update().clone();
        let Some(Want { target, config, echo_link }) = want else {
            self.give_up();
            self.troubles.send_if_modified(|trouble| trouble.take().is_some());
            return;
        };
        if let Some(held) = self.held.as_ref().filter(|held| held.target == target) {
            held.session.configure(config);
            held.session.echo_by(echo_link);
            return;
        }
        self.give_up();
        let begun = self.begin(&target, config).await;
        let trouble = begun.as_ref().err().map(ToString::to_string);
        self.troubles.send_if_modified(|known| {
            let changed = *known != trouble;
            *known = trouble;
            changed
        });
        if let Ok(session) = begun {
            session.echo_by(echo_link);
            let status = session.status();
            self.held = Some(Held { target, session, status });
            self.pass_on();
        }
    }

    async fn begin(&self, target: &Target, config: Config) -> Result<Session, BfdError> {
        let bfd = self.bfd.get_or_try_init(async || Bfd::start()).await?;
        bfd.session(target.clone(), config).await
    }

    fn give_up(&mut self) {
        if self.held.take().is_some() {
            self.reports.send_replace(nothing());
        }
    }

    fn pass_on(&mut self) {
        if let Some(held) = &mut self.held {
            self.reports.send_replace(*held.status.borrow_and_update());
        }
    }
}

/// Waits until the session is in another state; for ever without one.
async fn changed(held: &mut Option<Held>) {
    let changed = match held {
        Some(held) => held.status.changed().await.is_ok(),
        None => false,
    };
    if !changed {
        std::future::pending().await
    }
}

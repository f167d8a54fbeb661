//! Asks DNS for the names that the plan's backends are written by.
//!
//! ```text
//!   names in use ──want──> Schedule (pure) ──due──> Lookups (A and AAAA, resolver library) ──> DNS servers
//!        ^                    │    ^                     │                    of resolv.conf, or one given
//!     planner <──answers──────┘    └─────────────────────┘
//! ```
//!
//! Guarantees:
//! * A name is asked for when it is wanted, and again when the TTL of its answer is over (from a second to
//!   an hour), or after a failure, ever later up to half a minute.
//! * The last good answer stays for as long as the name is wanted, whatever DNS says later, until it says
//!   something good again. A name that is gone (NXDOMAIN) is a failure too: a server that lost its data must
//!   not take every backend away.
//! * Bounded: names ([`MOST_NAMES`]), addresses of a name ([`MOST_ADDRESSES`]), questions at once, and the
//!   time that one may take.
//! * Where no name is wanted nothing is open and nothing runs.

mod lookup;
mod schedule;
mod servers;

use std::collections::BTreeSet;
use std::time::Instant;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use vipgate_planner::Names;

pub use servers::Servers;

use schedule::Schedule;
use servers::Current;

/// Names that are asked for; what goes beyond gets an error for an answer.
pub const MOST_NAMES: usize = 1000;
/// Addresses of one name, the lowest of them.
pub const MOST_ADDRESSES: usize = 64;
/// Names that are asked for at the same time.
const AT_ONCE: usize = 64;

/// The task that asks, as its user sees it.
#[derive(Debug)]
pub struct Resolver {
    wanted: watch::Sender<BTreeSet<String>>,
    answers: watch::Receiver<Names>,
}

impl Resolver {
    /// Starts it on a task of `tracker`; it ends when `stopped`.
    pub fn start(servers: Servers, tracker: &TaskTracker, stopped: CancellationToken) -> Self {
        let (wanted, names) = watch::channel(BTreeSet::new());
        let (teller, answers) = watch::channel(Names::new());
        tracker.spawn(async move {
            stopped.run_until_cancelled(answer(Current::new(servers), names, teller)).await
        });
        Self { wanted, answers }
    }

    /// Says which names are wanted from now on.
    pub fn want(&self, names: BTreeSet<String>) {
        self.wanted.send_if_modified(|wanted| {
            let changed = *wanted != names;
            *wanted = names;
            changed
        });
    }

    /// What is known of them, each time that it changes. A name that nobody has answered to yet is absent.
    pub fn answers(&self) -> watch::Receiver<Names> {
        self.answers.clone()
    }
}

async fn answer(
    mut servers: Current,
    mut wanted: watch::Receiver<BTreeSet<String>>,
    answers: watch::Sender<Names>,
) {
    let mut schedule = Schedule::default();
    // Chance only spreads questions over time: without any, all is as well.
    let mut seed = <SmallRng as SeedableRng>::Seed::default();
    let _ = aws_lc_rs::rand::fill(&mut seed);
    let mut chance = SmallRng::from_seed(seed);
    let mut asking = FuturesUnordered::new();
    loop {
        for name in schedule.due(Instant::now(), AT_ONCE.saturating_sub(asking.len())) {
            let resolver = servers.resolver();
            asking.push(async move {
                let looked = lookup::look_up(resolver, &name).await;
                (name, looked)
            });
        }
        // What waits for a place is woken by the answer that makes one.
        let next = schedule.next().filter(|_| asking.len() < AT_ONCE);
        let changed = tokio::select! {
            told = wanted.changed() => {
                if told.is_err() {
                    return;
                }
                schedule.want(&wanted.borrow_and_update(), Instant::now());
                true
            }
            Some((name, looked)) = asking.next() => {
                schedule.answered(&name, looked, Instant::now(), chance.random())
            }
            () = until(next) => false,
        };
        if changed {
            answers.send_if_modified(|known| {
                let now = schedule.answers();
                let changed = *known != now;
                *known = now;
                changed
            });
        }
    }
}

/// Waits for a moment; for ever when there is none.
async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment.into()).await,
        None => std::future::pending().await,
    }
}

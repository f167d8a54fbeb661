//! The one task that asks: questions to the links' tasks, frames on sockets of its own, results on the board.
//!
//! State: who is asked for and when, the questions and visits under way, the sockets that visits go out by, and of
//! VIPs with many ports which are next.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use vipgate_planner::{Link, MacAddr, Plan};

use super::lines::{Lines, Place};
use super::result::{Board, Outcome, Reached};
use super::roster::{self, ASKS, Roster, Target, roster};
use super::schedule::Schedule;
use super::turns::Turns;
use super::visit::Visit;
use super::wire::{self, LONGEST};
use crate::deadline::until;
use crate::group::{Group, Standing};
use crate::l2::{L2Error, L2Speaker, ProbeOutcome};

/// So many are asked for at a time.
pub(super) const AT_ONCE: usize = 8;
/// How long changes of the plan and of the group may wait for more of the kind.
const GATHERING: Duration = Duration::from_secs(1);
/// Frames read per wake-up.
const BUDGET: usize = 64;
/// Failures in a row of which the log tells.
const WORTH_A_LINE: u32 = 2;

/// Whether and how often VIPs of other members are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asking {
    /// They are not.
    Off,
    /// Each about once in this time.
    Every(Duration),
}

/// What the task goes by.
pub(crate) struct Sources {
    pub(crate) plans: watch::Receiver<Arc<Plan>>,
    pub(crate) links: watch::Receiver<Vec<Link>>,
    pub(crate) group: watch::Receiver<Option<Arc<Group>>>,
    pub(crate) l2: Arc<L2Speaker>,
}

/// Asks until `stopped`; for nobody while there is no group.
pub(crate) async fn start(
    asking: Asking,
    mut sources: Sources,
    board: Board,
    stopped: CancellationToken,
) {
    let Asking::Every(every) = asking else { return };
    let joined = async {
        let joined = sources.group.wait_for(Option::is_some).await;
        joined.ok().and_then(|group| group.clone())
    };
    let Some(Some(group)) = stopped.run_until_cancelled(joined).await else { return };
    let mut seed = <SmallRng as SeedableRng>::Seed::default();
    if aws_lc_rs::rand::fill(&mut seed).is_err() {
        tracing::error!("VIPs of other nodes are not asked for: the kernel gives no random bytes");
        return;
    }
    group.note(ASKS, Some(Vec::new()));
    let task = Task {
        me: group.address(),
        standings: group.standings(),
        schedule: Schedule::new(every),
        rng: SmallRng::from_seed(seed),
        sources,
        board,
        roster: Roster::new(),
        turns: Turns::default(),
        questions: FuturesUnordered::new(),
        visits: BTreeMap::new(),
        lines: Lines::default(),
    };
    stopped.run_until_cancelled(task.run()).await;
}

/// A VIP that is asked for: of whom, since when, and what its question found.
type Asked = (IpAddr, Target, Instant, Result<ProbeOutcome, L2Error>);

struct Task {
    me: SocketAddr,
    sources: Sources,
    standings: watch::Receiver<Arc<Standing>>,
    board: Board,
    rng: SmallRng,
    roster: Roster,
    schedule: Schedule,
    turns: Turns,
    questions: FuturesUnordered<BoxFuture<'static, Asked>>,
    visits: BTreeMap<IpAddr, Visiting>,
    lines: Lines,
}

struct Visiting {
    visit: Visit,
    target: Target,
    /// How long the question took before.
    asked: Duration,
    /// The line that it goes out by, and the port of ours that is answered.
    place: Place,
    port: u16,
}

impl Task {
    async fn run(mut self) {
        // Whatever came before counts as new.
        let mut stale_since = Some(Instant::now());
        loop {
            let gathered = stale_since.map(|since| since + GATHERING);
            let busy = self.questions.len() + self.visits.len();
            let next = self.schedule.due().filter(|_| busy < AT_ONCE);
            let visits = self.visits.values().filter_map(|visiting| visiting.visit.due()).min();
            tokio::select! {
                Ok(()) = self.sources.plans.changed(), if gathered.is_none() => {
                    stale_since = Some(Instant::now());
                }
                Ok(()) = self.sources.links.changed(), if gathered.is_none() => {
                    stale_since = Some(Instant::now());
                }
                changed = self.standings.changed(), if gathered.is_none() => {
                    if changed.is_err() {
                        return;
                    }
                    stale_since = Some(Instant::now());
                }
                () = until(gathered) => {
                    stale_since = None;
                    self.follow();
                }
                () = until(next) => self.begin(),
                () = until(visits) => {}
                Some(asked) = self.questions.next(), if !self.questions.is_empty() => {
                    self.visit(asked);
                }
                line = self.lines.readable(), if !self.visits.is_empty() => self.read(&line),
            }
            self.advance();
        }
    }

    /// Takes in the plan, the links and the group.
    fn follow(&mut self) {
        let plan = Arc::clone(&self.sources.plans.borrow_and_update());
        let links = self.sources.links.borrow_and_update().clone();
        let standing = Arc::clone(&self.standings.borrow_and_update());
        self.roster = roster(&plan, &standing, self.me);
        let vips: BTreeSet<IpAddr> = self.roster.keys().copied().collect();
        let rng = &mut self.rng;
        self.schedule.follow(Instant::now(), &vips, || rng.random());
        let roster = &self.roster;
        self.board.change(|found| {
            found.vips.retain(|vip, found| {
                roster.get(vip).is_some_and(|target| target.name == found.owner)
            });
        });
        self.turns.keep(&vips);
        self.lines.keep(&links, &self.roster);
    }

    /// Asks who has the VIP that is due.
    fn begin(&mut self) {
        let now = Instant::now();
        let Some(vip) = self.schedule.take(now) else { return };
        let Some(target) = self.roster.get(&vip).cloned() else { return };
        let l2 = Arc::clone(&self.sources.l2);
        self.questions.push(Box::pin(async move {
            let found = l2.look_for(vip, &target.links).await;
            (vip, target, now, found)
        }));
    }

    /// Whether the same member still has a VIP. It may have moved while it was asked for, and may be here.
    fn stands(&self, vip: IpAddr, target: &Target) -> bool {
        let standing = self.standings.borrow();
        roster::announcing(&standing, vip).is_some_and(|(owner, _)| owner == target.owner)
    }

    /// Goes to the station that answered for a VIP.
    fn visit(&mut self, (vip, target, began, found): Asked) {
        let (now, asked) = (Instant::now(), began.elapsed());
        let (mac, link) = match found {
            Ok(ProbeOutcome::Conflict { mac, link }) => (mac, link),
            Ok(ProbeOutcome::Free) => {
                return self.end(vip, target, Outcome::Unanswered, asked, BTreeMap::new());
            }
            Err(error) => return self.give_up(vip, &error.to_string()),
        };
        if !target.macs.is_empty() && !target.macs.contains(&mac) {
            return self.end(vip, target, Outcome::AnotherHost(mac), asked, BTreeMap::new());
        }
        let ports = self.turns.take(vip, &target.ports);
        if ports.is_empty() {
            return self.end(vip, target, Outcome::Reached, asked, BTreeMap::new());
        }
        let (place, from) = match self.line(&link, vip) {
            Ok(line) => line,
            Err(error) => return self.give_up(vip, &error.to_string()),
        };
        let visit = Visit::new(now, from, (mac, vip), &ports, || self.rng.random());
        self.visits.insert(vip, Visiting { visit, target, asked, place, port: from.2 });
    }

    /// From where to ask for a VIP on a link.
    fn line(&mut self, name: &str, vip: IpAddr) -> io::Result<(Place, (MacAddr, IpAddr, u16))> {
        let links = self.sources.links.borrow();
        let link = links.iter().find(|link| link.name == name);
        let link = link.ok_or_else(|| io::Error::other(format!("{name} is gone")))?;
        self.lines.toward(link, vip)
    }

    /// Takes what waits at a socket.
    fn read(&mut self, place: &Place) {
        let Some(line) = self.lines.get(place) else { return };
        let (now, mut buffer) = (Instant::now(), [0; LONGEST]);
        for _ in 0..BUDGET {
            let Ok(length) = line.receive(&mut buffer) else { return };
            let Some(answer) = wire::read(&buffer[..length], line.port()) else { continue };
            let visiting = self.visits.get_mut(&answer.vip).filter(|one| one.place == *place);
            let Some(visiting) = visiting else { continue };
            if let Some(frame) = visiting.visit.receive(now, &answer) {
                line.send(&frame);
            }
        }
    }

    /// Sends what is due, and ends the visits that are over, or whose line is not there any more.
    fn advance(&mut self) {
        let now = Instant::now();
        let (mut over, mut lost) = (Vec::new(), Vec::new());
        for (vip, visiting) in &mut self.visits {
            let line = self.lines.get(&visiting.place);
            let Some(line) = line.filter(|line| line.port() == visiting.port) else {
                lost.push(*vip);
                continue;
            };
            visiting.visit.tick(now).iter().for_each(|frame| line.send(frame));
            if visiting.visit.is_over(now) {
                over.push(*vip);
            }
        }
        for vip in over {
            if let Some(Visiting { visit, target, asked, .. }) = self.visits.remove(&vip) {
                let (took, outcome, ports) = visit.found();
                self.end(vip, target, outcome, asked + took, ports);
            }
        }
        for vip in lost {
            self.visits.remove(&vip);
            self.give_up(vip, "the link or its address changed");
        }
    }

    /// What was found counts, if the VIP did not move meanwhile.
    fn end(
        &mut self,
        vip: IpAddr,
        target: Target,
        outcome: Outcome,
        took: Duration,
        ports: BTreeMap<u16, bool>,
    ) {
        self.schedule.done(Instant::now(), vip, self.rng.random());
        if !self.stands(vip, &target) || !self.roster.contains_key(&vip) {
            return;
        }
        let owner = target.name;
        let found = Reached { owner: owner.clone(), outcome, failures: 0, took, ports };
        let (before, failures, outcome) = self.board.change(|all| {
            all.keep_ports(vip, &target.ports);
            all.learn(vip, found)
        });
        if failures == WORTH_A_LINE {
            tracing::warn!(%vip, "not reached from here: {}", outcome.in_words(&owner));
        }
        if failures == 0 && before >= WORTH_A_LINE {
            tracing::info!(%vip, "reached from here again: {}", outcome.in_words(&owner));
        }
    }

    /// Nothing was found out.
    fn give_up(&mut self, vip: IpAddr, why: &str) {
        self.schedule.done(Instant::now(), vip, self.rng.random());
        if !self.roster.contains_key(&vip) {
            return;
        }
        self.board.change(|found| {
            found.unasked += 1;
            found.vips.remove(&vip);
        });
        tracing::debug!(%vip, why, "it could not be asked for");
    }
}

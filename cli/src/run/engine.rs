//! The one task that owns the planner: what happens comes in, plans and claims go out.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};
use vipgate_api::{Object, ObjectRef};
use vipgate_planner::{Claims, Foreign, Node, NodeReport, Planner, Statuses, VipState};
use vipgate_speaker::node::Speaker;

use super::board::{Board, Situation};
use super::journal::Journal;
use super::source::Source;
use super::state::StateFile;
use crate::status::report::Problem;

/// How long an address that somebody answered for is passed over. Whoever had it may be gone then;
/// if not, the next probe says so.
const PASSED_OVER: Duration = Duration::from_secs(60);
/// How long after a failure the claims are saved again.
const SAVE_AGAIN: Duration = Duration::from_secs(5);

/// Owns the planner and feeds it.
pub(super) struct Engine {
    source: Source,
    planner: Planner,
    node: Node,
    foreign: Foreign,
    /// When each address of `foreign` was last found taken.
    found: BTreeMap<IpAddr, Instant>,
    state: StateFile,
    /// Why the claims could not be written the last time.
    unsaved: Option<(Claims, String)>,
    speaker: Arc<Speaker>,
    journal: Journal,
    board: Arc<Board>,
}

impl Engine {
    pub(super) fn new(
        source: Source,
        state: StateFile,
        claims: Claims,
        node: Node,
        speaker: Arc<Speaker>,
        board: Arc<Board>,
    ) -> Self {
        let mut planner = Planner::new();
        planner.set_claims(claims);
        Self {
            source,
            planner,
            node,
            foreign: Foreign::new(),
            found: BTreeMap::new(),
            state,
            unsaved: None,
            speaker,
            journal: Journal::default(),
            board,
        }
    }

    /// Runs for ever.
    pub(super) async fn run(&mut self) {
        let (mut links, mut reports) = (self.speaker.links(), self.speaker.reports());
        links.mark_changed();
        self.read();
        loop {
            let forgotten = self.next_forgotten();
            tokio::select! {
                () = self.source.changed() => self.read(),
                Ok(()) = links.changed() => {
                    self.node.links.clone_from(&links.borrow_and_update());
                    self.planner.set_node(self.node.clone());
                }
                Ok(()) = reports.changed() => {
                    let report = reports.borrow_and_update().clone();
                    self.learn(report);
                }
                () = until(forgotten) => self.forget_foreign(),
                () = sleep(SAVE_AGAIN), if self.unsaved.is_some() => {}
            }
            self.settle();
        }
    }

    /// Reads the directory.
    fn read(&mut self) {
        let update = self.source.read();
        for object in update.removed {
            self.planner.delete(&object);
        }
        for (object, age) in update.applied {
            self.planner.apply(object, age);
        }
        self.planner.set_release(update.complete);
        self.journal.manifests(&self.source);
    }

    /// Takes in what the node found: addresses that somebody else has, and new ones that are free.
    fn learn(&mut self, report: NodeReport) {
        for (address, state) in &report.vips {
            match state {
                VipState::Conflict(mac) => {
                    self.foreign.insert(*address, *mac);
                    self.found.insert(*address, Instant::now());
                }
                VipState::Serving(_) => self.serves(*address),
                VipState::Probing | VipState::Failed(_) => {}
            }
        }
        self.planner.set_foreign(self.foreign.clone());
        self.planner.set_report(report);
    }

    fn serves(&mut self, address: IpAddr) {
        self.foreign.remove(&address);
        self.found.remove(&address);
        self.planner.publish(address);
    }

    /// When an address is due to be given another chance.
    fn next_forgotten(&self) -> Option<Instant> {
        self.found.values().min().map(|found| *found + PASSED_OVER)
    }

    /// Gives addresses that were taken another chance, unless somebody waits for them: those are
    /// asked for all the time.
    fn forget_foreign(&mut self) {
        let (now, report) = (Instant::now(), self.speaker.reports().borrow().clone());
        for (address, found) in &mut self.found {
            if matches!(report.vips.get(address), Some(VipState::Conflict(_))) {
                *found = now;
            }
        }
        self.found.retain(|_, found| now < *found + PASSED_OVER);
        self.foreign.retain(|address, _| self.found.contains_key(address));
        self.planner.set_foreign(self.foreign.clone());
    }

    /// Plans, and hands out what follows. Claims are safe before the plan that uses them goes out.
    fn settle(&mut self) {
        let outcome = self.planner.run();
        self.save(outcome.claims);
        self.speaker.apply(Arc::clone(&outcome.plan));
        let report = self.speaker.reports().borrow().clone();
        let situation = Situation {
            objects: self.objects(&outcome.statuses),
            problems: self.problems(&outcome.statuses),
            notes: self.notes(&outcome.statuses),
            plan: outcome.plan,
            statuses: outcome.statuses,
            claims: self.planner.claims().clone(),
            report,
        };
        self.journal.situation(&situation);
        self.board.show(situation);
    }

    /// Saves new claims, or those that could not be saved before.
    fn save(&mut self, new: Option<Claims>) {
        let (unsaved, said) = self.unsaved.take().unzip();
        let Some(claims) = new.or(unsaved) else { return };
        match self.state.save(&claims).map_err(|error| error.to_string()) {
            Ok(()) if said.is_some() => tracing::info!("claims could be saved again"),
            Ok(()) => {}
            Err(error) => {
                if said.as_ref() != Some(&error) {
                    tracing::error!(error, "claims could not be saved");
                }
                self.unsaved = Some((claims, error));
            }
        }
    }

    /// The objects that have a status.
    fn objects(&self, statuses: &Statuses) -> Vec<(ObjectRef, Object)> {
        let known = |reference: ObjectRef| {
            let object = self.source.object(&reference)?.clone();
            Some((reference, object))
        };
        statuses.objects().filter_map(known).collect()
    }

    /// What is wrong, worst first: what may be lost, broken manifests, then what cannot be served.
    fn problems(&self, statuses: &Statuses) -> Vec<Problem> {
        let unsaved = self.unsaved.iter().map(|(_, message)| Problem::plain(message));
        let manifests = self.source.problems().iter().filter(|problem| problem.is_error());
        let planned = statuses.problems.iter().map(|problem| Problem {
            place: self.source.place(&problem.object),
            object: Some(problem.object.to_string()),
            message: problem.message.clone(),
        });
        unsaved.chain(manifests.map(Problem::of_manifest)).chain(planned).collect()
    }

    /// What is not wrong, but worth knowing.
    fn notes(&self, statuses: &Statuses) -> Vec<Problem> {
        let manifests = self.source.problems().iter().filter(|problem| !problem.is_error());
        let planned = statuses.notes.iter().map(|note| Problem::plain(note));
        manifests.map(Problem::of_manifest).chain(planned).collect()
    }
}

/// Comes true at that time, or never.
async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

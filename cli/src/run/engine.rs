//! The one task that owns the planner: what happens comes in, plans and claims go out.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::sleep;
use vipgate_api::manifest::Update;
use vipgate_api::{ObjectRef, Reason};
use vipgate_controller::foreign::Findings;
use vipgate_planner::{self as planner, Foreign, Link, Node, NodeReport, Planner, Statuses};
use vipgate_speaker::group::{Group, News, Standing};
use vipgate_speaker::names::Resolver;
use vipgate_speaker::node::Speaker;

use super::board::{Board, Changes, Shown, Situation};
use super::group::{Clerk, Lead, Roll, foreign, introduce, missing, neighbours};
use super::journal::Journal;
use super::source::Source;
use super::state::{State, StateFile};
use crate::status::report::Problem;

/// What `/readyz` says first.
const AWAITED: &str = "this host to do what was planned first";
/// How long after a failure the claims are saved again.
const SAVE_AGAIN: Duration = Duration::from_secs(5);

/// Owns the planner and feeds it.
pub(super) struct Engine {
    source: Source,
    planner: Planner,
    node: Node,
    findings: Findings,
    file: StateFile,
    /// What the file has.
    saved: State,
    /// Why it could not be written the last time.
    unsaved: Option<String>,
    group: Option<Membership>,
    /// Users of claims of others of which no manifest was read yet.
    unread: BTreeSet<ObjectRef>,
    speaker: Arc<Speaker>,
    resolver: Resolver,
    journal: Journal,
    board: Arc<Board>,
    /// What the board has not been told of yet.
    changes: Changes,
    reports: watch::Receiver<NodeReport>,
    /// The last of them.
    report: Arc<NodeReport>,
    awaited: watch::Sender<Vec<String>>,
}

/// The group, where there is one.
struct Membership {
    group: Arc<Group>,
    news: News,
    clerk: Clerk,
    roll: Roll,
}

impl Engine {
    pub(super) fn new(
        source: Source,
        (file, saved): (StateFile, State),
        node: Node,
        group: Option<Arc<Group>>,
        speaker: Arc<Speaker>,
        resolver: Resolver,
        board: Arc<Board>,
    ) -> Self {
        let mut planner = Planner::new();
        planner.set_claims(saved.claims.clone());
        // Until it is clear who gives out addresses.
        planner.set_follows(group.is_some());
        let group = group.map(|group| Membership {
            news: group.news(),
            group,
            clerk: Clerk::default(),
            roll: Roll::default(),
        });
        let mut reports = speaker.reports();
        reports.mark_changed();
        Self {
            source,
            planner,
            node,
            findings: Findings::default(),
            file,
            saved,
            unsaved: None,
            group,
            unread: BTreeSet::new(),
            speaker,
            resolver,
            journal: Journal::default(),
            board,
            changes: Changes::new(),
            reports,
            report: Arc::default(),
            awaited: watch::Sender::new(vec![AWAITED.to_owned()]),
        }
    }

    /// What is awaited until this host serves what it is to serve.
    pub(super) fn awaited(&self) -> watch::Receiver<Vec<String>> {
        self.awaited.subscribe()
    }

    /// Reads and plans for the first time, so that whoever asks is told of what is there.
    pub(super) fn begin(&mut self) {
        self.follow_links(&mut self.speaker.links());
        let update = self.source.read();
        self.take(update);
        self.settle();
    }

    /// Goes on for ever.
    pub(super) async fn run(&mut self) {
        let (mut links, mut reports) = (self.speaker.links(), self.speaker.reports());
        let mut answers = self.resolver.answers();
        // Whatever came between the first plan and now.
        links.mark_changed();
        reports.mark_changed();
        answers.mark_changed();
        loop {
            tokio::select! {
                update = self.source.changed() => self.take(update),
                Ok(()) = links.changed() => self.follow_links(&mut links),
                Ok(()) = reports.changed() => {
                    let report = reports.borrow_and_update().clone();
                    self.learn(report);
                }
                Ok(()) = answers.changed() => {
                    self.planner.set_names(answers.borrow_and_update().clone());
                }
                () = regrouped(&mut self.group) => {}
                () = until(self.findings.due()) => self.forget(),
                () = sleep(SAVE_AGAIN), if self.unsaved.is_some() => {}
            }
            self.settle();
        }
    }

    fn follow_links(&mut self, links: &mut watch::Receiver<Vec<Link>>) {
        self.node.links.clone_from(&links.borrow_and_update());
        self.planner.set_node(self.node.clone());
    }

    /// Takes in what changed in the directory.
    fn take(&mut self, update: Update) {
        self.changes.extend(update.reached.into_iter().map(|reference| {
            let held = self.source.object(&reference);
            let shown =
                held.map(|held| Shown { object: held.object.clone(), version: held.version });
            (reference, shown)
        }));
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
        self.findings.learn(&report, Instant::now());
        for (address, state) in &report.vips {
            if state.is_announced() {
                self.planner.publish(*address);
            }
        }
        if self.group.is_none() {
            self.planner.set_foreign(self.findings.addresses());
        }
        self.planner.set_report(report);
    }

    fn forget(&mut self) {
        self.findings.forget(Instant::now());
        if self.group.is_none() {
            self.planner.set_foreign(self.findings.addresses());
        }
    }

    /// Takes in who of the group gives out addresses, and which.
    fn follow_group(&mut self) {
        let Some(Membership { group, news, clerk, roll }) = &mut self.group else { return };
        let standing = news.look();
        roll.call(standing);
        introduce(group, &self.node.labels);
        self.planner.set_neighbours(neighbours(standing));
        let lead = clerk.look(group.address(), standing, self.planner.claims());
        let leads = matches!(lead, Lead::Here(_));
        self.planner.set_follows(!leads);
        // Who leads chooses again for all; the others wait for that.
        let mut found = self.findings.addresses();
        found.extend(foreign(standing));
        self.planner.set_foreign(if leads { found } else { Foreign::default() });
        if let Lead::Here(Some(claims)) | Lead::There(claims) = lead {
            // Others may have newer manifests: what they gave out does not end before we have read of it.
            let users = claims.0.values().flat_map(|claim| &claim.users);
            self.unread.extend(users.map(|user| user.object.clone()));
            self.planner.set_claims(claims);
        }
        self.unread.retain(|user| self.source.object(user).is_none());
        self.planner.set_unreadable(self.unread.clone());
    }

    /// Plans, and hands out what follows. Claims are safe before the plan that uses them goes out.
    fn settle(&mut self) {
        self.follow_group();
        let outcome = self.planner.run();
        self.resolver.want(self.planner.names_in_use());
        self.save();
        if let Some(Membership { group, clerk, .. }) = &mut self.group {
            clerk.say(group, self.planner.claims(), &self.findings.addresses());
        }
        self.speaker.apply(Arc::clone(&outcome.plan));
        // Read when it is another one only: it has a line for each listener.
        if self.reports.has_changed().unwrap_or_default() {
            self.report = Arc::new(self.reports.borrow_and_update().clone());
        }
        // The hands have been through this plan once: what is not served has another reason from now on.
        if !self.awaited.borrow().is_empty() && self.report.vips.keys().eq(outcome.plan.vips.keys())
        {
            self.awaited.send_replace(Vec::new());
        }
        let situation = Situation {
            problems: self.problems(&outcome.statuses),
            notes: self.notes(&outcome.statuses),
            plan: outcome.plan,
            statuses: outcome.statuses,
            claims: self.planner.claims().clone(),
            report: Arc::clone(&self.report),
        };
        self.journal.situation(&situation);
        self.board.show(situation, std::mem::take(&mut self.changes));
    }

    /// Saves what is new, or could not be saved before.
    fn save(&mut self) {
        let holds = self.group.as_ref().map(|group| group.news.known().holds.clone());
        let holds = holds.unwrap_or_default();
        if (self.planner.claims(), &holds) == (&self.saved.claims, &self.saved.holds) {
            return;
        }
        let state = State { claims: self.planner.claims().clone(), holds };
        let said = self.unsaved.take();
        // Other tasks of this thread may have a take-over to do meanwhile.
        match tokio::task::block_in_place(|| self.file.save(&state))
            .map_err(|error| error.to_string())
        {
            Ok(()) => {
                if said.is_some() {
                    tracing::info!("claims could be saved again");
                }
                self.saved = state;
            }
            Err(error) => {
                if said.as_ref() != Some(&error) {
                    tracing::error!(error, "claims could not be saved");
                }
                self.unsaved = Some(error);
            }
        }
    }

    /// What is wrong: what may be lost, broken manifests, then what cannot be served.
    fn problems(&self, statuses: &Statuses) -> Vec<Problem> {
        let unsaved = self.unsaved.iter().map(|message| Problem::plain(message));
        let manifests = self.source.problems().iter().filter(|problem| problem.is_error());
        let planned = statuses.problems.iter().map(|problem| Problem {
            place: self.source.place(&problem.object),
            object: Some(problem.object.to_string()),
            reason: Some(self.finer(problem)),
            message: problem.message.clone(),
        });
        unsaved.chain(manifests.map(Problem::of_manifest)).chain(planned).collect()
    }

    /// The reason of a problem; of a Gateway without address what stands in the way of that.
    fn finer(&self, problem: &planner::Problem) -> Reason {
        let of_address = [Reason::AddressNotAssigned, Reason::AddressNotUsable];
        let obstacles = of_address.contains(&problem.reason);
        let obstacles = obstacles.then(|| self.planner.address_obstacles(&problem.object));
        obstacles.and_then(|all| all.first().copied()).unwrap_or(problem.reason)
    }

    /// What is not wrong, but worth knowing.
    fn notes(&self, statuses: &Statuses) -> Vec<Problem> {
        let manifests = self.source.problems().iter().filter(|problem| !problem.is_error());
        let planned = statuses.notes.iter().map(|note| Problem::plain(note));
        let standing = self.group.as_ref().map(|group| group.news.known());
        let missing = standing.into_iter().flat_map(|standing| missing(standing));
        let missing = missing.map(|text| Problem::plain(&text));
        manifests.map(Problem::of_manifest).chain(planned).chain(missing).collect()
    }
}

/// Waits until the group says something new; for ever without one. Where VIPs are, reports say first.
async fn regrouped(group: &mut Option<Membership>) {
    let matters = |before: &Standing, now: &Standing| {
        !before.is_said_alike(now)
            || before.missing != now.missing
            || before.ownership.settled != now.ownership.settled
    };
    match group {
        Some(Membership { news, .. }) => news.changed(matters).await,
        None => std::future::pending().await,
    }
}

/// Waits for a moment; for ever when there is none.
async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment.into()).await,
        None => std::future::pending().await,
    }
}

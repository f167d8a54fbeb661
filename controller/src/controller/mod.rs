//! The one task that decides: objects and reports come in, claims and statuses go out.
//!
//! ```text
//!   index ──> plan ──> ConfigMaps that it refers to and nobody has read ─> read them, plan again
//!               │
//!               ├───> copies, companions, finalizers that differ ─> write them
//!               │
//!               └───> claims that are no objects yet? ── yes ─> write them, plan again
//!                                   │ no
//!                                   └─> statuses that differ ─> write them, tell of transitions:
//!                                       256 at a time ─> take events in ─> no news: the next 256,
//!                                                                          else a new round
//! ```
//!
//! What always holds: a claim is an object before any status speaks of it; a round that could not
//! write a claim writes no status. A replica that does not lead keeps its index and writes nothing;
//! one that begins to lead reads the claims anew before it plans.

mod agenda;
mod bundles;
mod changes;
mod claims;
mod statuses;
mod told;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::Client;
use kube::api::{DynamicObject, ListParams};
use serde_json::Value;
use tokio::sync::{mpsc, watch as channel};
use vipgate_api::{
    Age, CONTROLLER_NAME, Condition, ConditionType, Kind, Object, ObjectRef, Reason,
};
use vipgate_planner::services::Classless;
use vipgate_planner::{NodeReport, Outcome, Plan, Reports, VipState};

use crate::classless::{self, Setting};
use crate::companion::Companion;
use crate::events::{Messenger, Teller, teller};
use crate::facts::Facts;
use crate::fights::Fights;
use crate::foreign::Findings;
use crate::index::Index;
use crate::initial::Initial;
use crate::ip_mode::IpMode;
use crate::leader::Gate;
use crate::merge::{Part, Transition};
use crate::pace::Pace;
use crate::watch::{Event, Seen, is_told_of};
use crate::writer::Writer;
use agenda::Agenda;

/// Events taken in before the next round.
const TOGETHER: usize = 4096;
/// Writes under way at once.
const AT_ONCE: usize = 16;
/// After a failure, when to try again.
const AGAIN: Duration = Duration::from_secs(2);
/// Rounds of writing claims before the statuses have to wait for the watch.
const CLAIM_ROUNDS: usize = 4;
/// Kinds that an address belongs to an object of: only when all of them are known does a claim end
/// because its object is not there.
const OWNERS: [Kind; 4] = [Kind::VirtualIp, Kind::GatewayClass, Kind::Gateway, Kind::Service];

/// What can be set.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Name of this replica, in events.
    pub identity: String,
    /// The namespace that vipgate is installed in.
    pub namespace: String,
    /// What shows `spec.infrastructure` of a Gateway.
    pub companion: Companion,
    /// Whose Services without a class are.
    pub classless: Setting,
    /// What is to be there from the beginning.
    pub initial: Initial,
}

/// Decides and writes.
pub struct Controller {
    settings: Settings,
    index: Index,
    findings: Findings,
    writer: Writer,
    teller: Teller,
    agenda: Agenda,
    /// All GatewayClasses and Gateways are known.
    knows_parents: bool,
    /// What the nodes say, taken together.
    heard: Heard,
    /// Something happened that no round has taken into account.
    news: bool,
    /// What came out of the last round, while there are statuses left to write of it.
    unfinished: Option<Outcome>,
    /// Over statuses, and over everything else.
    fights: Fights,
    other_fights: Fights,
    /// Over claims.
    pace: Pace,
    /// Objects that cannot be read, of which that was told, and why.
    told_unreadable: BTreeMap<ObjectRef, String>,
    /// Statuses that the API server does not keep as they are written (a CRD that is older knows
    /// fewer fields): what was written, and what it made of it. Without times.
    altered: BTreeMap<ObjectRef, (Value, Value)>,
    /// Whether the API server keeps `ipMode`; read again together with the groups.
    ip_mode: Option<IpMode>,
    /// The claims were read since this replica leads.
    claims_are_fresh: bool,
    /// What is known of ConfigMaps.
    bundles: bundles::Known,
    /// The API groups that are served; read again when what is served of our kinds changed, and when
    /// this replica begins to lead.
    groups: Option<BTreeSet<String>>,
    classless: Classless,
    /// Evidence that another controller serves Services without a class.
    rival: Option<String>,
    /// When something has to be tried again.
    again: Option<Instant>,
    said: BTreeMap<ObjectRef, String>,
    facts: channel::Sender<Facts>,
}

impl Controller {
    /// A controller that knows nothing, and who hands in its events.
    pub fn new(client: Client, gate: Gate, settings: Settings) -> (Self, Messenger) {
        let (teller, messenger) = teller(client.clone(), CONTROLLER_NAME, &settings.identity);
        let index = Index::new(&settings.namespace);
        let facts = Facts { awaited: index.awaits(), decided: None };
        let controller = Self {
            settings,
            index,
            findings: Findings::default(),
            writer: Writer::new(client, gate),
            teller,
            agenda: Agenda::default(),
            knows_parents: false,
            heard: Heard::default(),
            news: true,
            unfinished: None,
            fights: Fights::default(),
            other_fights: Fights::default(),
            pace: Pace::default(),
            told_unreadable: BTreeMap::new(),
            altered: BTreeMap::new(),
            ip_mode: None,
            claims_are_fresh: false,
            bundles: bundles::Known::default(),
            groups: None,
            classless: Classless::Take,
            rival: None,
            again: None,
            said: BTreeMap::new(),
            facts: channel::Sender::new(facts),
        };
        (controller, messenger)
    }

    /// Goes on for as long as there are events. When it ends, no write is under way.
    pub async fn run(
        mut self,
        mut events: mpsc::Receiver<Event>,
        mut leading: channel::Receiver<bool>,
    ) {
        loop {
            let now = Instant::now();
            let fights = [self.fights.due(now), self.other_fights.due(now)];
            let due = [self.again, self.findings.due()].into_iter().chain(fights).flatten().min();
            tokio::select! {
                event = events.recv() => {
                    let Some(event) = event else { return };
                    self.take(event);
                }
                changed = leading.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.claims_are_fresh = false;
                    self.teller.hold(false);
                    // The one who led before may have written anything.
                    self.look_anew();
                    self.news = true;
                }
                () = until(due) => {
                    self.news = true;
                    // It is due once, whether there can be a round now or not.
                    self.again = None;
                    self.findings.forget(Instant::now());
                }
                () = std::future::ready(()), if self.unfinished.is_some() => {}
            }
            for _ in 0..TOGETHER {
                let Ok(event) = events.try_recv() else { break };
                self.take(event);
            }
            if let Some(outcome) = self.unfinished.take() {
                if !self.news && self.writer.is_open() {
                    // Nothing follows from what came meanwhile: these are our own writes.
                    self.write_statuses(&outcome).await;
                    continue;
                }
                self.news = true;
                self.teller.hold(false);
            }
            if !self.news || !self.index.is_complete() {
                continue;
            }
            self.again = None;
            if !self.writer.is_open() {
                self.later();
                continue;
            }
            if self.read_claims().await && self.read_groups().await {
                self.read_ip_mode().await;
                self.news = false;
                self.round().await;
            }
            self.tell_awaited();
        }
    }

    /// Takes in what happened. A status that we wrote comes back once more, and is no news.
    fn take(&mut self, event: Event) {
        let mut told = None;
        match &event {
            Event::Applied(object, _, seen) if is_told_of(object.kind()) => {
                let object = object.reference();
                let known = self.index.seen.get(&object);
                let is_news =
                    known.is_none_or(|known| known.resource_version != seen.resource_version);
                self.news |= is_news;
                told = Some((object, is_news));
            }
            Event::Deleted(object) => {
                self.agenda.close(object);
                self.fights.forget(object);
                // Classes are people's; what else we change we make ourselves.
                match object.kind {
                    Kind::GatewayClass => self.other_fights.forget(object),
                    _ => self.other_fights.gone(object, Instant::now()),
                }
                self.altered.remove(object);
                self.said.remove(object);
            }
            Event::Served(_) => {
                // A CRD of another version may keep what the one before did not.
                self.altered.clear();
                self.look_anew();
            }
            _ => {}
        }
        let follows = self.index.take(event);
        self.news |= follows;
        // What we made ourselves is looked at when it is known what there is to say of it.
        if let Some((object, is_news)) = told
            && (is_news || follows)
        {
            self.agenda.open(object);
        }
    }

    /// What the API server serves and keeps is to be read again, and all looked at that we say something of.
    fn look_anew(&mut self) {
        self.groups = None;
        self.ip_mode = None;
        let told_of = self.index.seen.keys().filter(|object| is_told_of(object.kind));
        self.agenda.open_all(told_of.cloned());
    }

    async fn round(&mut self) {
        self.tell_of_unreadable();
        self.write_pools().await;
        for round in 0..CLAIM_ROUNDS {
            let mut outcome = self.plan();
            if self.read_bundles().await {
                outcome = self.plan();
            }
            self.tell_decided(&outcome);
            if round == 0 {
                self.write_changes(&outcome).await;
            }
            match self.write_claims().await {
                // Not before it is known what is in the ConfigMaps: "there is none" would be a guess.
                claims::Claimed::All if self.bundles > bundles::Known::Nothing => {
                    self.write_statuses(&outcome).await;
                    return;
                }
                claims::Claimed::All => return self.later(),
                claims::Claimed::More => {}
                claims::Claimed::Later => return,
            }
        }
        self.later();
    }

    /// Tells of objects that cannot be read. Nothing can be written about them.
    fn tell_of_unreadable(&mut self) {
        let unreadable = &self.index.unreadable;
        self.told_unreadable.retain(|object, _| unreadable.contains_key(object));
        for (object, (why, seen)) in unreadable {
            if self.told_unreadable.get(object) == Some(why) {
                continue;
            }
            let message = format!(
                "it cannot be read, so what was known of it stays, and addresses that it has are \
                 kept: {why}"
            );
            let condition = Condition::fails(ConditionType::Accepted, Reason::Invalid, message);
            self.teller.tell(object, seen, &[Transition { of: Part::Whole, condition }]);
            self.told_unreadable.insert(object.clone(), why.clone());
        }
    }

    /// Brings the planner up to what is known, and plans.
    fn plan(&mut self) -> Outcome {
        let now = Instant::now();
        self.findings.forget(now);
        self.index.planner.set_release(self.index.knows(&OWNERS));
        self.decide_on_classless();
        self.index.planner.set_claims(self.index.vips.claims());
        let plan = self.index.planner.run().plan;
        self.hear(plan);
        let all = &self.heard.all;
        for (address, state) in &all.vips {
            if matches!(state, VipState::Serving(_)) {
                self.index.planner.publish(*address);
            }
        }
        self.findings.learn(all, now);
        self.index.planner.set_foreign(self.findings.addresses());
        self.index.planner.run()
    }

    /// Reads what the nodes say of a plan, if they say something else than before, or it is another plan.
    fn hear(&mut self, plan: Arc<Plan>) {
        let rumours = self.index.rumours();
        if self.heard.rumours == rumours && Arc::ptr_eq(&self.heard.plan, &plan) {
            return;
        }
        let (heard, lost) = self.index.speakers();
        let reports: Reports = heard
            .into_iter()
            .map(|(node, status)| (node.clone(), NodeReport::from_speaker(status, &plan)))
            .collect();
        self.heard = Heard { plan, rumours, all: everybody(&reports) };
        self.index.planner.set_lost(lost);
        self.index.planner.set_reports(reports);
    }

    /// Reads all claims, once after this replica began to lead: the watch may not have told yet what
    /// the former leader wrote last. Says whether they are known.
    async fn read_claims(&mut self) -> bool {
        if self.claims_are_fresh {
            return true;
        }
        let kind = Kind::VirtualIp;
        let version = kind.versions()[0];
        let list = match self.writer.api(kind, version, "").list(&ListParams::default()).await {
            Ok(list) => list,
            Err(error) => {
                tracing::warn!(%error, "the claims cannot be read; nothing is written before");
                self.later();
                return false;
            }
        };
        for object in list.items {
            self.take_in(object, kind, version);
        }
        self.claims_are_fresh = true;
        true
    }

    /// Takes in an object that did not come by a watch.
    fn take_in(&mut self, object: DynamicObject, kind: Kind, version: &'static str) {
        let seen = Seen::of(&object, kind, version);
        let read = serde_json::to_value(object).and_then(|json| Object::from_json(kind, json));
        match read {
            Ok(object) => self.take(Event::Applied(object, Age::default(), Arc::new(seen))),
            Err(error) => tracing::warn!(%error, "{} cannot be read", kind.name()),
        }
    }

    /// Reads which API groups are served, when that may have changed. Says whether they are known.
    async fn read_groups(&mut self) -> bool {
        if self.groups.is_some() || self.settings.classless != Setting::Auto {
            return true;
        }
        match self.writer.groups().await {
            Ok(groups) => self.groups = Some(groups),
            Err(error) => {
                tracing::warn!(%error, "the API groups cannot be read; nothing is written before");
                self.later();
            }
        }
        self.groups.is_some()
    }

    async fn read_ip_mode(&mut self) {
        if self.ip_mode.is_none() {
            self.ip_mode = Some(self.writer.ip_mode().await);
            self.open_services();
        }
    }

    fn decide_on_classless(&mut self) {
        let seen = &self.index.seen;
        let world = self.index.planner.world();
        if self.rival.is_none() && self.settings.classless == Setting::Auto {
            let writer = |service: &ObjectRef| seen.get(service)?.balancer.as_deref();
            self.rival = classless::at_work(world, writer);
        }
        let none = BTreeSet::new();
        let groups = self.groups.as_ref().unwrap_or(&none);
        let classless = classless::decide(self.settings.classless, groups, self.rival.as_deref());
        if classless != self.classless {
            match &classless {
                Classless::Take => tracing::info!("Services without loadBalancerClass are ours"),
                Classless::Leave(why) => tracing::info!(why, "Services without loadBalancerClass"),
            }
            self.classless.clone_from(&classless);
        }
        self.index.planner.set_classless(classless);
    }

    /// Remembers an object as it came back from a write.
    fn note(&mut self, object: &ObjectRef, now: &DynamicObject, version: &'static str) {
        self.index.seen.insert(object.clone(), Arc::new(Seen::of(now, object.kind, version)));
        self.said.remove(object);
    }

    fn complain(&mut self, object: &ObjectRef, why: String) {
        if self.said.get(object) != Some(&why) {
            tracing::warn!("{why}");
            self.said.insert(object.clone(), why);
        }
    }

    fn later(&mut self) {
        self.try_again(Instant::now() + AGAIN);
    }

    /// Sees to it that there is another round at this moment or before.
    fn try_again(&mut self, at: Instant) {
        self.again = Some(self.again.map_or(at, |again| again.min(at)));
    }
}

/// What the nodes say of a plan.
#[derive(Default)]
struct Heard {
    plan: Arc<Plan>,
    /// As [`Index::rumours`] counted them.
    rumours: u64,
    /// All of them taken together.
    all: NodeReport,
}

/// All nodes as one: an address serves if it serves anywhere, then it is contested if somebody says so.
fn everybody(reports: &Reports) -> NodeReport {
    let mut all = NodeReport::default();
    for (address, state) in reports.values().flat_map(|report| &report.vips) {
        let rank = |state: &VipState| match state {
            VipState::Serving(_) => 0,
            VipState::Conflict(_) => 1,
            VipState::Probing => 2,
            VipState::Standby { .. } | VipState::Excluded { announced: true, .. } => 3,
            VipState::Waiting(_) => 4,
            VipState::Failed(_) | VipState::Excluded { .. } => 5,
        };
        let known = all.vips.entry(*address).or_insert_with(|| state.clone());
        if rank(state) < rank(known) {
            *known = state.clone();
        }
    }
    all
}

/// Waits for a moment; for ever when there is none.
async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment.into()).await,
        None => std::future::pending().await,
    }
}

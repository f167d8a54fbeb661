//! The one task that decides: objects and reports come in, claims and statuses go out.
//!
//! ```text
//!   index ──> plan ──> claims that are no objects yet? ── yes ─> write them, plan again
//!                                   │ no
//!                                   └─> statuses that differ ─> write them, tell of transitions
//! ```
//!
//! What always holds: a claim is an object before any status speaks of it; a round that could not
//! write a claim writes no status. A replica that does not lead keeps its index and writes nothing.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use kube::Client;
use kube::runtime::events::{Event as Told, EventType, Recorder, Reporter};
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch as channel};
use vipgate_api::vipgate::virtual_ip_name;
use vipgate_api::{Kind, ObjectKey, ObjectRef};
use vipgate_planner::{NodeReport, Outcome, Reports, VipState};

use crate::claims;
use crate::fights::Fights;
use crate::foreign::Findings;
use crate::index::Index;
use crate::leader::Gate;
use crate::merge::{Transition, merged, transitions};
use crate::watch::{Event, Seen};
use crate::writer::{Writer, Written};

/// Events taken in before the next round.
const TOGETHER: usize = 4096;
/// Status writes under way at once.
const AT_ONCE: usize = 16;
/// After a failure, when to try again.
const AGAIN: Duration = Duration::from_secs(2);
/// Rounds of writing claims before the statuses have to wait for the watch.
const CLAIM_ROUNDS: usize = 4;

/// Decides and writes.
pub struct Controller {
    index: Index,
    findings: Findings,
    fights: Fights,
    writer: Writer,
    recorder: Recorder,
    /// When something has to be tried again.
    again: Option<Instant>,
    said: BTreeMap<ObjectRef, String>,
}

/// A status to be written.
struct Job {
    object: ObjectRef,
    seen: Arc<Seen>,
    status: Value,
}

impl Controller {
    /// A controller that knows nothing; `identity` is its name in events.
    pub fn new(client: Client, gate: Gate, identity: &str) -> Self {
        let reporter = Reporter {
            controller: vipgate_api::CONTROLLER_NAME.to_owned(),
            instance: Some(identity.to_owned()),
        };
        Self {
            index: Index::default(),
            findings: Findings::default(),
            fights: Fights::default(),
            recorder: Recorder::new(client.clone(), reporter),
            writer: Writer::new(client, gate),
            again: None,
            said: BTreeMap::new(),
        }
    }

    /// Goes on for as long as there are events.
    pub async fn run(
        mut self,
        mut events: mpsc::Receiver<Event>,
        mut leading: channel::Receiver<bool>,
    ) {
        loop {
            let due =
                [self.again, self.findings.due(), self.fights.due()].into_iter().flatten().min();
            tokio::select! {
                event = events.recv() => {
                    let Some(event) = event else { return };
                    self.index.take(event);
                    for _ in 0..TOGETHER {
                        let Ok(event) = events.try_recv() else { break };
                        self.index.take(event);
                    }
                }
                changed = leading.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
                () = until(due) => {}
            }
            self.again = None;
            if self.index.is_complete() && self.writer.is_open() {
                self.round().await;
            }
        }
    }

    async fn round(&mut self) {
        for _ in 0..CLAIM_ROUNDS {
            let outcome = self.plan();
            match self.write_claims(&outcome).await {
                Claimed::All => {
                    self.write_statuses(&outcome).await;
                    return;
                }
                Claimed::More => {}
                Claimed::Later => return,
            }
        }
        self.later();
    }

    /// Brings the planner up to what is known, and plans.
    fn plan(&mut self) -> Outcome {
        let now = Instant::now();
        self.findings.forget(now);
        self.index.planner.set_release(self.index.is_whole());
        self.index.planner.set_claims(self.index.vips.claims());
        let plan = self.index.planner.run().plan;
        let reports: Reports = (self.index.speakers.iter())
            .map(|(node, status)| (node.clone(), NodeReport::from_speaker(status, &plan)))
            .collect();
        let all = everybody(&reports);
        for (address, state) in &all.vips {
            if matches!(state, VipState::Serving(_)) {
                self.index.planner.publish(*address);
            }
        }
        self.findings.learn(&all, now);
        self.index.planner.set_foreign(self.findings.addresses());
        self.index.planner.set_reports(reports);
        self.index.planner.run()
    }

    /// Makes the objects what the claims are.
    async fn write_claims(&mut self, _outcome: &Outcome) -> Claimed {
        let wanted: BTreeMap<IpAddr, _> = (self.index.planner.claims().0.iter())
            .map(|(address, claim)| (*address, claims::spec(*address, claim)))
            .collect();
        let mut writes = Vec::new();
        for (address, spec) in &wanted {
            match self.index.vips.get(*address) {
                Some(known) if known == spec => {}
                _ => writes.push((*address, Some(spec.clone()))),
            }
        }
        for address in self.index.vips.addresses().filter(|address| !wanted.contains_key(address)) {
            writes.push((address, None));
        }
        if writes.is_empty() {
            return Claimed::All;
        }
        // Releases first: an address that is free again may be wanted by somebody else.
        writes.sort_by_key(|(_, spec)| spec.is_some());
        for (address, spec) in writes {
            let object = ObjectRef {
                kind: Kind::VirtualIp,
                key: ObjectKey::new("", virtual_ip_name(address)),
            };
            let version = Kind::VirtualIp.versions()[0];
            let seen = self.index.seen.get(&object).cloned();
            let written = match (&spec, &seen) {
                (None, None) => Written::Gone,
                (None, Some(seen)) => {
                    self.writer.delete(&object, version, &seen.resource_version).await
                }
                (Some(spec), None) => {
                    let body = json!({
                        "apiVersion": Kind::VirtualIp.api_version(),
                        "kind": Kind::VirtualIp.name(),
                        "metadata": {"name": object.key.name},
                        "spec": spec,
                    });
                    self.writer.create(&object, version, body).await
                }
                (Some(spec), Some(seen)) => {
                    let change = json!({"spec": spec});
                    self.writer.merge(&object, version, &seen.resource_version, change).await
                }
            };
            match written {
                Written::Done(now) => {
                    self.note(&object, &now, version);
                    if let Some(spec) = spec {
                        self.index.vips.set(spec);
                    }
                }
                Written::Gone => {
                    self.index.seen.remove(&object);
                    self.index.vips.delete(&object.key);
                }
                Written::Overtaken | Written::Closed => return Claimed::Later,
                Written::Failed(why) => {
                    self.complain(&object, why);
                    self.later();
                    return Claimed::Later;
                }
            }
        }
        Claimed::More
    }

    async fn write_statuses(&mut self, outcome: &Outcome) {
        let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let jobs: Vec<Job> = self.statuses(outcome, &now);
        let (writer, recorder) = (&self.writer, &self.recorder);
        let writes = jobs.into_iter().map(|job| async move {
            let Job { object, seen, status } = job;
            let written =
                writer.status(&object, seen.version, &seen.resource_version, &status).await;
            if matches!(written, Written::Done(_)) {
                tell(recorder, &object, seen.version, &transitions(seen.status.as_ref(), &status))
                    .await;
            }
            (object, seen.version, written)
        });
        let written: Vec<_> =
            futures_util::stream::iter(writes).buffer_unordered(AT_ONCE).collect().await;
        for (object, version, written) in written {
            match written {
                Written::Done(now) => {
                    self.note(&object, &now, version);
                    self.said.remove(&object);
                }
                Written::Gone | Written::Overtaken | Written::Closed => {}
                Written::Failed(why) => {
                    self.complain(&object, why);
                    self.later();
                }
            }
        }
    }

    /// The statuses that are not as they are to be.
    fn statuses(&mut self, outcome: &Outcome, now: &str) -> Vec<Job> {
        let mut jobs = Vec::new();
        let instant = Instant::now();
        let spoken_of = outcome.statuses.objects().collect::<Vec<_>>();
        // Routes that were ours and name no Gateway of ours any more.
        let left = self.index.seen.iter().filter(|(object, seen)| {
            object.kind.is_route()
                && !outcome.statuses.routes.contains_key(object)
                && seen.status.as_ref().is_some_and(speaks_for_us)
        });
        let left: Vec<ObjectRef> = left.map(|(object, _)| object.clone()).collect();
        for object in spoken_of.into_iter().chain(left) {
            let Some(seen) = self.index.seen.get(&object).cloned() else { continue };
            let generation = self.index.generation(&object);
            let ours = outcome
                .statuses
                .json(&object, generation)
                .unwrap_or_else(|| json!({"parents": []}));
            let Some(status) = merged(object.kind, seen.status.as_ref(), &ours, now) else {
                continue;
            };
            if self.fights.may_write(&object, &ours, instant) {
                jobs.push(Job { object, seen, status });
            }
        }
        jobs
    }

    /// Remembers an object as it came back from a write.
    fn note(&mut self, object: &ObjectRef, now: &kube::api::DynamicObject, version: &'static str) {
        let seen = Seen {
            version,
            resource_version: now.metadata.resource_version.clone().unwrap_or_default(),
            status: now.data.get("status").filter(|status| !status.is_null()).cloned(),
        };
        self.index.seen.insert(object.clone(), Arc::new(seen));
    }

    fn complain(&mut self, object: &ObjectRef, why: String) {
        if self.said.get(object) != Some(&why) {
            tracing::warn!("{why}");
            self.said.insert(object.clone(), why);
        }
    }

    fn later(&mut self) {
        self.again.get_or_insert(Instant::now() + AGAIN);
    }
}

enum Claimed {
    /// Every claim is an object.
    All,
    /// Objects were written; what follows from them is to be seen.
    More,
    /// Not now.
    Later,
}

/// All nodes as one: an address serves if it serves anywhere, then it is contested if somebody says so.
fn everybody(reports: &Reports) -> NodeReport {
    let mut all = NodeReport::default();
    for (address, state) in reports.values().flat_map(|report| &report.vips) {
        let rank = |state: &VipState| match state {
            VipState::Serving(_) => 0,
            VipState::Conflict(_) => 1,
            VipState::Probing => 2,
            VipState::Failed(_) => 3,
        };
        let known = all.vips.entry(*address).or_insert_with(|| state.clone());
        if rank(state) < rank(known) {
            *known = state.clone();
        }
    }
    all
}

fn speaks_for_us(status: &Value) -> bool {
    let parents = status["parents"].as_array();
    parents.into_iter().flatten().any(|p| p["controllerName"] == vipgate_api::CONTROLLER_NAME)
}

/// One event for each transition.
async fn tell(recorder: &Recorder, object: &ObjectRef, version: &str, what: &[Transition]) {
    let reference = k8s_openapi::api::core::v1::ObjectReference {
        api_version: Some(object.kind.api_version_in(version)),
        kind: Some(object.kind.name().to_owned()),
        name: Some(object.key.name.clone()),
        namespace: Some(object.key.namespace.clone()).filter(|namespace| !namespace.is_empty()),
        ..Default::default()
    };
    for transition in what {
        let Transition { kind, status, reason, message, of } = transition;
        let good = (status == "True") != (kind == "Conflicted");
        let subject = if of.is_empty() { String::new() } else { format!(" for {of}") };
        let mut note = format!("{kind}={status}{subject}: {message}");
        note.truncate(note.floor_char_boundary(1000));
        let event = Told {
            type_: if good { EventType::Normal } else { EventType::Warning },
            reason: reason.clone(),
            note: Some(note),
            action: kind.clone(),
            secondary: None,
        };
        if let Err(error) = recorder.publish(&event, &reference).await {
            tracing::debug!(%error, %object, "an event is lost");
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

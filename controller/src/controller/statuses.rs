//! Statuses: what is to be said, where it differs from what is said.

use std::sync::Arc;
use std::time::Instant;

use futures_util::StreamExt;
use kube::api::DynamicObject;
use serde_json::{Value, json};
use vipgate_api::{Condition, ConditionType, Kind, ObjectRef, Reason};
use vipgate_planner::Outcome;

use super::{AT_ONCE, Controller};
use crate::companion::{self, Companion};
use crate::fights::{PAUSE, Verdict};
use crate::former;
use crate::ip_mode::{self, IpMode};
use crate::merge::{add_condition, merged, timeless, transitions};
use crate::watch::{Kept, Seen};
use crate::writer::Written;

/// Statuses written at a time. Between two times is heard what happened meanwhile, so that no watch waits
/// for ten thousand writes, and what is to be written next is worked out when it is its turn.
const AT_A_TIME: usize = 256;
/// Kinds that make a Gateway or ListenerSet ours.
const OF_PARENTS: [Kind; 2] = [Kind::GatewayClass, Kind::Gateway];

/// A status to be written.
struct Job {
    object: ObjectRef,
    seen: Arc<Seen>,
    /// What we say of it, between what others say.
    status: Value,
    /// It is said because of a fight, which goes on.
    is_last_word: bool,
}

impl Controller {
    pub(super) async fn write_statuses(&mut self, outcome: &Outcome) {
        self.try_ip_mode(outcome).await;
        self.agenda.compare(&outcome.statuses, self.index.planner.world());
        let knows_parents = self.index.has_read(&OF_PARENTS);
        if knows_parents != std::mem::replace(&mut self.knows_parents, knows_parents) {
            self.agenda.open_all(outcome.statuses.former.keys().cloned());
        }
        let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let (mut jobs, fights) = self.statuses(outcome, &now);
        for (object, ours) in fights {
            jobs.extend(self.last_word(object, ours, &now).await);
        }
        self.teller.hold(self.unfinished.is_some());
        let writer = self.writer.clone();
        let writer = &writer;
        let writes = jobs.into_iter().map(|job| async move {
            let Job { object, seen, status, .. } = &job;
            let written = writer.status(object, seen.version, &seen.resource_version, status).await;
            (job, written)
        });
        // Each answer is a whole object: none waits for the others.
        let mut writes = futures_util::stream::iter(writes).buffer_unordered(AT_ONCE);
        let (mut done, mut failed, kept) = (false, false, self.ip_mode);
        while let Some((job, written)) = writes.next().await {
            match written {
                Written::Done(now) => {
                    done = true;
                    self.said_it(job, &now);
                }
                // The watch brings what is there now.
                Written::Gone | Written::Overtaken => {}
                Written::Closed => failed = true,
                Written::Failed(why) => {
                    self.complain(&job.object, why);
                    failed = true;
                }
            }
        }
        if self.ip_mode != kept {
            // Those of this batch were worked out before that was known.
            self.open_services();
        }
        if failed || (self.unfinished.is_some() && !done) {
            // Whoever refuses one is not to be asked ten thousand times a second.
            self.unfinished = None;
            self.later();
        }
        self.teller.hold(self.unfinished.is_some());
    }

    /// Finds out whether `ipMode` is kept when that is open and a companion has addresses to show: by a
    /// write that is not carried out.
    async fn try_ip_mode(&mut self, outcome: &Outcome) {
        if self.ip_mode != Some(IpMode::Unsure) || self.settings.companion != Companion::Service {
            return;
        }
        let world = self.index.planner.world();
        for (object, status) in companion::statuses(world, &outcome.statuses) {
            if status["loadBalancer"]["ingress"].is_null() {
                continue;
            }
            let Some(seen) = self.index.seen.get(&object).cloned() else { continue };
            let answer = self
                .writer
                .try_status(&object, seen.version, &seen.resource_version, &status)
                .await;
            let Written::Done(would_be) = answer else { continue };
            self.learn_ip_mode(&status, &would_be);
            if self.ip_mode != Some(IpMode::Unsure) {
                return;
            }
        }
    }

    /// Learns from what came back of a status of a Service.
    fn learn_ip_mode(&mut self, written: &Value, now: &DynamicObject) {
        let kept = now.data.get("status").unwrap_or(&Value::Null);
        let Some(learnt) = IpMode::of_answer(written, kept) else { return };
        if self.ip_mode == Some(learnt) {
            return;
        }
        if learnt == IpMode::Dropped {
            tracing::warn!(
                "this API server does not keep ipMode in the status of Services (it came with \
                 Kubernetes 1.30): the Services beside Gateways show no addresses"
            );
        }
        self.ip_mode = Some(learnt);
        self.open_services();
        self.later();
    }

    /// What Services show has to be looked at again: it depends on what the API server keeps.
    pub(super) fn open_services(&mut self) {
        let services = self.index.seen.keys().filter(|object| object.kind == Kind::Service);
        self.agenda.open_all(services.cloned());
    }

    /// The statuses that are not as they are to be, as many as are written together, and those that a
    /// fight began over.
    fn statuses(&mut self, outcome: &Outcome, now: &str) -> (Vec<Job>, Vec<(ObjectRef, Value)>) {
        let (mut jobs, mut fights) = (Vec::new(), Vec::new());
        let instant = Instant::now();
        for object in self.agenda.objects() {
            if jobs.len() >= AT_A_TIME {
                self.unfinished = Some(outcome.clone());
                self.agenda.look_on_after(jobs.last().map(|job: &Job| &job.object));
                break;
            }
            let seen = self.index.seen.get(&object).cloned();
            let Some((seen, ours)) = seen.zip(self.to_say(outcome, &object)) else {
                self.agenda.close(&object);
                continue;
            };
            let before = seen.status.as_ref().map(Kept::value);
            let status = merged(object.kind, before.as_ref(), &ours, now);
            let Some(status) =
                status.filter(|status| !self.is_kept_so(&object, status, before.as_ref()))
            else {
                self.agenda.close(&object);
                continue;
            };
            match self.fights.judge(&object, &ours, instant) {
                Verdict::Write => jobs.push(Job { object, seen, status, is_last_word: false }),
                Verdict::Begins => fights.push((object, ours)),
                Verdict::Paused(until) => self.try_again(until),
            }
        }
        (jobs, fights)
    }

    /// What we say of an object.
    fn to_say(&self, outcome: &Outcome, object: &ObjectRef) -> Option<Value> {
        let (statuses, generation) = (&outcome.statuses, self.index.generation(object));
        if object.kind == Kind::Service
            && let Some(status) = self.of_companion(outcome, object)
        {
            return Some(status);
        }
        if let Some(mut ours) = statuses.json(object, generation) {
            if object.kind == Kind::Service && self.ip_mode == Some(IpMode::Dropped) {
                ip_mode::strip(&mut ours);
            }
            return Some(ours);
        }
        let seen = self.index.seen.get(object)?;
        // Routes and policies that were ours and have nothing to do with a Gateway of ours any more.
        let list = match object.kind {
            kind if kind.is_route() => "parents",
            kind if kind.is_policy() => "ancestors",
            _ if self.knows_parents && former::is_left(statuses, object, seen) => {
                return statuses.former_json(object, generation);
            }
            _ => return None,
        };
        let speaks = seen.status.as_ref().is_some_and(|kept| speaks_for_us(&kept.value()[list]));
        speaks.then(|| json!({list: []}))
    }

    /// What a Service shows if it is a companion.
    fn of_companion(&self, outcome: &Outcome, object: &ObjectRef) -> Option<Value> {
        if self.settings.companion != Companion::Service {
            return None;
        }
        let world = self.index.planner.world();
        let service = &world.services.get(&object.key)?.object;
        let keeps = self.ip_mode == Some(IpMode::Kept);
        companion::status(world, &outcome.statuses, service, keeps)
    }

    /// Whether the API server made of this very status what is there.
    fn is_kept_so(&self, object: &ObjectRef, status: &Value, seen: Option<&Value>) -> bool {
        self.altered.get(object).is_some_and(|(written, kept)| {
            *written == timeless(status) && seen.map(timeless).as_ref() == Some(kept)
        })
    }

    fn said_it(&mut self, job: Job, now: &DynamicObject) {
        let Job { object, seen, status, is_last_word, .. } = job;
        let before = seen.status.as_ref().map(Kept::value);
        self.teller.tell(&object, &seen, &transitions(before.as_ref(), &status));
        self.fights.wrote(&object);
        if !is_last_word {
            self.agenda.close(&object);
        }
        self.note(&object, now, seen.version);
        let kept = now.data.get("status").map(timeless).unwrap_or_default();
        let written = timeless(&status);
        if object.kind == Kind::Service {
            self.learn_ip_mode(&written, now);
        }
        match written == kept {
            true => drop(self.altered.remove(&object)),
            false => drop(self.altered.insert(object, (written, kept))),
        }
    }

    /// What is said last in a fight: with whom it is.
    async fn last_word(&mut self, object: ObjectRef, mut ours: Value, now: &str) -> Option<Job> {
        let seen = self.index.seen.get(&object).cloned()?;
        let rival = self.writer.rival(&object, seen.version).await;
        let rival = rival.unwrap_or_else(|| "unknown".to_owned());
        let message = format!(
            "field manager {rival:?} keeps overwriting what vipgate writes here; vipgate writes it \
             again in {} minutes, or when there is something new to say: end the other writer, or \
             take this object out of its hands",
            PAUSE.as_secs() / 60
        );
        tracing::error!(%object, rival, "a fight over a status: writing stops for it");
        let condition = Condition::holds(ConditionType::Contested, Reason::OtherWriter, message);
        let mut condition = serde_json::to_value(condition).ok()?;
        if let Some(generation) = self.index.generation(&object) {
            condition["observedGeneration"] = generation.into();
        }
        add_condition(&mut ours, &condition);
        let before = seen.status.as_ref().map(Kept::value);
        let status = merged(object.kind, before.as_ref(), &ours, now)?;
        Some(Job { object, seen, status, is_last_word: true })
    }
}

fn speaks_for_us(entries: &Value) -> bool {
    let mut entries = entries.as_array().into_iter().flatten();
    entries.any(|entry| entry["controllerName"] == vipgate_api::CONTROLLER_NAME)
}

//! Objects that are kept for others: companions, copies of certificates, finalizers, and those that whoever
//! installed vipgate asked for.

use std::time::Instant;

use futures_util::StreamExt;
use kube::api::DynamicObject;
use vipgate_api::{Condition, ConditionType, Kind, Reason};
use vipgate_planner::Outcome;

use super::bundles::Known;
use super::{AT_ONCE, Controller};
use crate::change::Change;
use crate::fights::Verdict;
use crate::merge::{Part, Transition};
use crate::watch::Seen;
use crate::writer::{Writer, Written};
use crate::{class, companion, copies};

/// Kinds that a companion follows from.
const OF_COMPANIONS: [Kind; 4] =
    [Kind::GatewayClass, Kind::Gateway, Kind::Service, Kind::ServiceAccount];
/// Kinds that a copy of a certificate follows from.
const OF_COPIES: [Kind; 5] =
    [Kind::GatewayClass, Kind::Gateway, Kind::ListenerSet, Kind::ReferenceGrant, Kind::Secret];
/// Kinds that a copy of authorities follows from.
const OF_BUNDLES: [Kind; 12] = [
    Kind::GatewayClass,
    Kind::Gateway,
    Kind::ListenerSet,
    Kind::ReferenceGrant,
    Kind::ConfigMap,
    Kind::BackendTlsPolicy,
    Kind::Namespace,
    Kind::Service,
    Kind::Backend,
    Kind::TcpRoute,
    Kind::TlsRoute,
    Kind::HttpRoute,
];

impl Controller {
    /// Sees to it that there are the pools that were asked for. They are known at once, not only when the watch
    /// tells of them: until then an address of theirs is of no pool, and whoever has it would lose it.
    pub(super) async fn write_pools(&mut self) {
        if !self.index.has_all(Kind::IpAddressPool) {
            return;
        }
        self.tell_of_taken();
        let (initial, install) = (&self.settings.initial, &self.settings.namespace);
        let changes = initial.of_pools(self.index.planner.world(), install);
        for (change, version, now) in self.write(changes).await {
            if matches!(change, Change::Delete(_)) {
                continue;
            }
            self.take_in(now, change.object().kind, version);
        }
    }

    pub(super) async fn write_changes(&mut self, outcome: &Outcome) {
        let changes = self.changes(outcome);
        self.write(changes).await;
    }

    /// Carries changes out, and returns those that were, each with the version of its kind and with what came
    /// back.
    async fn write(&mut self, changes: Vec<Change>) -> Vec<(Change, &'static str, DynamicObject)> {
        let mut writes = Vec::new();
        let now = Instant::now();
        for change in changes {
            let object = change.object();
            if !self.index.is_current(object) {
                continue;
            }
            match self.other_fights.judge(object, change.content(), now) {
                Verdict::Write => {}
                Verdict::Begins => {
                    self.give_up(&change).await;
                    continue;
                }
                Verdict::Paused(until) => {
                    self.try_again(until);
                    continue;
                }
            }
            let seen = self.index.seen.get(object);
            let version = seen.map_or(object.kind.versions()[0], |seen| seen.version);
            let resource_version =
                seen.map(|seen| seen.resource_version.clone()).unwrap_or_default();
            let writer = self.writer.clone();
            writes.push(async move {
                let written = carry_out(&writer, &change, version, &resource_version).await;
                (change, version, written)
            });
        }
        let written: Vec<_> =
            futures_util::stream::iter(writes).buffer_unordered(AT_ONCE).collect().await;
        let mut done = Vec::new();
        for (change, version, written) in written {
            let object = change.object();
            match written {
                Written::Done(now) => {
                    self.note(object, &now, version);
                    self.other_fights.wrote(object);
                    done.push((change, version, *now));
                }
                Written::Gone => drop(self.index.seen.remove(object)),
                Written::Overtaken => {}
                Written::Closed => self.later(),
                Written::Failed(why) => {
                    self.complain(object, why);
                    self.later();
                }
            }
        }
        done
    }

    /// Everything but pools that is not as it is to be. What follows from kinds that are not all known is
    /// left as it is.
    fn changes(&self, outcome: &Outcome) -> Vec<Change> {
        let (world, statuses) = (self.index.planner.world(), &outcome.statuses);
        let mut all = Vec::new();
        if self.index.knows(&OF_COPIES) {
            let in_use = self.index.planner.secrets_in_use();
            all.extend(copies::changes(&world.secrets, &in_use, &self.settings.namespace));
        }
        if self.index.knows(&OF_BUNDLES) && self.bundles == Known::All {
            let in_use = self.index.planner.config_maps_in_use();
            all.extend(copies::changes(&world.config_maps, &in_use, &self.settings.namespace));
        }
        let knows = self.index.has_read(&OF_COMPANIONS);
        let (companion, accounts) = (self.settings.companion, &self.index.accounts);
        let plan = &outcome.plan;
        all.extend(companion::changes(world, accounts, statuses, plan, companion, knows));
        if self.index.knows(&[Kind::Gateway]) {
            all.extend(class::changes(world, statuses));
        }
        if self.index.has_all(Kind::GatewayClass) {
            all.extend(self.settings.initial.of_class(world));
        }
        all
    }

    /// Tells of pools that are asked for and are somebody else's.
    fn tell_of_taken(&mut self) {
        let (initial, install) = (&self.settings.initial, &self.settings.namespace);
        let taken: Vec<_> = initial.taken(self.index.planner.world(), install).collect();
        for pool in taken {
            let why = format!(
                "{pool} is not made as the installation asks for it: there is one that people made. \
                 Delete that, or give the one of the installation another name"
            );
            self.complain(&pool, why);
        }
    }

    /// Tells that somebody else keeps changing an object back, or taking it away.
    async fn give_up(&mut self, change: &Change) {
        let object = change.object();
        let Some(seen) = self.index.seen.get(object).cloned() else {
            tracing::error!(%object, "somebody keeps deleting what vipgate makes: it is not made again \
                for some minutes");
            let message = "somebody keeps deleting what vipgate makes".to_owned();
            let seen = Seen { version: object.kind.versions()[0], ..Seen::default() };
            return self.teller.tell(object, &seen, &[contested(message)]);
        };
        let rival = self.writer.rival(object, seen.version).await;
        let rival = rival.unwrap_or_else(|| "unknown".to_owned());
        tracing::error!(%object, rival, "a fight over an object: writing stops for it");
        let message = format!("field manager {rival:?} keeps changing back what vipgate writes");
        self.teller.tell(object, &seen, &[contested(message)]);
    }
}

/// What is said of a fight over an object that has no status of ours.
pub(super) fn contested(message: String) -> Transition {
    let condition = Condition::holds(ConditionType::Contested, Reason::OtherWriter, message);
    Transition { of: Part::Whole, condition }
}

async fn carry_out(
    writer: &Writer,
    change: &Change,
    version: &str,
    resource_version: &str,
) -> Written {
    match change {
        Change::Create(object, body) => writer.create(object, version, body.clone()).await,
        Change::Merge(object, fields) => {
            writer.merge(object, version, resource_version, fields.clone()).await
        }
        Change::Delete(object) => writer.delete(object, version, resource_version).await,
    }
}

//! The one task that owns the planner: what the cluster and this node say comes in, plans and the
//! status of this node go out.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use vipgate_api::k8s::{ConfigMap, Secret};
use vipgate_api::vipgate::{self, SpeakerStatus, VirtualIp, virtual_ip_name};
use vipgate_api::{Kind, Object, ObjectRef};
use vipgate_controller::claims::Vips;
use vipgate_controller::group_key;
use vipgate_controller::watch::Event;
use vipgate_planner::{Link, Neighbour, Neighbours, Node, NodeReport, Outcome, Planner, Role};
use vipgate_speaker::names::Resolver;
use vipgate_speaker::node::Speaker;

use super::copies::Copies;
use super::fitness;
use super::last_good::LastGood;
use super::members::Members;
use super::object::{Found, Owner};
use super::passwords::{Fate, Passwords};
use super::sessions::SessionEvents;
use super::troubles::{Subject, Troubles};
use crate::run::board::{Board, Situation};
use crate::run::journal::Journal;
use crate::status::report::Problem;

/// Events taken in before the next plan.
const TOGETHER: usize = 4096;
/// How long the first plan waits for kinds that neither come nor are refused, once claims are known.
const PATIENCE: Duration = Duration::from_secs(15);

/// Owns the planner and feeds it.
pub(super) struct Engine {
    planner: Planner,
    node: Node,
    /// The other nodes, and those that have a Speaker object.
    nodes: Neighbours,
    speakers: BTreeSet<String>,
    vips: Vips,
    copies: Copies<Secret>,
    bundles: Copies<ConfigMap>,
    passwords: Passwords,
    known: Knowledge,
    last_good: LastGood,
    troubles: Troubles,
    sessions: SessionEvents,
    speaker: Arc<Speaker>,
    resolver: Resolver,
    members: Members,
    /// What the last plan was made of, once there was one.
    outcome: Option<Outcome>,
    /// Whether the first plan was made true.
    is_so: bool,
    statuses: watch::Sender<Option<SpeakerStatus>>,
    found: watch::Sender<Found>,
    owner: watch::Sender<Owner>,
    awaited: watch::Sender<Vec<String>>,
    journal: Journal,
    board: Arc<Board>,
}

/// How much of the cluster is known.
#[derive(Debug, Default)]
struct Knowledge {
    /// Kinds that are served; `None` until that is known.
    served: Option<BTreeSet<Kind>>,
    complete: BTreeSet<Kind>,
    /// Kinds that may not be read: nothing to wait for.
    refused: BTreeSet<Kind>,
    /// When claims have been known for long enough.
    until: Option<Instant>,
}

impl Knowledge {
    fn complete(&mut self, kind: Kind, now: Instant) {
        self.complete.insert(kind);
        if kind == Kind::VirtualIp {
            self.until.get_or_insert(now + PATIENCE);
        }
    }

    /// Whether a kind is known as far as it can be.
    fn is_told(&self, kind: Kind) -> bool {
        self.complete.contains(&kind) || self.refused.contains(&kind)
    }

    /// What serving waits for.
    fn awaits(&self) -> Vec<String> {
        let Some(served) = &self.served else {
            return vec!["an answer of the API server: which kinds are served".to_owned()];
        };
        let missing = served.iter().filter(|kind| !self.is_told(**kind));
        missing.map(|kind| format!("all objects of kind {kind}")).collect()
    }

    /// Whether everything is known that can be known, so that serving may begin: half a world would
    /// be served half. Nothing goes without claims, and no other kind holds it up for ever.
    fn is_enough(&self, now: Instant) -> bool {
        let known = |served: &BTreeSet<Kind>| served.iter().all(|kind| self.is_told(*kind));
        let all = self.served.as_ref().is_some_and(known);
        self.until.is_some_and(|until| all || until <= now)
    }
}

impl Engine {
    pub(super) fn new(
        node: &str,
        speaker: Arc<Speaker>,
        resolver: Resolver,
        members: Members,
        last_good: LastGood,
        board: Arc<Board>,
        sessions: SessionEvents,
    ) -> Self {
        let node = Node { name: node.to_owned(), ..Node::default() };
        Self {
            planner: Planner::in_role(Role::Speaker),
            node,
            nodes: Neighbours::new(),
            speakers: BTreeSet::new(),
            vips: Vips::default(),
            copies: Copies::default(),
            bundles: Copies::default(),
            passwords: Passwords::default(),
            known: Knowledge::default(),
            last_good,
            troubles: Troubles::default(),
            sessions,
            speaker,
            resolver,
            members,
            outcome: None,
            is_so: false,
            statuses: watch::Sender::new(None),
            found: watch::Sender::default(),
            owner: watch::Sender::default(),
            awaited: watch::Sender::new(Knowledge::default().awaits()),
            journal: Journal::default(),
            board,
        }
    }

    /// What is to stand in the Speaker object, each time it changes; nothing before the first plan.
    pub(super) fn statuses(&self) -> watch::Receiver<Option<SpeakerStatus>> {
        self.statuses.subscribe()
    }

    /// What stands in the Speaker object.
    pub(super) fn found(&self) -> watch::Receiver<Found> {
        self.found.subscribe()
    }

    /// What there is to wait for until this node serves what it is to serve.
    pub(super) fn awaited(&self) -> watch::Receiver<Vec<String>> {
        self.awaited.subscribe()
    }

    /// The Node that owns the Speaker object.
    pub(super) fn owner(&self) -> watch::Receiver<Owner> {
        self.owner.subscribe()
    }

    /// Goes on for as long as there are events; `rivals` are other processes of this node's name.
    pub(super) async fn run(
        mut self,
        mut events: mpsc::Receiver<Event>,
        mut rivals: watch::Receiver<Option<String>>,
    ) {
        let (mut links, mut reports) = (self.speaker.links(), self.speaker.reports());
        let mut answers = self.resolver.answers();
        self.follow_links(&mut links);
        loop {
            tokio::select! {
                event = events.recv() => {
                    let Some(event) = event else { return };
                    self.take(event);
                    for _ in 0..TOGETHER {
                        let Ok(event) = events.try_recv() else { break };
                        self.take(event);
                    }
                }
                Ok(()) = links.changed() => self.follow_links(&mut links),
                Ok(()) = reports.changed() => {}
                Ok(()) = answers.changed() => {
                    self.planner.set_names(answers.borrow_and_update().clone());
                }
                () = self.members.changed() => {}
                Ok(()) = rivals.changed() => self.note_rival(rivals.borrow_and_update().as_deref()),
                () = until(self.known.until), if self.outcome.is_none() => {}
                () = until(self.last_good.recall_at()), if self.outcome.is_none() => {}
                () = until(self.last_good.write_at()), if self.outcome.is_some() => {}
                () = until(self.sessions.due()) => {}
            }
            if let Some(joined) = self.members.join() {
                self.troubles.note(Subject::Key, joined.err());
            }
            let report = reports.borrow_and_update().clone();
            self.settle(report);
        }
    }

    fn follow_links(&mut self, links: &mut watch::Receiver<Vec<Link>>) {
        self.node.links.clone_from(&links.borrow_and_update());
        self.planner.set_node(self.node.clone());
    }

    fn note_rival(&mut self, rival: Option<&str>) {
        let text = rival.map(|rival| {
            format!(
                "another process is the speaker of node {}, too: {rival}. There can be one: end it, \
                 or give it the name of its own node (--node)",
                self.node.name
            )
        });
        match &text {
            Some(text) => tracing::warn!("{text}"),
            None => tracing::info!("this process is the only speaker of the node again"),
        }
        self.troubles.note(Subject::Rival, text);
    }

    fn take(&mut self, event: Event) {
        self.last_good.take(&event);
        match event {
            Event::Applied(object, age, seen) => {
                self.troubles.note(Subject::Object(object.reference()), None);
                match object {
                    Object::VirtualIp(vip) => self.claim(&vip),
                    Object::Node(node) if node.metadata.name.as_ref() != Some(&self.node.name) => {
                        let neighbour = Neighbour {
                            labels: node.metadata.labels.clone().unwrap_or_default(),
                            gives_way: fitness::gives_way(&node).is_some(),
                        };
                        let name = node.metadata.name.clone().unwrap_or_default();
                        self.nodes.insert(name, neighbour);
                        self.look_around();
                    }
                    Object::Node(node) => {
                        self.node.labels = node.metadata.labels.clone().unwrap_or_default();
                        self.node.gives_way = fitness::gives_way(&node);
                        let why = self.node.gives_way.as_ref();
                        let why = why.map(|why| {
                            format!("VIPs of this node go to others that can have them: {why}")
                        });
                        self.troubles.note(Subject::Unfit, why);
                        self.planner.set_node(self.node.clone());
                        self.owned_by(node.metadata.uid.clone());
                        self.troubles.note(Subject::Node, None);
                    }
                    Object::Speaker(speaker) => {
                        self.members.heed(&speaker);
                        if let Some(name) = &speaker.metadata.name
                            && self.speakers.insert(name.clone())
                        {
                            self.look_around();
                        }
                        if self.is_own(&speaker) {
                            self.members.introduced(&speaker);
                            self.found.send_replace(Found::of(&speaker));
                        } else {
                            self.members.met(&speaker);
                        }
                    }
                    Object::Secret(secret) => {
                        if let Some(keys) = self.members.learn(&secret) {
                            self.troubles.note(Subject::Key, keys.err());
                        }
                        match self.passwords.apply(&secret) {
                            Fate::Known => {
                                self.planner
                                    .apply(Object::Secret(Arc::clone(&secret)), age.clone());
                            }
                            Fate::Gone => {
                                self.planner
                                    .delete(&Object::Secret(Arc::clone(&secret)).reference());
                            }
                            Fate::Other => {}
                        }
                        let (gone, original) = self.copies.apply(&secret);
                        if let Some(gone) = gone {
                            self.planner.delete(&gone);
                        }
                        if let Some(original) = original {
                            self.planner.apply(Object::Secret(original), age);
                        }
                    }
                    Object::ConfigMap(map) => {
                        let (gone, original) = self.bundles.apply(&map);
                        if let Some(gone) = gone {
                            self.planner.delete(&gone);
                        }
                        if let Some(original) = original {
                            self.planner.apply(Object::ConfigMap(original), age);
                        }
                    }
                    Object::BgpPeer(_) => {
                        self.sessions.applied(object.reference(), seen);
                        self.planner.apply(object, age);
                    }
                    object => drop(self.planner.apply(object, age)),
                }
            }
            Event::Deleted(object) => self.delete(object),
            Event::Served(served) => {
                self.known.served = Some(served.versions.into_keys().collect());
            }
            Event::Synced(kind) => {
                self.known.complete(kind, Instant::now());
                if kind == Kind::Node {
                    self.look_for_node();
                }
                if kind == Kind::Speaker {
                    self.members.all_met();
                }
                if kind == Kind::Secret && !self.members.has_key() {
                    let why = format!(
                        "there is no Secret {} yet, by which speakers know each other: a controller \
                         makes it, does one run?",
                        group_key::NAME
                    );
                    self.troubles.note(Subject::Key, Some(why));
                }
            }
            Event::Trouble(kind, why) => {
                if kind == Kind::Speaker {
                    self.members.all_met();
                }
                self.known.refused.insert(kind);
                self.troubles.note(Subject::Kind(kind), Some(why));
            }
            Event::Well(kind) => {
                self.known.refused.remove(&kind);
                self.troubles.note(Subject::Kind(kind), None);
            }
            Event::Away(why) => {
                let text = why.map(|why| {
                    format!("the API server does not answer; what is known is served on: {why}")
                });
                self.troubles.note(Subject::Api, text);
            }
            Event::Unreadable(object, why, _) => {
                let why = format!("cannot be read, what was known of it stays: {why}");
                self.troubles.note(Subject::Object(object), Some(why));
            }
        }
    }

    /// Only what is named after its address is a claim.
    fn claim(&mut self, vip: &VirtualIp) {
        let (named, right) = (vip.metadata.name.as_ref(), virtual_ip_name(vip.spec.address));
        if named != Some(&right) {
            let object = Object::VirtualIp(Arc::new(vip.clone())).reference();
            let why = format!("ignored: one for {} has to be named {right}", vip.spec.address);
            self.troubles.note(Subject::Object(object), Some(why));
        }
        if self.vips.apply(vip) {
            self.planner.set_claims(self.vips.claims());
        }
    }

    fn delete(&mut self, object: ObjectRef) {
        self.troubles.note(Subject::Object(object.clone()), None);
        match object.kind {
            Kind::VirtualIp => {
                if self.vips.delete(&object.key) {
                    self.planner.set_claims(self.vips.claims());
                }
            }
            Kind::Secret => {
                if self.passwords.gone(&object.key) {
                    self.planner.delete(&object);
                }
                if let Some(original) = self.copies.gone(&object.key) {
                    self.planner.delete(&original);
                }
            }
            Kind::ConfigMap => {
                if let Some(original) = self.bundles.gone(&object.key) {
                    self.planner.delete(&original);
                }
            }
            Kind::Speaker if object.key.name == self.node.name => {
                self.found.send_replace(Found::default());
            }
            Kind::Speaker => {
                self.speakers.remove(&object.key.name);
                self.look_around();
                self.members.gone(&object.key.name);
            }
            Kind::Node if object.key.name != self.node.name => {
                self.nodes.remove(&object.key.name);
                self.look_around();
            }
            // Its labels count until there is one again: it may be registered anew.
            Kind::Node => {
                self.owned_by(None);
                self.look_for_node();
            }
            Kind::BgpPeer => {
                self.sessions.deleted(&object.key);
                self.planner.delete(&object);
            }
            _ => drop(self.planner.delete(&object)),
        }
    }

    fn owned_by(&mut self, owner: Owner) {
        self.owner.send_if_modified(|known| {
            let changed = *known != owner;
            *known = owner;
            changed
        });
    }

    /// Nodes without a speaker cannot have VIPs.
    fn look_around(&mut self) {
        let served = self.nodes.iter().filter(|(name, _)| self.speakers.contains(*name));
        let neighbours = served.map(|(name, node)| (name.clone(), node.clone())).collect();
        self.planner.set_neighbours(neighbours);
    }

    fn look_for_node(&mut self) {
        if self.node.labels.is_empty() && self.owner.borrow().is_none() {
            let why = format!(
                "there is no Node {} in the cluster, so advertisements with a nodeSelector do not \
                 count here: is --node right?",
                self.node.name
            );
            self.troubles.note(Subject::Node, Some(why));
        }
    }

    /// The API server does not tell: what it said before the restart is what there is.
    fn recall(&mut self) {
        let Some((kinds, events)) = self.last_good.recall(&self.known.complete) else { return };
        tracing::warn!(
            objects = events.len(),
            "the API server does not answer; served is what it said before the restart"
        );
        self.known.served.get_or_insert_default().extend(&kinds);
        for event in events {
            match &event {
                // What we said then is not to be taken for what stands there now.
                Event::Applied(Object::Speaker(own), ..) if self.is_own(own) => {
                    self.members.introduced(own);
                }
                _ => self.take(event),
            }
        }
        for kind in kinds {
            self.take(Event::Synced(kind));
        }
    }

    fn is_own(&self, speaker: &vipgate::Speaker) -> bool {
        speaker.metadata.name.as_ref() == Some(&self.node.name)
    }

    /// Plans, once enough is known, and says what is so.
    fn settle(&mut self, report: NodeReport) {
        if self.outcome.is_none() && !self.known.is_enough(Instant::now()) {
            self.recall();
        }
        // Later, a kind that comes is empty until it is known, as it was before.
        if self.outcome.is_some() || self.known.is_enough(Instant::now()) {
            self.last_good.is_outdated();
            self.last_good.write();
            self.planner.set_report(report.clone());
            let outcome = self.planner.run();
            self.resolver.want(self.planner.names_in_use());
            self.speaker.apply(Arc::clone(&outcome.plan));
            self.outcome = Some(outcome);
        }
        self.members.settle();
        self.tell(&report);
        let awaited = match (&self.outcome, self.is_so) {
            (None, _) => self.known.awaits(),
            (Some(_), false) => vec!["this node to do what was planned first".to_owned()],
            (Some(_), true) => Vec::new(),
        };
        self.awaited.send_if_modified(|told| {
            let before = std::mem::replace(told, awaited);
            *told != before
        });
        self.sessions.tell(&report.peers);
        let (plan, statuses) = match &self.outcome {
            Some(outcome) => (Arc::clone(&outcome.plan), Arc::clone(&outcome.statuses)),
            None => Default::default(),
        };
        let planned = statuses.problems.iter().map(|problem| Problem {
            place: None,
            object: Some(problem.object.to_string()),
            reason: Some(problem.reason),
            message: problem.message.clone(),
        });
        let situation = Situation {
            problems: self.troubles.problems().chain(planned).collect(),
            notes: (statuses.notes.iter().chain(&self.members.missing()))
                .map(|note| Problem::plain(note))
                .collect(),
            plan,
            statuses,
            claims: self.planner.claims().clone(),
            report: Arc::new(report),
        };
        self.journal.situation(&situation);
        // The cluster has the objects.
        self.board.show(situation, Vec::new());
    }

    /// What the Speaker object is to say. Before what was planned first is so, only where we are: it stays
    /// as it was before our restart otherwise.
    fn tell(&mut self, report: &NodeReport) {
        let is_so = |outcome: &Outcome| report.sources == outcome.plan.sources;
        self.is_so |= self.outcome.as_ref().is_some_and(is_so);
        let address = Some(self.members.address().to_string());
        let status = if self.is_so {
            report.to_speaker(address, self.members.names(), self.troubles.errors())
        } else if self.members.is_to_announce() && self.known.is_told(Kind::Node) {
            // With its owner from the first: a claim that is made anew looks like that of another process.
            let found = self.found.borrow().status.clone().unwrap_or_default();
            SpeakerStatus { group_address: address, ..found }
        } else {
            return;
        };
        self.statuses.send_if_modified(|current| {
            let changed = current.as_ref() != Some(&status);
            if changed {
                *current = Some(status);
            }
            changed
        });
    }
}

/// Waits for a moment; for ever when there is none.
async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serving_begins_with_everything_or_without_what_does_not_come() {
        let now = Instant::now();
        let kinds = || Some([Kind::VirtualIp, Kind::Gateway, Kind::TcpRoute].into());
        assert_eq!(Knowledge::default().awaits().len(), 1);
        let mut known = Knowledge { served: kinds(), ..Knowledge::default() };
        known.complete(Kind::Gateway, now);
        known.refused.insert(Kind::TcpRoute);
        assert_eq!(known.awaits(), ["all objects of kind VirtualIP"]);
        assert!(!known.is_enough(now + PATIENCE * 10), "claims are not known");
        known.complete(Kind::VirtualIp, now);
        assert!(known.is_enough(now));

        let mut known = Knowledge { served: kinds(), ..Knowledge::default() };
        known.complete(Kind::VirtualIp, now);
        known.complete(Kind::Gateway, now);
        assert!(!known.is_enough(now + PATIENCE / 2), "TCPRoutes may come");
        assert!(known.is_enough(now + PATIENCE));
    }
}

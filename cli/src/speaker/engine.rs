//! The one task that owns the planner: what the cluster and this node say comes in, plans and the
//! status of this node go out.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use vipgate_api::vipgate::SpeakerStatus;
use vipgate_api::{Kind, Object, ObjectRef};
use vipgate_controller::claims::Vips;
use vipgate_controller::watch::Event;
use vipgate_planner::{Link, Node, Planner, Role};
use vipgate_speaker::node::Speaker;

use super::copies::Copies;

/// Events taken in before the next plan.
const TOGETHER: usize = 4096;

/// Owns the planner and feeds it.
pub(super) struct Engine {
    planner: Planner,
    node: Node,
    vips: Vips,
    copies: Copies,
    /// Kinds that are served and not complete yet; `None` until it is known what is served.
    awaited: Option<BTreeSet<Kind>>,
    complete: BTreeSet<Kind>,
    speaker: Arc<Speaker>,
    statuses: watch::Sender<Option<SpeakerStatus>>,
}

impl Engine {
    pub(super) fn new(node: &str, speaker: Arc<Speaker>) -> Self {
        let node = Node { name: node.to_owned(), ..Node::default() };
        Self {
            planner: Planner::in_role(Role::Speaker),
            node,
            vips: Vips::default(),
            copies: Copies::default(),
            awaited: None,
            complete: BTreeSet::new(),
            speaker,
            statuses: watch::Sender::new(None),
        }
    }

    /// What is to stand in the Speaker object, each time it changes; nothing before the first plan.
    pub(super) fn statuses(&self) -> watch::Receiver<Option<SpeakerStatus>> {
        self.statuses.subscribe()
    }

    /// Goes on for as long as there are events.
    pub(super) async fn run(mut self, mut events: mpsc::Receiver<Event>) {
        let (mut links, mut reports) = (self.speaker.links(), self.speaker.reports());
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
                    self.settle();
                }
                Ok(()) = links.changed() => {
                    self.follow_links(&mut links);
                    self.settle();
                }
                Ok(()) = reports.changed() => {}
            }
            self.report(&mut reports);
        }
    }

    fn follow_links(&mut self, links: &mut watch::Receiver<Vec<Link>>) {
        self.node.links.clone_from(&links.borrow_and_update());
        self.planner.set_node(self.node.clone());
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Applied(Object::VirtualIp(vip), ..) => {
                if self.vips.apply(&vip) {
                    self.planner.set_claims(self.vips.claims());
                }
            }
            Event::Applied(Object::Node(node), ..) => {
                if node.metadata.name.as_ref() == Some(&self.node.name) {
                    self.node.labels = node.metadata.labels.clone().unwrap_or_default();
                    self.planner.set_node(self.node.clone());
                }
            }
            Event::Applied(Object::Secret(secret), age, _) => {
                if let Some(original) = self.copies.original(&secret) {
                    self.planner.apply(Object::Secret(original), age);
                }
            }
            Event::Applied(object, age, _) => {
                self.planner.apply(object, age);
            }
            Event::Deleted(ObjectRef { kind: Kind::VirtualIp, key }) => {
                if self.vips.delete(&key) {
                    self.planner.set_claims(self.vips.claims());
                }
            }
            Event::Deleted(ObjectRef { kind: Kind::Secret, key }) => {
                if let Some(original) = self.copies.gone(&key) {
                    self.planner.delete(&original);
                }
            }
            Event::Deleted(object) => {
                self.planner.delete(&object);
            }
            Event::Served(served) => self.awaited = Some(served.versions.into_keys().collect()),
            // A kind that may not be read is nothing to wait for.
            Event::Synced(kind) | Event::Trouble(kind, _) => drop(self.complete.insert(kind)),
            Event::Well(_) | Event::Away(_) | Event::Unreadable(..) => {}
        }
    }

    /// Plans, once everything is known: half a world would be served half.
    fn settle(&mut self) {
        let Some(awaited) = &self.awaited else { return };
        if awaited.contains(&Kind::VirtualIp) && awaited.is_subset(&self.complete) {
            let outcome = self.planner.run();
            self.speaker.apply(outcome.plan);
        }
    }

    fn report(&self, reports: &mut watch::Receiver<vipgate_planner::NodeReport>) {
        if self.awaited.as_ref().is_none_or(|awaited| !awaited.is_subset(&self.complete)) {
            return;
        }
        let report = reports.borrow_and_update();
        let status = report.to_speaker(vec![self.node.name.clone()], Vec::new());
        self.statuses.send_if_modified(|current| {
            let changed = current.as_ref() != Some(&status);
            if changed {
                *current = Some(status);
            }
            changed
        });
    }
}

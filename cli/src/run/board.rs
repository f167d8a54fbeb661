//! The board: the last known situation, from which `vipgate status` is answered.
//!
//! The engine puts a situation up; whoever asks gets a report of it together with the counters of
//! the moment. Nothing is computed while nobody asks.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use vipgate_api::vipgate::{ListenerFault, Transport};
use vipgate_api::{Object, ObjectRef};
use vipgate_planner::{
    BackendShare, Claim, Claims, Endpoint, Listener, ListenerState, NodeReport, Plan, Statuses,
    Target, VipState,
};
use vipgate_speaker::node::Speaker;
use vipgate_speaker::proxy::EndpointHealth;
use vipgate_speaker::reach::{Outcome, Reached};
use vipgate_speaker::{proxy, udp};

use super::admin::Reporter;
use super::nodes;
use crate::status::report::{
    BackendStatus, EndpointStatus, ListenerStatus, PolicyLine, PortStatus, ProbeStatus, Problem,
    RouteStatus, SCHEMA_VERSION, StatusReport, VipStatus,
};

/// What follows from everything known at one moment.
#[derive(Debug, Default)]
pub(crate) struct Situation {
    pub(crate) plan: Arc<Plan>,
    pub(crate) statuses: Arc<Statuses>,
    pub(crate) claims: Claims,
    pub(crate) report: Arc<NodeReport>,
    pub(crate) problems: Vec<Problem>,
    pub(crate) notes: Vec<Problem>,
}

/// An object that may have a status.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    pub(crate) object: Object,
    /// The version of the kind that it is written in, and shown in.
    pub(crate) version: &'static str,
}

/// The situation, for those who ask.
pub(crate) struct Board {
    node: String,
    speaker: Arc<Speaker>,
    shown: Mutex<(Arc<Situation>, Objects)>,
}

/// The objects that are not the cluster's to show.
type Objects = BTreeMap<ObjectRef, Shown>;

/// Objects that are others than before; absent, where they are gone.
pub(crate) type Changes = Vec<(ObjectRef, Option<Shown>)>;

impl Board {
    pub(crate) fn new(node: String, speaker: Arc<Speaker>) -> Self {
        Self { node, speaker, shown: Mutex::default() }
    }

    /// Replaces the situation, and the objects that have changed.
    pub(crate) fn show(&self, situation: Situation, changes: Changes) {
        let situation = Arc::new(situation);
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        for (reference, object) in changes {
            match object {
                Some(object) => drop(shown.1.insert(reference, object)),
                None => drop(shown.1.remove(&reference)),
            }
        }
        let before = std::mem::replace(&mut shown.0, situation);
        drop(shown);
        // Not while somebody waits for the next one.
        drop(before);
    }

    /// The situation, and the objects that have a status in it.
    fn look(&self) -> (Arc<Situation>, Vec<(ObjectRef, Shown)>) {
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let (situation, objects) = (Arc::clone(&shown.0), &shown.1);
        let known = |reference: ObjectRef| {
            let object = objects.get(&reference)?.clone();
            Some((reference, object))
        };
        let objects = situation.statuses.objects().filter_map(known).collect();
        (situation, objects)
    }
}

impl Reporter for Board {
    fn report(&self) -> StatusReport {
        let (situation, objects) = self.look();
        let counters =
            Counters { tcp: self.speaker.proxy().snapshot(), udp: self.speaker.udp().snapshot() };
        let standing = self.speaker.standing();
        let (index, reached) = (Index::of(&situation, &counters), self.speaker.reached());
        let vip = |ip: &IpAddr| {
            let bound = index.bound.get(ip).copied().unwrap_or_default();
            let place = (*ip, bound);
            let nodes =
                nodes::of(place, &self.node, &self.speaker, standing.as_deref(), &situation);
            let probe = reached.vips.get(ip).map(probe);
            VipStatus { nodes, probe, ..situation.vip(*ip, &index, &counters) }
        };
        StatusReport {
            schema_version: SCHEMA_VERSION,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            node: self.node.clone(),
            problems: situation
                .problems
                .iter()
                .cloned()
                .chain(situation.unreachable(&counters))
                .collect(),
            notes: situation.notes.clone(),
            vips: situation.plan.vips.keys().map(vip).collect(),
            peers: situation.report.peers.clone(),
            policies: situation.policies(),
            objects: situation.with_status(&objects),
        }
    }

    fn rebalance(&self) -> Result<String, String> {
        let Some(group) = self.speaker.group() else {
            return Err("this host has no group to spread VIPs over".to_owned());
        };
        group.rebalance();
        Ok("every host takes the VIPs that the rule would give it, one after the other, for at most a \
            minute"
            .to_owned())
    }
}

type Endpoints = BTreeMap<Endpoint, EndpointHealth>;

/// What of listeners and ports belongs to which VIP: there may be a thousand.
#[derive(Default)]
struct Index<'a> {
    listeners: BTreeMap<IpAddr, Vec<&'a Listener>>,
    /// How many are bound.
    bound: BTreeMap<IpAddr, u16>,
    ports: BTreeMap<IpAddr, Vec<PortStatus>>,
}

impl<'a> Index<'a> {
    fn of(situation: &'a Situation, counters: &Counters) -> Self {
        let mut index = Self::default();
        for listener in &situation.plan.listeners {
            index.listeners.entry(listener.id.address).or_default().push(listener);
        }
        for listeners in index.listeners.values_mut() {
            listeners.sort_by_key(|listener| (listener.bind.port(), listener.transport()));
        }
        for (id, _) in situation.report.listeners.iter().filter(|(_, state)| state.listens()) {
            let bound = index.bound.entry(id.address).or_default();
            *bound = bound.saturating_add(1);
        }
        for (bind, counted) in &counters.tcp.ports {
            index.ports.entry(bind.ip()).or_default().push(PortStatus {
                port: bind.port(),
                accepted: counted.accepted,
                undecided: counted.undecided,
                ended: counted.ended.values().sum(),
            });
        }
        index
    }
}

/// What was counted of connections and of sessions of datagrams.
struct Counters {
    tcp: proxy::Snapshot,
    udp: udp::Snapshot,
}

impl Counters {
    /// The endpoints, as those know them that serve what is sent so.
    fn endpoints(&self, transport: Transport) -> &Endpoints {
        match transport {
            Transport::Udp => &self.udp.endpoints,
            Transport::Tcp | Transport::Sctp => &self.tcp.endpoints,
        }
    }
}

/// A VIP's state in words, as a node reports it.
pub(crate) fn describe(vip: IpAddr, report: &NodeReport) -> String {
    let Some(state) = report.vips.get(&vip) else { return "about to be taken".to_owned() };
    let state_of = in_words(vip, state);
    match report.routed.get(&vip) {
        None | Some(0) => state_of,
        Some(routers) => {
            let routers = match routers {
                1 => "a router".to_owned(),
                many => format!("{many} routers"),
            };
            match state {
                VipState::Serving(links) if links.is_empty() => format!("announced to {routers}"),
                _ => format!("{state_of}, and to {routers}"),
            }
        }
    }
}

fn in_words(vip: IpAddr, state: &VipState) -> String {
    match state {
        VipState::Probing => "asking the network whether it is free".to_owned(),
        VipState::Conflict(mac) => format!("in use by {mac}"),
        VipState::Serving(_) if vip.is_loopback() => "served on loopback".to_owned(),
        VipState::Serving(links) if links.is_empty() => "served".to_owned(),
        VipState::Serving(links) => format!("announced on {}", links.join(", ")),
        VipState::Standby { owner, announced: true }
        | VipState::Excluded { owner: Some(owner), announced: true, .. } => {
            format!("announced by {owner}")
        }
        VipState::Standby { owner, announced: false } => {
            format!("about to be announced by {owner}")
        }
        VipState::Waiting(why) => format!("waiting: {why}"),
        VipState::Excluded { why, .. } => format!("not served: {why}"),
        VipState::Failed(why) => format!("not served: {why}"),
    }
}

/// `Gateway default/web`, or several.
fn users(claim: &Claim) -> String {
    let users: Vec<_> = claim.users.iter().map(|user| user.object.to_string()).collect();
    users.join(", ")
}

impl Situation {
    fn vip(&self, address: IpAddr, index: &Index<'_>, counters: &Counters) -> VipStatus {
        let state = self.report.vips.get(&address);
        let claim = self.claims.0.get(&address);
        let listeners = index.listeners.get(&address).into_iter().flatten();
        VipStatus {
            address,
            state: describe(address, &self.report),
            healthy: state.is_some_and(VipState::is_announced),
            gateway: claim.map(users).unwrap_or_default(),
            pool: claim.map(|claim| claim.pool.clone()).unwrap_or_default(),
            routers: self.report.routed.get(&address).copied(),
            probe: None,
            nodes: Vec::new(),
            listeners: listeners.map(|listener| self.listener(listener, counters)).collect(),
            ports: index.ports.get(&address).cloned().unwrap_or_default(),
        }
    }

    fn listener(&self, listener: &Listener, counters: &Counters) -> ListenerStatus {
        let counted = counters.tcp.listeners.get(&listener.id).cloned().unwrap_or_default();
        let sessions = counters.udp.listeners.get(&listener.id).cloned().unwrap_or_default();
        let is_udp = listener.transport() == Transport::Udp;
        let (failure, fault) = match self.report.listeners.get(&listener.id) {
            Some(ListenerState::Failed(why)) => (Some(why.clone()), Some(ListenerFault::NotBound)),
            Some(ListenerState::NoCertificate) => {
                let why = "no certificate, so handshakes are reset".to_owned();
                (Some(why), Some(ListenerFault::NoCertificate))
            }
            Some(ListenerState::Bound) => (None, None),
            None => (Some("being bound".to_owned()), None),
        };
        let endpoints = counters.endpoints(listener.transport());
        let superseded = listener.attached.iter().filter(|route| !listener.serves(route));
        ListenerStatus {
            name: listener.id.name.clone(),
            port: listener.bind.port(),
            failure,
            fault,
            dropped: is_udp.then(|| sessions.dropped.values().sum()),
            accepted: counted.accepted + sessions.sessions,
            open: counted.open + sessions.open,
            reset: counted.resets.values().sum(),
            routes: listener
                .targets()
                .map(|(name, target)| route(name, target, endpoints))
                .collect(),
            superseded: superseded.map(ToString::to_string).collect(),
        }
    }

    /// Backends of which no endpoint could be reached the last time it was tried: what the manifests
    /// and Kubernetes say of them is well, but connections to them are reset. Where a VIP does not serve
    /// nobody tries any more, and what was so may not be so now.
    fn unreachable(&self, counters: &Counters) -> BTreeSet<Problem> {
        let serves = |listener: &&Arc<Listener>| {
            matches!(self.report.vips.get(&listener.id.address), Some(VipState::Serving(_)))
        };
        let listeners = self.plan.listeners.iter().filter(serves);
        let targets = listeners.flat_map(|listener| {
            listener.targets().map(|(_, target)| (listener.transport(), target))
        });
        let shares = targets.flat_map(|(transport, target)| {
            target.shares.iter().map(move |share| (transport, &target.route, share))
        });
        let dead = shares.filter_map(|(transport, route, share)| {
            let endpoints = counters.endpoints(transport);
            let lost = match transport {
                Transport::Udp => "datagrams is lost",
                Transport::Tcp | Transport::Sctp => "connections is reset",
            };
            let mut why = Vec::new();
            for endpoint in &share.endpoints {
                match health(endpoints.get(endpoint)) {
                    (false, state) => why.push(format!("{}: {state}", endpoint.0)),
                    (true, _) => return None,
                }
            }
            (share.weight > 0 && !why.is_empty()).then(|| Problem {
                place: None,
                object: Some(route.to_string()),
                reason: None,
                message: format!(
                    "{} could not be reached, its part of the {lost} ({}): does it \
                     run, and does a firewall let this node through?",
                    share.backend,
                    why.join("; ")
                ),
            })
        });
        dead.collect()
    }

    fn policies(&self) -> Vec<PolicyLine> {
        let all = self.statuses.policies.iter();
        all.flat_map(|(policy, status)| PolicyLine::of(policy, status)).collect()
    }

    fn with_status(&self, objects: &[(ObjectRef, Shown)]) -> Vec<serde_json::Value> {
        let shown = |(reference, Shown { object, version }): &(ObjectRef, Shown)| {
            let generation = object.metadata().generation;
            let mut json = object.to_json(version);
            if let Some(status) = self.statuses.json(reference, generation) {
                json["status"] = status;
            }
            json
        };
        objects.iter().map(shown).collect()
    }
}

/// What this node found when it asked for a VIP of another one.
fn probe(found: &Reached) -> ProbeStatus {
    ProbeStatus {
        success: found.outcome == Outcome::Reached,
        outcome: found.outcome.name().to_owned(),
        message: found.outcome.in_words(&found.owner),
        seconds: found.took.as_secs_f64(),
        failures: found.failures,
    }
}

fn route(name: Option<&str>, target: &Target, endpoints: &Endpoints) -> RouteStatus {
    let sum: u64 = target.shares.iter().map(|share| u64::from(share.weight)).sum();
    RouteStatus {
        route: target.route.to_string(),
        hostname: name.map(str::to_owned),
        backends: target.shares.iter().map(|share| backend(share, sum, endpoints)).collect(),
    }
}

fn backend(share: &BackendShare, sum: u64, known: &Endpoints) -> BackendStatus {
    let endpoints = share.endpoints.iter().map(|endpoint| {
        let (healthy, state) = health(known.get(endpoint));
        EndpointStatus { address: endpoint.0, healthy, state }
    });
    BackendStatus {
        backend: share.backend.clone(),
        share: if sum == 0 { 0.0 } else { f64::from(share.weight) / sum as f64 },
        unusable: share.unusable.clone(),
        endpoints: endpoints.collect(),
    }
}

/// An endpoint's health, as the connections that were tried show it.
fn health(counted: Option<&EndpointHealth>) -> (bool, String) {
    match counted {
        None => (true, "not tried yet".to_owned()),
        Some(health) if health.consecutive_failures > 0 => {
            let why = health.last_error.as_deref().unwrap_or("failed");
            let avoided = if health.ejected { "; passed over until it answers" } else { "" };
            (false, format!("{why}, {} in a row{avoided}", health.consecutive_failures))
        }
        Some(health) if health.connected == 0 => (true, "not tried yet".to_owned()),
        Some(_) => (true, "ok".to_owned()),
    }
}

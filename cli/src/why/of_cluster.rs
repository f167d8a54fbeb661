//! Facts from what an API server lists.
//!
//! Conditions are taken as they are written. What has none is worked out by the planner in the role of the
//! controller, over the same objects and the claims as they are: what a listener sends where, which
//! backends have nothing that is ready, and why there is no address. It writes nothing, and sees no Secret: what it
//! says of certificates is not used.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde_json::Value;
use vipgate_api::vipgate::{
    BgpAdvertisement, IpAddressPool, L2Advertisement, ListenerFault, Speaker, SpeakerVip,
    SpeakerVipState, VirtualIp,
};
use vipgate_api::{Age, Kind, Object, ObjectKey, ObjectRef, Reason};
use vipgate_controller::claims::Vips;
use vipgate_planner::{
    Listener, ListenerState, NodeReport, Plan, Planner, Reports, Role, Target, selects_pool,
};

use super::facts::{Facts, Place, Told, Vip};
use crate::run::board::describe;
use crate::run::nodes::own_state;
use crate::status::report::{
    BackendStatus, EndpointStatus, ListenerStatus, NodeStanding, RouteStatus, VipStatus,
};

/// Everything that was listed.
#[derive(Clone, Debug, Default)]
pub(super) struct Listed {
    /// Objects of every kind, VirtualIPs and Speakers among them.
    pub(super) objects: Vec<(Kind, Value)>,
    /// Nodes, for their addresses.
    pub(super) nodes: Vec<Value>,
    /// Kinds that could not be listed, and why.
    pub(super) unread: BTreeMap<Kind, String>,
}

impl Facts {
    /// See the module.
    pub(super) fn of_cluster(mut listed: Listed, place: Place) -> Self {
        let claims: Vec<VirtualIp> = of_kind(&listed, Kind::VirtualIp);
        let speakers: Vec<Speaker> = of_kind(&listed, Kind::Speaker);
        for (kind, read) in [(Kind::VirtualIp, claims.len()), (Kind::Speaker, speakers.len())] {
            let all = listed.objects.iter().filter(|(one, _)| *one == kind).count();
            if read < all {
                let bad = all - read;
                let why = format!("{bad} of {all} cannot be read by this version of the program");
                listed.unread.insert(kind, why);
            }
        }
        let mut planner = planner(&listed, &claims);
        let plan = planner.run().plan;
        let reports: Reports = speakers
            .iter()
            .filter(|speaker| is_seen(&name_of(speaker), &speakers))
            .map(|one| (name_of(one), NodeReport::from_speaker(&one.status, &plan)))
            .collect();
        planner.set_reports(reports.clone());
        let statuses = planner.run().statuses;
        let starved = statuses.problems.iter().filter(|one| one.reason == Reason::NoEndpoints);
        let mut told: Vec<Told> =
            starved.map(|one| told(&one.object, one.reason, &one.message)).collect();
        for gateway in statuses.gateways.keys() {
            let gateway = ObjectRef::new(Kind::Gateway, gateway.clone());
            let obstacles = planner.address_obstacles(&gateway);
            told.extend(obstacles.into_iter().map(|reason| self::told(&gateway, reason, "")));
        }
        let vip = |claim: &VirtualIp| {
            let address = claim.spec.address;
            let vip = Vip {
                status: vip(claim, &plan, &reports, &speakers),
                users: claim.spec.users.iter().map(|user| user.object.clone()).collect(),
                advertisements: advertisements(&listed, &claim.spec.pool),
            };
            (address, vip)
        };
        let vips = claims.iter().map(vip).collect();
        let things = listed.objects.iter().filter_map(|(kind, object)| {
            let claimed = matches!(kind, Kind::VirtualIp | Kind::Speaker);
            (!claimed).then(|| (reference(*kind, object), object.clone()))
        });
        Self {
            place,
            things: things.collect(),
            told,
            unreadable: Vec::new(),
            vips,
            unread: listed.unread,
        }
    }
}

fn told(object: &ObjectRef, reason: Reason, message: &str) -> Told {
    let (object, message) = (object.clone(), message.to_owned());
    Told { object, reason: Some(reason), message, place: None }
}

fn reference(kind: Kind, object: &Value) -> ObjectRef {
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
    ObjectRef::new(kind, ObjectKey::new(text("namespace"), text("name")))
}

/// Objects of a kind; one that does not have its form is as if it were not there.
fn of_kind<T: serde::de::DeserializeOwned>(listed: &Listed, kind: Kind) -> Vec<T> {
    let of_kind = listed.objects.iter().filter(|(one, _)| *one == kind);
    of_kind.filter_map(|(_, object)| serde_json::from_value(object.clone()).ok()).collect()
}

/// A planner that knows these objects and claims.
fn planner(listed: &Listed, claims: &[VirtualIp]) -> Planner {
    let mut planner = Planner::in_role(Role::Controller);
    for (kind, object) in &listed.objects {
        let Ok(object) = Object::from_json(*kind, object.clone()) else { continue };
        let created = object.metadata().creation_timestamp.as_ref().map(|time| time.0);
        planner.apply(object, Age { created, ..Age::default() });
    }
    let addresses = listed.nodes.iter().flat_map(|node| {
        let all = node["status"]["addresses"].as_array().into_iter().flatten();
        all.filter_map(|one| one["address"].as_str()?.parse::<IpAddr>().ok())
    });
    planner.set_reserved(addresses.collect());
    let mut vips = Vips::default();
    for claim in claims {
        vips.apply(claim);
    }
    planner.set_claims(vips.claims());
    planner.set_release(true);
    planner
}

fn vip(claim: &VirtualIp, plan: &Plan, reports: &Reports, speakers: &[Speaker]) -> VipStatus {
    let address = claim.spec.address;
    let nodes = nodes(address, speakers);
    let users: Vec<String> = claim.spec.users.iter().map(|user| user.object.to_string()).collect();
    // What counts is how it is where it is.
    let holder = nodes.iter().find(|node| node.owner);
    let holder = holder.or_else(|| nodes.iter().find(|node| node.routers.is_some()));
    let report = holder.and_then(|node| reports.get(&node.name));
    let listeners = plan.listeners.iter().filter(|listener| listener.id.address == address);
    VipStatus {
        address,
        state: report.map_or("not announced".to_owned(), |report| describe(address, report)),
        healthy: holder.is_some(),
        gateway: users.join(", "),
        pool: claim.spec.pool.clone(),
        routers: None,
        nodes,
        listeners: listeners.map(|listener| of_listener(listener, report)).collect(),
        probe: None,
        ports: Vec::new(),
    }
}

/// A listener where its VIP is; nothing is counted from here.
fn of_listener(listener: &Listener, report: Option<&NodeReport>) -> ListenerStatus {
    let state = report.and_then(|report| report.listeners.get(&listener.id));
    let (failure, fault) = match state {
        Some(ListenerState::Bound) => (None, None),
        Some(ListenerState::NoCertificate) => {
            let why = "no certificate of it is there, so handshakes are reset";
            (Some(why.to_owned()), Some(ListenerFault::NoCertificate))
        }
        Some(ListenerState::Failed(why)) => (Some(why.clone()), Some(ListenerFault::NotBound)),
        None => (Some("not served as it is now".to_owned()), None),
    };
    let superseded = listener.attached.iter().filter(|route| !listener.serves(route));
    let is_udp = listener.transport() == vipgate_api::vipgate::Transport::Udp;
    ListenerStatus {
        name: listener.id.name.clone(),
        port: listener.bind.port(),
        dropped: is_udp.then_some(0),
        failure,
        fault,
        accepted: 0,
        open: 0,
        reset: 0,
        routes: listener.targets().map(|(name, target)| of_target(name, target)).collect(),
        superseded: superseded.map(ToString::to_string).collect(),
    }
}

/// Whether endpoints answer, their node knows.
fn of_target(name: Option<&str>, target: &Target) -> RouteStatus {
    let backends = target.shares.iter().map(|share| BackendStatus {
        backend: share.backend.clone(),
        share: f64::from(share.weight),
        unusable: None,
        endpoints: (share.endpoints.iter())
            .map(|endpoint| EndpointStatus {
                address: endpoint.0,
                healthy: true,
                state: "ready".to_owned(),
            })
            .collect(),
    });
    let (route, hostname) = (target.route.to_string(), name.map(str::to_owned));
    RouteStatus { route, hostname, backends: backends.collect() }
}

/// The advertisements that select a pool.
fn advertisements(listed: &Listed, pool: &str) -> Vec<String> {
    let pools: Vec<IpAddressPool> = of_kind(listed, Kind::IpAddressPool);
    let labels = pools.into_iter().find(|one| one.metadata.name.as_deref() == Some(pool));
    let labels = labels.and_then(|pool| pool.metadata.labels).unwrap_or_default();
    let name = |kind: Kind, key: ObjectKey| ObjectRef::new(kind, key).to_string();
    let lan: Vec<L2Advertisement> = of_kind(listed, Kind::L2Advertisement);
    let lan = lan.iter().filter(|one| selects_pool(&one.spec, pool, &labels));
    let lan = lan.map(|one| name(Kind::L2Advertisement, ObjectKey::of(&one.metadata)));
    let routed: Vec<BgpAdvertisement> = of_kind(listed, Kind::BgpAdvertisement);
    let routed = routed.iter().filter(|one| selects_pool(&one.spec, pool, &labels));
    let routed = routed.map(|one| name(Kind::BgpAdvertisement, ObjectKey::of(&one.metadata)));
    lan.chain(routed).collect()
}

fn name_of(speaker: &Speaker) -> String {
    speaker.metadata.name.clone().unwrap_or_default()
}

/// What each speaker says of the VIP, by name.
fn nodes(vip: IpAddr, speakers: &[Speaker]) -> Vec<NodeStanding> {
    let mut nodes: Vec<NodeStanding> = speakers
        .iter()
        .map(|speaker| {
            let name = name_of(speaker);
            if !is_seen(&name, speakers) {
                return NodeStanding {
                    key: name.clone(),
                    name,
                    reason: Some("Lost".to_owned()),
                    message: Some("the other speakers do not see it".to_owned()),
                    ..NodeStanding::default()
                };
            }
            standing(vip, name, speaker)
        })
        .collect();
    nodes.sort_by(|a, b| a.name.cmp(&b.name));
    nodes
}

fn standing(vip: IpAddr, name: String, speaker: &Speaker) -> NodeStanding {
    let status = &speaker.status;
    let key = status.group_address.clone().unwrap_or_else(|| name.clone());
    let of_vip = |one: &&SpeakerVip| one.address == vip;
    let said = status.vips.iter().find(of_vip);
    // All that matters is which has more of them.
    let failed = status.failed_listeners.iter().filter(|failed| failed.address == vip);
    let failed = u16::try_from(failed.count()).unwrap_or(u16::MAX);
    let mut node = NodeStanding {
        name,
        key,
        weight: said.map_or(0, |vip| vip.weight),
        bound: u16::MAX - failed,
        ..NodeStanding::default()
    };
    own_state(&mut node, vip, &NodeReport::from_speaker(status, &Plan::default()));
    if said.is_some_and(|vip| vip.state == SpeakerVipState::Waiting) {
        node.message = said.and_then(|vip| vip.message.clone());
    }
    node
}

/// Whether more of the others see a speaker than do not: what those say that died with it does not count.
fn is_seen(name: &str, speakers: &[Speaker]) -> bool {
    let others: Vec<&Speaker> =
        speakers.iter().filter(|one| one.metadata.name.as_deref() != Some(name)).collect();
    let see = others.iter().filter(|other| {
        let members: BTreeSet<&str> = other.status.members.iter().map(String::as_str).collect();
        members.contains(name)
    });
    others.is_empty() || 2 * see.count() > others.len()
}

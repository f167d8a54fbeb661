//! What nodes do, as they report it: all reports together, and their form as `Speaker.status`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use vipgate_api::vipgate::{
    ExclusionReason, FailedListener, GivesWay, ListenerFault, PlannedObject, SpeakerPeer,
    SpeakerStatus, SpeakerVip, SpeakerVipState,
};
use vipgate_api::{Kind, ObjectKey, ObjectRef};

use crate::bgp::PeerReport;
use crate::exclusion::Exclusion;
use crate::node::{ListenerState, MacAddr, NodeReport, VipState};
use crate::plan::{ListenerId, Plan, Source};

/// The last report of each node, by its name. Standalone there is one.
pub type Reports = BTreeMap<String, NodeReport>;

/// The nodes that are not heard any more, by name: what they said last counts for nothing.
pub type Lost = BTreeMap<String, LostNode>;

/// A node that is gone, or that the cluster has lost sight of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostNode {
    /// How that shows.
    pub why: String,
    /// What it served when it was heard last.
    pub served: BTreeSet<IpAddr>,
}

impl LostNode {
    /// A node whose Speaker says this, and does not count.
    pub fn new(why: String, status: &SpeakerStatus) -> Self {
        let served = status.vips.iter().filter(|vip| vip.state == SpeakerVipState::Serving);
        Self { why, served: served.map(|vip| vip.address).collect() }
    }
}

/// States of a VIP, with the nodes that are in them.
pub(crate) fn vip_states(reports: &Reports, address: IpAddr) -> Vec<(&str, &VipState)> {
    let all = reports.iter();
    all.filter_map(|(node, report)| Some((node.as_str(), report.vips.get(&address)?))).collect()
}

/// How a listener stands. Where its VIP serves is what counts: bound there, or bound and without a
/// certificate; then a failure, with its node; then what is so where the VIP does not serve yet.
/// `None` when no node says anything.
pub(crate) fn listener_state(reports: &Reports, id: &ListenerId) -> Option<ListenerState> {
    let rank = |report: &NodeReport, state: &ListenerState| {
        let serves = matches!(report.vips.get(&id.address), Some(VipState::Serving(_)));
        match (state, serves) {
            (ListenerState::Bound, true) => 0,
            (ListenerState::NoCertificate, true) => 1,
            (ListenerState::Failed(_), _) => 2,
            (ListenerState::Bound, false) => 3,
            (ListenerState::NoCertificate, false) => 4,
        }
    };
    let all = reports.values().filter_map(|report| Some((report, report.listeners.get(id)?)));
    let best = all.min_by_key(|(report, state)| rank(report, state));
    best.map(|(_, state)| state.clone())
}

/// By whom the candidates of a VIP go, where no node fits all who have it.
pub(crate) fn compromise(reports: &Reports, address: IpAddr) -> Option<&str> {
    let mut all = reports.values().filter_map(|report| report.compromises.get(&address));
    all.next().map(|compromise| compromise.message.as_str())
}

/// The nodes that do more than they say.
pub(crate) fn truncated(reports: &Reports) -> Vec<&str> {
    let all = reports.iter().filter(|(_, report)| report.truncated);
    all.map(|(node, _)| node.as_str()).collect()
}

impl NodeReport {
    /// Reads the status of a Speaker. A listener of the plan is bound there when the Gateway or
    /// ListenerSet that it comes from is served in the generation that the plan has, and it is not
    /// among those that failed: so a change is never taken for served before it is, nor an object for
    /// one that had its name before. In a truncated status the objects whose listeners are not all
    /// told of are missing, so nothing is bound that only seems so.
    pub fn from_speaker(status: &SpeakerStatus, plan: &Plan) -> Self {
        let source = |planned: &PlannedObject| Source {
            generation: planned.generation,
            uid: planned.uid.clone(),
        };
        let sources: BTreeMap<ObjectRef, Source> =
            status.plan.iter().map(|planned| (planned.object.clone(), source(planned))).collect();
        let failed = |id: &ListenerId| {
            status.failed_listeners.iter().find(|failed| {
                (&failed.gateway, &failed.listener_set, &failed.name, failed.address)
                    == (&id.gateway, &id.set, &id.name, id.address)
            })
        };
        let served: BTreeSet<IpAddr> = status.vips.iter().map(|vip| vip.address).collect();
        let listeners = plan
            .listeners
            .iter()
            .filter(|listener| served.contains(&listener.id.address))
            .filter(|listener| {
                let source = source_of(&listener.id);
                let planned = plan.sources.get(&source);
                planned.is_some_and(|planned| sources.get(&source) == Some(planned))
            })
            .map(|listener| {
                let state = match failed(&listener.id) {
                    None => ListenerState::Bound,
                    Some(fault) => match fault.fault {
                        ListenerFault::NotBound => ListenerState::Failed(fault.message.clone()),
                        ListenerFault::NoCertificate => ListenerState::NoCertificate,
                    },
                };
                (listener.id.clone(), state)
            })
            .collect();
        let contested = status
            .vips
            .iter()
            .filter(|vip| vip.state == SpeakerVipState::Serving)
            .filter_map(|vip| Some((vip.address, vip.conflict_mac.as_ref()?.parse().ok()?)))
            .collect();
        let vips = status.vips.iter().map(|vip| (vip.address, state_of(vip))).collect();
        let since = |vip: &SpeakerVip| Some((vip.address, vip.since.clone()?));
        let weighty = status.vips.iter().filter(|vip| vip.weight > 0);
        let compromise = |vip: &SpeakerVip| {
            let reason = vip.reason.filter(|reason| *reason == ExclusionReason::NoCommonNode)?;
            let message = vip.message.clone().unwrap_or_else(|| reason.to_string());
            Some((vip.address, Exclusion::new(reason, message)))
        };
        let gives_way = status.gives_way.as_ref();
        Self {
            vips,
            listeners,
            since: status.vips.iter().filter_map(since).collect(),
            weights: weighty.map(|vip| (vip.address, vip.weight)).collect(),
            compromises: status.vips.iter().filter_map(compromise).collect(),
            gives_way: gives_way.map(|why| Exclusion::new(why.reason, &why.message)),
            contested,
            peers: status.peers.iter().map(|one| (one.peer.clone(), report_of(one))).collect(),
            routed: (status.vips.iter())
                .filter_map(|vip| Some((vip.address, vip.routers?)))
                .collect(),
            sources,
            truncated: status.truncated,
        }
    }

    /// The status of a Speaker that says the same. What it says of the group and of errors is taken
    /// as it is.
    pub fn to_speaker(
        &self,
        group_address: Option<String>,
        members: Vec<String>,
        errors: Vec<String>,
    ) -> SpeakerStatus {
        let plan = self.sources.iter().map(|(object, source)| PlannedObject {
            object: object.clone(),
            generation: source.generation,
            uid: source.uid.clone(),
        });
        let failed = self.listeners.iter().filter_map(|(id, state)| {
            let (fault, message) = match state {
                ListenerState::Bound => return None,
                ListenerState::NoCertificate => {
                    let message = "no certificate of it is here, so handshakes are reset: see \
                                   ResolvedRefs of the listener, or wait for the controller to copy \
                                   the Secret";
                    (ListenerFault::NoCertificate, message.to_owned())
                }
                ListenerState::Failed(message) => (ListenerFault::NotBound, message.clone()),
            };
            Some(FailedListener {
                gateway: id.gateway.clone(),
                listener_set: id.set.clone(),
                name: id.name.clone(),
                address: id.address,
                fault,
                message,
            })
        });
        let count = |what: fn(&VipState) -> bool| self.vips.values().filter(|s| what(s)).count();
        let serving = count(|state| matches!(state, VipState::Serving(_)));
        let standby = count(|state| matches!(state, VipState::Standby { .. }));
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        SpeakerStatus {
            serving: number(serving),
            standby: number(standby),
            not_serving: number(self.vips.len() - serving - standby),
            vips: self
                .vips
                .iter()
                .map(|(address, state)| self.speaker_vip(*address, state))
                .collect(),
            plan: plan.collect(),
            failed_listeners: failed.collect(),
            peers: self.peers.iter().map(|(peer, report)| speaker_peer(peer, report)).collect(),
            group_address,
            members,
            gives_way: self
                .gives_way
                .as_ref()
                .map(|why| GivesWay { reason: why.reason, message: why.message.clone() }),
            errors,
            truncated: self.truncated,
        }
    }

    fn speaker_vip(&self, address: IpAddr, state: &VipState) -> SpeakerVip {
        let mut vip = SpeakerVip {
            conflict_mac: self.contested.get(&address).map(ToString::to_string),
            weight: self.weights.get(&address).copied().unwrap_or_default(),
            routers: self.routed.get(&address).copied(),
            ..SpeakerVip::new(address, SpeakerVipState::Probing)
        };
        if let Some(compromise) = self.compromises.get(&address) {
            vip.reason = Some(compromise.reason);
            vip.message = Some(compromise.message.clone());
        }
        match state {
            VipState::Probing => {}
            VipState::Conflict(mac) => {
                vip.state = SpeakerVipState::Conflict;
                vip.conflict_mac = Some(mac.to_string());
            }
            VipState::Serving(links) => {
                vip.state = SpeakerVipState::Serving;
                vip.interfaces.clone_from(links);
                vip.since = self.since.get(&address).cloned();
            }
            VipState::Excluded { why, owner, .. } => {
                vip.state = SpeakerVipState::Excluded;
                vip.reason = Some(why.reason);
                vip.message = Some(why.message.clone());
                vip.owner.clone_from(owner);
            }
            VipState::Standby { owner, .. } => {
                vip.state = SpeakerVipState::Standby;
                vip.owner = Some(owner.clone());
            }
            VipState::Waiting(why) => {
                vip.state = SpeakerVipState::Waiting;
                vip.message = Some(why.clone());
            }
            VipState::Failed(why) => {
                vip.state = SpeakerVipState::Failed;
                vip.message = Some(why.clone());
            }
        }
        vip
    }
}

fn speaker_peer(peer: &str, report: &PeerReport) -> SpeakerPeer {
    let report = report.clone();
    SpeakerPeer {
        peer: peer.to_owned(),
        state: report.state,
        since: report.since,
        address: report.address,
        peer_asn: report.peer_as,
        capabilities: report.capabilities,
        hold_time_seconds: report.hold_time,
        prefixes: report.prefixes,
        last_error: report.last_error,
        reason: report.reason,
        bfd: report.bfd,
        bfd_echo: report.bfd_echo,
    }
}

fn report_of(peer: &SpeakerPeer) -> PeerReport {
    let peer = peer.clone();
    PeerReport {
        state: peer.state,
        since: peer.since,
        address: peer.address,
        peer_as: peer.peer_asn,
        capabilities: peer.capabilities,
        hold_time: peer.hold_time_seconds,
        prefixes: peer.prefixes,
        last_error: peer.last_error,
        reason: peer.reason,
        bfd: peer.bfd,
        bfd_echo: peer.bfd_echo,
    }
}

/// The object that a listener comes from.
pub(crate) fn source_of(id: &ListenerId) -> ObjectRef {
    let of = |kind, key: &ObjectKey| ObjectRef { kind, key: key.clone() };
    match &id.set {
        Some(set) => of(Kind::ListenerSet, set),
        None => of(Kind::Gateway, &id.gateway),
    }
}

fn state_of(vip: &SpeakerVip) -> VipState {
    let mac = || vip.conflict_mac.as_ref().and_then(|mac| mac.parse::<MacAddr>().ok());
    match vip.state {
        SpeakerVipState::Probing => VipState::Probing,
        SpeakerVipState::Serving => VipState::Serving(vip.interfaces.clone()),
        SpeakerVipState::Conflict => match mac() {
            Some(mac) => VipState::Conflict(mac),
            None => VipState::Failed("another host has the address".to_owned()),
        },
        // Whether the owner announces it, that one's own Speaker says.
        SpeakerVipState::Standby => {
            let owner = vip.owner.clone().unwrap_or_default();
            VipState::Standby { owner, announced: false }
        }
        SpeakerVipState::Excluded => {
            let reason = vip.reason.unwrap_or(ExclusionReason::NodeNotSelected);
            let message = vip.message.clone().unwrap_or_else(|| reason.to_string());
            let why = Exclusion::new(reason, message);
            VipState::Excluded { why, owner: vip.owner.clone(), announced: false }
        }
        SpeakerVipState::Waiting => VipState::Waiting(vip.message.clone().unwrap_or_default()),
        SpeakerVipState::Failed => VipState::Failed(vip.message.clone().unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests;

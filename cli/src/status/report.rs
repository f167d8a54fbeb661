//! What a running vipgate says of itself: the answer on the admin socket, what the tree shows, and what
//! `vipgate status -o json` prints. Its JSON Schema is `docs/status.schema.json`, made from these types.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use vipgate_api::gateway::{ParentReference, PolicyAncestorStatus, PolicyStatus};
use vipgate_api::vipgate::ListenerFault;
use vipgate_api::{Condition, ObjectRef, Reason, manifest};
use vipgate_planner::bgp::PeerReport;

/// The version of the schema: another one when a field goes or means something else, not when one comes.
pub(crate) const SCHEMA_VERSION: u32 = 1;

/// The whole answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StatusReport {
    /// Version of this schema. Within one version fields are added, and none goes or changes its meaning.
    #[serde(default)]
    pub(crate) schema_version: u32,
    /// Version of the running process.
    pub(crate) version: String,
    /// Name of the node.
    pub(crate) node: String,
    /// What is wrong: what may be lost, then manifests, then what cannot be served.
    pub(crate) problems: Vec<Problem>,
    /// What is not wrong, but worth knowing.
    pub(crate) notes: Vec<Problem>,
    /// What is served, by address.
    pub(crate) vips: Vec<VipStatus>,
    /// The BGP sessions, by BGPPeer.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) peers: BTreeMap<String, PeerReport>,
    /// What policies come to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) policies: Vec<PolicyLine>,
    /// Every object with a status, as a cluster would carry it.
    pub(crate) objects: Vec<Value>,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Problem {
    /// `file:line`, where the problem has a place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) place: Option<String>,
    /// `Gateway default/web`, where it has an object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) object: Option<String>,
    /// For programs, where the planner says it: of an address that a Gateway has not got, the reason that a
    /// Service would have, which is finer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub(crate) reason: Option<Reason>,
    /// What is wrong and what to write instead.
    pub(crate) message: String,
}

impl Problem {
    /// Without place and object.
    pub(crate) fn plain(message: &str) -> Self {
        Self { place: None, object: None, reason: None, message: message.to_owned() }
    }

    /// Of a file or an object in it.
    pub(crate) fn of_manifest(problem: &manifest::Problem) -> Self {
        let place = match problem.line {
            0 => problem.file.clone(),
            line => format!("{}:{line}", problem.file),
        };
        let object = problem.object.as_ref().map(ToString::to_string);
        Self { place: Some(place), object, reason: None, message: problem.message.clone() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in [&self.place, &self.object].into_iter().flatten() {
            write!(f, "{part}: ")?;
        }
        f.write_str(&self.message)
    }
}

/// What a policy comes to for one of the Gateways that it is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PolicyLine {
    /// `ListenerPolicy default/web`.
    pub(crate) policy: String,
    /// For what: `Gateway default/web`.
    pub(crate) ancestor: String,
    /// Whether all of it counts.
    pub(crate) healthy: bool,
    /// What its conditions say.
    pub(crate) message: String,
}

impl PolicyLine {
    /// Those of a policy.
    pub(crate) fn of(policy: &ObjectRef, status: &PolicyStatus) -> Vec<Self> {
        let line = |ancestor: &PolicyAncestorStatus| {
            let ParentReference { kind, namespace, name, section_name, .. } =
                &ancestor.ancestor_ref;
            let namespace = namespace.as_deref().unwrap_or(&policy.key.namespace);
            let section = section_name.iter().map(|section| format!(" listener {section}"));
            let section: String = section.collect();
            let bad = |one: &&Condition| one.is_true() == one.kind.is_negative();
            let told = ancestor.conditions.iter().map(|condition| condition.message.as_str());
            Self {
                policy: policy.to_string(),
                ancestor: format!("{kind} {namespace}/{name}{section}"),
                healthy: !ancestor.conditions.iter().any(|one| bad(&one)),
                message: told.collect::<Vec<_>>().join("; but "),
            }
        };
        status.ancestors.iter().map(line).collect()
    }
}

/// A VIP and what hangs on it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct VipStatus {
    /// The address.
    pub(crate) address: IpAddr,
    /// `announced on eth0`, `asking the network whether it is free` …
    pub(crate) state: String,
    /// Whether it serves.
    pub(crate) healthy: bool,
    /// The Gateway that has it.
    pub(crate) gateway: String,
    /// The pool it came from.
    pub(crate) pool: String,
    /// How many routers know it from this node, where any are to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) routers: Option<u32>,
    /// What this node found when it asked for it last; only where another node announces it on the LAN, and this one
    /// is the one to ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) probe: Option<ProbeStatus>,
    /// What each node has to do with it, as far as this one knows.
    #[serde(default)]
    pub(crate) nodes: Vec<NodeStanding>,
    /// Its listeners.
    pub(crate) listeners: Vec<ListenerStatus>,
    /// Its ports where clients have to say first which listener they mean.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) ports: Vec<PortStatus>,
}

/// What a node found when it asked for a VIP of another one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ProbeStatus {
    /// Whether its owner answered for it, and at every TCP port.
    pub(crate) success: bool,
    /// `reached`, `unanswered`, `another_host`, `refused`, `silent`.
    pub(crate) outcome: String,
    /// The same for people.
    pub(crate) message: String,
    /// How long it took until all had answered that answered.
    pub(crate) seconds: f64,
    /// How often in a row it was not reached.
    pub(crate) failures: u32,
}

/// What a node has to do with a VIP.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NodeStanding {
    /// Its name.
    pub(crate) name: String,
    /// By what the rule knows it: where it is reached.
    pub(crate) key: String,
    /// Whether it has the VIP.
    pub(crate) owner: bool,
    /// Whether it could have it.
    pub(crate) candidate: bool,
    /// Why not, or what else there is to know of it; for programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    /// The same for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) message: Option<String>,
    /// Sum of the weights of the preferences that it meets.
    pub(crate) weight: u32,
    /// How many of the VIP's listeners are bound there.
    pub(crate) bound: u16,
    /// Whether it gives its VIPs to others that can have them.
    pub(crate) leaving: bool,
    /// How many routers know it from there, where any are to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) routers: Option<u32>,
    /// Since when it has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) since: Option<String>,
    /// The MAC of another host that claims it while this node has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) contested: Option<String>,
}

/// A port that several listeners may have: what was counted before it was known which was meant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PortStatus {
    /// Its number.
    pub(crate) port: u16,
    /// Connections accepted since the start, also those that count on a listener now.
    pub(crate) accepted: u64,
    /// Connections open now whose client has not said yet what it wants.
    pub(crate) undecided: u64,
    /// Connections that ended before.
    pub(crate) ended: u64,
}

/// A listener on a VIP.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListenerStatus {
    /// Its name.
    pub(crate) name: String,
    /// Its port.
    pub(crate) port: u16,
    /// Datagrams that were not forwarded since the start, either way; only of listeners of UDP, whose
    /// connections are sessions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) dropped: Option<u64>,
    /// Why it does not listen, if it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) failure: Option<String>,
    /// The same for programs; absent while it is being bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) fault: Option<ListenerFault>,
    /// Connections accepted since the start.
    pub(crate) accepted: u64,
    /// Connections open now.
    pub(crate) open: u64,
    /// Connections that did not end in an orderly way since the start, by whomever.
    pub(crate) reset: u64,
    /// The routes that new connections take: one, or several by the name that a client asks for,
    /// the most specific name first. Without any, connections are accepted and reset.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) routes: Vec<RouteStatus>,
    /// Attached routes that an older one supersedes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) superseded: Vec<String>,
}

impl ListenerStatus {
    /// Whether it is of UDP.
    pub(crate) fn is_udp(&self) -> bool {
        self.dropped.is_some()
    }
}

/// A route on a listener.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RouteStatus {
    /// `TCPRoute default/web`.
    pub(crate) route: String,
    /// The name that takes a client there, exact or `*.` and a suffix; every name when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) hostname: Option<String>,
    /// Its backendRefs.
    pub(crate) backends: Vec<BackendStatus>,
}

/// A backendRef of a route.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BackendStatus {
    /// `Service default/web:80`.
    pub(crate) backend: String,
    /// Its part of the connections, 0..=1.
    pub(crate) share: f64,
    /// Why its connections are reset, if they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) unusable: Option<String>,
    /// Its endpoints.
    pub(crate) endpoints: Vec<EndpointStatus>,
}

/// An endpoint of a backend.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EndpointStatus {
    /// Where.
    pub(crate) address: SocketAddr,
    /// Whether the last attempt to connect succeeded, or none was made yet.
    pub(crate) healthy: bool,
    /// `ok`, `not tried yet`, `connection refused, 3 in a row` …
    pub(crate) state: String,
}

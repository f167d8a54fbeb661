//! Why a link is broken, and what mends it: every cause once, with its place in the chain.
//!
//! `docs/why.md` has the table, made from here. A text with `{name}` is filled with what the case is about:
//! `{edit}` and `{get}` are the commands for the object, `{ns}` and `{name}` are its own, `{install}` is the namespace of
//! vipgate; `{address}`, `{port}` and `{node}` come with the case.

mod table;

use std::fmt;
use std::net::IpAddr;

use serde::Serialize;
use vipgate_api::{Kind, ObjectRef, VIPGATE_GROUP};

use super::facts::{Facts, Place};

pub(super) use table::Cause;

/// The links, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Stage {
    /// The object is there and can be read.
    Object,
    /// What a route refers to as its parent is there.
    Parent,
    /// The class is there and ours.
    Class,
    /// Somebody decides and writes statuses, and has seen the object as it is.
    Controller,
    /// The object is taken on as it is written.
    Accepted,
    /// Its listeners are valid, with all that they refer to.
    Listener,
    /// There is an address for it.
    Address,
    /// The address is claimed.
    Claim,
    /// Some node can have the address.
    Node,
    /// A node has it.
    Owner,
    /// That is announced, and nobody else claims it.
    Wire,
    /// The ports are bound there.
    Socket,
    /// Routes are attached.
    Route,
    /// backendRefs lead to backends.
    Backend,
    /// These have endpoints that answer.
    Endpoint,
    /// Clients are let in.
    Client,
}

impl Stage {
    /// As it is shown.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Object => "object",
            Self::Parent => "parent",
            Self::Class => "class",
            Self::Controller => "controller",
            Self::Accepted => "accepted",
            Self::Listener => "listener",
            Self::Address => "address",
            Self::Claim => "claim",
            Self::Node => "node",
            Self::Owner => "owner",
            Self::Wire => "wire",
            Self::Socket => "socket",
            Self::Route => "route",
            Self::Backend => "backend",
            Self::Endpoint => "endpoint",
            Self::Client => "client",
        }
    }
}

/// What is said of a cause, whatever the case.
pub(super) struct Row {
    pub(super) stage: Stage,
    /// What is so.
    pub(super) meaning: &'static str,
    /// What to change, in words.
    pub(super) change: &'static str,
    /// The command in a cluster; empty for what is so only without one.
    pub(super) command: &'static str,
    /// The command on a host without one; its manifest is to be edited when there is none.
    pub(super) on_host: Option<&'static str>,
}

/// What mends it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Mend {
    pub(super) command: String,
    pub(super) change: String,
}

/// What a case fills in besides its object.
#[derive(Clone, Debug, Default)]
pub(super) struct Fill {
    pub(super) address: Option<IpAddr>,
    pub(super) port: Option<u16>,
    pub(super) node: Option<String>,
    /// What is to be edited, where that is another object.
    pub(super) edit: Option<ObjectRef>,
}

impl Fill {
    pub(super) fn none() -> Self {
        Self::default()
    }

    pub(super) fn at(address: IpAddr) -> Self {
        Self { address: Some(address), ..Self::default() }
    }

    pub(super) fn on(mut self, node: &str) -> Self {
        self.node = Some(node.to_owned());
        self
    }

    pub(super) fn edit(object: ObjectRef) -> Self {
        Self { edit: Some(object), ..Self::default() }
    }

    pub(super) fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl Cause {
    /// The kinds of which one is not there, where the cause follows from that. What a condition says follows from none.
    pub(super) fn rests_on(self) -> &'static [Kind] {
        match self {
            Self::ClassNotFound => &[Kind::GatewayClass],
            // Of a Gateway these are the planner's, over pools, over claims, and over who else there is.
            Self::PoolNotFound | Self::AddressNotInPool => &[Kind::IpAddressPool],
            Self::NoPool | Self::PoolNotAllowed | Self::NoAddressOfFamily => {
                &[Kind::IpAddressPool, Kind::Namespace]
            }
            Self::PoolExhausted | Self::AddressInUse => &[
                Kind::IpAddressPool,
                Kind::Namespace,
                Kind::VirtualIp,
                Kind::Service,
                Kind::Gateway,
            ],
            Self::NotClaimed => &[Kind::VirtualIp],
            Self::NoEndpoints | Self::ServiceNoEndpoints => &[Kind::EndpointSlice],
            // One that is not read may have it, or see one that is taken for lost.
            cause if matches!(cause.row().stage, Stage::Node | Stage::Owner | Stage::Wire) => {
                &[Kind::Speaker]
            }
            _ => &[],
        }
    }

    /// What mends it in this case.
    pub(super) fn mend(self, about: &ObjectRef, fill: &Fill, facts: &Facts) -> Mend {
        let row = self.row();
        let about = fill.edit.as_ref().unwrap_or(about);
        let install = match &facts.place {
            Place::Cluster { install, .. } => install,
            Place::Host | Place::Speaker => "vipgate-system",
        };
        let command = match (facts.in_cluster(), row.on_host) {
            (true, _) => row.command.to_owned(),
            (false, Some(command)) => command.to_owned(),
            (false, None) => edit_of_manifest(about, facts),
        };
        let filled = |text: &str| {
            let number =
                |port: Option<u16>| port.map_or("PORT".to_owned(), |port| port.to_string());
            let address = fill.address.map_or("ADDRESS".to_owned(), |vip| vip.to_string());
            text.replace("{edit}", &kubectl("edit", about))
                .replace("{get}", &kubectl("get -o yaml", about))
                .replace("{ns}", &about.key.namespace)
                .replace("{name}", &about.key.name)
                .replace("{install}", install)
                .replace("{address}", &address)
                .replace("{port}", &number(fill.port))
                .replace("{node}", fill.node.as_deref().unwrap_or("NODE"))
        };
        Mend { command: filled(&command), change: filled(row.change) }
    }
}

/// With the group where other programs have kinds of that name (MetalLB has).
fn kubectl(verb: &str, about: &ObjectRef) -> String {
    let kind = match about.kind.group() {
        VIPGATE_GROUP => format!("{}.{VIPGATE_GROUP}", about.kind.plural()),
        _ => about.kind.name().to_ascii_lowercase(),
    };
    match about.kind.is_namespaced() {
        true => format!("kubectl -n {} {verb} {kind} {}", about.key.namespace, about.key.name),
        false => format!("kubectl {verb} {kind} {}", about.key.name),
    }
}

/// Where the manifest is, if a problem with it says so.
fn edit_of_manifest(about: &ObjectRef, facts: &Facts) -> String {
    let place = facts.told(about).find_map(|told| told.place.clone());
    match (place, about.kind) {
        (Some(place), _) => format!("edit {place} ({about})"),
        (None, Kind::IpAddressPool) if about.key.name.is_empty() => {
            "write an IPAddressPool into the directory of manifests".to_owned()
        }
        (None, _) => format!("edit the manifest of {about}"),
    }
}

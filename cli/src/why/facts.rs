//! What is known, wherever it was asked: objects with their statuses, VIPs with what each node says of them, and
//! what is told of objects that have no status.
//!
//! Made of the answer of a running process (`of_process.rs`) or of what an API server lists (`of_cluster.rs`);
//! the links look at nothing else.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;
use vipgate_api::{Kind, ObjectKey, ObjectRef, Reason};

use crate::status::report::VipStatus;

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) place: Place,
    /// Objects, each with its status.
    pub(super) things: BTreeMap<ObjectRef, Value>,
    /// What is wrong beyond conditions.
    pub(super) told: Vec<Told>,
    /// Manifests that cannot be read: `file:line`, and why. What was read of them before is in use.
    pub(super) unreadable: Vec<(String, String)>,
    pub(super) vips: BTreeMap<IpAddr, Vip>,
    /// Kinds that could not be listed, or not in full, and why: that one of them is not there is not known.
    pub(super) unread: BTreeMap<Kind, String>,
}

/// Who was asked.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Place {
    /// `vipgate run` on this host.
    Host,
    /// `vipgate speaker` on this host: it knows what it serves, and the cluster knows the objects.
    Speaker,
    /// An API server.
    Cluster {
        /// The namespace that vipgate is installed in.
        install: String,
        lease: Lease,
    },
}

/// The Lease of the controller, as it was read.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Lease {
    /// Nobody has it.
    Free,
    /// Somebody has, and renewed it in time.
    Held(String),
    /// Whoever has it did not renew it for so long, by the clock of this host.
    Late(String, Duration),
    /// It could not be read.
    Unknown(String),
}

/// Something that is wrong with an object.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Told {
    pub(super) object: ObjectRef,
    /// Absent for what the reader of manifests says.
    pub(super) reason: Option<Reason>,
    pub(super) message: String,
    /// `file:line`.
    pub(super) place: Option<String>,
}

/// A VIP.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Vip {
    pub(super) status: VipStatus,
    /// Gateways and Services that have it.
    pub(super) users: Vec<ObjectRef>,
    /// Advertisements that select its pool; only a cluster tells.
    pub(super) advertisements: Vec<String>,
}

/// One condition, of whatever type and reason.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Said {
    pub(super) kind: String,
    /// `None` when it is Unknown.
    pub(super) holds: Option<bool>,
    pub(super) reason: String,
    pub(super) message: String,
    /// `observedGeneration`.
    pub(super) seen: Option<i64>,
}

impl Said {
    /// Its reason, if it is one that this version knows.
    pub(super) fn known(&self) -> Option<Reason> {
        serde_json::from_value(self.reason.clone().into()).ok()
    }

    pub(super) fn fails(&self, kind: &str) -> bool {
        self.kind == kind && self.holds == Some(false)
    }
}

impl Facts {
    /// An object of a kind without its status, if it is known and has the form of its type.
    pub(super) fn read<T: DeserializeOwned>(&self, object: &ObjectRef) -> Option<T> {
        let mut thing = self.things.get(object)?.clone();
        thing.as_object_mut()?.remove("status");
        serde_json::from_value(thing).ok()
    }

    /// Objects of one kind.
    pub(super) fn of_kind(&self, kind: Kind) -> impl Iterator<Item = (&ObjectRef, &Value)> {
        self.things.iter().filter(move |(object, _)| object.kind == kind)
    }

    /// What is told of an object.
    pub(super) fn told(&self, object: &ObjectRef) -> impl Iterator<Item = &Told> {
        self.told.iter().filter(move |told| told.object == *object)
    }

    /// The VIPs of a Gateway or Service.
    pub(super) fn vips_of(&self, user: &ObjectRef) -> impl Iterator<Item = &Vip> {
        self.vips.values().filter(move |vip| vip.users.contains(user))
    }

    /// Which of these kinds could not be listed, and why, as a sentence; none if all were.
    pub(super) fn unlisted(&self, kinds: &[Kind]) -> Option<String> {
        let unread = self.unread.iter().filter(|(kind, _)| kinds.contains(kind));
        let each: Vec<String> = unread
            .map(|(kind, why)| format!("{} could not be listed ({why})", kind.plural()))
            .collect();
        (!each.is_empty()).then(|| each.join(", "))
    }

    /// The same of all kinds.
    pub(super) fn all_unlisted(&self) -> Option<String> {
        let kinds: Vec<Kind> = self.unread.keys().copied().collect();
        self.unlisted(&kinds)
    }

    pub(super) fn in_cluster(&self) -> bool {
        matches!(self.place, Place::Cluster { .. })
    }

    /// `metadata.generation`.
    pub(super) fn generation(&self, object: &ObjectRef) -> Option<i64> {
        self.things.get(object)?["metadata"]["generation"].as_i64()
    }
}

/// The conditions that stand in a status, or in a part of one.
pub(super) fn conditions(status: &Value) -> Vec<Said> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let all = status["conditions"].as_array().into_iter().flatten();
    all.map(|condition| Said {
        kind: text(&condition["type"]),
        holds: match condition["status"].as_str() {
            Some("True") => Some(true),
            Some("False") => Some(false),
            _ => None,
        },
        reason: text(&condition["reason"]),
        message: text(&condition["message"]),
        seen: condition["observedGeneration"].as_i64(),
    })
    .collect()
}

/// The object that a text such as `Gateway default/web` names.
pub(super) fn named(text: &str) -> Option<ObjectRef> {
    let (kind, key) = text.split_once(' ')?;
    let kind = Kind::ALL.into_iter().find(|one| one.name() == kind)?;
    let (namespace, name) = key.split_once('/').unwrap_or(("", key));
    Some(ObjectRef::new(kind, ObjectKey::new(namespace, name)))
}

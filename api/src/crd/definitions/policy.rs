//! The definitions of the policies.

use super::{AGE, Column, Definition, schema};
use crate::Kind;
use crate::gateway::PolicyStatus;
use crate::vipgate::{BackendPolicySpec, ListenerPolicySpec};

const KIND: Column = Column::new(
    "Target Kind",
    "string",
    ".spec.targetRefs[0].kind",
    "What it is about: the first target.",
);
const NAME: Column = Column::new("Target", "string", ".spec.targetRefs[0].name", "Its name.");
const ACCEPTED: Column = Column::new(
    "Accepted",
    "string",
    r#".status.ancestors[0].conditions[?(@.type=="Accepted")].status"#,
    "Whether it is followed as it is written, for the first of what it ends in.",
);
const REASON: Column = Column::new(
    "Reason",
    "string",
    r#".status.ancestors[0].conditions[?(@.type=="Accepted")].reason"#,
    "Why it is accepted or not.",
);
const MESSAGE: Column = Column::new(
    "Message",
    "string",
    r#".status.ancestors[0].conditions[?(@.type=="Accepted")].message"#,
    "Why, for people.",
)
.wide();

pub(super) fn listener() -> Definition {
    Definition {
        kind: Kind::ListenerPolicy,
        description: "How listeners of Gateways and ListenerSets treat their clients.",
        short_names: &["lpol", "lpols"],
        spec: Some(schema::<ListenerPolicySpec>()),
        status: Some(schema::<PolicyStatus>()),
        columns: vec![KIND, NAME, ACCEPTED, REASON, AGE, MESSAGE],
        rules: None,
    }
}

pub(super) fn backend() -> Definition {
    Definition {
        kind: Kind::BackendPolicy,
        description: "How connections get to the backends of routes, or to Services and Backends.",
        short_names: &["bpol", "bpols"],
        spec: Some(schema::<BackendPolicySpec>()),
        status: Some(schema::<PolicyStatus>()),
        columns: vec![KIND, NAME, ACCEPTED, REASON, AGE, MESSAGE],
        rules: None,
    }
}

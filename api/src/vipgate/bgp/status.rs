//! What the controller says of these kinds: conditions, and nothing else. What becomes of a session stands
//! in the Speaker of each node.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Condition;

/// What the controller says of the object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BgpStatus {
    /// Accepted: whether it is followed as it is written. ResolvedRefs, where it can name others: whether
    /// they are there. PartiallyInvalid, where a part of it counts for nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::crd::rules::conditions")]
    pub conditions: Vec<Condition>,
}

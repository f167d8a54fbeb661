//! Why a node does not have a VIP: a reason for programs, a text for people.

use std::fmt;

use serde::{Deserialize, Serialize};
pub use vipgate_api::vipgate::ExclusionReason;

/// Why a node is no candidate for a VIP, or gives it to others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exclusion {
    /// For programs.
    pub reason: ExclusionReason,
    /// For people: what is so, and what to change.
    pub message: String,
}

impl Exclusion {
    /// With this text.
    pub fn new(reason: ExclusionReason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

impl fmt::Display for Exclusion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

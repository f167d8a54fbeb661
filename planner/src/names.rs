//! What DNS names of Backends resolve to: an input, as the planner asks nobody.
//!
//! Which names are to be asked for, [`Planner::names_in_use`](crate::Planner::names_in_use) says; whoever
//! asks gives back what came of it. Addresses of a name are judged like those that are written.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::Deserialize;

/// Names, each with what is known of it. One that is wanted and not in here is being asked for.
pub type Names = BTreeMap<String, Answer>;

/// What is known of a name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Answer {
    /// Its addresses, by the last good answer; none if there was none.
    #[serde(default)]
    pub addresses: BTreeSet<IpAddr>,
    /// Why there was no good answer the last time, for people.
    #[serde(default)]
    pub error: Option<String>,
}

impl Answer {
    /// What is wrong with a name, if anything is.
    pub(crate) fn trouble(&self, name: &str) -> Option<String> {
        match (&self.error, self.addresses.is_empty()) {
            (Some(error), true) => Some(format!("{name} does not resolve: {error}")),
            (Some(error), false) => Some(format!(
                "{name} does not resolve, its last addresses go on being used: {error}"
            )),
            (None, true) => Some(format!("{name} has no address")),
            (None, false) => None,
        }
    }
}

//! What is counted about datagrams.

use std::collections::BTreeMap;

use super::session::Reject;

/// Datagrams of a member since its start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// That came.
    pub received: u64,
    /// That went out.
    pub sent: u64,
    /// That came and were refused, by reason.
    pub refused: BTreeMap<Reject, u64>,
    /// Sealed rightly, and not understood.
    pub malformed: u64,
}

//! What a controller tells of itself: for metrics, and for whoever asks whether it is well.

use std::collections::BTreeMap;

use vipgate_api::ObjectKey;
use vipgate_api::vipgate::IpAddressPoolStatus;
use vipgate_planner::Statuses;

/// Of one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// What there is to wait for before anything is decided.
    pub awaited: Vec<String>,
    /// What was decided last; nothing from a replica that does not lead.
    pub decided: Option<Decided>,
}

/// What the active replica decided.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decided {
    /// What pools have.
    pub pools: BTreeMap<ObjectKey, IpAddressPoolStatus>,
    /// How many problems there are, by kind of object and reason.
    pub problems: BTreeMap<(String, String), u64>,
}

impl Decided {
    /// What of all statuses is told.
    pub fn of(statuses: &Statuses) -> Self {
        let mut problems = BTreeMap::new();
        for problem in &statuses.problems {
            let place = (problem.object.kind.to_string(), problem.reason.to_string());
            *problems.entry(place).or_default() += 1;
        }
        Self { pools: statuses.pools.clone(), problems }
    }
}

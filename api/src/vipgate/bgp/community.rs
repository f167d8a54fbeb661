//! Community: names for communities.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Fault;
use super::value::{CommunityValue, well_known};
use crate::k8s::ObjectMeta;

/// Names that BGPAdvertisements may use.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Community {
    /// Standard object metadata; namespaced, but the namespace has no meaning.
    pub metadata: ObjectMeta,
    /// The names.
    #[serde(default)]
    pub spec: CommunitySpec,
}

/// The names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CommunitySpec {
    /// Names and what they mean. Of two objects that have a name the older one counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128))]
    #[schemars(extend("x-kubernetes-validations" = crate::crd::rules::bgp::names_once()))]
    pub communities: Vec<CommunityAlias>,
}

/// A name for a community.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CommunityAlias {
    /// As BGPAdvertisements have it.
    #[schemars(schema_with = "crate::crd::rules::bgp::community_name")]
    pub name: String,
    /// Two numbers up to 65535 (`65001:100`), or `large:` and three up to 4294967295
    /// (`large:64500:1:2`).
    #[schemars(schema_with = "crate::crd::rules::bgp::community_value")]
    pub value: String,
}

impl CommunitySpec {
    /// What is wrong with it.
    pub fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut names = BTreeSet::new();
        for (index, CommunityAlias { name, value }) in self.communities.iter().enumerate() {
            let path = format!("spec.communities[{index}]");
            let at = format!("{path}.name");
            if name.is_empty() || name.len() > 253 || name.contains(':') {
                let message =
                    format!("{name:?} is no name: write 1 to 253 characters, none of them `:`");
                faults.push(Fault::new(at, message));
            } else if let Some(known) = well_known(name) {
                let message = format!("{name} is {known} already: write another name");
                faults.push(Fault::new(at, message));
            } else if !names.insert(name) {
                faults.push(Fault::new(
                    at,
                    format!("{name} stands here twice: write each name once"),
                ));
            }
            if let Err(error) = value.parse::<CommunityValue>() {
                faults.push(Fault::new(format!("{path}.value"), format!("{value:?} {error}")));
            }
        }
        faults
    }
}

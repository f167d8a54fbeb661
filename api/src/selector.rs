//! Label selectors, as `metav1.LabelSelector` defines them.

use std::collections::BTreeMap;

use crate::k8s::{LabelSelector, LabelSelectorRequirement};

/// Labels of an object.
pub type Labels = BTreeMap<String, String>;

/// Whether the selector selects these labels. An empty selector selects everything; an operator
/// that does not exist selects nothing (validation reports it).
pub fn matches(selector: &LabelSelector, labels: &Labels) -> bool {
    let exact =
        selector.match_labels.iter().flatten().all(|(key, value)| labels.get(key) == Some(value));
    exact && selector.match_expressions.iter().flatten().all(|want| requirement(want, labels))
}

fn requirement(want: &LabelSelectorRequirement, labels: &Labels) -> bool {
    let have = labels.get(&want.key);
    let among = |value: &String| want.values.iter().flatten().any(|v| v == value);
    match want.operator.as_str() {
        "In" => have.is_some_and(among),
        "NotIn" => !have.is_some_and(among),
        "Exists" => have.is_some(),
        "DoesNotExist" => have.is_none(),
        _ => false,
    }
}

#[cfg(test)]
mod tests;

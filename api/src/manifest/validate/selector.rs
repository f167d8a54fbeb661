//! Label selectors (`metav1.LabelSelector`).

use super::metadata::{label, note};
use super::names;
use crate::k8s::LabelSelector;
use crate::manifest::problem::Findings;

const OPERATORS: [&str; 4] = ["In", "NotIn", "Exists", "DoesNotExist"];

pub(super) fn selectors(path: &str, selectors: &[LabelSelector], findings: &mut Findings) {
    for (index, one) in selectors.iter().enumerate() {
        selector(&format!("{path}[{index}]"), one, findings);
    }
}

pub(super) fn selector(path: &str, selector: &LabelSelector, findings: &mut Findings) {
    for (key, value) in selector.match_labels.iter().flatten() {
        label(&format!("{path}.matchLabels"), key, value, findings);
    }
    for (index, want) in selector.match_expressions.iter().flatten().enumerate() {
        let path = format!("{path}.matchExpressions[{index}]");
        note(&format!("{path}.key"), names::qualified(&want.key), findings);
        let values: &[String] = want.values.as_deref().unwrap_or_default();
        match want.operator.as_str() {
            "In" | "NotIn" if values.is_empty() => {
                let message = format!("is empty: `{}` needs at least one value", want.operator);
                findings.error(format!("{path}.values"), message);
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                let message = format!("`{}` takes no values: remove them", want.operator);
                findings.error(format!("{path}.values"), message);
            }
            other => note(&format!("{path}.operator"), names::one_of(other, &OPERATORS), findings),
        }
        for (at, value) in values.iter().enumerate() {
            note(&format!("{path}.values[{at}]"), names::label_value(value), findings);
        }
    }
}

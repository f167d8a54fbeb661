//! Gateways and ListenerSets that were ours: what still stands in their status is set right once.
//!
//! Neither says who wrote its status, unlike a route. So it is asked who wrote the condition Accepted
//! last: while that is us, nobody else has taken the object over, and what we said there is nobody's
//! but ours. Whoever takes it over is never disturbed.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use serde_json::Value;
use vipgate_api::ObjectRef;
use vipgate_planner::Statuses;

use crate::watch::Seen;

/// Whether an object that was ours (as [`Statuses::former`] has it) still says what we said.
pub fn is_left(statuses: &Statuses, object: &ObjectRef, seen: &Seen) -> bool {
    seen.accepted_by_us && statuses.former.contains_key(object)
}

/// Whether a field manager wrote the message of the condition Accepted, and nobody since.
pub fn wrote_accepted(managers: &[ManagedFieldsEntry], me: &str) -> bool {
    let own = managers.iter().filter(|entry| {
        entry.manager.as_deref() == Some(me) && entry.subresource.as_deref() == Some("status")
    });
    own.filter_map(|entry| entry.fields_v1.as_ref()).any(|fields| {
        let accepted = &fields.0["f:status"]["f:conditions"]["k:{\"type\":\"Accepted\"}"];
        accepted.get("f:message").is_some_and(Value::is_object)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ours_is_what_nobody_wrote_since() {
        let entry = |manager: &str, fields: Value| -> ManagedFieldsEntry {
            let conditions = json!({"f:conditions": {"k:{\"type\":\"Accepted\"}": fields}});
            let entry = json!({"manager": manager, "operation": "Update", "subresource": "status",
                "fieldsType": "FieldsV1", "fieldsV1": {"f:status": conditions}});
            serde_json::from_value(entry).unwrap()
        };
        let all = json!({".": {}, "f:message": {}, "f:reason": {}, "f:status": {}, "f:type": {}});
        let rest = json!({".": {}, "f:status": {}, "f:type": {}});
        assert!(wrote_accepted(&[entry("me", all.clone())], "me"));
        assert!(!wrote_accepted(&[entry("other", all.clone())], "me"));
        // The next one found status and type as they were to be.
        let taken = [entry("me", rest), entry("other", all)];
        assert!(!wrote_accepted(&taken, "me"));
    }
}

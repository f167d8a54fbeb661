//! Which HTTPRoutes a stream of bytes serves exactly (docs/decisions/0009).
//!
//! One rule, which matches every request and changes none. Anything else would need to look at each
//! request, and accepting the route would be a lie.

use serde_json::{Map, Value};
use vipgate_api::gateway::RouteSpec;
use vipgate_api::{Kind, Reason};

use crate::refusal::Refusal;

/// What a route asks for that a stream cannot give, if anything.
pub(crate) fn objection(kind: Kind, spec: &RouteSpec) -> Option<Refusal> {
    if kind != Kind::HttpRoute {
        return None;
    }
    let wrong = |field: &str, instead: &str| {
        let message = format!(
            "{field}: vipgate forwards streams and does not look into requests: {instead}, or use a \
             controller that serves HTTPRoute"
        );
        Some(Refusal::new(Reason::UnsupportedValue, message))
    };
    let [rule] = spec.rules.as_slice() else {
        return wrong("spec.rules", "write one rule");
    };
    if !rule.matches.iter().all(is_catch_all) {
        return wrong("spec.rules[0].matches", "leave it out");
    }
    let asks = [
        ("filters", !rule.filters.is_empty()),
        ("timeouts", rule.timeouts.is_some()),
        ("retry", rule.retry.is_some()),
        ("sessionPersistence", rule.session_persistence.is_some()),
        (
            "backendRefs[].filters",
            rule.backend_refs.iter().any(|backend| !backend.filters.is_empty()),
        ),
    ];
    asks.into_iter()
        .find(|(_, asked)| *asked)
        .and_then(|(field, _)| wrong(&format!("spec.rules[0].{field}"), "leave it out"))
}

/// `path: {type: PathPrefix, value: /}` and nothing else, as API servers write it.
fn is_catch_all(one: &Map<String, Value>) -> bool {
    let is_root = |path: &Value| {
        path["type"].as_str().is_none_or(|kind| kind == "PathPrefix")
            && path["value"].as_str().is_none_or(|value| value == "/")
    };
    one.iter().all(|(field, value)| field == "path" && is_root(value))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn said(spec: Value) -> Option<String> {
        let spec: RouteSpec = serde_json::from_value(spec).unwrap();
        objection(Kind::HttpRoute, &spec).map(|refusal| refusal.message)
    }

    #[test]
    fn a_route_that_takes_everything_is_served_and_any_other_is_named() {
        let backends = json!([{"name": "web", "port": 80}]);
        let rule = |more: Value| {
            let mut rule = json!({"backendRefs": backends});
            rule.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            json!({"rules": [rule]})
        };
        let root = json!([{"path": {"type": "PathPrefix", "value": "/"}}]);
        assert_eq!(said(rule(json!({}))), None);
        assert_eq!(said(rule(json!({"matches": root}))), None);
        let bad = [
            (json!({"rules": []}), "spec.rules:"),
            (rule(json!({"matches": [{"path": {"type": "Exact", "value": "/"}}]})), "matches:"),
            (rule(json!({"matches": [{"method": "GET"}]})), "matches:"),
            (rule(json!({"filters": [{"type": "RequestMirror"}]})), "filters:"),
            (rule(json!({"timeouts": {"request": "1s"}})), "timeouts:"),
        ];
        for (spec, field) in bad {
            let text = said(spec).unwrap();
            assert!(text.contains(field), "{text}");
        }
    }
}

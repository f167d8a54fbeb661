//! HTTPRoute: the rules of its CRD on matches, filters and timeouts.
//!
//! Few of these are ever served, since a stream of bytes has no requests; that is the planner's to
//! say. Here an HTTPRoute is refused that no API server would take.

use serde_json::{Map, Value};

use super::metadata::note;
use super::{duplicates, length, names, route};
use crate::gateway::{Route, RouteRule};
use crate::manifest::problem::Findings;

/// Matches of all rules together.
const MAX_MATCHES: usize = 128;

/// Each type of filter, and the field that goes with it.
const FILTERS: [(&str, &str); 8] = [
    ("RequestHeaderModifier", "requestHeaderModifier"),
    ("ResponseHeaderModifier", "responseHeaderModifier"),
    ("RequestMirror", "requestMirror"),
    ("RequestRedirect", "requestRedirect"),
    ("URLRewrite", "urlRewrite"),
    ("ExtensionRef", "extensionRef"),
    ("CORS", "cors"),
    ("ExternalAuth", "externalAuth"),
];

/// Types of filters of which a list may have several.
const REPEATED: [&str; 2] = ["RequestMirror", "ExtensionRef"];

const METHODS: [&str; 9] =
    ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];

type Fields = Map<String, Value>;

pub(super) fn route(route: &Route, findings: &mut Findings) {
    let spec = &route.spec;
    route::parents(&spec.parent_refs, findings);
    route::hostnames(&spec.hostnames, 16, findings);
    // None is the catch-all, as the CRD fills it in.
    length("spec.rules", spec.rules.len(), 0, 16, findings);
    let matches: usize = spec.rules.iter().map(|rule| rule.matches.len()).sum();
    if matches > MAX_MATCHES {
        let message = format!("have {matches} matches together: the most is {MAX_MATCHES}");
        findings.error("spec.rules", message);
    }
    route::check_rules(route, findings);
    for (index, one) in spec.rules.iter().enumerate() {
        rule(&format!("spec.rules[{index}]"), one, findings);
    }
}

fn rule(path: &str, rule: &RouteRule, findings: &mut Findings) {
    length(&format!("{path}.backendRefs"), rule.backend_refs.len(), 0, 16, findings);
    length(&format!("{path}.matches"), rule.matches.len(), 0, 64, findings);
    for (index, one) in rule.matches.iter().enumerate() {
        request(&format!("{path}.matches[{index}]"), one, findings);
    }
    filters(&format!("{path}.filters"), &rule.filters, rule, findings);
    for (index, backend) in rule.backend_refs.iter().enumerate() {
        let path = format!("{path}.backendRefs[{index}].filters");
        filters(&path, &backend.filters, rule, findings);
    }
    let redirect = rule.filters.iter().position(|filter| filter.contains_key("requestRedirect"));
    if let Some(index) = redirect.filter(|_| !rule.backend_refs.is_empty()) {
        let message = "answers the client itself, so the rule can have no `backendRefs`: remove one \
                       of them";
        findings.error(format!("{path}.filters[{index}].requestRedirect"), message);
    }
    timeouts(&format!("{path}.timeouts"), rule.timeouts.as_ref(), findings);
}

/// `matches[]`.
fn request(path: &str, request: &Fields, findings: &mut Findings) {
    if let Some(value) = request.get("path").and_then(Value::as_object) {
        url_path(&format!("{path}.path"), value, findings);
    }
    if let Some(method) = request.get("method") {
        let method = method.as_str().unwrap_or_default();
        note(&format!("{path}.method"), names::one_of(method, &METHODS), findings);
    }
    for field in ["headers", "queryParams"] {
        let list = request.get(field).and_then(Value::as_array).map(Vec::as_slice);
        let list = list.unwrap_or_default();
        let path = format!("{path}.{field}");
        length(&path, list.len(), 0, 16, findings);
        for (index, one) in list.iter().enumerate() {
            for field in ["name", "value"] {
                if one[field].as_str().is_none_or(str::is_empty) {
                    let message = "missing: a match needs `name` and `value`";
                    findings.error(format!("{path}[{index}].{field}"), message);
                }
            }
            if let Some(kind) = one["type"].as_str() {
                let kinds = ["Exact", "RegularExpression"];
                note(&format!("{path}[{index}].type"), names::one_of(kind, &kinds), findings);
            }
        }
        let name = |one: &Value| one["name"].as_str().unwrap_or_default().to_owned();
        duplicates(list.iter().map(name), |first, index| {
            let message = format!("is the name of {path}[{first}] too: keep one of them");
            findings.error(format!("{path}[{index}].name"), message);
        });
    }
}

/// `matches[].path`.
fn url_path(path: &str, fields: &Fields, findings: &mut Findings) {
    let text = |field: &str, default| fields.get(field).and_then(Value::as_str).unwrap_or(default);
    let (kind, value) = (text("type", "PathPrefix"), text("value", "/"));
    let kinds = ["Exact", "PathPrefix", "RegularExpression"];
    if let Err(message) = names::one_of(kind, &kinds) {
        findings.error(format!("{path}.type"), message);
        return;
    }
    let path = format!("{path}.value");
    if value.len() > 1024 {
        findings.error(path, "is longer than 1024 characters: shorten it");
        return;
    }
    if kind == "RegularExpression" {
        return;
    }
    if !value.starts_with('/') {
        findings.error(path, format!("{value:?} is not absolute: write `/{value}`"));
        return;
    }
    let wrong = ["//", "/./", "/../", "%2f", "%2F", "#"].into_iter().find(|w| value.contains(w));
    let wrong = wrong.or_else(|| ["/..", "/."].into_iter().find(|w| value.ends_with(w)));
    if let Some(wrong) = wrong {
        let message = format!("{value:?} has {wrong:?} in it, which no request matches: remove it");
        findings.error(path, message);
    } else if !is_path(value) {
        let message = format!("{value:?} has characters that a path has not: write them as %XX");
        findings.error(path, message);
    }
}

/// Characters of a path (RFC 3986 section 3.3), with complete escapes.
fn is_path(value: &str) -> bool {
    let mut bytes = value.bytes();
    while let Some(byte) = bytes.next() {
        let good = match byte {
            b'%' => {
                let mut digit = || bytes.next().is_some_and(|digit| digit.is_ascii_hexdigit());
                digit() && digit()
            }
            _ => byte.is_ascii_alphanumeric() || b"-/._~!$&'()*+,;=:@".contains(&byte),
        };
        if !good {
            return false;
        }
    }
    true
}

/// Filters of a rule, or of one of its backendRefs.
fn filters(path: &str, filters: &[Fields], rule: &RouteRule, findings: &mut Findings) {
    length(path, filters.len(), 0, 16, findings);
    let kind = |filter: &Fields| filter.get("type").and_then(Value::as_str).map(str::to_owned);
    for (index, filter) in filters.iter().enumerate() {
        one_filter(&format!("{path}[{index}]"), filter, kind(filter).as_deref(), rule, findings);
    }
    let single = |(index, filter): (usize, &Fields)| {
        kind(filter).filter(|kind| !REPEATED.contains(&kind.as_str())).ok_or(index)
    };
    duplicates(filters.iter().enumerate().map(single), |first, index| {
        let message = format!("is the type of {path}[{first}] too: put both into one filter");
        findings.error(format!("{path}[{index}].type"), message);
    });
    let place = |wanted: &str| filters.iter().position(|f| kind(f).as_deref() == Some(wanted));
    if let (Some(_), Some(rewrite)) = (place("RequestRedirect"), place("URLRewrite")) {
        let message = "rewrites what RequestRedirect never forwards: remove one of them";
        findings.error(format!("{path}[{rewrite}].type"), message);
    }
}

fn one_filter(
    path: &str,
    filter: &Fields,
    kind: Option<&str>,
    rule: &RouteRule,
    findings: &mut Findings,
) {
    let types = FILTERS.map(|(name, _)| name);
    let Some(kind) = kind else {
        let message = format!("missing: write one of {}", types.join(", "));
        findings.error(format!("{path}.type"), message);
        return;
    };
    if let Err(message) = names::one_of(kind, &types) {
        findings.error(format!("{path}.type"), message);
        return;
    }
    for (name, field) in FILTERS {
        match (name == kind, filter.contains_key(field)) {
            (true, false) => {
                findings.error(format!("{path}.{field}"), format!("missing: {kind} needs it"));
            }
            (false, true) => {
                let message = format!("does not go with type {kind}: write `type: {name}`");
                findings.error(format!("{path}.{field}"), message);
            }
            _ => {}
        }
    }
    for field in ["requestRedirect", "urlRewrite"] {
        let replaced = filter.get(field).and_then(|one| one.get("path"));
        if replaced.is_some_and(|path| path["type"] == "ReplacePrefixMatch") && !one_prefix(rule) {
            let message = "replaces the prefix that the rule matches: write exactly one match with \
                           `path: {type: PathPrefix, ...}`";
            findings.error(format!("{path}.{field}.path"), message);
        }
    }
}

/// Whether a rule matches one prefix and nothing else; the catch-all is one.
fn one_prefix(rule: &RouteRule) -> bool {
    let is_prefix = |path: &Value| path.get("type").is_none_or(|kind| kind == "PathPrefix");
    match rule.matches.as_slice() {
        [] => true,
        [one] => one.get("path").is_none_or(is_prefix),
        _ => false,
    }
}

fn timeouts(path: &str, timeouts: Option<&Fields>, findings: &mut Findings) {
    let Some(timeouts) = timeouts else { return };
    let mut read = |field: &str| {
        let text = timeouts.get(field)?.as_str().unwrap_or_default();
        let duration = crate::gateway::duration(text);
        if duration.is_none() {
            let message = format!("{text:?} is no duration: write one such as `10s` or `1m30s`");
            findings.error(format!("{path}.{field}"), message);
        }
        duration
    };
    let (request, backend) = (read("request"), read("backendRequest"));
    if let (Some(request), Some(backend)) = (request, backend)
        && !request.is_zero()
        && backend > request
    {
        let message = "is longer than `request`, which it is a part of: make it shorter";
        findings.error(format!("{path}.backendRequest"), message);
    }
}

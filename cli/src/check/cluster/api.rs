//! The API server: its version and clock, and the definitions of kinds.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use vipgate_api::{GATEWAY_GROUP, Kind, Reason};
use vipgate_planner::Environment;

use super::facts::{Facts, text};
use crate::check::catalogue::Check;
use crate::check::finding::Finding;

/// The oldest minor release of Kubernetes 1 that is supported: that of the types that are used.
const OLDEST: u32 = 33;
/// Clocks that differ by more mislead, in seconds.
const SKEW: f64 = 5.0;

pub(super) fn server(facts: &Facts) -> Finding {
    let check = Check::API_SERVER;
    let version = match &facts.version {
        Some(Ok(version)) => version,
        Some(Err(error)) => {
            return Finding::error(check, format!("it does not answer: {error}"))
                .mend("check the kubeconfig, and that the API server runs");
        }
        None => return Finding::unseen(check, "it was not asked"),
    };
    let mut numbers = version.trim_start_matches('v').split(['.', '+', '-']);
    let mut number = || numbers.next().and_then(|text| text.parse::<u32>().ok());
    match (number(), number()) {
        (Some(1), Some(minor)) if minor >= OLDEST => Finding::ok(check, version.clone()),
        (Some(1), Some(_)) => Finding::error(
            check,
            format!("{version}, and 1.{OLDEST} is the oldest that is supported"),
        ),
        _ => Finding::unseen(check, format!("its version is no version: {version}")),
    }
}

pub(super) fn skew(facts: &Facts) -> Finding {
    let check = Check::CLOCK_SKEW;
    match facts.skew {
        None => Finding::unseen(check, "the API server does not tell its time"),
        Some(ahead) if ahead.abs() > SKEW => {
            let which = if ahead > 0.0 { "ahead of" } else { "behind" };
            Finding::warning(
                check,
                format!("the API server is {:.0} s {which} this host", ahead.abs()),
            )
        }
        Some(_) => Finding::ok(check, format!("less than {SKEW:.0} s apart")),
    }
}

/// The definitions of our own kinds.
pub(super) fn crds(facts: &Facts) -> Vec<Finding> {
    let check = Check::CRDS;
    let (mut missing, mut differing, mut unread) = (Vec::new(), Vec::new(), None);
    let all = vipgate_api::crd::all();
    for ours in &all {
        let name = text(&ours["metadata"]["name"]);
        match facts.one(&format!("customresourcedefinitions/{name}")) {
            Ok(None) => missing.push(name),
            Ok(Some(theirs)) if !is_served(theirs) => missing.push(name),
            Ok(Some(theirs)) if !is_same(ours, theirs) => differing.push(name),
            Ok(Some(_)) => {}
            Err(error) => unread = Some(error),
        }
    }
    if let Some(error) = unread {
        return vec![Finding::unseen(check, error)];
    }
    let mut findings = Vec::new();
    if !missing.is_empty() {
        findings.push(Finding::error(
            check,
            format!("not there, or not served: {}", missing.join(", ")),
        ));
    }
    if !differing.is_empty() {
        findings.push(Finding::warning(
            check,
            format!("not as this version has them: {}", differing.join(", ")),
        ));
    }
    if findings.is_empty() {
        findings.push(Finding::ok(
            check,
            format!("all {} are served, as this version has them", all.len()),
        ));
    }
    findings
}

/// Whether the API server has taken a definition on.
fn is_served(crd: &Value) -> bool {
    let mut conditions = crd["status"]["conditions"].as_array().into_iter().flatten();
    conditions.any(|one| one["type"] == "Established" && one["status"] == "True")
}

/// Whether fields and rules are the same. What an API server adds does not count.
fn is_same(ours: &Value, theirs: &Value) -> bool {
    let versions = |crd: &Value| -> BTreeMap<String, Value> {
        let all = crd["spec"]["versions"].as_array().into_iter().flatten();
        let schema = |one: &Value| one["schema"]["openAPIV3Schema"].clone();
        all.map(|one| (text(&one["name"]).to_owned(), canonical(schema(one)))).collect()
    };
    versions(ours) == versions(theirs)
}

/// Numbers as they are compared: `1` and `1.0` are one bound.
fn canonical(value: Value) -> Value {
    match value {
        Value::Number(number) => match number.as_f64() {
            Some(float) => serde_json::Number::from_f64(float).map_or(Value::Null, Value::Number),
            None => Value::Number(number),
        },
        Value::Array(list) => list.into_iter().map(canonical).collect(),
        Value::Object(map) => {
            let all = map.into_iter().map(|(key, value)| (key, canonical(value)));
            // An API server leaves out what is as if it were not said.
            all.filter(|(_, value)| !value.is_null() && *value != Value::Bool(false)).collect()
        }
        other => other,
    }
}

/// The release that is installed, and what of it is served.
pub(super) fn gateway_api(facts: &Facts) -> Finding {
    let check = Check::GATEWAY_API;
    let served = match &facts.served {
        Some(Ok(served)) => served,
        Some(Err(error)) => return Finding::unseen(check, error),
        None => return Finding::unseen(check, "it was not asked for"),
    };
    let kinds: Vec<Kind> =
        Kind::ALL.into_iter().filter(|kind| kind.group() == GATEWAY_GROUP).collect();
    let (there, absent): (Vec<Kind>, Vec<Kind>) =
        kinds.iter().partition(|kind| served.contains_key(kind));
    if there.is_empty() {
        return Finding::warning(check, "none of its kinds is served, so there are Services only");
    }
    let mut releases: BTreeSet<(String, String)> = BTreeSet::new();
    for kind in &there {
        let name = format!("customresourcedefinitions/{}.{}", kind.plural(), kind.group());
        let crd = match facts.one(&name) {
            Ok(crd) => crd.unwrap_or(&Value::Null),
            Err(error) => return Finding::unseen(check, error),
        };
        let said = |what: &str| {
            let annotation = format!("{GATEWAY_GROUP}/{what}");
            crd["metadata"]["annotations"][annotation].as_str().unwrap_or("unknown").to_owned()
        };
        releases.insert((said("bundle-version"), said("channel")));
    }
    let shown: Vec<String> =
        releases.iter().map(|(bundle, channel)| format!("{bundle} {channel}")).collect();
    let shown = shown.join(" and ");
    if releases.len() > 1 {
        return Finding::warning(check, format!("CRDs of several releases: {shown}"));
    }
    let bundle = releases.into_iter().next().map(|(bundle, _)| bundle);
    let environment =
        Environment { bundle, absent: absent.iter().copied().collect(), ..<_>::default() };
    let condition = environment.supported_version();
    if condition.reason == Reason::UnsupportedVersion {
        return Finding::warning(check, condition.message);
    }
    if absent.contains(&Kind::TcpRoute) {
        return Finding::warning(
            check,
            format!("{shown}, without TCPRoute: {}", condition.message),
        );
    }
    Finding::ok(check, format!("{shown}: {}", condition.message))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::check::finding::Verdict;

    #[test]
    fn an_old_api_server_is_an_error() {
        let of = |version: &str| {
            server(&Facts { version: Some(Ok(version.into())), ..Facts::default() }).verdict
        };
        assert_eq!(["v1.33.0", "v1.36.2+k3s1"].map(of), [Verdict::Ok; 2]);
        assert_eq!(["v1.32.9", "v1.9.0"].map(of), [Verdict::Error; 2]);
        assert_eq!(of("main"), Verdict::NotLookedAt);
        let away = Facts { version: Some(Err("refused".into())), ..Facts::default() };
        assert_eq!(server(&away).verdict, Verdict::Error);
        assert_eq!(server(&Facts::default()).verdict, Verdict::NotLookedAt);
    }

    #[test]
    fn clocks_that_differ_are_told_with_the_direction() {
        let of = |skew| super::skew(&Facts { skew, ..Facts::default() });
        assert_eq!(of(Some(1.2)).verdict, Verdict::Ok);
        assert_eq!(of(Some(-60.0)).found, "the API server is 60 s behind this host");
        assert_eq!(of(None).verdict, Verdict::NotLookedAt);
    }

    fn with_crds(change: impl Fn(&mut Value)) -> Facts {
        let mut facts = Facts::default();
        for mut crd in vipgate_api::crd::all() {
            crd["status"] = json!({"conditions": [{"type": "Established", "status": "True"}]});
            let name = format!("customresourcedefinitions/{}", text(&crd["metadata"]["name"]));
            change(&mut crd);
            facts.single.insert(name, Ok(Some(crd)));
        }
        facts
    }

    #[test]
    fn definitions_that_are_missing_or_old_are_named() {
        assert_eq!(crds(&with_crds(|_| {}))[0].verdict, Verdict::Ok);
        let old = with_crds(|crd| {
            if crd["spec"]["names"]["kind"] == "IPAddressPool" {
                let schema = &mut crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
                schema["properties"]["spec"]["properties"]
                    .as_object_mut()
                    .unwrap()
                    .remove("reclaim");
            }
        });
        let found = crds(&old);
        assert_eq!((found.len(), found[0].verdict), (1, Verdict::Warning));
        assert!(found[0].found.ends_with(": ipaddresspools.vipgate.dev"), "{found:?}");
        let mut gone = with_crds(|_| {});
        gone.single.insert("customresourcedefinitions/speakers.vipgate.dev".into(), Ok(None));
        assert_eq!(crds(&gone)[0].verdict, Verdict::Error);
        let unserved = with_crds(|crd| crd["status"] = Value::Null);
        assert!(crds(&unserved)[0].found.contains("virtualips.vipgate.dev"));
        assert_eq!(crds(&Facts::default())[0].verdict, Verdict::NotLookedAt);
    }

    fn with_gateway_api(release: &str, odd: &str, kinds: &[Kind]) -> Facts {
        let served = kinds.iter().map(|kind| (*kind, kind.versions()[0])).collect();
        let mut facts = Facts { served: Some(Ok(served)), ..Facts::default() };
        for (index, kind) in kinds.iter().enumerate() {
            let bundle = if index == 0 { odd } else { release };
            let annotations = json!({"gateway.networking.k8s.io/bundle-version": bundle,
                "gateway.networking.k8s.io/channel": "standard"});
            let name = format!("customresourcedefinitions/{}.{}", kind.plural(), kind.group());
            facts.single.insert(name, Ok(Some(json!({"metadata": {"annotations": annotations}}))));
        }
        facts
    }

    #[test]
    fn a_release_of_the_gateway_api_is_supported_whole_and_has_tcp_routes() {
        let all: Vec<Kind> =
            Kind::ALL.into_iter().filter(|kind| kind.group() == GATEWAY_GROUP).collect();
        let found = |facts: &Facts| gateway_api(facts);
        let well = found(&with_gateway_api("v1.6.1", "v1.6.1", &all));
        assert_eq!(
            (well.verdict, &*well.found),
            (Verdict::Ok, "v1.6.1 standard: Gateway API v1.6.1 is installed")
        );
        assert_eq!(found(&with_gateway_api("v1.6.1", "v1.5.0", &all)).verdict, Verdict::Warning);
        let future = found(&with_gateway_api("v1.9.0", "v1.9.0", &all));
        assert!(future.found.contains("supported are v1.2 to v1.6"), "{future:?}");
        let some = [Kind::GatewayClass, Kind::Gateway];
        let lacking = found(&with_gateway_api("v1.5.1", "v1.5.1", &some));
        assert!(lacking.found.contains("without TCPRoute"), "{lacking:?}");
        assert_eq!(found(&with_gateway_api("v1.6.1", "v1.6.1", &[])).verdict, Verdict::Warning);
        assert_eq!(found(&Facts::default()).verdict, Verdict::NotLookedAt);
    }
}

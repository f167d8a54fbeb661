//! Our CRDs: what an API server takes and what it refuses, with words that help; and what it shows.

mod bounds;
mod cases;
mod pools;
mod ranges;
mod tables;

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use vipgate_api::crd::{Rule, all_rules};
use vipgate_lab::Result;
use vipgate_lab::cluster::{Api, Patch, Refusal};

use crate::site::Site;
use cases::Case;

/// An object of ours.
fn object(kind: &str, name: &str, spec: &Value) -> Value {
    let mut object = json!({
        "apiVersion": "vipgate.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": name},
    });
    if !spec.is_null() {
        object["spec"] = spec.clone();
    }
    object
}

/// Where the objects of a kind are.
fn collection(kind: &str) -> String {
    let (namespace, plural) = match kind {
        "VirtualIP" | "Speaker" => ("", format!("{}s", kind.to_lowercase())),
        "Community" => ("namespaces/default/", "communities".to_owned()),
        "ListenerPolicy" => ("namespaces/default/", "listenerpolicies".to_owned()),
        "BackendPolicy" => ("namespaces/default/", "backendpolicies".to_owned()),
        _ => ("namespaces/default/", format!("{}s", kind.to_lowercase())),
    };
    format!("/apis/vipgate.dev/v1alpha1/{namespace}{plural}")
}

/// The words of a refusal; an error when it was no refusal for what the object says.
fn refusal<T>(answer: Result<T>) -> Result<String> {
    let Err(error) = answer else { anyhow::bail!("it was taken") };
    let refused = error.downcast::<Refusal>()?;
    ensure!(refused.code == 422, "{refused}");
    Ok(refused.message)
}

/// The cases, each with its rule. Fails for a rule without cases, and for cases without a rule.
fn matched() -> Vec<(Rule, Case)> {
    let mut rules: BTreeMap<(String, String, String), Rule> = BTreeMap::new();
    for rule in all_rules() {
        rules.insert((rule.kind.clone(), rule.path.clone(), rule.message.clone()), rule);
    }
    let mut matched = Vec::new();
    for case in cases::all() {
        let of_case = |(kind, path, message): &&(String, String, String)| {
            kind == case.kind && *path == case.path && message.starts_with(case.says)
        };
        let key = rules.keys().find(of_case).cloned();
        let key = key.unwrap_or_else(|| {
            panic!("no (other) rule of {} {} says {:?}", case.kind, case.path, case.says)
        });
        matched.extend(rules.remove(&key).map(|rule| (rule, case)));
    }
    assert!(rules.is_empty(), "rules without a case: {:#?}", rules.keys().collect::<Vec<_>>());
    matched
}

#[test]
fn every_rule_has_a_case_and_every_case_a_rule() {
    assert!(matched().len() >= all_rules().len());
}

#[test]
fn every_rule_takes_what_is_right_and_says_what_to_write_of_what_is_wrong() -> Result<()> {
    let site = Site::bare("crds")?;
    site.install_chart();
    let api = site.cluster.api();
    for (rule, case) in matched() {
        check(api, &rule, &case)
            .with_context(|| format!("{} {}: {}", rule.kind, rule.path, rule.message))?;
    }
    bounds::every_bound_is_kept(api)?;
    bounds::the_largest_objects_are_taken(api)?;
    ranges::the_api_server_reads_ranges_as_the_planner_does(api)?;
    Ok(())
}

fn check(api: &Arc<Api>, rule: &Rule, case: &Case) -> Result<()> {
    let all = collection(case.kind);
    let try_to_create = |(name, spec): &(String, Value)| {
        api.create(&format!("{all}?dryRun=All"), &object(case.kind, name, spec))
    };
    ensure!(!case.good.is_empty() && !case.bad.is_empty(), "both kinds of examples are there");
    for good in &case.good {
        try_to_create(good).with_context(|| format!("refused: {good:?}"))?;
    }
    for bad in &case.bad {
        let words = match &case.before {
            None => refusal(try_to_create(bad)),
            Some((name, spec)) => {
                api.create(&all, &object(case.kind, name, spec))?;
                let change = json!({"spec": bad.1});
                refusal(api.patch(&format!("{all}/{name}?dryRun=All"), Patch::Merge, &change))
            }
        };
        let words = words.with_context(|| format!("{bad:?}"))?;
        ensure!(words.contains(case.says), "{bad:?} is refused with other words: {words}");
        ensure!(words.contains(&place(&rule.path)), "{bad:?} is refused elsewhere: {words}");
        // What is wrong once is said once.
        let is_one = !words.contains("is invalid: [");
        ensure!(is_one || case.before.is_some(), "{bad:?} is refused for more: {words}");
    }
    Ok(())
}

/// How an API server names a field of the first item, as far as the key of a map.
fn place(path: &str) -> String {
    let path = path.strip_suffix(".*").unwrap_or(path);
    path.replace("[]", "[0]")
}

#[test]
fn tables_show_what_is_there() -> Result<()> {
    let site = Site::bare("tables")?;
    site.install_chart();
    tables::tables(&site)
}

#[test]
fn what_is_wrong_with_a_pool_beside_others_is_a_condition() -> Result<()> {
    pools::what_is_wrong_beside_others_is_a_condition(&Site::new("pools"))
}

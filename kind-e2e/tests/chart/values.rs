//! What can be set: known keys with values that make sense, and nothing else.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use vipgate_lab::cluster::{lint_chart, render_chart, template_chart};

pub(super) const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/vipgate");

#[test]
fn helm_finds_nothing_wrong_with_it() -> Result<()> {
    lint_chart(&[])?;
    for companion in ["service", "service-account", "none"] {
        lint_chart(&[&format!("controller.companion={companion}")])?;
    }
    lint_chart(&["monitoring.enabled=true", "monitoring.kind=ServiceMonitor"])?;
    lint_chart(&["gatewayClass.name=", "image.tag=v9", "pools.default={192.0.2.1-192.0.2.9}"])
}

#[test]
fn a_wrong_value_is_refused_with_its_name() -> Result<()> {
    for (setting, named) in [
        ("controller.companion=services", "companion"),
        ("controller.replicas=0", "replicas"),
        ("speaker.tolerations=soon", "tolerations"),
        ("speaker.metrics=7473", "metrics"),
        ("speaker.probeSeconds=often", "probeSeconds"),
        ("speaker.probeSeconds=-1", "probeSeconds"),
        ("speaker.replicas=2", "replicas"),
        ("speakers.log=debug", "speakers"),
        ("image.digest=latest", "digest"),
        ("pools.default=192.0.2.1", "default"),
        ("pools.default={}", "default"),
        ("pools.default.adresses={192.0.2.1}", "adresses"),
        ("pools.Default={192.0.2.1}", "Default"),
        ("monitoring.kind=Probe", "kind"),
        ("monitoring.rules.disable={VipgatePanics}", "disable"),
        ("networkPolicy.apiServerPorts={https}", "apiServerPorts"),
    ] {
        let error = render_chart("vipgate-system", &[setting]).err().context(setting)?;
        let text = format!("{error:#}");
        assert!(text.contains(named), "{setting}: {text}");
        assert!(lint_chart(&[setting]).is_err(), "lint takes {setting}");
    }
    Ok(())
}

fn schema() -> Result<Value> {
    Ok(serde_json::from_str(&std::fs::read_to_string(
        Path::new(CHART).join("values.schema.json"),
    )?)?)
}

/// Whatever says `properties` is closed. `workload` is part of two that are.
#[test]
fn no_key_is_unknown_at_any_level() -> Result<()> {
    fn open(path: &str, schema: &Value, found: &mut Vec<String>) {
        if let Value::Object(all) = schema {
            let closed = ["additionalProperties", "unevaluatedProperties"];
            if all.contains_key("properties") && !closed.iter().any(|key| all.contains_key(*key)) {
                found.push(path.to_owned());
            }
            for (key, below) in all {
                open(&format!("{path}/{key}"), below, found);
            }
        }
    }
    let mut found = Vec::new();
    open("", &schema()?, &mut found);
    assert_eq!(found, ["/$defs/workload"]);
    Ok(())
}

/// A pool of the values takes every field that an IPAddressPool has.
#[test]
fn a_pool_has_the_fields_of_the_kind() -> Result<()> {
    let crds = std::fs::read_to_string(Path::new(CHART).join("files/crds.yaml"))?;
    let pool = crds.split("\n---\n").find(|crd| crd.contains("kind: IPAddressPool\n"));
    let pool = pool.context("a CRD of pools")?;
    let keys = |of: &str| -> Result<Vec<String>> {
        // Deep in the schema: the CRD itself has a `spec`, too.
        let depth = |line: &str| line.len() - line.trim_start().len();
        let is_there = |line: &&str| line.trim_start() == of && depth(line) > 4;
        let mut lines = pool.lines().skip_while(|line| !is_there(line)).skip(1);
        let properties = lines.find(|line| line.trim_start() == "properties:");
        let properties = properties.with_context(|| format!("properties of {of}"))?;
        let inner = depth(properties) + 2;
        let inside = lines.take_while(|line| depth(line) >= inner);
        let names = inside.filter(|line| depth(line) == inner);
        let names = names.filter_map(|line| line.trim_start().strip_suffix(':'));
        let mut names: Vec<String> = names.map(str::to_owned).collect();
        names.sort();
        Ok(names)
    };
    let known = |pointer: &str| -> Result<Vec<String>> {
        let schema = schema()?;
        let properties = schema.pointer(pointer).and_then(Value::as_object);
        let mut names: Vec<String> = properties.context("an object")?.keys().cloned().collect();
        names.sort();
        Ok(names)
    };
    let of_spec = keys("spec:")?;
    ensure!(of_spec.contains(&"avoidBuggyIPs".to_owned()), "{of_spec:?}");
    assert_eq!(known("/$defs/pool/properties")?, of_spec);
    let inner = "/$defs/pool/properties/serviceAllocation/properties";
    assert_eq!(known(inner)?, keys("serviceAllocation:")?);
    Ok(())
}

/// Every value that can be set is in values.yaml, where people look.
#[test]
fn values_yaml_shows_everything() -> Result<()> {
    let values = std::fs::read_to_string(Path::new(CHART).join("values.yaml"))?;
    let values: Value = serde_saphyr::from_str(&values)?;
    let schema = schema()?;
    let workload = schema["$defs"]["workload"]["properties"].as_object().context("workloads")?;
    let mut pending = vec![(String::new(), &schema)];
    let mut paths = Vec::new();
    while let Some((path, one)) = pending.pop() {
        for (name, below) in one["properties"].as_object().into_iter().flatten() {
            pending.push((format!("{path}/{name}"), below));
            paths.push(format!("{path}/{name}"));
        }
        // What these have in them is of Kubernetes, and known from there.
        if one["$ref"] == "#/$defs/workload" {
            paths.extend(workload.keys().map(|name| format!("{path}/{name}")));
        }
    }
    assert!(paths.len() > 45, "{paths:?}");
    for path in paths.into_iter().filter(|path| path != "/global") {
        assert!(values.pointer(&path).is_some(), "values.yaml does not show {path}");
    }
    Ok(())
}

/// What the actions of the templates say, comments left out, by file.
fn actions(directory: &Path) -> Result<Vec<(PathBuf, String)>> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            all.extend(actions(&path)?);
            continue;
        }
        let text = std::fs::read_to_string(&path)?;
        let inside = text.split("{{").skip(1).filter_map(|rest| rest.split("}}").next());
        let said = inside.filter(|action| !action.trim_start_matches(['-', ' ']).starts_with("/*"));
        let said = said.collect::<Vec<_>>().join("\n");
        all.push((path, said));
    }
    Ok(all)
}

/// GitOps compares what is rendered with what is there.
#[test]
fn twice_the_same_values_give_the_same_text() -> Result<()> {
    let settings = ["--set", "monitoring.enabled=true", "--set", "pools.b={192.0.2.9}"];
    let served =
        ["PodMonitor", "PrometheusRule"].map(|kind| format!("monitoring.coreos.com/v1/{kind}"));
    let served = served.iter().flat_map(|kind| ["--api-versions", kind]);
    let arguments: Vec<&str> = settings.into_iter().chain(served).collect();
    let first = template_chart("vipgate-system", &arguments)?;
    assert!(first.contains("kind: PrometheusRule"), "{first}");
    assert_eq!(first, template_chart("vipgate-system", &arguments)?);
    // Which may be the same twice within a second.
    let actions = actions(&Path::new(CHART).join("templates"))?;
    assert!(actions.iter().any(|(path, _)| path.ends_with("tests/selftest.yaml")));
    for (path, said) in actions {
        let mut words = said.split(|c: char| !(c.is_alphanumeric() || c == '_'));
        assert!(!words.any(|word| word == "now"), "{}", path.display());
    }
    Ok(())
}

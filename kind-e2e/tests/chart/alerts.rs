//! Alerts: right to promtool, true to the metrics there are, and explained by a page.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use vipgate_lab::cluster::template_chart;

use super::values::CHART;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

fn alerts() -> Result<String> {
    Ok(std::fs::read_to_string(Path::new(CHART).join("files/alerts.yaml"))?)
}

fn promtool(arguments: &[&str]) -> Result<String> {
    let output = Command::new("promtool").args(arguments).output().context("promtool")?;
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    ensure!(output.status.success(), "promtool {arguments:?}:\n{said}");
    Ok(said)
}

/// Values after this key, one line each.
fn values<'a>(text: &'a str, key: &'a str) -> impl Iterator<Item = &'a str> {
    text.lines()
        .filter_map(move |line| line.trim_start_matches([' ', '-']).strip_prefix(key))
        .map(str::trim)
}

#[test]
fn promtool_finds_them_right_and_they_fire_when_they_should() -> Result<()> {
    let file = format!("{CHART}/files/alerts.yaml");
    let said = promtool(&["check", "rules", &file])?;
    assert!(said.contains("rules found"), "{said}");
    promtool(&["test", "rules", &format!("{ROOT}/charts/tests/alerts.yaml")])?;
    Ok(())
}

/// By promtool: with labels and words, where it is said what they are.
#[test]
fn each_is_seen_to_fire() -> Result<()> {
    let tests = std::fs::read_to_string(Path::new(ROOT).join("charts/tests/alerts.yaml"))?;
    let tests: Value = serde_saphyr::from_str(&tests)?;
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let tries = list(&tests["tests"]).into_iter().flat_map(|test| list(&test["alert_rule_test"]));
    let fires = tries.filter(|one| !list(&one["exp_alerts"]).is_empty());
    let fires: BTreeSet<String> =
        fires.filter_map(|one| one["alertname"].as_str().map(str::to_owned)).collect();
    let text = alerts()?;
    let all: BTreeSet<String> = values(&text, "alert:").map(str::to_owned).collect();
    assert_eq!(fires, all);
    Ok(())
}

/// What the operator gets is the same, less what is disabled.
#[test]
fn the_rendered_rules_are_those_of_the_file() -> Result<()> {
    let served = ["--api-versions", "monitoring.coreos.com/v1/PrometheusRule"];
    let on = ["--set", "monitoring.enabled=true", "--show-only", "templates/alerts.yaml"];
    let render = |more: &[&str]| {
        let all: Vec<&str> = on.iter().chain(&served).chain(more).copied().collect();
        template_chart("vipgate-system", &all)
    };
    let parsed = |text: &str| -> Result<Value> { Ok(serde_saphyr::from_str(text)?) };
    let groups = |text: &str| -> Result<Value> { Ok(parsed(text)?["spec"]["groups"].take()) };
    let (source, all) = (alerts()?, render(&[])?);
    assert!(values(&source, "alert:").count() >= 12);
    assert_eq!(groups(&all)?, parsed(&source)?["groups"]);
    let runbooks = ["--set", "monitoring.rules.runbooks=https://wiki.example/vipgate/"];
    let elsewhere = source.replace("https://vipgate.dev/", "https://wiki.example/vipgate/");
    assert_eq!(groups(&render(&runbooks)?)?, parsed(&elsewhere)?["groups"]);
    let fewer = render(&["--set", "monitoring.rules.disabled={VipgatePanics,VipgateBfdFlaps}"])?;
    let mut expected = parsed(&source)?["groups"].take();
    for group in expected.as_array_mut().context("groups")? {
        let rules = group["rules"].as_array_mut().context("rules")?;
        rules.retain(|rule| rule["alert"] != "VipgatePanics" && rule["alert"] != "VipgateBfdFlaps");
    }
    assert_eq!(groups(&fewer)?, expected);

    // As Prometheus reads it: without the head of the object.
    let groups = all.split_once("\nspec:\n").context("a spec")?.1;
    let file = tempfile::NamedTempFile::with_suffix(".yaml")?;
    let unindented: Vec<&str> =
        groups.lines().map(|line| line.strip_prefix("  ").unwrap_or(line)).collect();
    std::fs::write(file.path(), unindented.join("\n"))?;
    promtool(&["check", "rules", file.path().to_str().context("a path")?])?;
    Ok(())
}

#[test]
fn each_has_a_severity_and_a_page_that_is_there() -> Result<()> {
    let text = alerts()?;
    let names: Vec<&str> = values(&text, "alert:").collect();
    let links: Vec<&str> = values(&text, "runbook_url:").collect();
    assert_eq!(names.len(), links.len());
    assert_eq!(names.len(), text.matches("labels: {severity: ").count());
    for (name, link) in names.iter().zip(&links) {
        let place = link.strip_prefix("https://vipgate.dev/").context("of the project")?;
        let (page, anchor) = place.split_once(".html#").with_context(|| link.to_string())?;
        let page =
            std::fs::read_to_string(Path::new(ROOT).join("docs").join(format!("{page}.md")))?;
        assert_eq!(anchor, name.to_lowercase());
        let headings = page.lines().filter_map(|line| line.strip_prefix("## "));
        assert!(headings.clone().any(|heading| heading == *name), "no section on {name}");
    }
    // And no section on one that is not there.
    let page = std::fs::read_to_string(Path::new(ROOT).join("docs/alerts.md"))?;
    let sections: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    assert_eq!(sections, names, "in the same order");
    Ok(())
}

/// Names of metrics in a text.
pub(super) fn metrics_in(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| word.starts_with("vipgate_")).collect()
}

/// Those that the docs have, which tests beside the code hold to what there is.
pub(super) fn is_documented(metric: &str) -> Result<bool> {
    let histogram = |name: &'static str| -> Option<&str> { metric.strip_suffix(name) };
    let plain = ["_bucket", "_sum", "_count"].into_iter().find_map(histogram).unwrap_or(metric);
    for page in ["metrics", "udp", "bgp"] {
        let path: PathBuf = Path::new(ROOT).join(format!("docs/{page}.md"));
        if std::fs::read_to_string(path)?.contains(&format!("`{plain}`")) {
            return Ok(true);
        }
    }
    Ok(false)
}

#[test]
fn they_ask_for_metrics_that_there_are() -> Result<()> {
    let text = alerts()?;
    let found = metrics_in(&text);
    assert!(found.len() > 15, "{found:?}");
    for metric in found {
        assert!(is_documented(metric)?, "no page has {metric}");
    }
    assert!(!is_documented("vipgate_tcp")?, "a part of a name is no metric");
    Ok(())
}
